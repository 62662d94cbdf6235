"""One sample of every record, for round trips; and short ways to make records in tests."""

from edge.events import (
    Action,
    Call,
    Chain,
    Checkpoint,
    Decision,
    Event,
    KnownEvidence,
    Loss,
    MeasuredEvidence,
    Note,
    Order,
    Outcome,
    PlayChange,
    Prediction,
    Reading,
    Record,
    Rollup,
    Sheet,
    Signal,
    SpokenEvidence,
    Summary,
    Talk,
    Terms,
    Transition,
    Trial,
    Utterance,
    Window,
    Word,
    new_id,
)

AT = 1_773_450_000_000_000


def an_event(data: Call | Reading | Note | None = None, subject: str = "hoist-07", at: int = AT) -> Event:
    """An event about a device, of a reading when nothing else is given."""
    return Event(
        at=at,
        source="test",
        subject=subject,
        received_at=at + 5,
        boot_id="boot",
        data=data or Reading(values={"vibration_mm_s": 2.5}),
    )


def an_action(**changes: object) -> Action:
    """A proposed card."""
    fields: dict[str, object] = {
        "at": AT,
        "decision_id": new_id(),
        "step": 0,
        "role": "rep",
        "channel": "card",
        "what": {"en": "Call back", "zh": "回电"},
        "payload": {},
        "due": AT + 600_000_000,
        "fires_at": None,
    }
    return Action(**{**fields, **changes})  # type: ignore[arg-type]


def a_prediction(**changes: object) -> Prediction:
    """A customer worries about the budget."""
    fields: dict[str, object] = {
        "at": AT,
        "signal_id": "s",
        "subject": "Red Ridge",
        "pack": "p",
        "pack_version": "1",
        "label": "budget_concern",
        "probability": 0.8,
        "evidence": (),
    }
    return Prediction(**{**fields, **changes})  # type: ignore[arg-type]


_CALL = Call(
    audio="a.wav",
    duration_s=2.5,
    sample_rate_hz=8000,
    channels=("agent", "customer"),
    language="en",
    customer="Red Ridge",
    agent="Anna",
    direction="in",
    sha256="0f" * 32,
)
_WORD = Word(text="budget", start_s=1.0, end_s=1.4, confidence=0.9)
_UTTERANCE = Utterance(
    channel="customer", language="en", text="budget", start_s=1.0, end_s=1.4, confidence=0.9, words=(_WORD,)
)
_SPOKEN = SpokenEvidence(
    event_id="e", channel="customer", start_s=1.0, end_s=1.4, text="budget", weights=(("budget", 1.5),)
)
_MEASURED = MeasuredEvidence(event_id="e", sensor="t", value=9.0, usual=1.0, weights=(("z", 3.0),))
_KNOWN = KnownEvidence(event_id="e", source="stock", what="pieces", of="brake-pad", value="0")
_WEIGHED = KnownEvidence(event_id="e", source="", what="expired", of="", value="2 d", weight=0.7)
_TALK = Talk(talk_share={"agent": 0.6}, words_per_minute={"agent": 120.0}, pauses=2, longest_pause_s=3.0, overlap_s=0.5)

_CHAIN = Chain(
    goal="closed",
    steps=("a", "b"),
    before=0.83,
    after=0.91,
    low=0.86,
    high=0.94,
    minutes=17.0,
    within_minutes=30.0,
    cost=2.5,
    unproven=("b",),
)
_TERMS = Terms(
    step="show",
    tool={"en": "price list", "zh": "价目表"},
    sheet=Sheet(name="rivals", columns=("rival", "price"), rows=(("Acme", "10"),)),
    undo={"to": "13800000000"},
    undo_s=600.0,
    ask_again_s=60.0,
    ask_again_times=2,
    escalate_to="finance",
    escalate_s=300.0,
    hand_over="finance",
    minutes=7.0,
    cost=1.5,
)

SAMPLES: list[Record] = [
    an_event(_CALL),
    an_event(Reading(values={"a": 1.0, "b": -2.5})),
    an_event(Note(text="绞车有异响", author="李工", language="zh", key="phone-7/12")),
    Signal(at=AT, event_id="e", subject="s", data=_UTTERANCE),
    Signal(at=AT, event_id="e", subject="s", data=_TALK),
    Signal(at=AT, event_id="e", subject="s", data=Window(features={"t": {"z": 3.0}})),
    Prediction(
        at=AT,
        signal_id="s",
        subject="x",
        pack="p",
        pack_version="1",
        label="complaint",
        probability=0.9,
        evidence=(_SPOKEN, _MEASURED, _KNOWN, _WEIGHED),
    ),
    Decision(at=AT, prediction_id="p", event_id="e", subject="x", play="budget", deadline=AT + 1),
    Decision(
        at=AT,
        prediction_id="p",
        event_id="e",
        subject="y",
        play="budget",
        deadline=AT + 1,
        arm="control",
        trials=(Trial(share=0.1, held_out=True), Trial(step="ring", share=0.5, held_out=False)),
        goal="deal",
        outcome_until=AT + 9,
        chain=Chain(
            goal="deal",
            steps=("a",),
            before=0.83,
            after=0.91,
            low=0.86,
            high=0.94,
            minutes=9.0,
            within_minutes=17.0,
            unproven=("a",),
        ),
    ),
    an_action(
        fires_at=AT + 5,
        payload={"topic": "t"},
        channel="device",
        terms=Terms(
            step="slow",
            tool={"en": "drive"},
            sheet=Sheet(name="rivals", columns=("a",), rows=(("1",),)),
            undo={"command": "normal"},
            undo_s=600.0,
            escalate_to="manager",
            escalate_s=60.0,
        ),
    ),
    Transition(at=AT, action_id="a", state="proposed", by="rep", remark="now", role="finance"),
    Outcome(at=AT, decision_id="d", value=0.4, by="li", source="note", remark="n", excluded="too late"),
    PlayChange(at=AT, play="budget", state="paused", by="gateway", remark="shown to harm"),
    Checkpoint(at=AT, entry=7, hash="00", key="11", signature="22"),
    Rollup(
        at=AT,
        subject="hoist-07",
        since=AT - 5,
        readings=2,
        sensors={"t": Summary(count=2, min=1.0, mean=1.5, max=2.0, last=2.0)},
    ),
    Loss(at=AT, reason="disk", kinds={"call": 1}, bytes=8, since=AT, ids=("c",)),
    Order(at=AT, order_id="o", kind="playbook", name="", state="refused", by="gateway", remark="a label has no play"),
]
