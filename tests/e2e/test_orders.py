"""Orders from HQ with real processes: what a kill at any moment of an activation leaves, and what the gateway does with
what came."""

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from edge.activation import MOST_STARTS, Trial
from edge.bench.waiting import until
from edge.errors import JournalError
from edge.site import Site
from edge.store.database import open_read_only
from models.store import SHIPPED
from tests.e2e.conftest import OUTSTATION, in_use
from tests.edge.test_orders import pack_file, stage
from tests.hq.running import RunningHq, enrol

SEED = 20261123
KILLS = 12
DANGER = "There is gas in the pump room, somebody is hurt, get everybody out now"


@contextmanager
def gateway(site: Site) -> Iterator[httpx.Client]:
    """The daemon until the block ends, and a client that asks it, once it answers."""
    process = subprocess.Popen(
        [*OUTSTATION, "run", str(site.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{site.settings.web.port}", timeout=60) as client:
            until(lambda: process.poll() is not None or answers(client), "the gateway answers", timeout_s=60)
            assert process.poll() is None
            yield client
    finally:
        process.terminate()
        assert process.wait(30) == 0


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/site").is_success
    except httpx.HTTPError:
        return False


def start_and_kill(site: Site, after: Callable[[], object]) -> None:
    """The daemon until `after` returns, then kill -9."""
    process = subprocess.Popen(
        [*OUTSTATION, "run", str(site.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        after()
    finally:
        process.kill()
        process.wait()


def rows(site: Site, sql: str) -> list[tuple[Any, ...]]:
    try:
        connection = open_read_only(site.journal)
    except JournalError:
        return []
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def story(site: Site, order: str) -> list[tuple[str, str]]:
    """The states of an order, and who brought them about."""
    return rows(site, f"SELECT state, by FROM orders WHERE order_id = '{order}' ORDER BY seq")


def state(client: httpx.Client, order: str) -> str | None:
    views: list[dict[str, Any]] = client.get("/api/orders").json()
    return next((str(view["state"]) for view in views if view["id"] == order), None)


def agree(client: httpx.Client, order: str) -> dict[str, Any]:
    until(lambda: state(client, order) == "waiting", "the order waits for a person")
    answer = client.post(f"/api/orders/{order}/agree", json={"by": "Li Wei"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def titles_of_danger(client: httpx.Client, site: Site, key: str) -> set[str]:
    """What the gateway does about a note that somebody is in danger: the titles of the plays that it calls."""
    before = {card["id"] for card in client.get("/api/cards").json()}
    note = {"subject": key, "author": "Lin", "text": DANGER, "language": "en", "key": key}
    assert client.post("/api/notes", json=note).status_code == 201

    def cards() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get("/api/cards").json()
        return [card for card in found if card["id"] not in before and card["label"] == "safety_hazard"]

    until(lambda: cards() != [], "the note was answered")
    return {card["play"] for card in cards()}


def other_playbook(site: Site) -> bytes:
    """The site's, with the play about danger under another name."""
    text = site.playbook.read_text("utf-8")
    assert 'name = "safety"' in text
    return text.replace('name = "safety"', 'name = "everybody-out"').encode()


def test_a_playbook_and_a_pack_from_hq_take_effect_while_the_gateway_runs(site: Site) -> None:
    new = other_playbook(site)
    with gateway(site) as client:
        assert titles_of_danger(client, site, "one") == {"safety"}
        cards = client.get("/api/cards").json()
        (open_before,) = {card["decision_id"] for card in cards if card["play"] == "safety"}
        order = stage(site, "playbook", new)
        assert agree(client, order)["state"] == "active"
        assert titles_of_danger(client, site, "two") == {"everybody-out"}
        kept = [card for card in client.get("/api/cards").json() if card["decision_id"] == open_before]
        assert {card["play"] for card in kept} == {"safety"}, "what was under way stays as it was made"

    with gateway(site) as client:  # it ended in order, which proves the playbook
        started_at = client.get("/api/site").json()["started_at"]
        pack = stage(site, "pack", pack_file("9.0"), name="device-anomaly")
        assert agree(client, pack)["state"] == "active"
        assert in_use(client)["device-anomaly"] == "9.0"
        assert client.get("/api/site").json()["started_at"] == started_at, "nothing was restarted"
    with gateway(site) as client:
        assert in_use(client)["device-anomaly"] == "9.0"
        assert titles_of_danger(client, site, "three") == {"everybody-out"}


def test_kills_in_the_middle_of_an_activation_leave_the_old_or_the_new_whole_and_one_report(site: Site) -> None:
    moments = random.Random(SEED)
    old, new = site.playbook.read_bytes(), other_playbook(site)
    order = stage(site, "playbook", new, activate_at=1)
    for _ in range(KILLS):
        if story(site, order)[-1:] == [("active", "hq")]:
            break
        # Around the moment at which the daemon has read the journal and takes the order up.
        start_and_kill(site, lambda: time.sleep(moments.uniform(0.6, 1.8)))
        assert site.playbook.read_bytes() in (old, new)
        states = [found for found, _ in story(site, order)]
        assert len(states) == len(set(states)), "nothing is reported twice"
    with gateway(site) as client:
        until(lambda: state(client, order) in ("active", "rolled_back"), "the order has ended")
    told = [found for found, _ in story(site, order)]
    assert len(told) == len(set(told))
    assert told[:2] == ["staged", "waiting"]
    assert site.playbook.read_bytes() == (new if told[-1] == "active" else old)


def test_a_gateway_that_dies_soon_after_each_start_goes_back_to_what_it_had(site: Site) -> None:
    old = site.playbook.read_bytes()
    order = stage(site, "playbook", other_playbook(site))
    with gateway(site) as client:
        until(lambda: state(client, order) == "waiting", "the order waits")
    site.orders.mkdir(exist_ok=True)
    # As the daemon leaves it that is killed in the moment of the activation.
    (site.orders / "previous").mkdir()
    (site.orders / "previous" / "playbook.toml").write_bytes(old)
    trial = Trial(order=order, kind="playbook", name="", by="Li Wei")
    (site.orders / "trial.json").write_bytes(msgspec.json.encode(trial))

    def tried(starts: int) -> bool:
        written = msgspec.json.decode((site.orders / "trial.json").read_bytes(), type=Trial)
        return written.starts == starts and site.playbook.read_bytes() != old

    for start in range(1, MOST_STARTS):
        start_and_kill(site, lambda start=start: until(lambda: tried(start), "it tries", 30))  # type: ignore[misc]
    with gateway(site) as client:
        until(lambda: state(client, order) == "rolled_back", "HQ is told")
        assert titles_of_danger(client, site, "one") == {"safety"}
    assert site.playbook.read_bytes() == old
    assert story(site, order)[-1] == ("rolled_back", "gateway")


def test_a_playbook_with_which_the_gateway_cannot_start_is_rolled_back(site: Site) -> None:
    old = site.playbook.read_bytes()
    order = stage(site, "playbook", other_playbook(site))
    with gateway(site) as client:
        assert agree(client, order)["state"] == "active"
        # Killed at once, and the disk gave back something else than was written.
        trial = (site.orders / "trial.json").read_bytes()
    (site.orders / "trial.json").write_bytes(trial)
    (site.downlink / order / "content").write_bytes(b"[[play]]\n")
    with gateway(site) as client:
        until(lambda: state(client, order) == "rolled_back", "HQ is told")
        remark = next(view["remark"] for view in client.get("/api/orders").json() if view["id"] == order)
        assert "cannot start" in remark
    assert site.playbook.read_bytes() == old


def test_the_whole_way_down_and_the_report_back_with_hq_the_link_and_the_gateway_killed(
    site: Site, tmp_path: Path
) -> None:
    hq = RunningHq(tmp_path / "hq")
    hq.start()
    try:
        assert enrol(site.folder, hq.invite(site.settings.name)).returncode == 0
        playbook = tmp_path / "new.toml"
        playbook.write_bytes(other_playbook(site))
        big = tmp_path / "big-pack"
        shutil.copytree(SHIPPED / "device-anomaly", big)
        name = site.settings.name
        hq.command("send", name, "playbook", str(playbook))
        hq.command("send", name, "pack", str(big))
        for _ in range(3):
            start_and_kill(site, lambda: until(lambda: list(site.downlink.glob("*/content*")), "something came", 60))
            hq.kill()
            hq.start()

        def told() -> dict[str, str]:
            lines = hq.command("orders", "--json").splitlines()
            return {view["kind"]: view["state"] for view in map(msgspec.json.decode, lines)}

        with gateway(site) as client:
            # An offer that was lost with a killed part comes again with the next pulse, a minute later.
            until(lambda: told() == {"playbook": "waiting", "pack": "waiting"}, "HQ knows that both wait", 240)
            (order,) = [view["id"] for view in client.get("/api/orders").json() if view["kind"] == "playbook"]
            assert agree(client, order)["state"] == "active"
            until(lambda: told()["playbook"] == "active", "HQ knows that it is in force", 60)
            assert site.playbook.read_bytes() == playbook.read_bytes()
        states = [found for found, _ in story(site, order)]
        assert states == ["staged", "waiting", "active"]
    finally:
        hq.kill()
