"""The sample site's journal, replicated by litestream as it ships and restored, is the same journal."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import OUTSTATION
from tests.firmware.replica import assert_replicates


def test_the_sample_sites_journal_comes_back_from_its_replica(make_site: Callable[..., Path], tmp_path: Path) -> None:
    site = make_site()
    for recording in [*(site / "inbox").glob("*.wav"), *(site / "inbox").glob("*.flac")]:
        recording.unlink()  # an hour of readings is journal enough
    subprocess.run([*OUTSTATION, "run", "--once", str(site)], check=True, capture_output=True)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with (site / "site.toml").open("a", encoding="utf-8") as settings:
        settings.write(f'\n[replica]\nurl = "{(scratch / "replica").as_uri()}"\n')
    assert_replicates(site, scratch)
