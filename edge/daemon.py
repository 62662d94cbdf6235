"""The daemon: opens a site's parts, starts them in the order of the flow, and ends them in the reverse order."""

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from importlib.metadata import version

import msgspec
import structlog

from edge.act.channels import Channels
from edge.act.countdown import Countdown
from edge.activation import Activation
from edge.checkpoints import Checkpoints
from edge.children import broker, link, replica
from edge.decide.plays import Decider
from edge.decide.tables import Tables
from edge.errors import JournalError, MissingPart, OutstationError
from edge.loading import Loaded, find, load
from edge.orders import Orders
from edge.perceive.speech import Listener
from edge.perceive.windows import DeviceWindows
from edge.pipeline import Pipeline
from edge.site import Site
from edge.sources.bus import Bus
from edge.sources.ears import Ears
from edge.sources.inbox import Inbox
from edge.sources.live import LiveCalls
from edge.sources.refused import RefusedFolder
from edge.store.belongings import keep_files, recognise
from edge.store.database import number
from edge.store.journal import Journal
from edge.store.recovery import take_in
from edge.store.room import Room
from edge.store.sound import LiveSound
from edge.upkeep import Upkeep
from edge.watch import HealthLook, Watchdog
from edge.web.app import create_app
from edge.web.parts import WebParts
from edge.web.server import Server
from models import runtime
from models.catalogue import read_catalogue, speech_pack_of
from models.errors import ModelError
from models.pack import Manifest
from models.runtime.vosk import VoskModel

INBOX_LOOK_S = 0.5
# numpy and SQLite give Python's lock away for moments, and have it back only when the thread that took it is made to
# give it up: after 5 ms as Python comes, which the windows of a batch would wait for a hundred times.
LOCK_HELD_S = 0.0005
DISK_WAIT_S = 5.0

log = structlog.get_logger()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run with --once did. `rtf` is the time that speech took divided by the length of the calls."""

    events: int
    utterances: int
    predictions: int
    decisions: int
    actions: int
    refused: int
    audio_s: float
    rtf: float
    reasons: tuple[str, ...] = ()


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a site that every kind of run needs; `titles` by play, `packs` those in use."""

    site: Site
    journal: Journal
    titles: dict[str, dict[str, str]]
    packs: list[Manifest]
    speech: "SpeechModels"
    listener: Listener
    pipeline: Pipeline
    inbox: Inbox
    refused: RefusedFolder
    room: Room
    sound: LiveSound

    def adopt(self) -> None:
        """Go on with the playbook and packs that are there now. Raises SettingsError, PlaybookGap or ModelError: then
        nothing has changed."""
        loaded = load(self.site)
        self.pipeline.adopt(loaded.infer, loaded.playbook, loaded.shadows, loaded.names)
        self.speech.forget_replaced()
        self.titles.update(loaded.playbook.titles)  # those of plays that are gone stay, for the cards that they made
        self.packs[:] = loaded.manifests


def open_site(site: Site, stack: ExitStack) -> Opened:
    """Open what is in a site folder; `stack` closes it again.

    Raises SettingsError, PlaybookGap, ModelError or JournalError, each before anything is taken in.
    """
    loaded = _load(site)
    journal = Journal(site.journal)
    stack.callback(journal.close)
    recognise(journal, site.site_public_key)
    take_in(journal, site.from_hq)
    keep_files(journal, site.folder)
    refused = RefusedFolder(site.refused, journal)
    room = Room(journal, site.settings)
    speech = SpeechModels(site)
    sound = LiveSound(site.live, lambda _: None)
    stack.callback(sound.close)
    listener = Listener(speech, site.audio, sound, os.cpu_count() or 1, journal.wake, journal.metrics)
    decider = Decider(loaded.playbook, Tables(site.tables), journal.episodes())
    pipeline = Pipeline(journal, listener, DeviceWindows(), loaded.infer, decider, loaded.shadows, loaded.names)
    return Opened(
        site=site,
        journal=journal,
        titles=loaded.playbook.titles,
        packs=loaded.manifests,
        speech=speech,
        listener=listener,
        pipeline=pipeline,
        inbox=Inbox(site, journal, refused, room),
        refused=refused,
        room=room,
        sound=sound,
    )


def _load(site: Site) -> Loaded:
    """The playbook and packs; if an order from HQ has just changed them and they cannot be loaded, those before it."""
    try:
        return load(site)
    except (OutstationError, ModelError) as error:
        activation = Activation(site)
        if activation.trial is None or activation.trial.failed:
            raise
        activation.take_back(f"The gateway cannot start with it: {error}")
        return load(site)


class SpeechModels:
    """Gives the speech model of a language, loaded when it is first needed and then shared by all threads."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._models: dict[str, VoskModel] = {}

    def __call__(self, language: str) -> VoskModel:
        """Raises ModelError when there is none."""
        with self._lock:
            if language not in self._models:
                name = self._site.settings.calls.speech.get(language) or speech_pack_of(language, read_catalogue())
                model = runtime.load(find(self._site, name))
                assert isinstance(model, VoskModel)
                self._models[language] = model
            return self._models[language]

    def forget_replaced(self) -> None:
        """Load those anew, when they are next needed, whose pack was replaced; calls under way keep theirs."""
        with self._lock:
            packs = self._site.packs
            for language, model in list(self._models.items()):
                place = packs / model.pack.manifest.name
                if (place.exists() or model.pack.folder.is_relative_to(packs)) and place.resolve() != model.pack.folder:
                    del self._models[language]


# ---- outstation run --once -----------------------------------------------------------------------------------------


def run_once(site: Site) -> Summary:
    """Take what waits in the inbox through the whole flow, and end: no page, no bus, no link.

    Raises what `open_site` raises.
    """
    with ExitStack() as stack:
        opened = open_site(site, stack)
        before = _counts(opened.journal)
        while not opened.inbox.take():
            time.sleep(INBOX_LOOK_S)  # somebody is still writing a file; the clock decides when it has settled
        began_s = time.monotonic()
        opened.pipeline.drain()
        took_s = time.monotonic() - began_s
        Countdown(opened.journal, Channels(None, site.webhooks, site.messages)).settle()
        opened.listener.stop()
        Checkpoints(opened.journal, site.audit_key).sign()
        counts = {name: count - before[name] for name, count in _counts(opened.journal).items()}
        audio_s = counts.pop("audio_ms") / 1000
        reasons = (*_reasons(opened.journal, int(counts["refused"])), *dict.fromkeys(opened.pipeline.put_off))
        return Summary(
            **counts, audio_s=round(audio_s, 1), rtf=round(took_s / audio_s, 3) if audio_s else 0.0, reasons=reasons
        )


def _counts(journal: Journal) -> dict[str, int]:
    """How many records of each kind the journal has, and the length of the calls whose transcript is complete."""
    questions = {
        "events": "SELECT count(*) FROM events",
        "utterances": "SELECT count(*) FROM signals WHERE kind = 'utterance'",
        "predictions": "SELECT count(*) FROM predictions",
        "decisions": "SELECT count(*) FROM decisions",
        "actions": "SELECT count(*) FROM actions",
        "refused": "SELECT count(*) FROM refusals",
        "audio_ms": "SELECT coalesce(sum(1000 * (e.data ->> 'duration_s')), 0) FROM events e "
        "JOIN transcripts t ON t.event_id = e.id WHERE t.done = 1",
    }
    connection = journal.readers.connection()
    return {name: number(connection, sql) for name, sql in questions.items()}


def _reasons(journal: Journal, newest: int) -> list[str]:
    rows = journal.readers.connection().execute("SELECT reason FROM refusals ORDER BY seq DESC LIMIT ?", (newest,))
    return [reason for (reason,) in rows][::-1]


# ---- outstation run ------------------------------------------------------------------------------------------------


def run(site: Site) -> None:
    """Run until SIGTERM or SIGINT. Raises what `open_site` raises, and MissingPart when a child cannot be started."""
    sys.setswitchinterval(LOCK_HELD_S)
    with ExitStack() as stack:
        children = [child for child in (broker(site), link(site)) if child is not None]
        for child in children:
            child.start()
            stack.callback(child.stop)
        Activation(site).resume()
        opened = open_site(site, stack)
        keeper = replica(site)  # not before the journal's migrations, which want it to themselves
        if keeper is not None:
            keeper.start()
            stack.callback(keeper.stop)
            children.append(keeper)
        live = site.settings.live
        ears = Ears(LiveCalls(opened.journal, opened.sound, opened.room, live, site.settings.language), live)
        bus = None if site.settings.bus is None else Bus(site, opened.journal, opened.refused, opened.room)
        countdown = Countdown(opened.journal, Channels(bus, site.webhooks, site.messages))
        inbox = InboxWatch(opened.inbox)
        orders = Orders(site, opened.journal, opened.adopt, lambda: opened.pipeline.alive)
        upkeep = Upkeep(site, opened.journal, opened.room, opened.sound)
        for part in (opened.pipeline, countdown, bus, inbox, orders, upkeep, ears):
            if part is not None:
                part.start()
                stack.callback(part.stop)
        look = HealthLook(opened.journal, site, opened.room, opened.pipeline, bus, children)
        opened.journal.metrics.watch(look.measures)
        _serve(opened, look, orders, ears)


def _serve(opened: Opened, look: HealthLook, orders: Orders, ears: Ears) -> None:
    """The page, on the main thread, which gets the signals; systemd hears of it when it answers."""
    web = opened.site.settings.web
    app = create_app(
        WebParts(
            journal=opened.journal,
            site_name=opened.site.settings.name,
            language=opened.site.settings.language,
            version=version("outstation"),
            audio=opened.site.audio,
            titles=opened.titles,
            health=look.now,
            readiness=look.readiness,
            hosts=web.hosts,
            packs=opened.packs,
            orders=orders,
            room=opened.room,
            register=ears.register,
            speaking=opened.listener.speaking,
            playbook=lambda: opened.pipeline.playbook,
            experiments=lambda: opened.pipeline.experiments,
        )
    )
    server = Server(app, web.host, web.port)
    watchdog = Watchdog(look, lambda: server.started)
    watchdog.start()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: None)  # uvicorn takes them, and raises them again when it has ended
    try:
        server.run()
    except SystemExit:
        raise MissingPart(f"{web.host}:{web.port} is taken; end what listens there, or set web.port.") from None
    finally:
        watchdog.stop()


class InboxWatch:
    """The thread that looks into the inbox folder."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inbox")

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End after the file under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        told = False
        while not self._stopping.wait(INBOX_LOOK_S):
            try:
                self._inbox.take()
                told = False
            except (JournalError, OSError) as error:  # the disk is full: the files stay where they are
                if not told:
                    log.error("the inbox waits", reason=str(error))
                told = True
                self._stopping.wait(DISK_WAIT_S)
