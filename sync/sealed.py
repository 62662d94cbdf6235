"""A message with its signature: how a site and HQ say everything that is not an envelope.

    body       MessagePack of one struct of sync.protocol
    64 bytes   Ed25519 signature over _CONTEXT and the body

Whoever reaches the broker, and the broker itself, can drop and repeat such messages, but neither make nor change one.
"""

from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.errors import MessageInvalid

MAX_SEALED_BYTES = 256 << 10

_SIGNATURE_BYTES = 64
# What a key signs here can never pass for an envelope, and no kind of message for another.
_CONTEXT = b"outstation message v1 "


def seal(key: Ed25519PrivateKey, topic: str, message: msgspec.Struct) -> bytes:
    """`message` signed for one topic: it holds nowhere else."""
    body = msgspec.msgpack.encode(message)
    return body + key.sign(_covered(topic, body))


def unseal(payload: bytes, topic: str, key: Ed25519PublicKey, kind: Any) -> Any:
    """The message of type `kind` (a struct, or a union of tagged ones) that the owner of `key` sealed for `topic`.

    Raises MessageInvalid when it is too long, its signature does not hold, or it does not decode.
    """
    if not _SIGNATURE_BYTES < len(payload) <= MAX_SEALED_BYTES:
        raise MessageInvalid(f"a message of {len(payload)} bytes on {topic} is not read; {MAX_SEALED_BYTES} are.")
    body, signature = payload[:-_SIGNATURE_BYTES], payload[-_SIGNATURE_BYTES:]
    try:
        key.verify(signature, _covered(topic, body))
    except InvalidSignature:
        raise MessageInvalid(f"the signature of a message on {topic} does not hold.") from None
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise MessageInvalid(f"a message on {topic} does not decode: {fault}.") from None


def _covered(topic: str, body: bytes) -> bytes:
    return _CONTEXT + topic.encode() + b"\n" + body
