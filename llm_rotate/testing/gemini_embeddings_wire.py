"""Embeddings of Gemini: batchEmbedContents at AI Studio, predict at Vertex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import words
from .embeddings_wire import DIMENSIONS, vector
from .gemini_wire import GeminiWire
from .wire import Call
from .words import Asked, Reply

_MOST_TEXTS = 100


class GeminiEmbeddingsWire(GeminiWire):
    """The same service's other operation: its errors and headers are those of chat."""

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        del headers
        found = _texts(call)
        if not found or not all(found):
            return "* BatchEmbedContentsRequest.requests: contents is not specified"
        if len(found) > _MOST_TEXTS:
            return (
                "* BatchEmbedContentsRequest.requests: "
                f"at most {_MOST_TEXTS} requests can be in one batch"
            )
        return None

    def asked(self, call: Call) -> Asked:
        found = _texts(call)
        return Asked("\n".join(found), sum(map(words.count, found)), silent=True)

    def whole(self, call: Call, asked: Asked, reply: Reply) -> dict[str, Any]:
        del reply
        if "instances" in call.body:
            return _predictions(call)
        sizes = [each.get("outputDimensionality", DIMENSIONS) for each in call.body["requests"]]
        pairs = zip(_texts(call), sizes, strict=True)
        return {
            "embeddings": [{"values": list(vector(text, size))} for text, size in pairs],
            "usageMetadata": {"promptTokenCount": asked.prompt_tokens},
        }


def _predictions(call: Call) -> dict[str, Any]:
    size = (call.body.get("parameters") or {}).get("outputDimensionality", DIMENSIONS)
    return {
        "predictions": [
            {
                "embeddings": {
                    "values": list(vector(text, size)),
                    "statistics": {"truncated": False, "token_count": words.count(text)},
                }
            }
            for text in _texts(call)
        ]
    }


def _texts(call: Call) -> Sequence[str]:
    instances = call.body.get("instances")
    if isinstance(instances, list):
        return [str((each or {}).get("content") or "") for each in instances]
    requests = call.body.get("requests")
    if not isinstance(requests, list) or not all(isinstance(each, dict) for each in requests):
        return ()
    return [" ".join(words.texts((each.get("content") or {}).get("parts"))) for each in requests]
