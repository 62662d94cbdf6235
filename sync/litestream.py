"""litestream as we run it: its settings, made from a replica's URL, and those of its commands that are safe.

`litestream sync` is not among them: asked for that, litestream lets go of its hold on the journal's log, and then loses
rows (docs/decisions/0002-a-whole-copy-at-each-start-of-the-replica.md).
"""

import http.client
import os
import re
import signal
import socket
import stat
import subprocess
import sysconfig
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from sync.errors import LinkPartMissing, LinkSettingsError, ReplicaUnusable

PROGRAM = Path(sysconfig.get_path("scripts")) / "litestream"
PROBE_S = 30.0
ASK_S = 2.0
STOP_S = 6.0
"""How long a litestream that is to end may take to send what it has; the daemon gives its children ten seconds."""

# What may stand in replica.env: S3's keys, which litestream's process finds in its environment, and what is no secret.
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
PLACES = ("SFTP_HOST_KEY", "S3_ENDPOINT", "S3_REGION")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica lies and how to get there. `settings` is litestream's table `replica`; `environment` has what is
    secret; `folder` is the replica's folder where it is one of this machine."""

    url: str
    settings: dict[str, object]
    environment: dict[str, str]
    folder: Path | None


def read_target(url: str, secrets: Path) -> Target:
    """The replica at `url`: file:///path, sftp://user@host[:port]/path or s3://bucket/path. What it takes to log in is
    in the folder `secrets`: replica.env (NAME=value a line) and for SFTP replica.key (an SSH private key).

    Raises LinkSettingsError when the URL or one of these files is wrong.
    """
    parts = urlsplit(url)
    said = _read_environment(secrets / "replica.env")
    settings: dict[str, object] = {"url": url, "sync-interval": "1s" if parts.scheme == "file" else "10s"}
    match parts.scheme:
        case "file" if parts.path.startswith("/") and not parts.netloc:
            return Target(url=url, settings=settings, environment={}, folder=Path(parts.path))
        case "sftp" if parts.hostname and parts.username and len(parts.path) > 1 and parts.password is None:
            key = secrets / "replica.key"
            _check_private(key, "the SSH key of the replica (ssh-keygen -t ed25519)")
            if "SFTP_HOST_KEY" not in said:
                raise LinkSettingsError(
                    f"{secrets / 'replica.env'}: SFTP_HOST_KEY is missing; say SFTP_HOST_KEY=ssh-ed25519 AAAA…, "
                    f"as `ssh-keyscan -t ed25519 {parts.hostname}` prints it, and compare it at the server."
                )
            return Target(
                url=url,
                settings=settings | {"key-path": str(key), "host-key": said["SFTP_HOST_KEY"]},
                environment={},
                folder=None,
            )
        case "s3" if parts.netloc:
            for place, name in (("S3_ENDPOINT", "endpoint"), ("S3_REGION", "region")):
                if place in said:
                    settings[name] = said[place]
            keys = {name: said[name] for name in KEYS if name in said}
            return Target(url=url, settings=settings, environment=keys, folder=None)
    raise LinkSettingsError(
        f"{url!r} is no place for a replica; say file:///folder, sftp://user@host/folder or s3://bucket/folder "
        "(the password or key goes into secrets/)."
    )


def _read_environment(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    _check_private(path, "the replica's keys")
    said = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or name.strip() not in (*KEYS, *PLACES):
            raise LinkSettingsError(
                f"{path}:{number}: {name.strip()[:40]!r} is not known; there are {', '.join((*KEYS, *PLACES))}."
            )
        said[name.strip()] = value.strip().strip("\"'")
    return said


def _check_private(path: Path, what: str) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        raise LinkSettingsError(f"{path} is not there; put {what} into it.") from None
    if mode & 0o077:
        raise LinkSettingsError(f"{path}: others may read it (mode {mode:04o}); run chmod 600 on it.")


class Litestream:
    """litestream for one database and one target; what it needs to run lies in `folder`, which is made if need be."""

    def __init__(self, database: Path, target: Target, folder: Path) -> None:
        self.database = database.resolve()
        self.target = target
        self._folder = folder.resolve()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config = self._folder / "litestream.json"
        self._config.unlink(missing_ok=True)
        with os.fdopen(os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self._settings())))  # JSON is YAML

    def _settings(self) -> dict[str, object]:
        return {
            # How litestream begins, which sync.replica has to know, it says only to who debugs it.
            "logging": {"level": "debug", "type": "json", "stderr": True},
            # Relative: a socket's whole path may not be longer than 107 bytes, and a site's folder may.
            "socket": {"enabled": True, "path": "socket", "permissions": 0o600},
            # Each snapshot is as large as the journal, compressed: two days are two or three of them.
            "snapshot": {"interval": "24h", "retention": "48h"},
            "shutdown-sync-timeout": f"{STOP_S:g}s",
            "dbs": [
                {
                    "path": str(self.database),
                    # SQLite hands a lock to whoever asks at the right moment: under a writer that commits without a
                    # pause litestream's own second was not always enough.
                    "busy-timeout": "10s",
                    "replica": self.target.settings,
                }
            ],
        }

    # ---- the process -------------------------------------------------------------------------------------------

    def start(self, held: int) -> "subprocess.Popen[bytes]":
        """litestream at work on the database; it keeps the file descriptor `held` open, and dies with this thread.

        Raises LinkPartMissing when there is no such program.
        """
        (self._folder / "socket").unlink(missing_ok=True)
        try:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self._command("replicate")],
                env=self._environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(held,),
            )
        except OSError as fault:
            raise LinkPartMissing(f"litestream cannot be started ({fault}); install Outstation anew.") from None

    def last_sync(self) -> str:
        """When the running litestream brought the replica up to date last, in its words; '' when it does not say."""
        connection = http.client.HTTPConnection("litestream", timeout=ASK_S)
        try:
            connection.sock = self._connect()
            connection.request("GET", "/list")
            found = re.search(rb'"last_sync_at":"([^"]+)"', connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()
        return found[1].decode("ascii", "replace") if found else ""

    def _connect(self) -> socket.socket:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ASK_S)
        try:
            connection.connect(f"/proc/self/fd/{folder}/socket")  # short, however long the folder's path is
        except OSError:
            connection.close()
            raise
        finally:
            os.close(folder)
        return connection

    # ---- commands that end -------------------------------------------------------------------------------------

    def probe(self) -> str:
        """'' when the target answers, else why not. A folder must be there already: an unmounted disk is not filled in
        its place."""
        if self.target.folder is not None:
            if self.target.folder.is_dir() and os.access(self.target.folder, os.W_OK | os.X_OK):
                return ""
            return f"{self.target.folder} is not a folder that can be written; mount its disk, or make it"
        done = self._run("ltx")
        return "" if done.returncode == 0 else _last_words(done.stderr)

    def reset(self) -> None:
        """Forget what litestream has of the database locally; without that no torn file of its own can stop it."""
        self._run("reset")

    def waiting_bytes(self) -> int:
        """How much litestream's own files and the database's log take, but for the whole copy that it began with: the
        first of its files."""
        own = self.database.with_name(f".{self.database.name}-litestream")
        changes = sorted(own.glob("ltx/0/*.ltx"))[1:]
        return sum(_size(path) for path in (*changes, self.database.with_name(f"{self.database.name}-wal")))

    def restore(self, to: Path) -> None:
        """Make the file `to`, which must not be there, of the newest state that the replica has, checked from end to
        end. Raises ReplicaUnusable, and leaves nothing, when there is no replica, it does not answer or is damaged."""
        done = self._run("restore", "-integrity-check", "full", "-o", str(to.resolve()), timeout_s=None)
        if done.returncode == 0:
            return
        for leftover in to.parent.glob(f"{to.name}*"):
            if leftover.is_file():
                leftover.unlink()
        raise ReplicaUnusable(
            f"the replica at {self.target.url} cannot be restored: {_last_words(done.stderr)}; "
            "name another place that has a copy with --from."
        )

    def _run(self, name: str, *options: str, timeout_s: float | None = PROBE_S) -> "subprocess.CompletedProcess[str]":
        command = [*self._command(name), *options, str(self.database)]
        try:
            return subprocess.run(
                command,
                env=self._environment(),
                cwd=self._folder,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"no answer within {timeout_s:g} s")
        except OSError as fault:
            raise LinkPartMissing(f"litestream cannot be started ({fault}); install Outstation anew.") from None

    def _command(self, name: str) -> list[str]:
        return [str(PROGRAM), name, "-no-expand-env", "-config", str(self._config)]

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "GOMEMLIMIT": "160MiB", **self.target.environment}


def end(process: "subprocess.Popen[bytes]", *, politely: bool) -> None:
    """End litestream: asked first, so that it sends what it has, or at once; gone when this returns."""
    if politely:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S + 2)
        except subprocess.TimeoutExpired:
            politely = False
    if not politely:
        process.kill()
        process.wait()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it was put away just now
        return 0


def _last_words(stderr: str) -> str:
    lines = [line.removeprefix("Error: ") for line in stderr.strip().splitlines()]
    return lines[-1].rstrip(".") if lines else "it does not say why"
