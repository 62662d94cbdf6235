"""A call that was heard live becomes a recording once it was transcribed: one file with a track for each leg."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

from edge.events import Call, Event
from edge.store.journal import Journal
from edge.store.placing import put_in_place
from edge.store.sound import SAMPLE_BYTES, Leg, LiveSound

BLOCK_S = 10.0


def archive(journal: Journal, sound: LiveSound, audio: Path) -> bool:
    """Write the file of one call that has ended and was transcribed, and remove its legs; False when there is none.

    Raises OSError when the disk takes no more: then the legs stay.
    """
    for call_id in sound.left():
        done = journal.readers.connection().execute("SELECT done FROM transcripts WHERE event_id = ?", (call_id,)).get
        if done == 0:
            continue
        event = journal.find(Event, call_id)
        if event is not None and isinstance(event.data, Call):
            unfinished = audio / f".{event.data.audio}"
            try:
                _write(unfinished, event.data, sound.legs(call_id))
            except soundfile.LibsndfileError as fault:
                unfinished.unlink(missing_ok=True)
                raise OSError(f"{unfinished} cannot be written: {fault}") from None
            put_in_place(unfinished, audio / event.data.audio)
        sound.forget(call_id)
        return True
    return False


def _write(path: Path, call: Call, legs: list[Leg]) -> None:
    rate_hz = call.sample_rate_hz
    frames = max((round((leg.info.offset_s + leg.duration_s) * rate_hz) for leg in legs), default=0)
    block = round(BLOCK_S * rate_hz)
    tracks = [_Track([leg for leg in legs if leg.info.channel == channel], rate_hz) for channel in call.channels]
    with soundfile.SoundFile(path, "w", rate_hz, len(tracks), "PCM_16", format="FLAC") as file:
        for first in range(0, frames, block):
            count = min(block, frames - first)
            file.write(np.stack([track.read(first, count) for track in tracks], axis=1))


class _Track:
    """The legs of a channel at their call's rate, with silence where there is none."""

    def __init__(self, legs: list[Leg], rate_hz: int) -> None:
        self._legs = legs
        self._rate_hz = rate_hz

    def read(self, first: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        """So many samples from one on."""
        track = np.zeros(count, np.int16)
        for leg in self._legs:
            begin = first - round(leg.info.offset_s * self._rate_hz)
            skipped = max(0, -begin)
            if skipped < count:
                samples = self._samples(leg, begin + skipped, count - skipped)
                track[skipped : skipped + len(samples)] |= samples  # no two are there at once
        return track

    def _samples(self, leg: Leg, first: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        ratio = leg.info.rate_hz / self._rate_hz
        pcm = leg.chunk(round(first * ratio), round(count * ratio))
        samples = np.frombuffer(pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES], "<i2")
        if leg.info.rate_hz != self._rate_hz and len(samples):
            samples = soxr.resample(samples, leg.info.rate_hz, self._rate_hz)
        return samples[:count].astype(np.int16)
