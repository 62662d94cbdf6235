"""Text in terminal columns: a Chinese character takes two, and nothing from outside may steer the terminal."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len

_WIDE = "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\U00020000-\U0003fffd"
_OPENING = "「『（《【〈"
_CLOSING = "」』）》】〉，。、；：？！"
# What stays on one line: a word, or one wide character with the brackets and stops that belong to it.
_PIECE = re.compile(rf"\s*[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}]+)[{_CLOSING}]*\s*")
_GAP = re.compile(rf"(?<=[{_WIDE}]) +(?=[{_WIDE}])")
_VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f]")
_CUT = ".."
_BETWEEN = "  "
_NARROWEST = 6


def plain(text: str) -> str:
    """`text` on one line, without what a terminal would obey instead of show: control and direction characters."""
    return "".join(map(_shown, _VARIATION_SELECTORS.sub("", text)))


def _shown(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp" | "Zs":
            return " "
        case "Cf" | "Cs":
            return ""
        case _:
            return character


def without_gaps(text: str) -> str:
    """`text` without the spaces that a speech recogniser puts between Chinese words."""
    return _GAP.sub("", text)


def width(text: str) -> int:
    """How many columns `text` takes."""
    return cell_len(text)


def cut(text: str, columns: int) -> str:
    """The longest beginning of `text` that fits into `columns`."""
    while width(text) > columns:
        # No character is wider than two columns, so this never takes one too many.
        text = text[: -max(1, (width(text) - columns) // 2)]
    return text


def fit(text: str, columns: int) -> str:
    """`text` in exactly `columns`: padded with spaces, or cut with two dots at the end."""
    text = plain(text)
    if width(text) > columns:
        text = cut(text, columns - len(_CUT)) + _CUT if columns > len(_CUT) else cut(text, columns)
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int) -> list[str]:
    """`text` in lines of at most `columns` (at least 2), broken at spaces and between Chinese characters."""
    columns = max(2, columns)
    lines = []
    line = ""
    for piece in _PIECE.findall(plain(text).strip()):
        if line and width(line + piece.rstrip()) > columns:
            lines.append(line.rstrip())
            line = ""
        while width(piece.rstrip()) > columns:
            head = cut(piece, columns)
            lines.append(head)
            piece = piece[len(head) :]
        line += piece
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    """A table in lines of at most `columns` (at least 2): its cells beside each other, wrapped where they are too wide;
    where there is no room for that, each cell on a line of its own after the head of its column."""
    cells = [[plain(cell).strip() for cell in row] for row in (heads, *rows)]
    widths = _widths(cells, columns)
    if not widths:
        pairs = (zip_longest(cells[0], row, fillvalue="") for row in cells[1:])
        return [line for row in pairs for head, cell in row for line in wrap(f"{head}: {cell}", columns)]
    head, *body = [_table_row(row, widths) for row in cells]
    return [*head, _BETWEEN.join("-" * width_ for width_ in widths), *(line for row in body for line in row)]


def _widths(cells: Sequence[Sequence[str]], columns: int) -> list[int]:
    """How wide each column of a table is: what it needs, the widest of them less until all fit; none when that goes
    too far."""
    wanted = [max(map(width, column)) or 1 for column in zip_longest(*cells, fillvalue="")]
    room = columns - len(_BETWEEN) * (len(wanted) - 1)
    while sum(wanted) > room:
        widest = max(range(len(wanted)), key=lambda place: wanted[place])
        if wanted[widest] <= _NARROWEST:
            return []
        wanted[widest] -= 1
    return wanted


def _table_row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    whole = [*row, *[""] * (len(widths) - len(row))]
    lines = zip_longest(*map(wrap, whole, widths), fillvalue="")
    return [_BETWEEN.join(map(fit, line, widths)).rstrip() for line in lines]
