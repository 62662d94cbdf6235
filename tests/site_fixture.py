"""A small site in a real journal: two calls, three devices, a note, refused files, and cards in every state.

`fill` writes it through the journal's own interface, `titles` are the plays that it uses, `write_sound` makes the
recordings that its calls name. Times are relative to now, so that what is due is due soon.
"""

import math
import random
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edge.events import (
    Action,
    Call,
    ChannelName,
    Decision,
    Event,
    MeasuredEvidence,
    Note,
    Prediction,
    Reading,
    Signal,
    SpokenEvidence,
    Talk,
    Utterance,
    Window,
    Word,
    now_us,
)
from edge.store.journal import Conclusions, DeviceState, Journal, Offer, Progress, Refusal

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

TITLES = {
    "fit-the-budget": {"en": "Fit the offer to the budget", "zh": "把方案调到预算之内"},
    "answer-competitor": {"en": "Answer the rival's offer", "zh": "回应竞品报价"},
    "reserve-part": {"en": "Reserve the spare part", "zh": "预留备件"},
    "clear-danger": {"en": "Clear the danger first", "zh": "先排除危险"},
    "settle-complaint": {"en": "Settle the complaint", "zh": "处理投诉"},
    "slow-the-hoist": {"en": "Slow the hoist and look at it", "zh": "提升机降速检查"},
    "call-back": {"en": "Call back as promised", "zh": "按约定回电"},
}


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of what `fill` wrote. `budget`, `danger` and `hoist` are cards that are still proposed."""

    call_en: str
    call_zh: str
    note: str
    budget: str
    danger: str
    hoist: str
    accepted: str
    declined: str
    fired: str
    budget_line: str


def fill(journal: Journal, now: int | None = None) -> Filled:
    """Write the whole site into an empty journal."""
    now = now_us() if now is None else now
    call_en, en = _english_call(journal, now - 9 * MINUTE)
    hoist = _devices(journal, now)
    note = _note(journal, now - 5 * MINUTE)
    call_zh, zh = _chinese_call(journal, now - 2 * MINUTE)
    for name, reason in (
        ("meeting-0412.mp3", "meeting-0412.mp3: the inbox takes .wav, .flac and .ogg recordings; convert it."),
        (
            "pump-log.csv",
            "pump-log.csv, line 4021: pressure_bar is 'n/a', not a number; mend the line, offer it again.",
        ),
    ):
        journal.refuse(Refusal(source="inbox", name=name, reason=reason)).result()
    journal.move(en["part"], "accepted", "Li Wei").result()
    journal.move(en["rival"], "declined", "Li Wei", "answered on the phone").result()
    journal.move(hoist["slow"], "fired", "gateway").result()
    return Filled(
        call_en=call_en,
        call_zh=call_zh,
        note=note,
        budget=en["budget"],
        danger=zh["danger"],
        hoist=hoist["look"],
        accepted=en["part"],
        declined=en["rival"],
        fired=hoist["slow"],
        budget_line=en["line"],
    )


def write_sound(folder: Path) -> None:
    """The recordings of the site's calls: as long as they say, a low tone where somebody speaks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, duration_s, lines in (("hoist-quote.wav", EN_DURATION_S, EN_LINES), ("gas.wav", ZH_DURATION_S, ZH_LINES)):
        tracks = np.zeros((int(duration_s * 8000), 2), np.int16)
        for channel, start_s, end_s, *_ in lines:
            span = np.arange(int(start_s * 8000), min(int(end_s * 8000), len(tracks)))
            track = 0 if channel == "agent" else 1
            tracks[span, track] = 2500 * np.sin(span * (2 * np.pi * (160 + 60 * track) / 8000))
        with wave.open(str(folder / name), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(tracks.tobytes())


# ---- the calls -----------------------------------------------------------------------------------------------------

EN_DURATION_S = 118.6
EN_LINES = (
    ("agent", 1.2, 4.9, "good morning hoist service this is anna how can i help you"),
    ("customer", 5.4, 12.1, "morning anna this is tom from red ridge mine you sent us a quotation for the main hoist"),
    ("agent", 12.4, 16.6, "yes i have it here hoist number seven the full service with the new brake"),
    ("customer", 17.0, 24.8, "first the rope you say it should be changed this year is that really necessary"),
    ("agent", 27.6, 37.2, "the inspector found six broken wires in one meter close to the drum i would not wait"),
    ("customer", 37.6, 43.9, "okay that's fair and how long do we have to stop the hoist"),
    ("agent", 44.2, 48.7, "three days two people on site and a crane for the first day"),
    ("customer", 49.0, 57.3, "and we need a new brake disc for number five as well the old one is worn out"),
    ("agent", 57.0, 63.4, "i will note the brake disc all together it comes to eighty four thousand"),
    ("customer", 64.9, 72.6, "northern lift offered us the same thing for seventy one last month"),
    ("agent", 73.0, 79.8, "did they include the rope and the acceptance test"),
    ("customer", 80.3, 86.1, "i do not know that i would have to look it up"),
    ("customer", 87.2, 92.4, "but eighty four thousand that is more than we budgeted"),
    ("agent", 92.9, 101.5, "i understand let me see whether we can do it in two parts this year and next"),
    ("customer", 102.1, 109.0, "that would help call me back on thursday please after the shift meeting"),
    ("agent", 109.4, 116.8, "thursday after the shift meeting thank you tom goodbye"),
)

ZH_DURATION_S = 74.0
ZH_LINES = (
    ("agent", 0.8, 4.2, "您好 这里 是 服务 热线 我 是 王 敏"),
    ("customer", 4.6, 11.9, "你好 我 是 西山矿 的 老 赵 昨天 你们 派 来 的 师傅 我 很 不 满意"),
    ("agent", 12.2, 14.6, "不好意思 出 了 什么 事"),
    ("customer", 14.9, 24.4, "说好 早上 八点 到 结果 下午 三点 才 来 今年 已经 第三次 了"),
    ("agent", 24.9, 28.0, "实在 对不起 我 马上 报告 给 经理"),
    ("customer", 28.3, 38.7, "现在 压缩机 旁边 有 很 浓 的 煤气味 控制柜 后面 还 在 冒烟"),
    ("agent", 38.4, 43.6, "请 先 让 所有 人 离开 不要 碰 开关"),
    ("customer", 44.2, 49.5, "好 我 马上 叫 他们 出去"),
)


def _english_call(journal: Journal, at: int) -> tuple[str, dict[str, str]]:
    call = Call(
        audio="hoist-quote.wav",
        duration_s=EN_DURATION_S,
        sample_rate_hz=8000,
        channels=("agent", "customer"),
        language="en",
        customer="Red Ridge mine",
        agent="Anna",
        direction="in",
    )
    event = _accept(journal, at, "inbox", "Red Ridge mine", call)
    lines = [_line(event, "en", *line) for line in EN_LINES]
    figures = Talk(
        talk_share={"agent": 0.4712, "customer": 0.5288},
        words_per_minute={"agent": 121.4, "customer": 134.9},
        pauses=2,
        longest_pause_s=2.8,
        overlap_s=0.3,
    )
    talk = Signal(at=at, event_id=event.id, subject=event.subject, data=figures)
    budget = _spoken(
        lines[12], "budget_concern", 0.912, (("more than", 1.84), ("budgeted", 1.52), ("eighty four thousand", 0.41))
    )
    rival = _spoken(lines[9], "competitor_mention", 0.874, (("northern lift", 2.1), ("offered", 0.88)))
    part = _spoken(lines[7], "spare_part_request", 0.941, (("new brake disc", 2.31), ("need", 0.75), ("worn out", 0.6)))
    back = _spoken(lines[14], "callback_request", 0.968, (("call me back", 2.6), ("thursday", 0.9)))
    now = at + 2 * MINUTE
    plays = [
        _play(budget, event, "fit-the-budget", now, [
            Step("rep", 14 * MINUTE, "Do not cut the price yet; offer the rope this year, the brake next year.",
                 "先别降价：问清批了多少；今年换钢丝绳，明年换制动器，分两期报价。"),
            Step("finance", 45 * MINUTE, "Work out instalments over 12 and 24 months and send them to the rep.",
                 "测算 12 期和 24 期分期方案，发给业务代表。", "webhook"),
        ]),
        _play(rival, event, "answer-competitor", now, [
            Step("rep", 4 * HOUR, "Ask what the rival's price leaves out: rope, crane, acceptance test.",
                 "问清竞品报价不含哪些：钢丝绳、吊车、验收试验。"),
        ]),
        _play(part, event, "reserve-part", now, [
            Step("engineer", 2 * HOUR, "Reserve one brake disc for hoist 5 and tell the customer the date.",
                 "为 5 号提升机预留一片制动盘，并告知客户到货日期。"),
        ]),
        _play(back, event, "call-back", now, [
            Step("rep", 26 * HOUR, "Call Tom on Thursday after the shift meeting.", "周四班前会后给 Tom 回电。"),
        ]),
    ]  # fmt: skip
    _conclude(
        journal,
        [*lines, talk],
        plays,
        Progress(event_id=event.id, done=True, seconds=dict.fromkeys(call.channels, EN_DURATION_S)),
    )
    first = [actions[0].id for _, _, actions in plays]
    return event.id, {"budget": first[0], "rival": first[1], "part": first[2], "line": lines[12].id}


def _chinese_call(journal: Journal, at: int) -> tuple[str, dict[str, str]]:
    call = Call(
        audio="gas.wav",
        duration_s=ZH_DURATION_S,
        sample_rate_hz=8000,
        channels=("agent", "customer"),
        language="zh",
        customer="西山矿",
        agent="王敏",
        direction="in",
    )
    event = _accept(journal, at, "inbox", "西山矿", call)
    lines = [_line(event, "zh", *line) for line in ZH_LINES]
    danger = _spoken(lines[5], "safety_hazard", 0.983, (("煤气味", 2.7), ("冒烟", 2.2), ("很 浓", 0.7)))
    complaint = _spoken(lines[3], "complaint", 0.826, (("第三次", 1.4), ("才 来", 0.9), ("说好", 0.5)))
    now = at + MINUTE
    plays = [
        _play(complaint, event, "settle-complaint", now, [
            Step("manager", 6 * HOUR, "Call the customer yourself today, say what changes, and send a dated plan.",
                 "今天亲自致电客户，说明改进办法，并发送有日期的计划。"),
        ]),
        _play(danger, event, "clear-danger", now, [
            Step("rep", 4 * MINUTE, "Say now: everybody out, upwind, count heads. Touch no switch. Stay on the line.",
                 "立刻告诉对方：全员撤到上风处并清点人数，不动开关，不要挂电话。"),
            Step("safety", 31 * MINUTE, "Go there; measure gas and voltage before anybody enters.",
                 "立即赶往现场，进入前先测气体、验电。"),
            Step("manager", 16 * MINUTE, "Page the manager on duty and start the incident log.",
                 "呼叫值班领导，开始填写事故记录。", "webhook", fires_after=12 * MINUTE),
        ]),
    ]  # fmt: skip
    _conclude(journal, lines, plays, Progress(event_id=event.id, done=False, seconds={"agent": 49.5, "customer": 49.5}))
    return event.id, {"danger": plays[1][2][0].id}


# ---- devices and notes ---------------------------------------------------------------------------------------------

EVERY_S = 10
READINGS = 360


def _devices(journal: Journal, now: int) -> dict[str, str]:
    dice = random.Random(7)
    start = now - READINGS * EVERY_S * SECOND
    events: dict[str, list[Event]] = {"compressor-1": [], "fan-2": [], "hoist-7": []}
    for number in range(READINGS):
        at = start + (number + 1) * EVERY_S * SECOND
        swing = math.sin(number / 23)
        worn = max(0, number - 318) / 42
        values = {
            "hoist-7": {
                "vibration_mm_s": 2.1 + 0.25 * swing + dice.gauss(0, 0.12) + 5.6 * worn**1.5,
                "motor_temp_c": 61 + 2.5 * swing + dice.gauss(0, 0.3) + 7 * worn,
                "current_a": 182 + 14 * math.sin(number / 5) + dice.gauss(0, 3),
            },
            "compressor-1": {
                "pressure_bar": 7.4 + 0.3 * math.sin(number / 9) + dice.gauss(0, 0.03),
                "oil_temp_c": 78 + swing + dice.gauss(0, 0.2),
            },
            "fan-2": {"speed_rpm": 1480 + dice.gauss(0, 4), "airflow_m3_s": 41.5 + 0.8 * swing + dice.gauss(0, 0.2)},
        }
        for device, sensors in values.items():
            reading = Reading(values={sensor: round(value, 2) for sensor, value in sensors.items()})
            events[device].append(_event(journal, at, "bus", device, reading))
    offered: list[tuple[bytes | None, Event]] = [(None, event) for of_device in events.values() for event in of_device]
    journal.accept([Offer(events=offered)]).result()
    scores = {"compressor-1": 0.08, "fan-2": 0.21, "hoist-7": 0.94}
    newest = {device: of_device[-1] for device, of_device in events.items()}
    states = [
        DeviceState(
            device=device,
            at=event.at,
            event_id=event.id,
            values=_values(event),
            score=scores[device],
            readings=READINGS,
        )
        for device, event in newest.items()
    ]
    telling = events["hoist-7"][346]
    window = Signal(at=telling.at, event_id=telling.id, subject="hoist-7", data=Window(features={}))
    prediction = Prediction(
        at=telling.at,
        signal_id=window.id,
        subject="hoist-7",
        pack="device-anomaly",
        pack_version="1.0",
        label="device_anomaly",
        probability=0.94,
        evidence=(
            MeasuredEvidence(
                event_id=telling.id,
                sensor="vibration_mm_s",
                value=_values(telling)["vibration_mm_s"],
                usual=2.12,
                weights=(("value", 2.9), ("slope", 1.6), ("spread", 0.7)),
            ),
        ),
    )
    steps = [
        Step("maintenance", 40 * MINUTE, "Look at the bearing on the drive side before the next full load.",
             "下一次满载之前，检查驱动侧轴承。"),
        Step("engineer", 5 * MINUTE, "Limit hoist 7 to 4 m/s.", "7 号提升机限速 4 m/s。", "device"),
    ]  # fmt: skip
    _, decision, actions = _play((window, prediction), telling, "slow-the-hoist", telling.at, steps)
    journal.conclude(
        Conclusions(
            predictions=[prediction],
            decisions=[decision],
            actions=actions,
            devices=states,
        ),
        cursor=("reading", journal.events_after("reading", 0, 3 * READINGS)[-1][0]),
    ).result()
    return {"look": actions[0].id, "slow": actions[1].id}


def _note(journal: Journal, at: int) -> str:
    text = "Shift engineer says they cancel the maintenance contract if the fan stops again."
    event = _accept(journal, at, "notes", "Red Ridge mine", Note(text=text, author="Li Wei", language="en"))
    written = Utterance(channel="note", language="en", text=text)
    signal = Signal(at=at, event_id=event.id, subject=event.subject, data=written)
    journal.conclude(Conclusions(signals=[signal]), cursor=("note", 1)).result()
    return event.id


# ---- records -------------------------------------------------------------------------------------------------------

Play = tuple[Prediction, Decision, list[Action]]


@dataclass(frozen=True)
class Step:
    """One step of a play: who does what within how long (µs), and when it fires by itself."""

    role: str
    within: int
    en: str
    zh: str
    channel: ChannelName = "card"
    fires_after: int | None = None


def _event(journal: Journal, at: int, source: str, subject: str, data: Call | Reading | Note) -> Event:
    return Event(at=at, source=source, subject=subject, received_at=at, boot_id=journal.boot_id, data=data)


def _accept(journal: Journal, at: int, source: str, subject: str, data: Call | Note) -> Event:
    event = _event(journal, at, source, subject, data)
    journal.accept([Offer(events=[(None, event)])]).result()
    return event


def _line(event: Event, language: str, channel: str, start_s: float, end_s: float, text: str) -> Signal:
    """An utterance whose words share its time by their length."""
    dice = random.Random(text)
    words = text.split()
    second_per_letter = (end_s - start_s) / len("".join(words))
    said, at_s = [], start_s
    for word in words:
        until_s = at_s + len(word) * second_per_letter
        confidence = round(min(1.0, dice.uniform(0.72, 1.08)) if dice.random() > 0.05 else dice.uniform(0.3, 0.5), 3)
        said.append(Word(text=word, start_s=round(at_s, 2), end_s=round(until_s, 2), confidence=confidence))
        at_s = until_s
    utterance = Utterance(
        channel=channel,
        language=language,
        text=text,
        start_s=start_s,
        end_s=end_s,
        confidence=round(sum(word.confidence for word in said) / len(said), 3),
        words=tuple(said),
    )
    return Signal(at=event.at + round(end_s * SECOND), event_id=event.id, subject=event.subject, data=utterance)


def _spoken(
    signal: Signal, label: str, probability: float, weights: tuple[tuple[str, float], ...]
) -> tuple[Signal, Prediction]:
    assert isinstance(signal.data, Utterance)
    evidence = SpokenEvidence(
        event_id=signal.event_id,
        channel=signal.data.channel,
        start_s=signal.data.start_s,
        end_s=signal.data.end_s,
        text=signal.data.text,
        weights=weights,
    )
    prediction = Prediction(
        at=signal.at,
        signal_id=signal.id,
        subject=signal.subject,
        pack="call-signals",
        pack_version="1.0",
        label=label,
        probability=probability,
        evidence=(evidence,),
    )
    return signal, prediction


def _play(
    said: tuple[Signal, Prediction], event: Event, play: str, at: int, steps: Sequence[Step]
) -> tuple[Prediction, Decision, list[Action]]:
    prediction = said[1]
    decision = Decision(
        at=at,
        prediction_id=prediction.id,
        event_id=event.id,
        subject=prediction.subject,
        play=play,
        deadline=at + max(step.within for step in steps),
    )
    actions = [
        Action(
            at=at,
            decision_id=decision.id,
            step=number,
            role=step.role,
            channel=step.channel,
            what={"en": step.en, "zh": step.zh},
            payload={"topic": "hoist/7/limit", "value": "4"} if step.channel == "device" else {},
            due=at + step.within,
            fires_at=None if step.fires_after is None else at + step.fires_after,
        )
        for number, step in enumerate(steps)
    ]
    return prediction, decision, actions


def _conclude(journal: Journal, signals: Sequence[Signal], plays: Sequence[Play], progress: Progress) -> None:
    conclusions = Conclusions(
        signals=signals,
        predictions=[prediction for prediction, _, _ in plays],
        decisions=[decision for _, decision, _ in plays],
        actions=[action for _, _, actions in plays for action in actions],
    )
    journal.conclude(conclusions, progress=progress).result()


def _values(event: Event) -> dict[str, float]:
    assert isinstance(event.data, Reading)
    return event.data.values
