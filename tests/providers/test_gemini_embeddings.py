"""Embeddings of Gemini: what is sent, and what is read from answers of every kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import EmbedRequest, Endpoint, Headers, Ready, Verdict, operation
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import dialect

OPERATION = operation(dialect("gemini"), EmbedRequest)
PLACE = Endpoint("google_ai_studio", "https://x.test", flags={"api_version": "v1beta"})
MODEL = "gemini-embedding-001"


def sent(*texts: str, **more: Any) -> list[dict[str, Any]]:
    body = OPERATION.encode(EmbedRequest(MODEL, texts, **more), PLACE)
    assert isinstance(body, bytes)
    found: list[dict[str, Any]] = json.loads(body)["requests"]
    return found


def parse(answer: Any, texts: int = 2, status: int = 200) -> Verdict[Any]:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return OPERATION.parse(EmbedRequest(MODEL, ["t"] * texts), status, Headers(()), raw, 0.0)


def test_each_text_is_a_request_of_its_own_in_one_body():
    model = f"models/{MODEL}"
    assert sent("a", "b") == [
        {"model": model, "content": {"parts": [{"text": "a"}]}},
        {"model": model, "content": {"parts": [{"text": "b"}]}},
    ]
    [found] = sent("a", dimensions=256, task_type="retrieval_query", options={"title": "t"})
    assert found == {
        "model": model, "content": {"parts": [{"text": "a"}]}, "title": "t",
        "outputDimensionality": 256, "taskType": "RETRIEVAL_QUERY",
    }  # fmt: skip
    assert OPERATION.bounds(MODEL, PLACE).count == 100


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://x.test", f"https://x.test/v1beta/models/{MODEL}:batchEmbedContents"),
        ("https://x.test/v1/", f"https://x.test/v1/models/{MODEL}:batchEmbedContents"),
    ],
)
def test_the_url_has_one_version(base, expected):
    ready = Ready(Endpoint("g", base), "", ((b"x-goog-api-key", b"s"),))
    request = OPERATION.build(EmbedRequest(MODEL, ["a"]), b"{}", ready, 0.0)
    assert (request.url, request.headers) == (expected, ready.headers)


def test_vectors_and_tokens_are_read_in_their_order():
    told = {
        "embeddings": [{"values": [1, 0.5]}, {"values": [2.0]}],
        "usageMetadata": {"promptTokenCount": 9},
    }
    verdict = parse(told)
    assert verdict.value.found == [[1, 0.5], [2.0]]
    assert (verdict.used.prompt_tokens, verdict.used.total_tokens) == (9, 9)
    del told["usageMetadata"]
    assert parse(told).used.total_tokens == 0


@pytest.mark.parametrize(
    "answer",
    [b"no json", [], {}, {"embeddings": [{"values": [1.0]}]}, {"embeddings": [{"values": []}, {}]}],
)
def test_what_is_not_one_vector_for_each_text_is_a_broken_answer(answer):
    assert parse(answer).outcome is Outcome.SERVER_ERROR


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["embeddings", "values", "usageMetadata", "error"]), inner)))  # fmt: skip
def test_no_answer_makes_the_parser_raise(answer):
    assert parse(answer, 1).outcome is not None


def test_errors_are_judged_as_in_a_chat():
    refused = {"error": {"code": 429, "message": "wait", "status": "RESOURCE_EXHAUSTED"}}
    assert parse(refused, status=429).outcome is Outcome.RATE_LIMITED
    with pytest.raises(CapabilityError, match="upstream"):
        sent("a", upstream="x")


# -- Vertex

VERTEX = Endpoint(
    "google_vertex",
    "https://europe-west4-aiplatform.googleapis.com",
    auth="google",
    auth_config={"project": "my-project", "region": "europe-west4"},
)
OLDER = "text-embedding-005"


def test_vertex_predicts_in_a_project():
    request = EmbedRequest(OLDER, ["a", "b"], 256, "clustering", options={"autoTruncate": False})
    body = OPERATION.encode(request, VERTEX)
    assert json.loads(body) == {
        "instances": [
            {"content": "a", "task_type": "CLUSTERING"},
            {"content": "b", "task_type": "CLUSTERING"},
        ],
        "parameters": {"autoTruncate": False, "outputDimensionality": 256},
    }
    sent_to = OPERATION.build(request, body, Ready(VERTEX, "", ()), 0.0).url
    assert sent_to == (
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/my-project/locations/"
        "europe-west4/publishers/google/models/text-embedding-005:predict"
    )


def test_the_global_place_has_no_region_before_it():
    place = Endpoint(
        "google_vertex",
        "https://global-aiplatform.googleapis.com",
        auth="google",
        auth_config={"project": "p", "region": "global"},
    )
    sent_to = OPERATION.build(EmbedRequest(OLDER, ["a"]), b"", Ready(place, "", ()), 0.0).url
    assert sent_to.startswith("https://aiplatform.googleapis.com/v1/projects/p/locations/global/")


def test_vertex_takes_few_texts_of_the_newer_model():
    assert OPERATION.bounds(MODEL, VERTEX).count == 1
    bounds = OPERATION.bounds(OLDER, VERTEX)
    assert (bounds.count, bounds.tokens) == (250, 20_000)


def test_predictions_are_read():
    told = {
        "predictions": [
            {"embeddings": {"values": [1.0], "statistics": {"token_count": 3}}},
            {"embeddings": {"values": [2.0], "statistics": {"token_count": 4}}},
        ]
    }
    verdict = parse(told)
    assert verdict.value.found == [[1.0], [2.0]]
    assert verdict.used.total_tokens == 7


def test_a_project_must_be_named():
    place = Endpoint("google_vertex", "https://x.test", auth="google", auth_config={"region": "r"})
    with pytest.raises(CapabilityError, match=r"google_vertex cannot carry this without auth_con"):
        OPERATION.build(EmbedRequest(OLDER, ["a"]), b"", Ready(place, "", ()), 0.0)
