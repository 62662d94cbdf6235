"""What a site and HQ say to each other beside envelopes: topics, acknowledgements and states.

    outstation/v1/{site}/up/{lane}   envelopes (sync.envelope), site to HQ
    outstation/v1/{site}/ack         Ack, HQ to site
    outstation/v1/{site}/state       State, retained: birth when the link connects, last will as death

All at QoS 1. Acks and states are JSON and not signed: until the broker checks clients' certificates, whoever reaches
it can say them. A false Ack can make a site skip what it has not delivered, so HQ's broker stays on loopback.
"""

from typing import Annotated, Literal, TypeVar, get_args

import msgspec

from sync.errors import MessageInvalid

T = TypeVar("T", bound=msgspec.Struct)

Lane = Literal["now", "day", "bulk"]
LANES: tuple[Lane, ...] = get_args(Lane)
"""The lanes, most urgent first."""

SiteName = Annotated[str, msgspec.Meta(pattern=r"\A[\w-]{1,64}\Z")]
"""Letters, digits, - and _ of any script: it is one level of an MQTT topic and of a NATS subject."""

Epoch = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
Seq = Annotated[int, msgspec.Meta(ge=1, lt=2**62)]

UP_FILTER = "outstation/v1/+/up/+"
STATE_FILTER = "outstation/v1/+/state"

MAX_MESSAGE_BYTES = 512
"""No Ack and no State is longer."""


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """HQ has committed this lane up to `last_seq` (0: nothing yet). `resend` says that what came after it has a gap
    in front: send again from `last_seq` + 1."""

    epoch: Epoch
    lane: Lane
    last_seq: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    resend: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a site's link is there. `connection` names one MQTT connection, so that the late death of an old one
    is not taken for the death of its successor; `at` is when that connection was made, by the site's clock."""

    state: Literal["up", "down"]
    connection: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    at: int


class UpTopic(msgspec.Struct, frozen=True):
    """Where a site publishes the envelopes of one lane."""

    site: SiteName
    lane: Lane

    def __str__(self) -> str:
        return f"outstation/v1/{self.site}/up/{self.lane}"


class StateTopic(msgspec.Struct, frozen=True):
    """Where a site's birth and death are retained."""

    site: SiteName

    def __str__(self) -> str:
        return f"outstation/v1/{self.site}/state"


def ack_topic(site: str) -> str:
    """Where HQ acknowledges what it has from `site`."""
    return f"outstation/v1/{site}/ack"


def parse_topic(topic: str) -> UpTopic | StateTopic:
    """The topic as HQ receives it; raises MessageInvalid for any other."""
    try:
        match topic.split("/"):
            case ["outstation", "v1", site, "up", lane]:
                return msgspec.convert({"site": site, "lane": lane}, UpTopic)
            case ["outstation", "v1", site, "state"]:
                return msgspec.convert({"site": site}, StateTopic)
    except msgspec.ValidationError as fault:
        raise MessageInvalid(f"topic {topic[:200]!r} is not one of the link's: {fault}.") from None
    raise MessageInvalid(f"topic {topic[:200]!r} is not one of the link's.")


def decode_ack(payload: bytes) -> Ack:
    """The Ack in `payload`; raises MessageInvalid."""
    return _decode(payload, Ack)


def decode_state(payload: bytes) -> State:
    """The State in `payload`; raises MessageInvalid."""
    return _decode(payload, State)


def encode(message: Ack | State) -> bytes:
    """`message` as it is published."""
    return msgspec.json.encode(message)


def _decode(payload: bytes, kind: type[T]) -> T:
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageInvalid(f"the {kind.__name__} is {len(payload)} bytes long; at most {MAX_MESSAGE_BYTES} are read.")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise MessageInvalid(f"the {kind.__name__} does not decode: {fault}.") from None
