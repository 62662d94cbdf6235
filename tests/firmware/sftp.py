"""An SFTP server of our own on loopback, with keys of its own: where a replica may go."""

import getpass
import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.bench.programs import program
from edge.bench.waiting import answers, free_port, until


class SftpServer:
    """sshd, which serves whoever has `secrets`/replica.key; its files lie in `folder`. To be used in a `with`."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        self.port = free_port()
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        self._config = folder / "sshd_config"
        self._log = folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None
        secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        for key in (folder / "host_key", secrets / "replica.key"):
            subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        self._environment = secrets / "replica.env"
        self.trusts(host_key)
        (folder / "authorized").write_bytes((secrets / "replica.key.pub").read_bytes())
        self._config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )

    @property
    def url(self) -> str:
        """Where the replica goes."""
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{self.files}"

    def trusts(self, host_key: str) -> None:
        """Make the site take only a server that shows this key."""
        self._environment.write_text(f"SFTP_HOST_KEY={host_key}\n")
        self._environment.chmod(0o600)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, which its service would make
        command = [program("sshd"), "-D", "-e", "-f", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, start_new_session=True)
        until(lambda: answers(self.port), self._log.read_text())

    def kill(self) -> None:
        """End it and every session."""
        if self._process is not None:
            sessions = _descendants(self._process.pid)
            self._process.kill()
            self._process.wait()
            self._process = None
            for session in sessions:
                try:
                    os.kill(session, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*children, *(below for child in children for below in _descendants(child))]
