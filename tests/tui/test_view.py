"""What the screen shows: columns line up in both languages, and every line keeps to the screen."""

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.cards import NOW_US, a_card
from tui import view
from tui.board import Board
from tui.client import Card, Chain, ChainStep, Evidence, Sheet, Wanted
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


SHEET = Sheet(columns=("supplier", "全包价"), rows=(("Summit 顶峰", "61,000"), ("ours", "84,000")))
CHAIN = Chain(
    goal="deal",
    subject="Red Ridge mine",
    before=0.83,
    after=0.91,
    low=0.86,
    high=0.94,
    until=NOW_US + 17 * 60_000_000,
    steps=tuple(ChainStep(card_id=card_id, proven=card_id != "2") for card_id in "123"),
)


def test_the_card_tells_with_what_to_whom_how_often_and_what_a_key_can_do() -> None:
    undo_until = NOW_US + 240_000_000
    card = a_card(
        "1",
        tool={"en": "comparison sheet", "zh": "竞品对比表"},
        sheet=SHEET,
        to="li@mine",
        text="12 x 7,000",
        asked=2,
        hand_over="finance",
        undo_until=undo_until,
    )
    lines, _ = view.card_page(a_board("en", card), NOW_US, 80, 40, 0)
    text = "\n".join(line.plain.rstrip() for line in lines)
    assert " DO    Offer two instalments.\n       h: hand to finance\n WITH  comparison sheet\n TO    li@mine\n" in text
    assert " TEXT  12 x 7,000\n" in text
    assert f"       asked again 2 times\n       can be undone until {view.clock(undo_until, NOW_US)} (u)\n" in text
    assert " SHEET supplier     全包价\n       -----------  ------\n       Summit 顶峰  61,000\n" in text
    lines, _ = view.card_page(a_board("zh", card), NOW_US, 80, 40, 0)
    text = "\n".join(line.plain.rstrip() for line in lines)
    assert "h: 转给财务\n 用具 竞品对比表\n 发给 li@mine" in text
    lines, _ = view.card_page(a_board("en", a_card("1", state="undone", by="zhang")), NOW_US, 80, 40, 0)
    assert lines[-1].plain == " STATE undone by zhang"


@pytest.mark.parametrize(
    ("language", "first", "step", "unproven"),
    [
        (
            "en",
            " 0.83 now; do these 3 within 17 min: 0.91 (0.86-0.94), unproven",
            " STEP  step 1 of 3 of the chain",
            "step 2 of 3 of the chain, unproven",
        ),
        (
            "zh",
            " 现在 83%；17 分钟内做完这 3 件：91%（86-94%），未经验证",
            " 步骤 这一套的第 1/3 件",
            "这一套的第 2/3 件, 未经验证",
        ),
    ],
)
def test_a_chain_is_told_above_its_steps_and_beside_them(
    language: Language, first: str, step: str, unproven: str
) -> None:
    board = a_board(
        language,
        a_card("1"),
        a_card("2", due_in_min=40),
        a_card("4", due_in_min=50),
        a_card("5", due_in_min=60, goal="deal"),
    )
    other = msgspec.structs.replace(CHAIN, goal="stay", steps=(ChainStep(card_id="4"),))
    board.chains = [CHAIN, other]
    texts = []
    for steps in (1, 2, -3):
        lines, _ = view.card_page(board, NOW_US, 80, 40, 0)
        texts.append([line.plain.rstrip() for line in lines])
        board.choose(steps)
    assert [text[1] for text in texts] == [first] * 3
    assert step in texts[0]
    assert any(line.endswith(unproven) for line in texts[1])
    assert [line.plain[:2] for line in view.card_list(board, NOW_US, 80, 10)] == ["  ", ">*", " *", " +", "  "]
    lines, _ = view.card_page(board, CHAIN.until, 80, 40, 0)
    assert first not in [line.plain.rstrip() for line in lines]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_the_key_bar_names_what_it_has_room_for_and_always_has_all_keys(language: Language, columns: int) -> None:
    bar = view.foot(a_board(language), columns)[-1]
    assert bar.cell_len <= columns
    assert [key for key, _ in view.KEYS if f" {key} " not in bar.plain] == []
    assert columns < 60 or "accept" in bar.plain or "接受" in bar.plain


def test_how_many_outcomes_are_asked_is_said_where_there_is_room() -> None:
    board = a_board("en", a_card("1"))
    board.wanted = [Wanted(decision_id="d", play="p", title={}, subject="s", at=NOW_US)]
    assert "1 outcome asked" in view.head(board, NOW_US, 80)[0].plain
    assert "asked" not in view.head(board, NOW_US, 40)[0].plain
    board.tell("d", 1.0)
    assert "asked" not in view.head(board, NOW_US, 80)[0].plain


@given(
    st.lists(
        st.builds(
            Wanted,
            decision_id=st.sampled_from("abc"),
            play=st.just("p"),
            title=st.just({"en": "t"}),
            subject=st.text(max_size=40),
            at=st.just(NOW_US),
            said=st.text(max_size=200),
        ),
        max_size=9,
    ),
    st.sampled_from(["zh", "en"]),
    st.integers(0, 130),
    st.integers(0, 30),
    st.text("0123456789", max_size=3),
)
def test_no_outcome_breaks_the_page(
    wanted: list[Wanted], language: Language, columns: int, rows: int, typed: str
) -> None:
    board = a_board(language)
    board.told = {"a": 0.87}
    board.tell("b", 1.0)
    for place in range(max(1, len(wanted))):
        lines = view.outcome_page(board, wanted, place, typed, NOW_US, columns, rows)
        assert len(lines) <= rows
        for line in lines:
            assert columns < 40 or line.cell_len <= columns
            assert not [character for character in line.plain if unicodedata.category(character) in ("Cc", "Cf", "Cs")]


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
        tool=st.dictionaries(st.sampled_from(["en", "zh"]), st.text(max_size=50)),
        sheet=st.none()
        | st.builds(
            Sheet,
            columns=st.lists(st.text(max_size=20), max_size=8).map(tuple),
            rows=st.lists(st.lists(st.text(max_size=30), max_size=8).map(tuple), max_size=4).map(tuple),
        ),
        to=st.text(max_size=40),
        text=st.text(max_size=200),
        hand_over=st.text(max_size=20),
        undo_until=st.none() | st.integers(NOW_US, NOW_US + 10**9),
        asked=st.integers(0, 3),
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
    board.chains = [CHAIN]
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
