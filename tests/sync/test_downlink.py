"""Orders on their way to a site: whole or not at all, whatever is lost, altered, repeated or killed on the way."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import uuid_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from sync import downlink
from sync.downlink import MOST_SILENCES, MOST_TRIES, MOST_WANTS, Clock, Downlink
from sync.protocol import CHUNK_BYTES, Chunk, Offer, Want
from sync.settings import LinkSettings

SITE = "mine-3"


def link_settings(folder: Path) -> LinkSettings:
    """A site of which nothing but the downlink folder is used."""
    nowhere = folder / "none"
    return LinkSettings(
        site=SITE,
        hq=None,
        replica="",
        journal=nowhere,
        link_db=nowhere,
        downlink=folder / "downlink",
        key=nowhere,
        certificate=nowhere,
        hq_ca=nowhere,
        hq_key=nowhere,
    )


def an_offer(content: bytes, *, kind: str = "playbook", at: int = 1_800_000_000_000_000, **changes: object) -> Offer:
    fields = {
        "site": SITE,
        "order": str(uuid_utils.uuid7()),
        "kind": kind,
        "name": "",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "at": at,
    }
    return msgspec.convert({**fields, **changes}, Offer)


class Hq:
    """Answers wants from what it holds, a tenth of a second later; `spoil` may alter, lose or repeat what it says."""

    def __init__(self, folder: Path, spoil: Callable[[Chunk], list[Chunk]] = lambda chunk: [chunk]) -> None:
        self.wants: list[Want] = []
        self.asked: list[Want] = []
        self.contents: dict[str, bytes] = {}
        self.now_s = 1000.0
        self.most_under_way = 0
        self._spoil = spoil
        self._folder = folder
        self.downlink = Downlink(link_settings(folder), self.hear)

    def hear(self, want: Want) -> None:
        self.wants.append(want)
        self.asked.append(want)

    def offer(self, content: bytes, **changes: object) -> Offer:
        offer = an_offer(content, **changes)  # type: ignore[arg-type]
        self.contents[offer.order] = content
        self.downlink.offer(offer, self.now_s)
        return offer

    def restart_site(self) -> None:
        """As after a kill: what was under way is gone."""
        self.wants.clear()
        self.downlink = Downlink(link_settings(self._folder), self.hear)

    def answer(self, most: int = 10**9) -> None:
        """Answer until nothing is wanted, but `most` wants at most."""
        while self.wants and most:
            most -= 1
            self.now_s += 0.1
            self.most_under_way = max(self.most_under_way, len(self.wants))
            want = self.wants.pop(0)
            content = self.contents[want.order][want.offset : want.offset + CHUNK_BYTES]
            for chunk in self._spoil(Chunk(site=SITE, order=want.order, offset=want.offset, content=content)):
                self.downlink.chunk(chunk, self.now_s)

    def staged(self, offer: Offer) -> bytes | None:
        """The content, once the daemon may take it."""
        folder = self._folder / "downlink" / offer.order
        if not (folder / "offer.json").is_file():
            return None
        assert msgspec.json.decode((folder / "offer.json").read_bytes(), type=Offer) == offer
        return (folder / "content").read_bytes()


CONTENT = random.Random(7).randbytes(20 * CHUNK_BYTES + 77)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 5 * CHUNK_BYTES + 1])
def test_an_order_of_any_size_is_staged_whole(tmp_path: Path, size: int) -> None:
    hq = Hq(tmp_path)
    offer = hq.offer(CONTENT[:size])
    hq.answer()
    assert hq.staged(offer) == CONTENT[:size]
    assert sorted(path.name for path in (tmp_path / "downlink" / offer.order).iterdir()) == ["content", "offer.json"]


def test_little_is_under_way_at_once_and_less_when_answers_are_slow(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    hq.offer(CONTENT)
    assert len(hq.wants) == 1, "one is tried before more are asked for"
    hq.answer(10)
    assert hq.most_under_way == MOST_WANTS
    hq.now_s += 2.0
    for _ in range(3):
        hq.now_s += 2.0
        hq.answer(1)
    assert len(hq.wants) == 1


def test_after_a_kill_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    offer = hq.offer(CONTENT)
    hq.answer(12)
    with (tmp_path / "downlink" / offer.order / "content.part").open("ab") as part:
        part.write(b"half a chunk that the kill cut off")
    hq.restart_site()
    hq.asked.clear()
    hq.downlink.offer(offer, hq.now_s)
    hq.answer()
    assert hq.staged(offer) == CONTENT
    assert min(want.offset for want in hq.asked) >= 9 * CHUNK_BYTES


def test_what_the_disk_lost_after_a_power_cut_is_noticed_and_pulled_again(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    offer = hq.offer(CONTENT)
    hq.answer(12)
    part = tmp_path / "downlink" / offer.order / "content.part"
    part.write_bytes(bytes(part.stat().st_size))
    hq.restart_site()
    hq.downlink.offer(offer, hq.now_s)
    hq.answer()
    assert hq.staged(offer) == CONTENT


def test_what_comes_altered_every_time_is_given_up_with_its_reason(tmp_path: Path) -> None:
    hq = Hq(tmp_path, lambda chunk: [msgspec.structs.replace(chunk, content=b"x" * len(chunk.content))])
    offer = hq.offer(CONTENT)
    hq.answer()
    folder = tmp_path / "downlink" / offer.order
    assert "SHA-256" in (folder / "refusal").read_text()
    assert (folder / "offer.json").is_file(), "the daemon reports it"
    assert not (folder / "content").exists()
    assert not (folder / "content.part").exists()
    assert len([want for want in hq.asked if want.offset == 0]) == MOST_TRIES


def test_what_is_lost_is_asked_for_again_ever_more_rarely_until_hq_offers_it_anew(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    offer = hq.offer(CONTENT)
    moments = []
    for second in range(600):
        if hq.wants:
            moments.append(second)
            hq.wants.clear()  # the line swallows them
        hq.now_s += 1.0
        hq.downlink.tick(hq.now_s)
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert pauses == sorted(pauses)
    assert len(moments) == MOST_SILENCES
    hq.downlink.offer(offer, hq.now_s)
    hq.answer()
    assert hq.staged(offer) == CONTENT


def test_an_offer_that_is_repeated_after_its_order_was_staged_does_nothing(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    offer = hq.offer(CONTENT)
    hq.answer()
    (tmp_path / "downlink" / offer.order / "content").unlink()  # the daemon is done with it
    before = len(hq.asked)
    for _ in range(2):
        hq.downlink.offer(offer, hq.now_s)
        hq.downlink.tick(hq.now_s + 100)
        hq.restart_site()
    assert len(hq.asked) == before
    assert not (tmp_path / "downlink" / offer.order / "content.part").exists()


def test_nothing_is_written_for_another_site_or_a_name_that_is_no_orders(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    hq.downlink.offer(an_offer(b"x", site="mine-4"), hq.now_s)
    hq.downlink.offer(an_offer(b"x", order="-" * 36), hq.now_s)
    hq.downlink.offer(Offer(**{**msgspec.structs.asdict(an_offer(b"x")), "order": "../../secrets"}), hq.now_s)
    assert not (tmp_path / "downlink").exists()
    assert hq.asked == []


def test_a_chunk_that_nobody_asked_for_is_not_taken(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    offer = hq.offer(CONTENT)
    chunk = Chunk(site=SITE, order=offer.order, offset=5 * CHUNK_BYTES, content=b"x" * CHUNK_BYTES)
    hq.downlink.chunk(chunk, hq.now_s)
    hq.downlink.chunk(msgspec.structs.replace(chunk, order=str(uuid_utils.uuid7())), hq.now_s)
    hq.downlink.chunk(msgspec.structs.replace(chunk, offset=0, content=b""), hq.now_s)
    part = tmp_path / "downlink" / offer.order / "content.part"
    assert part.stat().st_size == 0
    hq.downlink.chunk(msgspec.structs.replace(chunk, offset=0, content=b"x" * 65536), hq.now_s)
    assert part.stat().st_size <= offer.size


def test_a_playbook_overtakes_a_pack(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    pack = hq.offer(CONTENT, kind="pack", name="big")
    hq.answer(3)
    playbook = hq.offer(CONTENT[:100])
    hq.answer(MOST_WANTS + 1)  # what was under way comes first
    assert hq.staged(playbook) == CONTENT[:100]
    assert hq.staged(pack) is None
    hq.now_s += 10
    hq.downlink.tick(hq.now_s)
    hq.answer()
    assert hq.staged(pack) == CONTENT


def test_an_order_for_which_the_disk_has_no_room_is_put_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hq = Hq(tmp_path)
    monkeypatch.setattr(downlink, "SPARE_DISK_BYTES", 1 << 60)
    offer = hq.offer(CONTENT)
    assert hq.asked == []
    monkeypatch.undo()
    hq.downlink.offer(offer, hq.now_s)
    hq.answer()
    assert hq.staged(offer) == CONTENT


def test_parts_of_orders_that_hq_withdrew_go_after_a_month(tmp_path: Path) -> None:
    hq = Hq(tmp_path)
    offer = hq.offer(CONTENT)
    hq.answer(3)
    part = tmp_path / "downlink" / offer.order / "content.part"
    hq.restart_site()
    assert part.exists()
    os.utime(part, (time.time() - 40 * 86_400,) * 2)
    hq.restart_site()
    assert not part.exists()


def test_hqs_clock_is_kept_and_an_old_offer_that_is_repeated_does_not_set_it_back(tmp_path: Path) -> None:
    def clock() -> Clock:
        return msgspec.json.decode((tmp_path / "downlink" / "clock.json").read_bytes(), type=Clock)

    hq = Hq(tmp_path)
    hq.offer(b"", at=1_800_000_000_000_000)
    assert clock().at == 1_800_000_000_000_000
    hq.offer(b"", at=1_700_000_000_000_000)
    assert clock().at == 1_800_000_000_000_000
    hq.offer(b"", at=1_900_000_000_000_000)
    assert clock().at == 1_900_000_000_000_000


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_the_line_does_the_content_is_right_or_not_there(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    def spoil(chunk: Chunk) -> list[Chunk]:
        match data.draw(st.sampled_from("gggggggglrasx"), label="the line"):
            case "l":
                return []
            case "r":
                return [chunk, chunk]
            case "a":
                return [msgspec.structs.replace(chunk, content=chunk.content[::-1])]
            case "s":
                return [msgspec.structs.replace(chunk, content=chunk.content[: len(chunk.content) // 2])]
            case "x":
                return [msgspec.structs.replace(chunk, offset=max(0, chunk.offset - CHUNK_BYTES)), chunk]
            case _:
                return [chunk]

    hq = Hq(tmp_path_factory.mktemp("line"), spoil)
    content = CONTENT[: data.draw(st.integers(0, 9 * CHUNK_BYTES), label="size")]
    offer = hq.offer(content)
    refusal = hq._folder / "downlink" / offer.order / "refusal"
    for _ in range(300):
        hq.answer(5)
        if data.draw(st.integers(0, 9), label="kill") == 0:
            hq.restart_site()
            hq.downlink.offer(offer, hq.now_s)
        hq.now_s += 30
        hq.downlink.tick(hq.now_s)
        if refusal.exists() or hq.staged(offer) is not None:
            break
    assert refusal.exists() or hq.staged(offer) == content


# ---- a process that is killed -------------------------------------------------------------------------------------

PULLER = """
import sys, time
from pathlib import Path
import msgspec
from sync.downlink import Downlink
from sync.protocol import CHUNK_BYTES, Chunk, Offer
from tests.sync.test_downlink import link_settings

folder, content = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
offer = msgspec.json.decode(sys.argv[3], type=Offer)
wants = []
downlink = Downlink(link_settings(folder), wants.append)
downlink.offer(offer, time.monotonic())
print("began", flush=True)
while not (folder / "downlink" / offer.order / "offer.json").exists():
    downlink.tick(time.monotonic())
    while wants:
        want = wants.pop(0)
        chunk = content[want.offset : want.offset + CHUNK_BYTES]
        downlink.chunk(Chunk(site=offer.site, order=offer.order, offset=want.offset, content=chunk), time.monotonic())
print("ended", flush=True)
"""


@pytest.fixture
def big(tmp_path: Path) -> tuple[Path, Offer]:
    content = random.Random(11).randbytes(48 << 20)
    path = tmp_path / "big"
    path.write_bytes(content)
    return path, an_offer(content, kind="pack", name="big")


def test_a_download_that_is_killed_again_and_again_ends_whole(tmp_path: Path, big: tuple[Path, Offer]) -> None:
    path, offer = big
    moments = random.Random(13)
    command = [sys.executable, "-c", PULLER, str(tmp_path), str(path), msgspec.json.encode(offer).decode()]
    part = tmp_path / "downlink" / offer.order / "content.part"
    lengths = []
    for _ in range(8):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.05))  # the moment of the kill is what is random here
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if part.exists():
            lengths.append(part.stat().st_size)
    assert lengths == sorted(lengths), "a kill costs nothing that was there"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    folder = tmp_path / "downlink" / offer.order
    assert (folder / "content").read_bytes() == path.read_bytes()
    assert json.loads((folder / "offer.json").read_text())["order"] == offer.order
