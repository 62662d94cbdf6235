"""The site's end of the link for tests: a journal, the link as a process, and an HQ end that a test can bend."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import uuid_utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sync import keys
from sync.envelope import Header, Row, dictionary_id, open_header, unpack
from sync.errors import DictionaryUnknown
from sync.protocol import (
    Ack,
    Claim,
    Dictionary,
    Have,
    Held,
    Hello,
    Lane,
    Refused,
    State,
    Taken,
    ack_topic,
    digest_of,
)
from sync.ranges import Ranges
from sync.sealed import seal, unseal

OUTBOX = """
CREATE TABLE outbox (
  epoch INTEGER NOT NULL, lane TEXT NOT NULL, seq INTEGER NOT NULL, span INTEGER NOT NULL DEFAULT 1, kind TEXT NOT NULL,
  id TEXT NOT NULL, at INTEGER NOT NULL, boot TEXT NOT NULL, mono INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY (epoch, lane, seq)) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_sizes ON outbox (epoch, lane, seq, span, kind, at, length(record));
"""
SITE = "mine-3"
BROKER = """
server_name: test
host: 127.0.0.1
port: -1
max_payload: 4MB
jetstream { store_dir: "%s" }
mqtt { host: 127.0.0.1, port: %d }
"""


def eventually(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """What `condition` gives once it is true; fails after `within_s`."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not true within {within_s} s"
        time.sleep(0.02)
    return value


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Journal:
    """The outbox as the daemon writes it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(5000)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(OUTBOX)

    def add(self, lane: str, count: int, *, epoch: int = 1, text: str = "矿井 pump") -> None:
        """Put `count` more records into a lane, in one transaction."""
        last: Any = self._connection.execute(
            "SELECT coalesce(max(seq), 0) FROM outbox WHERE epoch = ? AND lane = ?", (epoch, lane)
        ).get
        with self._connection:
            self._connection.executemany(
                "INSERT INTO outbox (epoch, lane, seq, kind, id, at, boot, mono, record) VALUES (?,?,?,?,?,?,?,?,?)",
                (self._row(epoch, lane, seq, text) for seq in range(last + 1, last + 1 + count)),
            )

    def _row(self, epoch: int, lane: str, seq: int, text: str) -> tuple[Any, ...]:
        at = time.time_ns() // 1000
        id = str(uuid_utils.uuid7())
        record = {"id": id, "at": at, "text": text, "subject": f"pump-{seq % 7}", "values": {"temp_c": seq / 7}}
        return epoch, lane, seq, "event", id, at, "boot", seq, msgspec.msgpack.encode(record)

    def replace(self, lane: str, first_seq: int, last_seq: int, *, epoch: int = 1) -> None:
        """Put one row of kind gone in the place of these, as retention does."""
        gone = {"reason": "evicted", "kinds": {"event": last_seq - first_seq + 1}, "bytes": 1}
        with self._connection:
            self._connection.execute(
                "DELETE FROM outbox WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
                (epoch, lane, first_seq, last_seq),
            )
            self._connection.execute(
                "INSERT INTO outbox VALUES (?, ?, ?, ?, 'gone', ?, 1, 'boot', 1, ?)",
                (
                    epoch,
                    lane,
                    last_seq,
                    last_seq - first_seq + 1,
                    str(uuid_utils.uuid7()),
                    msgspec.msgpack.encode(gone),
                ),
            )

    def delete(self, lane: str, first_seq: int, last_seq: int, *, epoch: int = 1) -> None:
        """Lose these rows, as nobody should."""
        self._connection.execute(
            "DELETE FROM outbox WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
            (epoch, lane, first_seq, last_seq),
        )

    def execute(self, statement: str) -> None:
        """Any statement."""
        self._connection.execute(statement)

    def ids(self) -> dict[tuple[int, str, int], str]:
        """The id of each row, by epoch, lane and number."""
        found: Any = self._connection.execute("SELECT epoch, lane, seq, id FROM outbox").fetchall()
        return {(epoch, lane, seq): id for epoch, lane, seq, id in found}

    def checkpoint(self) -> int:
        """Write the whole WAL back; 1 if a reader was in the way."""
        busy: Any = self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()[0][0]
        return int(busy)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


class Broker:
    """A nats-server of the test's own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        self._config = folder / "nats.conf"
        self._config.write_text(BROKER % (folder / "store", self.port), "utf-8")
        self._log = folder / "broker.log"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as output:
            program = Path(sys.executable).with_name("nats-server")
            self._process = subprocess.Popen([program, "-c", self._config], stdout=output, stderr=output)
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()


class HqEnd:
    """An HQ that keeps rows in memory: it answers introductions, takes envelopes, and acknowledges, as it is told to.

    `acknowledges` False: it takes rows, but says nothing. `refuses` gives a reason to refuse the site. `poison` are
    ids of rows whose envelopes it sets aside. `learns` False: it knows no dictionary, whatever it is told.
    """

    def __init__(self, port: int, site_key: Any) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.site_key = site_key
        self.rows: dict[tuple[int, str, int], str] = {}
        self.held: dict[tuple[int, Lane], Ranges] = {}
        self.envelopes: list[tuple[Header, int, list[Row]]] = []
        self.states: list[State] = []
        self.dictionaries: dict[str, bytes] = {}
        self.acknowledges = True
        self.answers = True
        self.learns = True
        self.refuses = ""
        self.poison: set[str] = set()
        self._introductions: set[str] = set()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hq-end")
        self._client.on_message = self._hear
        self._client.on_connect = lambda client, *_: client.subscribe("outstation/v1/+/#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def say(self, message: msgspec.Struct, key: Ed25519PrivateKey | None = None) -> None:
        """Anything, sealed."""
        topic = ack_topic(SITE)
        self._client.publish(topic, seal(key or self.key, topic, message), 0)

    def hello(self) -> None:
        """As after a restart."""
        self.say(Hello(site=SITE, at=1))

    def fall_back(self, lane: Lane, last_seq: int, epoch: int = 1) -> None:
        """Lose everything above a number, as after a restore."""
        self.held[epoch, lane] &= Ranges(((1, last_seq),))
        self.rows = {place: id for place, id in self.rows.items() if place[:2] != (epoch, lane) or place[2] <= last_seq}

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client: Any, _data: Any, message: Any) -> None:
        match message.topic.split("/")[3:]:
            case ["state"]:
                state: State = unseal(message.payload, message.topic, self.site_key, State)
                self.states.append(state)
                if state.state == "up" and self.answers and state.introduction not in self._introductions:
                    self._introductions.add(state.introduction)
                    self._answer(state)
            case ["up", "dictionary"]:
                dictionary: Dictionary = unseal(message.payload, message.topic, self.site_key, Dictionary)
                assert dictionary_id(dictionary.content) == dictionary.id
                if self.learns:
                    self.dictionaries[dictionary.id] = dictionary.content
                    self.say(Ack(site=SITE, at=1, dictionaries=(dictionary.id,)))
            case ["up", "claim"]:
                rows = unseal(message.payload, message.topic, self.site_key, Claim).rows
                numbers = range(rows.first_seq, rows.last_seq + 1)
                ids = [self.rows.get((rows.epoch, rows.lane, seq), "") for seq in numbers]
                if digest_of(ids) == rows.digest and self.acknowledges:
                    self.say(Ack(site=SITE, at=1, taken=(rows,)))
            case ["up", "now" | "day" | "bulk"]:
                self._take(message.payload)

    def _answer(self, state: State) -> None:
        if self.refuses:
            self.say(Refused(site=SITE, at=1, reason=self.refuses))
            return
        lanes = tuple(Held(epoch=epoch, lane=lane, runs=held.runs) for (epoch, lane), held in self.held.items())
        known = tuple(self.dictionaries)
        self.say(Have(site=SITE, introduction=state.introduction, at=1, lanes=lanes, dictionaries=known))

    def _take(self, envelope: bytes) -> None:
        try:
            header, rows = unpack(envelope, self.site_key, self.dictionaries.get)
        except DictionaryUnknown:
            self.say(Ack(site=SITE, at=1, unknown_dictionaries=(str(open_header(envelope).dictionary),)))
            return
        self.envelopes.append((header, len(envelope), rows))
        if self.poison & {row.id for row in rows}:
            return
        place = (header.epoch, header.lane)
        self.rows |= {(*place, row.seq): row.id for row in rows}
        self.held[place] = self.held.get(place, Ranges()) | Ranges(((header.first_seq, header.last_seq),))
        if self.acknowledges:
            taken = Taken(
                epoch=header.epoch,
                lane=header.lane,
                first_seq=header.first_seq,
                last_seq=header.last_seq,
                digest=digest_of(row.id for row in rows),
            )
            self.say(Ack(site=SITE, at=1, taken=(taken,)))


class SiteEnd:
    """A site folder whose key HQ knows, and its link as a process."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.log = folder / "link.log"
        keys.create(folder / "secrets" / "site.key")
        self.key = keys.load(folder / "secrets" / "site.key")
        self.connect_to(port)
        self._process: subprocess.Popen[bytes] | None = None

    def connect_to(self, port: int, backlog: str = "newest") -> None:
        """Have [hq] name this port."""
        toml = f'name = "{SITE}"\n[hq]\nport = {port}\nbacklog = "{backlog}"\n'
        (self.folder / "site.toml").write_text(toml, "utf-8")

    def know(self, hq: HqEnd) -> None:
        """Be enrolled at that HQ."""
        (self.folder / "secrets" / "hq.pub").write_text(keys.public_text(hq.key.public_key()), "utf-8")

    @property
    def data(self) -> Path:
        """Where the journal and link.db lie."""
        return self.folder / "data"

    def start(self) -> None:
        """Start the link."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sync.uplink", str(self.folder)], stdout=output, stderr=output
            )

    @property
    def pid(self) -> int:
        """Of the link."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9, if it runs."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def wait(self) -> int:
        """Until it ends by itself; gives the exit code."""
        assert self._process is not None
        return self._process.wait(15)

    def said(self) -> str:
        """All that it has logged."""
        return self.log.read_text("utf-8")
