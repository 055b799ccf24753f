"""OpenAI transcriptions: what is heard is what models say, one word a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .openai_wire import OpenAIWire
from .wire import Call
from .words import Asked, Reply

LARGEST = 25 * 1024 * 1024  # bytes, as OpenAI has it
_FORMATS = ("json", "text", "verbose_json")  # the last for whisper alone


class TranscriptionsWire(OpenAIWire):
    """The same service's other operation: its errors and headers are those of chat.

    ``says`` gets the name of the file, and what it returns was heard in it.
    """

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        del headers
        file = call.body.get("file")
        if not call.model:
            return "you must provide a model parameter"
        if not isinstance(file, dict) or not file["size"]:
            return "'file' must be a file with sound in it"
        if file["size"] > LARGEST:
            return f"Maximum content size limit ({LARGEST}) exceeded"
        wanted, known = call.body.get("response_format", "json"), _FORMATS[: 3 - _is_new(call)]
        return None if wanted in known else f"'response_format' must be one of {known}"

    def asked(self, call: Call) -> Asked:
        return Asked(call.body["file"]["filename"], 0)

    def whole(self, call: Call, asked: Asked, reply: Reply) -> Any:
        del asked
        wanted = call.body.get("response_format", "json")
        if wanted == "text":
            return reply.text + "\n"
        usage: dict[str, Any] = {"type": "duration", "seconds": reply.tokens}
        if _is_new(call):
            usage = _TOKENS | {"output_tokens": reply.tokens, "total_tokens": reply.tokens}
        if wanted == "json":
            return {"text": reply.text, "usage": usage}
        return {
            "task": "transcribe",
            "language": call.body.get("language", "english"),
            "duration": float(reply.tokens),
            "text": reply.text,
            "segments": [
                {"id": at, "start": float(at), "end": at + 1.0, "text": piece}
                for at, piece in enumerate(reply.pieces)
            ],
            "usage": usage,
        }


_TOKENS = {"type": "tokens", "input_tokens": 0, "input_token_details": {"audio_tokens": 0}}


def _is_new(call: Call) -> bool:
    """Whether the model is one of those that count tokens and know no times."""
    return "whisper" not in call.model
