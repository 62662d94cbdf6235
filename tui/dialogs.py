"""The pages that lie over the cards for a moment: writing a note, what came of decisions, and what the keys do."""

import uuid
from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import Screen
from textual.widgets import Input, Static

from tui.board import Board
from tui.client import NewNote
from tui.lines import Lines
from tui.view import help_page, outcome_page
from tui.words import Language, say

# What the gateway takes.
LONGEST_SUBJECT = 200
LONGEST_TEXT = 10_000


class NotePage(Screen[NewNote | None]):
    """Asks for a subject and a text; gives the note, or None when the rep leaves without one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)")]

    def __init__(self, language: Language, author: str, subject: str) -> None:
        super().__init__()
        self._language: Language = language
        self._author = author
        self._subject = subject

    def compose(self) -> ComposeResult:
        """Two fields with their names above."""
        yield Static(say(self._language, "note.title"), classes="title", markup=False)
        yield Static(say(self._language, "note.subject"), markup=False)
        yield Input(self._subject, id="subject", max_length=LONGEST_SUBJECT)
        yield Static(say(self._language, "note.text"), markup=False)
        yield Input(id="text", max_length=LONGEST_TEXT)
        yield Static(id="missing", markup=False)
        yield Static(say(self._language, "note.keys"), markup=False)

    def on_mount(self) -> None:
        """Start where something is missing."""
        self.query_one("#text" if self._subject else "#subject", Input).focus()

    def on_input_submitted(self) -> None:
        """Go to the field that is still empty, or be done."""
        fields = {name: self.query_one(f"#{name}", Input) for name in ("subject", "text")}
        empty = next((field for field in fields.values() if not field.value.strip()), None)
        if empty is None:
            subject, text = fields["subject"].value.strip(), fields["text"].value.strip()
            key = uuid.uuid4().hex
            self.dismiss(NewNote(subject=subject, author=self._author, text=text, language=self._language, key=key))
        elif empty.has_focus:
            self.query_one("#missing", Static).update(say(self._language, "note.empty"))
        else:
            empty.focus()


class OutcomePage(Screen[None]):
    """Asks what came of decisions, those that were asked about when it was opened; told ones stay in their places, so
    that a key pressed twice tells nothing of the next. `now_us` is the gateway's clock; `told` is called after each
    answer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)"),
        Binding("up,k", "choose(-1)"),
        Binding("down,j", "choose(1)"),
        Binding("y", "tell(1.0)"),
        Binding("n", "tell(0.0)"),
        Binding("enter", "tell_typed"),
        Binding("backspace", "rub_out"),
    ]

    def __init__(self, board: Board, now_us: Callable[[], int], told: Callable[[], None]) -> None:
        super().__init__()
        self._board = board
        self._now_us = now_us
        self._told = told
        self._wanted = [one for one in board.wanted if one.decision_id not in board.told]
        self._place = 0
        self._typed = ""

    def compose(self) -> ComposeResult:
        """Lines over the whole screen."""
        yield Lines(id="outcomes")

    def on_mount(self) -> None:
        """Follow the board: what was told may be sent meanwhile."""
        self.set_interval(1, self.paint)

    def on_resize(self) -> None:
        """Paint for the new size once the lines have theirs."""
        self.call_after_refresh(self.paint)

    def paint(self) -> None:
        """Bring the page up to date."""
        lines = self.query_one(Lines)
        columns, rows = lines.size
        lines.show(outcome_page(self._board, self._wanted, self._place, self._typed, self._now_us(), columns, rows))

    def on_key(self, event: Key) -> None:
        """Take a digit of so many per cent; no key reaches the cards that lie beneath."""
        if event.key in self._bindings.key_to_bindings:
            return
        event.stop()
        if event.character and event.character in "0123456789" and self._wanted:
            self._typed = (self._typed + event.character)[-3:]
            self._say("")

    def action_choose(self, steps: int) -> None:
        """Go to another decision."""
        self._place = min(max(self._place + steps, 0), max(0, len(self._wanted) - 1))
        self._typed = ""
        self._say("")

    def action_tell(self, value: float) -> None:
        """Say how far the goal of the chosen decision was reached."""
        self._typed = ""
        self._board.said = ""
        if self._wanted:
            self._board.tell(self._wanted[self._place].decision_id, value)
            self._told()
        self.paint()

    def action_tell_typed(self) -> None:
        """Say it by the per cent that were typed."""
        if not self._typed:
            return
        percent = int(self._typed)
        if percent > 100:
            self._typed = ""
            self._say(say(self._board.language, "outcome.range"))
        else:
            self.action_tell(percent / 100)

    def action_rub_out(self) -> None:
        """Take back the last digit."""
        self._typed = self._typed[:-1]
        self._say("")

    def _say(self, sentence: str) -> None:
        self._board.said = sentence
        self.paint()


class HelpPage(Screen[None]):
    """What the keys do, until any key."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self._language: Language = language

    def compose(self) -> ComposeResult:
        """The page as one text."""
        yield Static(id="help", markup=False)

    def on_resize(self) -> None:
        """Wrap it for the room there is."""
        lines = help_page(self._language, self.size.width)
        self.query_one("#help", Static).update(lines[0].blank_copy("\n").join(lines))

    def on_key(self, event: Key) -> None:
        """Go back."""
        event.stop()
        self.dismiss(None)
