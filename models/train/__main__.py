"""`./build.sh train [DATA]`: trains the packs that ship, one after the other. DATA is a folder of public data sets;
without it the device pack learns from made series alone, and the packs for machines' lives stay as they are."""

import subprocess
import sys

# Whether each takes --data.
TRAINERS = {
    "models.train.call_signals": False,
    "models.train.call_signals_small": False,
    "models.train.device_anomaly": True,
    "models.train.device_rul": True,
}
NOT_WITHOUT_DATA = {"models.train.device_rul"}

for module, takes_data in TRAINERS.items():
    given = len(sys.argv) > 1
    if given or module not in NOT_WITHOUT_DATA:
        data = ["--data", sys.argv[1]] if takes_data and given else []
        subprocess.run([sys.executable, "-m", module, *data], check=True)
