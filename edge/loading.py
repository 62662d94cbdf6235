"""What the gateway infers and decides by: loaded, and held against each other, at the start and whenever an order
changes it."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from edge.decide.playbook import Playbook, read_playbook
from edge.errors import PlaybookGap, SettingsError
from edge.infer import Infer
from edge.perceive.names import Names
from edge.shadow import Shadows
from edge.site import Site
from edge.vocabulary import read_vocabulary
from models import runtime
from models.compose.library import Library
from models.errors import ModelError, PackInvalid, PackMissing
from models.pack import Manifest, Pack
from models.store import default_packs, shadow_of
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.labelling import Labeller

OF_CALLS, OF_DEVICES = ("text-labels", "mood"), ("device-anomaly",)
"""The tasks of packs that listen to calls, and of those that watch readings."""
OPENING_S = 120.0
"""How long a pack may take to be opened."""

T = TypeVar("T", Labeller, DeviceAnomaly)
log = structlog.get_logger()


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A playbook and packs that fit each other; `infer` has the packs ready to run, `shadows` those in their shadow;
    `names` are those of the site's vocabulary."""

    playbook: Playbook
    packs: tuple[Pack, ...]
    infer: Infer
    shadows: Shadows
    names: Names

    @property
    def manifests(self) -> list[Manifest]:
        """What each pack says of itself."""
        return [pack.manifest for pack in self.packs]


def load(site: Site) -> Loaded:
    """The site's playbook and the packs in use.

    Raises SettingsError, PlaybookGap or ModelError.
    """
    playbook = read_playbook(site.playbook)
    library = Library(site.packs, default_packs())
    of_calls = [library.find(name) for name in site.settings.calls.packs]
    of_devices = [library.find(name) for name in site.settings.devices.packs]
    for pack in (*of_calls, *of_devices):
        playbook.check_covers(pack.manifest.name, pack.manifest.labels)
    texts = [library.named(pack.manifest.name) for pack in of_calls]
    devices = [_device_pack(pack) for pack in of_devices]
    shadows = Shadows(_in_shadow(site, texts, library.ready), _in_shadow(site, devices, _device_pack), zone=site.zone)
    return Loaded(
        playbook=playbook,
        packs=(*of_calls, *of_devices),
        infer=Infer(texts, devices, site.zone),
        shadows=shadows,
        names=Names(read_vocabulary(site.vocabulary) if site.vocabulary.is_file() else ()),
    )


def _device_pack(pack: Pack) -> DeviceAnomaly:
    return DeviceAnomaly(runtime.load(pack))


def _in_shadow(site: Site, packs: Sequence[T], ready: Callable[[Pack], T]) -> list[tuple[T, T]]:
    """Each pack in use that has another in its shadow, with that. One that does not open is left out: what only watches
    must not keep the gateway from starting."""
    pairs = []
    for pack in packs:
        try:
            shadow = shadow_of(site.packs, pack.name)
            if shadow is not None:
                pairs.append((pack, ready(shadow)))
        except ModelError as error:
            log.warning("a pack cannot run in shadow", pack=pack.name, reason=str(error))
    return pairs


def find(site: Site, name: str) -> Pack:
    """A pack by name: the site's own, then those of this machine, then those that ship. Raises ModelError."""
    return Library(site.packs, default_packs()).find(name)


def used_packs(site: Site) -> tuple[str, ...]:
    """The names of the packs that the site predicts with."""
    return (*site.settings.calls.packs, *site.settings.devices.packs)


def check_playbook(site: Site, path: Path) -> None:
    """Whether the gateway could run with another playbook. Raises SettingsError, PlaybookGap or ModelError."""
    playbook = read_playbook(path)
    for name in used_packs(site):
        playbook.check_covers(name, find(site, name).manifest.labels)


def check_pack(site: Site, pack: Pack) -> None:
    """Whether the gateway could run with another pack; it is opened in a process of its own, which a model that breaks
    its runtime takes down alone. Raises SettingsError, PlaybookGap or PackInvalid."""
    name = pack.manifest.name
    for used, tasks in ((site.settings.calls.packs, OF_CALLS), (site.settings.devices.packs, OF_DEVICES)):
        if name not in used:
            continue
        if pack.manifest.task not in tasks:
            raise PackInvalid(f"The pack {name} is for {pack.manifest.task}, and this site uses it for {tasks[0]}.")
        try:
            read_playbook(site.playbook).check_covers(name, pack.manifest.labels)
        except PlaybookGap as error:
            raise PlaybookGap(f"{error} Send the playbook before the pack.") from None
    try:
        done = subprocess.run(
            [sys.executable, "-m", "models.opening", pack.folder, site.packs, default_packs()],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=OPENING_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PackInvalid(f"The pack {name} does not open within {OPENING_S:.0f} s; do not use it.") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"its runtime ended with {done.returncode}"])[-1]
        raise PackInvalid(f"The pack {name} does not open here: {reason}")


def current(site: Site, kind: str, name: str) -> str:
    """The text that an order of this kind would replace: a file of the site, or a pack's manifest; '' if none."""
    match kind:
        case "playbook":
            path = site.playbook
        case "vocabulary":
            path = site.vocabulary
        case _:
            try:
                path = find(site, name).folder / "pack.toml"
            except (PackMissing, PackInvalid):
                return ""
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
