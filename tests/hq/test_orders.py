"""What HQ sends to sites: kept, offered until it has ended, answered piece by piece, and how it stands."""

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import pytest
import uuid_utils
from click.testing import CliRunner

from sync import keys
from sync.envelope import Header, Row
from sync.errors import LinkSettingsError
from sync.hq import orders
from sync.hq.orders_cli import COMMANDS
from sync.hq.pack_file import name_of_pack, write_pack_file
from sync.hq.store import Store
from sync.protocol import CHUNK_BYTES, Lane, Offer, Want

SITE = "mine-3"
hq = click.Group(commands={command.name or "": command for command in COMMANDS})
PACK = Path(__file__).parents[2] / "models" / "packs" / "device-anomaly"
NOW = 1_795_000_000_000_000


@pytest.fixture
def store(where: str | Path, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(where)
    opened.enrol(SITE, keys.create(tmp_path / "secrets" / "site.key"))
    yield opened
    opened.close()


class Outbox:
    """A site's rows, as the receiver gives them to the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: dict[Lane, int] = {}

    def send(self, lane: Lane, kind: str, /, **record: object) -> None:
        seq = self._last[lane] = self._last.get(lane, 0) + 1
        id = str(uuid_utils.uuid7())
        encoded = msgspec.Raw(msgspec.msgpack.encode({"id": id, "at": NOW, **record}))
        row = Row(seq=seq, kind=kind, id=id, at=NOW + seq, boot="boot", mono=seq, record=encoded)
        header = Header(
            site=SITE, epoch=1, lane=lane, first_seq=seq, last_seq=seq, count=1, dictionary="", key_id="0" * 16
        )
        with self._store.transaction([SITE]):
            self._store.apply(header, [row], NOW)

    def report(self, order: str, state: str, by: str = "gateway", remark: str = "") -> None:
        self.send("now", "order", order_id=order, kind="playbook", name="", state=state, by=by, remark=remark)

    def audio(self, call: str, part: int, parts: int, sha256: str, content: bytes) -> None:
        self.send("bulk", "audio", event_id=call, part=part, parts=parts, sha256=sha256, content=content)


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store)


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    path = tmp_path / "playbook.toml"
    path.write_text("".join(f"a{number} = 1\n" for number in range(5_000)), "utf-8")
    return path


def pulled(store: Store, offer: Offer, begin: int = 0) -> bytes:
    """What a site gets that asks from `begin` on."""
    content = b""
    while begin + len(content) < offer.size:
        want = Want(site=SITE, order=offer.order, offset=begin + len(content))
        chunk = orders.answers(store, SITE, want)
        assert chunk is not None
        assert chunk.offset == want.offset
        content += chunk.content
    return content


def test_what_is_sent_is_offered_and_comes_piece_by_piece(store: Store, playbook: Path) -> None:
    order = orders.send(store, SITE, "playbook", playbook, activate_at=NOW)
    (offer,) = orders.offers(store, SITE)
    content = playbook.read_bytes()
    assert (offer.order, offer.kind, offer.size, offer.activate_at) == (order, "playbook", len(content), NOW)
    assert offer.sha256 == hashlib.sha256(content).hexdigest()
    assert pulled(store, offer) == content
    assert pulled(store, offer, CHUNK_BYTES + 5) == content[CHUNK_BYTES + 5 :], "a site may ask from any byte on"
    assert orders.answers(store, SITE, Want(site=SITE, order=order, offset=offer.size)) is None


def test_an_order_is_its_own_sites_only(store: Store, playbook: Path, tmp_path: Path) -> None:
    store.enrol("mine-4", keys.create(tmp_path / "other" / "site.key"))
    order = orders.send(store, SITE, "playbook", playbook)
    assert orders.offers(store, "mine-4") == []
    assert orders.answers(store, "mine-4", Want(site="mine-4", order=order, offset=0)) is None
    with pytest.raises(LinkSettingsError, match="not enrolled"):
        orders.send(store, "mine-5", "playbook", playbook)
    store.revoke(SITE)
    with pytest.raises(LinkSettingsError, match="not enrolled"):
        orders.send(store, SITE, "playbook", playbook)


def test_an_order_is_offered_until_the_site_says_that_it_has_ended(
    store: Store, outbox: Outbox, playbook: Path
) -> None:
    order = orders.send(store, SITE, "playbook", playbook)
    for state in ("staged", "waiting"):
        outbox.report(order, state)
        assert [offer.order for offer in orders.offers(store, SITE)] == [order]
    outbox.report(order, "active", "Li Wei", "good")
    assert orders.offers(store, SITE) == []
    (view,) = orders.orders(store)
    assert (view.state, view.by, view.remark, view.got) == ("active", "Li Wei", "good", view.size)


def test_the_content_of_what_has_ended_is_dropped_and_not_what_others_need(
    store: Store, outbox: Outbox, playbook: Path
) -> None:
    first, second = (orders.send(store, SITE, "playbook", playbook) for _ in range(2))
    other = playbook.with_name("other.toml")
    other.write_text("b = 2\n")
    outbox.report(first, "refused")
    third = orders.send(store, SITE, "vocabulary", other)
    assert orders.answers(store, SITE, Want(site=SITE, order=first, offset=0)) is None
    assert len(pulled(store, orders.offers(store, SITE)[0])) == playbook.stat().st_size
    outbox.report(second, "active")
    outbox.report(third, "active")
    orders.request_audio(store, SITE, str(uuid_utils.uuid7()))
    assert store.database.select("SELECT count(*) FROM order_content")[0][0] == 1
    assert [view.state for view in orders.orders(store, SITE)] == ["offered", "active", "active", "refused"]


def test_how_much_a_site_has_got_is_seen(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "pack.toml").write_text('name = "big"\n')
    (folder / "model").write_bytes(random.Random(5).randbytes(3 << 20))
    file = write_pack_file(folder)
    orders.send(store, SITE, "pack", file)
    file.unlink()
    (offer,) = orders.offers(store, SITE)
    assert orders.orders(store)[0].got == 0
    pulled(store, offer)
    assert orders.orders(store)[0].got == 3 << 20


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("playbook", b"[[play]\n", "not TOML"),
        ("vocabulary", b"\xff\xff", "not TOML"),
        ("playbook", b"#" * ((1 << 20) + 1), "a site takes"),
        ("pack", b"no zstd", "no pack"),
        ("pack", b"", "no pack"),
    ],
)
def test_what_can_be_seen_to_be_wrong_is_refused_at_once(
    store: Store, tmp_path: Path, kind: orders.Sendable, content: bytes, says: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(LinkSettingsError, match=says):
        orders.send(store, SITE, kind, file)
    assert orders.offers(store, SITE) == []


def test_a_packs_folder_is_sent_as_one_file_under_its_own_name(store: Store) -> None:
    file = write_pack_file(PACK)
    try:
        assert name_of_pack(file) == "device-anomaly"
        orders.send(store, SITE, "pack", file, name="something else")
        (offer,) = orders.offers(store, SITE)
        assert offer.name == "device-anomaly"
        assert pulled(store, offer) == file.read_bytes()
    finally:
        file.unlink()
    with pytest.raises(LinkSettingsError, match=r"holds no pack\.toml"):
        write_pack_file(PACK.parent)


# ---- sound -----------------------------------------------------------------------------------------------------------

SOUND = random.Random(3).randbytes(600_000)
SHA256 = hashlib.sha256(SOUND).hexdigest()
PART = 256 << 10


def audio_parts(call: str) -> list[tuple[str, int, int, str, bytes]]:
    return [(call, part, 3, SHA256, SOUND[part * PART : (part + 1) * PART]) for part in range(3)]


def test_the_sound_of_a_call_is_put_together_whatever_the_order_of_its_parts(
    store: Store, outbox: Outbox, tmp_path: Path
) -> None:
    call, other = str(uuid_utils.uuid7()), str(uuid_utils.uuid7())
    orders.request_audio(store, SITE, call)
    (offer,) = orders.offers(store, SITE)
    assert (offer.kind, offer.name, pulled(store, offer)) == ("request", "audio", call.encode())
    to = tmp_path / "call.wav"
    with pytest.raises(LinkSettingsError, match="nothing of the sound"):
        orders.write_audio(store, SITE, call, to)
    parts = audio_parts(call)
    outbox.audio(other, 0, 1, "0" * 64, b"another call")
    for part in (parts[2], parts[0], parts[2]):
        outbox.audio(*part)
    with pytest.raises(LinkSettingsError, match="1 of 3 parts"):
        orders.write_audio(store, SITE, call, to)
    outbox.audio(*parts[1])
    assert orders.write_audio(store, SITE, call, to) == len(SOUND)
    assert to.read_bytes() == SOUND
    assert list(tmp_path.glob("*.part")) == []


def test_sound_that_is_not_what_the_site_read_is_not_written(store: Store, outbox: Outbox, tmp_path: Path) -> None:
    call = str(uuid_utils.uuid7())
    for _, part, parts, sha256, content in audio_parts(call):
        outbox.audio(call, part, parts, sha256, content[::-1])
    with pytest.raises(LinkSettingsError, match="not what the site read"):
        orders.write_audio(store, SITE, call, tmp_path / "call.wav")
    assert not (tmp_path / "call.wav").exists()


def test_a_record_that_only_looks_like_an_orders_changes_nothing(store: Store, outbox: Outbox, playbook: Path) -> None:
    order = orders.send(store, SITE, "playbook", playbook)
    outbox.send("now", "order", order_id=7, state=None)
    outbox.send("now", "order", nothing="here")
    assert orders.orders(store)[0].state == "offered"
    assert orders.offers(store, SITE)[0].order == order


# ---- commands --------------------------------------------------------------------------------------------------------


def test_the_commands_send_list_and_refuse(
    where: str | Path, store: Store, outbox: Outbox, playbook: Path, tmp_path: Path
) -> None:
    run = CliRunner()
    folder = ["--dir", str(tmp_path)] if isinstance(where, Path) else ["--store", where]
    sent = run.invoke(hq, ["send", SITE, "playbook", str(playbook), "--at", "2030-01-31T06:00+08:00", *folder])
    assert sent.exit_code == 0, sent.output
    assert "2030-01-30 22:00:00 UTC" in sent.output
    assert run.invoke(hq, ["send", SITE, "pack", str(PACK), *folder]).exit_code == 0
    call = str(uuid_utils.uuid7())
    assert run.invoke(hq, ["request", SITE, "audio", call, *folder]).exit_code == 0
    listed = run.invoke(hq, ["orders", "--json", *folder])
    views = [msgspec.json.decode(line, type=orders.OrderView) for line in listed.output.splitlines()]
    assert [(view.kind, view.name, view.state) for view in views] == [
        ("request", "audio", "offered"),
        ("pack", "device-anomaly", "offered"),
        ("playbook", "", "offered"),
    ]
    assert views[2].activate_at == round(datetime(2030, 1, 30, 22, tzinfo=UTC).timestamp() * 1e6)
    assert "device-anomaly" in run.invoke(hq, ["orders", *folder]).output
    for part in audio_parts(call):
        outbox.audio(*part)
    to = tmp_path / "out.wav"
    assert run.invoke(hq, ["audio", SITE, call, "--to", str(to), *folder]).exit_code == 0
    assert to.read_bytes() == SOUND

    playbook.write_text("[")
    refused = run.invoke(hq, ["send", SITE, "playbook", str(playbook), *folder])
    assert isinstance(refused.exception, LinkSettingsError)
    assert run.invoke(hq, ["send", SITE, "playbook", str(playbook), "--at", "soon", *folder]).exit_code == 2
    assert isinstance(run.invoke(hq, ["request", SITE, "audio", "7", *folder]).exception, LinkSettingsError)
