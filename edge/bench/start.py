"""From the command to a page that answers and a pipeline that takes events, beside loading the speech model."""

import statistics
from collections.abc import Iterator

from edge.bench.figure import Figure
from edge.bench.site import running, sample_site

RUNS = 5
TARGET_S = 3.0


def measure() -> Iterator[Figure]:
    """The first start, which makes the journal, and the median of those after it."""
    times_s = []
    with sample_site(inbox=False) as (folder, page):
        for _ in range(RUNS + 1):
            with running(folder, page) as (_, took_s):
                times_s.append(took_s)
    for case, value in (("first", times_s[0]), (f"median of {RUNS} more", statistics.median(times_s[1:]))):
        yield Figure(
            bench="start",
            case=case,
            metric="to ready",
            value=value,
            unit="s",
            target=f"≤ {TARGET_S} s",
            ok=value <= TARGET_S,
        )
