"""The sample site is whole: what `outstation run` needs loads, and its calls can be heard and say what they should."""

import re
import string
import tomllib
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.decide.playbook import Step, read_playbook
from edge.sample.post_notes import NOTES, SampleNote
from edge.site import SAMPLE, read_site
from edge.sources.inbox import SideCar
from models.catalogue import read_catalogue
from models.device_log import parse_time
from models.features.audio import read_chunks, read_info
from models.fetch import fetch_pack
from models.runtime.speech import Word
from models.runtime.vosk import VoskModel
from models.store import default_packs

INBOX = SAMPLE / "inbox"
CALLS = [INBOX / "hoist-quote.flac", INBOX / "gas-complaint.wav"]
CUSTOMER = 1  # the right track
LABELS = [
    "budget_concern",
    "competitor_mention",
    "purchase_intent",
    "spare_part_request",
    "fault_report",
    "complaint",
    "churn_risk",
    "renewal",
    "delivery_query",
    "warranty_doubt",
    "safety_hazard",
    "callback_request",
    "praise",
    "part_missing",
    "upset",
    "urgent",
    "device_anomaly",
]
CHINESE = re.compile("[\u4e00-\u9fff]")

each_call = pytest.mark.parametrize("call", CALLS, ids=lambda path: path.stem)


def sound(call: Path) -> NDArray[np.float64]:
    return np.concatenate(list(read_chunks(call))) / 32_768


def steps() -> list[Step]:
    plays = read_playbook(SAMPLE / "playbook.toml").plays
    return [step for of_label in plays.values() for play in of_label for step in play.step]


# ---- settings ------------------------------------------------------------------------------------------------


def test_every_label_has_a_play_with_a_title_in_both_languages() -> None:
    plays = read_playbook(SAMPLE / "playbook.toml").plays
    assert sorted(plays) == sorted(LABELS)
    for play in (play for of_label in plays.values() for play in of_label):
        assert play.title["en"], play.name
        assert CHINESE.search(play.title["zh"]), play.name


def test_every_step_says_in_both_languages_what_to_do() -> None:
    for step in steps():
        assert step.what["en"]
        assert CHINESE.search(step.what["zh"])


def test_payloads_name_nothing_but_what_a_prediction_has_and_the_samples_tables() -> None:
    fields = {
        field
        for step in steps()
        for value in step.payload.values()
        for _, field, _, _ in string.Formatter().parse(value)
    }
    cells = set()
    for table in (SAMPLE / "tables").glob("*.csv"):
        _, *columns = table.read_text("utf-8").splitlines()[0].split(",")
        cells |= {f"{table.stem}.{column}" for column in columns}
    assert fields <= {None, "subject", "label", "event", "said", "second"} | cells


def test_the_control_room_hears_of_a_danger_at_once() -> None:
    (play,) = read_playbook(SAMPLE / "playbook.toml").plays["safety_hazard"]
    assert any(step.channel == "webhook" and step.fires_after_s == 0 for step in play.step)


def test_the_settings_load_and_say_what_each_key_is() -> None:
    assert read_site(SAMPLE).settings.name == "sample-mine"
    for line in (SAMPLE / "site.toml").read_text("utf-8").splitlines():
        assert "=" not in line.partition("#")[0] or "#" in line, line


def test_the_vocabulary_has_each_name_once_with_spellings_in_both_languages() -> None:
    terms = tomllib.loads((SAMPLE / "vocabulary.toml").read_text("utf-8"))["term"]
    assert {term["kind"] for term in terms} == {"machine", "part", "person", "rival"}
    assert len({term["name"] for term in terms}) == len(terms)
    for language in ("en", "zh"):
        spellings = [spelling for term in terms for spelling in term[language]]
        assert len(set(spellings)) == len(spellings)
        assert all(term[language] for term in terms)


def test_the_notes_are_six_in_chinese() -> None:
    notes = [msgspec.json.decode(line, type=SampleNote) for line in NOTES.read_text("utf-8").splitlines()]
    assert len(notes) == 6
    assert all(note.language == "zh" and CHINESE.search(note.text) for note in notes)


# ---- the calls -----------------------------------------------------------------------------------------------


@each_call
def test_a_call_has_a_side_car_that_the_inbox_takes(call: Path) -> None:
    sidecar = msgspec.json.decode(call.with_suffix(".json").read_bytes(), type=SideCar)
    assert sidecar.customer
    assert sidecar.agent
    assert sidecar.language == "en"
    assert sidecar.start is not None
    parse_time(sidecar.start, ZoneInfo("UTC"))


@each_call
def test_a_call_is_stereo_at_8_khz_and_lasts_one_to_three_minutes(call: Path) -> None:
    info = read_info(call)
    assert (info.sample_rate_hz, info.channels) == (8_000, 2)
    assert 60 <= info.duration_s <= 200


@each_call
def test_both_parties_of_a_call_are_loud_enough_and_not_clipped(call: Path) -> None:
    track = sound(call)
    seconds = track[: len(track) // 8_000 * 8_000].reshape(-1, 8_000, 2)
    speech_db = 20 * np.log10(np.sqrt((seconds**2).mean(axis=1)).max(axis=0))
    assert (speech_db > -30).all()
    assert np.abs(track).max() < 0.99


@each_call
def test_a_call_sounds_as_through_a_telephone(call: Path) -> None:
    power = (np.abs(np.fft.rfft(sound(call), axis=0)) ** 2).sum(axis=1)
    hz = np.linspace(0, 4_000, len(power))
    assert power[(hz < 250) | (hz > 3_500)].sum() < 0.01 * power.sum()


def test_the_calls_ship_in_both_formats_and_stay_small() -> None:
    assert {call.suffix for call in CALLS} == {".wav", ".flac"}
    assert sum(call.stat().st_size for call in CALLS) < 4_000_000


# ---- what is heard in them -----------------------------------------------------------------------------------

Transcripts = dict[str, list[Word]]


@pytest.fixture(scope="module")
def heard() -> Transcripts:
    """The customer's words in each call, by the call's name."""
    packs = default_packs()
    model = VoskModel(fetch_pack(read_catalogue()["speech-en"], packs))

    def transcribe(call: Path) -> list[Word]:
        stream = model.stream(8_000)
        results = [result for chunk in read_chunks(call) for result in stream.hear(chunk[:, CUSTOMER].tobytes())]
        return [word for result in (*results, stream.close()) for word in result.words]

    with ThreadPoolExecutor(2) as threads:
        return {call.stem: words for call, words in zip(CALLS, threads.map(transcribe, CALLS), strict=True)}


def times(words: list[Word], starts: str) -> list[float]:
    return [word.start_s for word in words if word.text.startswith(starts)]


@pytest.mark.speech
def test_the_budget_is_worried_about_between_80_and_95_s(heard: Transcripts) -> None:
    assert times(heard["hoist-quote"], "budget")
    assert all(80 <= start_s <= 95 for start_s in times(heard["hoist-quote"], "budget"))
    assert not times(heard["gas-complaint"], "budget")


@pytest.mark.speech
@pytest.mark.parametrize(
    ("call", "phrase", "earliest_s", "latest_s"),
    [
        ("hoist-quote", "offer from summit", 92, 102),
        ("hoist-quote", "need spare parts", 108, 118),
        ("hoist-quote", "call me back on thursday", 120, 133),
        ("gas-complaint", "third time this year", 15, 24),
        ("gas-complaint", "he was rude", 22, 30),
        ("gas-complaint", "compressor still does not work", 35, 45),
        ("gas-complaint", "smell of gas", 47, 58),
        ("gas-complaint", "smoke", 50, 60),
    ],
)
def test_what_matters_in_a_call_is_recognised_where_it_is_said(
    heard: Transcripts, call: str, phrase: str, earliest_s: float, latest_s: float
) -> None:
    words = [word for word in heard[call] if earliest_s <= word.start_s <= latest_s]
    assert phrase in " ".join(word.text for word in words)


@pytest.mark.speech
@each_call
def test_a_call_says_what_its_script_says(heard: Transcripts, call: Path) -> None:
    turns = tomllib.loads((SAMPLE / "calls" / f"{call.stem}.toml").read_text("utf-8"))["turn"]
    script = re.findall("[a-z']+", " ".join(turn["text"] for turn in turns if turn["speaker"] == "customer").lower())
    spoken = [word.text for word in heard[call.stem]]
    assert SequenceMatcher(None, script, spoken, autojunk=False).ratio() > 0.8
