"""A small site that measures: a goal, plays with hold-outs, a chain, cards of every new kind, and past decisions of
which some have been told of."""

from pathlib import Path

import msgspec

from edge.decide.playbook import Goal, Holdouts, Play, Playbook, Step
from edge.events import (
    Action,
    Arm,
    Chain,
    Decision,
    Event,
    Note,
    PlayChange,
    Prediction,
    Sheet,
    Signal,
    SpokenEvidence,
    Terms,
    Trial,
    Utterance,
    now_us,
)
from edge.store.journal import Conclusions, Journal, Offer
from edge.store.outcomes import Claim
from tests.records import a_prediction

MINUTE = 60_000_000
DAY = 24 * 60 * MINUTE
SHARE = 0.5
RENEWED = {"en": "Did the customer renew within thirty days?", "zh": "客户三十天内续约了吗？"}


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of what `measure` wrote: three cards of one chain, the one that is a message, and a decision that is asked
    about."""

    compare: str
    call: str
    message: str
    wanted: str


def playbook(folder: Path) -> Playbook:
    """Four plays: two for a goal, one without, one for safety."""
    step = Step(role="rep", channel="card", what={"en": "Call them", "zh": "致电客户"}, within_minutes=30)
    named = msgspec.structs.replace(step, name="call", holdout=0.2)
    plays = (
        Play(
            name="answer-competitor",
            label="competitor_mention",
            title={"en": "Answer the rival's offer", "zh": "回应竞品报价"},
            step=(named, step),
            goal="renewal",
        ),
        Play(
            name="keep-customer",
            label="churn_risk",
            title={"en": "Keep a customer who may leave", "zh": "挽留可能流失的客户"},
            step=(step,),
            goal="renewal",
        ),
        Play(name="say-thanks", label="praise", title={"en": "Pass the praise on", "zh": "转达表扬"}, step=(step,)),
        Play(
            name="clear-danger",
            label="safety_hazard",
            title={"en": "Clear the danger first", "zh": "先排除危险"},
            step=(step,),
            goal="renewal",
            safety=True,
        ),
    )
    return Playbook(
        path=folder / "playbook.toml",
        plays={play.label: (play,) for play in plays},
        goals={"renewal": Goal(name="renewal", question=RENEWED)},
        holdouts=Holdouts(key="a key of the draw", share=SHARE),
    )


def measure(journal: Journal, past: int = 120) -> Measured:
    """Write it all into an empty journal; `past` decisions of the play that has a rival lie in the past, and all but
    three of them have been told of."""
    now = now_us()
    wanted = ""
    for number in range(past):
        held_out = number % 2 == 0
        about, decision = _decision(
            now - 10 * DAY + number * MINUTE,
            f"mine {number}",
            "answer-competitor",
            "competitor_mention",
            arm="control" if held_out else "treatment",
            trials=(Trial(share=SHARE, held_out=held_out),),
        )
        step = Action(
            at=decision.at,
            decision_id=decision.id,
            step=0,
            role="rep",
            channel="card",
            what={"en": "Call them", "zh": "致电客户"},
            payload={},
            due=decision.deadline,
            fires_at=None,
            terms=Terms(step="call"),
        )
        _write(journal, about, decision, [] if held_out else [step])
        if not held_out:
            journal.move(step.id, "accepted", "Li Wei").result()
            journal.move(step.id, "done", "Li Wei").result()
        if number < past - 3:
            value = float(number % 3 > 0) if not held_out else float(number % 8 == 0)
            claim = Claim(value=value, at=now, by="Li Wei", source="http", decision_id=decision.id)
            journal.tell(claim).result()
        else:
            wanted = wanted or decision.id
    journal.change_play(
        PlayChange(at=now, play="keep-customer", state="paused", by="gateway", remark="It is shown to harm.")
    ).result()
    compare, call, message = _chain(journal, now - 2 * MINUTE)
    return Measured(compare=compare, call=call, message=message, wanted=wanted)


def _chain(journal: Journal, now: int) -> list[str]:
    about, decision = _decision(now, "Red Ridge mine", "answer-competitor", "competitor_mention")
    prices = Sheet(
        name="rivals",
        columns=("Rival", "Hoist service", "Leaves out"),
        rows=(("Northern Lift", "71,000", "rope, crane"), ("Deep Shaft", "79,500", "acceptance test")),
    )
    terms = Terms(undo_s=600.0, minutes=5.0)
    compare, call, message = (
        Action(
            at=now,
            decision_id=decision.id,
            step=number,
            role=role,
            channel="message" if payload else "card",
            what=what,
            payload=payload,
            due=now + 40 * MINUTE,
            fires_at=None,
            terms=step_terms,
        )
        for number, (role, what, payload, step_terms) in enumerate(
            (
                (
                    "rep",
                    {"en": "Ask what the rival's price leaves out.", "zh": "问清竞品报价不含哪些项目。"},
                    {},
                    msgspec.structs.replace(
                        terms,
                        step="compare",
                        tool={"en": "comparison sheet", "zh": "对比表"},
                        sheet=prices,
                        hand_over="manager",
                    ),
                ),
                (
                    "engineer",
                    {"en": "Work out what a second brake disc costs.", "zh": "核算第二片制动盘的价格。"},
                    {},
                    terms,
                ),
                (
                    "rep",
                    {"en": "Send the customer what is included.", "zh": "把报价包含的内容发给客户。"},
                    {"to": "Tom", "text": "Our price has the rope, the crane and the acceptance test in it."},
                    terms,
                ),
            )
        )
    )
    steps = (compare.id, call.id, message.id)
    chain = Chain(
        goal="renewal",
        steps=steps,
        before=0.83,
        after=0.91,
        low=0.86,
        high=0.94,
        minutes=12.0,
        within_minutes=17.0,
        unproven=(message.id,),
    )
    _write(journal, about, msgspec.structs.replace(decision, chain=chain), [compare, call, message])
    return list(steps)


def _decision(
    at: int, subject: str, play: str, label: str, arm: Arm = "treatment", trials: tuple[Trial, ...] = ()
) -> tuple[tuple[Event, Signal, Prediction], Decision]:
    """What somebody wrote down of a subject, and the play that it called for."""
    said = "northern lift offered us the same thing for seventy one"
    event = Event(
        at=at, source="notes", subject=subject, received_at=at, boot_id="boot", data=Note(text=said, author="Anna")
    )
    signal = Signal(at=at, event_id=event.id, subject=subject, data=Utterance(channel="note", language="en", text=said))
    spoken = SpokenEvidence(event_id=event.id, channel="note", start_s=0.0, end_s=0.0, text=said)
    prediction = a_prediction(at=at, signal_id=signal.id, subject=subject, label=label, evidence=(spoken,))
    decision = Decision(
        at=at,
        prediction_id=prediction.id,
        event_id=event.id,
        subject=subject,
        play=play,
        deadline=at + 40 * MINUTE,
        arm=arm,
        trials=trials,
        goal="renewal",
    )
    return (event, signal, prediction), decision


def _write(
    journal: Journal, about: tuple[Event, Signal, Prediction], decision: Decision, actions: list[Action]
) -> None:
    event, signal, prediction = about
    journal.accept([Offer(events=[(None, event)])]).result()
    journal.conclude(
        Conclusions(signals=[signal], predictions=[prediction], decisions=[decision], actions=actions),
        cursor=("note", 1),
    ).result()
