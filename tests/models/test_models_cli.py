"""What the commands promise: what they print, where, and with which exit code, run as a user runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from models.catalogue import Entry
from models.features.audio import read_chunks, read_info

MakeArchive = Callable[..., Path]
MakeEntry = Callable[..., Entry]
BEGINNING_S = 14.0  # she greets, he says what he calls about
MAIN = "from edge.cli import main; main()"
SENTENCE_START = "outstation: "


def outstation(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=120
    )


def rows(ran: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture
def catalogue(tmp_path: Path, make_archive: MakeArchive, make_entry: MakeEntry) -> Path:
    entry = msgspec.to_builtins(make_entry(make_archive()))
    path = tmp_path / "catalogue.toml"
    path.write_text("[[entry]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items()))
    return path


def test_a_pack_is_listed_fetched_and_verified(tmp_path: Path, catalogue: Path) -> None:
    packs = tmp_path / "packs"
    where = ("--packs", packs, "--catalogue", catalogue)
    (before,) = [row for row in rows(outstation("models", "list", *where, "--json")) if row["name"] == "speech-xx"]
    assert before["state"] == "to fetch"
    fetched = outstation("models", "fetch", "speech-xx", *where, "--json")
    assert fetched.returncode == 0
    assert rows(fetched)[0]["version"] == "1.0"
    (after,) = [row for row in rows(outstation("models", "list", *where, "--json")) if row["name"] == "speech-xx"]
    assert after["state"] == "installed"
    (packs / "speech-xx/model/README").write_text("altered")
    verified = outstation("models", "verify", "speech-xx", "--packs", packs)
    assert verified.returncode == 1
    assert verified.stderr.startswith(SENTENCE_START)
    assert "altered" in verified.stderr
    (altered,) = [row for row in rows(outstation("models", "list", *where, "--json")) if row["name"] == "speech-xx"]
    assert altered["state"] == "altered"


def test_a_file_brought_by_hand_is_fetched_by_its_hash(
    tmp_path: Path, catalogue: Path, make_archive: MakeArchive
) -> None:
    where = ("--packs", tmp_path / "packs", "--catalogue", catalogue)
    other = make_archive({"assets/model/conf/mfcc.conf": b"other"}, name="other.zip")
    refused = outstation("models", "fetch", "speech-xx", "--from", other, *where)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    seen = refused.stderr.split("SHA-256 ")[1].split(",")[0]
    assert outstation("models", "fetch", "speech-xx", "--from", other, "--sha256", seen, *where).returncode == 0


def test_a_name_that_is_nowhere_ends_with_3(tmp_path: Path) -> None:
    for arguments in (("fetch", "nonesuch"), ("verify", "nonesuch")):
        ran = outstation("models", *arguments, "--packs", tmp_path)
        assert ran.returncode == 3
        assert ran.stderr.startswith(SENTENCE_START)
        assert "nonesuch" in ran.stderr


def test_one_hash_is_not_for_two_packs(tmp_path: Path) -> None:
    ran = outstation("models", "fetch", "speech-en", "speech-ko", "--sha256", "0" * 64, "--packs", tmp_path)
    assert ran.returncode == 2
    assert "one NAME" in ran.stderr


def test_without_the_speech_pack_transcribing_ends_with_3_and_says_how_to_get_it(tmp_path: Path) -> None:
    ran = outstation("transcribe", "call.wav", OUTSTATION_PACKS=str(tmp_path))
    assert ran.returncode == 3
    assert "outstation models fetch speech-en" in ran.stderr


@pytest.mark.speech
def test_transcribing_names_each_refused_file_and_ends_with_2(tmp_path: Path, packs: Path) -> None:
    soundfile.write(tmp_path / "quiet.flac", np.zeros((48_000, 2)), 48_000)
    whole = (tmp_path / "quiet.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[:-10])
    (tmp_path / "empty.wav").write_bytes(b"")
    names = [tmp_path / name for name in ("cut.flac", "quiet.flac", "empty.wav", "gone.ogg")]
    ran = outstation("transcribe", *names, "--packs", packs)
    assert ran.returncode == 2
    assert ran.stdout == f"{tmp_path / 'quiet.flac'}:\n"
    refusals = ran.stderr.splitlines()
    assert [line.startswith(SENTENCE_START) for line in refusals] == [True] * 3
    assert [name in line for name, line in zip(["cut.flac", "empty.wav", "gone.ogg"], refusals, strict=True)]


@pytest.mark.speech
def test_a_call_is_transcribed_with_times_confidence_and_channel(
    tmp_path: Path, packs: Path, sample_call: Path
) -> None:
    call = tmp_path / "call.flac"
    soundfile.write(call, next(read_chunks(sample_call, 0.0, BEGINNING_S)), read_info(sample_call).sample_rate_hz)
    ran = outstation("transcribe", call, "--json", "--packs", packs)
    assert (ran.returncode, ran.stderr) == (0, "")
    words = rows(ran)
    assert {word["channel"] for word in words} == {0, 1}
    assert {"service", "morning", "tom"} <= {word["text"] for word in words}
    starts = [float(str(word["start_s"])) for word in words]
    assert starts == sorted(starts)
    assert set(words[0]) == {"file", "channel", "text", "start_s", "end_s", "confidence"}


@pytest.mark.speech
def test_the_speech_pack_verifies(packs: Path) -> None:
    ran = outstation("models", "verify", "speech-en", "--packs", packs, "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert rows(ran)[0]["name"] == "speech-en"
