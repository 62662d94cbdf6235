"""Ed25519 keys in files: a site's, which signs every envelope and which HQ knows from enrolment, and HQ's own."""

import base64
import binascii
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.errors import LinkPartMissing, LinkSettingsError

_MAX_FILE_BYTES = 4096


def create(path: Path) -> str:
    """Write a new private key to `path` (PEM, mode 0600; its folder 0700 if it is made here) and give the public key
    as text.

    Raises LinkSettingsError if there is a file already or none can be made.
    """
    if path.exists():
        raise LinkSettingsError(f"{path}: there is a key already; move it away if there is to be a new one.")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(path, pem)
    return public_text(key.public_key())


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """The private key in `path`, made if there is none; raises LinkSettingsError."""
    if not path.exists():
        create(path)
    return load(path)


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, whole or not at all; raises LinkSettingsError if it cannot be written."""
    beside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as fault:
        raise LinkSettingsError(f"{path} cannot be written: {fault.strerror}.") from None


def load(path: Path) -> Ed25519PrivateKey:
    """The private key in `path`: PEM, or 32 bytes as base64. Raises LinkPartMissing if there is none, and
    LinkSettingsError if it is no Ed25519 key or others may read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        raise LinkPartMissing(f"{path}: there is no key; `outstation sync enrol` makes the site's.") from None
    except OSError as fault:
        raise LinkSettingsError(f"{path}: the key cannot be read: {fault.strerror}.") from None
    if mode & 0o077:
        raise LinkSettingsError(f"{path}: others may read the key (mode {mode & 0o777:04o}); run chmod 600 on it.")
    try:
        if text.startswith(b"-----BEGIN"):
            key = serialization.load_pem_private_key(text, password=None)
        else:
            key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.strip(), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise LinkSettingsError(f"{path}: this is no Ed25519 private key (PEM without password, or base64).") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise LinkSettingsError(f"{path}: the key is of another kind; the link signs with Ed25519.")
    return key


def public_text(key: Ed25519PublicKey) -> str:
    """The key's 32 bytes as base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def parse_public(text: str) -> Ed25519PublicKey:
    """The key that `public_text` wrote; raises LinkSettingsError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
    except (ValueError, binascii.Error):
        raise LinkSettingsError(f"public key {text[:64]!r} is not 32 bytes as base64.") from None


def key_id(key: Ed25519PublicKey) -> str:
    """Names a key in an envelope's header: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]
