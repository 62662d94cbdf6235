"""A site's key in other hands, what comes again, what nobody gave, a bomb, and a broker that forgets: HQ, its
broker, gateways and links as processes."""

import os
import shutil
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import uuid_utils
import zstandard

from edge.bench.waiting import until
from sync import keys
from sync.envelope import MAX_ROWS, Row, open_header, pack
from sync.protocol import Lane, State, StateTopic
from sync.sealed import seal
from tests.hq.gateway import Gateway
from tests.hq.running import MqttClient, RunningHq, enrol, make_site, start_link
from tests.hq.wiretap import Wiretap
from tests.sync.site_end import Journal

LAST_NUMBER = 2**62 - 1


@pytest.fixture
def hq(tmp_path: Path) -> Iterator[RunningHq]:
    running = RunningHq(tmp_path / "hq")
    running.start()
    yield running
    running.thaw()
    running.kill()


class Thief:
    """Somebody with a copy of a site's secrets."""

    def __init__(self, hq: RunningHq, site: str, secrets: Path, folder: Path) -> None:
        shutil.copytree(secrets, folder)
        self.secrets = folder
        self.key = keys.load(folder / "site.key")
        self.sent: list[bytes] = []
        self._site = site
        self.client = client(hq, folder)

    def send(self, epoch: int, first_seq: int, count: int = 1, lane: Lane = "day") -> list[str]:
        """Records of his own, validly signed, once the broker has them; gives their ids."""
        ids = [str(uuid_utils.uuid7()) for _ in range(count)]
        record = msgspec.Raw(msgspec.msgpack.encode({"text": "all is well, do nothing"}))
        rows = [Row(seq, "event", id, 1, "boot", 1, record) for seq, id in enumerate(ids, first_seq)]
        envelope = pack(self.key, site=self._site, epoch=epoch, lane=lane, rows=rows)
        self.sent.append(envelope)
        self.client.publish(f"outstation/v1/{self._site}/up/{lane}", envelope)
        return ids

    def boast(self, mono: int) -> None:
        """A State of this machine's boot that no true one can outdo."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        state = State(site=self._site, state="up", connection="his", introduction="his", at=1, boot=boot, mono=mono)
        topic = str(StateTopic(self._site))
        self.client.publish(topic, seal(self.key, topic, state))


def client(hq: RunningHq, secrets: Path) -> MqttClient:
    """Connected once the broker has read its users again."""
    made: list[MqttClient] = []

    def connects() -> bool:
        made.append(MqttClient(hq.mqtt_port, secrets))
        return made[-1].connected == "Success"

    until(connects, "the broker lets the site in")
    return made[-1]


def at_hq(hq: RunningHq, site: str) -> list[str]:
    """The id of every record of a site."""
    return sorted(id for (id,) in hq.select(f"SELECT id FROM received WHERE site = '{site}'"))


def set_aside(hq: RunningHq, site: str) -> list[tuple[Any, ...]]:
    """Causes and reasons."""
    return hq.select(f"SELECT cause, reason FROM quarantine WHERE site = '{site}' ORDER BY n")


def test_a_thief_is_cut_off_and_his_numbers_stand_in_nobody_s_way(hq: RunningHq, tmp_path: Path) -> None:
    gateway = Gateway.enrolled(hq, tmp_path / "site", "stolen")
    gateway.start()
    try:
        gateway.write(5)
        until(lambda: at_hq(hq, "stolen") == gateway.ids(), "HQ has the first notes")
        epoch, old_key = gateway.epoch(), gateway.secrets.joinpath("site.pub").read_text()
        thief = Thief(hq, "stolen", gateway.secrets, tmp_path / "copy")
        forged = thief.send(epoch, 6, 4)
        thief.boast(2**61)
        until(lambda: set(forged) <= set(at_hq(hq, "stolen")), "HQ takes what it cannot tell from the site's own")
        until(lambda: hq.select("SELECT mono FROM contact WHERE site = 'stolen'") == [(2**61,)], "HQ believes him")
        until(lambda: "another box has this one's key" in gateway.status()["reason"], "the site says so")

        hq.freeze()
        late = thief.send(epoch, 10, 2)
        hq.command("revoke", "stolen")
        hq.thaw()
        until(lambda: thief.client.lost, "his connection ends")
        assert MqttClient(hq.mqtt_port, thief.secrets).connected == "Not authorized"
        digest = sha256(thief.sent[-1]).hexdigest()
        of_it = f"SELECT cause, reason FROM quarantine WHERE site = 'stolen' AND sha256 = '{digest}'"
        until(lambda: hq.select(of_it), "what was under way is looked at")
        ((cause, reason),) = hq.select(of_it)
        assert (cause, "site stolen is not enrolled or was revoked" in reason) == ("refused", True)
        assert hq.site("stolen")["revoked"]
        assert hq.site("stolen")["refused"] >= 1
        gateway.write(3)  # numbers 6 to 8, which HQ holds with his records
        until(lambda: "Not authorized" in gateway.status()["reason"], "the site says that it is not let in")
        assert gateway.status()["waiting"] == 3

        gateway.end()
        gateway.enrol(hq)
        assert gateway.secrets.joinpath("site.pub").read_text() != old_key
        gateway.start()
        gateway.write(4)
        until(
            lambda: at_hq(hq, "stolen") == sorted([*gateway.ids(), *forged]),
            "HQ has every note of the site once, and nothing of his but what it took before",
            timeout_s=40,
        )
        assert not set(late) & set(at_hq(hq, "stolen"))
        assert gateway.epoch() > epoch
        assert gateway.flush().returncode == 0
        until(lambda: gateway.status()["reason"] == "", "the site is well")
        assert MqttClient(hq.mqtt_port, thief.secrets).connected == "Not authorized"
        seen = hq.site("stolen")
        assert (seen["revoked"], seen["records"], seen["state"]) == (False, 12 + 4, "up")
        page = hq.page("/sites/stolen")
        shown = [key for (key,) in hq.select("SELECT key_id FROM keys WHERE site = 'stolen'") if key in page]
        assert len(shown) == 2
        assert "is not enrolled or was revoked" in page
    finally:
        hq.thaw()
        gateway.end()


def test_a_site_that_is_invited_again_gets_a_new_key_also_when_the_answer_is_lost(
    hq: RunningHq, tmp_path: Path
) -> None:
    site = make_site(tmp_path / "site", "again")
    assert enrol(site, hq.invite("again")).returncode == 0
    files = {path.name: path.read_bytes() for path in (site / "secrets").iterdir()}
    code = hq.invite("again")
    assert enrol(site, code).returncode == 0
    (in_force,) = hq.select("SELECT key FROM keys WHERE site = 'again' AND revoked_at IS NULL")
    assert (site / "secrets" / "site.pub").read_text().strip() == in_force[0] != files["site.pub"].decode().strip()
    # As it was when HQ had answered, and the box had not heard it.
    (site / "secrets" / "site.key").rename(site / "secrets" / "site.key.next")
    for name, content in files.items():
        (site / "secrets" / name).write_bytes(content)
        (site / "secrets" / name).chmod(0o600)
    assert enrol(site, code).returncode == 0
    assert (site / "secrets" / "site.pub").read_text().strip() == in_force[0]
    assert {path.name for path in (site / "secrets").iterdir()} == set(files)


def test_envelopes_of_last_year_change_nothing_wherever_and_however_often_they_come(
    hq: RunningHq, tmp_path: Path
) -> None:
    site = make_site(tmp_path / "site", "replayed")
    assert enrol(site, hq.invite("replayed")).returncode == 0
    assert enrol(make_site(tmp_path / "other", "another"), hq.invite("another")).returncode == 0
    other = client(hq, tmp_path / "other" / "secrets")
    journal = Journal(site / "data" / "journal.db")
    tap = Wiretap(hq.folder)
    link = start_link(site)

    def all_of_it() -> list[list[tuple[Any, ...]]]:
        tables = {"received": "epoch, lane, seq", "held": "epoch, lane, first_seq", "gone": "epoch, lane, first_seq"}
        return [
            hq.select(f"SELECT * FROM {table} WHERE site = 'replayed' ORDER BY {order}")
            for table, order in tables.items()
        ]

    try:
        for _ in range(3):
            for lane in ("now", "day", "bulk"):
                journal.add(lane, 30)
            until(lambda: at_hq(hq, "replayed") == sorted(journal.ids().values()), "HQ has it")
        journal.replace("bulk", 11, 20)
        last_year = [(topic, payload) for topic, payload in tap.heard if topic.startswith("outstation/v1/replayed/")]
        envelopes = [(topic, payload) for topic, payload in last_year if topic.split("/")[-1] in ("now", "day", "bulk")]
        assert len(envelopes) >= 9
        journal.add("day", 2 * MAX_ROWS)
        until(lambda: len(at_hq(hq, "replayed")) == 270 + 2 * MAX_ROWS, "HQ has this year's")
        before = all_of_it()

        again = last_year * 10
        Random(20261123).shuffle(again)
        for topic, payload in again:
            tap.say(topic, payload)
        for topic, payload in envelopes:
            other.publish(topic, payload)  # which the broker drops, because this topic is not its own
            other.publish(topic.replace("/replayed/", "/another/"), payload)
        until(lambda: hq.site("another")["refused"] == len(envelopes), "all of them have come")

        assert all_of_it() == before
        seen = hq.site("replayed")
        assert (seen["refused"], seen["conflicts"], seen["lacking"], seen["state"]) == (0, 0, 0, "up")
        reasons = {reason for _, reason in set_aside(hq, "another")}
        assert reasons == {
            f"an envelope of site replayed, lane {lane} came on the topic outstation/v1/another/up/{lane}."
            for lane in ("now", "day", "bulk")
        }
        assert (hq.site("another")["records"], at_hq(hq, "another")) == (0, [])
        assert "came on the topic outstation/v1/another/up/day" in hq.page("/sites/another")
        journal.add("now", 1)
        until(lambda: len(at_hq(hq, "replayed")) == 271 + 2 * MAX_ROWS, "the site goes on")
    finally:
        link.kill()
        link.wait()
        other.close()
        tap.close()
        journal.close()


def test_numbers_from_the_future_show_as_a_gap_and_hold_up_nothing(hq: RunningHq, tmp_path: Path) -> None:
    gateway = Gateway.enrolled(hq, tmp_path / "site", "ahead")
    gateway.start()
    try:
        gateway.write(3)
        until(lambda: at_hq(hq, "ahead") == gateway.ids(), "HQ has the first notes")
        thief = Thief(hq, "ahead", gateway.secrets, tmp_path / "copy")
        forged = thief.send(gateway.epoch(), 10**9)
        lanes: tuple[Lane, ...] = ("now", "day", "bulk")
        forged += [id for lane in lanes for id in thief.send(gateway.epoch(), LAST_NUMBER - 1, 2, lane)]
        # Epochs from the future, more of them than HQ tells a site of at once.
        forged += [id for back in range(40) for id in thief.send(LAST_NUMBER - back, LAST_NUMBER)]
        until(lambda: at_hq(hq, "ahead") == sorted([*gateway.ids(), *forged]), "HQ keeps them")

        seen = hq.site("ahead")
        assert seen["lacking"] >= LAST_NUMBER - 10
        assert f"{LAST_NUMBER:,}" in hq.page("/sites/ahead")
        assert "<b class='bad'>" in hq.page("/")
        assert '"ahead"' in hq.page("/api/sites")
        until(lambda: "record 1000000000 of lane day" in gateway.status()["reason"], "the site says so")
        assert "another box has this one's key" in gateway.status()["reason"]

        gateway.write(3)
        until(lambda: at_hq(hq, "ahead") == sorted([*gateway.ids(), *forged]), "the site goes on delivering")
        gateway.end()
        gateway.start()
        gateway.write(1)
        until(lambda: at_hq(hq, "ahead") == sorted([*gateway.ids(), *forged]), "also when it has asked what HQ has")
        log = (gateway.folder / "gateway.log").read_text("utf-8")
        assert (log.count("HQ answers"), "fewer rows" in log) == (2, False)
        until(lambda: gateway.status()["waiting"] == 0, "nothing waits")
        thief.client.close()
    finally:
        gateway.end()


def test_two_boxes_with_one_identity_lose_nothing_and_all_sides_say_so(hq: RunningHq, tmp_path: Path) -> None:
    first = Gateway.enrolled(hq, tmp_path / "first", "twins")
    first.start()
    first.write(5)
    until(lambda: at_hq(hq, "twins") == first.ids(), "HQ has what both will have")
    first.end()
    second = first.copy(tmp_path / "second")
    boxes = (first, second)
    try:
        for box in boxes:
            box.start()
        for number in (1, 2):
            for box in boxes:
                box.write(2)
            second.write(number)
        accepted = sorted({*first.ids(), *second.ids()})
        assert len(accepted) == 5 + 4 + 7
        until(lambda: hq.site("twins")["conflicts"], "HQ sees it")
        assert ("conflict", True) in {
            (cause, "two boxes use one identity" in why) for cause, why in set_aside(hq, "twins")
        }
        assert "conflict" in hq.page("/")
        assert "two boxes use one identity" in hq.page("/sites/twins")
        for box in boxes:
            until(lambda box=box: "another box has this one's key" in box.status()["reason"], "each box says so")  # type: ignore[misc]
            assert box.status()["connected"]
        for box in boxes:  # neither throws the other out
            log = (box.folder / "gateway.log").read_text("utf-8")
            assert log.count("no connection to HQ's broker") == 0

        def nothing_is_lost() -> bool:
            """Every record is at HQ, or its own box has it and says that it waits."""
            waiting = [box.status()["waiting"] for box in boxes]
            known = set(at_hq(hq, "twins"))
            return all(len(set(box.ids()) - known) <= waits for box, waits in zip(boxes, waiting, strict=True))

        assert nothing_is_lost()
        until(lambda: at_hq(hq, "twins") == accepted, "HQ has everything of both, once", timeout_s=40)

        second.end()
        second.enrol(hq)
        second.start()
        until(lambda: "Not authorized" in first.status()["reason"], "the other one is not let in any more")
        second.write(3)
        until(lambda: at_hq(hq, "twins") == sorted({*accepted, *second.ids()}), "the new one goes on", timeout_s=40)
        until(lambda: (second.status()["reason"], second.status()["waiting"]) == ("", 0), "it is well")
        first.end()
        first.enrol(hq)
        first.start()
        first.write(2)
        everything = sorted({*accepted, *first.ids(), *second.ids()})
        until(lambda: at_hq(hq, "twins") == everything, "and so does the other with a key of its own", timeout_s=40)
    finally:
        for box in boxes:
            box.end()


def test_a_bomb_is_set_aside_unopened_and_hq_goes_on(hq: RunningHq, tmp_path: Path) -> None:
    assert enrol(make_site(tmp_path / "site", "bomber"), hq.invite("bomber")).returncode == 0
    thief = Thief(hq, "bomber", tmp_path / "site" / "secrets", tmp_path / "copy")
    compressor = zstandard.ZstdCompressor(level=19).compressobj(size=1 << 30)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(1 << 10)) + compressor.flush()
    assert len(bomb) < 200_000
    plain = pack(
        thief.key,
        site="bomber",
        epoch=1,
        lane="day",
        rows=[Row(1, "event", str(uuid_utils.uuid7()), 1, "boot", 1, msgspec.Raw(b"\x80"))],
    )
    covered = plain[: 2 + int.from_bytes(plain[:2], "big")] + bomb
    signed = covered + thief.key.sign(b"outstation envelope v2\n" + covered)
    assert open_header(signed).site == "bomber"
    before_kb = memory_kb(hq)
    thief.client.publish("outstation/v1/bomber/up/day", signed)
    until(lambda: set_aside(hq, "bomber"), "HQ has looked at it")
    assert set_aside(hq, "bomber") == [("refused", "the body claims 1073741824 bytes; 0 to 2097152 are unpacked.")]
    assert memory_kb(hq) - before_kb < 32 << 10
    ids = thief.send(1, 1)
    until(lambda: at_hq(hq, "bomber") == ids, "HQ takes what comes next")
    thief.client.close()


def memory_kb(hq: RunningHq) -> int:
    """The most that HQ's process ever had."""
    lines = Path(f"/proc/{hq.pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_what_the_broker_acknowledged_and_lost_comes_again(hq: RunningHq, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", "forgotten")
    assert enrol(site, hq.invite("forgotten")).returncode == 0
    journal = Journal(site / "data" / "journal.db")
    tap = Wiretap(hq.folder)
    link = start_link(site)
    try:
        journal.add("day", 20)
        until(lambda: at_hq(hq, "forgotten") == sorted(journal.ids().values()), "HQ takes records")
        hq.freeze()
        for lane in ("now", "day", "bulk"):
            journal.add(lane, 50)
        until(lambda: tap.waiting() >= 3, "the broker has taken what HQ has not read")
        tap.close()
        assert len(at_hq(hq, "forgotten")) == 20
        os.kill(hq.broker_pid(), signal.SIGKILL)
        shutil.rmtree(hq.folder / "broker" / "store")
        hq.thaw()
        until(lambda: at_hq(hq, "forgotten") == sorted(journal.ids().values()), "HQ has all of it once", timeout_s=40)
        assert hq.site("forgotten")["lacking"] == 0
    finally:
        hq.thaw()
        link.kill()
        link.wait()
        journal.close()
