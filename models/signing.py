"""Who made a pack: its maker's Ed25519 signature (RFC 8032) over the manifest, which vouches for every file by hash.

`pack.sig` lies beside `pack.toml`. Makers are known by their public keys: those in `models/makers.toml` made what
ships, those in `makers.toml` of a packs folder were trusted there by somebody.
"""

import os
import re
import tomllib
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.errors import InputInvalid, PackInvalid, PackMissing
from models.pack import MANIFEST, Pack

SIGNATURE = "pack.sig"
MAKERS = "makers.toml"
SHIPPED_MAKERS = Path(__file__).with_name(MAKERS)
MOST_SIGNATURE_BYTES = 4096
_MEANING = b"outstation pack\n"  # what is signed for one purpose cannot be passed off as signed for another
_KEY = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `pack.sig` says, in JSON: the maker's public key and the signature, in hexadecimal."""

    key: str
    signature: str


def new_key(path: Path) -> str:
    """Write a new private key (PEM, mode 0600) and give the public key in hexadecimal.

    Raises InputInvalid when there is a file already, or none can be made.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as fault:
        raise InputInvalid(f"{path}: no key can be written there: {fault.strerror}; name a new file.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    return _public(key)


def sign(folder: Path, key_file: Path) -> Signature:
    """Sign the pack in a folder, replacing what signed it before. Raises InputInvalid when the key is none."""
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise InputInvalid(f"{key_file} is no private key in PEM; make one with `outstation models key`.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputInvalid(f"{key_file} is a key of another kind, not Ed25519; make one with `outstation models key`.")
    signed = key.sign(_MEANING + (folder / MANIFEST).read_bytes())
    signature = Signature(key=_public(key), signature=signed.hex())
    (folder / SIGNATURE).write_bytes(msgspec.json.encode(signature) + b"\n")
    return signature


def makers(packs: Path) -> dict[str, str]:
    """The names of the makers that are trusted, by public key: of what ships, and in this packs folder.

    Raises PackInvalid when a list of them is wrong.
    """
    listed = [*_listed(packs / MAKERS).items(), *_listed(SHIPPED_MAKERS).items()]
    return {key: name for name, key in listed}


def trust(packs: Path, name: str, key: str) -> None:
    """Trust a maker in this packs folder from now on. Raises InputInvalid, and PackInvalid when the list is wrong."""
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise InputInvalid(f"{name!r} is no maker's name; it is small letters, digits and -.")
    if not _KEY.fullmatch(key):
        raise InputInvalid(f"{key!r} is no public key; it is 64 hexadecimal digits, as `outstation models key` prints.")
    path = packs / MAKERS
    listed = _listed(path) | {name: key}
    try:
        packs.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{MAKERS}.new")
        fresh.write_text("".join(f'{name} = "{key}"\n' for name, key in sorted(listed.items())), "utf-8")
        fresh.replace(path)
    except OSError as fault:
        raise PackMissing(f"{path} cannot be written: {fault.strerror}.") from None


def check(manifest: bytes, signature: bytes | None, known: dict[str, str] | None) -> str:
    """Hold a signature against a manifest; gives the maker's name.

    `known` are the makers to be trusted, by key. None: somebody else vouches for the pack, so it may go unsigned and by
    whom does not matter, but a signature that is there must hold. Raises PackInvalid.
    """
    if signature is None:
        if known is None:
            return ""
        raise PackInvalid("The pack is not signed; ask its maker for a signed one.")
    try:
        read = msgspec.json.decode(signature, type=Signature)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(read.key)).verify(
            bytes.fromhex(read.signature), _MEANING + manifest
        )
    except (InvalidSignature, msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise PackInvalid("The pack's signature is not that of its manifest; do not use this pack.") from None
    if known is None:
        return ""
    if read.key not in known:
        raise PackInvalid(
            f"The pack is signed with {read.key}, a key that nobody trusts here; "
            "if you know whose it is, `outstation models trust NAME KEY`."
        )
    return known[read.key]


def check_pack(pack: Pack, known: dict[str, str]) -> str:
    """Hold a pack's signature against its manifest; gives the maker's name. Raises PackInvalid."""
    path = pack.folder / SIGNATURE
    try:
        return check((pack.folder / MANIFEST).read_bytes(), path.read_bytes() if path.is_file() else None, known)
    except PackInvalid as error:
        raise PackInvalid(f"{pack.folder}: {error}") from None


def _listed(path: Path) -> dict[str, str]:
    try:
        listed = msgspec.convert(tomllib.loads(path.read_text("utf-8")), dict[str, str])
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PackInvalid(f"{path} is no list of makers: {error}; mend it or delete it.") from None
    for name, key in listed.items():
        if not _KEY.fullmatch(key):
            raise PackInvalid(f"{path}: the key of {name} is not 64 hexadecimal digits; mend it.")
    return listed


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()
