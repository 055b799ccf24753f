"""What OpenAI's responses API has of its own: endpoints by call, background, answers that stay."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from llm_rotate import (
    BadRequestError,
    CapabilityError,
    ConfigurationError,
    DeadlineError,
    NoAvailableKeyError,
    ServerError,
)

from .dialects import asked
from .world import HELLO, World


def ends(world: World) -> list[str]:
    """The last folder of every request's path."""
    return [seen.path.partition("?")[0].rpartition("/")[2] for seen in world.sim.log]


# -- which endpoint


def test_a_call_names_its_endpoint_and_the_same_key_serves_both() -> None:
    world = World(["k1"])

    async def scenario() -> None:
        first = await world.chat(endpoint="responses")
        second = await world.chat()
        third = await world.chat(endpoint="chat_completion")
        assert first.content == second.content == third.content == "You said: hello"
        assert (first.finish_reason, second.finish_reason) == ("completed", "stop")
        assert str(first.id).startswith("resp_")
        chunks = [c async for c in world.lm.chat_stream(world.model, HELLO, endpoint="responses")]
        assert "".join(chunk.delta for chunk in chunks) == first.content
        assert chunks[-1].usage == first.usage

    world.run(scenario)
    assert ends(world) == ["responses", "completions", "completions", "responses"]


def test_a_provider_of_responses_has_chat_completions_too() -> None:
    world = World(["k1"], provider="openai_responses")

    async def scenario() -> None:
        await world.chat()
        await world.chat(endpoint="chat_completion")

    world.run(scenario)
    assert ends(world) == ["responses", "completions"]


def test_a_stage_of_a_chain_names_its_endpoint() -> None:
    chain = {"anthropic": [{"provider": "openai", "model": "gpt-5", "endpoint": "responses"}]}
    world = World({"a": "anthropic", "o": "openai"}, provider="anthropic", fallback_chains=chain)
    world.sim.key("a").rate_limit(retry_after=60)

    async def scenario() -> None:
        assert (await world.chat()).key_id == "o"

    world.run(scenario)
    assert ends(world) == ["messages", "responses"]
    body = world.sim.log[-1].body or {}
    assert "endpoint" not in body


def test_who_has_no_such_endpoint_is_passed_over_or_says_so() -> None:
    world = World(["a"], provider="anthropic")

    async def scenario() -> None:
        assert (await world.chat(endpoint="chat_completion")).content
        with pytest.raises(CapabilityError, match="anthropic has no endpoint 'responses'"):
            await world.chat(endpoint="responses")
        with pytest.raises(ConfigurationError, match="chat_completion, responses"):
            await world.chat(endpoint="completions")
        with pytest.raises(ConfigurationError, match="did you mean endpoint="):
            await world.chat(endpont="responses")

    world.run(scenario)
    assert ends(world) == ["messages"]


# -- what it carries


def test_a_conversation_goes_on_with_its_reasoning_as_it_came() -> None:
    world = World(["k1"], provider="openai_responses")

    async def scenario() -> None:
        first = await world.chat(reasoning_effort="low", store=False)
        assert first.reasoning == "Let me think about that."
        reply = {"role": "user", "content": "and now?"}
        messages: list[Any] = [*HELLO, first.message, reply]
        assert (await world.lm.chat(world.model, messages)).content == "You said: and now?"
        sent = (world.sim.log[-1].body or {})["input"]
        assert sent[1:-1] == first.raw["output"]
        assert sent[1]["encrypted_content"] == "sealed for k1"
        changed = {**first.message, "content": "something else"}
        await world.lm.chat(world.model, [*HELLO, changed, reply])
        sent = (world.sim.log[-1].body or {})["input"]
        assert sent[1:-1] == [{"role": "assistant", "content": "something else"}]

    world.run(scenario)


class City(BaseModel):
    name: str
    people: int


SCHEMA = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}


@pytest.mark.parametrize("endpoint", ["responses", "chat_completion"])
def test_an_answer_in_a_form_is_parsed(endpoint: str) -> None:
    world = World(["k1"])

    async def scenario() -> None:
        wanted = {"name": "text", "people": 1}
        answer = await world.chat(endpoint=endpoint, response_format=City)
        assert answer.parsed == City(**wanted)
        answer = await world.chat(endpoint=endpoint, response_format=SCHEMA)
        assert answer.parsed == wanted
        own = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}
        assert (await world.chat(endpoint=endpoint, response_format=own)).parsed == wanted
        stream = world.lm.chat_stream(world.model, HELLO, endpoint=endpoint, response_format=City)
        async for _ in stream:
            pass
        assert stream.response.parsed == City(**wanted)
        cut = await world.chat(endpoint=endpoint, response_format=City, max_tokens=1)
        assert (cut.parsed, cut.content) == (None, '{"name":')
        assert (await world.chat(endpoint=endpoint)).parsed is None

    world.run(scenario)


@pytest.mark.parametrize("name", ["stop", "seed"])
def test_what_it_has_no_word_for_is_refused_by_name(name: str) -> None:
    world = World(["k1"])

    async def scenario() -> None:
        with pytest.raises(CapabilityError, match=f"openai_responses cannot carry {name}"):
            await world.chat(endpoint="responses", **{name: "1"})
        assert (await world.chat(**{name: "1"})).content

    world.run(scenario)


def test_its_own_keywords_go_as_they_are() -> None:
    world = World(["k1"])

    async def scenario() -> None:
        answer = await world.chat(endpoint="responses", service_tier="flex", instructions="brief")
        assert (answer.raw["service_tier"], answer.raw["instructions"]) == ("flex", "brief")

    world.run(scenario)


# -- in the background


def looks(world: World) -> list[str]:
    """What was asked after the start, by key."""
    return [seen.key for seen in world.sim.log if "/responses/" in seen.path]


def test_an_answer_in_the_background_is_waited_for_on_its_key() -> None:
    world = World(["k1", "k2"])

    async def scenario() -> None:
        began = world.clock.now()
        answer = await world.chat(endpoint="responses", background=True)
        assert (answer.content, answer.finish_reason) == ("You said: hello", "completed")
        assert answer.usage.total_tokens == 4
        assert 2.0 <= world.clock.now() - began <= 10.0
        assert [attempt.outcome for attempt in answer.attempts] == ["ok"]

    world.run(scenario)
    assert ends(world)[0] == "responses"
    assert looks(world) == ["k1", "k1"]


def test_faults_while_it_waits_do_not_start_it_anew() -> None:
    world = World(["k1", "k2"])
    key = world.sim.key("k1").then(200).then(500, times=2)
    key.then(429, headers={"retry-after": "7"})

    async def scenario() -> None:
        answer = await world.chat(endpoint="responses", background=True)
        assert answer.content == "You said: hello"
        health = await world.lm.health()
        assert health.providers["openai"].keys["k1"].state == "active"

    world.run(scenario)
    assert ends(world).count("responses") == 1
    assert set(asked(world)) == {"k1"}


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_secret_that_was_rotated_while_it_waits_does_not_start_it_anew(
    is_changed: bool, tmp_path: Path
) -> None:
    def edit(config: Any) -> Any:
        config.keys[0].secret_ref = f"file://{tmp_path / 'key'}"
        return config

    world = World(["k1", "k2"], edit=edit, strategy="priority", priorities={"k1": 9})
    (tmp_path / "key").write_text(world.sim.secret("k1"))
    world.sim.key("k1").then(200).then(401)

    async def scenario() -> None:
        call = asyncio.create_task(world.chat(endpoint="responses", background=True))
        await asyncio.sleep(0.5)
        if is_changed:
            world.sim.key("k1", secret="another")
            (tmp_path / "key").write_text("another")
        answer = await call
        assert (answer.content, answer.key_id) == ("You said: hello", "k1" if is_changed else "k2")
        health = await world.lm.health()
        assert (health.providers["openai"].keys["k1"].state == "active") is is_changed

    world.run(scenario)
    assert ends(world).count("responses") == (1 if is_changed else 2)


def test_a_service_that_stays_away_ends_it() -> None:
    world = World(["k1"], defaults={"max_retries": 0})
    world.sim.key("k1").then(200).then(500, times=99)

    async def scenario() -> None:
        with pytest.raises(ServerError):
            await world.chat(endpoint="responses", background=True)

    world.run(scenario)
    assert ends(world).count("responses") == 1


def test_the_deadline_ends_the_waiting() -> None:
    world = World(["k1"])

    async def scenario() -> None:
        began = world.clock.now()
        with pytest.raises(DeadlineError):
            await world.chat(endpoint="responses", background=True, timeout=1.5)
        assert world.clock.now() - began == pytest.approx(1.5)
        health = await world.lm.health()
        assert health.providers["openai"].keys["k1"].state == "active"

    world.run(scenario)


def test_a_caller_that_goes_away_while_it_waits_leaves_nothing() -> None:
    world = World(["k1"])

    async def scenario() -> None:
        call = asyncio.create_task(world.chat(endpoint="responses", background=True))
        await asyncio.sleep(0.5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        health = await world.lm.health()
        assert health.providers["openai"].keys["k1"].in_flight == 0

    world.run(scenario)


# -- answers that stay with their key


def test_a_call_goes_on_at_the_key_that_made_the_answer() -> None:
    world = World(["k1", "k2", "k3"])

    async def scenario() -> None:
        for _ in range(3):
            first = await world.chat(endpoint="responses")
            stream = world.lm.chat_stream(
                world.model, HELLO, endpoint="responses", previous_response_id=first.id
            )
            async for _chunk in stream:
                pass
            second = stream.response
            third = await world.chat(endpoint="responses", previous_response_id=second.id)
            assert first.key_id == second.key_id == third.key_id
            assert third.raw["previous_response_id"] == second.id
            await world.chat()  # the turn goes on to the next key

    world.run(scenario)
    assert len(set(asked(world))) > 1


def test_its_key_at_rest_is_waited_for_or_missed_by_name() -> None:
    world = World(["k1", "k2"], defaults={"max_wait_seconds": 0})

    async def scenario() -> None:
        first = await world.chat(endpoint="responses")
        await world.lm.keys.rest(first.key_id, 30)
        with pytest.raises(NoAvailableKeyError) as caught:
            await world.chat(endpoint="responses", previous_response_id=first.id)
        assert list(caught.value.reasons) == [first.key_id]
        second = await world.chat(
            endpoint="responses", previous_response_id=first.id, max_wait_seconds=60
        )
        assert second.key_id == first.key_id

    world.run(scenario)


def test_an_answer_that_is_none_is_the_providers_to_refuse() -> None:
    world = World(["a"], provider="openai_responses")

    async def scenario() -> None:
        with pytest.raises(BadRequestError, match="not found"):
            await world.chat(previous_response_id=["x"])

    world.run(scenario)


def test_its_key_gone_is_told() -> None:
    world = World(["k1", "k2"])

    async def scenario() -> None:
        first = await world.chat(endpoint="responses")
        config = world.config.model_copy(
            update={"keys": [key for key in world.config.keys if key.key_id != first.key_id]}
        )
        world.lm.reload_config(config)
        with pytest.raises(ConfigurationError, match=f"{first.key_id}.*no longer in the pool"):
            await world.chat(endpoint="responses", previous_response_id=first.id)

    world.run(scenario)


def test_an_answer_of_another_process_needs_its_key_named() -> None:
    world = World(["k1", "k2"])

    async def scenario() -> None:
        first = await world.chat(endpoint="responses", key_id="k2")
        with pytest.raises(ConfigurationError, match="pass the key_id of that answer"):
            await world.chat(endpoint="responses", previous_response_id="resp_unknown")
        world.lm._pool.holders._keys.clear()  # as a process that has not made it
        second = await world.chat(endpoint="responses", previous_response_id=first.id, key_id="k2")
        assert second.key_id == "k2"

    world.run(scenario)


def test_an_answer_that_was_not_to_be_kept_is_not_remembered() -> None:
    world = World(["k1", "k2"])

    async def scenario() -> None:
        first = await world.chat(endpoint="responses", store=False)
        with pytest.raises(ConfigurationError, match="has not seen it made"):
            await world.chat(endpoint="responses", previous_response_id=first.id)

    world.run(scenario)


def test_rows_of_a_batch_go_there_too() -> None:
    world = World(["k1"])

    async def scenario() -> None:
        done = await world.lm.chat_batch(
            world.model, ["a", "b"], endpoint="responses", response_format=City
        )
        assert [result.parsed for result in done.results] == [City(name="text", people=1)] * 2
        with pytest.raises(ConfigurationError, match="endpoint must be one of"):
            await world.lm.chat_batch(world.model, ["a"], endpoint="completions")

    world.run(scenario)
    assert ends(world) == ["responses"] * 2


def test_a_conversation_changes_its_endpoint() -> None:
    """What one of them gave goes to the other as text and tool calls."""
    world = World(["k1"])

    async def scenario() -> None:
        messages: list[Any] = [*HELLO]
        for endpoint in ("responses", "chat_completion", "responses"):
            answer = await world.lm.chat(world.model, messages, endpoint=endpoint)
            messages += [answer.message, {"role": "user", "content": f"after {endpoint}"}]
        await world.lm.chat(world.model, messages)

    world.run(scenario)
    sent = (world.sim.log[-1].body or {})["messages"]
    assert [message["role"] for message in sent] == ["user", *["assistant", "user"] * 3]
    assert all(isinstance(message["content"], str) for message in sent)


def test_headers_of_a_call_go_with_its_questions() -> None:
    world = World(["k1"])

    async def scenario() -> None:
        await world.chat(
            endpoint="responses", background=True, extra_headers={"OpenAI-Beta": "x=v1"}
        )

    world.run(scenario)
    assert [seen.headers.get("openai-beta") for seen in world.sim.log] == ["x=v1"] * 3
