"""What HQ sends: checked, put into force by date or by a person, taken back when it does not run, always reported."""

import hashlib
import io
import shutil
import tarfile
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import zstandard

from edge.activation import MOST_STARTS, Activation, Trial
from edge.errors import Conflict, PlaybookGap
from edge.events import Audio, Call, boot_id, mono_us, new_id, now_us
from edge.loading import load
from edge.orders import AUDIO_PART_BYTES, HqClock, Orders, is_due
from edge.site import SAMPLE, Site
from edge.store.journal import Journal, Offer
from models import store
from models.pack import manifest_text, read_pack
from tests.records import an_event

DAY_US = 86_400_000_000
PLAYBOOK = (SAMPLE / "playbook.toml").read_text("utf-8")
SHIPPED = store.SHIPPED / "device-anomaly"


class Adoption:
    """Stands for the daemon: loads what is there, as it does, and remembers which titles ran."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ran: list[str] = []
        self.broken = False

    def __call__(self) -> None:
        if self.broken:
            self.broken = False
            raise PlaybookGap("it does not run.")
        self.ran.append(load(self.site).playbook.titles["safety"]["en"])


@pytest.fixture
def adoption(site: Site) -> Adoption:
    site.playbook.write_text(PLAYBOOK, "utf-8")
    shutil.copyfile(SAMPLE / "vocabulary.toml", site.vocabulary)
    return Adoption(site)


@pytest.fixture
def orders(site: Site, journal: Journal, adoption: Adoption) -> Orders:
    return Orders(site, journal, adoption)


def stage(site: Site, kind: str, content: bytes, *, name: str = "", activate_at: int | None = None) -> str:
    """As the link stages an order; gives its id."""
    order = new_id()
    folder = site.downlink / order
    folder.mkdir(parents=True)
    (folder / "content").write_bytes(content)
    offer = {
        "site": "test",
        "order": order,
        "kind": kind,
        "name": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "at": now_us(),
        "activate_at": activate_at,
    }
    (folder / "offer.json").write_bytes(msgspec.json.encode(offer))
    return order


def hq_clock(site: Site, at: int, *, boot: str | None = None) -> None:
    """As the link notes HQ's clock."""
    clock = HqClock(at=at, boot=boot_id() if boot is None else boot, mono=mono_us())
    (site.downlink / "clock.json").write_bytes(msgspec.json.encode(clock))


def playbook(title: str) -> bytes:
    """The sample's, with another title for the play `safety`."""
    return PLAYBOOK.replace('en = "Danger to people"', f'en = "{title}"').encode()


def pack_file(version: str, *, spoil: Callable[[dict[str, bytes]], None] = lambda files: None) -> bytes:
    """The device pack that ships as one file, with another version."""
    manifest = msgspec.structs.replace(read_pack(SHIPPED).manifest, version=version)
    files = {"pack.toml": manifest_text(manifest).encode()}
    files |= {name: (SHIPPED / name).read_bytes() for name in manifest.files}
    spoil(files)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return zstandard.ZstdCompressor().compress(packed.getvalue())


def story(journal: Journal, order: str) -> list[tuple[str, str]]:
    """The states of an order and who brought them about."""
    rows: list[Any] = (
        journal.readers.connection()
        .execute("SELECT state, by FROM orders WHERE order_id = ? ORDER BY seq", (order,))
        .fetchall()
    )
    return rows


def remark(journal: Journal, order: str) -> str:
    return journal.orders()[order].remark


def leaving(journal: Journal, kind: str, record: Any) -> list[Any]:
    """The records of a kind that wait for HQ."""
    rows: list[Any] = (
        journal.readers.connection()
        .execute("SELECT record FROM outbox WHERE kind = ? ORDER BY seq", (kind,))
        .fetchall()
    )
    return [msgspec.msgpack.decode(row, type=record) for (row,) in rows]


# ---- playbooks -------------------------------------------------------------------------------------------------------


def test_a_playbook_waits_for_a_person_and_then_runs(
    site: Site, journal: Journal, orders: Orders, adoption: Adoption
) -> None:
    order = stage(site, "playbook", playbook("Everybody out"))
    orders.look()
    assert story(journal, order) == [("staged", "hq"), ("waiting", "gateway")]
    assert site.playbook.read_text("utf-8") == PLAYBOOK, "nobody agreed yet"
    changed = [(line.change, line.text) for line in orders.difference(order) if line.change in ("gone", "new")]
    assert changed == [
        ("gone", 'title = { en = "Danger to people", zh = "人身安全隐患" }'),
        ("new", 'title = { en = "Everybody out", zh = "人身安全隐患" }'),
    ]

    view = orders.agree(order, "Li Wei", "good")
    assert (view.state, view.by, view.remark) == ("active", "Li Wei", "good")
    assert adoption.ran == ["Everybody out"]
    assert site.playbook.read_bytes() == playbook("Everybody out")
    assert story(journal, order)[-1] == ("active", "Li Wei")
    states = [sent["state"] for sent in leaving(journal, "order", dict)]
    assert states == ["staged", "waiting", "active"], "HQ hears of every change"


def test_a_playbook_that_lacks_a_label_of_a_pack_in_use_is_refused_with_the_label(
    site: Site, journal: Journal, orders: Orders
) -> None:
    order = stage(site, "playbook", PLAYBOOK.replace('"safety_hazard"', '"safety_hazzard"').encode())
    orders.look()
    assert story(journal, order)[-1] == ("refused", "gateway")
    assert "'safety_hazard'" in remark(journal, order)
    assert str(site.folder) not in remark(journal, order), "a path of the gateway tells HQ nothing"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[[play]\n", "playbook.toml: this is not TOML"),
        (b"\xff\xfe", "playbook.toml cannot be read as UTF-8"),
        (
            PLAYBOOK.replace("within_minutes = 1\n", "within_minutes = inf\n").encode(),
            "play.step.within_minutes: Expected `float` <= 527040",
        ),
        (PLAYBOOK.replace("fires_after_s = 0", "fires_after_s = nan").encode(), "fires_after_s"),
        (b"#" * (1 << 20) + b"\n", "at most"),
    ],
    ids=["not TOML", "not text", "infinite", "no number", "too large"],
)
def test_a_playbook_that_would_not_run_is_refused_with_its_reason(
    site: Site, journal: Journal, orders: Orders, content: bytes, says: str
) -> None:
    order = stage(site, "playbook", content)
    orders.look()
    assert story(journal, order)[-1] == ("refused", "gateway")
    assert says in remark(journal, order)
    assert not (site.downlink / order / "content").exists()
    with pytest.raises(Conflict):
        orders.agree(order, "Li Wei")


def test_somebody_on_site_declines(site: Site, journal: Journal, orders: Orders) -> None:
    order = stage(site, "playbook", playbook("Everybody out"))
    orders.look()
    view = orders.decline(order, "Li Wei", "not during the strike")
    assert (view.state, view.by, view.remark) == ("refused", "Li Wei", "not during the strike")
    orders.look()
    assert site.playbook.read_text("utf-8") == PLAYBOOK
    assert story(journal, order)[-1] == ("refused", "Li Wei")


def test_a_newer_playbook_takes_the_place_of_one_that_waits(site: Site, journal: Journal, orders: Orders) -> None:
    older, newer = stage(site, "playbook", playbook("Older")), stage(site, "playbook", playbook("Newer"))
    orders.look()
    orders.look()
    assert journal.orders()[older].state == "refused"
    assert newer in remark(journal, older)
    assert journal.orders()[newer].state == "waiting"


def test_an_older_playbook_that_comes_late_does_not_undo_a_newer_one(
    site: Site, journal: Journal, orders: Orders
) -> None:
    late = stage(site, "playbook", playbook("Late"), activate_at=now_us() - DAY_US)
    shutil.move(site.downlink / late, site.data / late)
    newer = stage(site, "playbook", playbook("Newer"))
    orders.look()
    orders.agree(newer, "Li Wei")
    shutil.move(site.data / late, site.downlink / late)
    orders.look()
    assert journal.orders()[late].state == "refused"
    assert site.playbook.read_bytes() == playbook("Newer")


def test_an_order_that_has_ended_does_nothing_when_it_comes_again(site: Site, journal: Journal, orders: Orders) -> None:
    order = stage(site, "playbook", playbook("Once"), activate_at=now_us() - DAY_US)
    orders.look()
    assert journal.orders()[order].state == "active"
    site.playbook.write_text(PLAYBOOK, "utf-8")  # somebody went back by hand
    again = Orders(site, journal, Adoption(site))
    again._activation.end()
    (site.downlink / order / "content").write_bytes(playbook("Once"))
    again.look()
    assert site.playbook.read_text("utf-8") == PLAYBOOK
    assert [state for state, _ in story(journal, order)] == ["staged", "waiting", "active"]


def test_what_does_not_run_is_taken_back_and_reported(
    site: Site, journal: Journal, orders: Orders, adoption: Adoption
) -> None:
    order = stage(site, "playbook", playbook("Breaks"))
    orders.look()
    adoption.broken = True
    view = orders.agree(order, "Li Wei")
    assert (view.state, view.remark) == ("rolled_back", "it does not run.")
    assert site.playbook.read_text("utf-8") == PLAYBOOK
    assert adoption.ran == ["Danger to people"], "what was there before runs again"


def test_a_second_order_waits_until_the_first_has_proven_itself(site: Site, orders: Orders) -> None:
    first = stage(site, "playbook", playbook("First"))
    second = stage(site, "vocabulary", site.vocabulary.read_bytes())
    orders.look()
    orders.agree(first, "Li Wei")
    with pytest.raises(Conflict, match="tried out"):
        orders.agree(second, "Li Wei")
    orders._proven_s = time.monotonic()
    orders.look()
    assert orders.agree(second, "Li Wei").state == "active"


# ---- kills -----------------------------------------------------------------------------------------------------------


def test_an_activation_that_was_killed_is_finished_and_reported_at_the_next_start(
    site: Site, journal: Journal, orders: Orders
) -> None:
    order = stage(site, "playbook", playbook("Finished"))
    orders.look()
    # As if killed after the trial was written and before anything was replaced.
    Activation(site)._write(Trial(order=order, kind="playbook", name="", by="Li Wei"))
    Activation(site).resume()
    assert site.playbook.read_bytes() == playbook("Finished")
    restarted = Orders(site, journal, Adoption(site))
    restarted.look()
    restarted.look()
    assert story(journal, order) == [("staged", "hq"), ("waiting", "gateway"), ("active", "Li Wei")]


def test_a_gateway_that_keeps_dying_with_it_goes_back_and_says_so(site: Site, journal: Journal, orders: Orders) -> None:
    order = stage(site, "playbook", playbook("Deadly"))
    orders.look()
    orders.agree(order, "Li Wei")
    for _ in range(MOST_STARTS - 1):
        Activation(site).resume()
        assert site.playbook.read_bytes() == playbook("Deadly")
    Activation(site).resume()
    assert site.playbook.read_text("utf-8") == PLAYBOOK
    Orders(site, journal, Adoption(site)).look()
    assert story(journal, order)[-1] == ("rolled_back", "gateway")
    assert f"ended {MOST_STARTS - 1} times" in remark(journal, order)
    assert Activation(site).trial is None


def test_an_order_whose_content_is_gone_at_the_start_is_taken_back(
    site: Site, journal: Journal, orders: Orders
) -> None:
    order = stage(site, "playbook", playbook("Gone"))
    orders.look()
    orders.agree(order, "Li Wei")
    shutil.rmtree(site.downlink)
    Activation(site).resume()
    assert site.playbook.read_text("utf-8") == PLAYBOOK
    Orders(site, journal, Adoption(site)).look()
    assert story(journal, order)[-1] == ("rolled_back", "gateway")


# ---- by date ---------------------------------------------------------------------------------------------------------


def test_an_order_takes_effect_at_its_date_by_itself(site: Site, journal: Journal, orders: Orders) -> None:
    at = now_us() + DAY_US
    order = stage(site, "playbook", playbook("Tomorrow"), activate_at=at)
    hq_clock(site, now_us())
    orders.look()
    assert journal.orders()[order].state == "waiting"
    hq_clock(site, at)
    orders.look()
    assert story(journal, order)[-1] == ("active", "hq")


def test_hqs_clock_decides_while_the_boot_lasts_and_a_wrong_clock_here_never_hurries() -> None:
    heard = HqClock(at=10 * DAY_US, boot=boot_id(), mono=mono_us())
    assert is_due(10 * DAY_US, heard, wall=0), "it is 1970 here, and HQ said what day it is"
    assert not is_due(11 * DAY_US, heard, wall=10_000 * DAY_US), "the clock here is years ahead"
    hour_ago = HqClock(at=10 * DAY_US, boot=boot_id(), mono=mono_us() - 3_600_000_000)
    assert is_due(10 * DAY_US + 3_500_000_000, hour_ago, wall=0), "time goes on since HQ was heard"


def test_after_a_restart_without_hq_only_a_clock_that_can_be_right_is_believed() -> None:
    before = HqClock(at=10 * DAY_US, boot="an earlier one", mono=mono_us())
    assert not is_due(11 * DAY_US, before, wall=0), "1970: wait for HQ or a person"
    assert not is_due(11 * DAY_US, before, wall=10 * DAY_US + 1)
    assert is_due(11 * DAY_US, before, wall=11 * DAY_US)
    assert is_due(9 * DAY_US, before, wall=0), "it was due when HQ was heard last"


# ---- vocabularies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[term]]\nkind = "machine"\nname = "x"\nen = ["x"]\nfr = ["x"]\n', "vocabulary.toml:5: term.fr"),
        ('[[term]]\nkind = "beast"\nname = "x"\nen = ["x"]\n', "vocabulary.toml:2: term.kind"),
        ('[[term]]\nkind = "part"\nname = "x"\n', "nobody says the part 'x'"),
        ('[[term]]\nkind = "part"\nname = "x"\nen = ["x"]\n' * 2, "two terms"),
    ],
)
def test_a_vocabulary_that_is_wrong_is_refused_with_its_line(
    site: Site, journal: Journal, orders: Orders, text: str, says: str
) -> None:
    order = stage(site, "vocabulary", text.encode())
    orders.look()
    assert journal.orders()[order].state == "refused"
    assert says in remark(journal, order)


def test_a_vocabulary_takes_the_place_of_the_old_one(site: Site, journal: Journal, orders: Orders) -> None:
    text = b'[[term]]\nkind = "machine"\nname = "hoist-09"\nzh = ["\xe4\xb9\x9d\xe5\x8f\xb7"]\n'
    order = stage(site, "vocabulary", text)
    orders.look()
    orders.agree(order, "Li Wei")
    assert site.vocabulary.read_bytes() == text


# ---- packs -----------------------------------------------------------------------------------------------------------


def test_a_pack_is_unpacked_opened_activated_and_the_one_before_comes_back_if_it_does_not_run(
    site: Site, journal: Journal, orders: Orders, adoption: Adoption
) -> None:
    first = stage(site, "pack", pack_file("9.0"), name="device-anomaly")
    orders.look()
    assert journal.orders()[first].state == "waiting", remark(journal, first)
    assert store.find_pack("device-anomaly", site.packs).manifest.version != "9.0", "nobody agreed yet"
    assert ("new", 'version = "9.0"') in [(line.change, line.text) for line in orders.difference(first)]
    orders.agree(first, "Li Wei")
    assert store.find_pack("device-anomaly", site.packs).manifest.version == "9.0"

    orders._proven_s = time.monotonic()
    second = stage(site, "pack", pack_file("9.1"), name="device-anomaly")
    orders.look()
    adoption.broken = True
    assert orders.agree(second, "Li Wei").state == "rolled_back"
    assert store.find_pack("device-anomaly", site.packs).manifest.version == "9.0"


def test_nobody_goes_back_to_a_pack_that_does_not_run(site: Site, orders: Orders) -> None:
    for version in ("9.0", "9.1"):
        order = stage(site, "pack", pack_file(version), name="device-anomaly")
        orders.look()
        assert orders.agree(order, "Li Wei").state == "active"
        orders._proven_s = time.monotonic()
        orders.look()
    (store.earlier(site.packs, "device-anomaly").folder / "model.onnx").write_bytes(b"the disk has rotted")
    with pytest.raises(Conflict, match=r"so this stays: .*was altered"):
        orders.roll_back(order, "Li Wei")
    assert store.find_pack("device-anomaly", site.packs).manifest.version == "9.1"


def _grow(files: dict[str, bytes]) -> None:
    files["model.onnx"] += b"x"


def _stray(files: dict[str, bytes]) -> None:
    files["run.sh"] = b"rm -rf /"


def _escape(files: dict[str, bytes]) -> None:
    files["../../../playbook.toml"] = b"x"


def _no_model(files: dict[str, bytes]) -> None:
    files["model.onnx"] = b"no model"
    digest = hashlib.sha256(b"no model").hexdigest()
    shipped = read_pack(SHIPPED).manifest
    manifest = msgspec.structs.replace(shipped, files=shipped.files | {"model.onnx": digest})
    files["pack.toml"] = manifest_text(manifest).encode()


def _other_labels(files: dict[str, bytes]) -> None:
    manifest = msgspec.structs.replace(read_pack(SHIPPED).manifest, labels=("on_fire",), thresholds={"on_fire": 0.5})
    files["pack.toml"] = manifest_text(manifest).encode()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_grow, "was altered"),
        (_stray, "'run.sh'"),
        (_escape, "which no pack does"),
        (_no_model, "does not open"),
        (_other_labels, "'on_fire'"),
        (lambda files: files.pop("pack.toml"), "does not begin with pack.toml"),
    ],
)
def test_a_pack_that_is_wrong_is_refused_and_leaves_nothing(
    site: Site, journal: Journal, orders: Orders, spoil: Callable[[dict[str, bytes]], None], says: str
) -> None:
    order = stage(site, "pack", pack_file("9.0", spoil=spoil), name="device-anomaly")
    orders.look()
    assert journal.orders()[order].state == "refused"
    assert says in remark(journal, order)
    with store.writing(site.packs):
        pass  # sweeps
    assert list((site.packs / ".installed").iterdir()) == []
    assert site.playbook.read_text("utf-8") == PLAYBOOK


def test_a_pack_that_is_no_pack_is_refused(site: Site, journal: Journal, orders: Orders) -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (8 << 20))
    for content in (b"", b"no zstd", pack_file("9.0")[:-100], bomb):
        order = stage(site, "pack", content, name="device-anomaly")
        orders.look()
        assert journal.orders()[order].state == "refused"


def test_a_pack_killed_while_it_was_activated_is_whole_at_the_next_start(
    site: Site, journal: Journal, orders: Orders
) -> None:
    order = stage(site, "pack", pack_file("9.0"), name="device-anomaly")
    orders.look()
    Activation(site)._write(Trial(order=order, kind="pack", name="device-anomaly", by="hq"))
    Activation(site).resume()
    assert store.find_pack("device-anomaly", site.packs).manifest.version == "9.0"
    Activation(site).resume()
    Activation(site).take_back("It does not run.")
    assert store.find_pack("device-anomaly", site.packs).folder == SHIPPED, "there was none before: the one that ships"


# ---- requests --------------------------------------------------------------------------------------------------------


def a_call(site: Site, journal: Journal, sound: bytes) -> str:
    event = an_event(
        Call(audio="red.wav", duration_s=1.0, sample_rate_hz=8000, channels=("agent", "customer"), language="en")
    )
    journal.accept([Offer(events=[(None, event)])]).result()
    site.audio.mkdir()
    (site.audio / "red.wav").write_bytes(sound)
    return event.id


def test_the_sound_of_a_call_goes_to_hq_in_parts(site: Site, journal: Journal, orders: Orders) -> None:
    sound = bytes(range(256)) * 2100
    call = a_call(site, journal, sound)
    order = stage(site, "request", call.encode(), name="audio")
    orders.look()
    assert story(journal, order) == [("staged", "hq"), ("fulfilled", "gateway")]
    parts = leaving(journal, "audio", Audio)
    assert b"".join(part.content for part in parts) == sound
    assert [(part.event_id, part.part, part.parts) for part in parts] == [(call, 0, 3), (call, 1, 3), (call, 2, 3)]
    assert {part.sha256 for part in parts} == {hashlib.sha256(sound).hexdigest()}
    assert max(len(part.content) for part in parts) == AUDIO_PART_BYTES


def test_a_request_that_was_killed_goes_on_with_the_next_part(site: Site, journal: Journal, orders: Orders) -> None:
    call = a_call(site, journal, bytes(3 * AUDIO_PART_BYTES))
    order = stage(site, "request", call.encode(), name="audio")
    first = Audio(at=now_us(), event_id=call, part=0, parts=3, sha256="", content=b"")
    journal.send_audio(first, f"audio/{order}").result()
    orders.look()
    assert [part.part for part in leaving(journal, "audio", Audio)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("audio", b"../../secrets/site.key", "There is no call"),
        ("audio", new_id().encode(), "There is no call"),
        ("secrets", b"", "does not know"),
    ],
)
def test_a_request_for_what_is_not_there_is_refused(
    site: Site, journal: Journal, orders: Orders, name: str, content: bytes, says: str
) -> None:
    order = stage(site, "request", content, name=name)
    orders.look()
    assert journal.orders()[order].state == "refused"
    assert says in remark(journal, order)


@pytest.mark.parametrize("left", [None, b""])
def test_a_request_for_sound_that_went_to_make_room_is_refused_and_says_so(
    site: Site, journal: Journal, orders: Orders, left: bytes | None
) -> None:
    call = a_call(site, journal, b"")
    if left is None:
        (site.audio / "red.wav").unlink()
    order = stage(site, "request", call.encode(), name="audio")
    orders.look()
    assert journal.orders()[order].state == "refused"
    assert "no longer kept" in remark(journal, order)


def test_what_the_link_could_not_have_is_reported(site: Site, journal: Journal, orders: Orders) -> None:
    order = stage(site, "playbook", b"")
    (site.downlink / order / "content").unlink()
    (site.downlink / order / "refusal").write_text("Its SHA-256 does not hold.")
    orders.look()
    assert story(journal, order)[-1] == ("refused", "gateway")
    assert remark(journal, order) == "Its SHA-256 does not hold."


def test_a_folder_that_is_no_orders_is_left_alone(site: Site, journal: Journal, orders: Orders) -> None:
    for name in ("..evil", "x" * 36):
        (site.downlink / name).mkdir(parents=True)
        (site.downlink / name / "offer.json").write_text("{}")
    (site.downlink / new_id()).mkdir()
    orders.look()
    assert journal.orders() == {}


def test_what_a_kill_left_of_a_file_that_came_in_is_removed_at_the_next_start(site: Site, orders: Orders) -> None:
    left = site.incoming / "tmp1234" / "content"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a pack")
    orders.start()
    orders.stop()
    assert not left.exists()
