"""One signed batch of outbox rows on its way to HQ.

    2 bytes   length of the header, big-endian
    header    MessagePack map: Header
    body      one zstd frame: MessagePack array of Row
    64 bytes  Ed25519 signature over _CONTEXT and everything before it

The signature comes last and covers every byte before it, so there is one way to write an envelope and no byte of it
can change. A record stands in the body just as the journal holds it. Nothing is decompressed before the signature
holds, and nothing beyond the limits below is decompressed at all.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.errors import DictionaryUnknown, EnvelopeInvalid
from sync.keys import key_id
from sync.protocol import Epoch, Lane, Moment, Monotonic, Name, Seq, SiteName

T = TypeVar("T")

MAX_ROWS = 1000
MAX_RECORD_BYTES = 1 << 20
MAX_BODY_BYTES = 2 << 20
"""Of the body before compression."""
MAX_ENVELOPE_BYTES = 3 << 20
MAX_HEADER_BYTES = 1024

_LENGTH_BYTES = 2
_SIGNATURE_BYTES = 64
# What the key signs here can never pass for something else that it signs.
_CONTEXT = b"outstation envelope v2\n"
_ZSTD_LEVEL = 6  # a tenth smaller than 3; a link is dearer than the 2 µs a record that it costs


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Whose rows these are, which, and who signed. A later v2 may add fields; readers ignore what they do not know.

    `dictionary` names the zstd dictionary that the body needs ('': none).
    """

    v: Literal[2] = 2
    site: SiteName
    epoch: Epoch
    lane: Lane
    first_seq: Seq
    last_seq: Seq
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_ROWS)]
    codec: Literal["zstd"] = "zstd"
    dictionary: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{16})?\Z")] = ""
    key_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]


class Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One record and its number in the lane; `record` is MessagePack, not decoded here.

    `at` is the gateway's clock when the record was committed, `boot` the boot during which it ran, and `mono` the time
    since that boot: where the clock was wrong, HQ finds the true time by these two.

    A row of kind `gone` stands for `span` numbers up to `seq` whose records the site no longer has; its record is a
    Gone. Every other row has a span of 1.
    """

    seq: Seq
    kind: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z_]{0,31}\Z")]
    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f-]{36}\Z")]
    at: Moment
    boot: Name
    mono: Monotonic
    record: msgspec.Raw
    span: Seq = 1

    @property
    def first_seq(self) -> int:
        """The first number that the row stands for."""
        return self.seq - self.span + 1


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """What a row of kind `gone` stands for: why the records went, how many of each kind, and their bytes.

    `evicted`: they were never delivered and the byte budget was spent. `pruned`: HQ had acknowledged them long ago.
    """

    reason: Literal["evicted", "pruned"]
    kinds: dict[str, int]
    bytes: int


_header_decoder = msgspec.msgpack.Decoder(Header)
_rows_decoder = msgspec.msgpack.Decoder(Annotated[list[Row], msgspec.Meta(max_length=MAX_ROWS)])


def pack(
    key: Ed25519PrivateKey, *, site: str, epoch: int, lane: Lane, rows: Sequence[Row], dictionary: bytes = b""
) -> bytes:
    """An envelope of 1 to MAX_ROWS rows whose numbers follow one another, compressed with `dictionary` if there is one.

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
        first_seq=rows[0].first_seq,
        last_seq=rows[-1].seq,
        count=len(rows),
        dictionary=dictionary_id(dictionary) if dictionary else "",
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
            zstandard.ZstdCompressor(level=_ZSTD_LEVEL, dict_data=_zstd_dictionary(dictionary)).compress(body),
        )
    )
    return covered + key.sign(_CONTEXT + covered)


def open_header(envelope: bytes) -> Header:
    """The header, to choose the key by: nothing in it is true before `unpack`. Raises EnvelopeInvalid."""
    return _decode(_header_decoder, envelope[_LENGTH_BYTES : _body_start(envelope)], "header")


def unpack(
    envelope: bytes, key: Ed25519PublicKey, dictionary_of: Callable[[str], bytes | None] = lambda _id: None
) -> tuple[Header, list[Row]]:
    """The header and the rows, once the signature holds and everything agrees. `dictionary_of` gives a dictionary by
    its id. Raises EnvelopeInvalid, or DictionaryUnknown where only the dictionary is not known."""
    body_start = _body_start(envelope)
    covered, signature = envelope[:-_SIGNATURE_BYTES], envelope[-_SIGNATURE_BYTES:]
    header = open_header(envelope)
    if header.key_id != key_id(key):
        raise EnvelopeInvalid(f"site {header.site} signed with key {header.key_id}, but enrolled with {key_id(key)}.")
    try:
        key.verify(signature, _CONTEXT + covered)
    except InvalidSignature:
        raise EnvelopeInvalid(f"the signature of site {header.site} does not hold.") from None
    dictionary = dictionary_of(header.dictionary) if header.dictionary else b""
    if dictionary is None:
        raise DictionaryUnknown(f"site {header.site} compressed with dictionary {header.dictionary}, not known here.")
    return header, _decode_rows(_decompress(covered[body_start:], dictionary), header)


def dictionary_id(dictionary: bytes) -> str:
    """Names a dictionary in an envelope's header."""
    return hashlib.sha256(dictionary).hexdigest()[:16]


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


def _zstd_dictionary(dictionary: bytes) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(dictionary) if dictionary else None


def _decompress(body: bytes, dictionary: bytes) -> bytes:
    # The size that the frame claims decides what would be allocated, so it is looked at first.
    try:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= MAX_BODY_BYTES:
            raise EnvelopeInvalid(f"the body claims {size} bytes; 0 to {MAX_BODY_BYTES} are unpacked.")
        decompressor = zstandard.ZstdDecompressor(
            dict_data=_zstd_dictionary(dictionary), max_window_size=MAX_BODY_BYTES
        )
        return decompressor.decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as fault:
        raise EnvelopeInvalid(f"the body does not decompress: {fault}.") from None


def _decode_rows(body: bytes, header: Header) -> list[Row]:
    if len(body) > MAX_BODY_BYTES:
        raise EnvelopeInvalid(f"the rows take {len(body)} bytes; at most {MAX_BODY_BYTES} travel in one envelope.")
    rows: list[Row] = _decode(_rows_decoder, body, "rows")
    expected = header.first_seq
    for row in rows:
        if row.first_seq != expected:
            raise EnvelopeInvalid(f"row {row.seq} does not follow on {expected - 1}; the rows have no gaps.")
        if row.span > 1 and row.kind != "gone":
            raise EnvelopeInvalid(f"row {row.seq} of kind {row.kind} stands for {row.span} numbers; only gone may.")
        expected = row.seq + 1
    if header.count != len(rows) or expected != header.last_seq + 1:
        raise EnvelopeInvalid(
            f"{len(rows)} rows end at {expected - 1}; the header says {header.count} and {header.last_seq}."
        )
    return rows


def _decode(decoder: "msgspec.msgpack.Decoder[T]", part: bytes, name: str) -> T:
    try:
        return decoder.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise EnvelopeInvalid(f"the {name} of the envelope do not decode: {fault}.") from None
