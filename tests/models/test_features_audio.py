"""What reading a recording promises: the same sound from every format, and no damaged file taken for a short one."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.errors import InputInvalid
from models.features.audio import AudioInfo, read_chunks, read_info

RATE_HZ = 16_000
KINDS = [
    ("wav", "PCM_16"),
    ("wav", "PCM_U8"),
    ("wav", "PCM_24"),
    ("wav", "FLOAT"),
    ("wav", "ULAW"),
    ("wav", "ALAW"),
    ("flac", "PCM_16"),
    ("ogg", "VORBIS"),
    ("ogg", "OPUS"),
]


def tone(seconds: float, channels: int = 1, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """440 Hz with a little noise on the first channel, 660 Hz on the second."""
    at_s = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(0).normal(0, 300, len(at_s))
    tracks = [8000 * np.sin(2 * np.pi * hz * at_s) + noise for hz in (440, 660)]
    return np.stack(tracks[:channels], axis=1).astype(np.int16)


def write(path: Path, sound: NDArray[np.int16], subtype: str | None = None, rate_hz: int = RATE_HZ) -> Path:
    soundfile.write(path, sound / 32768, rate_hz, subtype=subtype)
    return path


def read(path: Path, *, rate_hz: int | None = None) -> NDArray[np.int16]:
    return np.concatenate(list(read_chunks(path, 0.0, 0.25, rate_hz=rate_hz)))


@pytest.mark.parametrize(("suffix", "subtype"), KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_gives_the_same_sound(tmp_path: Path, suffix: str, subtype: str, channels: int) -> None:
    sound = tone(2.0, channels)
    path = write(tmp_path / f"call.{suffix}", sound, subtype)
    assert read_info(path) == AudioInfo(
        sample_rate_hz=RATE_HZ, channels=channels, frames=len(sound), duration_s=2.0, format=suffix
    )
    got = read(path)
    assert got.shape == sound.shape
    assert got.dtype == np.int16
    error = (got.astype(float) - sound)[800:-800]
    assert np.sqrt(np.mean(error**2)) < 900


def test_16_bit_samples_come_through_unchanged(tmp_path: Path) -> None:
    every = np.arange(-32768, 32768, dtype=np.int16).reshape(-1, 1)
    np.testing.assert_array_equal(read(write(tmp_path / "every.wav", every)), every)
    np.testing.assert_array_equal(read(write(tmp_path / "every.flac", every)), every)


def test_sound_louder_than_full_scale_is_clipped_and_does_not_wrap(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", np.array([2.0, -2.0] * 500), RATE_HZ, subtype="FLOAT")
    assert set(read(tmp_path / "loud.wav").ravel()) == {32767, -32768}


@pytest.mark.parametrize(("suffix", "subtype"), KINDS)
def test_reading_can_begin_in_the_middle(tmp_path: Path, suffix: str, subtype: str) -> None:
    path = write(tmp_path / f"call.{suffix}", tone(2.0), subtype)
    chunks = list(read_chunks(path, 1.5, 0.2))
    assert [len(chunk) for chunk in chunks] == [3200, 3200, 1600]
    difference = np.concatenate(chunks).astype(int) - read(path)[24_000:]
    assert np.abs(difference)[1000:].max() <= 2000


def test_reading_from_the_very_end_gives_nothing(tmp_path: Path) -> None:
    assert list(read_chunks(write(tmp_path / "a.wav", tone(1.0)), 1.0)) == []


@pytest.mark.parametrize(("start_s", "chunk_s"), [(-0.1, 0.25), (1.5, 0.25), (0.0, 0.0), (0.0, -1.0)])
def test_a_stretch_that_is_not_in_the_recording_is_refused(tmp_path: Path, start_s: float, chunk_s: float) -> None:
    path = write(tmp_path / "a.wav", tone(1.0))
    with pytest.raises(InputInvalid, match=r"lasts 1\.00 s"):
        read_chunks(path, start_s, chunk_s)


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 22_050])
def test_resampling_keeps_length_and_pitch(tmp_path: Path, rate_hz: int) -> None:
    path = write(tmp_path / "a.wav", tone(2.0, 2, rate_hz), rate_hz=rate_hz)
    sound = read(path, rate_hz=RATE_HZ)
    assert abs(len(sound) - 2 * RATE_HZ) <= 2
    spectrum = np.abs(np.fft.rfft(sound[:, 1].astype(float)))
    assert abs(spectrum.argmax() * RATE_HZ / len(sound) - 660) < 2


@pytest.mark.parametrize(("suffix", "subtype"), KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_recording_that_is_cut_off_is_refused(tmp_path: Path, suffix: str, subtype: str, share: float) -> None:
    whole = write(tmp_path / f"whole.{suffix}", tone(4.0), subtype).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputInvalid, match=r"^cut\.\w+ is (cut off|empty)") as refusal:
        read_info(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_recording_that_lost_just_its_last_page_is_refused(tmp_path: Path, subtype: str) -> None:
    path = write(tmp_path / "call.ogg", tone(4.0), subtype)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    with pytest.raises(InputInvalid, match="page that ends"):
        read_info(path)


@pytest.mark.parametrize(("suffix", "subtype"), [("flac", "PCM_16"), ("ogg", "VORBIS"), ("ogg", "OPUS")])
def test_damage_in_the_middle_is_told_when_it_is_reached(tmp_path: Path, suffix: str, subtype: str) -> None:
    path = write(tmp_path / f"call.{suffix}", tone(6.0), subtype)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    path.write_bytes(content)
    with pytest.raises(InputInvalid, match=r"^call\.\w+ is (damaged|cut off or corrupt)"):
        read(path)


def test_an_empty_file_and_a_header_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none.wav").write_bytes(b"")
    with pytest.raises(InputInvalid, match="no bytes"):
        read_info(tmp_path / "none.wav")
    for name in ("header.wav", "header.flac", "header.ogg"):
        write(tmp_path / name, tone(0.0))
        with pytest.raises(InputInvalid, match=name.replace(".", r"\.")):
            read_info(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.wav", b"fLaC" + bytes(100), "content holds FLAC"),
        ("a.flac", b"OggS" + bytes(100), "content holds OGG"),
        ("a.ogg", b"RIFF\x00\x00\x00\x00WAVE" + bytes(100), "content holds WAV"),
        ("a.wav", b"ID3\x03" + bytes(100), "neither WAV"),
        ("a.wav", b"RI", "neither WAV"),
        ("a.txt", b"RIFF\x00\x00\x00\x00WAVE" + bytes(100), "not audio by its name"),
        ("a", b"fLaC", "not audio by its name"),
    ],
)
def test_a_file_that_is_not_what_it_is_named_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputInvalid, match=reason):
        read_info(tmp_path / name)


def test_a_suffix_in_capitals_is_fine(tmp_path: Path) -> None:
    assert read_info(write(tmp_path / "CALL.WAV", tone(1.0))).format == "wav"


@pytest.mark.parametrize("rate_hz", [4_000, 96_000])
def test_a_rate_that_cannot_be_heard_is_refused(tmp_path: Path, rate_hz: int) -> None:
    with pytest.raises(InputInvalid, match=f"{rate_hz} Hz"):
        read_info(write(tmp_path / "a.wav", tone(1.0), rate_hz=rate_hz))


def test_more_than_two_channels_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((RATE_HZ, 3)), RATE_HZ)
    with pytest.raises(InputInvalid, match="3 channels"):
        read_info(tmp_path / "a.wav")


def test_a_rate_of_zero_in_the_header_is_refused(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "a.wav", tone(1.0)).read_bytes())
    content[24:28] = struct.pack("<I", 0)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputInvalid, match=r"a\.wav"):
        read_info(tmp_path / "a.wav")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_recording_whose_recorder_never_finished_the_header_is_refused(tmp_path: Path, size: int) -> None:
    content = bytearray(write(tmp_path / "a.wav", tone(1.0)).read_bytes())
    content[40:44] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputInvalid, match="never finished"):
        read_info(tmp_path / "a.wav")


def test_a_long_recording_s_64_bit_header_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), RATE_HZ, format="RF64")
    assert read_info(path).frames == RATE_HZ
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputInvalid, match="cut off"):
        read_info(path)


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan] * 500), RATE_HZ, subtype="FLOAT")
    with pytest.raises(InputInvalid, match="not numbers"):
        read(tmp_path / "a.wav")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match=r"gone\.wav cannot be read"):
        read_info(tmp_path / "gone.wav")


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
    head=st.booleans(),
)
def test_no_damage_brings_more_than_a_refusal(
    tmp_path: Path, kind: tuple[str, str], edits: list[tuple[float, int]], head: bool
) -> None:
    suffix, subtype = kind
    path = tmp_path / f"fuzzed.{suffix}"
    content = bytearray(write(path, tone(0.2), subtype).read_bytes())
    reach = min(100, len(content)) if head else len(content)
    for place, value in edits:
        content[int(place * reach)] = value
    path.write_bytes(content)
    try:
        info = read_info(path)
        sound = read(path)
    except InputInvalid:
        return
    assert sound.shape == (info.frames, info.channels)
