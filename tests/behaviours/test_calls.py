"""What goes into a call and comes out of it, the same at every dialect."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import pickle
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from google.genai import errors as genai_errors

import llm_rotate
from llm_rotate import (
    AuthenticationError,
    BadRequestError,
    CapabilityError,
    ChatResponse,
    ConfigurationError,
    DeadlineError,
    ForbiddenError,
    LMRotate,
    LMRotateError,
    NoAvailableKeyError,
    OverloadedError,
    ProviderError,
    ServerError,
    StreamInterruptedError,
    TimedOutError,
    UnreachableError,
    configure_from_dict,
)
from llm_rotate.core.outcome import FAULTS
from llm_rotate.testing import Simulator

from .dialects import DIALECT_OF, each_address, each_service
from .doors import asked, fake_time, sockets
from .wires import TOOL
from .world import HELLO

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n%%EOF\n"


def called(world: Any, *messages: Any, **arguments: Any) -> Any:
    """The answer to one call, or what it raised."""

    async def scenario() -> Any:
        try:
            return await world.lm.chat(world.model, messages or HELLO, **arguments)
        except LMRotateError as error:
            return error

    return world.run(scenario)


def sent(world: Any) -> dict[str, Any]:
    """The body that the server saw last."""
    return world.sim.log[-1].body


def said_in(body: dict[str, Any]) -> Any:
    """The conversation in a request's body."""
    return next(body[name] for name in ("messages", "input", "contents") if name in body)


# -- C01


@each_address
def test_C01_tools_go_round(provider):
    question = {"role": "user", "content": "what is the weather?"}

    async def scenario() -> str:
        first = await world.lm.chat(world.model, [question], tools=[TOOL], tool_choice="auto")
        [call] = first.tool_calls
        assert call["type"] == "function"
        assert call["function"]["name"] == "weather"
        assert json.loads(call["function"]["arguments"]) == {"city": "text"}
        result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
        assistant = {"role": "assistant", "content": None, "tool_calls": first.tool_calls}
        messages = [question, assistant, result]
        second = await world.lm.chat(world.model, messages, tools=[TOOL])
        assert second.content
        assert second.tool_calls == []
        return str(call["id"])

    with fake_time(provider=provider) as world:
        call_id = world.run(scenario)
    assert call_id
    _, call, result = map(json.dumps, said_in(sent(world)))
    assert call_id in call
    assert call_id in result
    assert "sunny" in result


TOOL_CHOICES: dict[str, dict[str, Any]] = {
    "openai": {
        "auto": "auto",
        "none": "none",
        "required": "required",
        "one": {"type": "function", "function": {"name": "weather"}},
    },
    "anthropic": {
        "auto": {"type": "auto"},
        "none": {"type": "none"},
        "required": {"type": "any"},
        "one": {"type": "tool", "name": "weather"},
    },
    "google_ai_studio": {
        "auto": {"mode": "AUTO"},
        "none": {"mode": "NONE"},
        "required": {"mode": "ANY"},
        "one": {"mode": "ANY", "allowedFunctionNames": ["weather"]},
    },
    "openai_responses": {
        "auto": "auto",
        "none": "none",
        "required": "required",
        "one": {"type": "function", "name": "weather"},
    },
    "aws_bedrock": {
        "auto": {"auto": {}},
        "none": None,
        "required": {"any": {}},
        "one": {"tool": {"name": "weather"}},
    },
}


def tool_choice_in(body: dict[str, Any]) -> Any:
    return body["tool_choice"] if "tool_choice" in body else choice_in_config(body)


def choice_in_config(body: dict[str, Any]) -> Any:
    """None where no tool is offered: there is no word for tools that must not be called."""
    config = body.get("toolConfig", {})
    return config.get("toolChoice") or config.get("functionCallingConfig")


TOOL_CHOICES["azure_openai"] = TOOL_CHOICES["openai"]


@each_service
@pytest.mark.parametrize("choice", ["auto", "none", "required", "one"])
def test_C01_tool_choice_is_said_in_each_dialects_words(provider, choice):
    given = TOOL_CHOICES["openai"][choice]
    with fake_time(provider=provider) as world:
        answer = called(world, tools=[TOOL], tool_choice=given)
    assert tool_choice_in(sent(world)) == TOOL_CHOICES[provider][choice]
    assert bool(answer.tool_calls) == (choice in {"required", "one"})


@each_service
def test_C01_several_tool_results_of_one_turn(provider):
    calls = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"city": str(n)})},
        }
        for n in range(3)
    ]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"rain {n}"}
        for n, call in enumerate(calls)
    ]
    assistant = {"role": "assistant", "content": "let me look", "tool_calls": calls}
    with fake_time(provider=provider) as world:
        answer = called(world, *HELLO, assistant, *results, tools=[TOOL])
    assert isinstance(answer, ChatResponse)
    said = json.dumps(sent(world))
    assert [said.count(f"rain {n}") for n in range(3)] == [1, 1, 1]


# -- C02


def image_parts() -> dict[str, dict[str, Any]]:
    data = base64.b64encode(PNG).decode()
    return {
        "bytes": {"type": "image_bytes", "data": PNG, "mime_type": "image/png"},
        "data url": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        "url": {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    }


# What fetches no images from the web.
NO_URLS = ("aws_bedrock",)


@each_address
@pytest.mark.parametrize("kind", image_parts())
def test_C02_images_as_bytes_data_urls_and_urls(provider, kind):
    message = {
        "role": "user",
        "content": [{"type": "text", "text": "what is this?"}, image_parts()[kind]],
    }
    with fake_time(provider=provider) as world:
        answer = called(world, message)
    if kind == "url" and provider in NO_URLS:
        assert isinstance(answer, CapabilityError), answer
        assert "image_url" in str(answer)
        assert asked(world) == []
        return
    assert isinstance(answer, ChatResponse), answer
    assert answer.usage.prompt_tokens > 80  # the simulator counts an image
    # One of them writes base64 in the alphabet for URLs; every server reads both.
    said = json.dumps(said_in(sent(world))).replace("-", "+").replace("_", "/")
    wanted = "https://example.org/a.png" if kind == "url" else base64.b64encode(PNG).decode()
    assert wanted in said


@each_service
def test_C02_a_pdf(provider):
    part = {"type": "pdf_bytes", "data": PDF, "mime_type": "application/pdf"}
    message = {"role": "user", "content": [{"type": "text", "text": "sum up"}, part]}
    with fake_time(provider=provider) as world:
        called(world, message)
    assert base64.b64encode(PDF).decode() in json.dumps(said_in(sent(world)))


CANNOT: dict[str, Any] = {
    "an unknown part": [{"type": "hologram", "data": b"x"}],
    "a file of nowhere": [{"type": "file", "file_uri": "a.mp4", "mime_type": "video/mp4"}],
    "bytes of no type": [{"type": "image_bytes", "data": PNG}],
    "bytes that are none": [{"type": "image_bytes", "data": 7}],
}


@each_address
@pytest.mark.parametrize("what", CANNOT)
def test_C02_what_a_dialect_cannot_carry_is_refused_by_name_before_anything_is_sent(provider, what):
    with fake_time(provider=provider) as world:
        error = called(world, {"role": "user", "content": CANNOT[what]})
    assert isinstance(error, CapabilityError), error
    assert DIALECT_OF[provider] in str(error)
    assert asked(world) == []
    assert [attempt.outcome for attempt in error.attempts] == ["skipped"]


# -- C03


def candidate(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}


ODD: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "openai": {
        "thinking first": (
            {
                "choices": [
                    {
                        "finish_reason": "stop",
                        "message": {"content": "yes", "reasoning_content": "hm"},
                    }
                ]
            },
            {"content": "yes", "reasoning": "hm", "finish_reason": "stop"},
        ),
        "filtered": (
            {"choices": [{"finish_reason": "content_filter", "message": {"content": None}}]},
            {"content": "", "finish_reason": "content_filter"},
        ),
        "refused": (
            {
                "choices": [
                    {"finish_reason": "stop", "message": {"content": None, "refusal": "I will not"}}
                ]
            },
            {"finish_reason": "stop"},
        ),
        "cut off": (
            {"choices": [{"finish_reason": "length", "message": {"content": "ye"}}]},
            {"content": "ye", "finish_reason": "length"},
        ),
    },
    "anthropic": {
        "thinking first": (
            {
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "yes"},
                ],
                "stop_reason": "end_turn",
            },
            {"content": "yes", "reasoning": "hm", "finish_reason": "end_turn"},
        ),
        "hidden thinking": (
            {
                "content": [
                    {"type": "redacted_thinking", "data": "xx"},
                    {"type": "text", "text": "yes"},
                ],
                "stop_reason": "end_turn",
            },
            {"content": "yes", "reasoning": "", "finish_reason": "end_turn"},
        ),
        "refused": (
            {"content": [], "stop_reason": "refusal"},
            {"content": "", "finish_reason": "refusal"},
        ),
        "cut off": (
            {"content": [{"type": "text", "text": "ye"}], "stop_reason": "max_tokens"},
            {"content": "ye", "finish_reason": "max_tokens"},
        ),
        "paused": (
            {"content": [{"type": "text", "text": "ye"}], "stop_reason": "pause_turn"},
            {"content": "ye", "finish_reason": "pause_turn"},
        ),
    },
    "google_ai_studio": {
        "thinking first": (
            candidate({"text": "hm", "thought": True}, {"text": "yes"}, finishReason="STOP"),
            {"content": "yes", "reasoning": "hm", "finish_reason": "STOP"},
        ),
        "a blocked prompt": (
            {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
            {"content": "", "finish_reason": "PROHIBITED_CONTENT"},
        ),
        "no content": (
            {"candidates": [{"finishReason": "SAFETY"}]},
            {"content": "", "finish_reason": "SAFETY"},
        ),
        "no parts": (
            {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]},
            {"content": "", "finish_reason": "MAX_TOKENS"},
        ),
        "cut off": (
            candidate({"text": "ye"}, finishReason="MAX_TOKENS"),
            {"content": "ye", "finish_reason": "MAX_TOKENS"},
        ),
    },
    "aws_bedrock": {
        "thinking first": (
            {
                "output": {
                    "message": {
                        "role": "assistant",
                        "content": [
                            {"reasoningContent": {"reasoningText": {"text": "hm"}}},
                            {"text": "yes"},
                        ],
                    }
                },
                "stopReason": "end_turn",
            },
            {"content": "yes", "reasoning": "hm", "finish_reason": "end_turn"},
        ),
        "hidden thinking": (
            {
                "output": {
                    "message": {
                        "content": [
                            {"reasoningContent": {"redactedContent": "eHg="}},
                            {"text": "yes"},
                        ]
                    }
                },
                "stopReason": "end_turn",
            },
            {"content": "yes", "reasoning": "", "finish_reason": "end_turn"},
        ),
        "blocked": (
            {
                "output": {"message": {"role": "assistant", "content": []}},
                "stopReason": "guardrail_intervened",
            },
            {"content": "", "finish_reason": "guardrail_intervened"},
        ),
        "cited": (
            {
                "output": {
                    "message": {
                        "content": [
                            {"citationsContent": {"content": [{"text": "yes"}], "citations": []}}
                        ]
                    }
                },
                "stopReason": "end_turn",
            },
            {"content": "yes", "finish_reason": "end_turn"},
        ),
    },
}
ODD["openai_responses"] = {
    "thinking first": (
        {
            "status": "completed",
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "message", "content": [{"type": "output_text", "text": "yes"}]},
            ],
        },
        {"content": "yes", "reasoning": "hm", "finish_reason": "completed"},
    ),
    "hidden thinking": (
        {
            "status": "completed",
            "output": [
                {"type": "reasoning", "summary": [], "encrypted_content": "sealed"},
                {"type": "message", "content": [{"type": "output_text", "text": "yes"}]},
            ],
        },
        {"content": "yes", "reasoning": "", "finish_reason": "completed"},
    ),
    "refused": (
        {
            "status": "completed",
            "output": [
                {"type": "message", "content": [{"type": "refusal", "refusal": "I will not"}]}
            ],
        },
        {"content": "", "finish_reason": "completed"},
    ),
    "filtered": (
        {
            "status": "incomplete",
            "incomplete_details": {"reason": "content_filter"},
            "output": [],
        },
        {"content": "", "finish_reason": "content_filter"},
    ),
    "cut off": (
        {
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "ye"}]}],
        },
        {"content": "ye", "finish_reason": "max_output_tokens"},
    ),
    "searched first": (
        {
            "status": "completed",
            "output": [
                {"type": "web_search_call", "status": "completed"},
                {"type": "message", "content": [{"type": "output_text", "text": "yes"}]},
            ],
        },
        {"content": "yes", "finish_reason": "completed"},
    ),
}
ODD["azure_openai"] = ODD["openai"]
ODD_CASES = [(provider, kind) for provider, kinds in ODD.items() for kind in kinds]


@pytest.mark.parametrize(("provider", "kind"), ODD_CASES)
def test_C03_odd_answers_are_answers(provider, kind):
    body, wanted = ODD[provider][kind]
    with fake_time(provider=provider) as world:
        world.sim.key("k1").then(200, body=body)
        answer = called(world)
        assert world.lm.usage_summary_sync()["total"]["successes"] == 1
    assert isinstance(answer, ChatResponse), answer
    assert {name: getattr(answer, name) for name in wanted} == wanted
    assert answer.raw == body
    assert asked(world) == ["k1"]


NO_ANSWERS: dict[str, list[Any]] = {
    "openai": [{}, {"choices": []}, {"choices": None}, [], "words", b"", b"{", b"\xff\xfe"],
    "anthropic": [{}, {"content": None}, {"type": "message"}, [], "words", b"", b"{", b"\xff\xfe"],
    "google_ai_studio": [
        *({}, {"candidates": []}, {"candidates": None}, [], "words"),
        *(b"", b"{", b"\xff\xfe"),
    ],
    "openai_responses": [
        {},
        {"output": None},
        {"output": "x"},
        [],
        "words",
        b"",
        b"{",
        b"\xff\xfe",
    ],
    "aws_bedrock": [{}, {"output": None}, {"output": {}}, [], "words", b"", b"{", b"\xff\xfe"],
}
NO_ANSWERS |= {
    "azure_openai": NO_ANSWERS["openai"],
    "google_vertex": NO_ANSWERS["google_ai_studio"],
}


@each_address
@pytest.mark.parametrize("number", range(8))
def test_C03_what_is_no_answer_is_the_providers_fault_and_tried_elsewhere(provider, number):
    body = NO_ANSWERS[provider][number]
    raw = body if isinstance(body, bytes) else json.dumps(body)
    with fake_time(provider=provider, keys=["k1", "k2"]) as world:
        world.sim.key("k1").then(200, body=raw)
        answer = called(world)
        states = world.lm.health_sync().providers[provider].keys["k1"]
    assert isinstance(answer, ChatResponse), answer
    assert [attempt.outcome for attempt in answer.attempts] == ["server_error", "ok"]
    assert (states.state, dict(states.scopes)) == ("active", {})


# -- C06


@each_service
def test_C06_a_new_service_needs_a_base_url_only(provider):
    """With OpenAI's dialect unless its entry says otherwise; without a line of code."""
    entry = {} if provider == "openai" else {"dialect": DIALECT_OF[provider]}
    with Simulator().serve() as sim, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEW_KEY", sim.secret("k1"))
        registry = {
            "providers": {"my-service": {"base_url": sim.url(provider), **entry}},
            "keys": [{"key_id": "k1", "provider": "my-service", "secret_ref": "env://NEW_KEY"}],
        }
        with_lm = LMRotate(configure_from_dict(registry, ["k1"]))
        answer = with_lm.chat_sync("any-model", HELLO)
        chunks = list(with_lm.chat_stream_sync("my-service/any-model", HELLO))
        with_lm.close_sync()
    assert (answer.content, answer.provider) == ("You said: hello", "my-service")
    assert answer.model == chunks[-1].model == "any-model"
    assert "".join(chunk.delta for chunk in chunks) == "You said: hello"
    assert {seen.model for seen in sim.log} == {"any-model"}


def test_C06_a_server_without_keys_and_a_replica_of_its_own():
    with Simulator().serve() as one, Simulator().serve() as other:
        registry = {
            "providers": {"vllm": {"base_url": one.url("vllm"), "auth": "none"}},
            "keys": [
                {"key_id": "a", "provider": "vllm"},
                {"key_id": "b", "provider": "vllm", "base_url": other.url("vllm")},
            ],
            "defaults": {"selection_strategy": "round_robin"},
        }
        lm = LMRotate(configure_from_dict(registry, ["a", "b"]))
        served = {lm.chat_sync("m", HELLO).key_id for _ in range(4)}
        lm.close_sync()
        assert (one.requests(), other.requests()) == (2, 2)
        assert {seen.key for seen in (*one.log, *other.log)} == {""}
    assert served == {"a", "b"}


# -- C07


def refused(status: int) -> Callable[[Any], None]:
    return lambda world: [world.sim.key(key).then(status, times=9) for key in ("k1", "k2")] and None


def slow(world: Any) -> None:
    for key in ("k1", "k2"):
        world.sim.key(key).slow(float("inf"))


def dropped(world: Any) -> None:
    for key in ("k1", "k2"):
        world.sim.key(key).drop()


RAISED: dict[str, tuple[Callable[[Any], None], dict[str, Any], type[LMRotateError]]] = {
    "bad request": (refused(400), {}, BadRequestError),
    "overloaded": (refused(529), {}, OverloadedError),
    "server error": (refused(500), {}, ServerError),
    "dropped": (dropped, {}, ServerError),
    "too slow": (slow, {"timeouts": {"first_byte": 0.1}}, TimedOutError),
    "late": (slow, {"timeout": 0.2}, DeadlineError),
    "no key": (refused(401), {}, NoAvailableKeyError),
}


@each_address
@pytest.mark.parametrize("door", [fake_time, sockets], ids=["fake time", "sockets"])
@pytest.mark.parametrize("case", RAISED)
def test_C07_the_cause_and_the_attempts_are_there(door, provider, case):
    script, arguments, kind = RAISED[case]
    is_sdks = DIALECT_OF[provider] == "gemini"
    defaults = {"max_retries": 1, "max_wait_seconds": 0}
    with door(provider=provider, keys=["k1", "k2"], defaults=defaults) as world:
        script(world)
        error = called(world, **arguments)
        requests = world.sim.requests()
    assert type(error) is kind, error
    assert len(error.attempts) == requests
    assert {attempt.provider for attempt in error.attempts} == {provider}
    assert [attempt.key_id for attempt in error.attempts] == asked(world)
    assert all(attempt.model == world.model for attempt in error.attempts)
    if kind is NoAvailableKeyError:
        assert isinstance(error.__cause__, AuthenticationError)
        assert set(error.reasons) == {"k1", "k2"}
    elif case in {"dropped", "too slow"}:
        assert error.__cause__ is not None
        assert not isinstance(error.__cause__, LMRotateError)
    elif kind in {BadRequestError, OverloadedError, ServerError}:
        # An answer came: nothing was raised, but by an SDK that sent.
        assert isinstance(error.__cause__, genai_errors.APIError if is_sdks else type(None))
        assert error.attempts[-1].status == error.status
    if isinstance(error, ProviderError):
        assert error.outcome == error.attempts[-1].outcome
        assert FAULTS[error.outcome].error is type(error)
        assert (error.provider, error.model) == (provider, world.model)
        assert error.key_id == error.attempts[-1].key_id
    same(error)


@each_service
def test_C07_nobody_there_has_the_systems_word_for_it(provider):
    with sockets(provider=provider, keys=["k1"], defaults={"max_retries": 0}) as world:
        world.config.providers[provider].base_url = "http://127.0.0.1:1"
        world.lm.reload_config(world.config)
        error = called(world)
    assert type(error) is UnreachableError
    assert isinstance(error.__cause__, OSError)
    assert [attempt.outcome for attempt in error.attempts] == ["unreachable"]
    same(error)


@each_address
def test_C07_an_interrupted_stream(provider):
    async def scenario() -> Any:
        try:
            async for _ in world.lm.chat_stream(world.model, HELLO):
                pass
        except LMRotateError as error:
            return error

    with sockets(provider=provider) as world:
        world.sim.key("k1").cut_stream(1)
        error = world.run(scenario)
    assert type(error) is StreamInterruptedError
    assert error.__cause__ is not None
    assert [attempt.outcome for attempt in error.attempts] == ["interrupted"]
    assert same(error).text == "You"


@each_service
def test_C07_a_configuration_error_sent_nothing(provider):
    with fake_time(provider=provider) as world:
        error = called(world, provider="nobody")
    assert type(error) is ConfigurationError
    assert error.attempts == ()
    same(error)


def same(error: LMRotateError) -> Any:
    """Pickled and copied, it is the same error; as process pools and task queues send it."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))
    for twin in (copy.copy(error), copy.deepcopy(error)):
        assert (type(twin), twin.args, vars(twin)) == (type(error), error.args, vars(error))
    return back


def every_error() -> list[type[LMRotateError]]:
    found = [getattr(llm_rotate, name) for name in llm_rotate.__all__]
    return [each for each in found if isinstance(each, type) and issubclass(each, LMRotateError)]


@pytest.mark.parametrize("kind", every_error())
def test_C07_every_exception_pickles_and_copies(kind):
    error = kind("told")
    error.attempts = (llm_rotate.Attempt("p", "m", "k", "ok"),)
    if isinstance(error, NoAvailableKeyError):
        error.earliest_retry_at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
        error.reasons = {"k": "why"}
    if isinstance(error, StreamInterruptedError):
        error.text = "so far"
    if isinstance(error, ProviderError):
        error.body = {"error": ["x"]}
    assert "told" in str(same(error))


def test_C07_there_is_one_class_for_each_row():
    rows = {fault.error for fault in FAULTS.values()}
    assert rows - {LMRotateError, DeadlineError} == set(ProviderError.__subclasses__())


@each_service
def test_C07_the_words_are_the_providers_and_say_which_key(provider):
    with fake_time(provider=provider) as world:
        world.sim.key("k1").then(403, body={"error": {"message": "No entry on Sundays."}}, times=9)
        error = called(world, key_id="k1", max_wait_seconds=0)
    assert isinstance(error.__cause__, ForbiddenError)
    assert "No entry on Sundays." in str(error.__cause__)
    assert "k1" in str(error)
    assert "403" in str(error)


@each_service
def test_C07_attempts_of_a_good_answer_are_listed_too(provider):
    with fake_time(provider=provider, keys=["k1", "k2"]) as world:
        world.sim.key("k1").then(429)
        answer = called(world)
    first, second = answer.attempts
    assert (first.key_id, first.outcome, first.status) == ("k1", "rate_limited", 429)
    assert (second.key_id, second.outcome) == ("k2", "ok")
    assert first.message


def test_errors_reach_other_processes():
    """As concurrent.futures would carry one."""
    error = NoAvailableKeyError("none", reasons={"k1": "rests"})
    loaded = pickle.loads(pickle.dumps([error]))[0]
    with pytest.raises(NoAvailableKeyError, match="none"):
        asyncio.run(_raise(loaded))


async def _raise(error: BaseException) -> None:
    raise error
