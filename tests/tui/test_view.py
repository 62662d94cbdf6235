"""What the screen shows: columns line up in both languages, and every line keeps to the screen."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.cards import NOW_US, a_card
from tui import view
from tui.board import Board
from tui.client import Card, Evidence
from tui.words import Language

SPOKEN = Evidence(
    kind="spoken",
    channel="customer",
    start_s=87.2,
    text="that is more than we budgeted",
    weights=(("budgeted", 1.52), ("more than", 1.84)),
)
SUBJECTS = ("西山矿", "Red Ridge", "3号风机")


def columns_of(text: str) -> int:
    """The width of `text` by Unicode's own table (UAX 11): wide and full-width characters take two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def a_board(language: Language, *cards: Card) -> Board:
    board = Board(language=language, name="张伟", site="北矿", link="connected")
    board.replace(list(cards))
    return board


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("columns", [60, 80, 81, 120])
def test_the_columns_of_the_list_line_up(language: Language, columns: int) -> None:
    cards = [
        a_card("1", subject=SUBJECTS[0], role="安全员", due_in_min=-5),
        a_card("2", subject=SUBJECTS[1], title={"en": "X" * 90, "zh": "把方案调到预算之内" * 9}, state="accepted"),
        a_card("3", subject=SUBJECTS[2], role="a very long role", due_in_min=9000, state="fired"),
    ]
    lines = [line.plain for line in view.card_list(a_board(language, *cards), NOW_US, columns, 10)]
    assert [columns_of(line) for line in lines] == [columns] * 4
    starts = {columns_of(line[: line.rindex(subject)]) for line, subject in zip(lines[1:], SUBJECTS, strict=True)}
    heads = ("对象", "事项") if language == "zh" else ("ABOUT", "WHAT")
    assert starts == {columns_of(lines[0][: lines[0].index(heads[0])])}
    titles = ("把方案", "把方案", "把方案") if language == "zh" else ("Fit", "XXX", "Fit")
    starts = {columns_of(line[: line.index(title)]) for line, title in zip(lines[1:], titles, strict=True)}
    assert starts == {columns_of(lines[0][: lines[0].index(heads[1])])}


def test_the_card_tells_what_by_when_and_why() -> None:
    card = a_card("1", fires_at=NOW_US + 480_000_000, event_kind="call", evidence=(SPOKEN,))
    lines, _ = view.card_page(a_board("en", card), NOW_US, 80, 24, 0)
    text = "\n".join(line.plain.rstrip() for line in lines)
    due, fires = view.clock(card.due, NOW_US), view.clock(NOW_US + 480_000_000, NOW_US)
    assert f" DO    Offer two instalments.\n BY    {due}, 30 min left\n" in text
    assert f"acts by itself at {fires}, in 8 min, unless declined" in text
    assert 'budget concern, 87 % probable\n       87.2 s customer: "that is more than we budgeted"' in text
    assert "weighs: more than +1.84  budgeted +1.52" in text
    assert " ABOUT Red Ridge mine (for: rep)\n STATE new" in text


def test_the_same_card_in_chinese() -> None:
    card = a_card("1", event_kind="call", evidence=(SPOKEN,), state="accepted", by="李")
    lines, _ = view.card_page(a_board("zh", card), NOW_US, 80, 24, 0)
    text = "\n".join(line.plain.rstrip() for line in lines)
    assert " 要做 提出分两期付款。\n" in text
    assert "还剩 30分" in text
    assert "87.2 秒 客户: 「that is more than we budgeted」" in text
    assert "预算、价格顾虑, 概率 87 %" in text
    assert "李 已接受" in text


def test_recognised_chinese_is_read_without_the_spaces_between_its_words() -> None:
    heard = Evidence(
        kind="spoken", channel="customer", start_s=3, text="有 很 浓 的 煤气味 in room 7", weights=(("很 浓", 1),)
    )
    card = a_card("1", event_kind="call", evidence=(heard,))
    lines, _ = view.card_page(a_board("zh", card), NOW_US, 80, 24, 0)
    text = "\n".join(line.plain.rstrip() for line in lines)
    assert "「有很浓的煤气味 in room 7」" in text
    assert "很浓 +1.00" in text


def test_what_was_known_beside_the_words_stands_there() -> None:
    known = (
        Evidence(kind="known", what="pieces", of="air-end", value="0"),
        Evidence(kind="known", what="covered", value="yes"),
    )
    card = a_card("1", event_kind="call", evidence=(SPOKEN, *known))
    lines, _ = view.card_page(a_board("en", card), NOW_US, 80, 30, 0)
    text = "\n".join(line.plain.rstrip() for line in lines)
    assert "pieces of air-end: 0" in text
    assert "covered: yes" in text


def test_urgent_is_said_in_words_and_only_repeated_in_colour() -> None:
    board = a_board("en", a_card("1", due_in_min=90), a_card("2", due_in_min=-3))
    board.choose(1)
    late = view.card_list(board, NOW_US, 80, 10)[1]
    assert "late 3 min" in late.plain
    assert "red" in str(late.spans[0].style)


@given(
    st.builds(
        a_card,
        st.just("1"),
        st.floats(-1e6, 1e6),
        title=st.dictionaries(st.sampled_from(["en", "zh"]), st.text(max_size=50)),
        what=st.dictionaries(st.sampled_from(["en", "zh"]), st.text(max_size=200)),
        subject=st.text(max_size=40),
        role=st.text(max_size=20),
        label=st.text(max_size=20),
        by=st.text(max_size=20),
        state=st.sampled_from(["proposed", "accepted", "fired", "done", "unheard of"]),
        event_kind=st.sampled_from(["call", "reading", "note", "?"]),
        evidence=st.lists(
            st.builds(Evidence, kind=st.sampled_from(["spoken", "measured", "known", "?"]), text=st.text())
        ),
    ),
    st.sampled_from(["zh", "en"]),
    st.integers(0, 130),
    st.integers(0, 30),
    st.integers(-3, 90),
)
def test_no_card_breaks_the_screen(card: Card, language: Language, columns: int, rows: int, scroll: int) -> None:
    board = a_board(language, card)
    board.said = card.subject
    page, _ = view.card_page(board, NOW_US, columns, rows, scroll)
    for lines in (
        view.head(board, NOW_US, columns),
        view.card_list(board, NOW_US, columns, rows),
        page,
        view.foot(board, columns),
    ):
        for line in lines:
            assert columns < 40 or line.cell_len <= columns
            assert not [character for character in line.plain if unicodedata.category(character) in ("Cc", "Cf", "Cs")]
    assert len(page) <= max(rows, 2)
