"""Somebody at HQ's broker with the password that HQ itself has there: hears all, and says it again."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from sync.broker import NATS_USER
from sync.hq.receiver import STREAM


class Wiretap:
    """Listens at the broker of the HQ in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[tuple[str, bytes]] = []
        """What sites published, by topic, in its order."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        port = msgspec.json.decode((folder / "broker" / "nats-server.json").read_bytes())["port"]
        password = (folder / "secrets" / "nats.password").read_text("ascii").strip()
        self._client: Client = self._wait(
            nats.connect(f"nats://127.0.0.1:{port}", user=NATS_USER, password=password, allow_reconnect=False)
        )
        self._wait(self._client.subscribe("outstation.v1.*.up.*", cb=self._hear))
        self._wait(self._client.subscribe("outstation.v1.*.state", cb=self._hear))
        self._wait(self._client.flush())

    def say(self, topic: str, payload: bytes) -> None:
        """Publish it, whoever it is of."""
        self._wait(self._client.publish(topic.replace("/", "."), payload))

    def waiting(self) -> int:
        """How many messages the broker keeps for HQ."""
        info = self._wait(self._client.jetstream().stream_info(STREAM))
        return int(info.state.messages)

    def close(self) -> None:
        """Leave."""
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _hear(self, message: Msg) -> None:
        self.heard.append((message.subject.replace(".", "/"), bytes(message.data)))

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
