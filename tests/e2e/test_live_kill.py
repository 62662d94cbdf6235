"""A gateway that is killed in the middle of a live call: what was said until then is transcribed after its start."""

import asyncio
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from edge.bench.waiting import free_port, until
from edge.site import SAMPLE, read_site
from edge.store.database import open_read_only
from models.features.audio import read_info
from tests.e2e.conftest import OUTSTATION

pytestmark = pytest.mark.speech

RATE_HZ = 8000
SAID_S = 30
KILL_AFTER_S = 28


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    return open_read_only(folder / "data" / "journal.db").execute(sql).fetchall()


def words(folder: Path) -> list[str]:
    found = rows(
        folder,
        "SELECT data ->> 'text' FROM signals WHERE kind = 'utterance' ORDER BY CAST(data ->> 'start_s' AS REAL)",
    )
    return " ".join(text for (text,) in found).split()


@pytest.fixture
def site(make_site: Callable[..., Path]) -> Path:
    """The sample site, which hears live calls, with an empty inbox."""
    folder = make_site()
    for path in (folder / "inbox").iterdir():
        path.unlink()
    with (folder / "site.toml").open("a") as settings:
        settings.write(f"\n[live]\nvosk_port = {free_port()}\nrejoin_seconds = 0.2\n")
    return folder


def start(site: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([*OUTSTATION, "run", str(site)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{read_site(site).settings.web.port}/healthz/ready"

    def answers() -> bool:
        try:
            return httpx.get(url).is_success
        except httpx.HTTPError:
            return False

    until(answers, "the gateway is ready", 60)
    return process


async def speak(port: int, until_s: int, on_killed: Callable[[], None] | None = None) -> None:
    """The customer of the sample's call; without the end when the gateway is killed after `until_s`."""
    sound, _ = soundfile.read(SAMPLE / "inbox" / "hoist-quote.flac", SAID_S * RATE_HZ, dtype="int16")
    async with connect(f"ws://127.0.0.1:{port}/?channel=customer&language=en") as socket:
        await socket.send('{"config" : {"sample_rate" : 8000}}')
        for first in range(0, until_s * RATE_HZ, RATE_HZ // 5):
            await socket.send(sound[first : first + RATE_HZ // 5, 1].tobytes())
            await socket.recv()
        if on_killed is None:
            await socket.send('{"eof" : 1}')
            await socket.recv()
            return
        on_killed()
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()


def heard(site: Path) -> bool:
    return rows(site, "SELECT done FROM transcripts") == [(1,)]


def test_a_call_that_a_kill_cut_off_is_transcribed_to_its_end_and_kept(site: Path) -> None:
    port = read_site(site).settings.live.vosk_port
    assert port is not None
    process = start(site)
    asyncio.run(speak(port, KILL_AFTER_S, process.kill))
    process.wait()
    before = words(site)
    process = start(site)
    try:
        until(lambda: heard(site), "what was said is transcribed", 60)
        said = words(site)
        assert said[: len(before)] == before
        assert len(said) > 40, said
        assert "rope" in said
        ((call_id,),) = rows(site, "SELECT id FROM events WHERE kind = 'call' AND kind <> 'reading'")
        kept = site / "data" / "audio" / f"{call_id}.flac"
        until(kept.exists, "the call has its recording", 40)
        assert read_info(kept).duration_s == pytest.approx(KILL_AFTER_S, abs=0.01)
        assert not list((site / "data" / "live").iterdir())
    finally:
        process.terminate()
        assert process.wait(30) == 0
