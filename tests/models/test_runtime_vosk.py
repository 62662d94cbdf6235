"""What the speech runtime promises, on the real English pack: words in their place, and no way to hang or crash it."""

import shutil
import threading
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from vosk import KaldiRecognizer

from models.errors import InputInvalid, PackInvalid
from models.features.audio import read_chunks
from models.pack import Pack, Tensor, sha256_of
from models.runtime import load
from models.runtime.speech import Word
from models.runtime.speech_stream import SpeechStream
from models.runtime.vosk import VoskModel
from models.store import find_pack

pytestmark = pytest.mark.speech

RATE_HZ = 8_000
SECONDS_S = 7.0


@pytest.fixture(scope="module")
def pack(packs: Path) -> Pack:
    return find_pack("speech-en", packs)


@pytest.fixture(scope="module")
def model(pack: Pack) -> VoskModel:
    model = load(pack)
    assert isinstance(model, VoskModel)
    return model


@pytest.fixture(scope="module")
def agent(sample_call: Path) -> NDArray[np.int16]:
    """The agent's first seconds in the sample's call: she greets, and asks how she can help."""
    return next(read_chunks(sample_call, 0.0, SECONDS_S))[:, 0]


@pytest.fixture(scope="module")
def words(model: VoskModel, agent: NDArray[np.int16]) -> list[Word]:
    return heard(model.stream(RATE_HZ), agent)


def heard(stream: SpeechStream, sound: NDArray[np.int16], chunk: int = 2000) -> list[Word]:
    results = []
    for first in range(0, len(sound), chunk):
        results += stream.hear(sound[first : first + chunk].tobytes())
    return [word for result in [*results, stream.close()] for word in result.words]


def copied(pack: Pack, folder: Path) -> Pack:
    shutil.copytree(pack.folder, folder)
    return Pack(folder=folder, manifest=pack.manifest)


def test_words_come_in_order_inside_the_recording(words: list[Word]) -> None:
    assert {"good", "morning", "help"} <= {word.text for word in words}
    assert all(0 <= word.start_s < word.end_s <= SECONDS_S for word in words)
    assert all(before.end_s <= after.start_s + 0.05 for before, after in pairwise(words))
    assert all(0 <= word.confidence <= 1 for word in words)


def test_the_same_sound_gives_the_same_words_every_time(
    model: VoskModel, agent: NDArray[np.int16], words: list[Word]
) -> None:
    assert heard(model.stream(RATE_HZ), agent) == words


def test_a_whole_recording_is_heard_as_its_stream_is(
    model: VoskModel, agent: NDArray[np.int16], words: list[Word]
) -> None:
    made = model.run({"audio": agent, "sample_rate_hz": np.array([RATE_HZ], np.int32)})
    assert made["text"].tolist() == [word.text for word in words]
    assert made["start_s"].tolist() == [word.start_s for word in words]


def test_times_count_from_the_start_of_the_stream(
    model: VoskModel, agent: NDArray[np.int16], words: list[Word]
) -> None:
    pause_s = 3.0
    pause = np.zeros(round(pause_s * RATE_HZ), np.int16)
    twice = heard(model.stream(RATE_HZ), np.concatenate([agent, pause, agent]))
    again = next(word for word in twice if word.start_s > SECONDS_S + pause_s)
    assert abs(again.start_s - words[0].start_s - SECONDS_S - pause_s) < 0.5


def test_threads_share_the_model_without_mixing_what_they_hear(
    model: VoskModel, agent: NDArray[np.int16], words: list[Word]
) -> None:
    results: dict[int, list[Word]] = {}
    threads = [
        threading.Thread(target=lambda n=number: results.update({n: heard(model.stream(RATE_HZ), agent)}))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(results.values()) == [words] * 3


def test_what_is_heard_so_far_is_told_before_the_utterance_ends(model: VoskModel, agent: NDArray[np.int16]) -> None:
    stream = model.stream(RATE_HZ)
    so_far: set[str] = set()
    for first in range(0, len(agent), 480):
        if stream.hear(agent[first : first + 480].tobytes()):
            break
        said = stream.so_far()
        if said is not None:
            assert 0 <= said.start_s <= said.end_s <= (first + 480) / RATE_HZ
            so_far.update(said.words)
    assert "good" in so_far


def test_at_a_pause_the_sentence_is_known_at_once(
    model: VoskModel, agent: NDArray[np.int16], words: list[Word]
) -> None:
    stream = model.stream(RATE_HZ)
    utterance: list[Word] = []
    at_pause: list[tuple[float, tuple[str, ...]]] = []
    for first in range(0, len(agent) + RATE_HZ, 160):
        sound = np.concatenate([agent, np.zeros(RATE_HZ, np.int16)])[first : first + 160]
        if closed := stream.hear(sound.tobytes()):
            utterance = list(closed[0].words)
            break
        said = stream.so_far()
        if said is not None and said.paused:
            at_pause.append(((first + 160) / RATE_HZ, said.words))
    known_s = next(at_s for at_s, texts in at_pause if list(texts) == [word.text for word in utterance])
    assert known_s - utterance[-1].end_s < 0.35  # seconds of the sound, whatever the machine


def test_a_recogniser_that_gives_way_to_a_new_one_loses_no_word(
    model: VoskModel, sample_call: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = next(read_chunks(sample_call, 0.0, 60.0))[:, 1]
    before = heard(model.stream(RATE_HZ), customer)
    begun = []

    def recognizer(*given: object) -> object:
        begun.append(given)
        return KaldiRecognizer(*given)

    monkeypatch.setattr("models.runtime.vosk.vosk.KaldiRecognizer", recognizer)
    monkeypatch.setattr("models.runtime.vosk.KEPT_S", 5.0)
    after = heard(model.stream(RATE_HZ), customer)
    assert len(begun) > 2
    assert all(first.end_s <= then.start_s + 0.05 for first, then in pairwise(after))
    wrong = Levenshtein.distance([word.text for word in before], [word.text for word in after])
    assert wrong < 0.1 * len(before)  # it begins anew to learn the voice; a lost utterance would be more
    for word in before:
        assert any(abs(word.start_s - other.start_s) < 0.5 for other in after), word


def test_silence_says_nothing(model: VoskModel) -> None:
    assert heard(model.stream(16_000), np.zeros(5 * 16_000, np.int16)) == []


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_every_rate_of_telephones_and_recorders_is_heard(
    model: VoskModel, rate_hz: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert heard(model.stream(rate_hz), np.zeros(rate_hz, np.int16)) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rate_hz", [-16_000, 0, 1, 7_999, 48_001, 10**9])
def test_a_rate_on_which_vosk_would_hang_is_refused(model: VoskModel, rate_hz: int) -> None:
    with pytest.raises(InputInvalid, match="Hz"):
        model.stream(rate_hz)


@pytest.mark.parametrize("sound", [b"\0", b"\0" * 4001, bytearray(4), "sound", np.zeros(4, np.int16), None])
def test_what_is_not_whole_samples_is_refused(model: VoskModel, sound: bytes) -> None:
    with pytest.raises(InputInvalid, match="bytes of whole 16-bit samples"):
        model.stream(RATE_HZ).hear(sound)


@pytest.mark.parametrize("audio", [np.zeros((10, 2), np.int16), np.zeros(10, np.float32)])
def test_a_recording_must_be_mono_int16(model: VoskModel, audio: NDArray[np.int16]) -> None:
    with pytest.raises(InputInvalid, match="audio"):
        model.run({"audio": audio, "sample_rate_hz": np.array([RATE_HZ], np.int32)})


def test_a_file_the_manifest_does_not_know_is_not_opened(pack: Pack, tmp_path: Path) -> None:
    smuggled = copied(pack, tmp_path / "pack")
    (smuggled.model_path / "graph/HCLG.fst").write_bytes(b"unknown")
    with pytest.raises(PackInvalid, match=r"HCLG\.fst is not among"):
        load(smuggled)


@pytest.mark.parametrize("gone", ["graph/Gr.fst", "graph/HCLr.fst", "conf/mfcc.conf", "am/final.mdl"])
def test_a_model_that_lacks_a_part_is_refused_and_does_not_crash(pack: Pack, tmp_path: Path, gone: str) -> None:
    broken = copied(pack, tmp_path / "pack")
    (broken.model_path / gone).unlink()
    with pytest.raises(PackInvalid) as refusal:
        load(broken)
    assert "\n" not in str(refusal.value)


def test_a_model_that_would_hear_differently_each_time_is_refused(pack: Pack, tmp_path: Path) -> None:
    noisy = copied(pack, tmp_path / "pack")
    settings = noisy.model_path / "conf/mfcc.conf"
    settings.write_text(settings.read_text().replace("--dither=0", "--dither=1"))
    with pytest.raises(PackInvalid, match="lacks --dither=0"):
        load(noisy)


def test_a_manifest_that_is_not_of_speech_is_refused(pack: Pack) -> None:
    inputs = {"audio": Tensor(dtype="float32", shape=(-1,))}
    with pytest.raises(PackInvalid, match="inputs"):
        load(Pack(folder=pack.folder, manifest=msgspec.structs.replace(pack.manifest, inputs=inputs)))


def test_the_pack_is_the_one_that_was_measured(pack: Pack) -> None:
    assert sha256_of(pack.model_path / "am/final.mdl").startswith("75370a01")
