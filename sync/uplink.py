"""The link's process at a site: takes outbox rows to HQ, and forgets none until HQ says that it has committed it.

    python -m sync.uplink SITE_DIR

It ends on SIGTERM or SIGINT. No broker, no HQ and no journal yet are all the same to it: it waits.
"""

import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync import keys, log
from sync.dictionary import LEAST_ROWS
from sync.downlink import Downlink
from sync.ending import ending
from sync.envelope import dictionary_id
from sync.errors import LinkPartMissing, LinkSettingsError, MessageInvalid, SyncError
from sync.introduction import Introduction
from sync.link import Arrived, Down, Link, Plan, Received, Up, Word, security
from sync.linkdb import WAKE, LinkDb, LinkState, Place, SiteDictionary, only_one
from sync.notify import Notify
from sync.outbox import Outbox
from sync.pace import LEAST_TIMEOUT_S
from sync.protocol import (
    Ack,
    Answer,
    Chunk,
    Dictionary,
    Have,
    Hello,
    Lane,
    Offer,
    Refused,
    State,
    StateTopic,
    UpTopic,
    Want,
    ack_topic,
    chunk_topic,
    offer_topic,
)
from sync.ranges import Ranges
from sync.sealed import seal, unseal
from sync.settings import LinkSettings, read_settings
from sync.traffic import Traffic

POLL_S = 0.1
"""How soon a new row is seen, at the latest."""
PULSE_S = 60.0
KEEP_S = 1.0
"""How often link.db is written, if there is anything to write."""
SILENT_TIMEOUTS = 4
"""After so many timeouts without a word HQ is taken to be away."""
BROKER_SILENT_S = 120.0
"""The same where not even the broker confirms; one large record may take a slow link that long."""
MOST_UNANSWERED = 3
TRAIN_AGAIN_S = 86_400.0
DICTIONARY_DAYS = 30


class Uplink:
    """One site's conversation with HQ over a link to HQ's broker."""

    def __init__(
        self, settings: LinkSettings, key: Ed25519PrivateKey, hq_key: Ed25519PublicKey, link: Link, linkdb: LinkDb
    ) -> None:
        self._settings = settings
        self._key = key
        self._hq_key = hq_key
        self._link = link
        self._linkdb = linkdb
        self._outbox: Outbox | None = None
        backlog = settings.hq.backlog if settings.hq is not None else "newest"
        self._traffic = Traffic(settings.site, key, backlog, linkdb.delivered(), linkdb.contested())
        self._downlink = Downlink(settings, self._want)
        self._dictionaries = _Dictionaries(settings.journal, linkdb)
        self._introduction = Introduction()
        self._connection = ""
        self._since = _now_us()
        self._lost_because = "it was not reached yet"
        self._refused_because = ""
        self._foreign = ""
        self._flowing = False
        self._heard_s = 0.0
        self._heard_at = linkdb.state().heard_at
        self._pulse_due_s = 0.0
        self._keep_due_s = 0.0
        self._kept = LinkState()
        self._not_kept: dict[Place, Ranges] = {}
        self._unsound = 0
        self._wake = settings.link_db.with_name(WAKE)
        self._woken = _changed_at(self._wake)

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping`. Raises LinkSettingsError when the journal cannot be read."""
        notify = Notify()
        notify.ready()
        while not stopping.is_set():
            notify.alive()
            for word in self._link.words(POLL_S):
                self._hear(word)
            self._outbox = self._outbox or self._open_outbox()
            now_s = time.monotonic()
            if self._outbox is not None:
                self._turn(self._outbox, now_s)
            if now_s >= self._keep_due_s:
                self._keep(now_s)
        self._dictionaries.stop()

    def _open_outbox(self) -> Outbox | None:
        outbox = Outbox.open(self._settings.journal)
        if outbox is not None:
            self._traffic.remember(self._linkdb.key(), outbox)
        return outbox

    def _turn(self, outbox: Outbox, now_s: float) -> None:
        self._traffic.look(outbox)
        self._dictionaries.turn(self._traffic.rows, now_s)
        woken = _changed_at(self._wake)
        if woken != self._woken:
            self._woken = woken
            self._link.hurry()
            self._introduction.hurry()
            self._traffic.hurry()
        if not self._connection:
            return
        if self._flowing:
            self._traffic.expire(now_s)
            if self._is_silent(now_s):
                log.warning("HQ is silent")
                self._stop_flowing(now_s)
        if self._introduction.is_due(now_s):
            self._introduction.begin(now_s)
            self._publish_state(outbox, now_s)
        elif now_s >= self._pulse_due_s:
            self._publish_state(outbox, now_s)
        if self._flowing:
            self._traffic.send(outbox, self._publish_rows, self._dictionaries.usable, now_s)
            offered = self._dictionaries.to_offer()
            if offered is not None:
                self._publish(
                    "dictionary", Dictionary(site=self._settings.site, id=offered.id, content=offered.content)
                )
            self._downlink.tick(now_s)

    def _is_silent(self, now_s: float) -> bool:
        since_s, broker_has_some = self._traffic.silent_since()
        patience_s = SILENT_TIMEOUTS * max(LEAST_TIMEOUT_S, self._traffic.pace.timeout_s)
        silent_s = now_s - max(since_s, self._heard_s)
        if silent_s > (patience_s if broker_has_some else max(patience_s, BROKER_SILENT_S)):
            return True
        return self._introduction.unanswered > MOST_UNANSWERED

    def _stop_flowing(self, now_s: float) -> None:
        self._flowing = False
        self._traffic.silence(now_s)
        self._introduction = Introduction()

    # ---- what is heard

    def _hear(self, word: Word) -> None:
        now_s = time.monotonic()
        match word:
            case Up(connection):
                log.info("connected to HQ's broker")
                self._connection, self._since, self._lost_because = connection, _now_us(), ""
                self._introduction = Introduction()
            case Down(reason):
                if reason != self._lost_because:
                    log.warning("no connection to HQ's broker", reason=reason)
                if self._connection:
                    self._since = _now_us()
                self._connection, self._lost_because, self._flowing = "", reason, False
                self._traffic.restart()
                self._dictionaries.restart()
            case Arrived(token):
                self._traffic.arrive(token, now_s)
            case Received(topic, payload):
                try:
                    self._hear_hq(topic, payload, now_s)
                except MessageInvalid as fault:
                    # Anybody at the broker can say this, again and again, and it changes nothing.
                    self._unsound += 1
                    if self._unsound == 1 or self._unsound % 1000 == 0:
                        log.warning("not a word of HQ", times=self._unsound, reason=str(fault))

    def _hear_hq(self, topic: str, payload: bytes, now_s: float) -> None:
        """Raises MessageInvalid if HQ did not say this."""
        site = self._settings.site
        if topic == offer_topic(site):
            self._downlink.offer(unseal(payload, topic, self._hq_key, Offer), now_s)
        elif topic == chunk_topic(site):
            self._downlink.chunk(unseal(payload, topic, self._hq_key, Chunk), now_s)
        else:
            answer: Answer = unseal(payload, topic, self._hq_key, Answer)
            match answer:
                case Have():
                    self._believe(answer, now_s)
                case Ack():
                    for taken in self._traffic.take(answer.taken, now_s):
                        self._introduction.take(taken)
                    self._traffic.contest(answer.contested)
                    self._dictionaries.known(answer.dictionaries)
                    for unknown in answer.unknown_dictionaries:
                        self._dictionaries.unknown(unknown)
                        self._traffic.forget_dictionary(unknown)
                case Hello():
                    self._introduction.hurry()
                case Refused(reason=reason):
                    if reason != self._refused_because:
                        log.error("HQ refuses this site", reason=reason)
                    self._refused_because = reason
                    if self._flowing:
                        self._stop_flowing(now_s)
        self._heard_s, self._heard_at = now_s, _now_us()

    def _believe(self, have: Have, now_s: float) -> None:
        has = self._introduction.answer(have.introduction, have.lanes, now_s)
        if has is None:
            return
        self._foreign = self._traffic.believe(has)
        self._refused_because = ""
        self._dictionaries.known(have.dictionaries)
        if not self._flowing:
            self._flowing = True
            log.info("HQ answers", waiting=self._traffic.waiting)

    # ---- what is said

    def _publish_state(self, outbox: Outbox, now_s: float) -> None:
        self._pulse_due_s = now_s + PULSE_S
        state = State(
            site=self._settings.site,
            state="up",
            connection=self._connection,
            introduction=self._introduction.name,
            at=_now_us(),
            boot=_boot(),
            mono=_mono_us(),
            lanes=self._traffic.lane_states(outbox),
            replica=self._settings.replica,
        )
        topic = str(StateTopic(self._settings.site))
        self._link.publish(topic, seal(self._key, topic, state), retain=True)

    def _publish_rows(self, what: Lane | Literal["claim"], envelope: bytes) -> int | None:
        return self._link.publish(str(UpTopic(self._settings.site, what)), envelope)

    def _publish(self, what: Literal["dictionary", "want"], message: Dictionary | Want) -> None:
        topic = str(UpTopic(self._settings.site, what))
        self._link.publish(topic, seal(self._key, topic, message))

    def _want(self, want: Want) -> None:
        self._publish("want", want)

    # ---- what is kept

    def _keep(self, now_s: float) -> None:
        self._keep_due_s = now_s + KEEP_S
        self._not_kept |= self._traffic.changed()
        state = LinkState(
            connected=bool(self._connection),
            since=self._since,
            reason=self._reason(),
            rows_per_s=round(self._traffic.rows_rate.per_s(now_s), 1),
            bytes_per_s=round(self._traffic.bytes_rate.per_s(now_s)),
            rtt_ms=round(1000 * (self._traffic.pace.round_trip_s or 0.0), 1),
            heard_at=self._heard_at,
        )
        if state == self._kept and not self._not_kept:
            return
        try:
            self._linkdb.keep(
                self._not_kept,
                msgspec.structs.replace(state, at=_now_us()),
                list(self._traffic.stuck.values()),
                self._traffic.contested,
                self._traffic.key if self._outbox is not None else None,
            )
        except LinkSettingsError as fault:
            # What is kept is only for others to see, and a full disk is relieved by going on.
            log.warning("not kept", reason=str(fault))
            self._keep_due_s = now_s + 10 * KEEP_S
            return
        self._kept = state
        self._not_kept = {}

    def _reason(self) -> str:
        if not self._connection:
            return f"There is no connection to HQ's broker: {self._lost_because}."
        if self._outbox is None:
            return f"{self._settings.journal} is not there yet; the daemon makes it."
        if self._refused_because:
            return f"HQ refuses this site: {self._refused_because}"
        if not self._flowing:
            return "HQ's broker is reached, but HQ does not answer."
        if self._traffic.key.doubt or self._foreign:
            return self._traffic.key.doubt or self._foreign
        if self._traffic.stuck:
            return next(iter(self._traffic.stuck.values())).reason
        return self._traffic.refused()


class _Dictionaries:
    """The site's dictionary: trained when there are rows enough, offered to HQ, and used once HQ knows it."""

    def __init__(self, journal: Path, linkdb: LinkDb) -> None:
        self._journal = journal
        self._linkdb = linkdb
        self._ours: SiteDictionary | None = linkdb.dictionary()
        self._known: set[str] = set()
        self._offered = ""
        self._due_s = 0.0
        self._training: subprocess.Popen[bytes] | None = None
        self._content = b""

    @property
    def usable(self) -> bytes:
        """The dictionary for envelopes; empty while HQ knows none of ours."""
        return self._ours.content if self._ours is not None and self._ours.id in self._known else b""

    def known(self, ids: Iterable[str]) -> None:
        """HQ knows these."""
        self._known.update(ids)

    def unknown(self, id: str) -> None:
        """HQ does not know this one (any more)."""
        self._known.discard(id)
        self._offered = ""

    def restart(self) -> None:
        """What was offered may not have arrived, and HQ may be another."""
        self._known.clear()
        self._offered = ""

    def to_offer(self) -> SiteDictionary | None:
        """The dictionary, if it is to be offered to HQ now."""
        if self._ours is None or self._ours.id in self._known or self._offered == self._ours.id:
            return None
        self._offered = self._ours.id
        return self._ours

    def turn(self, rows: int, now_s: float) -> None:
        """Begin to train when it is time, and keep what came of it."""
        if self._training is not None:
            self._finish(self._training)
        elif now_s >= self._due_s and rows >= LEAST_ROWS:
            self._due_s = now_s + TRAIN_AGAIN_S
            if self._ours is None or abs(_now_us() - self._ours.at) > DICTIONARY_DAYS * 86_400_000_000:
                self._training = subprocess.Popen(
                    ["nice", sys.executable, "-m", "sync.dictionary", str(self._journal)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                )

    def stop(self) -> None:
        """End what trains."""
        if self._training is not None:
            self._training.kill()
            self._training.communicate()

    def _finish(self, training: "subprocess.Popen[bytes]") -> None:
        # Not more than a pipe holds, so it ends without being read.
        if training.poll() is None:
            return
        content, _ = training.communicate()
        self._training = None
        if training.returncode == 0 and content:
            try:
                self._ours = self._linkdb.keep_dictionary(dictionary_id(content), content)
            except LinkSettingsError as fault:
                log.warning("the dictionary is not kept", reason=str(fault))


def main(arguments: list[str]) -> int:
    """Run the link of the site folder that is the only argument; gives the exit code."""
    if len(arguments) != 1:
        print("usage: python -m sync.uplink SITE_DIR", file=sys.stderr)
        return 2
    try:
        _work(Path(arguments[0]), ending())
    except SyncError as fault:
        log.error("the link cannot run", reason=str(fault))
        return fault.exit_code
    return 0


def _work(folder: Path, stopping: threading.Event) -> None:
    settings = read_settings(folder)
    if settings.hq is None:
        raise LinkSettingsError(f"{folder / 'site.toml'}: there is no table [hq], so there is nowhere to send to.")
    key = keys.load(settings.key)
    hq_key = _load_hq_key(settings.hq_key)
    state_topic = str(StateTopic(settings.site))

    def last_will(connection: str) -> bytes:
        death = State(
            site=settings.site,
            state="down",
            connection=connection,
            introduction=connection,
            at=_now_us(),
            boot=_boot(),
            mono=_mono_us(),
        )
        return seal(key, state_topic, death)

    plan = Plan(
        hosts=settings.hq.hosts,
        port=settings.hq.port,
        # Whoever connects under a client's id throws that client out, so nobody else may guess it.
        client_id=f"outstation-{secrets.token_hex(8)}",
        subscriptions=(ack_topic(settings.site), offer_topic(settings.site), chunk_topic(settings.site)),
        will_topic=state_topic,
        last_will=last_will,
        tls=security(settings),
    )
    with only_one(settings):
        linkdb = LinkDb.open(settings.link_db)
        link = Link(plan)
        link.start()
        try:
            Uplink(settings, key, hq_key, link, linkdb).run(stopping)
        finally:
            link.close()


def _load_hq_key(path: Path) -> Ed25519PublicKey:
    try:
        return keys.parse_public(path.read_text("ascii"))
    except FileNotFoundError:
        raise LinkPartMissing(f"{path}: the site is not enrolled at HQ; run `outstation sync enrol`.") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise LinkSettingsError(f"{path}: HQ's key cannot be read: {fault}.") from None


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _now_us() -> int:
    return time.time_ns() // 1000


def _mono_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
