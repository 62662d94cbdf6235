"""The local page in a real browser: what a person sees on it, and that pressing on it changes the journal."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge.daemon import open_site
from edge.events import Event, Note, new_id, now_us
from edge.health import Health
from edge.orders import Orders
from edge.site import SAMPLE, Site, SiteSettings, make_site, read_site
from edge.store import queries
from edge.store.journal import Journal, Offer
from edge.store.room import Room
from models.archive import pack_up
from models.pack import MANIFEST, manifest_text, read_pack
from models.signing import new_key, sign, trust
from models.store import SHIPPED
from tests.browser import Tab, browsing, patient
from tests.records import an_event
from tests.served import Running, parts_of, running, served
from tests.site_fixture import TITLES, fill, write_sound

VIEWS = ("cards", "calls", "devices", "notes", "refused", "orders", "works")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browsing(tmp_path_factory.mktemp("browser")) as tab:
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.send(f"{domain}.enable")
        yield tab


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One site for all tests that only look."""
    with running(tmp_path_factory.mktemp("site")) as site:
        write_sound(site.audio)
        yield site


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    """A site of its own for a test that changes it."""
    with running(tmp_path) as fresh:
        yield fresh


def look(tab: Tab, url: str, view: str, language: str = "en", width: int = 1280) -> None:
    """Show a view of the page and wait until it is live and has asked for everything."""
    tab.open(f"{url}/?lang={language}#/{view}", width=width)
    tab.wait("document.getElementById('dot')?.className === 'dot good'")
    tab.wait("document.getElementById('site').textContent === 'red-ridge'")


def text(tab: Tab, selector: str) -> str:
    return str(tab.wait(f"document.querySelector({selector!r})?.innerText"))


def state_of(journal: Journal, card_id: str) -> tuple[str, str]:
    card = queries.card(journal.readers.connection(), queries.Wall(titles=TITLES), card_id)
    assert card is not None
    return card.state, card.by


# ---- what it shows ---------------------------------------------------------------------------------------------------


def test_a_card_says_what_to_do_and_why_with_the_second_and_the_words_that_weighed(tab: Tab, site: Running) -> None:
    look(tab, site.url, "cards")
    play = f".play:has([data-key='{site.filled.budget}'])"
    shown = text(tab, play)
    for part in ("Fit the offer to the budget", "offer the rope this year", "rep", "91 %", "87.2 s", "Red Ridge mine"):
        assert part in shown
    assert text(tab, f"{play} .said") == "but eighty four thousand that is more than we budgeted"
    assert text(tab, f"{play} mark.w4") == "more than"
    assert tab.evaluate(f"document.querySelector({play!r}).querySelectorAll('mark').length") == 3
    measured = text(tab, f".play:has([data-key='{site.filled.hoist}'])")
    for part in ("5.2", "mm/s", "usual 2.12", "away from usual", "+2.9"):
        assert part in measured


def test_time_left_counts_down(tab: Tab, site: Running) -> None:
    look(tab, site.url, "cards")
    amount = f"[data-key='{site.filled.budget}'] .amount"
    before = text(tab, amount)
    tab.wait(f"document.querySelector({amount!r}).innerText !== {before!r}")


def test_the_page_speaks_chinese_and_english_and_switches(tab: Tab, site: Running) -> None:
    look(tab, site.url, "cards", "zh")
    assert "把方案调到预算之内" in text(tab, "main")
    assert "还剩" in text(tab, "main")
    assert text(tab, ".bar nav").split() == ["要办", "8", "通话", "设备", "记录", "拒收", "变更", "见效"]
    tab.click("#language")
    tab.wait("document.documentElement.lang === 'en'")
    assert "Fit the offer to the budget" in text(tab, "main")
    assert "To do" in text(tab, ".bar nav")


def test_every_string_is_said_in_both_languages(tab: Tab, site: Running) -> None:
    look(tab, site.url, "cards")
    lacking = tab.evaluate(
        "import('/static/words.js').then(({ WORDS, NAMES }) => Object.entries({ ...WORDS, ...NAMES })"
        ".filter(([, said]) => said.length !== 2 || !said.every(Boolean)).map(([key]) => key))"
    )
    assert lacking == []


def test_what_waits_for_hq_and_how_the_gateway_is_stand_in_the_head(tab: Tab, site: Running) -> None:
    look(tab, site.url, "cards")
    assert text(tab, "#site") == "red-ridge"
    assert text(tab, "#waiting") == "Waits for HQ 44"
    tab.click("details.status summary")
    assert "Calls to transcribe" in text(tab, "#health")


def test_a_call_shows_both_speakers_with_times_and_labels(tab: Tab, site: Running) -> None:
    look(tab, site.url, f"calls/{site.filled.call_en}")
    tab.wait("document.querySelectorAll('.line').length === 16")
    assert tab.evaluate("document.querySelectorAll('.line.a').length") == 8
    line = text(tab, f"[data-key='{site.filled.budget_line}']")
    for part in ("1:27", "Customer", "more than we budgeted", "budget concern 91 %"):
        assert part in line
    assert "Agent 47 %" in text(tab, ".side")
    assert tab.evaluate("document.querySelectorAll('.timeline rect').length") == 16


def test_pressing_the_second_plays_the_call_from_two_seconds_before(tab: Tab, site: Running) -> None:
    look(tab, site.url, "cards")
    tab.click(f".play:has([data-key='{site.filled.budget}']) .hear")
    tab.wait("document.querySelector('#player input')?.valueAsNumber >= 85.2")
    assert tab.evaluate("document.querySelector('#player input').valueAsNumber") < 95
    assert "/ 1:58" in text(tab, "#player")


def test_the_transcript_follows_the_sound(tab: Tab, site: Running) -> None:
    look(tab, site.url, f"calls/{site.filled.call_en}")
    tab.click(f"[data-key='{site.filled.budget_line}'] .at")
    tab.wait("document.querySelector('.line.heard .heard') !== null")
    assert tab.evaluate("document.querySelector('.line.heard').dataset.key") == site.filled.budget_line


def test_a_device_has_a_chart_for_each_sensor_with_the_anomaly_marked(tab: Tab, site: Running) -> None:
    look(tab, site.url, "devices/hoist-7")
    tab.wait("document.querySelectorAll('.chart svg path.line').length === 3")
    assert text(tab, ".chart").startswith("vibration")
    tab.wait("document.querySelector('.chart text.mark')?.textContent === 'unlike itself 94 %'")
    tab.wait("document.querySelectorAll('text.mark').length === 1")
    tab.wait("document.querySelector('.chart svg')?.getAttribute('aria-label').includes('1 marked')")


def test_refused_inputs_are_shown_with_their_reason(tab: Tab, site: Running) -> None:
    look(tab, site.url, "refused")
    assert "line 4021: pressure_bar is 'n/a'" in text(tab, "main")


def test_an_empty_site_says_what_to_do(tab: Tab, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    with served(parts_of(journal, tmp_path)) as url:
        hints = ("inbox/", "inbox/", "[bus]", "heard or saw", "inbox/refused", "checked first", "which plays work")
        for view, hint in zip(VIEWS, hints, strict=True):
            look(tab, url, view)
            assert hint in text(tab, ".empty p"), view
        tab.open("about:blank")
    journal.close()


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("width", [360, 1600])
def test_no_view_is_wider_than_the_window(tab: Tab, site: Running, width: int, language: str) -> None:
    for view in (*VIEWS, f"calls/{site.filled.call_en}", "devices/hoist-7"):
        look(tab, site.url, view, language, width)
        tab.wait("document.querySelector('main h1, main h2') !== null")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, view


def test_the_page_runs_without_a_fault_and_asks_nobody_but_the_gateway(tab: Tab, site: Running) -> None:
    tab.events.clear()
    for view in (*VIEWS, f"calls/{site.filled.call_en}", "devices/hoist-7"):
        look(tab, site.url, view)
    faults = [one["params"] for one in tab.events if one["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
    assert faults == []
    asked = {one["params"]["request"]["url"] for one in tab.events if one["method"] == "Network.requestWillBeSent"}
    assert f"{site.url}/api/stream" in asked
    assert [url for url in asked if not url.startswith(site.url) and url != "about:blank"] == []


# ---- what it does ----------------------------------------------------------------------------------------------------


def test_a_click_on_accept_asks_for_a_name_once_and_changes_the_journal(tab: Tab, fresh: Running) -> None:
    look(tab, fresh.url, "cards")
    tab.click(f"[data-key='{fresh.filled.budget}'] [data-part=accept]")
    tab.wait("document.activeElement.closest('.ask') !== null")
    tab.type("Li Wei")
    tab.press("Enter")
    tab.wait(f"document.querySelector(\"[data-key='{fresh.filled.budget}']\").classList.contains('accepted')")
    assert state_of(fresh.journal, fresh.filled.budget) == ("accepted", "Li Wei")
    tab.click(f"[data-key='{fresh.filled.danger}'] [data-part=accept]")
    patient(lambda: state_of(fresh.journal, fresh.filled.danger) == ("accepted", "Li Wei"), "the second card")


def test_cards_are_answered_by_keys_alone(tab: Tab, fresh: Running) -> None:
    look(tab, fresh.url, "cards")
    tab.evaluate("document.getElementById('who').value = 'Li Wei'")
    tab.wait("document.querySelectorAll('.card').length > 8")
    for key in ("j", "j", "k"):
        tab.press(key)
    assert tab.evaluate("document.activeElement.dataset.key") == fresh.filled.danger
    tab.press("a")
    patient(lambda: state_of(fresh.journal, fresh.filled.danger) == ("accepted", "Li Wei"), "a to accept")
    tab.wait("document.activeElement.classList.contains('accepted')")
    tab.press("d")
    tab.wait("document.activeElement.classList.contains('remark')")
    tab.type("false alarm")
    tab.press("Enter")
    patient(lambda: state_of(fresh.journal, fresh.filled.danger) == ("declined", "Li Wei"), "d to give up")


def test_what_another_does_shows_by_itself(tab: Tab, fresh: Running) -> None:
    look(tab, fresh.url, "cards")
    tab.wait(f"document.querySelector(\"[data-key='{fresh.filled.budget}']\") !== null")
    fresh.journal.move(fresh.filled.budget, "accepted", "Zhao").result()
    tab.wait(f"document.querySelector(\"[data-key='{fresh.filled.budget}'] .meta\").innerText.includes('by Zhao')")


@pytest.mark.parametrize(("language", "told"), [("en", "declined already"), ("zh", "这张卡现在是“已拒绝”（Zhao）")])
def test_a_move_that_came_too_late_is_told_what_the_card_has_become(
    tab: Tab, fresh: Running, language: str, told: str
) -> None:
    look(tab, fresh.url, "cards", language)
    tab.evaluate("document.getElementById('who').value = 'Li Wei'")
    selector = f"[data-key='{fresh.filled.budget}'] [data-part=accept]"
    tab.wait(f"document.querySelector({selector!r}) !== null")
    tab.evaluate("dispatchEvent(new Event('pagehide'))")  # it hears nothing more
    fresh.journal.move(fresh.filled.budget, "declined", "Zhao").result()
    tab.click(selector)
    tab.wait("document.querySelector('.notice.error') !== null")
    assert told in text(tab, ".notice.error")
    assert state_of(fresh.journal, fresh.filled.budget) == ("declined", "Zhao")


def test_a_note_is_kept_in_the_journal_and_shown(tab: Tab, fresh: Running) -> None:
    look(tab, fresh.url, "notes")
    for field, value in (("subject", "fan-2"), ("text", "squeaks again"), ("author", "Li Wei")):
        tab.click(f"#{field}")
        tab.type(value)
    tab.click("form.note button")
    tab.wait("document.querySelector('main ul').innerText.includes('squeaks again')")
    newest = queries.notes(fresh.journal.readers.connection(), limit=1)[0]
    assert isinstance(newest, Event)
    assert isinstance(newest.data, Note)
    written = msgspec.structs.replace(newest.data, key="")
    assert newest.data.key, "sent twice, it is accepted once"
    assert (newest.subject, written) == ("fan-2", Note(text="squeaks again", author="Li Wei", language="en"))


@pytest.mark.parametrize(
    ("language", "said", "why"),
    [("en", "No room: takes nothing", "notes are not taken"), ("zh", "没有空间，暂不接收", "记录暂不接收")],
)
def test_a_gateway_without_room_says_so_and_why_a_note_is_not_taken(
    tab: Tab, tmp_path: Path, language: str, said: str, why: str
) -> None:
    journal = Journal(tmp_path / "journal.db")
    fill(journal)
    room = Room(journal, SiteSettings(name="full"))
    room.outbox_excess = 2**20
    health = Health(ready=True, accepting=False, problems=(room.shut(),))
    with served(parts_of(journal, tmp_path, lambda: health, room=room)) as url:
        tab.open(f"{url}/?lang={language}#/notes")
        tab.wait("document.getElementById('dot')?.className === 'dot bad'")
        tab.wait("document.getElementById('site').textContent === 'red-ridge'")
        assert text(tab, "#live") == said
        tab.click("details.status summary")
        assert "bring up the link" in text(tab, "#health")
        assert why in text(tab, "#health")
        tab.click("details.status summary")
        for field, value in (("subject", "fan-2"), ("text", "squeaks"), ("author", "Li Wei")):
            tab.click(f"#{field}")
            tab.type(value)
        tab.click("form.note button")
        assert why in text(tab, ".notice.error")
        assert tab.evaluate("document.getElementById('text').value") == "squeaks"
        tab.open("about:blank")
    assert len(queries.notes(journal.readers.connection(), limit=5)) == 1
    journal.close()


def test_the_page_catches_up_after_the_gateway_was_away(tab: Tab, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    filled = fill(journal)
    parts = parts_of(journal, tmp_path)
    with served(parts) as url:
        look(tab, url, "cards")
        tab.wait("document.querySelectorAll('.card').length > 8")
    tab.wait("document.getElementById('dot').className === 'dot off'")
    journal.move(filled.budget, "accepted", "Zhao").result()
    with served(parts, port=int(url.rpartition(":")[2])):
        tab.wait("document.getElementById('dot').className === 'dot good'")
        tab.wait(f"document.querySelector(\"[data-key='{filled.budget}']\").classList.contains('accepted')")
        tab.open("about:blank")
    journal.close()


def test_an_order_from_hq_shows_what_it_changes_and_is_agreed_to(tab: Tab, tmp_path: Path) -> None:
    site = Site(folder=tmp_path, settings=SiteSettings(name="red-ridge"))
    site.data.mkdir()
    playbook = (SAMPLE / "playbook.toml").read_text("utf-8")
    site.playbook.write_text(playbook, "utf-8")
    order = new_id()
    staged = site.downlink / order
    staged.mkdir(parents=True)
    (staged / "content").write_text(playbook.replace("Danger to people", "Everybody out"), "utf-8")
    offer = {"order": order, "kind": "playbook", "name": "", "size": 9, "at": now_us(), "activate_at": None}
    (staged / "offer.json").write_bytes(msgspec.json.encode(offer))
    journal = Journal(site.journal)
    parts = parts_of(journal, site.data / "audio", site=site)
    with served(parts) as url:
        look(tab, url, "orders")
        parts.orders.look()
        tab.wait("document.querySelector('.changed.new') !== null")
        assert "Danger to people" in text(tab, ".changed.gone")
        assert "Everybody out" in text(tab, ".changed.new")
        assert "Changes\n1" in text(tab, ".bar nav")
        tab.click(".order [data-part=agree]")
        tab.wait("document.activeElement.dataset.part === 'by'")
        assert site.playbook.read_text("utf-8") == playbook, "nobody said who agrees"
        tab.type("Li Wei")
        tab.click(".order [data-part=agree]")
        tab.wait("document.querySelector('.order .chip')?.innerText === 'In force'")
        assert "Li Wei" in text(tab, ".order")
        assert "Everybody out" in site.playbook.read_text("utf-8")
        tab.open("about:blank")
    journal.close()


def test_a_pack_is_brought_run_in_the_shadow_compared_agreed_to_and_taken_back(tab: Tab, tmp_path: Path) -> None:
    make_site(tmp_path / "site", sample=False)
    site = read_site(tmp_path / "site")
    file = a_new_version(tmp_path / "new", site)
    with ExitStack() as stack:
        opened = open_site(site, stack)
        opened.pipeline.start()
        stack.callback(opened.pipeline.stop)
        parts = replace(
            parts_of(opened.journal, site.audio, site=site),
            orders=Orders(site, opened.journal, opened.adopt, lambda: True),
        )
        with served(parts) as url:
            look(tab, url, "orders")
            tab.evaluate("document.getElementById('who').value = 'Wang'")
            tab.click("main details summary")
            tab.choose("input[type=file]", file)
            tab.evaluate("document.querySelector('.bring [data-part=by]').value = 'Wang'")
            tab.click(".bring button")
            tab.wait("document.querySelector('.order .chip')?.innerText === 'Waits'")
            # What the gateway tells of its own may draw the order anew while one presses.
            patient(lambda: pressed(tab, "shadow", "In the shadow"), "it runs in the shadow")
            note = Note(text="We are really happy with your service, thank you so much", author="Lin", language="en")
            opened.journal.accept([Offer(events=[(None, an_event(note, "pit-7"))])]).result()
            patient(lambda: parts.orders.comparison(parts.orders.views()[0].id), "the note was judged")
            look(tab, url, "orders")
            tab.wait("document.querySelector('.order .compared td') !== null")
            assert "We are really happy" in text(tab, ".order .difference")
            patient(lambda: pressed(tab, "agree", "In force"), "it is in force")
            patient(lambda: pressed(tab, "roll_back", "Taken back"), "it was taken back")
            assert "Wang" in text(tab, ".order")
            tab.open("about:blank")
        opened.listener.stop()


def pressed(tab: Tab, part: str, state: str) -> bool:
    """Whether the order is in a state; if not, Wang presses a button for it."""
    script = f"""(() => {{
        if (document.querySelector('.order .chip')?.innerText === '{state}') return true;
        const button = document.querySelector('.order [data-part={part}]');
        if (!button || button.disabled) return false;
        button.closest('form').querySelector('[data-part=by]').value = 'Wang';
        button.click();
        return false;
    }})()"""
    return bool(tab.evaluate(script))


def a_new_version(folder: Path, site: Site) -> Path:
    """The text pack that ships as version 9.0, which never says praise, signed by somebody whom the site trusts."""
    shutil.copytree(SHIPPED / "call-signals", folder)
    manifest = read_pack(folder).manifest
    changed = msgspec.structs.replace(manifest, version="9.0", thresholds=manifest.thresholds | {"praise": 1.0})
    (folder / MANIFEST).write_text(manifest_text(changed), "utf-8")
    trust(site.packs, "we", new_key(folder.with_suffix(".pem")))
    sign(folder, folder.with_suffix(".pem"))
    pack_up(folder, folder.with_suffix(".pack"))
    return folder.with_suffix(".pack")
