"""A short soak: what `./build.sh soak` does for an hour, with a bound that a message kept for ever would break."""

from pathlib import Path
from statistics import median

from tests.bench.soak import READINGS, lost_and_doubled, quarter, run

MINUTES, CALL_S = 0.6, 6.0
MESSAGE_BYTES = 200
"""Less than any part of a message that could be kept: its payload alone has 170 bytes, as a reading it has 1,000."""
LEARNT_BYTES = 8 * READINGS
"""A machine's first 400 rows are kept until it is learnt, which none is in so short a time."""
NOISE_MB = 8.0
FILES_OF_A_CALL = 2  # the sound of its two legs


def test_nothing_is_kept_of_what_came_and_went(packs: Path) -> None:
    soak = run(MINUTES, CALL_S)
    assert lost_and_doubled(soak) == (0, 0)
    assert soak.calls > 0
    assert soak.shown > 0
    assert soak.at_hq > 0
    between = soak.rate * MINUTES * 60 / 2
    for process, samples in soak.samples.items():
        second, last = quarter(samples, 1), quarter(samples, 3)
        grown_mb = median(s.rss_mb for s in last) - median(s.rss_mb for s in second)
        most_mb = NOISE_MB + between * (MESSAGE_BYTES + LEARNT_BYTES) / 1e6
        assert grown_mb < most_mb, (process, [round(s.rss_mb) for s in samples])
        assert max(s.threads for s in last) <= max(s.threads for s in second) + 3, process
        # A call's sound is open until it is archived, which the second quarter has not seen yet: one call more is well.
        assert min(s.files for s in last) <= min(s.files for s in second) + FILES_OF_A_CALL, process
