"""What the link needs to know of a site folder; it reads site.toml for itself, because it knows no part of edge."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from sync.errors import LinkSettingsError
from sync.protocol import SiteName


class Hq(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [hq]: where HQ's brokers are (any of them will do), and from which end a backlog is sent."""

    hosts: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=16)] = ("127.0.0.1",)
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8481
    backlog: Literal["newest", "oldest"] = "newest"
    supervised: bool = True  # by the daemon, which reads it; here it is only known


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the table [replica] that HQ is told."""

    url: str


class _SiteToml(msgspec.Struct, frozen=True, kw_only=True):
    """The part of site.toml that concerns the link; the daemon checks the rest."""

    name: SiteName
    hq: Hq | None = None
    replica: Replica | None = None


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A site as the link sees it. `hq` is None where site.toml has no table [hq]: then nothing leaves the site.

    What enrolment wrote lies in secrets/: `key` signs and is the key of the TLS certificate `certificate`, `hq_ca` is
    what HQ's broker is known by, `hq_key` what HQ signs with. `downlink` is where orders are staged for the daemon.
    """

    site: str
    hq: Hq | None
    replica: str
    journal: Path
    link_db: Path
    downlink: Path
    key: Path
    certificate: Path
    hq_ca: Path
    hq_key: Path


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
        replica=toml.replica.url if toml.replica else "",
        journal=folder / "data" / "journal.db",
        link_db=folder / "data" / "link.db",
        downlink=folder / "data" / "downlink",
        key=folder / "secrets" / "site.key",
        certificate=folder / "secrets" / "site.crt",
        hq_ca=folder / "secrets" / "hq-ca.crt",
        hq_key=folder / "secrets" / "hq.pub",
    )
