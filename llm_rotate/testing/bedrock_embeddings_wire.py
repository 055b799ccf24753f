"""Embeddings at Bedrock: Titan takes one text, Cohere many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import words
from .bedrock_wire import BedrockWire
from .embeddings_wire import DIMENSIONS, texts_of, vector
from .wire import Call
from .words import Asked, Reply

_MOST_TEXTS = 96


class BedrockEmbeddingsWire(BedrockWire):
    """The same service's InvokeModel: its errors and headers are those of Converse."""

    def invalid(self, call: Call, headers: Mapping[str, str]) -> str | None:
        del headers
        found = _texts(call)
        if not found or not all(found) or len(found) > _MOST_TEXTS:
            return "Malformed input request: texts of at least a letter are expected."
        if "cohere" in call.model and "input_type" not in call.body:
            return "Malformed input request: required key [input_type] not found."
        return None

    def asked(self, call: Call) -> Asked:
        found = _texts(call)
        count = sum(map(words.count, found))
        told = (("x-amzn-bedrock-input-token-count", str(count)),)
        return Asked("\n".join(found), count, silent=True, headers=told)

    def whole(self, call: Call, asked: Asked, reply: Reply) -> dict[str, Any]:
        del reply
        size = call.body.get("dimensions") or call.body.get("output_dimension") or DIMENSIONS
        found = [list(vector(text, size)) for text in _texts(call)]
        if "titan" in call.model:
            return {"embedding": found[0], "inputTextTokenCount": asked.prompt_tokens}
        told: Any = {"float": found} if "embedding_types" in call.body else found
        return {"embeddings": told, "id": call.id(""), "texts": _texts(call)}


def _texts(call: Call) -> Sequence[str]:
    return texts_of(call.body.get("inputText" if "titan" in call.model else "texts"))
