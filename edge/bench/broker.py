"""mosquitto with the configuration that ships, in a folder of its own and on a free port of loopback."""

import getpass
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.bench.programs import FIRMWARE, program
from edge.bench.waiting import answers, free_port
from edge.errors import MissingPart

DEADLINE_S = 10.0


class Broker:
    """A broker in `folder` with the names `passwords` says; `site_settings` is what a site's own site.conf would say.

    To be used in a `with`, which ends it.
    """

    def __init__(self, folder: Path, passwords: dict[str, str], site_settings: str = "") -> None:
        if not FIRMWARE.is_dir():
            raise MissingPart(f"{FIRMWARE} is not there; run this from a checkout, which has the broker's settings.")
        self.port = free_port()
        self._folder = folder
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        settings = folder / "conf.d"
        settings.mkdir(parents=True)
        shutil.copy(FIRMWARE / "mosquitto" / "outstation.acl", folder)
        shipped = (FIRMWARE / "mosquitto" / "outstation.conf").read_text()
        shipped = shipped.replace("listener 1883 127.0.0.1\n", f"listener {self.port} 127.0.0.1\n")
        (settings / "outstation.conf").write_text(
            shipped.replace("/etc/mosquitto/outstation.", f"{folder}/outstation.")
        )
        (settings / "site.conf").write_text(site_settings)
        # What Debian's own mosquitto.conf says, but for the log and the user: started by root it becomes its own.
        self._config.write_text(
            f"persistence true\npersistence_location {folder}/\nlog_dest stderr\n"
            f"include_dir {settings}\nuser {getpass.getuser()}\n"
        )
        names = folder / "outstation.passwd"
        names.write_text("".join(f"{name}:{password}\n" for name, password in passwords.items()))
        names.chmod(0o600)
        subprocess.run([program("mosquitto_passwd"), "-U", str(names)], check=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process's id, while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([program("mosquitto"), "-c", str(self._config)], stderr=log)
        deadline_s = time.monotonic() + DEADLINE_S
        while not answers(self.port):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline_s, (self._folder / "log").read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
