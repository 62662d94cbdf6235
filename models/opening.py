"""`python -m models.opening FOLDER`: opens a pack as the gateway would and runs its self-test, in a process that may
break: exit code 0, or 1 and one sentence on stderr."""

import sys
from pathlib import Path

from models import runtime
from models.errors import ModelError
from models.pack import read_pack
from models.selftest import run_self_test
from models.tasks.device_anomaly import DeviceAnomaly
from models.tasks.device_rul import DeviceRul
from models.tasks.text_labels import TextLabels


def open_pack(folder: Path) -> None:
    """Load the pack in `folder` for its task and let it prove itself; raises ModelError."""
    model = runtime.load(read_pack(folder))
    if model.pack.manifest.runtime != "vosk":
        run_self_test(model)
    match model.pack.manifest.task:
        case "text-labels":
            TextLabels(model.pack).open()
        case "device-anomaly":
            DeviceAnomaly(model)
        case "device-rul":
            DeviceRul(model)


if __name__ == "__main__":
    try:
        open_pack(Path(sys.argv[1]))
    except ModelError as error:
        sys.exit(str(error))
