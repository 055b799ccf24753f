"""The OpenAI dialect: what goes out, what comes in."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import ChatRequest, Endpoint, EventReader, Headers, Verdict
from llm_rotate.errors import CapabilityError, ConfigurationError
from llm_rotate.providers import dialect, jsonio
from llm_rotate.types import ChatResponse, StreamChunk, Usage

OPENAI = dialect("openai")
PLAIN = Endpoint("openai", "https://api.openai.com/v1")
HELLO = [{"role": "user", "content": "hello"}]
NONE = Headers(())


def body_of(endpoint: Endpoint = PLAIN, **request: Any) -> dict[str, Any]:
    asked = {"model": "m", "messages": HELLO} | request
    found: dict[str, Any] = json.loads(OPENAI.encode(ChatRequest(**asked), endpoint))
    return found


def url_of(base_url: str, model: str = "m", **flags: Any) -> str:
    ready = OPENAI.prepare("s", Endpoint("p", base_url, flags=flags))
    return OPENAI.build(ChatRequest(model, HELLO), b"", ready, 0.0).url


def parsed(answer: Any, status: int = 200, **request: Any) -> Verdict[ChatResponse]:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return OPENAI.parse(ChatRequest("asked", HELLO, **request), status, NONE, raw, 0.0)


def answer(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}


def test_a_plain_chat_is_model_and_messages() -> None:
    assert body_of() == {"model": "m", "messages": HELLO}


@pytest.mark.parametrize(
    ("flags", "field"),
    [({}, "max_tokens"), ({"max_tokens_field": "max_completion_tokens"}, "max_completion_tokens")],
)
def test_the_output_cap_goes_by_the_services_name(flags: dict[str, Any], field: str) -> None:
    assert body_of(Endpoint("p", "https://x/v1", flags=flags), max_tokens=5)[field] == 5


def test_a_stream_asks_for_usage_unless_the_service_refuses_to_be_asked() -> None:
    assert body_of(stream=True)["stream_options"] == {"include_usage": True}
    body = body_of(Endpoint("p", "https://x/v1", flags={"stream_options": False}), stream=True)
    assert body["stream"] is True
    assert "stream_options" not in body


def test_every_other_keyword_goes_as_it_is_and_none_of_a_portable_one_is_left_out() -> None:
    body = body_of(
        temperature=0.0, options={"top_k": 4, "store": None, "seed": None, "stop": ["x"]}
    )
    assert body["temperature"] == 0.0
    assert (body["top_k"], body["store"], body["stop"]) == (4, None, ["x"])
    assert "seed" not in body


def test_C01_tools_and_their_results_go_as_they_are() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
    ]
    options = {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto",
               "parallel_tool_calls": False}  # fmt: skip
    assert (
        body_of(messages=messages, options=options)
        == {"model": "m", "messages": messages} | options
    )


def test_C02_images_and_pdfs_as_bytes_become_data_urls() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_bytes", "data": b"\x89PNG", "mime_type": "image/png"},
        {"type": "pdf_bytes", "data": b"%PDF", "mime_type": "application/pdf"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "file", "file": {"file_id": "f1"}},
    ]
    sent = body_of(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert (
        sent[1]["image_url"]["url"]
        == "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    )
    assert sent[2]["file"]["file_data"].startswith("data:application/pdf;base64,")
    assert [sent[0], sent[3], sent[4]] == [parts[0], parts[3], parts[4]]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "file", "file_uri": "gs://x/y", "mime_type": "video/mp4"}, "file_uri"),
        ({"type": "file", "file_uri": "gs://x/y", "mime_type": "image/png"}, "file_uri"),
        ({"type": "tool_use", "id": "c", "name": "f", "input": {}}, "tool_use"),
        ({"type": "tool_result", "tool_use_id": "c", "content": "4"}, "tool_result"),
        ({"type": "image", "source": {"type": "url", "url": "https://x/y"}}, "image"),
        ({"type": "thinking", "thinking": "hm", "signature": "s"}, "thinking"),
        ({"type": "image_bytes", "data": "text", "mime_type": "image/png"}, "not bytes"),
        ({"type": "image_bytes", "data": b"x"}, "mime_type"),
        ({"type": "text", "text": object()}, "object"),
    ],
)
def test_C02_what_cannot_be_carried_is_named(part: dict[str, Any], named: str) -> None:
    with pytest.raises(CapabilityError, match=named):
        body_of(messages=[{"role": "user", "content": [part]}])


def test_C02_an_image_of_the_web_goes_by_its_address() -> None:
    part = {"type": "file", "file_uri": "https://x/y.png", "mime_type": "image/png"}
    sent = body_of(messages=[{"role": "user", "content": [part]}])["messages"][0]["content"]
    assert sent == [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]


def test_marks_of_a_prompt_cache_go_where_they_are_taken_and_nowhere_else() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    schema = {"type": "object", "properties": {"cache_control": {"type": "string"}}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    marked = {
        "messages": [
            {"role": "system", "content": "a", **mark},
            {"role": "user", "content": [{"type": "text", "text": "b", **mark}]},
            {"role": "assistant", "content": None, "tool_calls": [{**call, **mark}]},
        ],
        "options": {"tools": [{**tool, **mark}]},
    }
    bare = Endpoint("p", "https://x/v1", flags={"cache_control": False})
    taken, refused = body_of(**marked), body_of(bare, **marked)
    assert taken == {"model": "m", "messages": marked["messages"], "tools": [{**tool, **mark}]}
    assert refused == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ],
        "tools": [tool],
    }


def test_a_message_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(CapabilityError, match="str"):
        body_of(messages=["hello"])


class Inner(BaseModel):
    kind: Literal["a", "b"]


class City(BaseModel):
    name: str = Field(min_length=1)
    people: int = 0
    inner: Inner | None = None


class Free(BaseModel):
    counts: dict[str, int]


def test_a_pydantic_class_becomes_a_strict_schema() -> None:
    sent = body_of(options={"response_format": City})["response_format"]
    assert sent["type"] == "json_schema"
    assert (sent["json_schema"]["name"], sent["json_schema"]["strict"]) == ("City", True)
    schema = sent["json_schema"]["schema"]
    assert schema["required"] == ["name", "people", "inner"]
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Inner"]["additionalProperties"] is False
    assert "additionalProperties" not in City.model_json_schema(), "the class's own is untouched"


def test_a_schema_with_free_keys_is_sent_without_strict() -> None:
    sent = body_of(options={"response_format": Free})["response_format"]["json_schema"]
    assert "strict" not in sent
    assert sent["schema"] == Free.model_json_schema()


def test_a_response_format_as_a_dict_goes_as_it_is() -> None:
    given = {"type": "json_object"}
    assert body_of(options={"response_format": given})["response_format"] == given


def test_R14_an_upstream_is_pinned_by_the_brokers_name_for_it() -> None:
    names = {"google_vertex": "google-vertex"}
    broker = Endpoint("openrouter", "https://x/api/v1", flags={"upstream_names": names})
    pinned = {"order": ["google-vertex"], "allow_fallbacks": False}
    assert body_of(broker, upstream="google_vertex")["provider"] == pinned
    assert body_of(broker, upstream="deepinfra")["provider"]["order"] == ["deepinfra"]
    own = {"provider": {"sort": "price"}}
    assert (
        body_of(broker, upstream="google_vertex", options=own)["provider"]
        == {"sort": "price"} | pinned
    )


@pytest.mark.parametrize(
    ("base", "flags", "url"),
    [
        ("https://x/v1", {}, "https://x/v1/chat/completions"),
        ("https://x/v1/", {}, "https://x/v1/chat/completions"),
        ("https://x", {"azure": True}, "https://x/openai/v1/chat/completions"),
        ("https://x", {"azure": True, "api_version": "v1"}, "https://x/openai/v1/chat/completions"),
        ("https://x/", {"azure": True, "api_version": "2024-10-21"},
         "https://x/openai/deployments/my%20model%2F1/chat/completions?api-version=2024-10-21"),
    ],
)  # fmt: skip
def test_the_url_is_composed_as_the_service_wants_it(base: str, flags: Any, url: str) -> None:
    assert url_of(base, "my model/1", **flags) == url


@pytest.mark.parametrize(
    ("auth", "line"),
    [("bearer", (b"authorization", b"Bearer s")), ("api-key", (b"api-key", b"s")),
     ("x-api-key", (b"x-api-key", b"s")), ("none", None)],
)  # fmt: skip
def test_the_secret_stands_in_the_header_of_the_endpoint(auth: str, line: Any) -> None:
    ready = OPENAI.prepare(
        "s", Endpoint("p", "https://x", auth=auth, headers={"OpenAI-Project": "q"})
    )
    sent = [pair for pair in ready.headers if b"s" in pair[1].split()]
    assert sent == ([line] if line else [])
    assert (b"openai-project", b"q") in ready.headers
    assert (b"content-type", b"application/json") in ready.headers


@pytest.mark.parametrize("secret", ["se\ncret", "secret\r\nx: y", "secr\u00e9t"])
def test_F04_a_secret_that_no_header_can_carry_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OPENAI.prepare(secret, PLAIN)
    assert "cret" not in str(caught.value).replace("secret or", "")
    assert caught.value.__context__ is None


def test_F04_no_repr_shows_the_secret() -> None:
    ready = OPENAI.prepare("sesame", PLAIN)
    sent = OPENAI.build(ChatRequest("m", HELLO), b"{}", ready, 0.0)
    assert "sesame" not in repr(ready) + repr(sent)


def test_an_answer_is_read_whole() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    given = answer({"content": "hi", "reasoning": "hm"}, usage=usage, model="m-1", provider="P")
    verdict = parsed(given)
    response = verdict.value
    assert verdict.outcome is Outcome.OK
    assert response is not None
    assert (response.content, response.reasoning, response.finish_reason) == ("hi", "hm", "stop")
    assert response.usage == Usage(10, 7, 17, 4, 3)
    assert response.usage.raw == usage
    assert (response.model, response.upstream, response.raw) == ("m-1", "P", given)
    assert verdict.used is response.usage


def test_what_the_answer_leaves_out_is_empty() -> None:
    response = parsed(answer({"content": None, "refusal": "I will not"})).value
    assert response is not None
    assert (response.content, response.model, response.usage) == ("", "asked", Usage())
    assert response.raw["choices"][0]["message"]["refusal"] == "I will not"


def test_content_as_a_list_of_parts_is_text_and_thinking() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "hi"},
    ]
    response = parsed(answer({"content": parts})).value
    assert response is not None
    assert (response.content, response.reasoning) == ("hi", "hm")


def test_the_request_id_is_that_of_the_header() -> None:
    headers = Headers([(b"X-Request-Id", b"r1")])
    raw = json.dumps(answer({"content": "hi"})).encode()
    verdict = OPENAI.parse(ChatRequest("m", HELLO), 200, headers, raw, 0.0)
    assert verdict.request_id == "r1"
    assert verdict.value is not None
    assert verdict.value.request_id == "r1"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"{}", b'{"choices": []}', b'{"choices": [5]}',
     b'{"choices": [{"message": null}]}', b"<html></html>", b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_a_200_that_is_no_answer_is_the_servers_fault(raw: bytes) -> None:
    verdict = parsed(raw)
    assert verdict.outcome is Outcome.SERVER_ERROR
    assert verdict.message


def test_a_200_with_an_error_is_judged_as_the_error() -> None:
    assert parsed({"error": {"code": 429, "message": "slow"}}).outcome is Outcome.RATE_LIMITED
    failed = {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "gone"},
                           "message": {"content": "ha"}}]}  # fmt: skip
    assert parsed(failed).outcome is Outcome.SERVER_ERROR
    assert parsed(failed, upstream="x").outcome is Outcome.UPSTREAM_FAILED


def test_odd_json_is_still_read() -> None:
    raw = rb'{"choices":[{"message":{"content":"\ud83d"}}],"n":NaN,"big":123456789012345678901234567890}'
    assert parsed(raw).outcome is Outcome.OK


@pytest.mark.parametrize("text", ["\ud83d", "\u2028", "\x00"])
def test_odd_text_can_be_sent(text: str) -> None:
    assert body_of(messages=[{"role": "user", "content": text}])["messages"][0]["content"] == text


# streams


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    event = {
        "id": "c1",
        "model": "m-1",
        "object": "chat.completion.chunk",
        "choices": choices,
        **more,
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"code": 502, "message": "gone"}}\n\n'


def reader(**request: Any) -> EventReader:
    return OPENAI.events(ChatRequest("asked", HELLO, stream=True, **request))


def judged(*pieces: bytes, end: bool = False) -> Verdict[ChatResponse]:
    source = reader()
    found = [item for piece in pieces for item in source.feed(piece)]
    if end:
        assert not any(isinstance(item, Verdict) for item in found)
        return source.end()
    verdict = found[-1]
    assert isinstance(verdict, Verdict)
    return verdict


def test_S02_a_stream_ends_with_the_whole_response() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    source = reader()
    found = source.feed(
        chunk(None, prompt_filter_results=[])
        + b": keep going\n\n"
        + chunk({"role": "assistant", "content": ""})
        + chunk({"reasoning_content": "hm"})
        + chunk({"content": "he"})
        + chunk({"content": "llo"})
        + chunk({}, "stop")
        + chunk(None, usage=usage)
        + DONE
    )
    assert [(c.delta, c.reasoning) for c in found if isinstance(c, StreamChunk)] == [
        ("", "hm"), ("he", ""), ("llo", "")]  # fmt: skip
    verdict = found[-1]
    assert isinstance(verdict, Verdict)
    response = verdict.value
    assert response is not None
    assert (response.content, response.reasoning) == ("hello", "hm") == (source.text, "hm")
    assert (response.finish_reason, response.usage, response.model) == (
        "stop",
        Usage(3, 2, 5),
        "m-1",
    )
    assert response.raw["choices"][0]["message"]["content"] == "hello"
    assert response.raw["usage"] == usage


def test_S04_tool_calls_in_pieces_come_whole_and_leak_no_text() -> None:
    def piece(index: int, **said: Any) -> bytes:
        return chunk({"tool_calls": [{"index": index, **said}]})

    verdict = judged(
        piece(0, id="a", type="function", function={"name": "f", "arguments": ""}),
        piece(0, function={"arguments": '{"x"'}),
        piece(1, id="b", function={"name": "g", "arguments": "{}"}),
        piece(0, function={"arguments": ":1}"}),
        chunk({}, "tool_calls"),
        DONE,
    )
    assert verdict.value is not None
    assert verdict.value.tool_calls == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert verdict.value.content == ""


def test_usage_that_stands_in_the_choice_is_found() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    last = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}
    raw = b"data: " + json.dumps({"id": "c1", "choices": [last]}).encode() + b"\n\n"
    verdict = judged(chunk({"content": "x"}), raw, DONE)
    assert verdict.used == Usage(3, 2, 5)


def test_only_the_first_of_several_choices_counts() -> None:
    both = [{"index": 1, "delta": {"content": "B"}}, {"index": 0, "delta": {"content": "A"}}]
    other = [{"index": 1, "delta": {"content": "B"}, "finish_reason": "stop"}]
    raw = b"".join(b"data: " + json.dumps({"choices": c}).encode() + b"\n\n" for c in (both, other))
    source = reader()
    assert [item.delta for item in source.feed(raw) if isinstance(item, StreamChunk)] == ["A"]
    assert source.end().outcome is Outcome.INTERRUPTED, "choice 0 has not finished"


def test_fields_beside_the_text_are_kept_in_raw() -> None:
    verdict = judged(
        chunk({"refusal": "I "}), chunk({"refusal": "will not"}), chunk({"annotations": [1]}),
        chunk({"annotations": [2]}), chunk({}, "stop"), DONE)  # fmt: skip
    assert verdict.value is not None
    message = verdict.value.raw["choices"][0]["message"]
    assert (message["refusal"], message["annotations"]) == ("I will not", [1, 2])


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        ([ERROR], Outcome.SERVER_ERROR),
        ([chunk({"role": "assistant", "content": ""}), ERROR], Outcome.SERVER_ERROR),
        ([chunk({"content": "x"}), chunk({}, "error")], Outcome.SERVER_ERROR),
        ([chunk({"content": "x"}, error={"code": 429, "message": "M"})], Outcome.RATE_LIMITED),
        ([b"data: {nonsense\n\n"], Outcome.SERVER_ERROR),
        ([b"data: 5\n\n"], Outcome.SERVER_ERROR),
        ([chunk({"content": "x"}), b"data: {nonsense\n\n"], Outcome.INTERRUPTED),
        ([DONE], Outcome.SERVER_ERROR),
    ],
)
def test_S01_a_fault_in_a_stream_is_a_verdict(pieces: list[bytes], outcome: Outcome) -> None:
    verdict = judged(*pieces)
    assert verdict.outcome is outcome
    assert verdict.message


def test_S01_an_error_names_the_pinned_upstream_as_failed() -> None:
    found = reader(upstream="x").feed(ERROR)
    assert isinstance(found[0], Verdict)
    assert found[0].outcome is Outcome.UPSTREAM_FAILED


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        ([], Outcome.SERVER_ERROR),
        ([chunk({"role": "assistant"})], Outcome.SERVER_ERROR),
        ([chunk({"content": "x"})], Outcome.INTERRUPTED),
        ([chunk({"reasoning": "x"})], Outcome.INTERRUPTED),
        ([chunk({"content": "x"})[:-12]], Outcome.SERVER_ERROR),
        ([chunk({"content": "x"}), chunk({}, "stop")], Outcome.OK),
        ([chunk({"content": "x"}), chunk({}, "stop")[:-2]], Outcome.OK),
        ([chunk({"content": "x"}), chunk({}, "stop"), DONE[:-2]], Outcome.OK),
    ],
)
def test_S01_a_stream_that_just_closes_is_judged_by_what_came(
    pieces: list[bytes], outcome: Outcome
) -> None:
    assert judged(*pieces, end=True).outcome is outcome


def test_nothing_is_read_after_the_verdict() -> None:
    source = reader()
    found = source.feed(chunk({"content": "a"}) + ERROR + chunk({"content": "b"}) + DONE)
    assert len(found) == 2
    assert source.feed(chunk({"content": "c"})) == []
    assert source.text == "a"


def test_json_is_read_and_written_alike_without_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(act: Callable[[], object]) -> list[object]:
        found = [act()]
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, "orjson", None)
            jsonio._codec.cache_clear()
            found.append(act())
        jsonio._codec.cache_clear()
        return found

    for value in ({"a": [1, 2.5, None, True, "é\u2028"]}, {1: 2}, 2**70, "\ud800"):
        one, other = both(lambda value=value: json.loads(jsonio.dumps(value)))  # type: ignore[misc]
        assert one == other
    for raw in (b'{"a": 1}', b"\xef\xbb\xbf{}", b'"\\ud800"', b'"caf\xe9"'):
        one, other = both(lambda raw=raw: jsonio.loads(raw))  # type: ignore[misc]
        assert one == other


def test_a_schema_of_odd_types_is_the_providers_to_refuse() -> None:
    odd = {"type": "object", "properties": 5}
    asked = ChatRequest("m", [{"role": "user", "content": "x"}], options={"response_format": odd})
    told = json.loads(dialect("openai").encode(asked, Endpoint("openai", "https://x.test")))
    assert told["response_format"]["json_schema"]["schema"]["properties"] == 5


@pytest.mark.parametrize(
    ("before", "text", "outcome"),
    [
        ({"x": 1}, "Hel", Outcome.OK),
        ({"error": {"message": "slow", "code": 429}}, "", Outcome.RATE_LIMITED),
    ],
)
def test_json_before_the_fields_of_an_event_hides_neither_it_nor_an_error(
    before: dict[str, Any], text: str, outcome: Outcome
) -> None:
    choices = [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": "stop"}]
    event = json.dumps({"choices": choices}).encode()
    raw = json.dumps(before).encode() + b"\ndata: " + event + b"\n\ndata: [DONE]\n\n"
    for pieces in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        reader = dialect("openai").events(ChatRequest("m", ()))
        found = [item for piece in pieces for item in reader.feed(piece)]
        last = found[-1]
        assert "".join(item.delta for item in found if isinstance(item, StreamChunk)) == text
        assert isinstance(last, Verdict)
        assert last.outcome is outcome
