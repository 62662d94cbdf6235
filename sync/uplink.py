"""The link's process at a site: takes outbox rows to HQ, and forgets none until HQ says that it has committed it.

    python -m sync.uplink SITE_DIR

It ends on SIGTERM or SIGINT. No broker, no HQ and no journal yet are all the same to it: it waits.
"""

import signal
import sys
import threading
import time
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import keys, log
from sync.envelope import pack
from sync.errors import EnvelopeInvalid, LinkSettingsError, MessageInvalid, SyncError
from sync.link import Down, Link, Plan, Received, Up, Word
from sync.notify import Notify
from sync.outbox import Outbox
from sync.passage import Passage
from sync.protocol import LANES, Ack, Lane, StateTopic, UpTopic, ack_topic, decode_ack
from sync.settings import LinkSettings, read_settings
from sync.watermarks import Watermarks

POLL_S = 0.1
"""How soon a new row is seen, at the latest."""
LINGER_S: dict[Lane, float] = {"now": 0.0, "day": 1.0, "bulk": 1.0}
"""How long the rows of a lane wait for more, to share an envelope."""


class Uplink:
    """One site's rows, lane by lane, over a link to HQ's broker."""

    def __init__(self, settings: LinkSettings, key: Ed25519PrivateKey, link: Link, watermarks: Watermarks) -> None:
        self._settings = settings
        self._key = key
        self._link = link
        self._watermarks = watermarks
        self._outbox: Outbox | None = None
        self._passages = {place: Passage(mark.last_seq) for place, mark in watermarks.all().items()}
        self._first_seen_s: dict[tuple[int, str], float] = {}
        self._stuck: set[tuple[int, str]] = set()
        self._connected = False
        self._reason = ""

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping`. Raises LinkSettingsError when the journal or the watermarks cannot be used."""
        notify = Notify()
        notify.ready()
        while not stopping.is_set():
            notify.alive()
            for word in self._link.words(POLL_S):
                self._hear(word)
            self._outbox = self._outbox or Outbox.open(self._settings.journal)
            if self._connected and self._outbox is not None:
                self._send(self._outbox)

    def _hear(self, word: Word) -> None:
        match word:
            case Up():
                self._connected, self._reason = True, ""
                log.info("connected to HQ's broker")
            case Down(reason):
                if reason != self._reason:
                    log.warning("no connection to HQ's broker", reason=reason)
                self._connected, self._reason = False, reason
                for passage in self._passages.values():
                    passage.restart()
            case Received():
                word.settle()
                try:
                    self._acknowledge(decode_ack(word.payload))
                except MessageInvalid as fault:
                    log.warning("acknowledgement refused", reason=str(fault))

    def _acknowledge(self, ack: Ack) -> None:
        if self._outbox is None:
            return
        # HQ may have more than this link remembers (its watermarks may be lost), but never more than there is.
        passage = self._passage(ack.epoch, ack.lane)
        highest = max(passage.sent, self._outbox.newest(ack.epoch, ack.lane))
        if passage.hear(msgspec.structs.replace(ack, last_seq=min(ack.last_seq, highest)), time.monotonic()):
            self._watermarks.put(ack.epoch, ack.lane, passage.acked)

    def _send(self, outbox: Outbox) -> None:
        epochs = outbox.epochs()
        for lane in LANES:
            for epoch in epochs:
                passage = self._passage(epoch, lane)
                if passage.expire(time.monotonic()):
                    log.warning("HQ is silent", epoch=epoch, lane=lane, after_seq=passage.acked)
                while passage.has_room() and self._send_next(outbox, epoch, lane, passage):
                    pass

    def _send_next(self, outbox: Outbox, epoch: int, lane: Lane, passage: Passage) -> bool:
        """Send one envelope, if there is one to send now and the link takes it."""
        place = (epoch, lane)
        if place in self._stuck:
            return False
        batch = outbox.batch(epoch, lane, passage.sent)
        if not batch.rows:
            return False
        now_s = time.monotonic()
        if not batch.full and now_s - self._first_seen_s.setdefault(place, now_s) < LINGER_S[lane]:
            return False
        try:
            envelope = pack(self._key, site=self._settings.site, epoch=epoch, lane=lane, rows=batch.rows)
        except EnvelopeInvalid as fault:
            # Passing over the row would lose it: its lane stands still until a person looks, and the others go on.
            self._stuck.add(place)
            log.error("lane stands still", epoch=epoch, lane=lane, reason=str(fault))
            return False
        if not self._link.publish(str(UpTopic(self._settings.site, lane)), envelope):
            return False
        self._first_seen_s.pop(place, None)
        passage.leave(batch.rows[-1].seq, now_s)
        return True

    def _passage(self, epoch: int, lane: Lane) -> Passage:
        return self._passages.setdefault((epoch, lane), Passage())


def main(arguments: list[str]) -> int:
    """Run the link of the site folder that is the only argument; gives the exit code."""
    if len(arguments) != 1:
        print("usage: python -m sync.uplink SITE_DIR", file=sys.stderr)
        return 2
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        _work(Path(arguments[0]), stopping)
    except SyncError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    return 0


def _work(folder: Path, stopping: threading.Event) -> None:
    settings = read_settings(folder)
    if settings.hq is None:
        raise LinkSettingsError(f"{folder / 'site.toml'}: there is no table [hq], so there is nowhere to send to.")
    key = keys.load(settings.key)
    watermarks = Watermarks.open(settings.link_db)
    link = Link(
        Plan(
            host=settings.hq.host,
            port=settings.hq.port,
            client_id=f"outstation-{settings.site}",
            subscriptions=(ack_topic(settings.site),),
            state_topic=str(StateTopic(settings.site)),
        )
    )
    link.start()
    try:
        Uplink(settings, key, link, watermarks).run(stopping)
    finally:
        link.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
