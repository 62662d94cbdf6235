"""A lane's way to HQ over a network that loses, repeats and delays."""

import random

from hypothesis import given
from hypothesis import strategies as st

from sync.passage import FIRST_TIMEOUT_S, LONGEST_TIMEOUT_S, WINDOW, Passage
from sync.protocol import Ack


def ack(last_seq: int, *, resend: bool = False) -> Ack:
    return Ack(epoch=1, lane="day", last_seq=last_seq, resend=resend)


@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.1, 0.3]), rows=st.integers(1, 80))
def test_every_row_arrives_whatever_the_network_does(seed: int, loss: float, rows: int) -> None:
    chance = random.Random(seed)
    passage, at_hq, now_s = Passage(), 0, 0.0
    to_hq: list[tuple[int, int]] = []
    to_site: list[Ack] = []
    for _ in range(5_000):
        now_s += 0.1 if to_hq or to_site else FIRST_TIMEOUT_S
        passage.expire(now_s)
        while passage.has_room() and passage.sent < rows:
            first, last = passage.sent + 1, min(rows, passage.sent + chance.randint(1, 5))
            to_hq += [(first, last)] * (chance.random() >= loss) + [(first, last)] * (chance.random() < loss / 2)
            passage.leave(last, now_s)
        if to_hq:
            first, last = to_hq.pop(0 if chance.random() > loss else chance.randrange(len(to_hq)))
            gap = first > at_hq + 1
            at_hq = at_hq if gap else max(at_hq, last)
            to_site += [ack(at_hq, resend=gap)] * (chance.random() >= loss)
        if to_site:
            passage.hear(to_site.pop(0), now_s)
        assert passage.acked <= at_hq
        if passage.acked == rows:
            return
    raise AssertionError(f"only {passage.acked} of {rows} rows were acknowledged")


def test_no_more_than_the_window_is_under_way() -> None:
    passage = Passage()
    for seq in range(1, WINDOW + 1):
        assert passage.has_room()
        passage.leave(seq, 0.0)
    assert not passage.has_room()
    passage.hear(ack(1), 0.0)
    assert passage.has_room()


def test_an_absent_hq_gets_one_envelope_at_a_time_and_ever_less_often() -> None:
    passage, now_s, waits = Passage(), 0.0, []
    passage.leave(10, now_s)
    for _ in range(10):
        begun = now_s
        while not passage.expire(now_s):
            now_s += 0.5
        waits.append(now_s - begun)
        assert passage.sent == 0
        passage.leave(10, now_s)
        assert not passage.has_room()
    assert waits[0] == FIRST_TIMEOUT_S
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_TIMEOUT_S
    passage.hear(ack(10), now_s)
    passage.leave(11, now_s)
    assert passage.has_room()


def test_many_requests_to_resend_the_same_are_answered_once() -> None:
    passage = Passage()
    for seq in (10, 20, 30):
        passage.leave(seq, 0.0)
    assert not passage.hear(ack(0, resend=True), 0.0)
    assert passage.sent == 0
    passage.leave(10, 0.0)
    passage.hear(ack(0, resend=True), 0.0)
    assert passage.sent == 10


def test_hq_that_lost_rows_gets_them_again() -> None:
    passage = Passage(acked=100)
    passage.leave(110, 0.0)
    assert passage.hear(ack(50, resend=True), 0.0)
    assert (passage.acked, passage.sent) == (50, 50)


def test_an_old_acknowledgement_changes_nothing() -> None:
    passage = Passage(acked=100)
    passage.leave(110, 0.0)
    assert not passage.hear(ack(50), 0.0)
    assert (passage.acked, passage.sent) == (100, 110)


def test_hq_that_has_more_than_the_site_remembers_is_believed() -> None:
    passage = Passage()
    passage.leave(10, 0.0)
    assert passage.hear(ack(70), 0.0)
    assert (passage.acked, passage.sent) == (70, 70)
