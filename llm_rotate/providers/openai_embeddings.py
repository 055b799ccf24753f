"""OpenAI embeddings: texts in, vectors out, in the order of the texts.

What a service spells differently is in ``Endpoint.flags``: ``embed_base64``, whether vectors
are asked for as base64 (a quarter of the bytes); ``embed_count`` and ``embed_tokens``, how
many texts and tokens it takes in one request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import (
    Bounds,
    EmbedRequest,
    Endpoint,
    Headers,
    HttpRequest,
    Ready,
    Vectors,
    Verdict,
)
from .answer import Received, value_in
from .faults import OPENAI, broken, request_id
from .openai_answer import fault_in, usage_of
from .openai_urls import post
from .parts import cannot, upstream_pin, written
from .reading import as_dict, as_list, as_text, as_text_or_none
from .vectors import vector_of

# https://platform.openai.com/docs/api-reference/embeddings/create: "any array must be 2048
# dimensions or less", "a maximum of 300,000 tokens summed across all inputs".
_COUNT = 2_048
_TOKENS = 300_000


class OpenAIEmbeddings:
    """The operation, without state of its own."""

    def bounds(self, model: str, endpoint: Endpoint) -> Bounds:  # noqa: ARG002 - other dialects' differ by model
        flags = endpoint.flags
        return Bounds(flags.get("embed_count", _COUNT), flags.get("embed_tokens", _TOKENS))

    def encode(self, request: EmbedRequest, endpoint: Endpoint) -> bytes:
        if request.task_type is not None:
            cannot("openai", "task_type")
        body: dict[str, Any] = {"model": request.model, "input": list(request.texts)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if endpoint.flags.get("embed_base64"):
            body["encoding_format"] = "base64"
        body |= request.options
        if request.upstream is not None:
            body["provider"] = upstream_pin(body.get("provider"), request.upstream, endpoint.flags)
        return written("openai", body)

    def build(
        self,
        request: EmbedRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        return post(self, "embeddings", request, body, ready)

    def parse(
        self, request: EmbedRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[Vectors]:
        got = Received(status, headers, body, wall)
        answer = value_in(OPENAI, got, fault_in, pinned=request.upstream is not None)
        if isinstance(answer, Verdict):
            return answer
        told = as_dict(answer)
        found = _vectors(told, len(request.texts))
        if found is None:
            return broken("the answer has not one vector for each text", status, headers)
        usage, name = usage_of(told.get("usage")), request_id(headers)
        model, upstream = as_text(told.get("model")), as_text_or_none(told.get("provider"))
        vectors = Vectors(found, model or request.model, usage, name, upstream)
        return Verdict(Outcome.OK, vectors, usage, status=status, request_id=name)


def _vectors(answer: Mapping[str, Any], count: int) -> list[Sequence[float]] | None:
    """One for each text, by ``index``; where an item has none, as it came. None: they are not."""
    items = [as_dict(item) for item in as_list(answer.get("data"))]
    indexes = [item.get("index", came) for came, item in enumerate(items)]
    if any(type(index) is not int for index in indexes) or sorted(indexes) != list(range(count)):
        return None
    by_index = dict(zip(indexes, items, strict=True))
    found = [vector_of(by_index[index].get("embedding")) for index in range(count)]
    return found if all(found) else None
