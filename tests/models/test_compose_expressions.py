"""Expressions of composed packs: what is well typed comes to a value of its type or to nothing, never to a crash."""

import re
from datetime import date

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.compose.expressions import ExpressionError, names_in, parse, type_of
from models.compose.manifest import Type
from models.compose.values import Truth, Unknown, Value, evaluate

TYPES: dict[str, Type] = {"pieces": "number", "price": "number", "part": "text", "until": "date", "today": "date"}
TYPES |= {"fault": "truth", "leaving": "truth", "库存": "number"}
KINDS = {"number": float, "text": str, "date": date, "truth": Truth}
DAY = date(2026, 11, 17)


def expressions(kind: Type, depth: int = 3) -> st.SearchStrategy[str]:
    """Well-typed expressions of a type, as text."""
    names = st.sampled_from([name for name, of_kind in TYPES.items() if of_kind == kind])
    literals = {
        "number": st.integers(0, 999).map(str) | st.sampled_from(["0", "2.5"]),
        "text": st.sampled_from(["'brake-pad'", "''", "'机封'"]),
        "date": st.dates(date(2000, 1, 1), date(2099, 12, 31)).map(str),
        "truth": st.sampled_from(["yes", "no"]),
    }[kind]
    if depth == 0:
        return names | literals

    def joined(operators: list[str], left: Type, right: Type) -> st.SearchStrategy[str]:
        parts = (expressions(left, depth - 1), st.sampled_from(operators), expressions(right, depth - 1))
        return st.tuples(*parts).map(lambda three: f"({three[0]} {three[1]} {three[2]})")

    compound = {
        "number": [
            joined(["+", "-", "*", "/", "else"], "number", "number"),
            joined(["-"], "date", "date"),
            expressions("number", depth - 1).map("(-{})".format),
        ],
        "text": [joined(["else"], "text", "text")],
        "date": [joined(["+", "-"], "date", "number"), joined(["else"], "date", "date")],
        "truth": [
            joined(["and", "or", "else"], "truth", "truth"),
            joined(["<", "<=", ">", ">=", "=", "!="], "number", "number"),
            joined(["<", "<=", ">", ">=", "=", "!="], "date", "date"),
            joined(["=", "!=", "contains"], "text", "text"),
            expressions("truth", depth - 1).map("(not {})".format),
        ],
    }[kind]
    return st.one_of(names, literals, *compound)


unknown = st.just(Unknown("nobody knows"))
probabilities = st.floats(0, 1)
values = st.fixed_dictionaries(
    {
        "pieces": st.floats(-1e9, 1e9) | unknown,
        "price": st.floats(0, 1e300) | unknown,
        "库存": st.sampled_from([0.0, 3.0]),
        "part": st.text(max_size=20) | unknown,
        "until": st.dates() | unknown,
        "today": st.just(DAY),
        "fault": probabilities.map(lambda p: Truth(p, {"fault": 1.0})) | unknown,
        "leaving": probabilities.map(lambda p: Truth(p, {"leaving": 1.0})) | unknown,
    }
)
typed = st.sampled_from(sorted(KINDS)).flatmap(lambda kind: st.tuples(st.just(kind), expressions(kind)))  # type: ignore[arg-type]


@settings(deadline=None)
@given(typed, values)
def test_what_is_well_typed_comes_to_a_value_of_its_type_or_to_nothing(
    made: tuple[Type, str], given_values: dict[str, Value]
) -> None:
    kind, text = made
    assume(len(text) < 500)
    tree = parse(text)
    assert type_of(tree, TYPES) == kind
    value = evaluate(tree, given_values)
    assert isinstance(value, Unknown | KINDS[kind])
    if isinstance(value, Truth):
        assert -1e-9 <= value.probability <= 1 + 1e-9


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(st.sampled_from("ab12'()+-*/<=>! andornot"), max_size=60))
def test_any_text_is_an_expression_or_is_refused_in_a_sentence(text: str) -> None:
    try:
        tree = parse(text)
        type_of(tree, dict.fromkeys(names_in(tree), "truth"))
    except ExpressionError as error:
        assert str(error)  # noqa: PT017  # it need not be raised


@pytest.mark.parametrize("text", ["(" * 400, "not " * 120, "-" * 400, "1" + "+1" * 249, "a" + " and a" * 80])
def test_depth_and_length_break_nothing(text: str) -> None:
    try:
        evaluate(parse(text), {"a": Truth(0.5)})
    except ExpressionError:
        assert "1+1" not in text


@given(st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 99))
def test_arithmetic_is_that_of_numbers(a: int, b: int, c: int) -> None:
    values: dict[str, Value] = {"a": float(a), "b": float(b), "c": float(c)}
    assert evaluate(parse("a + b * c - (a - b) / c"), values) == pytest.approx(a + b * c - (a - b) / c)
    assert evaluate(parse("-a - -b"), values) == -a + b
    assert evaluate(parse("a - b < c"), values) == Truth(float(a - b < c))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("not yes or yes", Truth(1.0)),
        ("yes or yes and no", Truth(1.0)),
        ("pieces else 0 = 0", Truth(1.0)),
        ("until - today", 104.0),
        ("today + 104 = until", Truth(1.0)),
        ("today <= until", Truth(1.0)),
        ("2026-11-17 = today", Truth(1.0)),
        ("part contains 'PAD'", Truth(1.0)),
        ("库存 > 2", Truth(1.0)),
        ("no and pieces = 0", Truth(0.0)),
        ("pieces = 0 or yes", Truth(1.0)),
        ("pieces = 0", Unknown("nobody knows")),
        ("yes and pieces = 0", Unknown("nobody knows")),
        ("not (pieces = 0)", Unknown("nobody knows")),
        ("1 / 0", Unknown("something is divided by 0")),
        ("today + 99999999", Unknown("a day lies beyond the calendar")),
    ],
)
def test_an_expression_means_what_it_reads_like(text: str, expected: Value) -> None:
    values: dict[str, Value] = {"pieces": Unknown("nobody knows"), "until": date(2027, 3, 1), "today": DAY}
    values |= {"part": "brake-pad", "库存": 3.0}
    value = evaluate(parse(text), values)
    if isinstance(expected, Truth):
        assert isinstance(value, Truth)
        assert value.probability == expected.probability
    else:
        assert value == expected


@settings(deadline=None)
@given(expressions("truth"), st.floats(0.05, 0.9), st.floats(0.05, 0.9), st.sampled_from(["fault", "leaving"]))
def test_the_slopes_are_those_that_one_measures(text: str, fault: float, leaving: float, name: str) -> None:
    assume(len(text) < 500)
    tree = parse(text)
    step = 1e-6

    def at(**changed: float) -> Value:
        given_values: dict[str, Value] = {"pieces": 0.0, "price": 5.0, "库存": 1.0, "part": "x"}
        given_values |= {"until": DAY, "today": DAY}
        for node, probability in {"fault": fault, "leaving": leaving, **changed}.items():
            given_values[node] = Truth(probability, {node: 1.0})
        return evaluate(tree, given_values)

    here, there = at(), at(**{name: (fault if name == "fault" else leaving) + step})
    assume(isinstance(here, Truth) and isinstance(there, Truth))
    assert isinstance(here, Truth)
    assert isinstance(there, Truth)
    assert (there.probability - here.probability) / step == pytest.approx(here.slopes.get(name, 0.0), abs=1e-3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fault + 1", "joins a truth and a number by '+'"),
        ("pieces and fault", "joins a number and a truth by 'and'"),
        ("part = 3", "joins a text and a number by '='"),
        ("fault = yes", "joins a truth and a truth by '='"),
        ("part < 'b'", "joins a text and a text by '<'"),
        ("until * 2", "joins a date and a number by '*'"),
        ("not pieces", "has a number after 'not'"),
        ("- part", "has a text after '-'"),
        ("stok = 0", "names 'stok', which is no node"),
        ("pieces = ", "ends without a value"),
        ("pieces = 0 = 0", "does not go on with '='"),
        ("(pieces = 0", "opens a bracket"),
        ("pieces ? 0", "cannot be read from"),
        ("2026-02-30 = today", "no day of the calendar"),
        ("1" + "+1" * 300, "longer than"),
        ("(" * 80 + "1" + ")" * 80, "nested more than"),
    ],
)
def test_what_does_not_fit_is_named(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(problem)):
        type_of(parse(text), TYPES)
