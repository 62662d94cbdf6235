"""The sound of live calls: read as it was sent, whole after a crash, and said to its sender in order."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.store.sound import Leg, LegInfo, LiveSound, Said

INFO = LegInfo(channel="customer", rate_hz=8000, offset_s=1.5)


@pytest.fixture
def leg(tmp_path: Path) -> Iterator[Leg]:
    """A leg that goes on."""
    with closing(Leg(tmp_path, INFO, ended=False)) as opened:
        yield opened


def test_sound_is_read_message_by_message_as_it_was_sent(leg: Leg) -> None:
    leg.append(b"ab" * 10)
    leg.append(b"cd" * 3)
    leg.close_utterance()
    leg.append(b"ef")
    assert leg.read(0, 1000) == (b"ab" * 10, False)
    assert leg.read(20, 4) == (b"cd" * 2, False)
    assert leg.read(24, 1000) == (b"cd", False)
    assert leg.read(26, 1000) == (b"", True)
    assert leg.read(26, 1000) == (b"ef", False)
    assert leg.read(28, 1000) == (b"", False)


@settings(deadline=None)
@given(
    messages=st.lists(st.binary(min_size=1, max_size=40).map(lambda part: part * 2), max_size=12),
    most=st.integers(2, 60),
)
def test_whatever_the_messages_all_of_it_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], most: int
) -> None:
    with closing(Leg(tmp_path_factory.mktemp("leg"), INFO, ended=False)) as leg:
        read = b""
        for message in messages:
            leg.append(message)
            while part := leg.read(len(read), most)[0]:
                assert len(part) <= most
                read += part
    assert read == b"".join(messages)


def test_what_a_crash_left_takes_no_more_and_is_all_there(tmp_path: Path) -> None:
    with closing(LiveSound(tmp_path, lambda _: None)) as sound:
        sound.open("call")
        sound.begin("call", INFO).append(b"ab" * 100)
        assert sound.left() == []
    with closing(LiveSound(tmp_path, lambda _: None)) as after:
        (leg,) = after.legs("call")
        assert (leg.info, leg.ended, leg.read(0, 1000)) == (INFO, True, (b"ab" * 100, False))
        assert not after.goes_on("call")
        assert after.left() == ["call"]
        after.forget("call")
    assert list(tmp_path.iterdir()) == []


def test_a_channel_has_one_leg_at_a_time(tmp_path: Path) -> None:
    with closing(LiveSound(tmp_path, lambda _: None)) as sound:
        sound.begin("call", INFO)
        with pytest.raises(ValueError, match="customer"):
            sound.begin("call", INFO)


def test_who_is_connected_again_has_a_leg_of_his_own(tmp_path: Path) -> None:
    with closing(LiveSound(tmp_path, lambda _: None)) as sound:
        first = sound.begin("call", INFO)
        first.append(b"ab")
        first.end()
        second = sound.begin("call", INFO)
        second.append(b"cd")
        assert [leg.info.name for leg in sound.legs("call")] == ["customer-0", "customer-1"]
        assert [leg.read(0, 10)[0] for leg in sound.legs("call")] == [b"ab", b"cd"]


def test_what_has_ended_is_said_once_each_and_before_what_goes_on(leg: Leg) -> None:
    told: list[int] = []
    leg.tell(lambda: told.append(1))
    for said in (Said(10, "a", final=True), Said(20, "b"), Said(30, "c", final=True), Said(40, "d")):
        leg.say(said)
    assert [leg.next_said().text for _ in range(4)] == ["a", "c", "d", "d"]
    assert (leg.heard_bytes, len(told)) == (40, 4)


def test_a_leg_that_nobody_can_read_holds_up_no_other(tmp_path: Path) -> None:
    with closing(LiveSound(tmp_path, lambda _: None)) as sound:
        sound.open("call")
        sound.begin("call", INFO).append(b"ab")
    (tmp_path / "call" / "agent-0.json").write_bytes(b'{"chan')
    with closing(LiveSound(tmp_path, lambda _: None)) as after:
        assert [leg.info.channel for leg in after.legs("call")] == ["customer"]


def test_a_leg_that_has_ended_holds_no_file_for_writing_once_it_is_on_the_disk(leg: Leg) -> None:
    leg.append(b"ab" * 10)
    leg.sync()
    assert leg.append(b"cd") == 22
    leg.end()
    leg.sync()
    leg.sync()
    assert leg.chunk(10, 1) == b"cd"
    with pytest.raises(ValueError, match="closed"):
        leg.append(b"ef")
