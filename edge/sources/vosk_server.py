"""Live sound as clients of vosk-server send it: FreeSWITCH, Asterisk, Jigasi and others work by changing an address.

The protocol, as https://alphacephei.com/vosk/server describes it: over a WebSocket the client may send
{"config": {"sample_rate": 8000, "words": true, "max_alternatives": 0, "phrase_list": ["…"]}}, then messages of 16-bit
mono sound. Each is answered by one message: {"partial": …} while somebody speaks, {"result": […], "text": …} when an
utterance has ended. {"eof" : 1} is answered by what was still going on, and ends the connection; {"reset" : 1}
likewise, and the connection goes on.

Where the box cannot keep up, the answer to a message is what is known so far: the sender is not held up, because that
would cost words. The results come with later answers; after eof all of them are waited for.
"""

import asyncio
import re
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import msgspec
import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from edge.site import Live
from edge.sources.live import About, Declined, LiveCalls
from edge.store.sound import SAMPLE_BYTES, Leg, Said

MESSAGE_BYTES = 1 << 20
SLOWEST_ANSWER_S = 0.5
EMPTY_PARTIAL = '{\n  "partial" : ""\n}'
EMPTY_RESULT = '{\n  "text" : ""\n}'
BAD_DATA, TRY_LATER = 1003, 1013
RESULT_OF_WORDS = re.compile(r'\s*"result" : \[\{.*?\}\],', re.DOTALL)

log = structlog.get_logger()


class Config(msgspec.Struct, frozen=True):
    """How the client wants its leg recognised; what is not known is passed over, as vosk-server does."""

    sample_rate: Annotated[float, msgspec.Meta(ge=8000, le=48_000)] = 8000.0
    words: bool = True
    max_alternatives: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    phrase_list: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=200)], ...], msgspec.Meta(max_length=1000)] = ()


class _Control(msgspec.Struct):
    config: Config | None = None
    eof: int = 0
    reset: int = 0


class VoskServer:
    """Takes legs over WebSocket."""

    def __init__(self, calls: LiveCalls, settings: Live) -> None:
        self._calls = calls
        self._settings = settings

    async def start(self, host: str, port: int) -> Server:
        """Listen; raises OSError when the port is taken."""
        return await serve(
            self._serve,
            host,
            port,
            process_request=_look_at_query,
            max_size=MESSAGE_BYTES,
            max_queue=4,
            compression=None,
            server_header=None,
        )

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        about = _about(socket.request, self._calls)
        connection = _Connection(self._calls, socket, about, self._settings.silent_seconds)
        try:
            while True:
                async with asyncio.timeout(self._settings.silent_seconds):
                    message = await socket.recv()
                if not await connection.take(message):
                    break
        except TimeoutError:
            await socket.close(1000, "nothing came for long")
        except Declined as declined:
            log.warning("a leg is not taken", reason=str(declined))
            await socket.close(TRY_LATER, str(declined)[:120])
        except (msgspec.DecodeError, msgspec.ValidationError) as fault:
            await socket.close(BAD_DATA, f"not a message of vosk-server's protocol: {fault}"[:120])
        except ConnectionClosed:
            pass
        finally:
            connection.leave()


class _Connection:
    """One client's leg."""

    def __init__(self, calls: LiveCalls, socket: ServerConnection, about: About, patience_s: float) -> None:
        self._calls = calls
        self._socket = socket
        self._about = about
        self._patience_s = patience_s
        self._config = Config()
        self._leg: Leg | None = None
        self._odd = b""
        self._heard = asyncio.Event()

    async def take(self, message: str | bytes) -> bool:
        """Take one message and answer it; False when it was the last."""
        if isinstance(message, bytes):
            leg = await self._joined()
            pcm = self._odd + message
            whole = len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES
            self._odd = pcm[whole:]
            if not whole:
                await self._socket.send(EMPTY_PARTIAL)
                return True
            await self._answer(leg, self._calls.append(leg, pcm[:whole]))
            return True
        control = msgspec.json.decode(message, type=_Control)
        if control.config is not None:
            self._config = control.config
        elif control.reset:
            leg = await self._joined()
            self._calls.close_utterance(leg)
            await self._socket.send(self._told(await self._results(leg)))
        elif control.eof:
            leg = await self._joined()
            self._calls.leave(leg)
            await self._socket.send(self._told(await self._results(leg)))
            return False
        return True

    def leave(self) -> None:
        """The connection has ended."""
        if self._leg is not None and not self._leg.ended:
            self._calls.leave(self._leg)

    async def _joined(self) -> Leg:
        if self._leg is None:
            config = self._config
            self._leg = await self._calls.join(
                self._about,
                round(config.sample_rate),
                phrases=config.phrase_list,
                alternatives=config.max_alternatives,
            )
            loop = asyncio.get_running_loop()
            self._leg.tell(lambda: _wake(loop, self._heard))
        return self._leg

    async def _answer(self, leg: Leg, size: int) -> None:
        """Answer a message that ends at byte `size`: by an utterance that has ended, or else by what goes on."""
        try:
            async with asyncio.timeout(SLOWEST_ANSWER_S):
                while leg.heard_bytes < size and not leg.finished:
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            pass
        await self._socket.send(self._told(leg.next_said().text) or EMPTY_PARTIAL)

    async def _results(self, leg: Leg) -> str:
        """The utterances up to the end that was asked for, as one."""
        said: list[Said] = []
        async with asyncio.timeout(self._patience_s):
            while not said or not said[-1].asked:
                self._heard.clear()
                newest = leg.next_said()
                if newest.final:
                    said.append(newest)
                elif leg.finished:
                    break
                else:
                    await self._heard.wait()
        return _joined([one.text for one in said]) if said else EMPTY_RESULT

    def _told(self, text: str) -> str:
        return text if self._config.words else RESULT_OF_WORDS.sub("", text)


def _wake(loop: asyncio.AbstractEventLoop, heard: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop has ended, and the connection with it
        loop.call_soon_threadsafe(heard.set)


def _joined(results: list[str]) -> str:
    """Results as one: what could not be told with the answers to earlier messages comes with the last."""
    if len(results) == 1:
        return results[0]
    decoded = [msgspec.json.decode(result, type=dict[str, Any]) for result in results]
    words = [word for result in decoded for word in result.get("result", [])]
    text = " ".join(result["text"] for result in decoded if result.get("text"))
    return msgspec.json.format(
        msgspec.json.encode({"result": words, "text": text} if words else {"text": text})
    ).decode()


async def _look_at_query(connection: ServerConnection, request: Request) -> Response | None:
    try:
        _asked(request)
    except (ValueError, msgspec.ValidationError) as fault:
        return connection.respond(HTTPStatus.BAD_REQUEST, f"The address says what is not understood: {fault}.\n")
    return None


def _asked(request: Request) -> tuple[UUID | None, About]:
    """What the address says of a leg: ?call=…&channel=customer&customer=…, or ?uuid=… of one that was registered."""
    fields = dict(parse_qsl(urlsplit(request.path).query, max_num_fields=10))
    uuid = fields.pop("uuid", None)
    return (UUID(uuid) if uuid else None), msgspec.convert(fields, About)


def _about(request: Request, calls: LiveCalls) -> About:
    uuid, about = _asked(request)
    return about if uuid is None else calls.registered(uuid)
