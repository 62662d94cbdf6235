"""The vocabulary: the names of a site, and how people say or write them."""

from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import SettingsError
from edge.toml import read_toml


class Term(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is meant (`name`; of a machine, the device's name on the bus), and how it is said, by language."""

    kind: Literal["machine", "part", "person", "rival"]
    name: str
    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    term: tuple[Term, ...] = ()


def read_vocabulary(path: Path) -> tuple[Term, ...]:
    """The terms in a TOML file.

    Raises SettingsError naming file, line and key when it is absent or wrong.
    """
    terms = read_toml(path, _File).term
    names: set[tuple[str, str]] = set()
    for term in terms:
        if (term.kind, term.name) in names:
            raise SettingsError(f"{path}: there are two terms for the {term.kind} {term.name!r}; make them one.")
        if not any(said.strip() for said in (*term.en, *term.zh)):
            raise SettingsError(f"{path}: nobody says the {term.kind} {term.name!r}; add how, under en or zh.")
        names.add((term.kind, term.name))
    return terms
