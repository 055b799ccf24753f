"""Many texts in few requests: in order, one bad text alone, usage that adds up."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_rotate import (
    BadRequestError,
    BatchError,
    ConfigurationError,
    EmbeddingBatch,
    NoAvailableKeyError,
)
from llm_rotate.core.wire import Bounds
from llm_rotate.helpers.embedding import group_bounds, parts
from llm_rotate.testing.embeddings_wire import EmbeddingsWire, vector
from tests.behaviours.world import World

MODEL = "text-embedding-3-small"


def embed(world: World, texts: Any, **keywords: Any) -> EmbeddingBatch:
    return world.run(lambda: world.lm.embed_batch(MODEL, texts, **keywords))


def sizes(world: World) -> list[int]:
    return [len(seen.body["input"]) for seen in world.sim.log]


def vector_of(text: str) -> list[float]:
    return list(vector(text, 16))


TEXTS = [f"text number {number} " + "word " * (number % 7) for number in range(100)]


def test_B01_vectors_stand_in_the_order_of_the_texts():
    world = World()
    batch = embed(world, TEXTS)
    assert [each.embedding for each in batch] == [vector_of(text) for text in TEXTS]
    assert batch.errors == [None] * 100
    assert (batch.completed, batch.failed) == (100, 0)
    assert sizes(world) == [32, 32, 32, 4]


def test_B03_whatever_order_they_came_back_in():
    world = World()
    world.sim._wires["openai embeddings"] = Reversed()
    batch = embed(world, TEXTS)
    assert [each.embedding for each in batch] == [vector_of(text) for text in TEXTS]


class Reversed(EmbeddingsWire):
    def whole(self, call: Any, asked: Any, reply: Any) -> dict[str, Any]:
        found = super().whole(call, asked, reply)
        return found | {"data": found["data"][::-1]}


@pytest.mark.parametrize("bad", [{0}, {31}, {17}, {99}, {3, 4}, {0, 50, 99}, set(range(32))])
def test_B03_a_refused_text_fails_alone_and_usage_adds_up(bad):
    world = World()
    world.sim.refuses("poison")
    texts = [f"poison {n}" if n in bad else text for n, text in enumerate(TEXTS)]
    batch = embed(world, texts)
    for number, text in enumerate(texts):
        if number in bad:
            assert isinstance(batch.errors[number], BadRequestError)
            assert "refuse 'poison'" in str(batch.errors[number])
            assert batch.results[number] is None
        else:
            assert batch.results[number].embedding == vector_of(text)
    billed = world.sim.tokens()
    assert sum(each.usage.total_tokens for each in batch.results if each) == billed
    assert batch.usage.total_tokens == batch.usage.prompt_tokens == billed
    assert world.lm.usage_summary_sync()["total"]["tokens"] == billed
    assert batch.failed == len(bad)
    if len(bad) == 1:
        assert world.sim.requests() <= 4 + 2 * 5  # two halves at each of five steps


def test_B03_a_text_that_is_none_fails_alone_and_is_not_sent():
    world = World()
    batch = embed(world, ["good", "", None, 7, "fine"])
    assert [type(error) for error in batch.errors] == [
        type(None), ConfigurationError, ConfigurationError, ConfigurationError, type(None),
    ]  # fmt: skip
    assert [seen.body["input"] for seen in world.sim.log] == [["good", "fine"]]


def test_texts_too_many_for_a_keys_limit_go_in_smaller_requests():
    def limited(config):
        config.keys[0].limits.tpm = 200
        return config

    world = World(["k1"], edit=limited)
    texts = ["eleven words make about thirteen tokens if one counts by bytes"] * 12
    batch = embed(world, [*texts, "word " * 500])
    assert batch.failed == 1
    assert "larger" in str(batch.errors[12]) or "more than any key" in str(batch.errors[12])
    assert max(sizes(world)) < 12
    assert len(batch.results) - batch.results.count(None) == 12


def test_a_request_holds_no_more_than_the_provider_takes():
    def few(config):
        config.providers["openai"].flags.update(embed_count=5, embed_tokens=60)
        return config

    world = World(edit=few)
    embed(world, ["short"] * 12, micro_batch_size=10)
    assert sizes(world) == [5, 5, 2]
    world = World(edit=few)
    embed(world, ["a text of seven tokens or so"] * 7)  # 60 tokens, a third of them by estimate
    assert sizes(world) == [2, 2, 2, 1]


def test_what_was_answered_before_halving_was_cancelled_is_there():
    world = World(["k1"])
    world.sim.refuses("bad")
    world.sim.key("k1").slow(1.0)
    texts = [*(f"text {number}" for number in range(7)), "bad"]

    async def scenario():
        half = asyncio.Event()
        heard = lambda index, *_: half.set() if index == 3 else None  # noqa: E731 - so short
        running = asyncio.ensure_future(world.lm.embed_batch(MODEL, texts, on_result=heard))
        await half.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await running
        return caught.value.batch

    batch = world.run(scenario)
    assert [each and each.embedding for each in batch] == [
        *(vector_of(text) for text in texts[:4]), *[None] * 4,
    ]  # fmt: skip
    assert (batch.completed, batch.failed) == (4, 0)
    assert batch.usage.total_tokens == sum(each.usage.total_tokens for each in batch if each) > 0


def test_a_text_that_is_too_long_for_a_request_goes_alone():
    world = World(
        edit=lambda config: (config.providers["openai"].flags.update(embed_tokens=60), config)[1]
    )
    embed(world, ["short", "long " * 100, "short"])
    assert sizes(world) == [1, 1, 1]


def test_callbacks_count_up_by_one_and_have_the_right_index():
    world = World()
    world.sim.refuses("number 40")
    counted, heard = [], {}
    batch = embed(
        world,
        TEXTS,
        on_progress=lambda done, total: counted.append((done, total)),
        on_result=lambda index, result, error: heard.update({index: result or error}),
        max_parallel_requests=2,
    )
    assert counted == [(n, 100) for n in range(1, 101)]
    assert isinstance(heard.pop(40), BadRequestError)
    assert {index: each.embedding for index, each in heard.items()} == {
        index: vector_of(text) for index, text in enumerate(TEXTS) if index != 40
    }
    assert batch.failed == 1


def test_rows_come_as_they_are_done_from_an_endless_generator():
    world = World()
    taken = []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield f"text {number}"
            number += 1

    async def scenario():
        found = {}
        rows = world.lm.embed_as_completed(MODEL, endless(), max_parallel_requests=2)
        async for index, result in rows:
            found[index] = result.embedding
            if len(found) == 200:
                break
        await rows.aclose()
        return found

    found = world.run(scenario)
    assert all(found[n] == vector_of(f"text {n}") for n in found)
    assert len(taken) <= 200 + 32 * 6


def test_requests_stay_under_way_while_results_are_taken():
    """A window of four groups of 32 is full again as soon as there is room for their rows."""
    world = World(["k1"])
    world.sim.key("k1").slow(3.2)

    async def scenario():
        await world.lm.embed_batch(
            MODEL,
            (f"text {number}" for number in range(640)),
            max_parallel_requests=4,
            on_result=lambda *row: asyncio.sleep(0.01),
        )
        return asyncio.get_running_loop().time()

    began = world.clock.now()
    assert world.run(scenario) - began < 5 * 3.2 + 4 * 32 * 0.01 + 0.5


def test_it_finds_its_own_width():
    world = World()
    world.sim.key("k1").slow(1.0)
    batch = embed(world, [f"text {number}" for number in range(3200)])
    assert batch.failed == 0
    assert world.sim.requests() == 100


def test_async_texts_are_embedded_too():
    async def coming():
        for text in TEXTS:
            await asyncio.sleep(0.01)
            yield text

    batch = embed(World(), coming())
    assert [each.embedding for each in batch] == [vector_of(text) for text in TEXTS]


def test_texts_that_raise_lose_nothing_that_came_before():
    def raising():
        yield from TEXTS[:40]
        raise OSError("the disk is gone")

    with pytest.raises(BatchError, match="the disk is gone") as caught:
        embed(World(), raising())
    assert [each.embedding for each in caught.value.batch] == [vector_of(t) for t in TEXTS[:40]]


def test_the_first_error_ends_it_where_that_is_asked_for():
    world = World()
    world.sim.refuses("number 3 ")
    with pytest.raises(BadRequestError):
        embed(world, TEXTS, return_exceptions=False, max_parallel_requests=1)


def test_no_key_at_all_is_every_texts_error():
    world = World(["k1"])
    world.sim.key("k1").bad_key()
    batch = embed(world, TEXTS[:3], max_wait_seconds=0)
    assert all(isinstance(error, NoAvailableKeyError) for error in batch.errors)
    assert world.sim.requests() == 1


def test_a_row_waits_for_a_key_as_long_as_it_takes():
    world = World(["k1"])
    world.sim.key("k1").rate_limit(retry_after=100)
    assert embed(world, TEXTS[:3]).failed == 0


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"micro_batch_size": 0}, "micro_batch_size must be a whole number from 1 up, not 0"),
        ({"micro_batch_size": 0.5}, "micro_batch_size must be a whole number from 1 up, not 0.5"),
        ({"dimensions": 0}, "dimensions must be a whole number"),
        ({"dimensions": "many"}, "dimensions must be a whole number"),
        ({"max_parallel_requests": 0}, "max_parallel_requests"),
        ({"micro_batch_sise": 3}, "did you mean micro_batch_size="),
        ({"collect": False}, "on_result"),
        ({"provider": "nobody"}, "nobody"),
    ],
)
def test_what_is_wrong_for_all_is_said_before_the_first(keywords, words):
    world = World()
    with pytest.raises(ConfigurationError, match=words):
        embed(world, TEXTS, **keywords)
    assert world.sim.requests() == 0


SERVED_TWICE = {f"openai/{MODEL}": 3, f"openrouter/openai/{MODEL}": 1}


def test_requests_go_by_weight_to_models_of_the_same_vectors():
    world = World({"k1": "openai", "k2": "openrouter"})
    batch = world.run(lambda: world.lm.embed_batch(SERVED_TWICE, TEXTS, micro_batch_size=5))
    assert [each.embedding for each in batch] == [vector_of(text) for text in TEXTS]
    assert {key: world.sim.requests(key) for key in ("k1", "k2")} == {"k1": 15, "k2": 5}


def test_texts_go_on_with_another_model_after_its_providers_fault():
    world = World({"k1": "openai", "k2": "openrouter"})
    world.sim.provider("openai").outage(503)
    batch = world.run(lambda: world.lm.embed_batch(list(SERVED_TWICE), TEXTS, max_retries=1))
    assert batch.failed == 0
    assert {each.provider for each in batch} == {"openrouter"}


def test_one_text_is_not_taken_for_many():
    with pytest.raises(ConfigurationError, match="not str"):
        embed(World(), "a single text")


def test_all_vectors_are_one_array():
    world = World()
    world.sim.refuses("number 2 ")
    batch = embed(world, TEXTS[:5], as_array=True, dimensions=8)
    assert (batch.array.shape, batch.array.dtype.name) == ((5, 8), "float32")
    assert np.isnan(batch.array[2]).all()
    assert list(batch.array[3]) == list(vector(TEXTS[3], 8))
    assert np.shares_memory(batch.results[3].embedding, batch.array)


def test_no_texts_are_an_empty_array():
    batch = embed(World(), [], as_array=True)
    assert (batch.array.shape, batch.array.dtype.name) == ((0, 0), "float32")


def test_of_rows_that_all_failed_and_of_rows_not_kept_there_is_no_array():
    world = World()
    world.sim.refuses("number ")
    batch = embed(world, TEXTS[:3], as_array=True)
    assert (batch.failed, batch.array) == (3, None)
    unkept = embed(World(), TEXTS[:3], as_array=True, collect=False, on_result=lambda *_: None)
    assert unkept.array is None


def test_what_a_postprocess_makes_of_a_vector_is_left_alone():
    odd = type("Odd", (), {"embedding": None})
    batch = embed(World(), TEXTS[:3], as_array=True, postprocess=lambda _: odd)
    assert (list(batch), batch.array) == ([odd] * 3, None)


def test_a_groups_rows_are_postprocessed_side_by_side():
    world = World()

    async def slowly(answer):
        await asyncio.sleep(5.0)
        if answer.embedding == vector_of(TEXTS[3]):
            raise ValueError("not this one")
        return answer.embedding

    began = world.clock.now()
    batch = embed(world, TEXTS[:32], postprocess=slowly)
    assert world.clock.now() - began < 10.0
    assert [n for n, error in enumerate(batch.errors) if error] == [3]
    assert batch.errors[3].answer.embedding == vector_of(TEXTS[3])
    assert all(batch[n] == vector_of(TEXTS[n]) for n in range(32) if n != 3)


def test_the_sync_twins(llm_simulator):
    lm = llm_simulator.pool(["k1", "k2"])
    batch = lm.embed_batch_sync(MODEL, TEXTS)
    assert [each.embedding for each in batch] == [vector_of(text) for text in TEXTS]
    found = dict(lm.embed_as_completed_sync(MODEL, TEXTS))
    assert {n: each.embedding for n, each in found.items()} == {
        n: vector_of(text) for n, text in enumerate(TEXTS)
    }


# -- shares


@given(
    st.integers(0, 10**9),
    st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=50),
)
@settings(max_examples=200)
def test_parts_add_up_and_are_fair(whole, weights):
    found = parts(whole, weights)
    assert sum(found) == whole
    assert all(part >= 0 for part in found)
    total = sum(weights)
    if total > 1e-3:
        for part, weight in zip(found, weights, strict=True):
            assert abs(part - whole * weight / total) <= 1.0 + 1e-6 * whole


def test_the_strictest_stage_bounds_a_group():
    assert group_bounds(32, [Bounds(2048, 300_000), Bounds(10, 9_000)]) == (10, 3_000)
    assert group_bounds(32, [Bounds()]) == (32, 100_000)
    assert group_bounds(32, []) == (32, 100_000)


# -- other providers


@pytest.mark.parametrize(
    ("model", "size"), [("amazon.titan-embed-text-v2:0", 1), ("cohere.embed-english-v3", 32)]
)
def test_bedrock_embeds_as_many_at_a_time_as_its_models_take(model, size):
    world = World(["k1", "k2"], provider="aws_bedrock")
    world.sim.refuses("number 7 ")
    texts = TEXTS[:40]
    batch = world.run(lambda: world.lm.embed_batch(model, texts))
    field = "inputText" if size == 1 else "texts"
    sent = [seen.body[field] for seen in world.sim.log]
    assert max(1 if isinstance(each, str) else len(each) for each in sent) == size
    assert [number for number, error in enumerate(batch.errors) if error] == [7]
    assert all(batch[n].embedding == vector_of(texts[n]) for n in range(40) if n != 7)
    assert batch.usage.total_tokens == world.sim.tokens()


def test_gemini_embeds_many_at_a_time():
    world = World(["k1", "k2"], provider="google_ai_studio")
    world.sim.refuses("number 7 ")
    asked = {"dimensions": 8, "task_type": "CLUSTERING", "micro_batch_size": 200}
    texts = TEXTS * 2
    batch = world.run(lambda: world.lm.embed_batch("gemini-embedding-001", texts, **asked))
    assert [number for number, error in enumerate(batch.errors) if error] == [7, 107]
    assert len(world.sim.log[0].body["requests"]) == 100
    assert batch[3].embedding == list(vector(TEXTS[3], 8))
    assert batch.usage.total_tokens == world.sim.tokens()


def test_B02_memory_does_not_grow_with_the_texts():
    def most_of(count: int) -> int:
        world = World(["k1"])
        world.sim.log = deque(maxlen=1)

        async def scenario():
            texts = (f"text number {number} " + "word " * 20 for number in range(count))
            seen = 0
            async for _ in world.lm.embed_as_completed(MODEL, texts, max_parallel_requests=4):
                seen += 1
            assert seen == count

        tracemalloc.start()
        try:
            world.run(scenario)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most_of(500)  # what is imported and cached is there
    assert most_of(4_000) - most_of(1_000) < 1_000_000


def test_half_a_character_is_a_text_like_others():
    batch = embed(World(), ["a", "torn \ud83d", "b"])
    assert batch.errors == [None] * 3
