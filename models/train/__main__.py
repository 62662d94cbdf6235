"""`./build.sh train [DATA]`: trains the packs that ship, one after the other. DATA is a folder of public data sets;
without it the device pack learns from made series alone; packs for odds and for machines' lives stay as they are."""

import subprocess
import sys

OF_TURNS = ("call_signals", "call_signals_small")
OF_DATA = ("device_anomaly", "device_rul", "deal_odds", "renewal_odds", "churn_odds")

data = ["--data", sys.argv[1]] if len(sys.argv) > 1 else []
commands = [[name] for name in OF_TURNS] + [[name, *data] for name in (OF_DATA if data else OF_DATA[:1])]
for name, *options in commands:
    subprocess.run([sys.executable, "-m", f"models.train.{name}", *options], check=True)
