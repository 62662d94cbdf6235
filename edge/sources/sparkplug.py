"""Sparkplug B: what a node and its devices publish, to readings.

A birth names the metrics of a node or device once, each with a number (its alias); what follows names them by their
aliases alone, and counts: who has missed a message or a birth has to ask for the births again. Topics and payloads are
those of the Eclipse Sparkplug specification 3.0, chapters 4 and 6. This module knows no network and no disk.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from edge.errors import Refused
from edge.sources.readings import NAME_LENGTH, SENSORS_PER_READING

NAMESPACE = "spBv1.0"
NODES = 1_000
METRICS = 20_000  # of a node and its devices
SEQUENCE = 256
REBIRTH = "Node Control/Rebirth"
BIRTH_NUMBER = "bdSeq"
BOOLEAN = 11
SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
"""By Sparkplug's data types the integers that are signed, which come as their two's complement."""
NUMBERS = {"int_value", "long_value", "float_value", "double_value", "boolean_value"}


class Topic(msgspec.Struct, frozen=True):
    """Where a message was published: `kind` is NBIRTH, NDATA …; `device` is '' for the node itself."""

    group: str
    kind: str
    node: str
    device: str = ""

    @property
    def node_name(self) -> str:
        """The node, as readings name it."""
        return f"{self.group}/{self.node}"

    @property
    def name(self) -> str:
        """The node or device, as readings name it."""
        return f"{self.node_name}/{self.device}" if self.device else self.node_name

    @property
    def command(self) -> str:
        """The topic of the node's commands."""
        return f"{NAMESPACE}/{self.group}/NCMD/{self.node}"


class Measured(msgspec.Struct, frozen=True):
    """What a node or device measured at one moment: seconds since 1970 (None: it does not say), numbers by metric."""

    device: str
    time_s: float | None
    values: dict[str, float]


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a message: readings, which nodes and devices are there from now on or are gone, and whether the node
    has to be asked for its births."""

    measured: list[Measured] = []
    born: str = ""
    gone: tuple[str, ...] = ()
    rebirth: bool = False


class _Node:
    """What is known of a node since its birth."""

    def __init__(self, birth_number: int | None) -> None:
        self.birth_number = birth_number
        self.sequence: int | None = None  # of the newest message; None: none was heard since the gateway began
        self.there = {""}
        self.names: dict[str, dict[str, int]] = {}  # by device: metrics, and their data types
        self.aliases: dict[int, tuple[str, str]] = {}  # device and metric

    def learn(self, device: str, metrics: list[Any]) -> None:
        """A node or device was born with these."""
        self.names[device] = {metric.name: metric.datatype for metric in metrics}
        self.aliases = {alias: named for alias, named in self.aliases.items() if named[0] != device}
        self.aliases.update({m.alias: (device, m.name) for m in metrics if m.HasField("alias")})
        self.there.add(device)

    def follows(self, sequence: int) -> bool:
        """Whether nothing was missed before the message with this number."""
        expected = None if self.sequence is None else (self.sequence + 1) % SEQUENCE
        follows = sequence in (self.sequence, expected) or expected is None  # the same again: it was redelivered
        self.sequence = sequence
        return follows


class Sessions:
    """What is known of each node, by its births."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}

    def take(self, topic: Topic, payload: bytes) -> Taken:
        """What is in a message. Raises Refused when it is not Sparkplug, or nothing of it can be understood because
        its birth was not heard."""
        if topic.kind not in _TAKES:
            return Taken()  # commands to the nodes, and the state of other hosts
        return _TAKES[topic.kind](self, topic, _decoded(payload))

    def recall(self, topic: Topic, payload: bytes) -> None:
        """A birth that was heard before the gateway began anew: what it names is known again."""
        self.take(topic, payload)
        self._nodes[topic.node_name].sequence = None

    def _node_born(self, topic: Topic, message: Any) -> Taken:
        _check(message, 0)
        while len(self._nodes) >= NODES and topic.node_name not in self._nodes:
            del self._nodes[next(iter(self._nodes))]
        known = self._nodes.pop(topic.node_name, None)
        node = self._nodes[topic.node_name] = _Node(_birth_number(message))
        node.sequence = message.seq
        node.learn("", list(message.metrics))
        gone = tuple(f"{topic.node_name}/{device}" for device in sorted(known.there - {""})) if known else ()
        return Taken(measured=self._measured(node, topic, message), born=topic.name, gone=gone)

    def _device_born(self, topic: Topic, message: Any) -> Taken:
        node = self._nodes.get(topic.node_name)
        if node is None:
            raise _Unknown(topic)
        _check(message, sum(len(names) for device, names in node.names.items() if device != topic.device))
        node.learn(topic.device, list(message.metrics))
        rebirth = not node.follows(message.seq)
        return Taken(measured=self._measured(node, topic, message), born=topic.name, rebirth=rebirth)

    def _data(self, topic: Topic, message: Any) -> Taken:
        node = self._nodes.get(topic.node_name)
        if node is None or topic.device not in node.names:
            raise _Unknown(topic)
        follows = node.follows(message.seq)
        return Taken(measured=self._measured(node, topic, message), rebirth=not follows)

    def _node_gone(self, topic: Topic, message: Any) -> Taken:
        node = self._nodes.get(topic.node_name)
        if node is None or _birth_number(message) not in (None, node.birth_number):
            return Taken()  # the last will of an earlier connection, told late
        gone, node.there = node.there, set()
        return Taken(gone=tuple(msgspec.structs.replace(topic, device=device).name for device in sorted(gone)))

    def _device_gone(self, topic: Topic, message: Any) -> Taken:
        node = self._nodes.get(topic.node_name)
        if node is None:
            raise _Unknown(topic)
        node.there.discard(topic.device)
        return Taken(gone=(topic.name,), rebirth=not node.follows(message.seq))

    def _measured(self, node: _Node, topic: Topic, message: Any) -> list[Measured]:
        """The numbers in a message, those of one moment together."""
        moments: dict[int, dict[str, float]] = defaultdict(dict)
        for metric in message.metrics:
            name = self._name(node, topic, metric)
            value = _number(metric, node.names[topic.device].get(name, metric.datatype))
            if value is None or name == BIRTH_NUMBER or name.startswith(("Node Control/", "Device Control/")):
                continue
            if not math.isfinite(value):
                raise Refused(f"{name}: {value} is not a finite number; send is_null instead")
            moments[metric.timestamp or message.timestamp][name] = value
        return [
            Measured(topic.name, moment / 1000 if moment else None, values)
            for moment, all_values in moments.items()
            for values in _few(all_values)
        ]

    def _name(self, node: _Node, topic: Topic, metric: Any) -> str:
        if not metric.HasField("alias") or metric.name:
            return str(metric.name)
        device, name = node.aliases.get(metric.alias, (None, ""))
        if device != topic.device:
            raise _Unknown(topic, f"alias {metric.alias}")
        return name


class _Unknown(Refused):
    """What names something that no birth has named."""

    def __init__(self, topic: Topic, what: str = "its metrics") -> None:
        super().__init__(f"payload: {what} of {topic.name}: no birth that was heard names it; the node is asked for it")


_TAKES = {
    "NBIRTH": Sessions._node_born,
    "DBIRTH": Sessions._device_born,
    "NDATA": Sessions._data,
    "DDATA": Sessions._data,
    "NDEATH": Sessions._node_gone,
    "DDEATH": Sessions._device_gone,
}


def needs_birth(refusal: Refused) -> bool:
    """Whether a message was refused because a birth was not heard."""
    return isinstance(refusal, _Unknown)


def is_birth(topic: Topic) -> bool:
    """Whether a message on this topic names metrics."""
    return topic.kind in ("NBIRTH", "DBIRTH")


def topic_of(topic: str) -> Topic:
    """The parts of a topic in Sparkplug's namespace. Raises Refused."""
    parts = topic.split("/")
    if parts[1:2] == ["STATE"]:
        return Topic("", "STATE", "")
    of_device = len(parts) > 2 and parts[2].startswith("D")
    if len(parts) != 4 + of_device or not all(parts) or len(topic) > NAME_LENGTH:
        raise Refused(f"topic: Sparkplug's are {NAMESPACE}/group/message type/node, and /device of a device")
    return Topic(parts[1], parts[2], parts[3], parts[4] if of_device else "")


def rebirth_request(now_ms: int) -> bytes:
    """The command that asks a node for its births."""
    request = _PAYLOAD(timestamp=now_ms)
    request.metrics.add(name=REBIRTH, timestamp=now_ms, datatype=BOOLEAN, boolean_value=True)
    encoded: bytes = request.SerializeToString()
    return encoded


def _decoded(payload: bytes) -> Any:
    try:
        return _PAYLOAD.FromString(payload)
    except DecodeError as fault:
        raise Refused(f"payload: not a Sparkplug B payload ({fault})") from None


def _check(message: Any, known: int) -> None:
    if known + len(message.metrics) > METRICS:
        raise Refused(f"payload: a node with more than {METRICS:,} metrics; split it")
    for metric in message.metrics:
        if not 0 < len(metric.name) <= NAME_LENGTH:
            raise Refused(f"payload: a birth with a metric without a name of 1 to {NAME_LENGTH} characters")


def _birth_number(message: Any) -> int | None:
    numbers = (metric.long_value or metric.int_value for metric in message.metrics if metric.name == BIRTH_NUMBER)
    return next(numbers, None)


def _number(metric: Any, datatype: int) -> float | None:
    """A metric's value; None when it is none, or no number."""
    kind = metric.WhichOneof("value")
    if metric.is_null or kind not in NUMBERS:
        return None
    value = getattr(metric, kind)
    bits = SIGNED_BITS.get(datatype)
    if bits and kind in ("int_value", "long_value"):
        value &= (1 << bits) - 1
        value -= (value >> (bits - 1)) << bits
    return float(value)


def _few(values: dict[str, float]) -> Iterator[dict[str, float]]:
    names = list(values)
    for first in range(0, len(names), SENSORS_PER_READING):
        yield {name: values[name] for name in names[first : first + SENSORS_PER_READING]}


def _payload_class() -> Any:
    """The message Payload of Sparkplug B, as far as it is read here."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    payload = file.message_type.add(name="Payload")

    def field(of: Any, name: str, number: int, kind: int, **more: Any) -> None:
        of.field.add(name=name, number=number, type=kind, **{"label": kinds.LABEL_OPTIONAL, **more})

    field(metric, "name", 1, kinds.TYPE_STRING)
    field(metric, "alias", 2, kinds.TYPE_UINT64)
    field(metric, "timestamp", 3, kinds.TYPE_UINT64)
    field(metric, "datatype", 4, kinds.TYPE_UINT32)
    field(metric, "is_historical", 5, kinds.TYPE_BOOL)
    field(metric, "is_null", 7, kinds.TYPE_BOOL)
    field(metric, "int_value", 10, kinds.TYPE_UINT32, oneof_index=0)
    field(metric, "long_value", 11, kinds.TYPE_UINT64, oneof_index=0)
    field(metric, "float_value", 12, kinds.TYPE_FLOAT, oneof_index=0)
    field(metric, "double_value", 13, kinds.TYPE_DOUBLE, oneof_index=0)
    field(metric, "boolean_value", 14, kinds.TYPE_BOOL, oneof_index=0)
    field(metric, "string_value", 15, kinds.TYPE_STRING, oneof_index=0)
    field(payload, "timestamp", 1, kinds.TYPE_UINT64)
    field(payload, "metrics", 2, kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED, type_name=".sparkplug.Metric")
    field(payload, "seq", 3, kinds.TYPE_UINT64)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sparkplug.Payload"))


_PAYLOAD: Any = _payload_class()
