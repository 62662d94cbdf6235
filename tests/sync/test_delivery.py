"""From the outbox of a site into HQ's store, with the real link, broker and HQ, each a process."""

import base64
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.publish import single

from sync.broker import Broker
from sync.cli import lane_statuses
from sync.envelope import Row, pack
from sync.errors import LinkPartMissing
from sync.settings import read_settings
from tests.sync.conftest import (
    Hq,
    Journal,
    Process,
    Site,
    children,
    eventually,
    free_port,
    is_alive,
    make_site,
    outstation,
)

ID = "01a20513-3cd0-7407-8f39-06b5c323947d"


def publish(port: int, topic: str, payload: bytes) -> None:
    """As anybody who reaches the broker can."""
    single(topic, payload, qos=1, hostname="127.0.0.1", port=port)


def test_records_reach_hq_once_in_order_and_unaltered(hq: Hq, site: Site, journal: Journal) -> None:
    hq.enrol(site.name, site.public_key)
    hq.start()
    site.link.start()
    for lane, count in (("bulk", 1200), ("day", 30), ("now", 2)):
        journal.add(lane, count)
    journal.add("now", 1, epoch=2, kind="action")
    eventually(lambda: len(hq.rows()) >= 1233)
    assert hq.rows() == journal.rows()
    settings = read_settings(site.folder)
    eventually(lambda: [lane.waiting for lane in lane_statuses(settings)] == [0] * 6)
    assert [lane.acked_seq for lane in lane_statuses(settings)] == [2, 30, 1200, 1, 0, 0]
    assert site.link.end() == 0
    assert hq.process.end() == 0


def test_a_record_of_now_does_not_wait_for_others(hq: Hq, site: Site, journal: Journal) -> None:
    hq.enrol(site.name, site.public_key)
    hq.start()
    site.link.start()
    eventually(lambda: "connected to" in site.link.output())
    journal.add("bulk", 20_000)
    journal.add("now", 1)
    eventually(lambda: hq.select("SELECT 1 FROM received WHERE lane = 'now'"))
    assert hq.select("SELECT count(*) FROM received WHERE lane = 'bulk'")[0][0] < 20_000


def test_the_link_waits_for_journal_broker_and_hq(tmp_path: Path) -> None:
    port = free_port()
    site = make_site(tmp_path / "site", "早到", port)
    hq = Hq(
        tmp_path / "hq", outstation(tmp_path, "hq", "run", "--dir", tmp_path / "hq", "--port", 0, "--mqtt-port", port)
    )
    try:
        site.link.start()
        eventually(lambda: "no connection" in site.link.output())
        hq.enrol(site.name, site.public_key)
        hq.process.start()
        eventually(lambda: '"connected to HQ\'s broker"' in site.link.output())
        journal = Journal(site.journal)
        journal.add("day", 3)
        eventually(lambda: hq.rows() == journal.rows())
        journal.close()
        assert site.link.end() == 0
    finally:
        site.link.clean_up()
        hq.process.clean_up()


def test_nothing_is_lost_doubled_or_altered_when_any_part_is_killed(
    hq: Hq, site: Site, journal: Journal, broker: Broker
) -> None:
    chance = Random(20261122)
    hq.enrol(site.name, site.public_key)
    hq.start()
    site.link.start()

    def kill_broker() -> None:
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        broker.start()

    def kill_and_start(process: Process) -> Callable[[], None]:
        def act() -> None:
            process.kill()
            process.start()

        return act

    parts = [kill_broker, kill_and_start(site.link), kill_and_start(hq.process)]
    kills = [part for part in parts for _ in range(4)]
    chance.shuffle(kills)
    for kill in kills:
        until = time.monotonic() + chance.uniform(0.05, 1.2)
        while time.monotonic() < until:
            journal.add(chance.choice(["now", "day", "bulk"]), chance.randint(1, 120))
            time.sleep(0.01)
        kill()
    eventually(lambda: len(hq.rows()) >= len(journal.rows()), within_s=25)
    assert hq.rows() == journal.rows()
    assert hq.select("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_broker_that_hangs_does_not_keep_the_link_from_ending(
    hq: Hq, site: Site, journal: Journal, broker: Broker
) -> None:
    hq.enrol(site.name, site.public_key)
    site.link.start()
    eventually(lambda: "connected to" in site.link.output())
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGSTOP)
    # More than the sockets' buffers hold, so that the link cannot even say goodbye.
    for lane in ("now", "day", "bulk"):
        for _ in range(10):
            journal.add(lane, 1, text=base64.b64encode(os.urandom(700_000)).decode())
    eventually(lambda: "HQ is silent" in site.link.output())
    assert site.link.end() == 0
    os.kill(broker.pid, signal.SIGCONT)
    hq.start()
    site.link.start()
    eventually(lambda: len(hq.rows()) == 30)
    assert hq.rows() == journal.rows()


def test_a_forged_envelope_lands_in_quarantine_and_nowhere_else(hq: Hq, site: Site, broker: Broker) -> None:
    hq.enrol(site.name, site.public_key)
    hq.start()
    rows = [Row(1, "event", ID, msgspec.Raw(msgspec.msgpack.encode({"at": 1})))]
    forged = pack(Ed25519PrivateKey.generate(), site=site.name, epoch=1, lane="now", rows=rows)
    publish(broker.port, f"outstation/v1/{site.name}/up/now", forged)
    publish(broker.port, f"outstation/v1/{site.name}/up/now", b"\x00\x01junk")
    publish(broker.port, f"outstation/v1/{site.name}/state", b"{}")
    eventually(lambda: hq.select("SELECT count(*) FROM quarantine") == [(3,)])
    assert hq.select("SELECT site, envelope FROM quarantine ORDER BY n")[0] == (site.name, forged)
    assert hq.rows() == []
    assert hq.select("SELECT * FROM watermark") == []


def test_an_envelope_on_another_site_s_topic_is_refused(
    tmp_path: Path, hq: Hq, site: Site, journal: Journal, broker: Broker
) -> None:
    other = make_site(tmp_path / "other", "mine-4", broker.port)
    hq.enrol(site.name, site.public_key)
    hq.enrol(other.name, other.public_key)
    # A link that signs for itself but claims to be the other site.
    (site.folder / "site.toml").write_text(f'name = "mine-4"\n[hq]\nport = {broker.port}\n', "utf-8")
    hq.start()
    site.link.start()
    journal.add("now", 1)
    ((claimed, reason),) = eventually(lambda: hq.select("SELECT site, reason FROM quarantine"))
    assert claimed == "mine-4"
    assert "signed with key" in reason
    rows = [Row(1, "event", ID, msgspec.Raw(b"\x80"))]
    key = Ed25519PrivateKey.generate()
    publish(broker.port, "outstation/v1/mine-4/up/day", pack(key, site="mine-3", epoch=1, lane="day", rows=rows))
    eventually(lambda: "came on the topic" in hq.select("SELECT reason FROM quarantine ORDER BY n DESC")[0][0])
    assert hq.rows() == []


def test_a_site_that_is_not_enrolled_waits_until_it_is(hq: Hq, site: Site, journal: Journal) -> None:
    hq.start()
    site.link.start()
    journal.add("now", 2)
    ((claimed, reason),) = eventually(lambda: hq.select("SELECT site, reason FROM quarantine"))
    assert (claimed, "not enrolled" in reason) == (site.name, True)
    assert hq.rows() == []
    hq.enrol(site.name, site.public_key)
    site.link.kill()
    site.link.start()
    eventually(lambda: hq.rows() == journal.rows())


def test_a_link_that_lost_its_memory_doubles_nothing(hq: Hq, site: Site, journal: Journal) -> None:
    hq.enrol(site.name, site.public_key)
    hq.start()
    site.link.start()
    journal.add("now", 700)
    expected = journal.rows()
    eventually(lambda: len(hq.rows()) == 700)
    assert site.link.end() == 0
    for file in (site.folder / "data").glob("link.db*"):
        file.unlink()
    # What HQ has may be deleted here, so the link starts in the middle.
    journal.forget(up_to=600)
    journal.add("now", 1)
    site.link.start()
    eventually(lambda: len(hq.rows()) == 701)
    assert hq.rows()[:700] == expected


def test_hq_sees_a_link_come_go_and_die(hq: Hq, site: Site) -> None:
    def state() -> object:
        with httpx.Client(base_url=hq.page()) as client:
            return client.get("/api/sites").json()["sites"][0]["state"]

    hq.enrol(site.name, site.public_key)
    hq.start()
    assert state() is None
    site.link.start()
    eventually(lambda: state() == "up")
    assert site.link.end() == 0
    eventually(lambda: state() == "down")
    site.link.start()
    eventually(lambda: state() == "up")
    site.link.kill()
    eventually(lambda: state() == "down")


def test_hq_starts_its_own_broker_again_and_leaves_none_behind(tmp_path: Path) -> None:
    port = free_port()
    hq = outstation(tmp_path, "hq", "run", "--dir", tmp_path / "hq", "--port", 0, "--mqtt-port", port)
    try:
        hq.start()
        eventually(lambda: "connected to the broker" in hq.output())
        (first,) = children(hq.pid)
        os.kill(first, signal.SIGKILL)
        second = eventually(lambda: [child for child in children(hq.pid) if child != first])[0]
        eventually(lambda: hq.output().count("connected to the broker") == 2)
        hq.kill()
        eventually(lambda: not is_alive(second))
        hq.start()
        eventually(lambda: hq.output().count("connected to the broker") == 3)
        (third,) = children(hq.pid)
        assert hq.end() == 0
        assert not is_alive(third)
    finally:
        hq.clean_up()


def test_a_broker_on_a_taken_port_is_one_sentence(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.broker.START_TIMEOUT_S", 0.1)
    with pytest.raises(LinkPartMissing, match=f"port {broker.port} on 127.0.0.1 is taken"):
        Broker(tmp_path / "second", broker.port).start()


@pytest.mark.parametrize(
    ("break_it", "sentence", "code"),
    [
        (lambda folder: (folder / "secrets" / "site.key").unlink(), "has no key", 3),
        (lambda folder: (folder / "site.toml").write_text('name = "s"\n'), "no table [hq]", 2),
        (lambda folder: (folder / "data").write_text("no folder"), "watermarks", 2),
    ],
)
def test_a_link_that_cannot_work_says_why_in_one_sentence(
    site: Site, break_it: Callable[[Path], object], sentence: str, code: int
) -> None:
    break_it(site.folder)
    site.link.start()
    assert site.link.wait() == code
    assert sentence in site.link.output()
    assert len(site.link.output().splitlines()) == 1


def test_a_row_too_large_to_travel_stops_its_lane_only(hq: Hq, site: Site, journal: Journal) -> None:
    hq.enrol(site.name, site.public_key)
    hq.start()
    site.link.start()
    journal.add("bulk", 1, text="x" * (1 << 20))
    journal.add("now", 1)
    eventually(lambda: len(hq.rows()) == 1)
    eventually(lambda: "lane stands still" in site.link.output())
    assert site.link.end() == 0
