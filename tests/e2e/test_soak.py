"""A short soak: what `./build.sh soak` does for an hour, whose bounds are those of a daemon that has just begun."""

from pathlib import Path
from statistics import median

from tests.bench.soak import lost_and_doubled, quarter, run

MINUTES, CALL_S = 0.6, 6.0
GROWN_MB = 150.0
"""What a recogniser and the caches take in their first minute; only the hour tells a message that is kept for ever."""
OPENED = 12
"""Threads, and files, of pools that still fill."""


def test_all_arrives_once_and_little_is_held_while_calls_and_readings_come_and_go(packs: Path) -> None:
    soak = run(MINUTES, CALL_S)
    assert lost_and_doubled(soak) == (0, 0)
    assert soak.calls > 0
    assert soak.shown > 0
    assert soak.at_hq > 0
    for process, samples in soak.samples.items():
        second, last = quarter(samples, 1), quarter(samples, 3)
        grown_mb = median(s.rss_mb for s in last) - median(s.rss_mb for s in second)
        assert grown_mb < GROWN_MB, (process, [round(s.rss_mb) for s in samples])
        assert median(s.threads for s in last) <= median(s.threads for s in second) + OPENED, process
        assert median(s.files for s in last) <= median(s.files for s in second) + OPENED, process
