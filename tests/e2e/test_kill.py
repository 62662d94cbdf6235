"""kill -9 at fifty random moments: nothing that was accepted is lost, nothing is done twice."""

import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edge.bench.waiting import until
from edge.events import Event, Reading, Signal, Utterance
from edge.site import read_site
from edge.store.database import number, open_read_only
from edge.store.rows import select
from tests.e2e.conftest import OUTSTATION

KILLS = 50
SEED = 20261122


class Notes(threading.Thread):
    """Somebody who writes a note now and then and, like a phone would, tries again until the gateway has taken it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.finished = threading.Event()
        self._url = url

    def run(self) -> None:
        while not self.finished.is_set():
            text = f"note {len(self.said)}"
            if self._post(text):
                self.said.append(text)
            self.finished.wait(0.3)

    def _post(self, text: str) -> bool:
        body = {"subject": "Red Ridge", "author": "Lin", "text": text, "key": text}
        try:
            return httpx.post(f"{self._url}/api/notes", json=body, timeout=5).is_success
        except httpx.HTTPError:
            return False


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    return open_read_only(folder / "data" / "journal.db").execute(sql).fetchall()


def readings(folder: Path) -> Counter[tuple[str, int, str]]:
    events = select(open_read_only(folder / "data" / "journal.db"), Event, "WHERE kind = 'reading'")
    return Counter(
        (event.subject, event.at, repr(sorted(event.data.values.items())))
        for event in events
        if isinstance(event.data, Reading)
    )


def device_plays(folder: Path) -> list[tuple[Any, ...]]:
    """What was decided about devices: play, subject, and the moment and probability of the prediction."""
    return rows(
        folder,
        "SELECT d.play, d.subject, p.at, p.probability FROM decisions d JOIN predictions p ON p.id = d.prediction_id "
        "WHERE p.pack = 'device-anomaly' ORDER BY p.at",
    )


def utterances(folder: Path) -> dict[str, list[Utterance]]:
    """By customer what was heard, in the order of the call."""
    found: dict[str, list[Utterance]] = {}
    for signal in select(
        open_read_only(folder / "data" / "journal.db"), Signal, "WHERE kind = 'utterance' ORDER BY at"
    ):
        if isinstance(signal.data, Utterance) and signal.data.channel != "note":
            found.setdefault(signal.subject, []).append(signal.data)
    return found


def is_done(folder: Path) -> bool:
    """Whether everything in the inbox was taken and concluded."""
    if [path for path in (folder / "inbox").iterdir() if path.is_file()]:
        return False
    connection = open_read_only(folder / "data" / "journal.db")
    behind = number(connection, "SELECT max(seq) FROM events WHERE kind = 'reading'") - number(
        connection, "SELECT seq FROM cursors WHERE step = 'reading'"
    )
    return not behind and not number(connection, "SELECT count(*) FROM transcripts WHERE done = 0")


@pytest.mark.speech
def test_fifty_kills_lose_nothing_and_double_nothing(make_site: Callable[..., Path]) -> None:
    undisturbed = make_site("undisturbed")
    subprocess.run([*OUTSTATION, "run", "--once", str(undisturbed)], check=True, capture_output=True)

    site = make_site("killed")
    url = f"http://127.0.0.1:{read_site(site).settings.web.port}"
    notes = Notes(url)
    notes.start()
    moments = random.Random(SEED)
    command = [*OUTSTATION, "run", str(site)]
    for _ in range(KILLS):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.3, 2.5))  # the moment of the kill is what is random here
        process.kill()
        process.wait()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        until(lambda: is_done(site), "everything in the inbox is concluded", timeout_s=600)
        notes.finished.set()
        notes.join()
        last = f"SELECT count(*) FROM signals WHERE kind = 'utterance' AND data ->> 'text' = '{notes.said[-1]}'"
        until(lambda: rows(site, last) == [(1,)], "the last note is concluded")
    finally:
        notes.finished.set()
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors.decode()

    assert readings(site) == readings(undisturbed)
    assert set(readings(site).values()) == {1}
    assert device_plays(site) == device_plays(undisturbed)

    texts = [text for (text,) in rows(site, "SELECT data ->> 'text' FROM events WHERE kind = 'note' ORDER BY seq")]
    assert texts == notes.said
    noted = rows(site, "SELECT data ->> 'text' FROM signals WHERE kind = 'utterance' AND data ->> 'channel' = 'note'")
    assert [text for (text,) in noted] == notes.said

    heard, whole = utterances(site), utterances(undisturbed)
    assert set(heard) == set(whole)
    for customer, spoken in heard.items():
        for channel in {utterance.channel for utterance in spoken}:
            spans = [(u.start_s, u.end_s) for u in spoken if u.channel == channel]
            assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans)), "heard twice"
        words, all_words = (sum(len(u.words) for u in of[customer]) for of in (heard, whole))
        assert words == pytest.approx(all_words, rel=0.05), "a call that goes on from its middle has the same words"

    for lane in ("now", "day"):
        seqs = [seq for (seq,) in rows(site, f"SELECT seq FROM outbox WHERE lane = '{lane}' ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1))
    assert rows(site, "SELECT id FROM outbox GROUP BY id HAVING count(*) > 1") == []
    twice = "SELECT action_id, state FROM transitions GROUP BY action_id, state HAVING count(*) > 1"
    assert rows(site, twice) == []
    done = {f"{id}.json" for (id,) in rows(site, "SELECT id FROM actions WHERE channel='webhook' AND state = 'done'")}
    written = {path.name for path in (site / "data" / "webhooks").glob("*.json")}
    assert done <= written
    for path in (site / "data" / "webhooks").glob("*.json"):
        msgspec.json.decode(path.read_bytes())
