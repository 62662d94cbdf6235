"""The terminal's tests run against the gateway's real HTTP interface over a real journal."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.strip import Strip

from edge.decide.playbook import read_playbook
from edge.events import (
    Action,
    Chain,
    Decision,
    Event,
    MeasuredEvidence,
    Note,
    SpokenEvidence,
    Terms,
    new_id,
    now_us,
)
from edge.site import SAMPLE
from edge.store.journal import Conclusions, Journal, Offer
from edge.web.app import create_app
from edge.web.server import Server
from tests.records import a_prediction, an_action
from tests.served import parts_of
from tui.app import Terminal
from tui.lines import Lines
from tui.words import Language

MINUTE_US = 60_000_000
PLAYBOOK = read_playbook(SAMPLE / "playbook.toml")
PATIENCE_S = 20.0


class Site:
    """A gateway that can be switched off and on again at the same address, and a way to put cards into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.journal = Journal(folder / "journal.db")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._server: Server | None = None
        self._thread = threading.Thread()

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        listening = socket.create_server(("127.0.0.1", self.port))
        server = Server(create_app(parts_of(self.journal, self._folder, playbook=PLAYBOOK)), "127.0.0.1", self.port)
        self._thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        self._thread.start()
        self._server = server

    def stop(self) -> None:
        """Stop answering; the journal stays."""
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(timeout=PATIENCE_S)
            assert not self._thread.is_alive()
            self._server = None

    def put_card(
        self,
        play: str = "fit-the-budget",
        *,
        subject: str = "Red Ridge mine",
        due_in_min: float = 30,
        fires_in_min: float | None = None,
        role: str = "rep",
        what: dict[str, str] | None = None,
        evidence: SpokenEvidence | MeasuredEvidence | None = None,
        terms: Terms | None = None,
        has_chain: bool = False,
    ) -> str:
        """Put a card into the journal as the pipeline would, if it `has_chain` as the one step of that; gives its
        id."""
        now = now_us()
        due = now + round(due_in_min * MINUTE_US)
        action = an_action(
            at=now,
            role=role,
            what=what or {"en": "Offer two instalments.", "zh": "提出分两期付款。"},
            due=due,
            fires_at=None if fires_in_min is None else now + round(fires_in_min * MINUTE_US),
            terms=terms or Terms(),
        )
        chain = Chain(
            goal="deal",
            steps=(action.id,),
            before=0.83,
            after=0.91,
            low=0.86,
            high=0.94,
            minutes=10,
            within_minutes=17,
            unproven=(action.id,),
        )
        self._decide(play, subject, due, action, evidence, "deal" if has_chain else "", chain if has_chain else None)
        return action.id

    def want_outcome(self, subject: str, evidence: SpokenEvidence | None = None) -> str:
        """Put a decision into the journal whose time to act is over; gives its id."""
        return self._decide("budget", subject, now_us() - 1, None, evidence, "deal", None)

    def _decide(
        self,
        play: str,
        subject: str,
        deadline: int,
        action: Action | None,
        evidence: SpokenEvidence | MeasuredEvidence | None,
        goal: str,
        chain: Chain | None,
    ) -> str:
        """Put a decision and what led to it into the journal, without an action in the arm that is left alone."""
        now = now_us()
        note = Note(text="too dear", author="li", language="en")
        event = Event(at=now, source="test", subject=subject, received_at=now, boot_id=self.journal.boot_id, data=note)
        said = () if evidence is None else (evidence,)
        prediction = a_prediction(at=now, signal_id=new_id(), subject=subject, probability=0.87, evidence=said)
        decision = Decision(
            id=new_id() if action is None else action.decision_id,
            at=now,
            prediction_id=prediction.id,
            event_id=event.id,
            subject=subject,
            play=play,
            deadline=deadline,
            arm="control" if action is None else "treatment",
            goal=goal,
            outcome_until=now + 1_000 * MINUTE_US,
            chain=chain,
        )
        actions = [] if action is None else [action]
        self.journal.accept([Offer(events=[(None, event)])]).result()
        self.journal.conclude(Conclusions(predictions=[prediction], decisions=[decision], actions=actions)).result()
        return decision.id

    def let_time_pass(self) -> None:
        """Let what was to happen by itself until now happen."""
        for timer in self.journal.due_timers(100):
            self.journal.elapse(timer).result()

    def outcomes(self) -> list[tuple[str, float, str]]:
        """What was told of decisions, oldest first: of which, how far, by whom."""
        rows = self.journal.readers.connection().execute("SELECT decision_id, value, by FROM outcomes ORDER BY seq")
        return [(decision_id, value, by) for decision_id, value, by in rows]

    def moves(self, card_id: str) -> list[tuple[str, str]]:
        """What was done to a card, oldest first: the state it went to, and who did it."""
        rows = self.journal.readers.connection().execute(
            "SELECT state, by FROM transitions WHERE action_id = ? ORDER BY seq", (card_id,)
        )
        return [(state, by) for state, by in rows]

    def notes(self) -> list[Event]:
        """The notes in the journal, without those of `put_card`."""
        return [event for _, event in self.journal.events_after("note", 0, 1000) if event.source != "test"]

    def close(self) -> None:
        """Stop, and close the journal."""
        self.stop()
        self.journal.close()


class Proxy:
    """A link that can be cut, and that can lose answers, between a terminal and a gateway."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.loses_answers_to = b""
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End every connection; new ones are taken."""
        for connection in self._open:
            _end(connection)
        self._open.clear()

    def close(self) -> None:
        """End for good."""
        _end(self._listening)
        self.cut()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to_port))
            self._open += [near, far]
            lost = threading.Event()
            threading.Thread(target=self._ask, args=(near, far, lost), daemon=True).start()
            threading.Thread(target=self._answer, args=(far, near, lost), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket, lost: threading.Event) -> None:
        for request in _received(near):
            self.requests.append(request)
            if self.loses_answers_to and self.loses_answers_to in request:
                self.loses_answers_to = b""
                lost.set()
            far.sendall(request)
        _end(far)

    def _answer(self, far: socket.socket, near: socket.socket, lost: threading.Event) -> None:
        for answer in _received(far):
            if lost.is_set():
                break
            near.sendall(answer)
        _end(near)


def _received(connection: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            piece = connection.recv(65536)
        except OSError:
            return
        if not piece:
            return
        yield piece


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        connection.close()


@pytest.fixture
def anyio_backend() -> str:
    """Textual runs on asyncio."""
    return "asyncio"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A gateway that answers, without cards."""
    site = Site(tmp_path)
    site.start()
    yield site
    site.close()


@contextmanager
def proxied(site: Site) -> Iterator[Proxy]:
    """A link to the site that can be cut."""
    proxy = Proxy(site.port)
    try:
        yield proxy
    finally:
        proxy.close()


class Rep:
    """Somebody before a terminal: sees lines, presses keys."""

    def __init__(self, app: Terminal, pilot: Pilot[None]) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def strips(self) -> list[Strip]:
        """What the screen shows of the board, with its styles."""
        parts = self.app.screen_stack[0].query(Lines)
        return [part.render_line(y) for part in parts for y in range(part.size.height)]

    @property
    def lines(self) -> list[str]:
        """What the screen shows of the board."""
        return [strip.text for strip in self.strips]

    @property
    def page(self) -> str:
        """What the page says that lies over the board."""
        part = self.app.screen.query_one(Lines)
        return "\n".join(part.render_line(y).text.rstrip() for y in range(part.size.height))

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        await self._pilot.press(*keys)

    async def see(self, text: str) -> None:
        """Wait until the screen shows `text`."""
        await self.until(lambda: text in "\n".join(self.lines))

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; fails with the screen when that takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, "\n".join(self.lines)
            await self._pilot.pause()
            await asyncio.sleep(0.02)


@asynccontextmanager
async def rep_at(url: str, language: Language = "en", size: tuple[int, int] = (80, 24)) -> AsyncIterator[Rep]:
    """The rep zhang at a terminal."""
    app = Terminal(url, "zhang", language)
    async with app.run_test(size=size) as pilot:
        yield Rep(app, pilot)
