"""Sealed messages: whole, by their speaker, for one topic, or not at all."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.errors import MessageInvalid
from sync.protocol import Answer, Hello
from sync.sealed import seal, unseal

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HELLO = Hello(site="mine-3", at=7)


def test_what_was_sealed_is_read() -> None:
    assert unseal(seal(KEY, "a/b", HELLO), "a/b", KEY.public_key(), Answer) == HELLO


@settings(deadline=None)
@given(data=st.data())
def test_a_changed_byte_anywhere_is_refused(data: st.DataObject) -> None:
    payload = bytearray(seal(KEY, "a/b", HELLO))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MessageInvalid):
        unseal(bytes(payload), "a/b", KEY.public_key(), Answer)


@given(payload=st.binary(max_size=200))
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(MessageInvalid):
        unseal(payload, "a/b", KEY.public_key(), Answer)


def test_another_topic_or_another_key_is_refused() -> None:
    payload = seal(KEY, "a/b", HELLO)
    with pytest.raises(MessageInvalid):
        unseal(payload, "a/c", KEY.public_key(), Answer)
    with pytest.raises(MessageInvalid):
        unseal(payload, "a/b", Ed25519PrivateKey.generate().public_key(), Answer)
