"""Takes the sites' envelopes from the broker into the store, and acknowledges what is committed.

What arrived while the last transaction was written is the next transaction, so that one flush to disk serves many
envelopes. The broker is told that a message need not come again only after its transaction, too.
"""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from sync import keys, log
from sync.envelope import Row, open_header, unpack
from sync.errors import EnvelopeInvalid, MessageInvalid
from sync.hq.store import Arrival, Store
from sync.link import Down, Link, Plan, Received, Up
from sync.protocol import (
    STATE_FILTER,
    UP_FILTER,
    Ack,
    StateTopic,
    UpTopic,
    ack_topic,
    decode_state,
    encode,
    parse_topic,
)

POLL_S = 0.2

_record_decoder = msgspec.msgpack.Decoder(dict[str, Any])


def plan(host: str, port: int) -> Plan:
    """How the receiver connects: the broker keeps its session, and what arrives for it, while it is away."""
    return Plan(
        host=host, port=port, client_id="outstation-hq", subscriptions=(UP_FILTER, STATE_FILTER), persistent=True
    )


def receive(link: Link, store: Store, stopping: threading.Event) -> None:
    """Work until `stopping`."""
    reason = ""
    while not stopping.is_set():
        messages: list[Received] = []
        for word in link.words(POLL_S):
            match word:
                case Up():
                    reason = ""
                    log.info("connected to the broker")
                case Down():
                    if word.reason != reason:
                        log.warning("no connection to the broker", reason=word.reason)
                    reason = word.reason
                case Received():
                    messages.append(word)
        if messages:
            _take(link, store, messages)


def _take(link: Link, store: Store, messages: Sequence[Received]) -> None:
    acks: dict[tuple[str, int, str], Ack] = {}
    with store.transaction():
        for message in messages:
            try:
                topic = parse_topic(message.topic)
                if isinstance(topic, StateTopic):
                    _note_state(store, topic, message)
                else:
                    ack = _apply(store, topic, message.payload)
                    acks[topic.site, ack.epoch, ack.lane] = ack
            except (EnvelopeInvalid, MessageInvalid) as fault:
                log.warning("refused", topic=message.topic[:200], reason=str(fault))
                store.quarantine(_claimed_site(message.topic), str(fault)[:500], message.payload)
    for (site, _epoch, _lane), ack in acks.items():
        # If this fails the site sends again and is answered then.
        link.publish(ack_topic(site), encode(ack))
    for message in messages:
        message.settle()


def _apply(store: Store, topic: UpTopic, envelope: bytes) -> Ack:
    key = store.key_of(topic.site)
    if key is None:
        raise EnvelopeInvalid(f"site {topic.site} is not enrolled; run `outstation hq enrol`.")
    header = open_header(envelope)
    if (header.site, header.lane) != (topic.site, topic.lane):
        raise EnvelopeInvalid(f"an envelope of site {header.site}, lane {header.lane} came on the topic {topic}.")
    header, rows = unpack(envelope, keys.parse_public(key))
    return store.apply(header, [_arrival(row) for row in rows])


def _arrival(row: Row) -> Arrival:
    try:
        record = msgspec.json.encode(_record_decoder.decode(row.record)).decode()
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as fault:
        raise EnvelopeInvalid(f"record {row.seq} is no map that JSON can hold: {fault}.") from None
    return Arrival(row.seq, row.kind, row.id, record)


def _note_state(store: Store, topic: StateTopic, message: Received) -> None:
    # Anybody may name a site in a state; those that are not enrolled are not remembered.
    state = decode_state(message.payload)
    if store.key_of(topic.site) is not None:
        store.note_state(topic.site, state, retained=message.retained)


def _claimed_site(topic: str) -> str:
    return "".join(topic.split("/")[2:3])[:64]
