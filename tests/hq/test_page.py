"""HQ's page, as a person at HQ meets it, over both stores."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from sync import keys
from sync.hq.page import build
from sync.hq.store import Store
from sync.protocol import LaneState
from tests.hq.sent import KEY, OTHER_KEY, SITE, gone_row, row, say, send

SECOND = 1_000_000


def fill(store: Store) -> None:
    """A site that has sent something of everything, and a quiet one."""
    now = time.time_ns() // 1000
    waiting = LaneState(epoch=1, lane="bulk", newest_seq=90, waiting=1234, waiting_since=now - 3 * 3600 * SECOND)
    store.enrol(SITE, KEY)
    store.enrol("quiet", OTHER_KEY)
    say(store, at=now, mono=100 * SECOND, lanes=(waiting,), replica="file:///mnt/replica")
    rows = [
        row(1, record={"text": "<script>alert(1)</script>"}, mono=90 * SECOND),
        row(2, "decision", {"id": "d", "play": "<i>budget</i>"}, mono=91 * SECOND),
        row(3, "action", {"id": "a", "decision_id": "d"}, mono=92 * SECOND),
        row(4, "transition", {"action_id": "a", "state": "done"}, mono=93 * SECOND),
        gone_row(5, 24, {"event": 20}, 900),
    ]
    send(store, rows, now)
    send(store, [row(30, mono=94 * SECOND)], now)
    with store.transaction([SITE]):
        store.quarantine(SITE, "conflict", "two boxes use <b>one</b> identity", b"junk", now)


@pytest.fixture
def page(where: str | Path) -> Iterator["TestClient[Litestar]"]:
    store = Store.open(where)
    fill(store)
    store.close()
    with TestClient(build(where), base_url="http://127.0.0.1") as client:
        yield client


EVERY_SITE = {
    "en": (
        *("Sites", SITE, "up", "never heard of", "bulk <b>1,234</b> · 3 h", "evicted <b>20</b>"),
        *("conflict <b>1</b>", "Carried out", "100%", "outstation uplift --hq"),
    ),
    "zh": (
        *("站点", SITE, "在线", "从未上线", "批量 <b>1,234</b> · 3 小时", "超额弃置 <b>20</b>"),
        *("身份冲突 <b>1</b>", "执行率", "100%", "全部站点合计起了多大作用"),
    ),
}


@pytest.mark.parametrize("language", EVERY_SITE)
def test_the_page_shows_every_site_in_both_languages(page: "TestClient[Litestar]", language: str) -> None:
    text = page.get("/", params={"lang": language}).raise_for_status().text
    assert [words for words in EVERY_SITE[language] if words not in text] == []
    assert "<b class='bad'>5</b>" in text  # 25 to 29 are missing


def test_the_page_of_a_site_tells_the_rest(page: "TestClient[Litestar]") -> None:
    text = page.get(f"/sites/{quote(SITE)}", params={"lang": "en"}).raise_for_status().text
    for words in (
        "file:///mnt/replica",
        "heard by HQ",
        "event <b>20</b>",
        "in force",
        keys.key_id(keys.parse_public(KEY)),
    ):
        assert words in text
    assert page.get("/sites/nobody").status_code == 404


def test_the_list_can_be_narrowed(page: "TestClient[Litestar]") -> None:
    def shown(**query: str) -> list[str]:
        text = page.get("/", params={"lang": "en", **query}).text
        return [name for name in (SITE, "quiet") if f">{name}</a>" in text]

    assert shown() == [SITE, "quiet"]
    assert shown(only="down") == ["quiet"]
    assert shown(only="gaps") == shown(only="losses") == shown(only="behind") == shown(only="conflicts") == [SITE]
    assert shown(name="QUI") == ["quiet"]
    assert shown(name="nothing like it") == []
    assert page.get("/", params={"only": "other"}).status_code == 400


def test_the_page_speaks_the_browser_s_language_unless_asked_otherwise(page: "TestClient[Litestar]") -> None:
    assert "站点" in page.get("/", headers={"Accept-Language": "zh-CN,zh;q=0.9"}).text
    assert "Sites" in page.get("/?lang=en", headers={"Accept-Language": "zh-CN"}).text


def test_what_sites_say_cannot_become_markup(page: "TestClient[Litestar]") -> None:
    for path in ("/", f"/sites/{quote(SITE)}"):
        text = page.get(path).text
        assert "&lt;script&gt;alert(1)" in text
        assert "&lt;b&gt;one&lt;/b&gt;" in text
        for markup in ("<script>alert", "<b>one", "<i>budget"):
            assert markup not in text
    assert "&#x27;&gt;" in page.get("/", params={"name": "'>"}).text


def test_nothing_comes_from_outside_and_nothing_else_may_read_it(page: "TestClient[Litestar]") -> None:
    answer = page.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "//" not in answer.text
    for asset in ("/page.css", "/page.js"):
        assert f'"{asset}"' in answer.text
        assert page.get(asset).status_code == 200
    assert page.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert page.get("/", headers={"Host": "localhost:9999"}).status_code == 200


def test_the_json_says_what_the_page_shows(page: "TestClient[Litestar]") -> None:
    answer = page.get("/api/sites").json()
    assert [(site["site"], site["state"]) for site in answer["sites"]] == [("quiet", None), (SITE, "up")]
    site = answer["sites"][1]
    assert (site["lacking"], site["gone"], site["records"], site["conflicts"]) == (5, {"evicted": 20}, 5, 1)
    assert answer["refused"] == {"conflict": 1}
    detail = page.get(f"/api/sites/{quote(SITE)}").json()
    assert detail["gone"] == [{"reason": "evicted", "numbers": 20, "bytes": 900, "kinds": {"event": 20}}]
    assert page.get("/api/sites/nobody").status_code == 404
    records = page.get("/api/records", params={"site": SITE}).json()["records"]
    assert [record["seq"] for record in records] == [30, 4, 3, 2, 1]
    assert records[-1]["record"] == {"text": "<script>alert(1)</script>"}
    assert page.get("/api/records", params={"limit": 100_000}).status_code == 400
    (play,) = page.get("/api/plays").json()["plays"]
    assert (play["decisions"], play["actions"], play["share_done"]) == (1, 1, 1.0)
    assert page.get("/api/orders").json() == {"orders": []}
    (refusal,) = page.get("/api/quarantine").json()["refusals"]
    assert refusal["cause"] == "conflict"
