"""OpenAI embeddings: vectors that are the same for the same text, and for no other."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from . import words
from .openai_wire import OpenAIWire
from .wire import Call
from .words import Asked, Reply

DIMENSIONS = 16  # of a vector, where the request names none
_MOST_TEXTS = 2_048


class EmbeddingsWire(OpenAIWire):
    """The same service's other operation: its errors and headers are those of chat."""

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        del headers
        if not call.model:
            return "you must provide a model parameter"
        found = texts_of(call.body.get("input"))
        if not found or len(found) > _MOST_TEXTS:
            return f"'input' must be a text, or a list of 1 to {_MOST_TEXTS}"
        if not all(found):
            return "'input' must not have an empty text"
        size = call.body.get("dimensions", DIMENSIONS)
        return None if type(size) is int and size > 0 else "'dimensions' must be over 0"

    def asked(self, call: Call) -> Asked:
        found = texts_of(call.body["input"])
        return Asked("\n".join(found), sum(map(words.count, found)), silent=True)

    def whole(self, call: Call, asked: Asked, reply: Reply) -> dict[str, Any]:
        del reply
        size = call.body.get("dimensions", DIMENSIONS)
        spelled = _base64 if call.body.get("encoding_format") == "base64" else list
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": spelled(vector(text, size))}
                for index, text in enumerate(texts_of(call.body["input"]))
            ],
            "model": call.model,
            "usage": {"prompt_tokens": asked.prompt_tokens, "total_tokens": asked.prompt_tokens},
        }


def texts_of(value: Any) -> Sequence[str]:
    """The texts of ``input``; none where it is of another shape, token ids for example."""
    found = [value] if isinstance(value, str) else value
    return found if isinstance(found, list) and all(isinstance(x, str) for x in found) else ()


def vector(text: str, size: int) -> Sequence[float]:
    """Of length 1, in numbers that a float32 holds exactly."""
    raw = b"".join(
        blake2b(f"{block}{text}".encode("utf-8", "surrogatepass")).digest()
        for block in range(math.ceil(size / 32))
    )
    numbers = [each / 32768 for each in struct.unpack_from(f"<{size}h", raw)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return struct.unpack(f"<{size}f", struct.pack(f"<{size}f", *(n / length for n in numbers)))


def _base64(numbers: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
