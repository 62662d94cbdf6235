"""Sets of sequence numbers, kept as runs: what HQ holds of a lane, what a site knows to be delivered, what is between.

What HQ holds of a lane only ever grows by union, which is why repeats and any order of arrival end in the same set
(docs/sync.md).
"""

from collections.abc import Iterable, Iterator

Run = tuple[int, int]
"""From the first number to the last, both in it."""


class Ranges:
    """An immutable set of numbers from 1 on, as ascending runs that do not touch."""

    __slots__ = ("runs",)

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self.runs: tuple[Run, ...] = tuple(_joined(sorted(run for run in runs if run[0] <= run[1])))

    def __or__(self, other: "Ranges") -> "Ranges":
        return Ranges((*self.runs, *other.runs))

    def __sub__(self, other: "Ranges") -> "Ranges":
        return Ranges(_without(self.runs, other.runs))

    def __and__(self, other: "Ranges") -> "Ranges":
        return self - (self - other)

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.runs)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self.runs == other.runs

    def __hash__(self) -> int:
        return hash(self.runs)

    def __repr__(self) -> str:
        return f"Ranges({list(self.runs)})"

    @property
    def top(self) -> int:
        """The highest number; 0 if there is none."""
        return self.runs[-1][1] if self.runs else 0

    @property
    def prefix(self) -> int:
        """Up to where nothing is missing from 1 on; 0 if 1 is."""
        return self.runs[0][1] if self.runs and self.runs[0][0] == 1 else 0

    def holes(self) -> "Ranges":
        """What is missing below the highest number."""
        return Ranges(((1, self.top),)) - self


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    pending: Run | None = None
    for first, last in runs:
        if pending is None:
            pending = (first, last)
        elif first <= pending[1] + 1:
            pending = (pending[0], max(pending[1], last))
        else:
            yield pending
            pending = (first, last)
    if pending is not None:
        yield pending


def _without(runs: tuple[Run, ...], cut: tuple[Run, ...]) -> Iterator[Run]:
    for first, last in runs:
        for cut_first, cut_last in cut:
            if cut_last < first:
                continue
            if cut_first > last:
                break
            yield (first, cut_first - 1)
            first = cut_last + 1
        yield (first, last)
