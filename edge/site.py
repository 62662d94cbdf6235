"""A site folder: its typed, frozen settings, and where everything in it lies."""

import re
import secrets
import shutil
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from edge.errors import SettingsError
from edge.toml import read_toml

Megabytes = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of site.toml: unknown keys are errors."""


class Web(Settings, frozen=True, kw_only=True):
    """The local page. `hosts` are further names by which browsers may ask for it."""

    host: str = "127.0.0.1"
    port: int = 8470
    hosts: tuple[str, ...] = ()


class Topic(Settings, frozen=True, kw_only=True):
    """Which topics of the bus carry readings; `{device}` in the pattern stands for the device's name."""

    pattern: str


class Bus(Settings, frozen=True, kw_only=True):
    """The devices' MQTT broker. `embedded` starts one with the daemon, on loopback."""

    host: str = "127.0.0.1"
    port: int = 1883
    embedded: bool = False
    topics: tuple[Topic, ...] = ()


class Inbox(Settings, frozen=True, kw_only=True):
    """The inbox folder. A file is taken when it has not changed for `settle_seconds`."""

    settle_seconds: float = 2.0
    longest_call_minutes: float = 240.0


class Calls(Settings, frozen=True, kw_only=True):
    """What listens to calls: the packs that read the words; `speech` names a speech pack for a language where it is
    not to be the catalogue's."""

    speech: dict[str, str] = {}
    packs: tuple[str, ...] = ("call-signals",)


class Live(Settings, frozen=True, kw_only=True):
    """Calls that are heard while they go on. `vosk_port`: where clients of vosk-server send sound over WebSocket;
    `audiosocket_port`: where Asterisk's AudioSocket does over TCP; without one nobody listens there. At most
    `most_legs` are heard at a time, each for at most `longest_minutes`. A leg from which nothing comes for
    `silent_seconds` has ended, and a call when it has had no leg for `rejoin_seconds`."""

    host: str = "127.0.0.1"
    vosk_port: int | None = None
    audiosocket_port: int | None = None
    most_legs: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    longest_minutes: Annotated[float, msgspec.Meta(gt=0)] = 240.0
    silent_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    rejoin_seconds: Annotated[float, msgspec.Meta(ge=0)] = 5.0


class Devices(Settings, frozen=True, kw_only=True):
    """What listens to devices."""

    packs: tuple[str, ...] = ("device-anomaly",)


class Hq(Settings, frozen=True, kw_only=True):
    """Headquarters' MQTT brokers, any of which will do; without this table nothing leaves the site. `backlog`: which
    end of what waits is sent first. `supervised`: the daemon starts and watches the link; false where the link is a
    systemd unit of its own."""

    hosts: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=16)] = ("127.0.0.1",)
    port: int = 8481
    backlog: Literal["newest", "oldest"] = "newest"
    supervised: bool = True


class Outbox(Settings, frozen=True, kw_only=True):
    """How much may wait for HQ, by lane and in all, and how long what HQ has is kept here, in case HQ falls back to an
    older backup. Beyond it the least important goes first (docs/sync.md), and HQ is told what went."""

    now_mb: Megabytes = 200
    day_mb: Megabytes = 800
    bulk_mb: Megabytes = 500
    total_mb: Megabytes = 1200
    keep_delivered_days: Annotated[float, msgspec.Meta(ge=0)] = 7.0


class Disk(Settings, frozen=True, kw_only=True):
    """What happens when the disk with the site's data fills. Below `low_mb` go, oldest first and with a word to HQ:
    copies of device logs, the sound of calls that are transcribed, then readings that came more than
    `keep_readings_hours` ago, of which roll-ups stay. Below `floor_mb` nothing more is accepted until there is room."""

    low_mb: Megabytes = 1024
    floor_mb: Megabytes = 256
    keep_readings_hours: Annotated[float, msgspec.Meta(ge=0)] = 1.0


class Replica(Settings, frozen=True, kw_only=True):
    """Where litestream copies the journal to: a folder (file:///…), sftp://user@host/path or s3://bucket/path; what it
    needs to log in lies in secrets/replica.env. `supervised`: the daemon starts and watches litestream; false where it
    is a systemd unit of its own."""

    url: Annotated[str, msgspec.Meta(pattern=r"\A(file|sftp|s3)://.+", max_length=512)]
    supervised: bool = True


class SiteSettings(Settings, frozen=True, kw_only=True):
    """All of site.toml."""

    name: str
    language: str = "zh"
    time_zone: str = "UTC"
    web: Web = Web()
    bus: Bus | None = None
    inbox: Inbox = Inbox()
    calls: Calls = Calls()
    live: Live = Live()
    devices: Devices = Devices()
    hq: Hq | None = None
    outbox: Outbox = Outbox()
    disk: Disk = Disk()
    replica: Replica | None = None


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site folder and its settings."""

    folder: Path
    settings: SiteSettings

    @property
    def zone(self) -> ZoneInfo:
        """The site's time zone: what a time without an offset means here."""
        return ZoneInfo(self.settings.time_zone)

    @property
    def playbook(self) -> Path:
        return self.folder / "playbook.toml"

    @property
    def vocabulary(self) -> Path:
        return self.folder / "vocabulary.toml"

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def refused(self) -> Path:
        return self.inbox / "refused"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def journal(self) -> Path:
        return self.data / "journal.db"

    @property
    def audio(self) -> Path:
        return self.data / "audio"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def live(self) -> Path:
        return self.data / "live"

    @property
    def webhooks(self) -> Path:
        return self.data / "webhooks"

    @property
    def messages(self) -> Path:
        return self.data / "messages"

    @property
    def tables(self) -> Path:
        return self.folder / "tables"

    @property
    def audit_key(self) -> Path:
        return self.folder / "secrets" / "audit.key"

    @property
    def packs(self) -> Path:
        return self.data / "packs"

    @property
    def bus_password(self) -> Path:
        return self.folder / "secrets" / "bus.password"

    @property
    def link_db(self) -> Path:
        return self.data / "link.db"

    @property
    def incoming(self) -> Path:
        return self.data / "incoming"

    @property
    def downlink(self) -> Path:
        return self.data / "downlink"

    @property
    def orders(self) -> Path:
        return self.data / "orders"

    @property
    def from_hq(self) -> Path:
        return self.data / "from-hq.jsonl"

    @property
    def site_public_key(self) -> Path:
        return self.folder / "secrets" / "site.pub"

    @property
    def replica_environment(self) -> Path:
        return self.folder / "secrets" / "replica.env"

    @property
    def bus_store(self) -> Path:
        return self.data / "bus"


SAMPLE = Path(__file__).with_name("sample")
SAMPLE_KEY = 'key = "sample-mine-13"'
"""The key of the sample's hold-outs; a site of somebody's own gets one that nobody knows."""


def make_site(folder: Path, *, sample: bool) -> None:
    """Make a new site folder, with the sample site's playbook to begin from; with `sample` also its inbox, its tables
    and the pack composed of them.

    Raises SettingsError when there is one already.
    """
    if (folder / "site.toml").exists():
        raise SettingsError(f"{folder / 'site.toml'} is there already; name another folder, or edit this one.")
    site = Site(folder=folder, settings=SiteSettings(name="new"))
    for part in (site.inbox, site.data):
        part.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SAMPLE / "vocabulary.toml", folder / "vocabulary.toml")
    playbook = (SAMPLE / "playbook.toml").read_text("utf-8")
    settings = (SAMPLE / "site.toml").read_text("utf-8")
    if sample:
        for path in sorted((SAMPLE / "inbox").iterdir()):
            shutil.copyfile(path, site.inbox / path.name)
        shutil.copytree(SAMPLE / "tables", site.tables)
        shutil.copytree(SAMPLE / "packs", site.packs)
    else:
        settings = settings.replace(', "part-missing"', "", 1)
        playbook = playbook.replace(SAMPLE_KEY, f'key = "{secrets.token_urlsafe(24)}"', 1)
        settings = settings.replace('"sample-mine"', f'"{re.sub(r"[^A-Za-z0-9_-]", "-", folder.resolve().name)}"', 1)
    (folder / "playbook.toml").write_text(playbook, "utf-8")
    (folder / "site.toml").write_text(settings, "utf-8")


def read_site(folder: Path) -> Site:
    """The site in `folder`.

    Raises SettingsError naming file, line and key when site.toml is absent or wrong.
    """
    path = folder / "site.toml"
    settings = read_toml(path, SiteSettings)
    try:
        ZoneInfo(settings.time_zone)
    except (KeyError, ValueError):
        raise SettingsError(
            f"{path}: time_zone: {settings.time_zone!r} is no time zone; say e.g. Asia/Shanghai."
        ) from None
    if settings.disk.floor_mb >= settings.disk.low_mb:
        raise SettingsError(
            f"{path}: disk.floor_mb: {settings.disk.floor_mb} is not below low_mb ({settings.disk.low_mb}): the intake "
            "would stop before room is made; lower it."
        )
    if not settings.name.replace("-", "").replace("_", "").isalnum():
        raise SettingsError(f"{path}: name: {settings.name!r} may only hold letters, digits, - and _.")
    return Site(folder=folder, settings=settings)
