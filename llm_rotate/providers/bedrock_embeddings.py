"""Embeddings at Bedrock: InvokeModel, in the words of each model's maker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from .answer import Received, no_error, value_in
from .bedrock_answer import is_error
from .bedrock_urls import need_botocore, url_of
from .faults import BEDROCK, broken, judge, request_id
from .parts import cannot, written
from .reading import as_count, as_dict, as_list
from .vectors import vector_of

# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
_COUNTED = "x-amzn-bedrock-input-token-count"
# A task in Google's words -> Cohere's, which are taken as they are too.
_INPUT_TYPES: Mapping[str, str] = {
    "RETRIEVAL_DOCUMENT": "search_document",
    "RETRIEVAL_QUERY": "search_query",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
}


@dataclass(frozen=True, slots=True)
class _Family:
    """``count``: texts that it takes in one request."""

    count: int
    body: Callable[[EmbedRequest], dict[str, Any]]
    vectors: Callable[[Mapping[str, Any]], Sequence[object]]


class BedrockEmbeddings:
    """The operation, without state of its own."""

    def bounds(self, model: str, endpoint: Endpoint) -> Bounds:  # noqa: ARG002 - the same everywhere
        family = _family(model)
        return Bounds(family.count if family else 1)

    def encode(self, request: EmbedRequest, endpoint: Endpoint) -> bytes:
        family = _family(request.model)
        if family is None:
            cannot("bedrock", f"embeddings of this model; it can those of {', '.join(_FAMILIES)}")
        if request.upstream is not None:
            cannot("bedrock", f"upstream {request.upstream!r}")
        if len(request.texts) > family.count:
            cannot("bedrock", f"{len(request.texts)} texts in one request; {family.count} is most")
        if endpoint.auth == "sigv4":
            need_botocore()
        return written("bedrock", {**family.body(request), **request.options})

    def build(
        self,
        request: EmbedRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - the signature, which tells the time, comes after
    ) -> HttpRequest:
        return HttpRequest("POST", url_of(ready.url, request.model, "invoke"), ready.headers, body)

    def parse(
        self, request: EmbedRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[Vectors]:
        answer = value_in(BEDROCK, Received(status, headers, body, wall), no_error)
        if isinstance(answer, Verdict):
            return answer
        told = as_dict(answer)
        family = _family(request.model)
        found = [vector_of(each) for each in family.vectors(told)] if family else []
        if len(found) != len(request.texts) or not all(found):
            if is_error(told):
                return judge(BEDROCK, status, headers, told, wall)
            return broken("the answer has not one vector for each text", status, headers)
        tokens = as_count(told.get("inputTextTokenCount")) or _counted(headers)
        usage, name = Usage(tokens, 0, tokens), request_id(headers)
        vectors = Vectors(found, request.model, usage, name)
        return Verdict(Outcome.OK, vectors, usage, status=status, request_id=name)


def _counted(headers: Headers) -> int:
    said = headers.get(_COUNTED) or ""
    return int(said) if said.isascii() and said.isdigit() else 0


# -- Titan: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html


def _titan_body(request: EmbedRequest) -> dict[str, Any]:
    if request.task_type is not None:
        cannot("bedrock", "task_type for this model")
    body: dict[str, Any] = {"inputText": request.texts[0]}
    if request.dimensions is not None:
        if "text-v1" in request.model:
            cannot("bedrock", "dimensions for this model")
        body["dimensions"] = request.dimensions
    return body


def _titan_vectors(told: Mapping[str, Any]) -> Sequence[object]:
    return [told.get("embedding")]


# -- Cohere: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html


def _cohere_body(request: EmbedRequest) -> dict[str, Any]:
    """It must be told what vectors are for; texts to be searched are the usual."""
    task = request.task_type or "search_document"
    kind = _INPUT_TYPES.get(task.upper(), task)
    if kind not in _INPUT_TYPES.values():
        cannot("bedrock", f"task_type {task!r} for this model")
    body: dict[str, Any] = {"texts": list(request.texts), "input_type": kind}
    if request.dimensions is not None:
        if "v3" in request.model:
            cannot("bedrock", "dimensions for this model")
        body |= {"output_dimension": request.dimensions, "embedding_types": ["float"]}
    return body


def _cohere_vectors(told: Mapping[str, Any]) -> Sequence[object]:
    """A list, or by the type of their numbers."""
    found = told.get("embeddings")
    return as_list(found.get("float") if isinstance(found, dict) else found)


# Part of a model's name -> how it is spoken to.
_FAMILIES: Mapping[str, _Family] = {
    "amazon.titan-embed-text": _Family(1, _titan_body, _titan_vectors),
    "cohere.embed": _Family(96, _cohere_body, _cohere_vectors),
}


def _family(model: str) -> _Family | None:
    return next((family for part, family in _FAMILIES.items() if part in model), None)
