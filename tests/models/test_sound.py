"""What sounds alike, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.features.sound import likeness


@pytest.mark.parametrize(
    ("heard", "said", "other"),
    [
        ("masterly", "Master Liu", "mister smith"),
        ("mechanical see all", "mechanical seal", "mechanical drawing"),
        ("brakeman", "Brakemann", "brake lining"),
        ("体生机", "提升机", "压风机"),
        ("刘师父", "刘师傅", "王师傅"),
        ("轴成", "轴承", "周三"),
    ],
)
def test_what_was_misheard_is_more_like_what_was_said_than_like_something_else(
    heard: str, said: str, other: str
) -> None:
    assert likeness(heard, said) > likeness(heard, other)
    assert likeness(heard, said) >= 0.6


def test_chinese_is_alike_without_tones_and_half_alike_where_speakers_do_not_differ() -> None:
    assert likeness("质宝", "质保") == 1.0
    assert likeness("四号", "是号") == 0.75
    assert likeness("三号泵", "三号") == 0.0
    assert likeness("泵", "pump") == 0.0


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_two_texts_have_a_likeness_which_goes_both_ways(one: str, other: str) -> None:
    alike = likeness(one, other)
    assert 0.0 <= alike <= 1.0
    assert alike == pytest.approx(likeness(other, one))
