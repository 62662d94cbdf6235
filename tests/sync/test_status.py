"""`outstation sync`: what a site engineer sees of the link."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from sync import keys
from sync.cli import sync
from sync.errors import LinkSettingsError
from sync.watermarks import Watermarks
from tests.sync.conftest import Journal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text('name = "mine-3"\n', "utf-8")
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(sync, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_status_says_what_waits_by_lane(folder: Path) -> None:
    assert run("status", str(folder), "--json") == ""
    journal = Journal(folder / "data" / "journal.db")
    journal.add("day", 5)
    Watermarks.open(folder / "data" / "link.db").put(1, "day", 3)
    now, day, bulk = map(msgspec.json.decode, run("status", str(folder), "--json").splitlines())
    assert (now["lane"], now["waiting"], now["oldest_s"], now["acked_at"]) == ("now", 0, None, None)
    assert (day["lane"], day["epoch"], day["acked_seq"], day["waiting"]) == ("day", 1, 3, 2)
    assert 0 <= day["oldest_s"] < 60
    assert bulk["waiting"] == 0
    assert "day" in run("status", str(folder))
    journal.close()


def test_keygen_prints_what_hq_needs(folder: Path) -> None:
    printed = run("keygen", str(folder))
    key = keys.load(folder / "secrets" / "site.key")
    assert keys.public_text(keys.parse_public(printed)) == keys.public_text(key.public_key())
    with pytest.raises(LinkSettingsError, match="already"):
        run("keygen", str(folder))
