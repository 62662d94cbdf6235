"""Readings over MQTT, with a real broker: acknowledged only when they are in the journal, and never twice."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.bench.waiting import answers, free_port, until
from edge.children import broker as site_broker
from edge.errors import JournalError
from edge.events import Event, Reading
from edge.site import Bus as BusSettings
from edge.site import Site, Topic
from edge.sources import sparkplug
from edge.sources.bus import BYTES_PER_COMMIT, Bus, _how_many
from edge.sources.refused import RefusedFolder
from edge.sources.tap import Message
from edge.store.journal import Journal, Refusal
from edge.store.room import Room
from edge.store.rows import select

Publish = Callable[[str, object], None]
TOPICS = (Topic(pattern="mine/{device}/telemetry"), Topic(pattern="spBv1.0/mine/#"))


@pytest.fixture
def bus_site(site: Site) -> Site:
    bus = BusSettings(port=free_port(), embedded=True, topics=TOPICS)
    return msgspec.structs.replace(site, settings=msgspec.structs.replace(site.settings, bus=bus))


@pytest.fixture
def broker(bus_site: Site) -> Iterator[int]:
    child = site_broker(bus_site)
    assert child is not None
    child.start()
    port = bus_site.settings.bus.port  # type: ignore[union-attr]
    until(lambda: answers(port), "the broker answers")
    yield port
    child.stop()


@pytest.fixture
def publish(broker: int) -> Iterator[Publish]:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="device")
    client.connect("127.0.0.1", broker)
    client.loop_start()

    def send(topic: str, payload: object) -> None:
        data = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        client.publish(topic, data, qos=1).wait_for_publish(10)

    yield send
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def bus(bus_site: Site, journal: Journal, broker: int) -> Iterator[Bus]:
    running = Bus(bus_site, journal, RefusedFolder(bus_site.refused, journal), Room(journal, bus_site.settings))
    running.start()
    until(lambda: running.listening, "the bus has subscribed")
    yield running
    running.stop()


def events(journal: Journal) -> list[Event]:
    return select(journal.readers.connection(), Event, "ORDER BY seq")


def test_readings_of_known_topics_are_accepted(bus: Bus, journal: Journal, publish: Publish) -> None:
    publish("mine/hoist-07/telemetry", {"time": 1_773_450_000, "vibration": 2.5})
    publish("mine/pump-03/telemetry", [{"flow": 1}, {"flow": 2}])
    until(lambda: len(events(journal)) == 3, "three readings")
    first = events(journal)[0]
    assert (first.subject, first.at, first.source) == ("hoist-07", 1_773_450_000_000_000, "bus")
    assert first.data == Reading(values={"vibration": 2.5})


def birth(seq: int) -> bytes:
    """A Sparkplug node's birth with one metric, alias 1."""
    message = sparkplug._PAYLOAD(timestamp=1_773_450_000_000, seq=seq)
    message.metrics.add(name="load", alias=1, datatype=10, double_value=1.0)
    encoded: bytes = message.SerializeToString()
    return encoded


def data(seq: int, value: float) -> bytes:
    """What it says after that."""
    message = sparkplug._PAYLOAD(timestamp=1_773_450_000_000 + round(value), seq=seq)
    message.metrics.add(alias=1, double_value=value)
    encoded: bytes = message.SerializeToString()
    return encoded


def test_a_sparkplug_node_that_was_not_heard_is_asked_for_its_birth_and_then_understood(
    bus: Bus, bus_site: Site, journal: Journal, broker: int, publish: Publish
) -> None:
    asked: list[bytes] = []
    node = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="crusher")

    def answer(client: mqtt.Client, _: object, message: mqtt.MQTTMessage) -> None:
        asked.append(bytes(message.payload))
        client.publish("spBv1.0/mine/NBIRTH/crusher", birth(0), qos=1)

    node.on_message = answer
    heard: list[object] = []
    node.on_subscribe = lambda *_: heard.append(True)
    node.connect("127.0.0.1", broker)
    node.subscribe("spBv1.0/mine/NCMD/crusher", qos=1)
    node.loop_start()
    try:
        until(lambda: heard, "the node listens")
        publish("spBv1.0/mine/NDATA/crusher", data(7, 5.0))
        until(lambda: events(journal), "the birth")
        publish("spBv1.0/mine/NDATA/crusher", data(1, 6.0))
        until(lambda: len(events(journal)) == 2, "what follows it")
    finally:
        node.disconnect()
        node.loop_stop()
    assert len(asked) == 1
    assert b"Node Control/Rebirth" in asked[0]
    assert [(event.subject, event.data) for event in events(journal)] == [
        ("mine/crusher", Reading(values={"load": 1.0})),
        ("mine/crusher", Reading(values={"load": 6.0})),
    ]
    (kept,) = bus_site.refused.glob("bus-*.reason.txt")
    assert "no birth that was heard names it" in kept.read_text()


def test_what_a_sparkplug_node_says_is_understood_after_a_restart(
    bus_site: Site, journal: Journal, publish: Publish
) -> None:
    refused = RefusedFolder(bus_site.refused, journal)
    first = Bus(bus_site, journal, refused, Room(journal, bus_site.settings))
    first.start()
    until(lambda: first.listening, "the bus has subscribed")
    publish("spBv1.0/mine/NBIRTH/crusher", birth(0))
    until(lambda: events(journal), "the birth")
    first.stop()
    for number in range(1, 6):
        publish("spBv1.0/mine/NDATA/crusher", data(number, float(number)))
    second = Bus(bus_site, journal, refused, Room(journal, bus_site.settings))
    second.start()
    until(lambda: len(events(journal)) == 6, "what was said meanwhile")
    second.stop()
    values = [event.data.values for event in events(journal) if isinstance(event.data, Reading)]
    assert sorted(value["load"] for value in values) == [1.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert not list(bus_site.refused.glob("bus-*"))


def test_what_does_not_fit_is_kept_aside_and_the_next_is_taken(
    bus: Bus, bus_site: Site, journal: Journal, publish: Publish
) -> None:
    for payload in (b"not json", b"\xff\xfe", b"[1]", b"{}", b'{"t": "warm"}', b"x" * (1024 * 1024 + 1)):
        publish("mine/p/telemetry", payload)
    publish("mine/p/telemetry", b"not json")
    publish("mine/p/telemetry", {"t": 5})
    until(lambda: events(journal), "the good reading")
    kept = sorted(path for path in bus_site.refused.glob("bus-*.bin"))
    assert len(kept) == 6, "each once, however often it comes"
    reasons = [path.with_name(path.name + ".reason.txt").read_text() for path in kept]
    assert all(reason.startswith("mine/p/telemetry: ") for reason in reasons)


def test_what_came_while_the_gateway_was_away_is_delivered_after_it_is_back(
    bus_site: Site, journal: Journal, publish: Publish
) -> None:
    refused = RefusedFolder(bus_site.refused, journal)
    first = Bus(bus_site, journal, refused, Room(journal, bus_site.settings))
    first.start()
    until(lambda: first.listening, "the bus has subscribed")
    first.stop()
    for number in range(20):
        publish("mine/p/telemetry", {"n": number})
    second = Bus(bus_site, journal, refused, Room(journal, bus_site.settings))
    second.start()
    until(lambda: len(events(journal)) == 20, "all twenty")
    second.stop()


def test_a_reading_that_could_not_be_written_is_delivered_again_and_is_there_once(
    bus: Bus, journal: Journal, publish: Publish
) -> None:
    publish("mine/p/telemetry", {"n": 0})
    until(lambda: events(journal), "the first reading")
    pages = journal._writer.submit(lambda connection: connection.pragma("page_count")).result()
    journal._writer.submit(lambda connection: connection.pragma("max_page_count", pages + 1)).result()
    big = {f"sensor-{number:03}": float(number) for number in range(900)}
    publish("mine/p/telemetry", big)
    until(lambda: bus.setbacks >= 1, "the full disk was noticed")
    assert len(events(journal)) == 1
    journal._writer.submit(lambda connection: connection.pragma("max_page_count", 1_000_000)).result()
    until(lambda: len(events(journal)) == 2, "the second reading, once the disk is free")
    publish("mine/p/telemetry", {"n": 3})
    until(lambda: len(events(journal)) == 3, "the third reading")


def test_while_there_is_no_room_readings_wait_at_the_broker_and_arrive_afterwards_once(
    bus: Bus, bus_site: Site, journal: Journal, publish: Publish
) -> None:
    bus._room.outbox_excess = 1
    for number in range(600):  # more than the broker gives out unanswered
        publish("mine/p/telemetry", {"n": number})
    publish("mine/p/telemetry", b"not json")
    until(lambda: bus.setbacks >= 1, "the bus found no room")
    assert events(journal) == []
    assert not list(bus_site.refused.glob("bus-*"))
    assert len(bus._unanswered) <= 512
    bus.command("mine/p/command", b"slow")  # commands go out meanwhile
    bus._room.outbox_excess = 0
    until(lambda: len(events(journal)) == 600, "all of them")
    until(lambda: not bus._unanswered, "all are answered")
    values = [event.data.values["n"] for event in events(journal) if isinstance(event.data, Reading)]
    assert sorted(values) == [float(number) for number in range(600)]


def test_what_waits_takes_no_more_memory_however_often_it_is_sent_again_or_how_much_nobody_keeps(
    bus_site: Site, journal: Journal
) -> None:
    bus = Bus(bus_site, journal, RefusedFolder(bus_site.refused, journal), Room(journal, bus_site.settings))

    def arrives(mid: int, qos: int, *, again: bool = False, size: int = 10) -> None:
        bus._on_messages([Message(b"mine/p/telemetry", bytes(size), mid, qos, again)])

    for again in (False, True, True):
        for mid in range(1, 6):
            arrives(mid, 1, again=again)
    assert [message.mid for message in bus._arrived] == [1, 2, 3, 4, 5]
    arrives(6, 1, again=True)  # from before a restart: not here yet
    assert len(bus._arrived) == 6
    for _ in range(20):
        arrives(0, 0, size=2**20)
    assert (len(bus._arrived), bus.let_go) == (6 + 16, 4)


def test_a_commit_takes_some_megabytes_and_at_least_one_message() -> None:
    def messages(*sizes: int) -> list[Message]:
        return [Message(b"t", bytes(size), 1, 1, False) for size in sizes]

    assert _how_many(messages(10, 10)) == 2
    assert _how_many(messages(BYTES_PER_COMMIT + 1, 1)) == 1
    assert _how_many(messages(*[2**20] * 9)) == 4
    assert _how_many(messages(*[1] * 5_000)) == 1_000


def test_a_topic_that_is_no_text_is_kept_aside(bus: Bus, bus_site: Site, journal: Journal) -> None:
    bus._on_messages([Message(b"mine/\xff/telemetry/x", b'{"t": 1}', 0, 0, False)])
    until(lambda: list(bus_site.refused.glob("bus-*.bin")), "it was kept aside")
    assert events(journal) == []


def test_many_messages_arrive_whole_and_in_order_and_all_are_answered(bus: Bus, journal: Journal, broker: int) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="fast")
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", broker)
    client.loop_start()
    sent = [
        client.publish("mine/p/telemetry", b'{"n": %d, "pad": "%s"}' % (n, b"x" * (n % 700)), qos=1)
        for n in range(3000)
    ]
    for publication in sent:
        publication.wait_for_publish(30)
    until(lambda: len(events(journal)) == 3000, "all of them")
    until(lambda: not bus._unanswered, "all are answered")
    assert [event.data.values["n"] for event in events(journal) if isinstance(event.data, Reading)] == list(range(3000))
    client.disconnect()
    client.loop_stop()


def test_a_refusal_that_cannot_be_written_holds_the_bus_up_and_does_not_end_it(
    bus: Bus, bus_site: Site, journal: Journal, publish: Publish
) -> None:
    pages = journal._writer.submit(lambda connection: connection.pragma("page_count")).result()
    journal._writer.submit(lambda connection: connection.pragma("max_page_count", pages)).result()
    with contextlib.suppress(JournalError):
        while True:
            journal.refuse(Refusal(source="test", name="filler", reason="until not one more fits")).result()
    publish("mine/p/telemetry", b"not json")
    until(lambda: bus.setbacks >= 1, "the full disk was noticed")
    journal._writer.submit(lambda connection: connection.pragma("max_page_count", 1_000_000)).result()
    publish("mine/p/telemetry", {"n": 1})
    until(lambda: events(journal), "the good reading behind it")
    assert len(list(bus_site.refused.glob("bus-*.bin"))) == 1


def test_a_broker_that_is_killed_and_comes_back_is_found_again(
    bus_site: Site, journal: Journal, tmp_path: Path
) -> None:
    child = site_broker(bus_site)
    assert child is not None
    child.start()
    port = bus_site.settings.bus.port  # type: ignore[union-attr]
    until(lambda: answers(port), "the broker answers")
    bus = Bus(bus_site, journal, RefusedFolder(bus_site.refused, journal), Room(journal, bus_site.settings))
    bus.start()
    until(lambda: bus.listening, "the bus has subscribed")
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: child.starts == 2 and answers(port), "the broker was started again")
    until(lambda: bus.listening, "the bus has subscribed again")
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="device")
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("mine/p/telemetry", b'{"t": 1}', qos=1).wait_for_publish(10)
    until(lambda: len(events(journal)) == 1, "the reading")
    client.disconnect()
    client.loop_stop()
    bus.stop()
    child.stop()


def test_a_command_reaches_a_device_or_says_that_it_did_not(bus: Bus, broker: int) -> None:
    got: list[bytes] = []
    subscribed: list[bool] = []
    device = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hoist")
    device.on_message = lambda _client, _data, message: got.append(bytes(message.payload))
    device.on_subscribe = lambda *_: subscribed.append(True)
    device.connect("127.0.0.1", broker)
    device.subscribe("mine/hoist-07/command", qos=1)
    device.loop_start()
    until(lambda: subscribed, "the device listens")
    bus.command("mine/hoist-07/command", b"slow")
    until(lambda: got == [b"slow"], "the command")
    device.disconnect()
    device.loop_stop()
