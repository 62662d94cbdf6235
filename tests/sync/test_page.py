"""HQ's page and commands, as a person at HQ meets them."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import httpx
import msgspec
import pytest
from click.testing import CliRunner

from sync.envelope import Header
from sync.errors import LinkSettingsError
from sync.hq.cli import hq
from sync.hq.store import QUARANTINE_BYTES, QUARANTINE_ROWS, Arrival, Store
from sync.protocol import Ack, State
from tests.sync.conftest import free_port, outstation

KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
OTHER_KEY = "dJ/byI+Z22WxkwR2a8nl4isX7YtzeNfXjAGfRLUmtHc="
ID = "01a20513-3cd0-7407-8f39-06b5c323947d"


def header(site: str, first_seq: int, last_seq: int) -> Header:
    return Header(
        site=site,
        epoch=1,
        lane="now",
        first_seq=first_seq,
        last_seq=last_seq,
        count=last_seq - first_seq + 1,
        key_id="",
    )


def arrivals(first_seq: int, last_seq: int, text: str = "") -> list[Arrival]:
    record = msgspec.json.encode({"text": text}).decode()
    return [Arrival(seq, "event", ID, record) for seq in range(first_seq, last_seq + 1)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "hq.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The page of a running HQ with two sites, of which one has sent a record."""
    folder = tmp_path_factory.mktemp("hq")
    store = Store.open(folder / "hq.db")
    store.enrol("矿山-3", KEY)
    store.enrol("quiet", OTHER_KEY)
    with store.transaction():
        store.apply(header("矿山-3", 1, 2), arrivals(1, 2, "<script>alert(1)</script>"))
        store.note_state("矿山-3", State(state="up", connection="a", at=1), retained=False)
        store.quarantine("<b>", "the signature of site <b> does not hold.", b"junk")
    store.close()
    process = outstation(folder, "hq", "run", "--dir", folder, "--port", 0, "--mqtt-port", free_port())
    process.start()
    try:
        with httpx.Client(base_url=process.address(), trust_env=False) as client:
            yield client
    finally:
        process.clean_up()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["Sites", "矿山-3", "up", "now · event <b>2</b>", "never heard of", "Messages refused: 1"]),
        ("zh", ["站点", "矿山-3", "在线", "即时 · 事件 <b>2</b>", "从未上线", "被拒绝的消息：1"]),
    ],
)
def test_the_page_shows_every_site_in_both_languages(page: httpx.Client, language: str, words: list[str]) -> None:
    text = page.get("/", params={"lang": language}).raise_for_status().text
    for word in words:
        assert word in text


def test_the_page_speaks_the_browser_s_language_unless_asked_otherwise(page: httpx.Client) -> None:
    assert "站点" in page.get("/", headers={"Accept-Language": "zh-CN,zh;q=0.9"}).text
    assert "Sites" in page.get("/?lang=en", headers={"Accept-Language": "zh-CN"}).text


def test_what_sites_say_cannot_become_markup(page: httpx.Client) -> None:
    text = page.get("/").text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert "site &lt;b&gt; does not hold" in text


def test_nothing_comes_from_outside_and_nothing_else_may_read_it(page: httpx.Client) -> None:
    answer = page.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "//" not in answer.text
    for asset in ("/page.css", "/page.js"):
        assert f'"{asset}"' in answer.text
        assert page.get(asset).status_code == 200
    assert page.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert page.get("/", headers={"Host": "localhost:9999"}).status_code == 200


def test_the_json_says_what_the_page_shows(page: httpx.Client) -> None:
    answer = page.get("/api/sites").json()
    assert [(site["site"], site["state"]) for site in answer["sites"]] == [("quiet", None), ("矿山-3", "up")]
    assert answer["sites"][1]["records"] == [{"kind": "event", "lane": "now", "records": 2}]
    assert answer["sites"][1]["watermarks"] == [{"epoch": 1, "lane": "now", "last_seq": 2}]
    assert answer["refused"] == 1
    (record,) = page.get("/api/records", params={"limit": 1}).json()["records"]
    assert (record["seq"], record["record"]) == (2, {"text": "<script>alert(1)</script>"})
    assert page.get("/api/records", params={"limit": 100_000}).status_code == 400


def test_a_record_is_kept_once_and_never_behind_a_gap(store: Store) -> None:
    def apply(first_seq: int, last_seq: int) -> Ack:
        with store.transaction():
            return store.apply(header("s", first_seq, last_seq), arrivals(first_seq, last_seq))

    assert apply(1, 3) == Ack(epoch=1, lane="now", last_seq=3)
    assert apply(5, 6) == Ack(epoch=1, lane="now", last_seq=3, resend=True)
    assert apply(2, 4) == Ack(epoch=1, lane="now", last_seq=4)
    assert apply(1, 3) == Ack(epoch=1, lane="now", last_seq=4)
    assert [record.seq for record in store.newest(10)] == [4, 3, 2, 1]


def test_what_fails_in_between_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.transaction():
            store.apply(header("s", 1, 2), arrivals(1, 2))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.newest(10) == []
    with store.transaction():
        assert store.apply(header("s", 1, 1), arrivals(1, 1)).last_seq == 1


def test_the_quarantine_is_bounded(store: Store) -> None:
    with store.transaction():
        for n in range(QUARANTINE_ROWS + 20):
            store.quarantine("s", f"reason {n}", bytes(QUARANTINE_BYTES + 1) if n < 2 else b"junk")
    assert store.refused() == QUARANTINE_ROWS + 20
    assert len(store.newest_refusals(10**6)) == QUARANTINE_ROWS
    assert store.newest_refusals(1)[0].reason == f"reason {QUARANTINE_ROWS + 19}"


def test_the_late_death_of_an_old_connection_is_no_death(store: Store) -> None:
    def say(state: str, connection: str) -> str | None:
        with store.transaction():
            said = msgspec.convert({"state": state, "connection": connection, "at": 1}, State)
            store.note_state("s", said, retained=False)
        return store.sites()[0].state

    store.enrol("s", KEY)
    assert say("up", "first") == "up"
    assert say("up", "second") == "up"
    assert say("down", "first") == "up"
    assert say("down", "second") == "down"
    assert say("up", "second") == "down"
    assert say("up", "third") == "up"


def test_another_key_needs_the_old_one_revoked(store: Store) -> None:
    store.enrol("s", KEY)
    store.enrol("s", KEY)
    with pytest.raises(LinkSettingsError, match="another key"):
        store.enrol("s", OTHER_KEY)
    store.revoke("s")
    assert store.key_of("s") is None
    with pytest.raises(LinkSettingsError, match="not enrolled"):
        store.revoke("s")
    store.enrol("s", OTHER_KEY)
    assert store.key_of("s") == OTHER_KEY


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hq.db"
    Store.open(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LinkSettingsError, match="newer version"):
        Store.open(path)


def test_sites_are_enrolled_listed_and_revoked_by_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(hq, [*arguments, "--dir", str(tmp_path)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    with pytest.raises(LinkSettingsError, match="cannot be read as HQ's store"):
        run("sites")
    assert run("enrol", "mine-3", KEY).startswith("mine-3 is enrolled with key ")
    assert msgspec.json.decode(run("sites", "--json"))["site"] == "mine-3"
    assert "never heard of" in run("sites")
    run("revoke", "mine-3")
    assert "revoked" in run("sites")
    for wrong in (("enrol", "a/b", KEY), ("enrol", "mine-4", "short"), ("revoke", "mine-5")):
        with pytest.raises(LinkSettingsError):
            run(*wrong)


@pytest.mark.parametrize("broker", ["nowhere", "host:", ":1883", "host:70000", "host:x"])
def test_a_broker_that_is_no_address_is_a_usage_error(tmp_path: Path, broker: str) -> None:
    result = CliRunner().invoke(hq, ["run", "--dir", str(tmp_path), "--broker", broker])
    assert (result.exit_code, "is not HOST:PORT" in result.output) == (2, True)
