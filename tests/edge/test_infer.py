"""Which packs judge what, in the light of what, and that one that does not open leaves the others be."""

import shutil
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from edge.errors import PlaybookGap
from edge.events import KnownEvidence, Named, Prediction, Signal, SpokenEvidence, Utterance, Word, new_id, now_us
from edge.infer import NOTHING, Infer, Past
from edge.loading import load
from edge.site import make_site, read_site
from models.features.time_line import Step
from models.pack import read_pack
from models.store import SHIPPED
from models.tasks.mood import Mood
from models.tasks.text_labels import TextLabels


def signal(text: str, language: str = "en") -> Signal:
    said = Utterance(channel="customer", language=language, text=text)
    return Signal(at=now_us(), event_id=new_id(), subject="pit-7", data=said)


@pytest.fixture(scope="module")
def infer() -> Infer:
    return Infer([TextLabels(read_pack(SHIPPED / "call-signals"))], [])


def labels(predictions: list[Prediction]) -> set[str]:
    return {prediction.label for prediction in predictions}


def test_only_what_is_in_a_language_of_the_pack_is_judged(infer: Infer) -> None:
    heard = [signal("there is gas in the pump room get everybody out", language) for language in ("en", "", "ko")]
    said = infer.of_utterances(heard, [NOTHING] * 3)
    assert {prediction.signal_id for prediction in said} == {heard[0].id, heard[1].id}
    assert labels(said) >= {"safety_hazard"}


def test_a_turn_is_judged_after_what_was_said_before_it(infer: Infer) -> None:
    answer = signal("Yes, both of them.")
    alone = infer.of_utterances([answer], [NOTHING])
    asked = Utterance(
        channel="agent", language="en", text="So the brake bands are worn out, shall I send you new ones?"
    )
    in_place = infer.of_utterances([answer], [Past((asked,))])
    assert "spare_part_request" in labels(in_place)
    strength = {"alone": 0.0, "in place": 0.0}
    for name, said in (("alone", alone), ("in place", in_place)):
        strength[name] = max((p.probability for p in said if p.label == "spare_part_request"), default=0.0)
    assert strength["in place"] > strength["alone"]


def test_a_pack_that_does_not_open_leaves_the_others_be(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "call-signals-small", tmp_path / "broken")
    broken = TextLabels(read_pack(tmp_path / "broken"))
    (tmp_path / "broken" / "model.onnx").write_bytes(b"gone")
    whole = TextLabels(read_pack(SHIPPED / "call-signals-small"))
    said = Infer([broken, whole], []).of_utterances([signal("there is a smell of gas near the compressor")], [NOTHING])
    assert "safety_hazard" in labels(said)


def test_what_a_composed_pack_went_by_is_evidence(tmp_path: Path) -> None:
    make_site(tmp_path / "site", sample=True)
    site = read_site(tmp_path / "site")
    infer = load(site).infer
    named = Named(kind="machine", name="compressor-01", said="the compressor", heard="the compressor")
    text = "the compressor does not start any more"
    said = Utterance(channel="note", language="en", text=text, names=(named,))
    signals = [
        Signal(
            at=round(datetime.fromisoformat(day).timestamp() * 1e6), event_id=new_id(), subject="east-river", data=said
        )
        for day in ("2027-03-01T23:30+08:00", "2027-03-02T00:30+08:00")
    ]
    found = [p for p in infer.of_utterances(signals, [NOTHING] * 2) if p.label == "part_missing"]
    assert [prediction.signal_id for prediction in found] == [signals[0].id], "covered until the end of the day here"
    spoken, *known = found[0].evidence
    assert isinstance(spoken, SpokenEvidence)
    assert dict(spoken.weights).keys() & {"start", "not", "compressor"}
    cells = {(one.what, one.of, one.value) for one in known if isinstance(one, KnownEvidence)}
    assert {("warranty_until", "compressor-01", "2027-03-01"), ("pieces", "air-end", "0")} <= cells
    whole = infer.still_says(said, NOTHING, found[0])
    assert whole
    assert not infer.still_says(msgspec.structs.replace(said, names=()), NOTHING, found[0])


def test_a_composed_packs_label_needs_a_play(tmp_path: Path) -> None:
    make_site(tmp_path / "site", sample=True)
    site = read_site(tmp_path / "site")
    site.playbook.write_text(site.playbook.read_text("utf-8").replace('label = "part_missing"', 'label = "x"'), "utf-8")
    with pytest.raises(PlaybookGap, match="part-missing says 'part_missing'"):
        load(site)


def test_a_mood_is_judged_by_how_it_is_spoken_and_by_what_came_before() -> None:
    infer = Infer([Mood(read_pack(SHIPPED / "call-mood"))], [])
    text = "this is the third time you have told me that and nobody ever comes"
    words = tuple(
        Word(text=word, start_s=5 + 0.2 * place, end_s=5.2 + 0.2 * place, confidence=0.3 if place > 9 else 0.9)
        for place, word in enumerate(text.split())
    )
    agent = Utterance(channel="agent", language="en", text="please hold the line", start_s=2.0, end_s=6.0)
    spoken = Utterance(channel="customer", language="en", text=text, start_s=5.0, end_s=7.8, words=words)
    heard = Signal(at=now_us(), event_id=new_id(), subject="pit-7", data=spoken)
    steps = (Step("expired", 3_600.0), Step("complaint", 86_400.0))
    (upset,) = [p for p in infer.of_utterances([heard], [Past((agent,), steps)]) if p.label == "upset"]
    known = {piece.what: piece for piece in upset.evidence if isinstance(piece, KnownEvidence)}
    assert known
    assert all(piece.weight and piece.weight > 0 for piece in known.values())
    wrote = Signal(
        at=now_us(), event_id=new_id(), subject="pit-7", data=msgspec.structs.replace(spoken, channel="note")
    )
    (noted,) = [p for p in infer.of_utterances([wrote], [Past((), steps)]) if p.label == "upset"]
    what = {piece.what for piece in noted.evidence if isinstance(piece, KnownEvidence)}
    assert not what & {"words_a_second", "overlap", "gap", "unsure", "said_before"}
