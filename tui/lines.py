"""A part of the screen that shows lines of text."""

from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class Lines(Widget):
    """Lines of text from its top. Only lines that changed are drawn again: the terminal may hang on a serial line."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: list[Text] = []

    def show(self, lines: list[Text]) -> None:
        """Show `lines` instead of those before."""
        before, self._lines = self._lines, lines
        nothing = Text()
        for y in range(max(len(before), len(lines))):
            old = before[y] if y < len(before) else nothing
            if (lines[y] if y < len(lines) else nothing) != old:
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """Line `y` as the terminal gets it."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width)
        return Strip(self._lines[y].render(self.app.console)).adjust_cell_length(self.size.width)
