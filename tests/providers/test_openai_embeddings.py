"""OpenAI embeddings: what is sent, and what is read from answers of every kind."""

from __future__ import annotations

import base64
import json
import struct
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import EmbedRequest, Endpoint, Headers, Verdict, operation
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import dialect
from llm_rotate.types import Usage

OPERATION = operation(dialect("openai"), EmbedRequest)
PLAIN = Endpoint("openai", "https://x.test/v1")
NONE = Headers(())
FOLDER = Path(__file__).parents[3] / "shared" / "recorded"


def sent(request: EmbedRequest, endpoint: Endpoint = PLAIN) -> dict[str, Any]:
    body = OPERATION.encode(request, endpoint)
    assert isinstance(body, bytes)
    found: dict[str, Any] = json.loads(body)
    return found


def url(endpoint: Endpoint, model: str = "m") -> str:
    ready = dialect("openai").prepare(None, endpoint)
    return OPERATION.build(EmbedRequest(model, ["a"]), b"{}", ready, 0.0).url


def parse(answer: Any, texts: int = 2, status: int = 200, **more: Any) -> Verdict[Any]:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return OPERATION.parse(EmbedRequest("m", ["t"] * texts, **more), status, NONE, raw, 0.0)


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def item(index: int | None, embedding: Any) -> dict[str, Any]:
    return {"embedding": embedding} | ({} if index is None else {"index": index})


def test_the_body_has_what_was_asked_and_no_more():
    assert sent(EmbedRequest("m", ("a", "b"))) == {"model": "m", "input": ["a", "b"]}
    asked = EmbedRequest("m", ["a"], 8, options={"user": "u", "input_type": "query"})
    assert sent(asked) == {
        "model": "m", "input": ["a"], "dimensions": 8, "user": "u", "input_type": "query",
    }  # fmt: skip


def test_base64_is_asked_for_where_it_is_known_to_be_taken_and_the_call_has_the_last_word():
    known = Endpoint("openai", "https://x.test/v1", flags={"embed_base64": True})
    assert sent(EmbedRequest("m", ["a"]), known)["encoding_format"] == "base64"
    asked = EmbedRequest("m", ["a"], options={"encoding_format": "float"})
    assert sent(asked, known)["encoding_format"] == "float"


def test_an_upstream_is_pinned_as_in_a_chat():
    broker = Endpoint("openrouter", "https://x.test", flags={"upstream_names": {"g": "g-x"}})
    found = sent(EmbedRequest("m", ["a"], upstream="g"), broker)
    assert found["provider"] == {"order": ["g-x"], "allow_fallbacks": False}


def test_a_task_type_is_refused_before_anything_is_sent():
    with pytest.raises(CapabilityError, match="task_type"):
        sent(EmbedRequest("m", ["a"], task_type="RETRIEVAL_QUERY"))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "https://x.test/embeddings"),
        ({"azure": True}, "https://x.test/openai/v1/embeddings"),
        (
            {"azure": True, "api_version": "2024-10-21"},
            "https://x.test/openai/deployments/my%20d/embeddings?api-version=2024-10-21",
        ),
    ],
)
def test_the_url_is_the_services(flags, expected):
    assert url(Endpoint("p", "https://x.test/", flags=flags), "my d") == expected


@given(st.permutations(range(5)), st.booleans())
def test_B03_vectors_stand_by_their_index_whatever_order_came_back(order, is_packed):
    def spelled(number: int) -> Any:
        return packed(number, 0.5) if is_packed else [number, 0.5]

    verdict = parse({"data": [item(i, spelled(i)) for i in order]}, 5)
    assert verdict.value is not None
    assert [list(found) for found in verdict.value.found] == [[n, 0.5] for n in range(5)]


def test_without_an_index_they_stand_as_they_came():
    verdict = parse({"data": [item(None, [1.0]), item(None, [2.0])]})
    assert verdict.value is not None
    assert verdict.value.found == [[1.0], [2.0]]


def test_usage_model_and_names_are_read():
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    verdict = parse({"data": [item(0, [1])], "model": "m-2", "usage": usage, "provider": "X"}, 1)
    assert verdict.used == Usage(7, 0, 7)
    assert (verdict.value.model, verdict.value.usage.total_tokens) == ("m-2", 7)
    assert verdict.value.upstream == "X"


@pytest.mark.parametrize(
    "answer",
    [
        b"no json",
        [],
        {},
        {"data": None},
        {"data": [item(0, [1.0])]},
        {"data": [item(0, [1.0]), item(0, [2.0])]},
        {"data": [item(0, [1.0]), item(2, [2.0])]},
        {"data": [item(0, [1.0]), item(1, [2.0]), item(1, [3.0])]},
        {"data": [item(0, [1.0]), item(1, None)]},
        {"data": [item(0, [1.0]), item(1, [])]},
        {"data": [item(0, [1.0]), item(1, ["x"])]},
        {"data": [item(0, [1.0]), item(1, "not base64!")]},
        {"data": [item(0, [1.0]), item(1, "AAA=")]},
        {"data": [item(0, [1.0]), item("1", [1.0])]},
        {"data": [item(0, [1.0]), item([], [1.0])]},
        {"data": [0, 1]},
    ],
)
def test_what_is_not_one_vector_for_each_text_is_a_broken_answer(answer):
    assert parse(answer).outcome is Outcome.SERVER_ERROR


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "index", "embedding", "error"]), inner)))  # fmt: skip
def test_no_answer_makes_the_parser_raise(answer):
    assert parse(answer, 1).outcome is not None


def test_an_error_is_judged_as_in_a_chat():
    refused = {"error": {"message": "no", "code": "rate_limit_exceeded"}}
    assert parse(refused, status=429).outcome is Outcome.RATE_LIMITED
    assert parse(refused).outcome is Outcome.RATE_LIMITED


def test_float32_values_are_read_exactly():
    numbers = [0.1, -2.5e-8, 3.4e38]
    verdict = parse({"data": [item(0, packed(*numbers))]}, 1)
    assert verdict.value is not None
    assert verdict.value.found[0] == array("f", numbers)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="no recordings here")
def test_a_real_answer_is_read():
    record = json.loads((FOLDER / "openai" / "embeddings_batch.json").read_text())
    expected = json.loads((FOLDER / "expect.json").read_text())["openai/embeddings_batch"]
    verdict = parse(record["body"].encode(), expected["n"])
    assert verdict.value is not None
    assert {len(found) for found in verdict.value.found} == {expected["dim"]}
    assert verdict.value.usage.prompt_tokens == expected["usage"][0]
    for found in verdict.value.found:
        assert sum(number * number for number in found) == pytest.approx(1.0, abs=1e-4)


def test_what_a_service_takes_in_one_request_is_in_its_flags():
    assert OPERATION.bounds("m", PLAIN).count == 2048
    small = Endpoint("p", "https://x.test", flags={"embed_count": 5, "embed_tokens": 100})
    assert (OPERATION.bounds("m", small).count, OPERATION.bounds("m", small).tokens) == (5, 100)
