"""What expressions come to: plain values, truths with their slopes, or nothing, with the reason why.

A truth is a probability. `and` multiplies, `or` is its counterpart (1 - the product of what is left), so whatever makes
one operand less probable makes the whole less probable: all parts of a label are its evidence. The least of them would
be deaf to all but one. The product is that of independent things; of things that go together, as two labels of one
turn do, the truth is more probable than it (at most the least), so it errs towards silence.
"""

import math
import operator as op
from collections.abc import Callable, Mapping
from datetime import date, timedelta

import msgspec

from models.compose.expressions import Binary, Expression, Literal, Name, Unary


class Truth(msgspec.Struct, frozen=True):
    """A probability (0 to 1), and how much it rises with that of each part, by the part's node."""

    probability: float
    slopes: Mapping[str, float] = {}


class Unknown(msgspec.Struct, frozen=True):
    """No value, and why, as a sentence without its full stop."""

    why: str


Value = float | str | date | Truth | Unknown

_COMPARE: dict[str, Callable[[object, object], bool]] = {
    "=": op.eq,
    "!=": op.ne,
    "<": op.lt,  # type: ignore[dict-item]  # the types were held against each other at load
    "<=": op.le,  # type: ignore[dict-item]
    ">": op.gt,  # type: ignore[dict-item]
    ">=": op.ge,  # type: ignore[dict-item]
}


def evaluate(tree: Expression, values: Mapping[str, Value]) -> Value:
    """What an expression whose types fit comes to, by the values of what it names. Unknown is not known to be anything:
    only where it cannot matter (no and …, yes or …, … else …) something comes of it."""
    match tree:
        case Literal(type="truth", value=value):
            return Truth(float(value))  # type: ignore[arg-type]
        case Literal(value=value):
            return value
        case Name(name):
            return values[name]
        case Unary(operator, operand):
            operate = _not if operator == "not" else _negative
            return operate(evaluate(operand, values))
        case Binary(operator, left, right):
            return _binary(operator, evaluate(left, values), evaluate(right, values))


def _negative(value: Value) -> Value:
    return -value if isinstance(value, float) else value


def _binary(operator: str, left: Value, right: Value) -> Value:
    match operator:
        case "else":
            return right if isinstance(left, Unknown) else left
        case "and":
            return _and(left, right)
        case "or":
            return _not(_and(_not(left), _not(right)))
    for value in (left, right):
        if isinstance(value, Unknown):
            return value
    if operator == "contains":
        assert isinstance(left, str)
        assert isinstance(right, str)
        return Truth(float(right.casefold() in left.casefold()))
    if operator in _COMPARE:
        return Truth(float(_COMPARE[operator](left, right)))
    return _calculated(operator, left, right)


def _and(left: Value, right: Value) -> Value:
    for value in (left, right):
        if isinstance(value, Truth) and value.probability == 0.0:
            return value
    for value in (left, right):
        if isinstance(value, Unknown):
            return value
    assert isinstance(left, Truth)
    assert isinstance(right, Truth)
    slopes = {
        part: left.slopes.get(part, 0.0) * right.probability + right.slopes.get(part, 0.0) * left.probability
        for part in {**left.slopes, **right.slopes}
    }
    return Truth(left.probability * right.probability, slopes)


def _not(value: Value) -> Value:
    if not isinstance(value, Truth):
        return value
    return Truth(1.0 - value.probability, {part: -slope for part, slope in value.slopes.items()})


def _calculated(operator: str, left: Value, right: Value) -> Value:
    """Numbers and days; what no number or calendar holds is unknown."""
    try:
        match operator, left, right:
            case "-", date(), date():
                return float((left - right).days)
            case "+", date(), float():
                return left + timedelta(days=right)
            case "-", date(), float():
                return left - timedelta(days=right)
            case "+", float(), float():
                result = left + right
            case "-", float(), float():
                result = left - right
            case "*", float(), float():
                result = left * right
            case "/", float(), float():
                result = left / right
            case _:
                raise AssertionError(operator)
    except ZeroDivisionError:
        return Unknown("something is divided by 0")
    except (OverflowError, ValueError):
        return Unknown("a day lies beyond the calendar")
    return result if math.isfinite(result) else Unknown("a number is too large")
