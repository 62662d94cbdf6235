"""What the link needs to know of a site folder; it reads site.toml for itself, because it knows no part of edge."""

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from sync.errors import LinkSettingsError
from sync.protocol import SiteName


class Hq(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [hq]: where HQ's broker is."""

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8481
    supervised: bool = True  # by the daemon, which reads it; here it is only known


class _SiteToml(msgspec.Struct, frozen=True, kw_only=True):
    """The part of site.toml that concerns the link; the daemon checks the rest."""

    name: SiteName
    hq: Hq | None = None


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A site as the link sees it. `hq` is None where site.toml has no table [hq]: then nothing leaves the site."""

    site: str
    hq: Hq | None
    journal: Path
    link_db: Path
    key: Path


def read_settings(folder: Path) -> LinkSettings:
    """The settings of the site in `folder`; raises LinkSettingsError naming the file and the key that is wrong."""
    path = folder / "site.toml"
    try:
        toml = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _SiteToml)
    except FileNotFoundError:
        raise LinkSettingsError(f"{path} is not there; make a site folder with `outstation init DIR`.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as fault:
        raise LinkSettingsError(f"{path}: {fault}.") from None
    return LinkSettings(
        site=toml.name,
        hq=toml.hq,
        journal=folder / "data" / "journal.db",
        link_db=folder / "data" / "link.db",
        key=folder / "secrets" / "site.key",
    )
