"""HQ's receiver and broker, with real processes: what arrives, who may speak, and what a kill costs."""

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bench.waiting import until
from sync.envelope import Row, pack
from sync.hq.receiver import Brokers, Receiver
from tests.faults.parts import Disk, can_mount
from tests.hq.running import MqttClient, RunningHq, enrol, feed, make_site, start_link
from tests.sync.site_end import Journal

ID = "01a20513-3cd0-7407-8f39-06b5c323947d"


@pytest.fixture(scope="module")
def hq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHq]:
    running = RunningHq(tmp_path_factory.mktemp("at") / "hq")
    running.start()
    yield running
    running.kill()


def enrolled(hq: RunningHq, folder: Path, name: str) -> Path:
    """An enrolled site's folder."""
    made = enrol(make_site(folder, name), hq.invite(name))
    assert made.returncode == 0, made.stderr
    return folder


def client(hq: RunningHq, site: Path) -> MqttClient:
    """Connected once the broker has read its users again."""
    made: list[MqttClient] = []

    def connects() -> bool:
        made.append(MqttClient(hq.mqtt_port, site / "secrets"))
        return made[-1].connected == "Success"

    until(connects, "the broker lets the site in")
    return made[-1]


def envelope(site: str, key: Ed25519PrivateKey) -> bytes:
    row = Row(1, "event", ID, 1, "boot", 1, msgspec.Raw(msgspec.msgpack.encode({"at": 1})))
    return pack(key, site=site, epoch=1, lane="now", rows=[row])


def test_a_receiver_ends_although_a_cancellation_was_swallowed(tmp_path: Path) -> None:
    stopping, swallowed = threading.Event(), []

    class Deaf(Receiver):
        async def _work(self) -> None:
            stopping.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            swallowed.append(True)
            await asyncio.sleep(60)

    Deaf(tmp_path / "hq.db", Brokers(addresses=(), password=""), Ed25519PrivateKey.generate()).run(stopping)
    assert swallowed


def test_a_site_speaks_and_hears_under_its_own_name_only(hq: RunningHq, tmp_path: Path) -> None:
    enrolled(hq, tmp_path / "a", "acl-a")
    enrolled(hq, tmp_path / "b", "acl-b")
    ours = client(hq, tmp_path / "a")
    assert ours.may_subscribe("outstation/v1/acl-a/ack")
    assert ours.may_subscribe("outstation/v1/acl-a/down/#")
    for topic in ("outstation/v1/acl-b/ack", "outstation/v1/#", "#", "$MQTT/sub/#", "$SYS/#", "outstation/v1/+/ack"):
        assert not ours.may_subscribe(topic), topic
    ours.publish("outstation/v1/acl-b/up/now", b"forged")
    ours.publish("outstation/v1/acl-a/up/now", b"junk of our own")
    until(lambda: hq.select("SELECT 1 FROM quarantine WHERE site = 'acl-a'"), "what is ours is looked at")
    assert hq.select("SELECT 1 FROM quarantine WHERE site = 'acl-b'") == []
    ours.close()


def test_without_a_certificate_there_is_no_connection(hq: RunningHq, tmp_path: Path) -> None:
    enrolled(hq, tmp_path / "site", "bare")
    stranger = MqttClient(hq.mqtt_port, tmp_path / "site" / "secrets", certificate=False)
    assert (stranger.connected, stranger.lost) == ("", True)


def test_a_forged_envelope_lands_in_quarantine_and_the_site_is_told(hq: RunningHq, tmp_path: Path) -> None:
    enrolled(hq, tmp_path / "site", "forged")
    sender = client(hq, tmp_path / "site")
    assert sender.may_subscribe("outstation/v1/forged/ack")
    sender.publish("outstation/v1/forged/up/now", envelope("forged", Ed25519PrivateKey.generate()))
    until(lambda: sender.heard == ["outstation/v1/forged/ack"], "HQ refuses")
    assert hq.select("SELECT cause FROM quarantine WHERE site = 'forged'") == [("refused",)]
    assert hq.select("SELECT 1 FROM received WHERE site = 'forged'") == []
    sender.close()


def test_a_revoked_site_is_cut_off_and_not_let_in_again(hq: RunningHq, tmp_path: Path) -> None:
    enrolled(hq, tmp_path / "site", "stolen")
    thief = client(hq, tmp_path / "site")
    hq.command("revoke", "stolen")
    until(lambda: thief.lost, "its connection ends")
    assert MqttClient(hq.mqtt_port, tmp_path / "site" / "secrets").connected == "Not authorized"


def test_nothing_is_lost_doubled_or_altered_when_any_part_is_killed(tmp_path: Path) -> None:
    chance = Random(20261123)
    hq = RunningHq(tmp_path / "hq")
    hq.start()
    site = enrolled(hq, tmp_path / "site", "mine-3")
    journal = Journal(site / "data" / "journal.db")
    link = start_link(site)
    try:
        kills = ["link", "hq", "broker"] * 2
        chance.shuffle(kills)
        for part in kills:
            feed(lambda: journal.add(chance.choice(["now", "day", "bulk"]), chance.randint(1, 60)), 0.5)
            match part:
                case "link":
                    link.kill()
                    link.wait()
                    link = start_link(site)
                case "hq":
                    hq.kill()
                    hq.start()
                case "broker":
                    hq.kill_broker()
        until(lambda: hq.ids() == journal.ids(), "HQ has what the journal has", timeout_s=40)
        assert hq.select("SELECT count(*) FROM quarantine") == [(0,)]
        assert hq.end() == 0
    finally:
        link.kill()
        link.wait()
        hq.kill()
        journal.close()


@pytest.mark.skipif(not can_mount(), reason="a small disk of its own needs the right to mount")
def test_while_hq_s_disk_is_full_nothing_is_acknowledged_and_nothing_is_lost(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "hq", 64)
    hq = RunningHq(tmp_path / "hq")
    site = tmp_path / "site"
    journal = Journal(site / "data" / "journal.db")
    try:
        hq.start()
        site.joinpath("site.toml").write_text('name = "mine-3"\n', "utf-8")
        assert enrol(site, hq.invite("mine-3")).returncode == 0
        link = start_link(site)
        try:
            journal.add("day", 10)
            until(lambda: hq.ids() == journal.ids(), "HQ takes records")
            disk.fill()
            for _ in range(20):
                journal.add("day", 100)
            until(lambda: "does not work now" in hq.said(), "HQ says that its disk is full", timeout_s=40)
            disk.free()
            until(lambda: hq.ids() == journal.ids(), "HQ has what the journal has", timeout_s=60)
        finally:
            link.kill()
            link.wait()
    finally:
        hq.kill()
        journal.close()
        subprocess.run(["umount", "-l", str(disk.folder)], check=True)
