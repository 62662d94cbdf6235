"""The nodes of a composed pack, held against each other and put into the order in which they can be worked out."""

from collections.abc import Iterator, Mapping

import msgspec

from models.compose.expressions import KEYWORDS, NAME, Expression, ExpressionError, names_in, parse, type_of
from models.compose.manifest import Compose, Type
from models.errors import PackInvalid

TURN: dict[str, Type] = {"text": "text", "subject": "text", "today": "date"}
"""What every turn has: its words, the customer or device that it is about, and the day on which it was said."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is worked out of a turn: the expressions of the nodes that have one (of a lookup, of its key), each after
    those that it names; `labels`, and by label all nodes it is made of, in the order of the work."""

    expressions: dict[str, Expression]
    labels: dict[str, Expression]
    made_of: dict[str, tuple[str, ...]]


def plan(compose: Compose, where: str) -> Plan:
    """Check all nodes and order them; `where` is the manifest. Raises PackInvalid naming manifest and node when a name
    is taken or unknown, a type does not fit, or nodes go round in a circle."""
    _check_names(compose, where)
    _check_tables(compose, where)
    sources = {
        **{f"compose.lookups.{name}.key": (name, lookup.key) for name, lookup in compose.lookups.items()},
        **{f"compose.values.{name}": (name, text) for name, text in compose.values.items()},
    }
    trees = {name: _parsed(text, f"{where}: {place}") for place, (name, text) in sources.items()}
    labels = {name: _parsed(text, f"{where}: compose.labels.{name}") for name, text in compose.labels.items()}
    known = {*TURN, *compose.names, *compose.packs, *compose.lookups, *compose.values}
    needs = {name: tuple(name for name in names_in(tree) if name in known) for name, tree in trees.items()}
    order = _ordered(needs, where)
    types: dict[str, Type] = {**TURN, **dict.fromkeys(compose.names, "text"), **dict.fromkeys(compose.packs, "truth")}
    types |= {name: compose.tables[one.table].columns[one.column] for name, one in compose.lookups.items()}
    places = {name: place for place, (name, _) in sources.items()}
    for name in order:
        came = _type(trees[name], types, f"{where}: {places[name]}")
        if name in compose.values:
            types[name] = came
        elif came != "text":
            raise PackInvalid(f"{where}: {places[name]} gives a {came}, and keys are texts; give a text.")
    for name, tree in labels.items():
        came = _type(tree, types, f"{where}: compose.labels.{name}")
        if came != "truth":
            raise PackInvalid(f"{where}: compose.labels.{name} gives a {came}; compare it, so that it is true or not.")
    return Plan(
        expressions={name: trees[name] for name in order},
        labels=labels,
        made_of={name: _made_of(tree, needs, order) for name, tree in labels.items()},
    )


def _check_names(compose: Compose, where: str) -> None:
    taken = dict.fromkeys(TURN, "what every turn has")
    sections: dict[str, Mapping[str, object]] = {
        "names": compose.names,
        "packs": compose.packs,
        "lookups": compose.lookups,
        "values": compose.values,
    }
    for section, nodes in sections.items():
        for name in nodes:
            if not NAME.fullmatch(name) or name in KEYWORDS:
                raise PackInvalid(
                    f"{where}: compose.{section}.{name} is no name for a node; use letters, digits and _, beginning "
                    f"with a letter, and none of {', '.join(sorted(KEYWORDS))}."
                )
            if name in taken:
                raise PackInvalid(f"{where}: compose.{section}.{name} has the name of {taken[name]}; rename one.")
            taken[name] = f"compose.{section}.{name}"


def _check_tables(compose: Compose, where: str) -> None:
    for name, lookup in compose.lookups.items():
        place = f"{where}: compose.lookups.{name}"
        table = compose.tables.get(lookup.table)
        if table is None:
            raise PackInvalid(f"{place} looks into {lookup.table!r}, which is no table; add it to compose.tables.")
        if lookup.column not in table.columns:
            raise PackInvalid(
                f"{place} wants the column {lookup.column!r}, which compose.tables.{lookup.table} does not declare; "
                "add it there."
            )


def _parsed(text: str, place: str) -> Expression:
    try:
        return parse(text)
    except ExpressionError as error:
        raise PackInvalid(f"{place} {error}.") from None


def _type(tree: Expression, types: Mapping[str, Type], place: str) -> Type:
    try:
        return type_of(tree, types)
    except ExpressionError as error:
        raise PackInvalid(f"{place} {error}.") from None


def _ordered(needs: Mapping[str, tuple[str, ...]], where: str) -> tuple[str, ...]:
    """Each node after those that it needs; without recursion, since a manifest may chain thousands of them."""
    order: dict[str, None] = {}
    for first in needs:
        path: list[tuple[str, Iterator[str]]] = [(first, iter(needs[first]))] if first not in order else []
        while path:
            name, rest = path[-1]
            following = next((need for need in rest if need in needs and need not in order), None)
            if following is None:
                order[name] = None
                path.pop()
                continue
            on_path = [one for one, _ in path]
            if following in on_path:
                circle = " → ".join([*on_path[on_path.index(following) :], following])
                raise PackInvalid(f"{where}: the nodes {circle} need each other in a circle; break it.")
            path.append((following, iter(needs[following])))
    return tuple(order)


def _made_of(tree: Expression, needs: Mapping[str, tuple[str, ...]], order: tuple[str, ...]) -> tuple[str, ...]:
    found = set(names_in(tree))
    for name in reversed(order):
        if name in found:
            found.update(needs[name])
    basis = sorted(found - set(order))
    return (*basis, *(name for name in order if name in found))
