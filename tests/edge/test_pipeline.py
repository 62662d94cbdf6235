"""What the pipeline makes of calls that cannot be heard."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.daemon import open_site
from edge.events import Call
from edge.site import Site, make_site, read_site
from edge.store.journal import Offer
from tests.figures import figure
from tests.records import an_event


@pytest.fixture
def whole_site(tmp_path: Path) -> Site:
    make_site(tmp_path / "site", sample=False)
    return read_site(tmp_path / "site")


def a_call(**changes: object) -> Call:
    fields: dict[str, object] = {
        "audio": "a.wav",
        "duration_s": 1.0,
        "sample_rate_hz": 8000,
        "channels": ("agent", "customer"),
        "language": "en",
    }
    return Call(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.speech
def test_a_call_whose_sound_is_gone_is_refused_once_and_does_not_hold_up_the_next(
    whole_site: Site, packs: Path
) -> None:
    with ExitStack() as stack:
        opened = open_site(whole_site, stack)
        sound = 0.1 * np.random.default_rng(7).standard_normal((8000, 2))
        soundfile.write(whole_site.audio / "there.wav", sound, 8000)
        calls = [an_event(a_call(audio="gone.wav"), "gone"), an_event(a_call(audio="there.wav"), "there")]
        opened.journal.accept([Offer(events=[(None, call) for call in calls])]).result()
        opened.pipeline.drain()
        opened.listener.stop()
        figures = opened.journal.metrics.exposition().decode()
        connection = opened.journal.readers.connection()
        refused = connection.execute("SELECT source, name, reason FROM refusals").fetchall()
        done = connection.execute("SELECT event_id, done FROM transcripts").fetchall()
    assert [row[:2] for row in refused] == [("calls", "gone")]
    assert "gone.wav" in str(refused[0][2])
    assert dict(done) == {calls[0].id: 1, calls[1].id: 1}  # type: ignore[arg-type]
    assert figure(figures, "outstation_speech_audio_seconds_total") == 2.0  # a second of two channels
    assert figure(figures, "outstation_speech_real_time_ratio_count") == 2
    assert figure(figures, "outstation_conclusion_seconds_count", track="call") == 2
    assert figure(figures, "outstation_refusals_total", source="calls") == 1


def test_a_call_without_a_speech_pack_for_its_language_waits_and_says_what_to_fetch(
    whole_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTSTATION_PACKS", str(tmp_path / "none"))
    with ExitStack() as stack:
        opened = open_site(whole_site, stack)
        opened.journal.accept([Offer(events=[(None, an_event(a_call(language="zh")))])]).result()
        opened.pipeline.drain()
        opened.listener.stop()
        waiting = opened.journal.calls_to_transcribe(10)
        told = opened.pipeline.put_off
        refused = opened.journal.readers.connection().execute("SELECT count(*) FROM refusals").fetchall()
    assert len(waiting) == 1
    assert "models fetch" in told[0]
    assert refused == [(0,)]
