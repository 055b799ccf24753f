"""Embeddings at Bedrock: Titan and Cohere, each in its own words."""

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

OPERATION = operation(dialect("bedrock"), EmbedRequest)
PLACE = Endpoint("aws_bedrock", "https://x.test")
TITAN, TITAN_1 = "amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1"
COHERE, COHERE_4 = "cohere.embed-multilingual-v3", "us.cohere.embed-v4:0"


def sent(model: str, *texts: str, **more: Any) -> dict[str, Any]:
    body = OPERATION.encode(EmbedRequest(model, texts, **more), PLACE)
    assert isinstance(body, bytes)
    found: dict[str, Any] = json.loads(body)
    return found


def parse(
    model: str, answer: Any, texts: int = 1, status: int = 200, **headers: str
) -> Verdict[Any]:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    told = Headers([(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()])
    return OPERATION.parse(EmbedRequest(model, ["t"] * texts), status, told, raw, 0.0)


def test_titan_is_sent_one_text():
    assert sent(TITAN, "a") == {"inputText": "a"}
    assert sent(TITAN, "a", dimensions=256, options={"normalize": False}) == {
        "inputText": "a", "dimensions": 256, "normalize": False,
    }  # fmt: skip
    assert OPERATION.bounds(TITAN, PLACE).count == 1


def test_cohere_is_told_what_the_vectors_are_for():
    assert sent(COHERE, "a", "b") == {"texts": ["a", "b"], "input_type": "search_document"}
    assert sent(COHERE, "a", task_type="RETRIEVAL_QUERY")["input_type"] == "search_query"
    assert sent(COHERE, "a", task_type="clustering")["input_type"] == "clustering"
    assert sent(COHERE_4, "a", dimensions=256) == {
        "texts": ["a"], "input_type": "search_document",
        "output_dimension": 256, "embedding_types": ["float"],
    }  # fmt: skip
    assert OPERATION.bounds(COHERE_4, PLACE).count == 96


@pytest.mark.parametrize(
    ("model", "more", "words"),
    [
        ("anthropic.claude-x", {}, "embeddings of this model; it can those of amazon.titan"),
        (TITAN, {"task_type": "RETRIEVAL_QUERY"}, "task_type"),
        (TITAN_1, {"dimensions": 256}, "dimensions"),
        (COHERE, {"dimensions": 256}, "dimensions"),
        (COHERE, {"task_type": "SEMANTIC_SIMILARITY"}, "task_type 'SEMANTIC_SIMILARITY'"),
        (TITAN, {"upstream": "x"}, "upstream"),
    ],
)
def test_what_a_model_cannot_is_named(model, more, words):
    with pytest.raises(CapabilityError, match=words):
        sent(model, "a", **more)
    with pytest.raises(CapabilityError, match="2 texts in one request; 1 is most"):
        sent(TITAN, "a", "b")


def test_the_request_goes_to_the_models_place():
    ready = Ready(PLACE, "https://x.test", ((b"authorization", b"Bearer s"),))
    request = OPERATION.build(EmbedRequest("a/b:0", ["t"]), b"{}", ready, 0.0)
    assert request.url == "https://x.test/model/a%2Fb%3A0/invoke"
    assert request.headers == ready.headers


def test_vectors_and_tokens_are_read():
    verdict = parse(TITAN, {"embedding": [0.5, 1], "inputTextTokenCount": 4})
    assert verdict.value.found == [[0.5, 1]]
    assert (verdict.used.prompt_tokens, verdict.used.total_tokens) == (4, 4)
    count = {"x_amzn_bedrock_input_token_count": "7"}
    for told in ([[1.0], [2.0]], {"float": [[1.0], [2.0]]}):
        verdict = parse(COHERE, {"embeddings": told}, 2, **count)
        assert verdict.value.found == [[1.0], [2.0]]
        assert verdict.used.total_tokens == 7


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (TITAN, b"no json"),
        (TITAN, {}),
        (TITAN, {"embedding": []}),
        (COHERE, {"embeddings": [[1.0], [2.0]]}),
        (COHERE, {"embeddings": {"int8": [[1]]}}),
        (COHERE, []),
    ],
)
def test_what_is_not_one_vector_for_each_text_is_a_broken_answer(model, answer):
    assert parse(model, answer).outcome is Outcome.SERVER_ERROR


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["embedding", "embeddings", "float", "message", "__type"]), inner)))  # fmt: skip
def test_no_answer_makes_the_parser_raise(answer):
    for model in (TITAN, COHERE):
        assert parse(model, answer).outcome is not None


def test_an_error_is_judged_as_in_a_chat():
    refused = {"message": "Too many requests"}
    assert parse(TITAN, refused, status=429).outcome is Outcome.RATE_LIMITED
