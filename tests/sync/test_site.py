"""What the link reads of a site folder: settings and key."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import keys
from sync.errors import LinkPartMissing, LinkSettingsError
from sync.settings import read_settings


def site_toml(folder: Path, text: str) -> Path:
    (folder / "site.toml").write_text(text, "utf-8")
    return folder


def test_the_link_reads_its_part_of_site_toml_and_ignores_the_rest(tmp_path: Path) -> None:
    settings = read_settings(
        site_toml(
            tmp_path,
            'name = "矿山-3"\nlanguage = "zh"\n[hq]\nhosts = ["hq.example"]\nport = 8883\n[web]\nport = 8470\n',
        )
    )
    assert settings.hq is not None
    assert (settings.site, settings.hq.hosts, settings.hq.port) == ("矿山-3", ("hq.example",), 8883)
    assert settings.journal == tmp_path / "data" / "journal.db"


def test_a_site_without_an_hq_table_has_no_link(tmp_path: Path) -> None:
    assert read_settings(site_toml(tmp_path, 'name = "s"\n')).hq is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('name = "a/b"\n', r"\$\.name"),
        ('name = "s"\n[hq]\nport = 0\n', r"\$\.hq\.port"),
        ('name = "s"\n[hq]\nhots = "x"\n', "hots"),
        ("[hq]\n", "name"),
        ("name = \n", "line 1"),
    ],
)
def test_wrong_settings_are_named_with_file_and_key(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(LinkSettingsError, match=rf"site\.toml: .*{why}"):
        read_settings(site_toml(tmp_path, text))


def test_a_folder_that_is_no_site_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(LinkSettingsError, match="outstation init"):
        read_settings(tmp_path)


def test_a_new_key_is_private_and_its_public_text_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "site.key"
    text = keys.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert keys.public_text(keys.load(path).public_key()) == text == keys.public_text(keys.parse_public(text + "\n"))


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    keys.create(path)
    before = path.read_bytes()
    with pytest.raises(LinkSettingsError, match="already"):
        keys.create(path)
    assert path.read_bytes() == before


def test_a_key_as_base64_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    path.write_bytes(base64.b64encode(bytes(range(32))) + b"\n")
    path.chmod(0o600)
    assert keys.load(path).private_bytes_raw() == bytes(range(32))


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    keys.create(path)
    path.chmod(0o640)
    with pytest.raises(LinkSettingsError, match="chmod 600"):
        keys.load(path)


def test_what_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    with pytest.raises(LinkPartMissing, match="no key"):
        keys.load(path)
    plain = serialization.NoEncryption()
    secret = serialization.BestAvailableEncryption(b"secret")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    for content in (
        b"",
        b"not base64!",
        base64.b64encode(bytes(31)),
        b"-----BEGIN nothing",
        generate_private_key(SECP256R1()).private_bytes(pem, pkcs8, plain),
        Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, secret),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(LinkSettingsError):
            keys.load(path)
    for text in ("", "not base64", base64.b64encode(bytes(33)).decode(), "矿"):
        with pytest.raises(LinkSettingsError, match="32 bytes"):
            keys.parse_public(text)
