"""Live calls by a client of vosk-server and by AudioSocket: what they are told, what is kept, what is declined."""

import asyncio
import json
import struct
import uuid
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from edge.bench.waiting import free_port, until
from edge.daemon import Opened, open_site
from edge.site import SAMPLE, make_site, read_site
from edge.sources.ears import Ears
from edge.sources.live import About, LiveCalls
from edge.store import queries
from edge.store.queries import CallRow

pytestmark = pytest.mark.speech

RATE_HZ = 8000
MONEY_S = 80
SENTENCES_S = 30  # of the sample's call: three utterances of the customer


class Site:
    """A site that hears live calls."""

    def __init__(self, folder: Path, stack: ExitStack, **live: object) -> None:
        self.folder = folder
        make_site(folder, sample=False)
        self.vosk_port, self.socket_port = free_port(), free_port()
        text = (folder / "site.toml").read_text().replace('language = "zh"', 'language = "en"')
        table = {"vosk_port": self.vosk_port, "audiosocket_port": self.socket_port, "rejoin_seconds": 0.2, **live}
        text += "\n[live]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
        (folder / "site.toml").write_text(text)
        site = read_site(folder)
        self.opened: Opened = open_site(site, stack)
        calls = LiveCalls(self.opened.journal, self.opened.sound, self.opened.room, site.settings.live, "en")
        self.ears = Ears(calls, site.settings.live)
        self.opened.pipeline.start()
        stack.callback(self.opened.pipeline.stop)
        self.ears.start()
        stack.callback(self.ears.stop)

    def select(self, sql: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.opened.journal.readers.connection().execute(sql).fetchall()
        return rows

    def transcripts(self) -> dict[str, str]:
        """What was said, by channel, once every call is transcribed."""
        until(lambda: self.select("SELECT count(*) FROM transcripts WHERE done = 0") == [(0,)], "all is heard", 60)
        said: dict[str, list[str]] = {}
        for channel, text in self.select(
            "SELECT data ->> 'channel', data ->> 'text' FROM signals WHERE kind = 'utterance' "
            "ORDER BY data ->> 'start_s'"
        ):
            said.setdefault(channel, []).append(text)
        return {channel: " ".join(texts) for channel, texts in said.items()}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def site(tmp_path: Path, stack: ExitStack, packs: Path) -> Site:
    return Site(tmp_path / "site", stack)


@pytest.fixture(scope="module")
def call() -> NDArray[np.int16]:
    """The beginning of the sample's call: [samples, agent and customer]."""
    sound: NDArray[np.int16]
    sound, _ = soundfile.read(SAMPLE / "inbox" / "hoist-quote.flac", SENTENCES_S * RATE_HZ, dtype="int16")
    return sound


@pytest.fixture(scope="module")
def money() -> NDArray[np.int16]:
    """The part of the sample's call in which the customer has no more money and names a rival."""
    sound: NDArray[np.int16]
    sound, _ = soundfile.read(
        SAMPLE / "inbox" / "hoist-quote.flac", SENTENCES_S * RATE_HZ, MONEY_S * RATE_HZ, dtype="int16"
    )
    return sound


async def speak(
    port: int, query: str, sound: NDArray[np.int16], config: dict[str, Any] | None = None, piece_s: float = 0.2
) -> list[dict[str, Any]]:
    """What vosk-server's client does: configuration, sound piece by piece with an answer to each, end."""
    answers: list[dict[str, Any]] = []
    async with connect(f"ws://127.0.0.1:{port}{query}") as socket:
        await socket.send(json.dumps({"config": {"sample_rate": RATE_HZ, **(config or {})}}))
        step = round(piece_s * RATE_HZ)
        for first in range(0, len(sound), step):
            await socket.send(sound[first : first + step].tobytes())
            answers.append(json.loads(await socket.recv()))
        await socket.send('{"eof" : 1}')
        answers.append(json.loads(await socket.recv()))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    return answers


def test_a_client_of_vosk_server_gets_an_answer_to_each_message_and_the_journal_the_call(
    site: Site, call: NDArray[np.int16]
) -> None:
    answers = asyncio.run(speak(site.vosk_port, "/?customer=Red+Ridge&channel=customer", call[:, 1]))
    assert len(answers) == SENTENCES_S * 5 + 1
    assert all(answer.keys() in ({"partial"}, {"text"}, {"result", "text"}) for answer in answers)
    assert any(answer.get("partial") for answer in answers)
    finals = [answer for answer in answers if answer.get("text")]
    assert all(word.keys() == {"conf", "end", "start", "word"} for final in finals for word in final["result"])
    starts = [word["start"] for final in finals for word in final["result"]]
    assert starts == sorted(starts)
    told = " ".join(final["text"] for final in finals)
    assert site.transcripts() == {"customer": told}
    assert "the rope" in told
    assert site.select("SELECT subject, source, data ->> 'live' FROM events") == [("Red Ridge", "live", 1)]


def test_what_is_asked_for_is_told_and_nothing_else(site: Site, call: NDArray[np.int16]) -> None:
    plain = asyncio.run(speak(site.vosk_port, "/", call[:, 1], {"words": False}))
    assert all(answer.keys() in ({"partial"}, {"text"}) for answer in plain)
    three = asyncio.run(speak(site.vosk_port, "/", call[:, 1], {"max_alternatives": 3}))
    assert any(len(answer["alternatives"]) > 1 for answer in three if "alternatives" in answer)
    phrases = {"phrase_list": ["the rope", "shift engineer", "[unk]"]}
    few = asyncio.run(speak(site.vosk_port, "/", call[:, 1], phrases))
    words = {word["word"] for answer in few for word in answer.get("result", [])}
    assert words <= {"the", "rope", "shift", "engineer", "[unk]"}
    assert "rope" in words


def test_both_legs_of_a_call_are_one_call(site: Site, call: NDArray[np.int16]) -> None:
    async def both() -> None:
        legs = [
            speak(site.vosk_port, f"/?call=77&channel={c}", call[:, t]) for t, c in enumerate(("agent", "customer"))
        ]
        await asyncio.gather(*legs)

    asyncio.run(both())
    said = site.transcripts()
    assert said.keys() == {"agent", "customer"}
    assert "help you" in said["agent"]
    assert site.select("SELECT count(*), data ->> 'channels' FROM events") == [(1, '["agent","customer"]')]
    ((talk,),) = site.select("SELECT data ->> 'talk_share' FROM signals WHERE kind = 'talk'")
    assert json.loads(talk).keys() == {"agent", "customer"}


def test_a_reset_ends_the_sentence_and_the_leg_goes_on(site: Site, call: NDArray[np.int16]) -> None:
    async def talk() -> tuple[dict[str, Any], dict[str, Any]]:
        async with connect(f"ws://127.0.0.1:{site.vosk_port}/") as socket:
            await socket.send('{"config" : {"sample_rate" : 8000}}')
            for first in (5 * RATE_HZ, 18 * RATE_HZ):
                await socket.send(call[first : first + 3 * RATE_HZ, 1].tobytes())
                await socket.recv()
                await socket.send('{"reset" : 1}' if first == 5 * RATE_HZ else '{"eof" : 1}')
                answer = json.loads(await socket.recv())
                if first == 5 * RATE_HZ:
                    reset = answer
        return reset, answer

    reset, last = asyncio.run(talk())
    assert reset["text"].startswith("morning")
    assert last["text"]
    assert last["result"][0]["start"] >= 3.0


def frame(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BH", kind, len(payload)) + payload


async def dial(port: int, name: uuid.UUID, sound: NDArray[np.int16], end: bytes) -> bytes:
    """What Asterisk's AudioSocket does; gives what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(frame(0x01, name.bytes))
    pcm = sound.tobytes()
    for first in range(0, len(pcm), 320):
        writer.write(frame(0x10, pcm[first : first + 320]))
    writer.write(frame(0x03, b"5") + end)
    await writer.drain()
    if not end.endswith(frame(0x00)):
        writer.write_eof()
    back = await reader.read()
    writer.close()
    return back


@pytest.mark.parametrize("end", [frame(0x00), b"", frame(0xFF, b"\x04") + frame(0x00), b"\x10\x01"])
def test_asterisk_calls_by_audiosocket_and_hangs_up_in_every_way(
    site: Site, call: NDArray[np.int16], end: bytes
) -> None:
    name = uuid.uuid4()
    site.ears.register(name, About(call="88", channel="customer", customer="Blue Hill", language="en"))

    assert asyncio.run(dial(site.socket_port, name, call[:, 1], end)) in (frame(0x00), b"")
    assert site.transcripts()["customer"].startswith("morning")
    assert site.select("SELECT subject FROM events") == [("Blue Hill",)]


async def closed(socket: ClientConnection) -> tuple[int, str]:
    with suppress(ConnectionClosed):
        while True:
            await socket.recv()
    return int(socket.close_code or 0), socket.close_reason or ""


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", 1003),
        ('{"config" : {"sample_rate" : 0}}', 1003),
        ('{"config" : {"sample_rate" : 1e9}}', 1003),
        ('{"config" : {"phrase_list" : 5}}', 1003),
        (bytes(2 << 20), 1009),
    ],
)
def test_what_is_no_message_ends_the_connection_with_a_reason_and_no_other(
    site: Site, call: NDArray[np.int16], message: str | bytes, code: int
) -> None:
    async def disturb() -> tuple[int, str]:
        async with connect(f"ws://127.0.0.1:{site.vosk_port}/") as socket:
            await socket.send(message)
            return await closed(socket)

    async def all_of_it() -> tuple[tuple[int, str], list[dict[str, Any]]]:
        others = asyncio.create_task(speak(site.vosk_port, "/?channel=customer", call[: 12 * RATE_HZ, 1]))
        return await disturb(), await others

    (found, reason), answers = asyncio.run(all_of_it())
    assert found == code
    assert reason
    assert any(answer.get("text") for answer in answers)


def test_a_call_is_live_while_it_goes_on_and_has_its_length_afterwards(site: Site, call: NDArray[np.int16]) -> None:
    def row() -> CallRow:
        (one,) = queries.calls(site.opened.journal.readers.connection(), limit=2, before=None)
        return one

    async def some_of_it() -> tuple[CallRow, CallRow]:
        async with connect(f"ws://127.0.0.1:{site.vosk_port}/?channel=customer") as socket:
            await socket.send(json.dumps({"config": {"sample_rate": RATE_HZ}}))
            await socket.send(call[:RATE_HZ, 1].tobytes())
            await socket.recv()
            during = row()
            await socket.send(call[RATE_HZ : 3 * RATE_HZ, 1].tobytes())
            await socket.recv()
            await socket.send('{"eof" : 1}')
            await socket.recv()
        site.transcripts()
        return during, row()

    during, after = asyncio.run(some_of_it())
    assert (during.live, during.done) == (True, False)
    assert (after.live, after.done) == (False, True)
    assert after.duration_s == pytest.approx(3.0, abs=0.2)


def test_at_the_floor_of_the_disk_a_leg_ends_with_a_reason_and_what_there_was_of_it_is_heard(
    site: Site, call: NDArray[np.int16]
) -> None:
    room = site.opened.room

    async def fill() -> tuple[int, str]:
        async with connect(f"ws://127.0.0.1:{site.vosk_port}/?channel=customer") as socket:
            await socket.send(json.dumps({"config": {"sample_rate": RATE_HZ}}))
            await socket.send(call[: 12 * RATE_HZ, 1].tobytes())
            await socket.recv()
            room._disk = msgspec.structs.replace(room._disk, floor_mb=10**9)
            with suppress(ConnectionClosed):
                while True:  # silence, until it is told
                    await socket.send(bytes(RATE_HZ // 5))
                    await asyncio.wait_for(socket.recv(), 20)
            return await closed(socket)

    code, reason = asyncio.run(fill())
    assert code == 1013
    assert "The disk is full" in reason
    assert "morning" in site.transcripts()["customer"]


def test_a_leg_that_lies_about_its_sample_rate_is_told_of_in_the_log(site: Site, call: NDArray[np.int16]) -> None:
    async def lie() -> None:
        async with connect(f"ws://127.0.0.1:{site.vosk_port}/?channel=customer") as socket:
            await socket.send(json.dumps({"config": {"sample_rate": RATE_HZ}}))
            while not logs:  # as 48 kHz would come
                await socket.send(bytes(6 * 2 * RATE_HZ // 10))
                await asyncio.wait_for(socket.recv(), 20)
                await asyncio.sleep(0.1)

    with capture_logs() as every:
        logs = _Those(every, "a leg brings sound faster than anybody speaks")
        asyncio.run(asyncio.wait_for(lie(), 30))
    (told,) = logs
    assert (told["rate_hz"], told["channel"]) == (RATE_HZ, "customer")
    assert told["seconds"] > told["passed_s"]


class _Those:
    """The log lines that begin like this."""

    def __init__(self, every: Sequence[MutableMapping[str, Any]], begin: str) -> None:
        self._every = every
        self._begin = begin

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[MutableMapping[str, Any]]:
        return (line for line in list(self._every) if str(line["event"]).startswith(self._begin))


def test_an_address_that_says_what_is_not_known_is_answered_by_http(site: Site) -> None:
    async def ask(query: str) -> int:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{site.vosk_port}{query}")
        return refused.value.response.status_code

    for query in ("/?uuid=no", "/?what=1", "/?channel=" + "x" * 100, "/?direction=up"):
        assert asyncio.run(ask(query)) == 400


def test_more_legs_than_are_heard_are_told_to_come_later(tmp_path: Path, stack: ExitStack, packs: Path) -> None:
    site = Site(tmp_path / "site", stack, most_legs=2)
    silence = np.zeros(RATE_HZ // 10, np.int16).tobytes()

    async def crowd() -> list[tuple[int, str]]:
        async with ExitStackOfSockets(site.vosk_port, 3) as sockets:
            for socket in sockets[:2]:
                await socket.send(silence)
                await socket.recv()
            await sockets[2].send(silence)
            return [await closed(sockets[2])]

    ((code, reason),) = asyncio.run(crowd())
    assert code == 1013
    assert "most_legs" in reason


def test_a_leg_that_never_ends_and_says_nothing_is_ended(tmp_path: Path, stack: ExitStack, packs: Path) -> None:
    site = Site(tmp_path / "site", stack, silent_seconds=0.3)

    async def wait() -> tuple[int, str]:
        async with connect(f"ws://127.0.0.1:{site.vosk_port}/") as socket:
            await socket.send(bytes(320))
            await socket.recv()
            return await closed(socket)

    assert asyncio.run(wait()) == (1000, "nothing came for long")
    assert site.transcripts() == {}


class ExitStackOfSockets:
    """Some connections, closed together."""

    def __init__(self, port: int, count: int) -> None:
        self._port, self._count = port, count
        self._sockets: list[ClientConnection] = []

    async def __aenter__(self) -> list[ClientConnection]:
        self._sockets = [await connect(f"ws://127.0.0.1:{self._port}/") for _ in range(self._count)]
        return self._sockets

    async def __aexit__(self, *_: object) -> None:
        for socket in self._sockets:
            await socket.close()


def test_what_is_said_leads_to_cards_before_the_sentence_ends_and_once(site: Site, money: NDArray[np.int16]) -> None:
    asyncio.run(speak(site.vosk_port, "/?channel=customer&customer=Red+Ridge", money[:, 1], piece_s=0.1))
    site.transcripts()
    twice = "SELECT decision_id, step FROM actions GROUP BY decision_id, step HAVING count(*) > 1"
    assert site.select(twice) == []
    # A decision on a sentence stands beside the sentence: each prediction's signal is an utterance of the call.
    dangling = (
        "SELECT count(*) FROM predictions p LEFT JOIN signals s ON s.id = p.signal_id "
        "WHERE s.id IS NULL AND p.id IN (SELECT prediction_id FROM decisions)"
    )
    assert site.select(dangling) == [(0,)]
    early = (
        "SELECT count(*) FROM predictions p JOIN signals s ON s.id = p.signal_id "
        "WHERE p.evidence ->> '$[0].text' <> s.data ->> 'text'"
    )
    ((acted_early,),) = site.select(early)
    assert acted_early > 0


def test_a_leg_that_cannot_be_kept_leaves_no_call_that_never_ends(site: Site, call: NDArray[np.int16]) -> None:
    folder = site.folder / "data" / "live"
    folder.write_bytes(b"in the way")

    async def refused() -> tuple[int, str]:
        async with connect(f"ws://127.0.0.1:{site.vosk_port}/?call=9&channel=customer") as socket:
            await socket.send(call[:RATE_HZ, 1].tobytes())
            return await closed(socket)

    code, reason = asyncio.run(refused())
    assert code == 1013
    assert reason
    assert site.transcripts() == {}
    folder.unlink()
    asyncio.run(speak(site.vosk_port, "/?call=9&channel=customer", call[:, 1]))
    assert site.transcripts()["customer"].startswith("morning")


def test_a_crowd_that_comes_at_once_is_counted_one_by_one(tmp_path: Path, stack: ExitStack, packs: Path) -> None:
    site = Site(tmp_path / "site", stack, most_legs=2)

    async def one(socket: ClientConnection) -> bool:
        await socket.send(bytes(320))
        with suppress(ConnectionClosed):
            await socket.recv()
            return True
        return False

    async def crowd() -> list[bool]:
        async with ExitStackOfSockets(site.vosk_port, 20) as sockets:
            return await asyncio.gather(*(one(socket) for socket in sockets))

    assert sum(asyncio.run(crowd())) == 2
