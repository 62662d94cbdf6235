"""`python -m models.opening FOLDER PACKS...`: opens a pack as the gateway would and runs its self-test, in a process
that may break: exit code 0, or 1 and one sentence on stderr. PACKS are the packs folders that have its parts."""

import sys
from pathlib import Path

from models import runtime
from models.compose.library import Library
from models.errors import ModelError
from models.pack import read_pack
from models.selftest import run_self_test
from models.store import default_packs
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.device_rul import DeviceRul
from models.tasks.mood import Mood
from models.tasks.odds import Odds
from models.tasks.text_labels import TextLabels


def open_pack(folder: Path, *packs: Path) -> None:
    """Load the pack in `folder` for its task and let it prove itself; `packs` are the folders that have the parts of a
    composed one. Raises ModelError."""
    pack = read_pack(folder)
    if pack.manifest.runtime == "compose":
        composed = Library(*(packs or (default_packs(),))).composed(pack)
        composed.open()
        composed.prove()
        return
    match pack.manifest.task:
        case "text-labels":
            model = TextLabels(pack).open()[0]
        case "mood":
            model = Mood(pack).open()
        case _:
            model = runtime.load(pack)
    if pack.manifest.runtime != "vosk":
        run_self_test(model)
    match pack.manifest.task:
        case "device-anomaly":
            DeviceAnomaly(model)
        case "odds":
            Odds(model)
        case "device-rul":
            DeviceRul(model)


if __name__ == "__main__":
    try:
        open_pack(*map(Path, sys.argv[1:]))
    except ModelError as error:
        sys.exit(str(error))
