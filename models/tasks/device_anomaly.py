"""What a pack for devices says of a sensor's reading: how likely it is that the device does not run as usual, and why.

The model has one hidden layer. Beside the probability it puts out how much each feature raised or lowered the log-odds
against a reading as usual: the integrated gradients (Sundararajan et al., 2017) along the straight line from there.
With one hidden layer of rectified units they have a closed form, which the model computes with its own weights, so the
evidence is what it ran on and not a second account of it.
"""

import numpy as np
from numpy.typing import NDArray

from models.errors import PackInvalid
from models.features.windows import FEATURES
from models.runtime import Model

INPUT = "features"
PROBABILITY, WEIGHTS = "probability", "weights"
AT_ONCE = 4096  # readings in one run of the model, so that what it holds meanwhile stays small


class DeviceAnomaly:
    """A pack for devices ready to score readings. May be shared by threads."""

    def __init__(self, model: Model) -> None:
        """Raises PackInvalid when the pack is for another task, for other features, or has not one label."""
        manifest = model.pack.manifest
        where = model.pack.folder
        if manifest.task != "device-anomaly":
            raise PackInvalid(
                f"{where} is a pack for {manifest.task}, not one that watches devices; name another pack."
            )
        shapes = {name: tensor.shape for name, tensor in (*manifest.inputs.items(), *manifest.outputs.items())}
        if shapes != {INPUT: (-1, len(FEATURES)), PROBABILITY: (-1,), WEIGHTS: (-1, len(FEATURES))}:
            raise PackInvalid(f"{where} was not made for this version's features; install the pack anew.")
        if len(manifest.labels) != 1 or set(manifest.thresholds) != set(manifest.labels):
            raise PackInvalid(f"{where} must have one label, and its threshold; install the pack anew.")
        self._model = model
        self.name = manifest.name
        self.version = manifest.version
        self.label = manifest.labels[0]
        self.threshold = manifest.thresholds[self.label]

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability [n] that each reading is anomalous, of the features [n, len(FEATURES)] of its window.

        Raises InputInvalid when `features` has another type or shape.
        """
        if len(features) <= AT_ONCE:
            return self._model.run({INPUT: features})[PROBABILITY]
        starts = range(0, len(features), AT_ONCE)
        return np.concatenate([self.score(features[start : start + AT_ONCE]) for start in starts])

    def explain(self, features: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
        """The features [len(FEATURES)] of one reading with what each added to the log-odds, largest part first.

        They add up to the log-odds less those of a reading as usual, to within the model's 8-bit steps (0.3).
        """
        weights = self._model.run({INPUT: features[np.newaxis]})[WEIGHTS][0]
        order = np.argsort(-np.abs(weights), kind="stable")
        return tuple((FEATURES[place], float(weights[place])) for place in order)
