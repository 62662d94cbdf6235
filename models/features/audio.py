"""Reads recordings, and refuses those that would be heard wrongly: cut off, empty, corrupt, or not what they are named.

Speech recognition takes a truncated file for a short one and hangs on a broken header, so a file is checked first.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from models.errors import InputInvalid
from models.runtime.speech import HIGHEST_RATE_HZ, LOWEST_RATE_HZ

SPEECH_RATE_HZ = 16_000  # what the speech models were trained on; audio above it is brought down to it
MOST_CHANNELS = 2
FORMATS = {".wav": "wav", ".flac": "flac", ".ogg": "ogg", ".oga": "ogg", ".opus": "ogg"}
_UNFINISHED = 0xFFFFFFFF
_OGG_PAGE_MOST = 27 + 255 + 255 * 255
_OGG_LAST_PAGE = 0x04


class AudioInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording is: frames are samples per channel, `format` is wav, flac or ogg."""

    sample_rate_hz: int
    channels: int
    frames: int
    duration_s: float
    format: str


def read_info(path: Path) -> AudioInfo:
    """What the recording is, once it is known to be whole.

    Raises InputInvalid when it cannot be read, is empty, shorter than its header says, corrupt, not what its suffix
    says, below 8,000 or above 48,000 Hz, or has more than two channels.
    """
    with _refusing(path):
        kind = _format_by_content(path)
        if kind == "wav":
            _check_wave_length(path)
        if kind == "ogg":
            _check_ogg_end(path)
        with soundfile.SoundFile(path) as file:
            info = AudioInfo(
                sample_rate_hz=file.samplerate,
                channels=file.channels,
                frames=file.frames,
                duration_s=file.frames / file.samplerate if file.samplerate > 0 else 0.0,
                format=kind,
            )
            _check_ranges(path, info)
            if kind == "flac":
                _check_flac_end(path, file)
    return info


def read_chunks(
    path: Path, start_s: float = 0.0, chunk_s: float = 0.25, *, rate_hz: int | None = None
) -> Iterator[NDArray[np.int16]]:
    """The recording from `start_s` on, in int16 arrays [frames, channels] of `chunk_s` seconds (the last is shorter).

    With `rate_hz` the sound is resampled to that rate, and chunks vary a little in length. Raises InputInvalid as
    `read_info` does, and when damage shows only in the middle of the file.
    """
    info = read_info(path)
    first = round(start_s * info.sample_rate_hz)
    chunk = round(chunk_s * info.sample_rate_hz)
    if not 0 <= first <= info.frames or chunk < 1:
        raise InputInvalid(f"{path.name} lasts {info.duration_s:.2f} s; {chunk_s} s from {start_s} s are not in it.")
    chunks = _decoded(path, first, chunk, info)
    return chunks if rate_hz in (None, info.sample_rate_hz) else _resampled(chunks, info, rate_hz)


def _decoded(path: Path, first: int, chunk: int, info: AudioInfo) -> Iterator[NDArray[np.int16]]:
    left = info.frames - first
    with _refusing(path), soundfile.SoundFile(path) as file:
        file.seek(first)
        while left > 0:
            # libsndfile scales every encoding to floats of ±1, but does not scale float files to integers.
            sound = file.read(min(chunk, left), dtype="float32", always_2d=True)
            if not len(sound):
                raise InputInvalid(f"{path.name} is damaged: {left} of its {info.frames} frames cannot be decoded.")
            if not np.isfinite(sound).all():
                raise InputInvalid(f"{path.name} is damaged: it holds samples that are not numbers.")
            left -= len(sound)
            yield np.minimum(np.rint(np.clip(sound, -1.0, 1.0) * 32768.0), 32767).astype(np.int16)


def _resampled(chunks: Iterator[NDArray[np.int16]], info: AudioInfo, rate_hz: int) -> Iterator[NDArray[np.int16]]:
    stream = soxr.ResampleStream(info.sample_rate_hz, rate_hz, info.channels, dtype="int16")
    for chunk in chunks:
        sound = stream.resample_chunk(chunk)
        if len(sound):
            yield sound
    rest = stream.resample_chunk(np.zeros((0, info.channels), np.int16), last=True)
    if len(rest):
        yield rest


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns what goes wrong while reading the file into one sentence."""
    try:
        yield
    except OSError as error:
        raise InputInvalid(f"{path} cannot be read: {error.strerror}.") from None
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".") or "it does not decode"
        raise InputInvalid(f"{path.name} is cut off or corrupt ({reason}); record or copy it again.") from None


def _format_by_content(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        raise InputInvalid(f"{path.name} is empty: the file has no bytes.")
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        kind = "wav"
    else:
        kind = {b"fLaC": "flac", b"OggS": "ogg"}.get(head[:4], "")
    named = FORMATS.get(path.suffix.lower())
    if named is None:
        raise InputInvalid(f"{path.name} is not audio by its name; give one of {', '.join(FORMATS)}.")
    if kind != named:
        content = f"holds {kind.upper()} audio" if kind else "is neither WAV, FLAC nor OGG"
        raise InputInvalid(f"{path.name} is named {named.upper()}, but its content {content}.")
    return kind


def _check_ranges(path: Path, info: AudioInfo) -> None:
    if not LOWEST_RATE_HZ <= info.sample_rate_hz <= HIGHEST_RATE_HZ:
        raise InputInvalid(
            f"{path.name} has {info.sample_rate_hz} Hz; from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz can be heard."
        )
    if not 1 <= info.channels <= MOST_CHANNELS:
        raise InputInvalid(f"{path.name} has {info.channels} channels; one or two can be heard.")
    if info.frames <= 0:
        raise InputInvalid(f"{path.name} is empty: it holds no audio after its header.")


def _check_wave_length(path: Path) -> None:
    """Compare the bytes of audio with the RIFF header (Microsoft RIFF; RF64 as in EBU Tech 3306)."""
    end = path.stat().st_size
    long_size = None
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            if name == b"data":
                _check_data_chunk(path, long_size if size == _UNFINISHED and long_size else size, end - file.tell())
                return
            body = file.read(16) if name == b"ds64" else b""
            if len(body) == 16:
                long_size = struct.unpack("<8xQ", body)[0]
            file.seek(size + size % 2 - len(body), 1)
    raise InputInvalid(f"{path.name} is cut off or corrupt: its header announces no audio.")


def _check_data_chunk(path: Path, declared: int, present: int) -> None:
    if declared == _UNFINISHED or (declared == 0 and present > 0):
        raise InputInvalid(f"{path.name} was never finished: its header does not say how long it is.")
    if declared > present:
        raise InputInvalid(
            f"{path.name} is cut off: its header says {declared} bytes of audio and {present} are there."
        )


def _check_ogg_end(path: Path) -> None:
    """An Ogg stream ends with a page that is whole and flagged as the last (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _OGG_PAGE_MOST))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = len(page) >= 27 + len(segments) + sum(segments) and len(page) > 26 and len(segments) == page[26]
    if not whole or not page[5] & _OGG_LAST_PAGE:
        raise InputInvalid(f"{path.name} is cut off: the page that ends its audio is not there.")


def _check_flac_end(path: Path, file: Any) -> None:
    """The last frame that the header promises must decode."""
    try:
        file.seek(file.frames - 1)
        last = file.read(1)
    except soundfile.SoundFileError:
        last = ()
    if not len(last):
        raise InputInvalid(f"{path.name} is cut off: its header says {file.frames} frames, and the last is not there.")
