"""Signs the audit chain: with a key of the site's own, made when there is none yet, whose public half goes to HQ with
each checkpoint."""

import math
import os
import time
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.errors import SettingsError
from edge.store import audit
from edge.store.journal import Journal

MOST_UNSIGNED = 1_000
SIGNED_EVERY_S = 3_600.0


class Checkpoints:
    """Signs what was entered since the site's last checkpoint: at the start, after so many entries, after an hour, and
    at the end."""

    def __init__(self, journal: Journal, key: Path) -> None:
        """Raises SettingsError when the key cannot be read or made."""
        self._journal = journal
        self._key = audit_key(key)
        self._public = self._key.public_key().public_bytes_raw().hex()
        self._signed_s = -math.inf

    def step(self) -> None:
        """Sign if it is time to. Raises JournalError."""
        waiting = audit.unsigned(self._journal.readers.connection(), self._public)
        if waiting >= MOST_UNSIGNED or (waiting and time.monotonic() - self._signed_s >= SIGNED_EVERY_S):
            self.sign()

    def sign(self) -> None:
        """Sign the last entry, if it is not signed yet. Raises JournalError."""
        self._signed_s = time.monotonic()
        self._journal.sign(self._key).result()


def audit_key(path: Path) -> Ed25519PrivateKey:
    """The key in a PEM file of mode 0600, made if there is none. Raises SettingsError."""
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"{path}: others may read the key; set its mode to 0600.")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path}: the key of the audit cannot be used ({error}); move it away.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path}: the key of the audit is no Ed25519 key; move it away.")
    return key


def public_text(path: Path) -> str:
    """The public half of the key in a file, in hexadecimal; '' when there is none. Raises SettingsError."""
    return audit_key(path).public_key().public_bytes_raw().hex() if path.exists() else ""


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
