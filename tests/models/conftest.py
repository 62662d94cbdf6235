"""What the tests of packs share: a small archive that looks like a speech model, and the real English pack."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from models.catalogue import Entry
from models.features.audio import FORMATS

MODEL_FILES = {
    "assets/model/conf/mfcc.conf": b"--sample-frequency=16000\n--dither=1.5\n--use-energy=false",
    "assets/model/am/final.mdl": bytes(range(256)) * 2000,
    "assets/model/README": b"Made for tests; licence: none needed.\n",
    "classes.jar": b"not part of the model",
}


@pytest.fixture(autouse=True)
def _loopback_without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., Path]:
    """Writes a zip of the files given, by default those of a small model, stored so that its size is theirs."""

    def make(files: Mapping[str, bytes] = MODEL_FILES, name: str = "made.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for inside, content in files.items():
                archive.writestr(inside, content)
        return path

    return make


@pytest.fixture
def make_entry() -> Callable[..., Entry]:
    """The catalogue's entry for an archive, with its true hash and size unless told otherwise."""

    def make(archive: Path, **changed: object) -> Entry:
        content = archive.read_bytes()
        fields: dict[str, object] = {
            "name": "speech-xx",
            "version": "1.0",
            "task": "speech",
            "runtime": "vosk",
            "languages": ("xx",),
            "source": f"file:{archive}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "unpacked_bytes": 1_000_000,
            "inside": "assets/model",
            "licence": "Apache-2.0",
            "about": "A model for tests.",
        }
        return Entry(**(fields | changed))  # type: ignore[arg-type]  # the fields above are Entry's

    return make


@pytest.fixture(scope="session")
def sample_call() -> Path:
    """The sample's call about the hoist: 8 kHz, the agent on the left, the customer in a noisy plant on the right."""
    inbox = Path(__file__).parents[2] / "edge/sample/inbox"
    (call,) = [path for path in inbox.glob("hoist-quote.*") if path.suffix in FORMATS]
    return call
