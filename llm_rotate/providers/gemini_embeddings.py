"""Gemini's embed_content, for many texts at a time; at Vertex, predict."""

from __future__ import annotations

from collections.abc import Mapping
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
from ..types import Usage
from .answer import Received, value_in
from .faults import GEMINI, broken, request_id
from .gemini_answer import usage_of
from .gemini_urls import is_vertex, named, url_of
from .parts import cannot, written
from .reading import as_count, as_dict, as_list
from .vectors import vector_of

# "at most 100 requests can be in one batch", says AI Studio to more.
_COUNT = 100
# https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings: 250 texts
# and 20,000 tokens in a request, a single text for gemini-embedding.
_VERTEX = Bounds(250, 20_000)
_SINGLE = "gemini-embedding"


class GeminiEmbeddings:
    """The operation, without state of its own."""

    def bounds(self, model: str, endpoint: Endpoint) -> Bounds:
        if is_vertex(endpoint):
            return Bounds(1) if model.startswith(_SINGLE) else _VERTEX
        return Bounds(endpoint.flags.get("embed_count", _COUNT))

    def encode(self, request: EmbedRequest, endpoint: Endpoint) -> bytes:
        if request.upstream is not None:
            cannot("gemini", f"upstream {request.upstream!r}")
        body = _instances(request) if is_vertex(endpoint) else _requests(request)
        return written("gemini", body)

    def build(
        self,
        request: EmbedRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        verb = "predict" if is_vertex(ready.endpoint) else "batchEmbedContents"
        url = url_of(ready.endpoint, request.model, verb)
        return HttpRequest("POST", url, ready.headers, body)

    def parse(
        self, request: EmbedRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[Vectors]:
        answer = value_in(GEMINI, Received(status, headers, body, wall))
        if isinstance(answer, Verdict):
            return answer
        told = as_dict(answer)
        items = [as_dict(each) for each in as_list(told.get("embeddings"))]
        items = items or [_predicted(each) for each in as_list(told.get("predictions"))]
        found = [vector_of(item.get("values")) for item in items]
        if len(found) != len(request.texts) or not all(found):
            return broken("the answer has not one vector for each text", status, headers)
        usage, name = _usage(told, items), request_id(headers)
        vectors = Vectors(found, request.model, usage, name)
        return Verdict(Outcome.OK, vectors, usage, status=status, request_id=name)


def _requests(request: EmbedRequest) -> dict[str, Any]:
    common: dict[str, Any] = {"model": named(request.model)}
    if request.task_type is not None:
        common["taskType"] = request.task_type.upper()
    if request.dimensions is not None:
        common["outputDimensionality"] = request.dimensions
    common |= request.options
    asked = [{**common, "content": {"parts": [{"text": text}]}} for text in request.texts]
    return {"requests": asked}


def _instances(request: EmbedRequest) -> dict[str, Any]:
    task = {} if request.task_type is None else {"task_type": request.task_type.upper()}
    body: dict[str, Any] = {"instances": [{"content": text, **task} for text in request.texts]}
    parameters = dict(request.options)
    if request.dimensions is not None:
        parameters.setdefault("outputDimensionality", request.dimensions)
    return body | ({"parameters": parameters} if parameters else {})


def _predicted(value: object) -> dict[str, Any]:
    return as_dict(as_dict(value).get("embeddings"))


def _usage(told: Mapping[str, Any], items: list[dict[str, Any]]) -> Usage:
    """AI Studio tells it of some models, Vertex of each text."""
    counts = [as_count(as_dict(item.get("statistics")).get("token_count")) for item in items]
    if any(counts):
        return Usage(sum(counts), 0, sum(counts))
    return usage_of(told.get("usageMetadata"))
