"""Transcription by Gemini: generate_content hears a recording and is asked for its words."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import (
    Bounds,
    Endpoint,
    Headers,
    HttpRequest,
    Ready,
    TranscribeRequest,
    Upload,
    Verdict,
)
from ..types import TranscriptionResponse
from .answer import Received, value_in
from .faults import GEMINI, broken, request_id
from .gemini_answer import response_of
from .gemini_urls import url_of
from .parts import cannot, written

# 20 MB are the most for a whole request, says https://ai.google.dev/gemini-api/docs/audio, and
# base64 makes four bytes of three.
_LARGEST = 15_000_000
_TASK = (
    "Write down word for word what is said in this recording, in the language it is said in. "
    "Answer with that text alone; with nothing, if nobody speaks."
)
_DATA = "@"  # stands where the recording will be; no field before it has one
_ENDS = (None, "STOP", "MAX_TOKENS")  # any other reason to end is a refusal
_FORMATS = (None, "json", "text")  # it has no times


class GeminiTranscriptions:
    """The operation, without state of its own."""

    def bounds(self, model: str, endpoint: Endpoint) -> Bounds:  # noqa: ARG002 - the same for all
        return Bounds(size=endpoint.flags.get("audio_bytes", _LARGEST))

    def encode(self, request: TranscribeRequest, endpoint: Endpoint) -> Upload:
        most = self.bounds(request.model, endpoint).size
        if request.is_bounded and most is not None and request.audio.size > most:
            cannot(
                endpoint.provider, f"a recording of {request.audio.size} bytes; {most} is the most"
            )
        if request.upstream is not None:
            cannot("gemini", f"upstream {request.upstream!r}")
        options = dict(request.options)
        wanted = options.pop("response_format", None)
        if wanted not in _FORMATS:
            cannot("gemini", f"response_format {wanted!r} of a transcription")
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": _parts(request, options)}]}
        if options:
            body["generationConfig"] = options
        head, _, tail = written("gemini", body).partition(f'"data":"{_DATA}"'.encode())
        return _spliced(head + b'"data":"', request.audio, b'"' + tail)

    def build(
        self,
        request: TranscribeRequest,
        body: Upload,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        url = url_of(ready.endpoint, request.model, "generateContent")
        return HttpRequest("POST", url, ready.headers, body)

    def parse(
        self, request: TranscribeRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[TranscriptionResponse]:
        answer = value_in(GEMINI, Received(status, headers, body, wall))
        if isinstance(answer, Verdict):
            return answer
        said = response_of(answer, request.model)
        if said is None:
            return broken("the answer has no candidates", status, headers, answer)
        name = request_id(headers) or said.id
        if not said.content and said.finish_reason not in _ENDS:
            why = f"nothing was written down: {said.finish_reason}"
            return Verdict(
                Outcome.CONTENT_FILTERED,
                used=said.usage,
                status=status,
                code=said.finish_reason,
                message=why,
                request_id=name,
            )
        response = TranscriptionResponse(
            said.content.strip(),
            model=said.model,
            usage=said.usage,
            raw=said.raw,
            request_id=name,
            finish_reason=said.finish_reason,
        )
        return Verdict(Outcome.OK, response, response.usage, status=status, request_id=name)


def _parts(request: TranscribeRequest, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Takes the keywords of a transcription out of ``options``. The recording is in front."""
    language, prompt = options.pop("language", None), options.pop("prompt", None)
    words = [_TASK]
    if language is not None:
        words.append(f"The language is {language}.")
    if prompt is not None:
        words.append(f"What may help to understand it: {prompt}")
    sound = {"mimeType": request.mime_type, "data": _DATA}
    return [{"inlineData": sound}, {"text": "\n".join(words)}]


def _spliced(head: bytes, audio: Upload, tail: bytes) -> Upload:
    """JSON with the recording in base64 in the middle, read as it is sent."""

    def pieces() -> Iterator[bytes]:
        yield head
        left = b""
        for piece in audio:
            whole = left + piece
            cut = len(whole) - len(whole) % 3
            left = whole[cut:]
            yield base64.b64encode(whole[:cut])
        yield base64.b64encode(left) + tail

    return Upload(len(head) + (audio.size + 2) // 3 * 4 + len(tail), pieces)
