"""What `[compose]` of a manifest says: nodes by name, and the labels made of them."""

from datetime import date
from typing import Any, Literal

import msgspec

Kind = Literal["machine", "part", "person", "rival"]
Type = Literal["number", "text", "date", "truth"]
"""A truth is a probability (0 to 1); one that comes of a comparison or a column is 0 or 1."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of `[compose]`: unknown keys are errors."""


class Part(Settings, frozen=True, kw_only=True):
    """A label of another pack: how probable it is of the turn."""

    pack: str
    label: str


class Table(Settings, frozen=True, kw_only=True):
    """Rows by a key, which is a text: a CSV file with a header, or (*.db, *.sqlite, *.sqlite3) the table `rows` of an
    SQLite file. `file` is a path in the site's folder, or, `inside` the pack, in the pack's."""

    file: str
    inside: Literal["site", "pack"] = "site"
    rows: str = ""
    key: str
    columns: dict[str, Type]


class Lookup(Settings, frozen=True, kw_only=True):
    """The cell in a column of a table, in the row whose key is what the expression `key` gives."""

    table: str
    key: str
    column: str


class Example(Settings, frozen=True, kw_only=True):
    """A turn and the labels it must get here, as the pack's self-test: `names` are those found in it by kind, `tables`
    the rows that stand in for the site's, which another site does not have and which change."""

    text: str
    labels: tuple[str, ...]
    language: str = ""
    subject: str = ""
    day: date
    names: dict[Kind, str] = {}
    tables: dict[str, tuple[dict[str, Any], ...]] = {}


class Compose(Settings, frozen=True, kw_only=True):
    """All nodes of a composed pack, each with a name of its own. `names` are the first names of a kind found in a turn;
    `values` and `labels` are expressions (models/compose/expressions.py)."""

    names: dict[str, Kind] = {}
    packs: dict[str, Part] = {}
    tables: dict[str, Table] = {}
    lookups: dict[str, Lookup] = {}
    values: dict[str, str] = {}
    labels: dict[str, str]
    examples: tuple[Example, ...]
