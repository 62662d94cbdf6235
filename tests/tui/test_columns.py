"""Text in columns: nothing is wider than it may be, and nothing from outside steers the terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.columns import fit, plain, table, width, wrap

CHINESE = st.text("提升机轴承温度过高，请检查。「」（）abc 12 ", max_size=80)


@given(st.text(max_size=60), st.integers(0, 40))
def test_a_fitted_text_takes_exactly_its_columns(text: str, columns: int) -> None:
    assert width(fit(text, columns)) == columns


@given(st.text(max_size=60) | CHINESE, st.integers(2, 40))
def test_no_wrapped_line_is_too_wide_and_no_letter_is_lost(text: str, columns: int) -> None:
    lines = wrap(text, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(plain(text).split())


@given(st.text(max_size=60))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not [character for character in plain(text) if unicodedata.category(character) in ("Cc", "Cf", "Cs")]


def test_an_escape_sequence_becomes_harmless() -> None:
    assert plain("gas\x1b[2J\x9b31m\u202esmoke\n") == "gas [2J 31msmoke "


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("先让所有人离开。不要碰开关。", 14, ["先让所有人离", "开。不要碰开", "关。"]),
        ("他说：「有烟」", 8, ["他说：", "「有烟」"]),
        ("call back on Thursday", 9, ["call back", "on", "Thursday"]),
        ("换 brake disc 一片", 8, ["换 brake", "disc 一", "片"]),
        ("", 5, [""]),
    ],
)
def test_lines_break_at_spaces_and_between_chinese_characters_but_not_before_a_stop(
    text: str, columns: int, lines: list[str]
) -> None:
    assert wrap(text, columns) == lines


def test_a_cut_text_says_so() -> None:
    assert fit("清空机房并通知安全工程师", 11) == "清空机房.. "


@given(
    st.lists(CHINESE | st.text(max_size=20), max_size=6),
    st.lists(st.lists(CHINESE | st.text(max_size=20), max_size=7), max_size=5),
    st.integers(2, 90),
)
def test_no_line_of_a_table_is_too_wide(heads: list[str], rows: list[list[str]], columns: int) -> None:
    assert all(width(line) <= columns for line in table(heads, rows, columns))


def test_a_table_wraps_its_widest_column() -> None:
    rows = [["ours", "four hours, day and night"], ["对手", "次日"]]
    assert table(["who", "there in"], rows, 20) == [
        "who   there in",
        "----  --------------",
        "ours  four hours,",
        "      day and night",
        "对手  次日",
    ]


def test_a_table_with_too_many_columns_says_each_cell_after_its_head() -> None:
    assert table(["supplier", "warranty"], [["Summit", "one year"]], 12) == [
        "supplier:",
        "Summit",
        "warranty:",
        "one year",
    ]
