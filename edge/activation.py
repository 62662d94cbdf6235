"""Puts what HQ sent into force, so that a kill at any moment leaves the old or the new whole, and takes it back when
the gateway cannot run with it.

    data/orders/trial.json        Trial: what was put into force and has not proven itself yet; written before anything
                                  is replaced, so that the next start finishes what a kill interrupted
    data/orders/previous/{file}   the playbook or vocabulary that was there before; packs stay in the packs folder

A trial has proven itself when the gateway has run with it for PROVEN_S, or has ended in order. A gateway that keeps
dying before that is started with what was there before at its MOST_STARTS-th try.
"""

import shutil
from pathlib import Path

import msgspec

from edge.events import GATEWAY, OrderKind
from edge.site import Site
from edge.store.placing import put_in_place
from models import store
from models.errors import ModelError

PROVEN_S = 30.0
MOST_STARTS = 4


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """An order in force for the first time, and who wanted it so. `starts` counts the gateway's starts since, `failed`
    says why it is taken back ('' as long as it is not) and `failed_by` who wanted that, `earlier` names the pack that
    was installed before ('': none).
    """

    order: str
    kind: OrderKind
    name: str
    by: str
    starts: int = 0
    failed: str = ""
    failed_by: str = GATEWAY
    earlier: str = ""


class Activation:
    """The one trial that is under way in a site folder, if there is one. All of it raises OSError and ModelError."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._path = site.orders / "trial.json"
        self.trial = self._read()

    def begin(self, trial: Trial) -> None:
        """Put an order whose content was checked into force, keeping what was there before."""
        file = self._file(trial)
        if file is not None:
            previous = self.previous(file)
            previous.parent.mkdir(parents=True, exist_ok=True)
            if file.is_file():
                _copy(file, previous)
            else:
                previous.unlink(missing_ok=True)
        self._write(msgspec.structs.replace(trial, earlier=store.installed(self._site.packs, trial.name)))
        self._put()

    def resume(self) -> None:
        """At a start: finish what a kill interrupted, or take it back if the gateway has died with it too often."""
        trial = self.trial
        if trial is None:
            return
        starts = trial.starts + 1
        if trial.failed:
            self._put_back()
        elif starts >= MOST_STARTS:
            self.take_back(f"The gateway ended {trial.starts} times soon after it started with this.")
        else:
            self._write(msgspec.structs.replace(trial, starts=starts))
            try:
                self._put()
            except (OSError, ModelError) as error:
                self.take_back(f"It could not be put into force: {error}")

    def take_back(self, reason: str, by: str = GATEWAY) -> None:
        """Put back what was there before, in one sentence why. The trial stays until `end`, so that it is reported."""
        assert self.trial is not None
        self._write(msgspec.structs.replace(self.trial, failed=reason, failed_by=by))
        self._put_back()

    def reverse(self, trial: Trial, reason: str, by: str) -> None:
        """Put back what was there before an order that had proven itself: somebody does not want it any more."""
        earlier = store.previous(self._site.packs, trial.name) if trial.kind == "pack" else ""
        self._write(msgspec.structs.replace(trial, failed=reason, failed_by=by, earlier=earlier))
        self._put_back()

    def end(self) -> None:
        """The trial is over and its result is in the journal."""
        self._path.unlink(missing_ok=True)
        self.trial = None

    def previous(self, file: Path) -> Path:
        """Where the file lies that was in a file's place before an order."""
        return self._site.orders / "previous" / file.name

    def _put(self) -> None:
        """May be repeated."""
        trial = self.trial
        assert trial is not None
        file = self._file(trial)
        if file is not None:
            _copy(self._site.downlink / trial.order / "content", file)
        else:
            with store.writing(self._site.packs):
                store.activate(self._site.packs, trial.order)

    def _put_back(self) -> None:
        """May be repeated."""
        trial = self.trial
        assert trial is not None
        file = self._file(trial)
        if file is None:
            with store.writing(self._site.packs):
                store.drop(self._site.packs, trial.order)
                store.roll_back(self._site.packs, trial.name, trial.earlier)
        elif self.previous(file).is_file():
            _copy(self.previous(file), file)
        else:
            file.unlink(missing_ok=True)

    def _file(self, trial: Trial) -> Path | None:
        """The file that the order replaces; None for a pack."""
        return {"playbook": self._site.playbook, "vocabulary": self._site.vocabulary}.get(trial.kind)

    def _read(self) -> Trial | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Trial)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _write(self, trial: Trial) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _replace(self._path, msgspec.json.encode(trial))
        self.trial = trial


def _copy(source: Path, target: Path) -> None:
    _replace(target, source.read_bytes())


def _replace(path: Path, content: bytes) -> None:
    """Make a file appear whole in the place of an older one, on the disk when this returns."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    if path.exists():
        shutil.copymode(path, fresh)
    put_in_place(fresh, path)
