"""A site enrols by a code that is good once, and nobody in between learns it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.certificates import open_authority
from sync.enrol import new_code, parse_code
from sync.errors import LinkSettingsError
from sync.hq.enrolment import TRIES, TRIES_WITHIN_S, Tries
from tests.hq.running import RunningHq, code_parts, enrol, make_site


@pytest.fixture(scope="module")
def hq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHq]:
    running = RunningHq(tmp_path_factory.mktemp("at") / "hq")
    running.start()
    yield running
    running.kill()


def test_enrolment_writes_what_the_link_needs_and_no_one_else_may_read_it(hq: RunningHq, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", "first")
    assert enrol(site, hq.invite("first")).returncode == 0
    files = {path.name: path.stat().st_mode & 0o777 for path in (site / "secrets").iterdir()}
    assert files == dict.fromkeys(["site.key", "site.pub", "site.crt", "hq-ca.crt", "hq.pub"], 0o600)
    assert f"port = {hq.mqtt_port}" in (site / "site.toml").read_text()


def test_a_code_works_once_but_survives_a_lost_answer(hq: RunningHq, tmp_path: Path) -> None:
    code = hq.invite("once")
    ours = make_site(tmp_path / "ours", "once")
    assert [enrol(ours, code).returncode for _ in range(2)] == [0, 0]
    theirs = enrol(make_site(tmp_path / "theirs", "once"), code)
    assert (theirs.returncode, "used before" in theirs.stderr) == (2, True)


def test_a_code_is_for_one_site(hq: RunningHq, tmp_path: Path) -> None:
    refused = enrol(make_site(tmp_path / "site", "another"), hq.invite("meant"))
    assert (refused.returncode, "no invitation" in refused.stderr) == (2, True)


def test_a_new_code_replaces_the_key(hq: RunningHq, tmp_path: Path) -> None:
    for box in ("old", "new"):
        assert enrol(make_site(tmp_path / box, "moved"), hq.invite("moved")).returncode == 0
    keys = dict(hq.select("SELECT key, revoked_at IS NULL FROM keys WHERE site = 'moved'"))
    assert keys == {
        (tmp_path / box / "secrets" / "site.pub").read_text().strip(): box == "new" for box in ("old", "new")
    }


def test_who_is_not_the_hq_of_the_code_gets_nothing(hq: RunningHq, tmp_path: Path) -> None:
    address, _ = code_parts(hq.invite("deceived"))
    elsewhere = new_code(address, open_authority(tmp_path / "other").pem)
    site = make_site(tmp_path / "site", "deceived")
    refused = enrol(site, str(elsewhere))
    assert (refused.returncode, "is not the HQ that made this code" in refused.stderr) == (2, True)
    assert not (site / "secrets" / "hq-ca.crt").exists()


def test_a_mistyped_code_is_told_from_a_wrong_one(tmp_path: Path) -> None:
    code = new_code("hq.example:8482", open_authority(tmp_path).pem)
    address, digits = code_parts(str(code))
    assert parse_code(f"{address}/{digits}") == parse_code(f" {address}/{digits.lower().replace('-', ' ')}\n") == code
    assert parse_code(f"{address}/{digits.replace('0', 'O').replace('1', 'l')}") == code
    text = str(code)
    changed = text[:-1] + ("0" if text[-1] != "0" else "4")
    for wrong in (changed, text.replace("8482", "8483"), text[:-6]):
        with pytest.raises(LinkSettingsError, match="mistyped"):
            parse_code(wrong)
    for wrong in ("", "hello", "hq.example/ABCDE", "hq.example:0/ABCDE"):
        with pytest.raises(LinkSettingsError, match="no enrolment code"):
            parse_code(wrong)


def test_an_address_may_try_so_often_only() -> None:
    tries = Tries()
    assert [tries.allow("a", 0.0) for _ in range(TRIES + 1)] == [True] * TRIES + [False]
    assert tries.allow("b", 1.0)
    assert tries.allow("a", TRIES_WITHIN_S + 1)
