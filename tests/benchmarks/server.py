"""A canned server in a process of its own: cheap enough never to be the bottleneck.

The first path segment says how to answer: ``now``, ``slow`` (after 50 ms), ``limited`` (429),
``gemini`` (its own shapes), ``burst`` (a stream all at once) or ``paced`` (a stream of one chunk a millisecond).
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

SLOW_SECONDS = 0.05
CHUNKS = 200
WORDS = "a plain answer of some length, as a model would give it to a question of no weight. "


def _answer(status: str, body: bytes, extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _chat() -> bytes:
    message = {"role": "assistant", "content": WORDS * 4}
    usage = {"prompt_tokens": 9, "completion_tokens": 72, "total_tokens": 81}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini"}
    return json.dumps({**body, "choices": [choice], "usage": usage}).encode()


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    event = b"data: " + json.dumps({**body, "choices": [choice]}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _contents(words: str, finish: str | None = None) -> bytes:
    candidate = {"content": {"parts": [{"text": words}], "role": "model"}, "index": 0}
    candidate |= {"finishReason": finish} if finish else {}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 72, "totalTokenCount": 81}
    body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}
    return json.dumps({**body, "responseId": "bzlXaa_EE_aHqtsPi_zw8Ao"}).encode()


def _contents_event(words: str, finish: str | None = None) -> bytes:
    event = b"data: " + _contents(words, finish) + b"\r\n\r\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


OK = _answer("200 OK", _chat(), "x-request-id: req_1\r\n")
LIMITED = _answer(
    "429 Too Many Requests",
    json.dumps({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}).encode(),
    "retry-after: 0\r\n",
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
PIECES = [_event({"content": f"word {i} "}) for i in range(CHUNKS)]
GEMINI = _answer("200 OK", _contents(WORDS * 4, "STOP"))
GEMINI_STREAM = (
    STREAM_HEAD
    + b"".join(_contents_event(f"word {i} ") for i in range(CHUNKS))
    + _contents_event("", "STOP")
    + b"0\r\n\r\n"
)
STREAM_END = _event({}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


_GEMINI = {b"gemini": GEMINI, b"gemini stream": GEMINI_STREAM}


class _Answers(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pending = b""

    def data_received(self, data: bytes) -> None:
        self.pending += data
        head, mark, rest = self.pending.partition(b"\r\n\r\n")
        lower = head.lower()
        at = lower.find(b"content-length:")
        if not mark or len(rest) < int(lower[at + 15 :].split(b"\r\n", 1)[0]):
            return
        self.pending = b""
        is_gemini = b":streamGenerateContent" in head
        self.answer(b"gemini stream" if is_gemini else head.split(b"/", 2)[1])

    def answer(self, how: bytes) -> None:
        loop = asyncio.get_running_loop()
        if how == b"now":
            self.transport.write(OK)
        elif how == b"slow":
            loop.call_later(SLOW_SECONDS, self.transport.write, OK)
        elif how == b"limited":
            self.transport.write(LIMITED)
        elif how in _GEMINI:
            self.transport.write(_GEMINI[how])
        elif how == b"burst":
            self.transport.write(STREAM_HEAD + b"".join(PIECES) + STREAM_END)
        else:
            self.transport.write(STREAM_HEAD)
            for number, piece in enumerate((*PIECES, STREAM_END)):
                loop.call_later(0.001 * (number + 1), self.write, piece)

    def write(self, piece: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(piece)


async def _serve(ready: Connection) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answers, "127.0.0.1", 0, backlog=1024)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _main(ready: Connection) -> None:
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(ready))


@contextmanager
def serving() -> Iterator[str]:
    """The base URL of a running server."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_main, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()
