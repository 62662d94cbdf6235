"""The two pages that lie over the cards for a moment: writing a note, and what the keys do."""

import uuid
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import Screen
from textual.widgets import Input, Static

from tui.client import NewNote
from tui.view import help_page
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
