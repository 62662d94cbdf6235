"""The records that the flow turns into one another: what every stage takes and gives.

Event → Signal → Prediction → Decision → Action → Transition → Outcome. All are frozen; a new field has a default and a
field never changes its type, so that a journal written yesterday reads today. Times are microseconds since the
Unix epoch, UTC; ids are UUIDv7 text.
"""

import time
import uuid
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import uuid_utils

GATEWAY = "gateway"
"""Who did what nobody did by hand."""
State = Literal["proposed", "accepted", "declined", "fired", "expired", "withdrawn", "done", "failed", "undone"]
ChannelName = Literal["card", "device", "webhook", "message"]
Arm = Literal["treatment", "control", "paused"]
PlayState = Literal["running", "paused"]
OrderKind = Literal["playbook", "vocabulary", "pack", "request"]
OrderState = Literal["staged", "waiting", "shadow", "refused", "active", "rolled_back", "fulfilled"]


def new_id() -> str:
    """A UUIDv7 as text: unique, and later ids sort after earlier ones."""
    return str(uuid_utils.uuid7())


def now_us() -> int:
    """The gateway's clock in microseconds since the Unix epoch, UTC."""
    return time.time_ns() // 1000


def mono_us() -> int:
    """Microseconds since the machine's boot, which no setting of the clock changes."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


@cache
def boot_id() -> str:
    """The kernel's identifier of this boot: clocks of two boots are not comparable."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return str(uuid.uuid4())


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False, gc=False):
    """What all records share: an id, and the moment they speak of by the source's clock."""

    id: str = msgspec.field(default_factory=new_id)
    at: int


# ---- what happened -------------------------------------------------------------------------------------------


class Call(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="call"):
    """A call. `audio` is the file's name in data/audio, `sha256` that of its bytes (hexadecimal); `channels` names who
    speaks on each track. One that was heard `live` was accepted when it began: its length was not known then (0), and
    its file is there when it has ended."""

    audio: str
    duration_s: float
    sample_rate_hz: int
    channels: tuple[str, ...]
    language: str
    customer: str = ""
    agent: str = ""
    direction: Literal["in", "out", ""] = ""
    live: bool = False
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")] = ""


class Reading(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="reading"):
    """What a device measured at one moment: a finite number by sensor name."""

    values: dict[str, float]


class Note(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="note"):
    """What somebody wrote down about a customer or a device. `key` is the sender's own name for it ('': none)."""

    text: str
    author: str
    language: str = ""
    key: str = ""


class Event(Record, frozen=True, kw_only=True):
    """Something that happened. `subject` is the customer or device that it is about; `received_at` the gateway's
    clock and `boot_id` the boot during which that clock ran."""

    source: str
    subject: str
    received_at: int
    boot_id: str
    data: Call | Reading | Note

    @property
    def once(self) -> bytes | None:
        """The key under which a recording or a note is accepted only once, here and on the box that takes this one's
        place; None: it has none of its own."""
        match self.data:
            case Call(sha256=sha256) if sha256:
                return bytes.fromhex(sha256)
            case Note(key=key) if key:
                return f"note/{key}".encode()
        return None


# ---- what was perceived in it --------------------------------------------------------------------------------


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One recognised word; seconds from the start of the call, confidence 0 to 1."""

    text: str
    start_s: float
    end_s: float
    confidence: float


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A name of the site's vocabulary in what was said: what it names, as the vocabulary spells what was `said`, and as
    the recogniser `heard` it."""

    kind: str
    name: str
    said: str
    heard: str


class Utterance(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="utterance"):
    """One turn of one speaker, as recognised (a call) or as written (a note: no words, times 0).

    `names` are those of the site's vocabulary in it; where the recogniser wrote what only sounds like one, `text` and
    `words` have the name, and `heard` is the whole as it was recognised ('': as `text`).
    """

    channel: str
    language: str
    text: str
    start_s: float = 0.0
    end_s: float = 0.0
    confidence: float = 1.0
    words: tuple[Word, ...] = ()
    heard: str = ""
    names: tuple[Named, ...] = ()


class Talk(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="talk"):
    """How a whole call was spoken: by channel the share of the talk (0 to 1) and the words per minute of speech;
    pauses of at least a second in which nobody speaks, and the seconds in which both do."""

    talk_share: dict[str, float]
    words_per_minute: dict[str, float]
    pauses: int
    longest_pause_s: float
    overlap_s: float


class Window(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="window"):
    """A device's recent readings as features: sensor → feature → value (names in models.features.windows)."""

    features: dict[str, dict[str, float]]


class Signal(Record, frozen=True, kw_only=True):
    """What was perceived in an event."""

    event_id: str
    subject: str
    data: Utterance | Talk | Window


# ---- what a pack says of it ----------------------------------------------------------------------------------


class SpokenEvidence(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="spoken"):
    """The words that made the prediction: where they are in the event, and what each added to the log-odds."""

    event_id: str
    channel: str
    start_s: float
    end_s: float
    text: str
    weights: tuple[tuple[str, float], ...] = ()


class MeasuredEvidence(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="measured"):
    """The reading that made the prediction: the sensor's value, its usual value, and each feature's weight."""

    event_id: str
    sensor: str
    value: float
    usual: float
    weights: tuple[tuple[str, float], ...] = ()


class KnownEvidence(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="known"):
    """What a pack went by beside the words: what it knew of what (`of`, '': of what was said), from which table or pack
    (`source`, '': found in what was said, or reckoned), and the value as people write it (`?`: none). `weight` is what
    it added to the log-odds (None: it is no sum)."""

    event_id: str
    source: str
    what: str
    of: str
    value: str
    weight: float | None = None


class Prediction(Record, frozen=True, kw_only=True):
    """What a pack says of a subject: a label with its calibrated probability (0 to 1), and why."""

    signal_id: str
    subject: str
    pack: str
    pack_version: str
    label: str
    probability: float
    evidence: tuple[SpokenEvidence | MeasuredEvidence | KnownEvidence, ...]


# ---- what to do about it -------------------------------------------------------------------------------------


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One randomised hold-out: of a step, by its name, or of the whole play (''). `share` (0 to 1) of the subjects is
    left alone; whether this one was."""

    step: str = ""
    share: float
    held_out: bool


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """The steps (actions, by id) that together raise the odds of a goal most while it still helps.

    `before` and `after` are the probabilities (0 to 1) without and with them, `low` and `high` the bounds of `after`,
    `minutes` when the last is done, `cost` what they cost; `unproven` are those whose effect no hold-out of this site
    has shown.
    """

    goal: str
    steps: tuple[str, ...]
    before: float
    after: float
    low: float
    high: float
    minutes: float
    within_minutes: float
    cost: float = 0.0
    unproven: tuple[str, ...] = ()


class Decision(Record, frozen=True, kw_only=True):
    """The play that a prediction called for; `deadline` is when its last step is due.

    In the arm `control` the subject is left alone, so that it can be told what the play does; a `paused` play does
    nothing either. `trials` are all the draws that were made; `goal` is what the play is for ('': nothing that is
    measured), an outcome told until `outcome_until` counts (0: within thirty days), `chain` is what it was best to do
    for the goal when it was decided.
    """

    prediction_id: str
    event_id: str
    subject: str
    play: str
    deadline: int
    arm: Arm = "treatment"
    trials: tuple[Trial, ...] = ()
    goal: str = ""
    outcome_until: int = 0
    chain: Chain | None = None


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A table to be looked at while the step is done."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a step is done with, and what happens when nobody answers: kept with the action, so that a playbook edited
    meanwhile changes nothing of it.

    `tool` names what is used, by language; `sheet` is a table for it. `undo_s` is for how many seconds it can be taken
    back, `undo` the payload that takes it back on a device or a system. Nobody answering, it is asked for again every
    `ask_again_s`, `ask_again_times` times, and goes to the role `escalate_to` after `escalate_s`. `hand_over` is the
    role it can be handed to with one key, `minutes` how long it takes, `cost` what it costs.
    """

    step: str = ""
    tool: dict[str, str] = {}
    sheet: Sheet | None = None
    undo: dict[str, str] = {}
    undo_s: float = 0.0
    ask_again_s: float | None = None
    ask_again_times: int = 0
    escalate_to: str = ""
    escalate_s: float | None = None
    hand_over: str = ""
    minutes: float = 5.0
    cost: float = 0.0


class Action(Record, frozen=True, kw_only=True):
    """One step of a decision, for one role on one channel. `due` is when it should be finished; `fires_at` when it
    fires by itself if nobody answers (None: never). `what` says it to people, by language; `payload` to machines."""

    decision_id: str
    step: int
    role: str
    channel: ChannelName
    what: dict[str, str]
    payload: dict[str, str]
    due: int
    fires_at: int | None
    terms: Terms = Terms()


class Transition(Record, frozen=True, kw_only=True):
    """A change of an action's state, or of the role that has it (`role`, '': as before): who did it, when, and what
    they said."""

    action_id: str
    state: State
    by: str
    remark: str = ""
    role: str = ""


class Outcome(Record, frozen=True, kw_only=True):
    """What came of a decision: how far its goal was reached (0 to 1), at what time, told by whom and how. A later one
    of the same decision corrects it. `excluded` says why it does not count ('': it does)."""

    decision_id: str
    value: float
    by: str
    source: Literal["http", "note", "file"]
    remark: str = ""
    excluded: str = ""


class PlayChange(Record, frozen=True, kw_only=True):
    """A play was paused or runs again: by whom (the gateway pauses one that is shown to harm), and why."""

    play: str
    state: PlayState
    by: str
    remark: str = ""


class Checkpoint(Record, frozen=True, kw_only=True):
    """The site's signature over its audit chain up to entry number `entry`: the hash there, the Ed25519 public key, and
    the signature over both, in hexadecimal."""

    entry: int
    hash: str
    key: str
    signature: str


# ---- what HQ sends -------------------------------------------------------------------------------------------


class Order(Record, frozen=True, kw_only=True):
    """A change of the state of an order from HQ: a playbook, vocabulary or pack that HQ sent, or a request. `by` is
    `hq`, a person, or the gateway.

    staged → waiting → active → rolled_back; refused from staged or waiting; a pack may be in the shadow of the one in
    use between waiting and active; a request goes from staged to fulfilled.
    """

    order_id: str
    kind: OrderKind
    name: str
    state: OrderState
    by: str
    remark: str = ""


class Audio(Record, frozen=True, kw_only=True):
    """A part of a call's sound file, which HQ asked for; it goes to HQ and is kept nowhere else. `part` counts from 0,
    `sha256` is that of the whole file."""

    event_id: str
    part: int
    parts: int
    sha256: str
    content: bytes


# ---- what the gateway keeps of itself ------------------------------------------------------------------------


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor's readings in a roll-up."""

    count: int
    min: float
    mean: float
    max: float
    last: float


class Rollup(Record, frozen=True, kw_only=True):
    """About an hour of a device's readings (more, where it reports seldom), from `since` to `at` by its own clock: what
    is left of them when the disk was too full to keep them. A device of very many sensors has several."""

    subject: str
    since: int
    readings: int
    sensors: dict[str, Summary]


class Loss(Record, frozen=True, kw_only=True):
    """Something accepted that is no longer here in full, said in its place. `disk`: the sound of calls, readings, or
    logs whose readings are in the journal went to make room; what was made of them stays. `too_large`: a record that no
    envelope can carry; it is whole on the gateway.

    How many of each kind, their bytes, the oldest's time, and, where they are few, their ids.
    """

    reason: Literal["disk", "too_large"]
    kinds: dict[str, int]
    bytes: int
    since: int
    ids: tuple[str, ...] = ()
