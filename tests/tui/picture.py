"""Draws docs/images/terminal.svg and terminal-zh.svg: `python -m tests.tui.picture`.

Textual's own export gives a Chinese run the length of as many narrow letters, and names a font on the internet; so the
lines are drawn here, each run at the column where the terminal has it.
"""

import asyncio
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.style import Style
from textual.strip import Strip

from edge.store.journal import Journal
from tests.served import parts_of, served
from tests.site_fixture import fill
from tests.tui.conftest import rep_at
from tui.columns import width
from tui.words import Language

IMAGES = Path(__file__).parents[2] / "docs" / "images"
# By language: the file, and the title of the card that is shown.
PICTURES: dict[Language, tuple[str, str]] = {
    "en": ("terminal.svg", "Fit the offer to the budget"),
    "zh": ("terminal-zh.svg", "先排除危险"),
}
SIZE = (96, 27)
COLUMN, ROW, MARGIN = 10, 22, 12
PAPER, INK, RED = "#16181d", "#d8dce2", "#ff6b68"
# Runs of narrow letters, of wide ones, or of spaces, which are not drawn.
RUN = re.compile(r"[!-~]+(?: [!-~]+)*|[^\x00-\x7f]+| +")


async def _lines(url: str, language: Language, title: str) -> list[Strip]:
    async with rep_at(url, language, SIZE) as rep:
        await rep.until(lambda: rep.app.board.link == "connected")
        cards = rep.app.board.in_order()
        place = next(place for place, card in enumerate(cards) if card.title[language] == title)
        await rep.press("home", *["j"] * place)
        await rep.see(title)
        return rep.strips


def _svg(lines: list[Strip]) -> str:
    columns, rows = SIZE
    total = (columns * COLUMN + 2 * MARGIN, rows * ROW + 2 * MARGIN)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" font-size="16.6" '
            'font-family="ui-monospace, DejaVu Sans Mono, Noto Sans Mono CJK SC, monospace" xml:space="preserve">',
            f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>',
            *(element for row, line in enumerate(lines) for element in _line(row, line)),
            "</svg>\n",
        ]
    )


def _line(row: int, line: Strip) -> Iterator[str]:
    column, y = 0, MARGIN + row * ROW
    for text, style, _ in line:
        style = style or Style()
        ink = RED if style.color and style.color.name == "red" else INK
        if style.reverse:
            x = MARGIN + column * COLUMN
            yield f'<rect x="{x}" y="{y}" width="{width(text) * COLUMN}" height="{ROW}" fill="{ink}"/>'
            ink = PAPER
        weight = ' font-weight="bold"' if style.bold else ""
        for run in RUN.findall(text):
            if not run.isspace():
                place = f'x="{MARGIN + column * COLUMN}" y="{y + 16}" textLength="{width(run) * COLUMN}"'
                yield f'<text {place} lengthAdjust="spacingAndGlyphs" fill="{ink}"{weight}>{escape(run)}</text>'
            column += width(run)


def main() -> None:
    """Fill a site, look at it in both languages, write the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.db")
        fill(journal)
        with served(parts_of(journal, Path(folder))) as url:
            for language, (name, title) in PICTURES.items():
                lines = asyncio.run(_lines(url, language, title))
                (IMAGES / name).write_text(_svg(lines), "utf-8")
        journal.close()


if __name__ == "__main__":
    main()
