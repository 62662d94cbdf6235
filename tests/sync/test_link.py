"""The connection to the broker: whoever publishes must never be held up by what is heard."""

import threading
from pathlib import Path

from edge.bench.waiting import until
from sync.link import MAX_UNHEARD, Arrived, Link, Plan, Received, Up, Word
from tests.sync.site_end import Broker

MESSAGES = 2 * MAX_UNHEARD


class End:
    """A link to the broker, and what was heard of it."""

    def __init__(self, port: int, name: str, subscription: str) -> None:
        self.link = Link(
            Plan(
                hosts=("127.0.0.1",),
                port=port,
                client_id=name,
                subscriptions=(subscription,),
                will_topic=f"test/{name}/state",
                last_will=lambda connection: connection.encode(),
            )
        )
        self._heard: list[Word] = []
        self.link.start()
        until(lambda: self.count(Up), f"{name} is connected")

    def count(self, kind: type[Word]) -> int:
        """How many words of a kind were heard."""
        self._heard.extend(self.link.words(0.1))
        return sum(isinstance(word, kind) for word in self._heard)


def test_publishing_goes_on_while_nobody_listens(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    site, other = End(broker.port, "site", "test/ack"), End(broker.port, "other", "test/up")
    try:
        for _ in range(MESSAGES):
            assert site.link.publish("test/up", b"envelope") is not None
        # The broker has them and has said so, and nobody at the site has listened.
        until(lambda: other.count(Received) == MESSAGES, "the broker has all of them")
        one_more = threading.Thread(target=site.link.publish, args=("test/up", b"one more"), daemon=True)
        one_more.start()
        one_more.join(10)
        assert not one_more.is_alive(), "it stands still: the connection's thread waits for us, and we for it"
        until(lambda: site.count(Arrived) == MESSAGES + 1, "the site hears of all")
    finally:
        site.link.close()
        other.link.close()
        broker.stop()
