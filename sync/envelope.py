"""One signed batch of outbox rows on its way to HQ.

    2 bytes   length of the header, big-endian
    header    MessagePack map: Header
    body      one zstd frame: MessagePack array of [seq, kind, id, record]
    64 bytes  Ed25519 signature over _CONTEXT and everything before it

The signature comes last and covers every byte before it, so there is one way to write an envelope and no byte of it
can change. A record stands in the body just as the journal holds it. Nothing is decompressed before the signature
holds, and nothing beyond the limits below is decompressed at all.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.errors import EnvelopeInvalid
from sync.keys import key_id
from sync.protocol import Epoch, Lane, Seq, SiteName

T = TypeVar("T")

MAX_ROWS = 500
MAX_RECORD_BYTES = 1 << 20
MAX_BODY_BYTES = 2 << 20
"""Of the body before compression."""
MAX_ENVELOPE_BYTES = 3 << 20
MAX_HEADER_BYTES = 1024

_LENGTH_BYTES = 2
_SIGNATURE_BYTES = 64
# What the key signs here can never pass for something else that it signs.
_CONTEXT = b"outstation envelope v1\n"
_ZSTD_LEVEL = 3


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Whose rows these are, which, and who signed. A later v1 may add fields; readers ignore what they do not know."""

    v: Literal[1] = 1
    site: SiteName
    epoch: Epoch
    lane: Lane
    first_seq: Seq
    last_seq: Seq
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_ROWS)]
    codec: Literal["zstd"] = "zstd"
    key_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]


class Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One record and its number in the lane; `record` is MessagePack, not decoded here."""

    seq: Seq
    kind: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z_]{0,31}\Z")]
    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f-]{36}\Z")]
    record: msgspec.Raw


_header_decoder = msgspec.msgpack.Decoder(Header)
_rows_decoder = msgspec.msgpack.Decoder(Annotated[list[Row], msgspec.Meta(max_length=MAX_ROWS)])


def pack(key: Ed25519PrivateKey, *, site: str, epoch: int, lane: Lane, rows: Sequence[Row]) -> bytes:
    """An envelope of 1 to MAX_ROWS rows whose numbers follow one another.

    Raises EnvelopeInvalid if `unpack` would refuse it, so that a fault shows at the site that can mend it.
    """
    if not rows:
        raise EnvelopeInvalid("an envelope holds at least one row.")
    for row in rows:
        if len(row.record) > MAX_RECORD_BYTES:
            raise EnvelopeInvalid(
                f"record {row.seq} of lane {lane} is {len(row.record)} bytes long; at most {MAX_RECORD_BYTES} travel."
            )
    header = Header(
        site=site,
        epoch=epoch,
        lane=lane,
        first_seq=rows[0].seq,
        last_seq=rows[-1].seq,
        count=len(rows),
        key_id=key_id(key.public_key()),
    )
    body = msgspec.msgpack.encode(rows)
    _decode_rows(body, header)
    written = msgspec.msgpack.encode(header)
    _decode(_header_decoder, written, "header")
    covered = b"".join(
        (
            len(written).to_bytes(_LENGTH_BYTES, "big"),
            written,
            zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body),
        )
    )
    return covered + key.sign(_CONTEXT + covered)


def open_header(envelope: bytes) -> Header:
    """The header, to choose the key by: nothing in it is true before `unpack`. Raises EnvelopeInvalid."""
    return _decode(_header_decoder, envelope[_LENGTH_BYTES : _body_start(envelope)], "header")


def unpack(envelope: bytes, key: Ed25519PublicKey) -> tuple[Header, list[Row]]:
    """The header and the rows, once the signature holds and everything agrees. Raises EnvelopeInvalid."""
    body_start = _body_start(envelope)
    covered, signature = envelope[:-_SIGNATURE_BYTES], envelope[-_SIGNATURE_BYTES:]
    header = open_header(envelope)
    if header.key_id != key_id(key):
        raise EnvelopeInvalid(f"site {header.site} signed with key {header.key_id}, but enrolled with {key_id(key)}.")
    try:
        key.verify(signature, _CONTEXT + covered)
    except InvalidSignature:
        raise EnvelopeInvalid(f"the signature of site {header.site} does not hold.") from None
    return header, _decode_rows(_decompress(covered[body_start:]), header)


def _body_start(envelope: bytes) -> int:
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise EnvelopeInvalid(f"the envelope is {len(envelope)} bytes long; at most {MAX_ENVELOPE_BYTES} are read.")
    header_bytes = int.from_bytes(envelope[:_LENGTH_BYTES], "big")
    if header_bytes > MAX_HEADER_BYTES:
        raise EnvelopeInvalid(f"the header is {header_bytes} bytes long; at most {MAX_HEADER_BYTES} are read.")
    body_start = _LENGTH_BYTES + header_bytes
    if len(envelope) <= body_start + _SIGNATURE_BYTES:
        raise EnvelopeInvalid(f"the envelope ends after {len(envelope)} bytes, before its signature.")
    return body_start


def _decompress(body: bytes) -> bytes:
    # The size that the frame claims decides what would be allocated, so it is looked at first.
    try:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= MAX_BODY_BYTES:
            raise EnvelopeInvalid(f"the body claims {size} bytes; 0 to {MAX_BODY_BYTES} are unpacked.")
        return zstandard.ZstdDecompressor(max_window_size=MAX_BODY_BYTES).decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as fault:
        raise EnvelopeInvalid(f"the body does not decompress: {fault}.") from None


def _decode_rows(body: bytes, header: Header) -> list[Row]:
    if len(body) > MAX_BODY_BYTES:
        raise EnvelopeInvalid(f"the rows take {len(body)} bytes; at most {MAX_BODY_BYTES} travel in one envelope.")
    rows: list[Row] = _decode(_rows_decoder, body, "rows")
    first_seq, last_seq = header.first_seq, header.last_seq
    if header.count != len(rows) or [row.seq for row in rows] != list(range(first_seq, first_seq + header.count)):
        raise EnvelopeInvalid(f"the rows are not the {header.count} from {first_seq} to {last_seq} of the header.")
    if rows[-1].seq != last_seq:
        raise EnvelopeInvalid(f"the rows end at {rows[-1].seq}, but the header says {last_seq}.")
    return rows


def _decode(decoder: "msgspec.msgpack.Decoder[T]", part: bytes, name: str) -> T:
    try:
        return decoder.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise EnvelopeInvalid(f"the {name} of the envelope do not decode: {fault}.") from None
