"""A row of a table (a deal, a contract, a customer) as one bin for each column that a pack knows.

The columns and their bins are learnt (`learn_columns`) and travel in the pack as TABLE_FILE; training and the device
make bins of rows with the same `Columns`. What a row does not say, or what nobody learnt from, is bin UNKNOWN.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

TABLE_FILE = "table.json"
UNKNOWN = 0
NUMERIC_SHARE = 0.9  # of the cells that say something, from which on a column is one of numbers
LEAST_ROWS = 20  # with a text, for its bin to be learnt

Row = Mapping[str, str]
Bins = NDArray[np.int64]


class Numbers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="numbers"):
    """A column of numbers: bins end at `edges`, each with its upper edge; the last bin is above them all. A number that
    lies further from `lowest` to `highest` than these are apart is unknown: nothing was learnt of its kind."""

    name: str
    edges: tuple[float, ...]
    lowest: float
    highest: float

    @property
    def bins(self) -> int:
        """How many bins the column has, UNKNOWN not counted."""
        return len(self.edges) + 1

    def bin_of(self, text: str) -> int:
        """The bin of a cell, from 1 on, or UNKNOWN."""
        number = _number(text)
        apart = self.highest - self.lowest
        if not self.lowest - apart <= number <= self.highest + apart:
            return UNKNOWN
        return 1 + int(np.searchsorted(self.edges, number))


class Texts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="texts"):
    """A column of texts: a bin for each value, whatever its capitals."""

    name: str
    values: tuple[str, ...]

    @property
    def bins(self) -> int:
        """How many bins the column has, UNKNOWN not counted."""
        return len(self.values)

    def bin_of(self, text: str) -> int:
        """The bin of a cell, from 1 on, or UNKNOWN."""
        folded = text.casefold()
        return 1 + self.values.index(folded) if folded in self.values else UNKNOWN


Column = Numbers | Texts


class Columns:
    """The columns that a pack knows. May be shared by threads.

    Bins of all columns are numbered through, so that one table holds what each is worth: UNKNOWN is 0 for all of them,
    then come those of the first column, of the second, and so on.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        """Raises ValueError when there is no column, two have one name, or one's bins are not in order."""
        self.all = tuple(columns)
        self.names = tuple(column.name for column in self.all)
        ends = np.cumsum([1, *(column.bins for column in self.all)])
        self.first: Bins = ends[:-1]
        self.size = int(ends[-1])
        if not self.all or len({_folded(name) for name in self.names}) < len(self.names):
            raise ValueError("columns must be some, each with a name of its own")
        for column in self.all:
            if isinstance(column, Numbers):
                places = (column.lowest, *column.edges, column.highest)
                ordered = all(map(math.isfinite, places)) and all(a < b for a, b in pairwise(column.edges))
            else:
                ordered = len(set(column.values)) == len(column.values) > 0
            if not ordered:
                raise ValueError(f"the bins of {column.name!r} are not in order")

    def bins_of(self, rows: Sequence[Row]) -> Bins:
        """The bins [rows, columns] of rows: cells by the name of their column, both as they were written.

        Capitals and spaces around a cell or name do not matter. Empty cells, numbers that are not finite or absurdly
        large, and texts that were not learnt are UNKNOWN; so is what a row does not have.
        """
        bins = np.full((len(rows), len(self.all)), UNKNOWN, np.int64)
        for number, row in enumerate(rows):
            cells = {_folded(name): cell.strip() for name, cell in row.items()}
            for place, column in enumerate(self.all):
                own = column.bin_of(cells.get(_folded(column.name), ""))
                if own != UNKNOWN:
                    bins[number, place] = self.first[place] + own - 1
        return bins


def learn_columns(rows: Sequence[Row], leave_out: Sequence[str], most_bins: int) -> Columns:
    """The columns of a table that tell rows apart, all but `leave_out`.

    Numbers are cut at quantiles into `most_bins` bins or fewer; a text is known if LEAST_ROWS rows have it. Raises
    ValueError when no column tells rows apart.
    """
    names = [name for name in rows[0] if name not in leave_out] if rows else []
    learnt = (_learnt(name, [row.get(name, "").strip() for row in rows], most_bins) for name in names)
    return Columns([column for column in learnt if column.bins > 1])


def _learnt(name: str, cells: Sequence[str], most_bins: int) -> Column:
    said = [cell for cell in cells if cell]
    numbers = np.array([number for number in map(_number, said) if math.isfinite(number)])
    if numbers.size and numbers.size >= NUMERIC_SHARE * len(said):
        # A number that fills a bin alone gets one, or "never" written as 999 would take those of all who say when.
        kinds, counts = np.unique(numbers, return_counts=True)
        frequent = kinds[counts * most_bins > numbers.size]
        others = numbers[~np.isin(numbers, frequent)]
        shares = np.linspace(0, 1, max(most_bins - frequent.size, 1) + 1)[1:]
        cuts = np.quantile(others, shares, method="lower") if others.size else others
        edges = np.unique(np.concatenate([frequent, cuts]))
        lowest, highest = float(numbers.min()), float(numbers.max())
        inner = tuple(float(edge) for edge in edges if edge < highest)
        return Numbers(name=name, edges=inner, lowest=lowest, highest=highest)
    counted = Counter(cell.casefold() for cell in said)
    return Texts(name=name, values=tuple(sorted(text for text, times in counted.items() if times >= LEAST_ROWS)))


def _number(text: str) -> float:
    """The number that a cell holds; NaN when it holds none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _folded(name: str) -> str:
    return name.strip().casefold()
