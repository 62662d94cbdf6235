"""A box that takes another's place: what HQ had is here, what was done stays done, and no number is given twice."""

from pathlib import Path

import msgspec

from edge.act.channels import Channels
from edge.act.countdown import Countdown
from edge.events import Decision, Event, Note, Reading, Record, Transition, now_us
from edge.store.belongings import keep_files, recognise
from edge.store.database import number
from edge.store.journal import Conclusions, Journal, Offer
from edge.store.recovery import take_in
from edge.store.rows import kind_of
from tests.records import SAMPLES, an_action, an_event


def lines(records: list[Record]) -> bytes:
    return b"".join(msgspec.json.encode({"kind": kind_of(one), "record": one}) + b"\n" for one in records)


def count(journal: Journal, sql: str) -> int:
    return number(journal.readers.connection(), sql)


def a_fired_action(journal: Journal) -> list[Record]:
    """What HQ has of an action that would fire now if nobody knew that it has."""
    decision = Decision(
        at=now_us(), prediction_id="p", event_id="e", subject="hoist-07", play="stop", deadline=now_us()
    )
    action = an_action(decision_id=decision.id, channel="webhook", due=now_us() + 10**9, fires_at=now_us() - 1)
    states = [Transition(at=now_us(), action_id=action.id, state=state, by="gateway") for state in ("fired", "done")]
    return [decision, action, *states]


def test_what_hq_had_is_here_and_does_not_go_to_hq_again(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "from-hq.jsonl"
    records = [one for one in SAMPLES if kind_of(one) not in ("signal", "audio", "checkpoint")]
    path.write_bytes(lines(records) + b'{"kind": "unheard_of", "record": {}}\nnot even JSON\n')
    assert take_in(journal, path) == len(records)
    assert not path.exists()
    for one in records:
        assert journal.find(type(one), one.id) == one
    assert count(journal, "SELECT count(*) FROM outbox") == 0


def test_a_start_that_was_interrupted_takes_in_nothing_twice(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "from-hq.jsonl"
    content = lines(a_fired_action(journal))
    path.write_bytes(content)
    assert take_in(journal, path) == 4
    path.write_bytes(content)
    assert take_in(journal, path) == 0
    assert take_in(journal, tmp_path / "absent.jsonl") == 0


def test_what_the_old_box_took_is_not_taken_again_from_somebody_who_did_not_hear_of_it(
    journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "from-hq.jsonl"
    taken = [one for one in SAMPLES if isinstance(one, Event) and not isinstance(one.data, Reading)]
    path.write_bytes(lines([*taken]))
    assert take_in(journal, path) == 2
    again = [an_event(event.data) for event in taken]
    assert journal.accept([Offer(events=[(event.once, event) for event in again])]).result() == []


def test_an_action_that_was_done_on_the_old_box_is_not_done_again(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "from-hq.jsonl"
    path.write_bytes(lines(a_fired_action(journal)))
    take_in(journal, path)
    Countdown(journal, Channels(None, tmp_path / "webhooks", tmp_path / "messages")).settle()
    assert not list(tmp_path.glob("webhooks/*"))
    # The replica had the action, and HQ alone that it was done.
    known = an_action(channel="webhook", fires_at=now_us() - 1)
    journal.conclude(Conclusions(actions=[known])).result()
    done = [Transition(at=now_us(), action_id=known.id, state=state, by="gateway") for state in ("fired", "done")]
    path.write_bytes(lines([*done]))
    take_in(journal, path)
    Countdown(journal, Channels(None, tmp_path / "webhooks", tmp_path / "messages")).settle()
    assert not list(tmp_path.glob("webhooks/*"))


def test_nothing_is_concluded_again_from_what_was_taken_in(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "from-hq.jsonl"
    path.write_bytes(lines([an_event(Note(text="gas", author="Lin")), SAMPLES[0]]))
    take_in(journal, path)
    assert journal.events_after("note", journal.cursor("note"), 10) == []
    after = an_event(Note(text="smoke", author="Lin"))
    journal.accept([Offer(events=[(None, after)])]).result()
    assert [event for _, event in journal.events_after("note", journal.cursor("note"), 10)] == [after]
    assert journal.calls_to_transcribe(10) == []


def test_a_new_key_begins_a_new_epoch_and_the_same_key_does_not(journal: Journal, tmp_path: Path) -> None:
    def numbers() -> list[tuple[object, ...]]:
        journal.conclude(Conclusions(actions=[an_action()])).result()
        return journal.readers.connection().execute("SELECT epoch, seq FROM outbox ORDER BY epoch, seq").fetchall()

    key = tmp_path / "site.pub"
    recognise(journal, key)
    ((first, _),) = numbers()
    for text in ("a key\n", "a key\n"):
        key.write_text(text)
        recognise(journal, key)
    assert numbers() == [(first, 1), (first, 2)]
    key.write_text("another key\n")
    recognise(journal, key)
    *_, (second, seq) = numbers()
    assert (seq, str(second) > str(first)) == (1, True)


def test_the_files_that_people_write_are_in_the_journal_as_they_are(journal: Journal, tmp_path: Path) -> None:
    def kept() -> dict[object, object]:
        return dict(journal.readers.connection().execute("SELECT name, content FROM settings").fetchall())  # type: ignore[arg-type]

    site = tmp_path / "site"
    (site / "rules").mkdir(parents=True)
    (site / "site.toml").write_text('name = "矿山"\n', "utf-8")
    (site / "rules" / "hot.rule").write_text("if hot then stop\n")
    (site / "playbook.toml").write_bytes(b"\xff")
    keep_files(journal, site)
    assert kept() == {"site.toml": 'name = "矿山"\n', "rules/hot.rule": "if hot then stop\n"}
    (site / "rules" / "hot.rule").unlink()
    keep_files(journal, site)
    assert kept() == {"site.toml": 'name = "矿山"\n'}
