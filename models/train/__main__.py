"""`./build.sh train [DATA]`: trains the packs that ship, one after the other. DATA is a folder of public data sets;
without it the device pack learns from made series alone, and the packs for odds stay as they are."""

import subprocess
import sys

# Whether each takes --data.
TRAINERS = {
    "models.train.call_signals": False,
    "models.train.call_signals_small": False,
    "models.train.device_anomaly": True,
}
ODDS = ("models.train.deal_odds", "models.train.renewal_odds", "models.train.churn_odds")
if len(sys.argv) > 1:
    TRAINERS |= dict.fromkeys(ODDS, True)

for module, takes_data in TRAINERS.items():
    data = ["--data", sys.argv[1]] if takes_data and len(sys.argv) > 1 else []
    subprocess.run([sys.executable, "-m", module, *data], check=True)
