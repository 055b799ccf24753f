"""OpenAI transcriptions: a recording in, its text out.

``Endpoint.flags``: ``audio_bytes``, the size of the largest recording that the service takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from ..types import TranscriptionResponse, Usage
from .answer import Received, value_in
from .faults import OPENAI, broken, request_id
from .multipart import content_type, fields_of, multipart
from .openai_answer import fault_in
from .openai_urls import post
from .parts import cannot
from .reading import as_count, as_dict, as_list, as_text_or_none

# 25 MB: https://platform.openai.com/docs/guides/speech-to-text; compatible servers copy it.
_LARGEST = 25 * 1024 * 1024
# Formats that are no JSON.
_PLAIN = frozenset({"text", "srt", "vtt"})


class OpenAITranscriptions:
    """The operation, without state of its own."""

    def bounds(self, model: str, endpoint: Endpoint) -> Bounds:
        size = endpoint.flags.get("audio_bytes", _LARGEST)
        return Bounds(size=size, counts_tokens=not _is_whisper(model))

    def encode(self, request: TranscribeRequest, endpoint: Endpoint) -> Upload:
        most = self.bounds(request.model, endpoint).size
        if request.is_bounded and most is not None and request.audio.size > most:
            cannot(
                endpoint.provider, f"a recording of {request.audio.size} bytes; {most} is the most"
            )
        if request.upstream is not None:
            cannot("openai", f"upstream {request.upstream!r} for a transcription")
        fields = {"model": request.model, "response_format": _format(request), **request.options}
        return multipart(
            [field for name, value in fields.items() for field in fields_of(name, value)],
            request.audio,
            request.filename,
            request.mime_type,
            request.boundary,
        )

    def build(
        self,
        request: TranscribeRequest,
        body: Upload,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        # Azure's name for the model, with which the form is written anew, tells less of it.
        fixed = {"response_format": _format(request), **request.options}
        named = replace(request, options=fixed)
        sent = post(self, "audio/transcriptions", named, body, ready)
        own = (b"content-type", content_type(request.boundary))
        headers = (own, *(each for each in ready.headers if each[0] != b"content-type"))
        return replace(sent, headers=headers)

    def parse(
        self, request: TranscribeRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[TranscriptionResponse]:
        name = request_id(headers)
        if 200 <= status < 300 and _format(request) in _PLAIN:
            text = body.decode("utf-8", "replace").removesuffix("\n")
            response = TranscriptionResponse(text, model=request.model, request_id=name)
            return Verdict(Outcome.OK, response, response.usage, status=status, request_id=name)
        answer = value_in(OPENAI, Received(status, headers, body, wall), fault_in)
        if isinstance(answer, Verdict):
            return answer
        told = as_dict(answer)
        if not isinstance(told.get("text"), str):
            return broken("the answer has no text", status, headers, answer)
        response = _response(told, request.model)
        response.request_id = name
        return Verdict(Outcome.OK, response, response.usage, status=status, request_id=name)


def _is_whisper(model: str) -> bool:
    return "whisper" in model.lower()


def _format(request: TranscribeRequest) -> Any:
    """The one with most in it that the model has: newer ones than whisper know no times."""
    fullest = "verbose_json" if _is_whisper(request.model) else None
    return request.options.get("response_format", fullest)


def _response(told: dict[str, Any], model: str) -> TranscriptionResponse:
    usage = as_dict(told.get("usage"))
    return TranscriptionResponse(
        told["text"],
        model=model,
        usage=_usage(usage),
        language=as_text_or_none(told.get("language")),
        duration_s=_seconds(told.get("duration")) or _seconds(usage.get("seconds")),
        segments=[each for each in as_list(told.get("segments")) if isinstance(each, dict)],
        words=[each for each in as_list(told.get("words")) if isinstance(each, dict)],
        raw=told,
    )


def _usage(raw: Mapping[str, Any]) -> Usage:
    """Newer models count tokens; whisper counts seconds, which are no tokens."""
    heard, written = as_count(raw.get("input_tokens")), as_count(raw.get("output_tokens"))
    details = as_dict(raw.get("input_token_details"))
    return Usage(
        heard,
        written,
        as_count(raw.get("total_tokens")) or heard + written,
        audio_tokens=as_count(details.get("audio_tokens")),
        raw=raw or None,
    )


def _seconds(value: object) -> float | None:
    """A length; some servers send it as a string."""
    try:
        found = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        return None
    return found if 0.0 < found < float("inf") else None
