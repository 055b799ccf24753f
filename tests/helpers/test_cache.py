"""Equal requests: sent once in a batch, recalled from a cache, shared while under way."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from llm_rotate import (
    Attempt,
    BadRequestError,
    ChatResponse,
    ConfigurationError,
    MemoryCache,
    ResponseCache,
    SQLiteCache,
    Usage,
)
from llm_rotate.helpers import recall
from llm_rotate.helpers.recall import Flights
from tests.behaviours.doors import sockets
from tests.behaviours.world import World

FIVE = [f"row {number % 5}" for number in range(50)]
WHOLE = ChatResponse(
    "Olá\ud83d",
    "openai",
    "m",
    "k1",
    Usage(1, 2, 3, raw={"total": 3}),
    12.0,
    "stop",
    {"choices": [{"text": "x"}]},
    [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}],
    "thought",
    "req_1",
    None,
    (Attempt("openai", "m", "k1", "ok"),),
)


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = MemoryCache() if request.param == "memory" else SQLiteCache(tmp_path / "answers.db")
    yield made
    if isinstance(made, SQLiteCache):
        made.close()


@pytest.fixture
def world() -> World:
    return World()


def contents(batch: Any) -> list[str]:
    return [result.content for result in batch]


# -- places to keep answers


def test_an_answer_comes_back_as_it_was_but_for_the_call_it_answered(cache: ResponseCache):
    async def scenario() -> None:
        assert await cache.get("k") is None
        await cache.put("k", WHOLE)
        found = await cache.get("k")
        assert found is not None
        for name in ("content", "provider", "model", "key_id", "usage", "raw", "tool_calls"):
            assert getattr(found, name) == getattr(WHOLE, name)
        assert found.usage.raw == {"total": 3}
        assert found.attempts == ()
        assert found.latency_ms == 0.0
        await cache.put("k", ChatResponse("newer"))
        newer = await cache.get("k")
        assert newer is not None
        assert newer.content == "newer"

    asyncio.run(scenario())


def test_what_a_caller_does_to_an_answer_is_his_own(cache: ResponseCache):
    async def scenario() -> None:
        await cache.put("k", WHOLE)
        first = await cache.get("k")
        assert first is not None
        first.content = "changed"
        again = await cache.get("k")
        assert again is not None
        assert again.content == WHOLE.content

    asyncio.run(scenario())


def test_a_file_is_there_for_the_next_run_and_for_other_threads(tmp_path):
    path = tmp_path / "answers.db"
    first = SQLiteCache(path)
    asyncio.run(first.put("k", WHOLE))
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(first.get("k"))))
    thread.start()
    thread.join()
    first.close()
    second = SQLiteCache(path)
    found.append(asyncio.run(second.get("k")))
    second.close()
    assert [each.content for each in found] == [WHOLE.content] * 2


def test_an_answer_of_another_version_is_no_answer(tmp_path):
    path = tmp_path / "answers.db"
    cache = SQLiteCache(path)
    asyncio.run(cache.put("k", WHOLE))
    cache.close()
    with sqlite3.connect(path) as file:
        file.execute("""UPDATE answers SET body = '{"content": "x", "usage": {}, "future": 1}'""")
    file.close()
    assert asyncio.run(cache.get("k")) is None
    cache.close()


def test_memory_forgets_what_was_asked_for_longest_ago():
    async def scenario() -> None:
        cache = MemoryCache(most=2)
        await cache.put("a", WHOLE)
        await cache.put("b", WHOLE)
        await cache.get("a")
        await cache.put("c", WHOLE)
        assert await cache.get("b") is None
        assert await cache.get("a") is not None

    asyncio.run(scenario())


# -- once in a batch


def test_equal_requests_of_a_batch_are_sent_once(world):
    world.sim.key("k1").slow(1.0)

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, FIVE, dedupe=True)
        assert contents(batch) == [f"You said: {each}" for each in FIVE]
        assert sum(bool(result.attempts) for result in batch) == 5
        assert batch.usage.total_tokens == 5 * batch[0].usage.total_tokens

    world.run(scenario)
    assert world.sim.requests() == 5


def test_without_dedupe_every_row_is_sent(world):
    world.run(lambda: world.lm.chat_batch(world.model, FIVE))
    assert world.sim.requests() == 50


def test_what_a_provider_refuses_is_refused_once(world):
    world.sim.key("k1").then(400, times=1)
    world.sim.key("k2").then(400, times=1)

    async def scenario() -> None:
        batch = await world.lm.chat_batch(
            world.model, ["a"] * 20, dedupe=True, max_parallel_requests=2
        )
        assert [type(error) for error in batch.errors] == [BadRequestError] * 20

    world.run(scenario)
    assert world.sim.requests() == 1


def test_the_same_words_to_another_model_are_another_request(world):
    async def scenario() -> None:
        batch = await world.lm.chat_batch(["m-a", "m-b"], ["a"] * 20, dedupe=True)
        assert {result.model for result in batch} == {"m-a", "m-b"}

    world.run(scenario)
    assert world.sim.requests() == 2


def test_postprocess_sees_each_row_as_it_came(world):
    def shout(answer: ChatResponse) -> ChatResponse:
        answer.content += "!"
        return answer

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, ["a"] * 20, dedupe=True, postprocess=shout)
        assert contents(batch) == ["You said: a!"] * 20

    world.run(scenario)


# -- a cache


def test_the_second_batch_sends_nothing(world, cache):
    async def scenario() -> None:
        first = await world.lm.chat_batch(world.model, FIVE, cache=cache)
        assert world.sim.requests() == 5  # those under way at a time share, those after recall
        second = await world.lm.chat_batch(world.model, FIVE, cache=cache)
        assert contents(second) == contents(first)
        assert second.usage.total_tokens == 0
        found = dict([each async for each in world.lm.as_completed(world.model, FIVE, cache=cache)])
        assert found[7].content == "You said: row 2"
        assert found[7].attempts == ()

    world.run(scenario)
    assert world.sim.requests() == 5


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.5},
        {"max_tokens": 7},
        {"seed": 1},
        {"extra_headers": {"x-team": "blue"}},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_every_parameter_makes_another_request(world, other):
    cache = MemoryCache()

    async def scenario() -> None:
        await world.lm.chat_batch(world.model, ["a"], cache=cache)
        await world.lm.chat_batch(world.model, ["a"], cache=cache, **other)
        await world.lm.chat_batch("another", ["a"], cache=cache)
        assert world.sim.requests() == 3
        await world.lm.chat_batch(world.model, ["a"], cache=cache, **other, max_retries=0)

    world.run(scenario)
    assert world.sim.requests() == 3


def test_bytes_and_classes_have_their_words_too(world):
    class City(BaseModel):
        name: str

    image = {"type": "image_bytes", "data": b"\x89PNG", "mime_type": "image/png"}
    rows = [[{"role": "user", "content": [{"type": "text", "text": "a"}, image]}]] * 3

    async def scenario() -> None:
        await world.lm.chat_batch(world.model, rows, dedupe=True, response_format=City)
        assert world.sim.requests() == 1
        batch = await world.lm.chat_batch(
            world.model, [[{"role": "user", "content": object()}]], dedupe=True
        )
        assert isinstance(batch.errors[0], ConfigurationError)

    world.run(scenario)
    assert world.sim.requests() == 1


def test_a_recalled_answer_is_parsed_again(world, cache):
    class City(BaseModel):
        name: str

    wanted = {"response_format": City, "cache": cache}

    async def scenario() -> None:
        first = await world.lm.chat_batch(world.model, ["a"], **wanted)
        second = await world.lm.chat_batch(world.model, ["a"], **wanted)
        assert isinstance(first[0].parsed, City)
        assert second[0].parsed == first[0].parsed

    world.run(scenario)
    assert world.sim.requests() == 1


def test_a_fallbacks_answer_is_none_to_the_request():
    world = World(
        {"k1": "openai", "k2": "anthropic"},
        fallback_chains={"openai": [{"provider": "anthropic", "model": "m"}]},
    )
    cache = MemoryCache()
    world.sim.key("k1").quota_exhausted()

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, ["a"], cache=cache)
        assert batch[0].provider == "anthropic"
        world.sim.key("k1").heal()
        await world.lm.keys.reset("k1")
        batch = await world.lm.chat_batch(world.model, ["a"], cache=cache)
        assert batch[0].provider == "openai"

    world.run(scenario)


def test_two_batches_at_the_same_time_send_once(world, cache):
    world.sim.key("k1").slow(1.0)

    async def scenario() -> None:
        ask = [world.lm.chat_batch(world.model, ["a"], cache=cache) for _ in range(4)]
        batches = await asyncio.gather(*ask)
        assert [contents(batch) for batch in batches] == [["You said: a"]] * 4

    world.run(scenario)
    assert world.sim.requests() == 1


def test_loops_of_several_threads_share_what_is_under_way(cache):
    with sockets() as world:
        for key in ("k1", "k2", "k3"):
            world.sim.key(key).slow(0.2)
        found: list[str] = []

        def work() -> None:
            batch = world.lm.chat_batch_sync(world.model, ["a"] * 5, cache=cache)
            found.extend(contents(batch))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        asyncio.run(world.lm.chat_batch(world.model, ["a"], cache=cache))
        for thread in threads:
            thread.join()
        assert found == ["You said: a"] * 15
        assert world.sim.requests() == 1
        world.lm.close_sync()


def test_who_waits_sends_itself_when_the_sender_goes_away(world):
    world.sim.key("k1").slow(5.0)
    cache = MemoryCache()

    async def scenario() -> None:
        first = asyncio.ensure_future(world.lm.chat_batch(world.model, ["a"], cache=cache))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(world.lm.chat_batch(world.model, ["a"], cache=cache))
        await asyncio.sleep(1)
        first.cancel()
        assert contents(await second) == ["You said: a"]

    world.run(scenario)
    assert world.sim.requests() == 2


def test_a_waiter_that_goes_away_disturbs_nobody(world):
    world.sim.key("k1").slow(5.0)
    cache = MemoryCache()

    async def scenario() -> None:
        first = asyncio.ensure_future(world.lm.chat_batch(world.model, ["a"], cache=cache))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(world.lm.chat_batch(world.model, ["a"], cache=cache))
        await asyncio.sleep(1)
        second.cancel()
        assert contents(await first) == ["You said: a"]

    world.run(scenario)
    assert world.sim.requests() == 1


def test_a_cache_that_fails_costs_no_row(world, caplog):
    class Broken:
        async def get(self, key: str) -> ChatResponse | None:
            raise OSError("cannot read")

        async def put(self, key: str, response: ChatResponse) -> None:
            raise OSError("cannot write")

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, FIVE, cache=Broken())
        assert contents(batch) == [f"You said: {each}" for each in FIVE]

    world.run(scenario)
    assert caplog.text.count("the cache failed") == 1


def test_errors_are_not_kept_in_a_cache(world):
    cache = MemoryCache()
    world.sim.key("k1").then(400)

    async def scenario() -> None:
        first = await world.lm.chat_batch(world.model, ["a"], cache=cache, key_id="k1")
        assert first.failed == 1
        second = await world.lm.chat_batch(world.model, ["a"], cache=cache, key_id="k1")
        assert second.failed == 0

    world.run(scenario)


def test_another_models_answer_is_not_kept_as_this_ones(world):
    for key in ("k1", "k2", "k3"):
        world.sim.key(key).unknown_model("m-a")
    cache = MemoryCache()

    async def scenario() -> None:
        batch = await world.lm.chat_batch(["m-a", "m-b"], ["a"], cache=cache)
        assert batch[0].model == "m-b"
        for key in ("k1", "k2", "k3"):
            world.sim.key(key).heal()
            await world.lm.keys.reset(key)
        batch = await world.lm.chat_batch("m-a", ["a"], cache=cache)
        assert batch[0].model == "m-a"

    world.run(scenario)


def test_a_cache_may_be_any_object(world):
    @dataclass(slots=True)  # neither hashable nor weakly referable
    class Plain:
        kept: dict[str, ChatResponse] = field(default_factory=dict)

        async def get(self, key: str) -> ChatResponse | None:
            return self.kept.get(key)

        async def put(self, key: str, response: ChatResponse) -> None:
            self.kept[key] = response

    cache = Plain()
    world.sim.key("k1").slow(1.0)

    async def scenario() -> None:
        ask = [world.lm.chat_batch(world.model, FIVE, cache=cache) for _ in range(2)]
        for batch in await asyncio.gather(*ask):
            assert contents(batch) == [f"You said: {each}" for each in FIVE]
        with pytest.raises(ConfigurationError, match="cache"):
            await world.lm.chat_batch(world.model, FIVE, cache=5)

    world.run(scenario)
    assert world.sim.requests() == 5


def test_a_file_that_another_process_holds_does_not_stop_the_loop(tmp_path):
    path = tmp_path / "answers.db"
    cache = SQLiteCache(path)
    asyncio.run(cache.put("k", WHOLE))
    other = sqlite3.connect(path, isolation_level=None)

    async def scenario() -> None:
        other.execute("BEGIN IMMEDIATE")
        putting = asyncio.ensure_future(cache.put("new", WHOLE))
        await asyncio.sleep(0.05)
        assert not putting.done()
        other.execute("COMMIT")
        await putting
        assert await cache.get("new") is not None

    asyncio.run(asyncio.wait_for(scenario(), 5.0))
    other.close()
    cache.close()


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        SQLiteCache(tmp_path / "nowhere" / "answers.db")


def test_an_error_that_is_told_again_does_not_grow(world):
    world.sim.key("k1").then(400, times=1)

    def depth(error: Any) -> int:
        return len(traceback.extract_tb(error.__traceback__))

    async def scenario() -> None:
        few, many = [
            await world.lm.chat_batch(
                world.model, ["a"] * rows, dedupe=True, key_id="k1", max_parallel_requests=1
            )
            for rows in (3, 300)
            if world.sim.key("k1").heal().then(400)
        ]
        assert few.failed == 3
        assert many.failed == 300
        assert depth(many.errors[-1]) <= depth(few.errors[-1])

    world.run(scenario)


def test_what_is_held_for_equal_rows_has_no_raw_answer_when_none_is_wanted(world, monkeypatch):
    made: list[Flights] = []
    monkeypatch.setattr(recall, "Flights", lambda **said: made.append(Flights(**said)) or made[-1])

    async def scenario() -> None:
        await world.lm.chat_batch(world.model, ["a", "a"], dedupe=True, keep_raw=False)
        assert [each.raw for each in made[0]._kept.values()] == [{}]

    world.run(scenario)
