"""The connection to the broker: whoever publishes must never be held up by what is heard."""

import threading
from pathlib import Path

from sync.link import Arrived, Link, Plan, Up, Word
from tests.sync.site_end import Broker
from tests.waiting import until

MESSAGES = 4000


def test_publishing_goes_on_while_nobody_listens(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    plan = Plan(
        hosts=("127.0.0.1",),
        port=broker.port,
        client_id="test",
        subscriptions=("test/ack",),
        will_topic="test/state",
        last_will=lambda name: name.encode(),
    )
    link = Link(plan)
    link.start()
    heard: list[Word] = []

    def count(kind: type[Word]) -> int:
        heard.extend(link.words(0.1))
        return sum(isinstance(word, kind) for word in heard)

    def publish() -> None:
        for _ in range(MESSAGES):
            assert link.publish("test/up", bytes(200)) is not None

    try:
        until(lambda: count(Up), "it is connected")
        # The broker's word on each comes while we are still publishing, and we do not listen.
        publishing = threading.Thread(target=publish, daemon=True)
        publishing.start()
        publishing.join(30)
        assert not publishing.is_alive(), "it stands still: the connection's thread waits for us, and we for it"
        until(lambda: count(Arrived) == MESSAGES, "the broker has all of them")
    finally:
        link.close()
        broker.stop()
