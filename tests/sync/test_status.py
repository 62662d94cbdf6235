"""`outstation sync status` and `flush`: what a site engineer sees of the link."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from sync.cli import sync
from sync.linkdb import LinkDb, LinkState
from sync.ranges import Ranges
from tests.sync.site_end import Journal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text('name = "mine-3"\n[hq]\n', "utf-8")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(sync, arguments, catch_exceptions=False)


def test_status_says_what_waits_by_lane_and_why(folder: Path) -> None:
    journal = Journal(folder / "data" / "journal.db")
    journal.add("day", 5)
    linkdb = LinkDb.open(folder / "data" / "link.db")
    linkdb.keep({(1, "day"): Ranges(((1, 1), (4, 4)))}, LinkState(), [])
    *lanes, link = map(msgspec.json.decode, run("status", str(folder), "--json").output.splitlines())
    waiting = {lane["lane"]: lane["waiting"] for lane in lanes}
    assert waiting == {"now": 0, "day": 3, "bulk": 0}
    day = lanes[1]
    assert day["waiting_bytes"] > 100
    assert (day["newest_seq"], day["eta_s"]) == (5, None)
    assert "sync enrol" in link["reason"]
    assert "day" in run("status", str(folder)).output
    linkdb.close()
    journal.close()


def test_flush_fails_with_a_reason_while_no_link_runs_and_succeeds_when_nothing_waits(folder: Path) -> None:
    assert run("flush", str(folder)).exit_code == 0
    journal = Journal(folder / "data" / "journal.db")
    journal.add("now", 2)
    failed = run("flush", str(folder))
    assert failed.exit_code == 1
    assert "2 records still wait" in failed.output
    journal.close()
