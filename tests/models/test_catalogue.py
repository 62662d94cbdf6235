"""What the catalogue promises: every entry can be found, is known by its hash, and a wrong file is refused."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from models.catalogue import CATALOGUE, entry_named, read_catalogue, speech_pack_of
from models.errors import PackInvalid, PackMissing
from models.fetch import locate


def test_every_entry_that_ships_is_pinned_by_a_hash_and_has_a_licence() -> None:
    for entry in read_catalogue().values():
        assert len(entry.sha256) == 64
        assert entry.licence
        assert entry.size_bytes < entry.unpacked_bytes


@pytest.mark.parametrize(("language", "name"), [("en", "speech-en"), ("en-US", "speech-en"), ("zh", "speech-zh")])
def test_a_language_finds_its_speech_pack(language: str, name: str) -> None:
    assert speech_pack_of(language, read_catalogue()) == name


def test_a_language_without_a_speech_pack_is_said_to_have_none() -> None:
    with pytest.raises(PackMissing, match="'fy'"):
        speech_pack_of("fy", read_catalogue())


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(PackMissing, match="speech-en"):
        entry_named("nonesuch", read_catalogue())


def test_a_maven_coordinate_becomes_an_address_without_a_look_at_the_network() -> None:
    address = urlsplit(locate(read_catalogue()["speech-en"]))
    assert address.scheme == "https"
    assert address.path.endswith("/com/alphacephei/vosk-model-en/0.3.45/vosk-model-en-0.3.45.aar")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "speech-en"', 'name = "../speech-en"'),
        ('name = "speech-en"', 'name = "speech-ko"'),
        ('runtime = "vosk"', 'runtime = "abacus"'),
        ("size_bytes = ", "size_bytes = -"),
        ('inside = "', 'colour = "green"\ninside = "'),
        ('sha256 = "8a', 'sha256 = "zz'),
        ('source = "maven:', 'source = "gopher:'),
        ('source = "url:https:', 'source = "url:file:'),
        ("[[entry]]", "[[entry"),
    ],
)
def test_a_wrong_catalogue_is_refused_with_its_name(tmp_path: Path, old: str, new: str) -> None:
    text = CATALOGUE.read_text("utf-8")
    assert old in text
    path = tmp_path / "catalogue.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(PackInvalid, match=r"catalogue\.toml"):
        read_catalogue(path)


def test_a_catalogue_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackInvalid, match=r"nowhere\.toml"):
        read_catalogue(tmp_path / "nowhere.toml")
