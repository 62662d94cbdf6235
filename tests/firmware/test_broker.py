"""The devices' broker as it ships: who may say what, and what its acknowledgement is worth when it is killed."""

from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.bench.broker import Broker
from tests.firmware.client import Client

PASSWORDS = {"outstation": "gateway's own", "pump-1": "one", "pump-2": "two"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """The broker, running."""
    with Broker(tmp_path / "mosquitto", PASSWORDS) as running:
        yield running


def gateway(broker: Broker) -> Client:
    """The daemon's place at the broker."""
    return Client(broker.port, "outstation", PASSWORDS["outstation"], session=True)


def device(broker: Broker, name: str = "pump-1") -> Client:
    """A device's place at the broker."""
    return Client(broker.port, name, PASSWORDS[name])


def what_waited(client: Client) -> list[bytes]:
    """What the broker had kept for a client that is back: all that comes before what it now says to itself."""
    client.acknowledged("devices/itself", b"the last")
    return client.messages(last=b"the last")[:-1]


def test_after_kill_9_right_after_an_acknowledgement_only_that_last_message_can_be_lost(broker: Broker) -> None:
    with gateway(broker) as daemon:
        daemon.subscribe("devices/#")
    sent = [b"%d" % number for number in range(20)]
    with device(broker) as pump:
        for message in sent:
            pump.acknowledged("devices/pump-1/readings", message)
        broker.kill()
    broker.start()
    with gateway(broker) as daemon:
        assert what_waited(daemon) in (sent, sent[:-1])


def test_a_site_may_trade_messages_for_speed_in_a_file_of_its_own(tmp_path: Path) -> None:
    with Broker(tmp_path / "mosquitto", PASSWORDS, site_settings="autosave_interval 10\n") as broker:
        with gateway(broker) as daemon:
            daemon.subscribe("devices/#")
        sent = [b"%d" % number for number in range(50)]
        with device(broker) as pump:
            for message in sent:
                pump.acknowledged("devices/pump-1/readings", message)
            broker.kill()
        broker.start()
        with gateway(broker) as daemon:
            got = what_waited(daemon)
        assert got == sent[: len(got)]
        assert len(sent) - 10 <= len(got)


def test_a_device_speaks_and_hears_under_its_own_name_only(broker: Broker) -> None:
    with gateway(broker) as daemon, device(broker, "pump-1") as pump, device(broker, "pump-2") as other:
        daemon.subscribe("#")
        pump.subscribe("devices/#")
        other.acknowledged("devices/pump-1/readings", b"forged")
        other.acknowledged("spBv1.0/mine/DDATA/pump-1/motor", b"forged")
        pump.acknowledged("devices/pump-1/readings", b"mine")
        pump.acknowledged("spBv1.0/mine/DDATA/pump-1/motor", b"mine too")
        assert daemon.messages(last=b"mine too") == [b"mine", b"mine too"]
        daemon.acknowledged("devices/pump-2/commands", b"for the other")
        daemon.acknowledged("devices/pump-1/commands", b"for the pump")
        assert pump.messages(last=b"for the pump") == [b"mine", b"for the pump"]


@pytest.mark.parametrize(("name", "password"), [("pump-1", "wrong"), ("nobody", ""), (None, None)])
def test_who_is_not_known_is_not_let_in(broker: Broker, name: str | None, password: str | None) -> None:
    reasons = []
    stranger = mqtt.Client(CallbackAPIVersion.VERSION2)
    stranger.username_pw_set(name, password)

    def on_connect(client: mqtt.Client, _data: object, _flags: object, reason: object, _properties: object) -> None:
        reasons.append(str(reason))
        client.disconnect()

    stranger.on_connect = on_connect
    stranger.connect("127.0.0.1", broker.port)
    stranger.loop_forever()
    assert reasons == ["Not authorized"]


def test_a_message_that_is_too_large_is_never_acknowledged(broker: Broker) -> None:
    with device(broker) as pump:
        refused = pump.publish("devices/pump-1/readings", bytes(3 * 1024 * 1024))
        pump.hears("disconnected")
        assert not refused.is_published()


def test_the_broker_listens_on_loopback_only(broker: Broker) -> None:
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening += [line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    ours = {place.split(":")[0] for place in listening if place.endswith(f":{broker.port:04X}")}
    assert ours == {"0100007F"}
