"""The rep's terminal: keys to the board, the board to the screen, once a second and after every change."""

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType

from tui import view
from tui.board import Answer, Board
from tui.client import Gateway, NewNote
from tui.dialogs import HelpPage, NotePage, OutcomePage
from tui.lines import Lines
from tui.link import Link
from tui.words import Language, other, say


class Terminal(App[None]):
    """The terminal of the rep `name` at the gateway `url`."""

    TITLE = "Outstation"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { overflow: hidden; }
    NotePage, HelpPage { overflow-y: auto; }
    Lines { height: 1fr; }
    #head { height: 1; }
    #cards { height: 2fr; min-height: 2; }
    #card { height: 3fr; }
    #foot { height: 3; }
    NotePage { padding: 1 2; }
    NotePage .title { text-style: bold; margin-bottom: 1; }
    NotePage Input { border: ascii; margin-bottom: 1; }
    #missing { text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "choose(-1)"),
        Binding("down,j", "choose(1)"),
        Binding("home,g", "choose(-100000)"),
        Binding("end,G", "choose(100000)"),
        Binding("pageup", "scroll(-1)"),
        Binding("pagedown,space", "scroll(1)"),
        Binding("a", "decide('accept')"),
        Binding("d", "decide('decline')"),
        Binding("x", "decide('done')"),
        Binding("u", "undo"),
        Binding("h", "hand_over"),
        Binding("n", "note"),
        Binding("o", "outcomes"),
        Binding("l", "language"),
        Binding("r", "reload"),
        Binding("question_mark", "help"),
        Binding("q,ctrl+c", "leave"),
    ]

    def __init__(self, url: str, name: str, language: Language) -> None:
        # The terminal's own sixteen colours: whoever set them for bad light knows better than we do.
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.board = Board(language=language, name=name)
        self.gateway = Gateway(url)
        self._link = Link(self.gateway, self.board, self.paint, self.bell)
        self._scroll = 0
        self._is_leaving = False

    def compose(self) -> ComposeResult:
        """Head, list, chosen card, foot."""
        for name in ("head", "cards", "card", "foot"):
            yield Lines(id=name)

    def on_mount(self) -> None:
        """Start to follow the gateway and the clock."""
        self.run_worker(self._link.follow())
        self.run_worker(self._link.deliver())
        self.run_worker(self._link.survey())
        self.set_interval(1, self.paint)

    def on_resize(self) -> None:
        """Paint for the new size once the parts of the screen have theirs."""
        self.call_after_refresh(self.paint)

    async def on_unmount(self) -> None:
        """Close the connections."""
        await self.gateway.close()

    def paint(self) -> None:
        """Bring the screen up to date with the board."""
        now_us = self.gateway.now_us()
        head, cards, card, foot = self.screen_stack[0].query(Lines)
        head.show(view.head(self.board, now_us, head.size.width))
        cards.show(view.card_list(self.board, now_us, cards.size.width, cards.size.height))
        lines, self._scroll = view.card_page(self.board, now_us, card.size.width, card.size.height, self._scroll)
        card.show(lines)
        foot.show(view.foot(self.board, foot.size.width))

    def action_choose(self, steps: int) -> None:
        """Move the choice."""
        self.board.choose(steps)
        self._scroll = 0
        self._acted()

    def action_scroll(self, pages: int) -> None:
        """Move the text of the chosen card by half of what is seen."""
        self._scroll += pages * max(1, self.query_one("#card").size.height // 2)
        self.paint()

    def action_decide(self, verb: Answer) -> None:
        """Accept, decline or finish the chosen card."""
        self._acted()
        self.board.decide(verb)
        self._link.send_soon()
        self.paint()

    def action_undo(self) -> None:
        """Take back what was done with the chosen card, or what this rep did last."""
        self._acted()
        self.board.undo(self.gateway.now_us())
        self._link.send_soon()
        self.paint()

    def action_hand_over(self) -> None:
        """Give the chosen card to the role that its play names."""
        self._acted()
        self.board.hand_over()
        self._link.send_soon()
        self.paint()

    def action_outcomes(self) -> None:
        """Tell what came of decisions."""
        self._acted()
        self.push_screen(OutcomePage(self.board, self.gateway.now_us, self._link.send_soon))

    def action_note(self) -> None:
        """Write a note, about the chosen card's subject unless the rep changes that."""
        subject = self.board.chosen.subject if self.board.chosen else ""
        self._acted()
        self.push_screen(NotePage(self.board.language, self.board.name, subject), self._keep_note)

    def action_language(self) -> None:
        """Change between Chinese and English."""
        self.board.language = other(self.board.language)
        self._acted()

    async def action_reload(self) -> None:
        """Read everything anew."""
        self._acted()
        await self._link.reload()

    def action_help(self) -> None:
        """Show what the keys do."""
        self._acted()
        self.push_screen(HelpPage(self.board.language))

    def action_leave(self) -> None:
        """End; if something was not sent yet, only when asked twice in a row."""
        if not self.board.waiting or self._is_leaving:
            self.exit()
            return
        self._acted()
        self._is_leaving = True
        self.board.said = say(self.board.language, "quit_loses", count=len(self.board.waiting))
        self.paint()

    def _keep_note(self, note: NewNote | None) -> None:
        if note is not None:
            self.board.note(note)
            self._link.send_soon()
        self.paint()

    def _acted(self) -> None:
        """The rep has pressed a key: what was told before has been read."""
        self.board.said = ""
        self._is_leaving = False
        self.paint()
