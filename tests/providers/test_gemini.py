"""Gemini's shapes: what goes in, what comes out, how its errors are judged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import ChatRequest, Endpoint, Headers, Verdict
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import dialect

HERE = Endpoint("google_ai_studio", "https://x.test", auth="x-goog-api-key")
GEMINI = dialect("gemini")
ASKED = {"role": "user", "content": "hi"}


def encoded(
    *messages: dict[str, Any], model: str = "gemini-2.5-flash", **more: Any
) -> dict[str, Any]:
    asked = ChatRequest(model, messages or (ASKED,), **more)
    found: dict[str, Any] = json.loads(GEMINI.encode(asked, HERE))
    return found


def config(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = encoded(options=options)["config"]
    return found


def parts(*given: Any) -> list[Any]:
    found: list[Any] = encoded({"role": "user", "content": [*given]})["contents"][0]["parts"]
    return found


def parsed(body: Any, status: int = 200) -> Verdict[Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GEMINI.parse(ChatRequest("asked", ()), status, Headers(()), raw, 0.0)


# -- requests


def test_several_system_messages_are_one_instruction() -> None:
    told = encoded(
        {"role": "system", "content": "be kind"},
        {"role": "developer", "content": "be short"},
        ASKED,
    )
    assert told["config"]["systemInstruction"] == {
        "parts": [{"text": "be kind"}, {"text": "be short"}]
    }
    assert told["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


def test_messages_of_one_role_are_one_content() -> None:
    told = encoded(
        ASKED, {"role": "user", "content": "there"}, {"role": "assistant", "content": ""}
    )
    assert told["contents"] == [{"role": "user", "parts": [{"text": "hi"}, {"text": "there"}]}]


def call(call_id: str, name: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": '{"a": 1}'}}


def test_C01_results_find_the_names_of_their_calls() -> None:
    calls = [call("c1", "f"), call("unnamed-1", "g")]
    told = encoded(
        ASKED,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "unnamed-1", "content": '{"x": 1}'},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    )
    _, model, user = told["contents"]
    assert [part["functionCall"] for part in model["parts"]] == [
        {"name": "f", "args": {"a": 1}, "id": "c1"},
        {"name": "g", "args": {"a": 1}},
    ]
    assert [part["functionResponse"] for part in user["parts"]] == [
        {"name": "g", "response": {"x": 1}},
        {"name": "f", "response": {"result": "sunny"}, "id": "c1"},
    ]


def test_signatures_go_back_as_they_came() -> None:
    signed = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}
    body = {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, signed]}}]}
    response = parsed(body).value
    response.provider = "google_ai_studio"
    result = {"role": "tool", "tool_call_id": response.tool_calls[0]["id"], "content": "4"}
    told = encoded(ASKED, json.loads(json.dumps(response.message)), result)
    assert told["contents"][1]["parts"] == [{"text": "hm", "thought": True}, signed]
    assert told["contents"][2]["parts"][0]["functionResponse"] == {
        "name": "f",
        "response": {"result": 4},
    }


PARTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "image_bytes", "data": b"x", "mime_type": "image/png"}, {"inlineData": {"mimeType": "image/png", "data": "eA=="}}),
    ({"type": "pdf_bytes", "data": b"x"}, {"inlineData": {"mimeType": "application/pdf", "data": "eA=="}}),
    ({"type": "image_url", "image_url": {"url": "data:image/gif;base64,eA=="}}, {"inlineData": {"mimeType": "image/gif", "data": "eA=="}}),
    ({"type": "image_url", "image_url": {"url": "https://x.test/a.png?b"}}, {"fileData": {"fileUri": "https://x.test/a.png?b", "mimeType": "image/png"}}),
    ({"type": "file", "file_uri": "gs://b/a", "mime_type": "video/mp4"}, {"fileData": {"fileUri": "gs://b/a", "mimeType": "video/mp4"}}),
    ({"type": "input_audio", "input_audio": {"data": "eA==", "format": "mp3"}}, {"inlineData": {"mimeType": "audio/mp3", "data": "eA=="}}),
    ({"text": "its own"}, {"text": "its own"}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "sent"), PARTS)
def test_C02_parts(given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert parts(given) == [sent]


CANNOT: list[dict[str, Any]] = [
    {"user": "me"},
    {"parallel_tool_calls": False, "tools": [{"googleSearch": {}}]},
    {"tool_choice": "sometimes"},
    {"tools": "f"},
    {"reasoning_effort": "extreme"},
    {"response_format": {"type": "grammar"}},
]


@pytest.mark.parametrize("options", CANNOT)
def test_C02_what_has_no_place_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(CapabilityError, match=next(iter(options))):
        config(**options)


def test_portable_keywords_are_converted_and_others_stay() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    told = config(
        tools=[{"type": "function", "function": function}, {"googleSearch": {}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        stop="x",
        top_p=0.5,
        seed=3,
        logprobs=True,
        top_logprobs=2,
        top_k=4,
    )
    declared = {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}}
    assert told == {
        "tools": [{"functionDeclarations": [declared]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "stopSequences": ["x"],
        "topP": 0.5,
        "seed": 3,
        "responseLogprobs": True,
        "logprobs": 2,
        "top_k": 4,
    }


class Answer(BaseModel):
    name: str


def test_B06_a_schema_goes_to_the_provider() -> None:
    wanted = Answer.model_json_schema()
    for given in (Answer, {"type": "json_schema", "json_schema": {"schema": wanted}}):
        told = config(response_format=given)
        assert (told["responseMimeType"], told["responseJsonSchema"]) == (
            "application/json",
            wanted,
        )
    assert config(response_format={"type": "json_object"}) == {
        "responseMimeType": "application/json"
    }


@pytest.mark.parametrize(
    ("model", "effort", "wanted"),
    [
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-3-pro-preview", "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
    ],
)
def test_reasoning_effort(model: str, effort: str, wanted: dict[str, Any]) -> None:
    told = encoded(model=model, options={"reasoning_effort": effort})
    assert told["config"]["thinkingConfig"] == wanted
    own = encoded(options={"reasoning_effort": effort, "thinking_config": {"thinking_budget": 1}})
    assert own["config"] == {"thinking_config": {"thinking_budget": 1}}


# -- answers


def test_usage_means_the_same_as_elsewhere() -> None:
    told = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 7,
        "toolUsePromptTokenCount": 2,
        "totalTokenCount": 24,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
    }
    body = {"candidates": [{"content": {"parts": [{"text": "x"}]}}], "usageMetadata": told}
    usage = parsed(body).used
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (12, 12, 24)
    assert (usage.cached_tokens, usage.reasoning_tokens, usage.audio_tokens) == (4, 7, 3)
    assert usage.raw == told


def test_parallel_calls_have_ids_of_their_own() -> None:
    calls = [{"functionCall": {"name": name, "args": {"n": 1}}} for name in "fg"]
    found = parsed({"candidates": [{"content": {"parts": calls}, "finishReason": "STOP"}]}).value
    assert [each["function"]["name"] for each in found.tool_calls] == ["f", "g"]
    assert len({each["id"] for each in found.tool_calls}) == 2


def streamed(*events: dict[str, Any]) -> tuple[list[str], Any]:
    """The texts of a stream's chunks, and its verdict."""
    reader = GEMINI.events(ChatRequest("asked", ()))
    found: list[Any] = []
    for event in events:
        found += reader.feed(b"data: %s\n\n" % json.dumps(event).encode())
    return [chunk.delta for chunk in found], reader.end()


def test_of_several_candidates_the_first_counts_in_a_stream_too() -> None:
    fed = [
        {"candidates": [{"content": {"parts": [{"text": text}]}, "index": index}]}
        for index, text in ((0, "one"), (1, "other"), (0, " and one"))
    ]
    last = {"candidates": [{"index": 0, "finishReason": "MAX_TOKENS"}], "usageMetadata": {"n": 1}}
    end = {"candidates": [{"index": 1, "finishReason": "STOP"}], "usageMetadata": {"n": 2}}
    chunks, verdict = streamed(*fed, last, end)
    assert chunks == ["one", " and one"]
    assert (verdict.value.content, verdict.value.finish_reason) == ("one and one", "MAX_TOKENS")
    assert verdict.used.raw == {"n": 2}


def piece(text: str, finish: str | None = None) -> dict[str, Any]:
    """An event with its usage so far, which the service tells every time."""
    candidate = {"content": {"parts": [{"text": text}]}, "finishReason": finish}
    return {"candidates": [candidate], "usageMetadata": {"candidatesTokenCount": len(text)}}


def test_a_stream_goes_on_after_a_reason_to_finish() -> None:
    """As it does where the service's own tools ran, and with older models at every event."""
    chunks, verdict = streamed(piece("one", "STOP"), piece(" two"), piece(" three", "STOP"))
    assert chunks == ["one", " two", " three"]
    assert (verdict.outcome, verdict.value.content) == (Outcome.OK, "one two three")
    assert verdict.used.completion_tokens == len(" three")


def test_words_after_the_reason_to_finish_want_one_of_their_own() -> None:
    _, verdict = streamed(piece("one", "STOP"), piece(" and then"))
    assert verdict.outcome is Outcome.INTERRUPTED


def test_logprobs_are_read() -> None:
    result = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.1}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -2}]}],
    }
    told = {"content": {"parts": [{"text": "a"}]}, "logprobsResult": result}
    assert parsed({"candidates": [told]}).value.logprobs == [
        {"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "b", "logprob": -2}]}
    ]


def error(code: int, status: str, *details: Any, message: str = "m") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": [*details]}}


INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo"}
DAILY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
MINUTE = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}
ERRORS: list[tuple[int, Any, Outcome]] = [
    (400, error(400, "INVALID_ARGUMENT"), Outcome.BAD_REQUEST),
    (400, [error(400, "INVALID_ARGUMENT")], Outcome.BAD_REQUEST),
    (400, error(400, "INVALID_ARGUMENT", INFO | {"reason": "API_KEY_INVALID"}), Outcome.AUTH_FAILED),
    (400, [error(400, "INVALID_ARGUMENT", INFO | {"reason": "API_KEY_EXPIRED"})], Outcome.AUTH_FAILED),
    (400, error(400, "FAILED_PRECONDITION", message="User location is not supported."), Outcome.FORBIDDEN),
    (401, error(401, "UNAUTHENTICATED"), Outcome.AUTH_FAILED),
    (403, error(403, "PERMISSION_DENIED"), Outcome.FORBIDDEN),
    (403, error(403, "PERMISSION_DENIED", INFO | {"reason": "CONSUMER_SUSPENDED"}), Outcome.AUTH_FAILED),
    (404, error(404, "NOT_FOUND"), Outcome.MODEL_NOT_FOUND),
    (429, error(429, "RESOURCE_EXHAUSTED"), Outcome.RATE_LIMITED),
    (429, error(429, "RESOURCE_EXHAUSTED", MINUTE), Outcome.RATE_LIMITED),
    (429, [error(429, "RESOURCE_EXHAUSTED", DAILY)], Outcome.QUOTA_EXHAUSTED),
    (500, error(500, "INTERNAL"), Outcome.SERVER_ERROR),
    (503, error(503, "UNAVAILABLE"), Outcome.OVERLOADED),
    (504, error(504, "DEADLINE_EXCEEDED"), Outcome.TIMED_OUT),
    (502, b"<html><title>502 Bad Gateway</title></html>", Outcome.SERVER_ERROR),
    (200, error(503, "UNAVAILABLE"), Outcome.OVERLOADED),
    (200, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "m"}}, Outcome.RATE_LIMITED),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "outcome"), ERRORS)
def test_errors_land_in_their_rows(status: int, body: Any, outcome: Outcome) -> None:
    assert parsed(body, status).outcome is outcome


def test_a_quota_of_the_day_is_known_by_its_id_whatever_is_said_of_later() -> None:
    later = {"retryDelay": "5s"}
    daily = parsed(error(429, "RESOURCE_EXHAUSTED", DAILY, later), 429)
    assert (daily.is_daily, daily.is_of_model, daily.later_s) == (True, True, None)
    plain = parsed(error(429, "RESOURCE_EXHAUSTED", MINUTE, later), 429)
    assert (plain.is_daily, plain.later_s, plain.code) == (False, 5.0, "RESOURCE_EXHAUSTED")
