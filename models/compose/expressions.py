"""The expressions of composed packs: read into a tree, and held against the types of what they name.

    either     = both { "or" both }
    both       = negation { "and" negation }
    negation   = "not" negation | comparison
    comparison = choice [ ( "=" | "!=" | "<" | "<=" | ">" | ">=" | "contains" ) choice ]
    choice     = sum { "else" sum }                        the first that is known
    sum        = product { ( "+" | "-" ) product }
    product    = sign { ( "*" | "/" ) sign }
    sign       = "-" sign | atom
    atom       = number | 'text' | 2027-03-01 | yes | no | name | "(" either ")"

There are four types (number, text, date, truth) and no conversions. The difference of two dates is a number of days.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date

import msgspec

from models.compose.manifest import Type

LONGEST, DEEPEST = 500, 50
KEYWORDS = {"and", "or", "not", "else", "contains", "yes", "no"}
NAME = re.compile(r"[^\W\d]\w*")
_TOKEN = re.compile(
    r"\s*(?:(?P<date>\d{4}-\d\d-\d\d)(?!\w)|(?P<number>\d+(?:\.\d+)?)(?!\w)|(?P<text>'[^']*')|(?P<name>[^\W\d]\w*)"
    r"|(?P<mark><=|>=|!=|[-+*/=<>()]))"
)
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "contains")


class ExpressionError(Exception):
    """What is wrong with an expression and what to do, as the end of a sentence."""


class Literal(msgspec.Struct, frozen=True):
    """A value that stands in the expression itself; a truth is 0.0 or 1.0."""

    type: Type
    value: float | str | date


class Name(msgspec.Struct, frozen=True):
    """What a node gives."""

    name: str


class Unary(msgspec.Struct, frozen=True):
    """`not` or `-` before an operand."""

    operator: str
    operand: "Expression"


class Binary(msgspec.Struct, frozen=True):
    """Two operands with what joins them."""

    operator: str
    left: "Expression"
    right: "Expression"


Expression = Literal | Name | Unary | Binary


def parse(text: str) -> Expression:
    """The tree of an expression. Raises ExpressionError."""
    if len(text) > LONGEST:
        raise ExpressionError(f"is longer than {LONGEST} characters; make nodes of its parts")
    parser = _Parser(text)
    tree = parser.either(0)
    if parser.token:
        raise ExpressionError(f"does not go on with {parser.token!r}; join it with an operator or remove it")
    return tree


def names_in(tree: Expression) -> Iterator[str]:
    """The nodes that an expression names, in the order in which they stand there."""
    match tree:
        case Name(name):
            yield name
        case Unary(_, operand):
            yield from names_in(operand)
        case Binary(_, left, right):
            yield from names_in(left)
            yield from names_in(right)


def type_of(tree: Expression, types: Mapping[str, Type]) -> Type:
    """The type of what an expression gives, by those of what it names. Raises ExpressionError."""
    match tree:
        case Literal(type=kind):
            return kind
        case Name(name):
            if name not in types:
                raise ExpressionError(f"names {name!r}, which is no node; add it or correct its spelling")
            return types[name]
        case Unary(operator, operand):
            wanted: Type = "truth" if operator == "not" else "number"
            return _wanted(operator, type_of(operand, types), wanted)
        case Binary(operator, left, right):
            return _joined(operator, type_of(left, types), type_of(right, types))


def _joined(operator: str, left: Type, right: Type) -> Type:
    match operator, left, right:
        case (("and" | "or"), "truth", "truth"):
            return "truth"
        case "else", _, _ if left == right:
            return left
        case "contains", "text", "text":
            return "truth"
        case (("=" | "!="), _, _) if left == right != "truth":
            return "truth"
        case (("<" | "<=" | ">" | ">="), _, _) if left == right and left in ("number", "date"):
            return "truth"
        case (("+" | "-" | "*" | "/"), "number", "number"):
            return "number"
        case "-", "date", "date":
            return "number"
        case (("+" | "-"), "date", "number"):
            return "date"
    raise ExpressionError(f"joins a {left} and a {right} by {operator!r}, which does not go; change one of them")


def _wanted(operator: str, came: Type, wanted: Type) -> Type:
    if came != wanted:
        raise ExpressionError(f"has a {came} after {operator!r}; put a {wanted} there")
    return wanted


class _Parser:
    """Reads one expression by recursive descent; `token` is the one to come, '' at the end."""

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._place = 0
        self.token = self._kind = ""
        self._advance()

    def _advance(self) -> None:
        if self._place == len(self._text):
            self.token = self._kind = ""
            return
        found = _TOKEN.match(self._text, self._place)
        if found is None:
            raise ExpressionError(f"cannot be read from {self._text[self._place :][:20]!r} on; correct it")
        self._kind = found.lastgroup or ""
        self.token = found.group(self._kind)
        self._place = found.end()

    def _take(self, *tokens: str) -> str:
        """The token to come, if it is one of these; else ''."""
        if self._kind not in ("name", "mark") or self.token not in tokens:
            return ""
        taken = self.token
        self._advance()
        return taken

    def either(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise ExpressionError(f"is nested more than {DEEPEST} deep; make nodes of its parts")
        tree = self._both(depth)
        while operator := self._take("or"):
            tree = Binary(operator, tree, self._both(depth))
        return tree

    def _both(self, depth: int) -> Expression:
        tree = self._negation(depth)
        while operator := self._take("and"):
            tree = Binary(operator, tree, self._negation(depth))
        return tree

    def _negation(self, depth: int) -> Expression:
        if self._take("not"):
            self._check(depth)
            return Unary("not", self._negation(depth + 1))
        return self._comparison(depth)

    def _comparison(self, depth: int) -> Expression:
        tree = self._choice(depth)
        operator = self._take(*COMPARISONS)
        return Binary(operator, tree, self._choice(depth)) if operator else tree

    def _choice(self, depth: int) -> Expression:
        tree = self._sum(depth)
        while operator := self._take("else"):
            tree = Binary(operator, tree, self._sum(depth))
        return tree

    def _sum(self, depth: int) -> Expression:
        tree = self._product(depth)
        while operator := self._take("+", "-"):
            tree = Binary(operator, tree, self._product(depth))
        return tree

    def _product(self, depth: int) -> Expression:
        tree = self._sign(depth)
        while operator := self._take("*", "/"):
            tree = Binary(operator, tree, self._sign(depth))
        return tree

    def _sign(self, depth: int) -> Expression:
        if self._take("-"):
            self._check(depth)
            return Unary("-", self._sign(depth + 1))
        return self._atom(depth)

    def _atom(self, depth: int) -> Expression:
        if self._take("("):
            tree = self.either(depth + 1)
            if not self._take(")"):
                raise ExpressionError("opens a bracket that is not closed; close it")
            return tree
        kind, token = self._kind, self.token
        if kind == "name" and token in ("yes", "no"):
            self._advance()
            return Literal("truth", float(token == "yes"))
        if kind in ("", "mark") or token in KEYWORDS:
            raise ExpressionError(f"lacks a value before {token!r}" if token else "ends without a value; add it")
        self._advance()
        match kind:
            case "number":
                return Literal("number", float(token))
            case "text":
                return Literal("text", token[1:-1])
            case "date":
                return Literal("date", _date(token))
        return Name(token)

    def _check(self, depth: int) -> None:
        if depth > DEEPEST:
            raise ExpressionError(f"is nested more than {DEEPEST} deep; make nodes of its parts")


def _date(token: str) -> date:
    try:
        return date.fromisoformat(token)
    except ValueError:
        raise ExpressionError(f"has {token!r}, which is no day of the calendar; correct it") from None
