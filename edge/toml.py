"""TOML files into typed, frozen settings; an unknown or wrong key is one sentence with its file and line."""

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from edge.errors import SettingsError

T = TypeVar("T")

_HEADER = re.compile(r"\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*(?:\.[\w.\s"'-]+)?=""")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_PATH = re.compile(r" - at `\$?([^`]*)`$")


def read_toml(path: Path, kind: type[T]) -> T:
    """The settings in a TOML file as a `kind`.

    Raises SettingsError naming file, line and key when the file is absent, is not TOML, or does not fit the type.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path} is not there; make a site folder with `outstation init DIR`.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path} cannot be read as UTF-8 text ({error}); save it as UTF-8.") from None
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: this is not TOML: {error}.") from None
    except msgspec.ValidationError as error:
        raise _explain(path, text, str(error)) from None


def _explain(path: Path, text: str, message: str) -> SettingsError:
    """msgspec's message as our sentence: `file:line: key: what is wrong`."""
    found = _PATH.search(message)
    steps = re.findall(r"[\w-]+|\[\d+\]|\[\.\.\.\]", found.group(1)) if found else []
    what = _PATH.sub("", message)
    unknown = _UNKNOWN.search(what)
    if unknown:
        steps.append(unknown.group(1))
        what = "this key is not known; remove it or correct its spelling"
    key = ".".join(step for step in steps if not step.startswith("[")) or "the file"
    return SettingsError(f"{path}:{line_of(text, steps)}: {key}: {what}.")


def line_of(text: str, steps: list[str]) -> int:
    """The 1-based line of a TOML text on which the key at `steps` stands (`[2]`: the third table of an array).

    A key that is missing has no line: then it is the line of the innermost table that is there.
    """
    names = [step for step in steps if not step.startswith("[")]
    places = [int(step[1:-1]) if step[1:-1].isdigit() else 0 for step in steps if step.startswith("[")]
    best_line, best_depth = 1, 0
    table: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            name = header.group(1).strip()
            table = [part.strip().strip("\"'") for part in name.split(".")]
            if line.lstrip().startswith("[["):
                seen[name] = seen.get(name, -1) + 1
                for inner in [other for other in seen if other.startswith(name + ".")]:
                    del seen[inner]
        key = None if header else _KEY.match(line)
        here = [*table, key.group(1)] if key else table
        depth = len(here)
        if here != names[:depth] or depth <= best_depth:
            continue
        arrays = [
            index for name, index in sorted(seen.items(), key=lambda item: item[0].count(".")) if _within(name, names)
        ]
        if arrays == places[: len(arrays)]:
            best_line, best_depth = number, depth
    return best_line


def _within(name: str, names: list[str]) -> bool:
    parts = name.split(".")
    return names[: len(parts)] == parts
