"""Envelopes: what goes in comes out, and nothing else is let through."""

import msgspec
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sync.envelope import (
    MAX_BODY_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_RECORD_BYTES,
    MAX_ROWS,
    Row,
    open_header,
    pack,
    unpack,
)
from sync.errors import EnvelopeInvalid

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ID = "01a20513-3cd0-7407-8f39-06b5c323947d"

records = st.dictionaries(
    st.text(max_size=8),
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20) | st.binary(),
    max_size=3,
)


def rows_of(contents: list[dict[str, object]], first_seq: int = 1) -> list[Row]:
    return [
        Row(seq, "event", ID, 7, "boot", 8, msgspec.Raw(msgspec.msgpack.encode(content)))
        for seq, content in enumerate(contents, first_seq)
    ]


def one(content: dict[str, object] | None = None) -> bytes:
    return pack(KEY, site="矿山-3", epoch=2, lane="day", rows=rows_of([content or {"at": 7}]))


def forged(header: dict[str, object], body: bytes) -> bytes:
    """An envelope whose signature holds, whatever is in it."""
    written = msgspec.msgpack.encode(header)
    covered = len(written).to_bytes(2, "big") + written + body
    return covered + KEY.sign(b"outstation envelope v2\n" + covered)


def header_of(**changed: object) -> dict[str, object]:
    plain = msgspec.to_builtins(open_header(one()))
    assert isinstance(plain, dict)
    return {**plain, **changed}


def body_of(rows: object) -> bytes:
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(rows))


@given(contents=st.lists(records, min_size=1, max_size=5), first_seq=st.integers(1, 2**61), epoch=st.integers(0, 2**61))
def test_every_record_comes_out_with_the_bytes_it_went_in_with(
    contents: list[dict[str, object]], first_seq: int, epoch: int
) -> None:
    rows = rows_of(contents, first_seq)
    header, unpacked = unpack(pack(KEY, site="s", epoch=epoch, lane="bulk", rows=rows), KEY.public_key())
    assert [(row.seq, row.kind, row.id, bytes(row.record)) for row in unpacked] == [
        (row.seq, row.kind, row.id, bytes(row.record)) for row in rows
    ]
    assert (header.first_seq, header.last_seq, header.count) == (first_seq, first_seq + len(rows) - 1, len(rows))
    assert (header.site, header.epoch, header.lane) == ("s", epoch, "bulk")


@given(data=st.data())
def test_a_changed_byte_anywhere_is_refused(data: st.DataObject) -> None:
    envelope = bytearray(one())
    place = data.draw(st.integers(0, len(envelope) - 1))
    envelope[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(EnvelopeInvalid):
        unpack(bytes(envelope), KEY.public_key())


@given(keep=st.integers(0, 10_000), more=st.binary(max_size=8))
def test_a_shortened_or_lengthened_envelope_is_refused(keep: int, more: bytes) -> None:
    envelope = one()
    changed = envelope[: keep % len(envelope)] + more if keep else envelope + (more or b"\0")
    if changed != envelope:
        with pytest.raises(EnvelopeInvalid):
            unpack(changed, KEY.public_key())


@given(junk=st.binary(max_size=400))
def test_random_bytes_raise_nothing_but_envelope_invalid(junk: bytes) -> None:
    for read in (lambda: open_header(junk), lambda: unpack(junk, KEY.public_key())):
        with pytest.raises(EnvelopeInvalid):
            read()


@given(junk=st.binary(max_size=200), compressed=st.booleans())
def test_a_signed_body_of_random_bytes_raises_nothing_but_envelope_invalid(junk: bytes, compressed: bool) -> None:
    body = zstandard.ZstdCompressor().compress(junk) if compressed else junk
    with pytest.raises(EnvelopeInvalid):
        unpack(forged(header_of(), body), KEY.public_key())


@given(
    junk=st.dictionaries(
        st.sampled_from(sorted(header_of())), st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=80)
    )
)
def test_a_signed_header_of_any_values_raises_nothing_but_envelope_invalid(junk: dict[str, object]) -> None:
    envelope = forged(header_of(**junk), one()[2 + int.from_bytes(one()[:2], "big") : -64])
    if header_of(**junk) != header_of():
        try:
            header, _rows = unpack(envelope, KEY.public_key())
        except EnvelopeInvalid:
            return
        # Only what does not contradict the rows may be said otherwise.
        assert header.count == 1
        assert header.first_seq == header.last_seq == 1


def test_a_stranger_s_signature_is_refused() -> None:
    stranger = Ed25519PrivateKey.generate()
    envelope = pack(stranger, site="s", epoch=1, lane="now", rows=rows_of([{}]))
    with pytest.raises(EnvelopeInvalid, match="enrolled with"):
        unpack(envelope, KEY.public_key())
    claimed = header_of()
    covered = forged(claimed, body_of([[1, "event", ID, {}]]))[:-64]
    with pytest.raises(EnvelopeInvalid, match="does not hold"):
        unpack(covered + stranger.sign(b"outstation envelope v2\n" + covered), KEY.public_key())


def test_a_zip_bomb_is_refused_by_the_size_it_claims() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(MAX_BODY_BYTES + 1))
    assert len(bomb) < 1000
    with pytest.raises(EnvelopeInvalid, match="claims 2097153 bytes"):
        unpack(forged(header_of(), bomb), KEY.public_key())


def test_a_body_that_hides_its_size_is_refused() -> None:
    hidden = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100))
    with pytest.raises(EnvelopeInvalid, match="claims"):
        unpack(forged(header_of(), hidden), KEY.public_key())


def test_bytes_behind_the_body_are_refused() -> None:
    with pytest.raises(EnvelopeInvalid, match="decompress"):
        unpack(forged(header_of(), body_of([[1, "event", ID, {}]]) + b"more"), KEY.public_key())


def test_records_nested_without_end_are_refused_at_hq_and_by_the_site() -> None:
    deep = msgspec.Raw(b"\x91" * 100_000 + b"\xc0")
    with pytest.raises(EnvelopeInvalid):
        unpack(forged(header_of(), body_of([[1, "event", ID, deep]])), KEY.public_key())
    with pytest.raises(EnvelopeInvalid):
        pack(KEY, site="s", epoch=1, lane="now", rows=[Row(1, "event", ID, 7, "boot", 8, deep)])


@pytest.mark.parametrize(
    "rows",
    [
        [[2, "event", ID, {}]],
        [[1, "event", ID, {}], [2, "event", ID, {}]],
        [[1, "Event", ID, {}]],
        [[1, "event", "no id", {}]],
        [[1, "event", ID]],
        [[1, "event", ID, {}, "more"]],
        [],
        {"not": "a list"},
    ],
)
def test_rows_that_do_not_agree_with_the_header_are_refused(rows: object) -> None:
    with pytest.raises(EnvelopeInvalid):
        unpack(forged(header_of(), body_of(rows)), KEY.public_key())


def test_the_site_does_not_send_what_hq_would_refuse() -> None:
    def packed(rows: list[Row], site: str = "s") -> bytes:
        return pack(KEY, site=site, epoch=1, lane="now", rows=rows)

    gap = [*rows_of([{}]), *rows_of([{}], first_seq=3)]
    large = Row(1, "event", ID, 7, "boot", 8, msgspec.Raw(msgspec.msgpack.encode({"a": "x" * MAX_RECORD_BYTES})))
    for rows, why in (
        ([], "at least one"),
        (gap, "the rows have no gaps"),
        ([large], "at most 1048576 travel"),
        (rows_of([{}] * (MAX_ROWS + 1)), "length <= 1000"),
        ([Row(1, "event", ID, 7, "boot", 8, msgspec.Raw(b"\x81"))], "rows"),
        ([Row(1, "a kind", ID, 7, "boot", 8, msgspec.Raw(b"\x80"))], r"a-z_"),
    ):
        with pytest.raises(EnvelopeInvalid, match=why):
            packed(rows)
    with pytest.raises(EnvelopeInvalid, match="site"):
        packed(rows_of([{}]), site="a/b")


def test_an_envelope_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(EnvelopeInvalid, match="at most"):
        open_header(bytes(MAX_ENVELOPE_BYTES + 1))
