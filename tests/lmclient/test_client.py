"""LMClient against a server, and bound to a pool in a fake time."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from llm_rotate import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DeploymentConfig,
    GenerationResult,
    LMClient,
    NoAvailableKeyError,
    OverloadedError,
    RequestMetrics,
    TokenUsage,
)
from llm_rotate.testing import Scripted, Simulator
from tests.behaviours.world import World

MODEL = "openai/gpt-4o-mini"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator().serve() as sim:
        yield sim


def client_of(sim: Simulator, **arguments: Any) -> LMClient:
    given = {"model": MODEL, "api_base": sim.url("openai"), "api_key": sim.secret("k1")}
    return LMClient(**{**given, **arguments})


def replicas(sim: Simulator, *labels: str, **arguments: Any) -> LMClient:
    deployments = {
        label: DeploymentConfig(f"hosted_vllm/{label[0]}", sim.url("openai"), sim.secret(label))
        for label in labels
    }
    return LMClient(model="logical", deployments=deployments, **arguments)


def test_errors_do_not_advise_chains_which_a_client_does_not_have(sim):
    sim.key("k1").bad_key()
    sim.key("k2").then(503)
    with client_of(sim, max_retries=0) as client:
        with pytest.raises(NoAvailableKeyError) as refused:
            client.generate("hello", max_wait_seconds=0)
        assert "chain" not in str(refused.value)
    with client_of(sim, api_key=sim.secret("k2"), max_retries=0) as client:
        with pytest.raises(OverloadedError) as failed:
            client.generate("hello")
        assert str(failed.value).endswith("Raise max_retries.")


REFERENCE: dict[str, Any] = {
    "model": None,
    "api_base": None,
    "api_key": None,
    "deployments": None,
    "endpoint": "chat_completion",
    "max_parallel_requests": None,
    "rpm": None,
    "tpm": None,
    "rpd": None,
    "tpd": None,
    "max_request_burst": None,
    "max_token_burst": None,
    "header_bucket_scope": "auto",
    "default_output_tokens": 0,
    "timeout": None,
    "max_retries": 3,
    "default_request_kwargs": None,
    "routing_strategy": "simple-shuffle",
    "router_kwargs": None,
}


def test_the_constructor_is_the_references() -> None:
    found = inspect.signature(LMClient).parameters
    assert {name: each.default for name, each in found.items()} == REFERENCE
    assert {each.kind for each in found.values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    "name",
    [f"{act}{form}" for act in ("generate", "embed", "transcribe") for form in ("", "_batch")],
)
def test_every_method_has_an_async_twin_with_the_same_arguments(name: str) -> None:
    sync, twin = getattr(LMClient, name), getattr(LMClient, f"a{name}")
    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(sync)
    assert inspect.signature(sync).parameters == inspect.signature(twin).parameters


def test_one_answer_with_all_that_is_known_of_it(sim: Simulator) -> None:
    with client_of(sim) as client:
        result = client.generate("hello there")
    assert result.output_text == "You said: hello there"
    assert result.token_usage == TokenUsage(2, 4, 6)
    assert result.token_usage.output_tokens == 4
    assert (result.finish_reason, result.model_id) == ("stop", "gpt-4o-mini")
    assert result.request_id
    assert result.raw_response["choices"]
    metrics = result.metrics
    assert isinstance(metrics, RequestMetrics)
    assert metrics.retries == 0
    assert metrics.deployment == "openai_compatible"
    assert 0.0 < metrics.service_time_s <= metrics.end_to_end_s
    assert metrics.queue_wait_s == pytest.approx(metrics.end_to_end_s - metrics.service_time_s)


def test_messages_go_as_they_are_and_keywords_too(sim: Simulator) -> None:
    client = client_of(sim, default_request_kwargs={"temperature": 0.5, "max_tokens": 9})
    with client:
        client.generate([{"role": "user", "content": "hi"}], max_tokens=2)
    sent = sim.log[0].body or {}
    assert (sent["temperature"], sent["max_tokens"]) == (0.5, 2)
    assert sent["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("given", [3, None, "", [], {"prompt": "x"}])
def test_an_input_of_a_wrong_shape_is_a_ValueError(sim: Simulator, given: Any) -> None:
    with client_of(sim) as client:
        with pytest.raises(ValueError, match="an input must be a prompt, a list of messages"):
            client.generate(given)
        assert sim.requests() == 0
        for rows in (["good", given], iter(["good", given])):
            batch = client.generate_batch(rows)
            assert [type(error) for error in batch.errors] == [type(None), ConfigurationError]
            assert batch.results[0]
    assert sim.requests() == 2


def test_B01_results_in_order_errors_beside_them_and_callbacks(sim: Simulator) -> None:
    sim.key("k1").answers([200, 400, 200])
    counted: list[tuple[int, int | None]] = []
    told: dict[int, tuple[Any, Any]] = {}
    with client_of(sim, max_parallel_requests=1) as client:
        batch = client.generate_batch(
            ["a", "b", "c"],
            on_progress=lambda done, total: counted.append((done, total)),
            on_result=lambda index, result, error: told.update({index: (result, error)}),
        )
    assert [each.output_text if each else None for each in batch] == [
        "You said: a",
        None,
        "You said: c",
    ]
    assert isinstance(batch.errors[1], BadRequestError)
    assert batch.errors[0] is None
    assert counted == [(1, 3), (2, 3), (3, 3)]
    assert told == {i: (batch.results[i], batch.errors[i]) for i in range(3)}


def test_the_first_failure_can_be_raised(sim: Simulator) -> None:
    sim.key("k1").answers([400])
    with client_of(sim) as client, pytest.raises(BadRequestError):
        client.generate_batch(["a", "b"], return_exceptions=False)


def test_inputs_may_come_from_generators(sim: Simulator) -> None:
    with client_of(sim, max_parallel_requests=2) as client:
        batch = client.generate_batch(str(n) for n in range(5))
    assert [each.output_text for each in batch.results if each] == [
        f"You said: {n}" for n in range(5)
    ]


def test_async_and_both_ways_as_context_manager(sim: Simulator) -> None:
    async def main() -> tuple[GenerationResult, Any]:
        async with client_of(sim) as client:
            return await client.agenerate("a"), await client.agenerate_batch(["b", "c"])

    result, batch = asyncio.run(main())
    assert result.output_text == "You said: a"
    assert [each.output_text for each in batch] == ["You said: b", "You said: c"]


def test_a_notebooks_running_loop_does_not_stand_in_the_way(sim: Simulator) -> None:
    async def cell() -> str:
        with client_of(sim) as client:
            return client.generate("in a cell").output_text

    assert asyncio.run(cell()) == "You said: in a cell"


def test_retries_are_counted(sim: Simulator) -> None:
    sim.key("k1").answers([500, 200])
    with client_of(sim) as client:
        assert client.generate("x").metrics.retries == 1
    assert sim.requests() == 2


def test_no_retries_when_they_are_switched_off(sim: Simulator) -> None:
    sim.key("k1").answers([500, 200])
    with client_of(sim, max_retries=0) as client, pytest.raises(Exception, match="500"):
        client.generate("x")
    assert sim.requests() == 1


def test_a_wrong_key_fails_at_once_and_says_so(sim: Simulator) -> None:
    sim.key("k1").bad_key()
    with client_of(sim) as client:
        began = time.monotonic()
        batch = client.generate_batch([str(n) for n in range(50)])
        assert time.monotonic() - began < 5.0
    assert all(batch.errors)
    assert any(isinstance(each.__cause__, AuthenticationError) for each in batch.errors if each)


def test_a_timeout_is_one_requests_and_can_be_said_per_call(sim: Simulator) -> None:
    sim.key("k1").slow(5.0, times=1)
    with client_of(sim, timeout=30.0) as client:
        result = client.generate("x", timeout=0.2)
    assert result.metrics.retries == 1
    assert result.metrics.service_time_s < 5.0


# -- structured output


def saying(text: str) -> Scripted:
    message = {"role": "assistant", "content": text}
    return Scripted(200, {"id": "x", "choices": [{"message": message, "finish_reason": "stop"}]})


class Answer(BaseModel):
    value: int


SCHEMA = {"title": "answer", "type": "object", "properties": {"value": {"type": "integer"}}}


@pytest.mark.parametrize("wanted", [Answer, SCHEMA])
def test_B06_response_format_goes_to_the_provider(sim: Simulator, wanted: Any) -> None:
    sim.key("k1").answers([saying('{"value": 4}')])
    with client_of(sim) as client:
        result = client.generate("What is 2 + 2?", response_format=wanted)
    assert result.output_parsed == (Answer(value=4) if wanted is Answer else {"value": 4})
    assert result.output_text == '{"value": 4}'
    sent = (sim.log[0].body or {})["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"]["properties"]["value"]["type"] == "integer"


def test_B06_a_batch_is_parsed_too_and_what_does_not_fit_is_None(sim: Simulator) -> None:
    sim.key("k1").answers([saying('{"value": 4}'), saying("four")])
    with client_of(sim, max_parallel_requests=1) as client:
        batch = client.generate_batch(["a", "b"], response_format=Answer)
    assert [each.output_parsed for each in batch if each] == [Answer(value=4), None]


def test_parse_output_reads_json_without_a_format(sim: Simulator) -> None:
    sim.key("k1").answers([saying('{"value": 4}'), saying("four")])
    with client_of(sim) as client:
        assert client.generate("x", parse_output=True).output_parsed == {"value": 4}
        assert client.generate("x", parse_output=True).output_parsed is None


# -- deployments


def test_deployments_serve_in_turn_and_are_named(sim: Simulator) -> None:
    with replicas(sim, "a1", "a2", "a3") as client:
        served = [client.generate("x").metrics.deployment for _ in range(6)]
    assert sorted(served) == ["a1", "a1", "a2", "a2", "a3", "a3"]


def test_deployments_of_several_models_share_the_work(sim: Simulator) -> None:
    with replicas(sim, "a1", "a2", "b1", max_parallel_requests=1) as client:
        batch = client.generate_batch([str(n) for n in range(12)])
        singles = {client.generate("x").metrics.deployment for _ in range(6)}
        vectors = {client.embed("x").metrics.deployment for _ in range(6)}
    served = [each.metrics.deployment for each in batch]
    assert {name: served.count(name) for name in sorted(set(served))} == {
        "a1": 4,
        "a2": 4,
        "b1": 4,
    }
    assert singles == vectors == {"a1", "a2", "b1"}
    assert {seen.model for seen in sim.log} == {"a", "b"}


def test_a_dead_replica_costs_no_row(sim: Simulator) -> None:
    sim.key("a1").drop()
    with replicas(sim, "a1", "b1") as client:
        batch = client.generate_batch([str(n) for n in range(20)])
        texts = client.embed_batch([str(n) for n in range(20)], micro_batch_size=5)
        singles = [client.embed("x"), client.transcribe(b"RIFF....WAVE" + bytes(99))]
    assert batch.errors == texts.errors == [None] * 20
    assert {each.metrics.deployment for each in [*batch, *texts, *singles]} == {"b1"}


def test_the_least_busy_replica_gets_the_next_one(sim: Simulator) -> None:
    sim.key("a1").slow(0.5)
    with replicas(sim, "a1", "a2", routing_strategy="least-busy") as client:
        client.lm.config  # noqa: B018 - a pool of its own
        batch = client.generate_batch([str(n) for n in range(30)], max_parallel_requests=4)
    served = [each.metrics.deployment for each in batch]
    assert served.count("a1") <= 6


# -- limits


def test_B07_sync_and_async_calls_share_one_limit_and_never_hang(sim: Simulator) -> None:
    answered: list[int] = []

    def once(call: Any) -> None:
        try:
            call()
        except Exception:
            return
        answered.append(1)

    with client_of(sim, rpd=25, max_parallel_requests=3) as client:
        threads = [
            threading.Thread(
                target=lambda: [
                    once(lambda: client.generate("x", max_wait_seconds=2)) for _ in range(10)
                ]
            )
            for _ in range(3)
        ]

        async def side() -> None:
            batch = await client.agenerate_batch(["y"] * 10, max_wait_seconds=2)
            answered.extend(1 for each in batch if each)

        for thread in threads:
            thread.start()
        asyncio.run(side())
        for thread in threads:
            thread.join(30.0)
            assert not thread.is_alive()
    assert len(answered) == sim.requests() == 25


def test_rows_wait_for_room_as_long_as_it_takes() -> None:
    world = World(["k1"])
    world.lm.reload_config(
        world.config.model_copy(update={"limits": type(world.config.limits)(rpm=10)})
    )
    client = world.lm.client("gpt-4o-mini", max_parallel_requests=8)

    async def scenario() -> Any:
        return await client.agenerate_batch([str(n) for n in range(40)])

    batch = world.run(scenario)
    assert batch.errors == [None] * 40
    assert world.clock.now() - 1000.0 > 180.0
    waits = [each.metrics.queue_wait_s for each in batch]
    assert max(waits) > 30.0


# -- bound to a pool


def test_a_client_of_a_pool_uses_its_keys_and_leaves_it_open(sim: Simulator) -> None:
    lm = sim.pool(["k1", "k2"])
    with lm.client("gpt-4o-mini", default_request_kwargs={"max_tokens": 2}) as client:
        assert client.generate("one two three").output_text == "You said:"
        assert client.lm is lm
    assert lm.chat_sync("gpt-4o-mini", [{"role": "user", "content": "x"}]).content
    lm.close_sync()


def test_a_client_of_a_pool_may_have_several_models(sim: Simulator) -> None:
    lm = sim.pool(["k1"])
    client = lm.client({"m1": 3, "m2": 1})
    client.generate_batch([str(n) for n in range(8)])
    for _ in range(4):
        client.generate("x")
    lm.close_sync()
    assert [seen.model for seen in sim.log].count("m1") == 9
    with pytest.raises(ConfigurationError, match="model is missing"):
        lm.client("")


def test_results_are_plain_dataclasses(sim: Simulator) -> None:
    with client_of(sim) as client:
        result = client.generate("x")
    assert json.dumps(dataclasses.asdict(result))
    assert "choices" not in repr(result)


@pytest.mark.parametrize(
    ("keyword", "told"),
    [
        ("api_key", "api_key= belongs to the client"),
        ("model", "model= belongs to the client"),
        ("num_retries", "num_retries= is called max_retries= here"),
        ("postprocess", "postprocess= is of the pool's batches"),
    ],
)
def test_what_belongs_to_the_client_does_not_go_into_a_request(
    sim: Simulator, keyword: str, told: str
) -> None:
    with client_of(sim) as client:
        for act in (client.generate, client.embed, client.transcribe):
            with pytest.raises(ConfigurationError, match=told):
                act("x", **{keyword: "sk-secret"})
        with pytest.raises(ConfigurationError, match=told):
            client.generate_batch(["x"], **{keyword: "sk-secret"})
    assert sim.requests() == 0


# -- embeddings and transcription


def embedder(sim: Simulator, **arguments: Any) -> LMClient:
    return client_of(sim, model="openai/text-embedding-3-small", **arguments)


def test_one_text_as_a_vector(sim: Simulator) -> None:
    with embedder(sim) as client:
        result = client.embed("The quick brown fox", dimensions=4)
    assert len(result.embedding) == 4
    assert result.token_usage is not None
    assert result.token_usage.total_tokens > 0
    assert result.metrics is not None
    assert result.metrics.deployment == "openai_compatible"


def test_B03_many_texts_in_few_requests_and_a_refused_one_fails_alone(sim: Simulator) -> None:
    told: dict[int, Any] = {}
    with embedder(sim) as client:
        batch = client.embed_batch(
            ["a", "b", "", "d", "e"],
            micro_batch_size=4,
            on_result=lambda index, result, error: told.update({index: result or error}),
        )
    assert [each is None for each in batch.results] == [False, False, True, False, False]
    assert [each is None for each in batch.errors] == [True, True, False, True, True]
    assert told == {i: batch.results[i] or batch.errors[i] for i in range(5)}
    assert batch.completed == 5
    assert batch.failed == 1
    assert sim.requests() <= 4


def test_a_micro_batch_has_one_text_at_least(sim: Simulator) -> None:
    with embedder(sim) as client, pytest.raises(ValueError, match="micro_batch_size"):
        client.embed_batch(["a"], micro_batch_size=0)


def test_all_vectors_of_a_client_are_one_array_too(sim: Simulator) -> None:
    sim.refuses("poison")
    with client_of(sim) as client:
        batch = client.embed_batch(["a", "poison", "b"], as_array=True, dimensions=8)
    assert batch.array.shape == (3, 8)
    assert list(batch.array[2]) == list(batch.results[2].embedding)


def test_recordings_as_text(sim: Simulator, tmp_path: Any) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + bytes(2_000))
    with client_of(sim, model="openai/whisper-1") as client:
        result = client.transcribe(path)
        batch = client.transcribe_batch([path, tmp_path / "none.wav", b"RIFF" + bytes(100)])
    assert result.text
    assert [each is None for each in batch.results] == [False, True, False]
    assert "none.wav" in str(batch.errors[1])


def test_B04_a_recording_over_the_limit_is_refused_before_it_is_read(
    sim: Simulator, tmp_path: Any
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(2_000))
    with client_of(sim, model="openai/whisper-1") as client:
        with pytest.raises(ValueError, match=r"1000|1,000"):
            client.transcribe(path, max_transcription_bytes=1_000)
        assert client.transcribe(path, max_transcription_bytes=None).text
    assert sim.requests() == 1
    signature = inspect.signature(LMClient.transcribe)
    assert signature.parameters["max_transcription_bytes"].default == 25 * 1024 * 1024


def test_the_async_forms_are_there_too(sim: Simulator) -> None:
    async def main() -> None:
        async with embedder(sim) as client:
            assert len((await client.aembed("x")).embedding)
            assert not any((await client.aembed_batch(["x", "y"])).errors)
        async with client_of(sim, model="openai/whisper-1") as client:
            assert (await client.atranscribe(b"RIFF" + bytes(100))).text
            assert not any((await client.atranscribe_batch([b"RIFF" + bytes(100)])).errors)

    asyncio.run(main())


# -- the responses endpoint


@pytest.mark.parametrize(
    "given",
    [
        "hello there",
        [{"role": "user", "content": "hello there"}],
        {"input": "hello there", "instructions": "be brief"},
        {"input": [{"role": "user", "content": "hello there"}]},
    ],
)
def test_the_responses_endpoint_takes_prompts_messages_and_payloads(
    sim: Simulator, given: Any
) -> None:
    with client_of(sim, endpoint="responses") as client:
        assert client.generate(given).output_text == "You said: hello there"
        batch = client.generate_batch([given, "x"])
    assert [each.output_text for each in batch if each] == [
        "You said: hello there",
        "You said: x",
    ]
    assert {seen.path.rpartition("/")[2] for seen in sim.log} == {"responses"}


def test_a_call_may_say_another_endpoint(sim: Simulator) -> None:
    with client_of(sim) as client:
        client.generate("x", endpoint="responses")
        client.generate("x")
    assert [seen.path.rpartition("/")[2] for seen in sim.log] == ["responses", "completions"]


def test_a_payload_with_more_than_it_can_hold_is_told(sim: Simulator) -> None:
    with client_of(sim, endpoint="responses") as client:
        with pytest.raises(ConfigurationError, match="give 'tools' as a keyword"):
            client.generate({"input": "x", "tools": []})
        batch = client.generate_batch(row for row in ({"input": "x", "tools": []}, {"input": "y"}))
    assert isinstance(batch.errors[0], ConfigurationError)
    assert "give 'tools' as a keyword" in str(batch.errors[0])
    assert batch.errors[1] is None
