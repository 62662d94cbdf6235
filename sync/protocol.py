"""What a site and HQ say to each other beside envelopes: topics and messages.

    outstation/v1/{site}/up/{lane}      envelopes (sync.envelope), site to HQ
    outstation/v1/{site}/up/dictionary  Dictionary, site to HQ
    outstation/v1/{site}/up/want        Want, site to HQ
    outstation/v1/{site}/up/claim       Claim, site to HQ
    outstation/v1/{site}/state          State, retained, site to HQ: birth, pulse, and as last will death
    outstation/v1/{site}/ack            Have, Ack, Hello, Refused, HQ to site
    outstation/v1/{site}/down/offer     Offer, HQ to site
    outstation/v1/{site}/down/chunk     Chunk, HQ to site

All at QoS 1 from the site, and all sealed by whoever says it (sync.sealed). docs/sync.md says what follows what, and
why nothing is lost or doubled.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal, get_args

import msgspec

from sync.errors import MessageInvalid

Lane = Literal["now", "day", "bulk"]
LANES: tuple[Lane, ...] = get_args(Lane)
"""The lanes, most urgent first."""

SiteName = Annotated[str, msgspec.Meta(pattern=r"\A[\w-]{1,64}\Z")]
"""Letters, digits, - and _ of any script: it is one level of an MQTT topic and of a NATS subject."""

Epoch = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
Seq = Annotated[int, msgspec.Meta(ge=1, lt=2**62)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
Moment = Annotated[int, msgspec.Meta(ge=-(2**62), lt=2**62)]
"""µs since the Unix epoch, UTC, by the speaker's clock, which may be wrong."""
Monotonic = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
"""µs since the machine's boot (CLOCK_BOOTTIME)."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
DictionaryId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
"""The first 16 hexadecimal digits of the SHA-256 of a dictionary's bytes."""
OrderId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f-]{36}\Z")]

MAX_RUNS = 256
"""Of one lane in one Have. What does not fit is sent again by the site and changes nothing at HQ."""
MAX_EPOCHS = 32
MAX_DICTIONARY_BYTES = 112 << 10
MAX_CHUNK_BYTES = 64 << 10
CHUNK_BYTES = 16 << 10
"""With how much HQ answers one Want; a site reads up to MAX_CHUNK_BYTES."""
MAX_ORDER_BYTES = 512 << 20

_DIGEST_BYTES = 16


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers first to last of a lane, and whose they are: `digest` is of the ids of the rows that stand for them
    (`digest_of`). In an Ack: HQ has committed these rows.

    The numbers alone would say nothing, because another box with this site's key may have used them.
    """

    epoch: Epoch
    lane: Lane
    first_seq: Seq
    last_seq: Seq
    digest: Annotated[bytes, msgspec.Meta(max_length=_DIGEST_BYTES)] = b""


def digest_of(ids: Iterable[str]) -> bytes:
    """Tells the rows with these ids, in the order of their numbers, from all others."""
    return hashlib.sha256("".join(ids).encode()).digest()[:_DIGEST_BYTES]


# ---- site to HQ ------------------------------------------------------------------------------------------------


class LaneState(msgspec.Struct, frozen=True, kw_only=True):
    """What a site has of a lane: its newest number, and how many rows wait since when (None: none waits)."""

    epoch: Epoch
    lane: Lane
    newest_seq: Number
    waiting: Number
    waiting_since: Moment | None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a site's link is there, and what waits behind it.

    `connection` names one MQTT connection, so that the late death of an old one is not taken for the death of its
    successor. `introduction` names one exchange of State and Have: HQ answers each new one, and a pulse repeats it.
    `boot` and `mono` tell HQ what that boot's clock shows now. `replica` is where a copy of the journal lies ('':
    there is none).
    """

    site: SiteName
    state: Literal["up", "down"]
    connection: Name
    introduction: Name
    at: Moment
    boot: Name
    mono: Monotonic
    lanes: Annotated[tuple[LaneState, ...], msgspec.Meta(max_length=3 * MAX_EPOCHS)] = ()
    replica: Annotated[str, msgspec.Meta(max_length=512)] = ""


class Dictionary(msgspec.Struct, frozen=True, kw_only=True):
    """A zstd dictionary that envelopes of this site may name."""

    site: SiteName
    id: DictionaryId
    content: Annotated[bytes, msgspec.Meta(min_length=8, max_length=MAX_DICTIONARY_BYTES)]


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """The site has `offset` bytes of an order's content and wants the next ones."""

    site: SiteName
    order: OrderId
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_ORDER_BYTES)]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """HQ said that it holds these numbers, and the site has records under them that it does not know to be at HQ: HQ
    acknowledges them if they are the very same. They need not be sent again then."""

    site: SiteName
    rows: Taken


# ---- HQ to site ------------------------------------------------------------------------------------------------


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a lane that HQ holds, as runs (first, last)."""

    epoch: Epoch
    lane: Lane
    runs: Annotated[tuple[tuple[Seq, Seq], ...], msgspec.Meta(max_length=MAX_RUNS)]


class Have(msgspec.Struct, frozen=True, kw_only=True, tag="have"):
    """The answer to an introduction: all numbers that HQ holds of the epochs that the site named (it named none: of the
    newest), and the dictionaries it knows.

    It is the truth of the moment `at`: what a site took for delivered before this introduction and does not find here
    is not at HQ (any more), and is sent again. What it finds here and did not know of, it claims.
    """

    site: SiteName
    introduction: Name
    at: Moment
    lanes: Annotated[tuple[Held, ...], msgspec.Meta(max_length=3 * MAX_EPOCHS)]
    dictionaries: Annotated[tuple[DictionaryId, ...], msgspec.Meta(max_length=16)] = ()


class Contested(msgspec.Struct, frozen=True, kw_only=True):
    """HQ took nothing of this envelope, because it holds other records under these of its numbers: another box uses
    the site's identity, or did."""

    envelope: Taken
    runs: Annotated[tuple[tuple[Seq, Seq], ...], msgspec.Meta(min_length=1, max_length=MAX_RUNS)]


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """What HQ's store has committed since it last said so. `dictionaries` are those HQ has just learnt,
    `unknown_dictionaries` those that envelopes named and HQ does not know: the site offers them again."""

    site: SiteName
    at: Moment
    taken: Annotated[tuple[Taken, ...], msgspec.Meta(max_length=1024)] = ()
    dictionaries: Annotated[tuple[DictionaryId, ...], msgspec.Meta(max_length=16)] = ()
    unknown_dictionaries: Annotated[tuple[DictionaryId, ...], msgspec.Meta(max_length=16)] = ()
    contested: Annotated[tuple[Contested, ...], msgspec.Meta(max_length=64)] = ()


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """HQ (re)started, perhaps from an older backup: the site introduces itself again."""

    site: SiteName
    at: Moment


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """HQ takes nothing from the site, and why: shown to people there."""

    site: SiteName
    at: Moment
    reason: Annotated[str, msgspec.Meta(max_length=300)]


Answer = Have | Ack | Hello | Refused

OrderKind = Literal["playbook", "vocabulary", "pack", "request"]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Something HQ sends down: `content` of `size` bytes follows in chunks when the site wants it.

    `name` is the pack's name, or what is requested (audio: then the content is the call's id). `at` is HQ's clock when
    it offers, which tells a site without a clock the time; orders are as old as their ids say (UUIDv7). `activate_at`
    (µs) is when it takes effect by itself; None: when a person on site agrees.
    """

    site: SiteName
    order: OrderId
    kind: OrderKind
    name: Annotated[str, msgspec.Meta(max_length=64)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_ORDER_BYTES)]
    at: Moment
    activate_at: Moment | None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of an order's content from `offset` on."""

    site: SiteName
    order: OrderId
    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_ORDER_BYTES)]
    content: Annotated[bytes, msgspec.Meta(max_length=MAX_CHUNK_BYTES)]


# ---- topics ----------------------------------------------------------------------------------------------------


class UpTopic(msgspec.Struct, frozen=True):
    """Where a site publishes the envelopes of one lane, its dictionaries, its wants and its claims."""

    site: SiteName
    what: Lane | Literal["dictionary", "want", "claim"]

    def __str__(self) -> str:
        return f"outstation/v1/{self.site}/up/{self.what}"


class StateTopic(msgspec.Struct, frozen=True):
    """Where a site's birth, pulse and death are retained."""

    site: SiteName

    def __str__(self) -> str:
        return f"outstation/v1/{self.site}/state"


def ack_topic(site: str) -> str:
    """Where HQ answers `site`."""
    return f"outstation/v1/{site}/ack"


def offer_topic(site: str) -> str:
    """Where HQ offers `site` something."""
    return f"outstation/v1/{site}/down/offer"


def chunk_topic(site: str) -> str:
    """Where HQ sends the content of what `site` wants."""
    return f"outstation/v1/{site}/down/chunk"


def parse_topic(topic: str) -> UpTopic | StateTopic:
    """The topic as HQ receives it; raises MessageInvalid for any other."""
    try:
        match topic.split("/"):
            case ["outstation", "v1", site, "up", what]:
                return msgspec.convert({"site": site, "what": what}, UpTopic)
            case ["outstation", "v1", site, "state"]:
                return msgspec.convert({"site": site}, StateTopic)
    except msgspec.ValidationError as fault:
        raise MessageInvalid(f"topic {topic[:200]!r} is not one of the link's: {fault}.") from None
    raise MessageInvalid(f"topic {topic[:200]!r} is not one of the link's.")
