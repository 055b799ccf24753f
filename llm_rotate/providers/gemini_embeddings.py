"""Gemini's embed_content, for many texts at a time."""

from __future__ import annotations

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
from .faults import GEMINI, broken, judge, request_id
from .gemini_answer import usage_of
from .gemini_urls import named, url_of
from .jsonio import loads
from .parts import cannot, written
from .reading import as_dict, as_list
from .vectors import vector_of

# "at most 100 requests can be in one batch", says the service to more.
_COUNT = 100


class GeminiEmbeddings:
    """The operation, without state of its own."""

    def bounds(self, model: str, endpoint: Endpoint) -> Bounds:  # noqa: ARG002 - the same for all
        return Bounds(endpoint.flags.get("embed_count", _COUNT))

    def encode(self, request: EmbedRequest, endpoint: Endpoint) -> bytes:  # noqa: ARG002 - others differ by it
        if request.upstream is not None:
            cannot("gemini", f"upstream {request.upstream!r}")
        common: dict[str, Any] = {"model": named(request.model)}
        if request.task_type is not None:
            common["taskType"] = request.task_type.upper()
        if request.dimensions is not None:
            common["outputDimensionality"] = request.dimensions
        common |= request.options
        asked = [{**common, "content": {"parts": [{"text": text}]}} for text in request.texts]
        return written("gemini", {"requests": asked})

    def build(
        self,
        request: EmbedRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        url = url_of(ready.endpoint, request.model, "batchEmbedContents")
        return HttpRequest("POST", url, ready.headers, body)

    def parse(
        self, request: EmbedRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[Vectors]:
        if not 200 <= status < 300:
            return judge(GEMINI, status, headers, body, wall)
        try:
            told = as_dict(loads(body))
        except ValueError:
            return broken("the answer is not JSON", status, headers, body)
        if told.get("error"):
            return judge(GEMINI, status, headers, told, wall)
        found = [vector_of(as_dict(each).get("values")) for each in as_list(told.get("embeddings"))]
        if len(found) != len(request.texts) or not all(found):
            return broken("the answer has not one vector for each text", status, headers)
        usage, name = usage_of(told.get("usageMetadata")), request_id(headers)
        vectors = Vectors(found, request.model, usage, name)
        return Verdict(Outcome.OK, vectors, usage, status=status, request_id=name)
