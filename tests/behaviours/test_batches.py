"""B01, B02: many rows through one window."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llm_rotate import BatchError, ChatResponse, ConfigurationError
from llm_rotate.testing.script import Limit, Plan, Visit
from tests.helpers.endless import growth

from .doors import sockets
from .test_limits import limited
from .world import World

PROMPTS = [f"row {number}" for number in range(50)]


def said(result: Any) -> str:
    assert isinstance(result, ChatResponse)
    return result.content


def expected(prompt: str) -> str:
    return f"You said: {prompt}"


def slow(world: World, seconds: float) -> None:
    for key in ("k1", "k2", "k3"):
        world.sim.key(key).slow(seconds)


@pytest.fixture
def world() -> World:
    return World()


def count_to(rows: int) -> Iterator[str]:
    return (f"row {number}" for number in range(rows))


async def trickled(count: int) -> AsyncIterator[str]:
    for number in range(count):
        await asyncio.sleep(0.01)
        yield f"row {number}"


def test_B01_results_stand_in_the_order_of_the_inputs(world):
    world.sim.key("k1").slow(0.5)  # every third row is overtaken

    async def scenario() -> None:
        order: list[int] = []
        batch = await world.lm.chat_batch(
            world.model, PROMPTS, on_result=lambda index, *_: order.append(index)
        )
        assert [said(result) for result in batch] == [expected(each) for each in PROMPTS]
        assert batch.errors == [None] * len(PROMPTS)
        assert sorted(order) == list(range(50))
        assert order != sorted(order)

    world.run(scenario)


def test_B01_a_failed_row_has_its_error_beside_it(world):
    rows: list[Any] = ["row 0", " ", [], 17, "row 4"]

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, rows)
        assert [result is None for result in batch] == [False, False, True, True, False]
        assert [type(error) for error in batch.errors[2:4]] == [ConfigurationError] * 2
        assert batch.failed == 2
        assert batch.completed == 5

    world.run(scenario)


def test_B01_progress_counts_up_by_one_to_the_total(world):
    async def scenario(inputs: Any, total: int | None) -> None:
        seen: list[tuple[int, int | None]] = []
        await world.lm.chat_batch(world.model, inputs, on_progress=lambda *told: seen.append(told))
        assert seen == [(number, total) for number in range(1, 51)]

    world.run(lambda: scenario(PROMPTS, 50))
    world.run(lambda: scenario(iter(PROMPTS), None))
    world.run(lambda: scenario(trickled(50), None))


def test_B01_on_result_hears_the_right_index_and_may_be_async(world):
    heard: dict[int, str] = {}

    async def on_result(index: int, result: Any, error: Exception | None) -> None:
        await asyncio.sleep(0.001)
        assert error is None
        heard[index] = said(result)

    async def scenario() -> None:
        await world.lm.chat_batch(world.model, PROMPTS, on_result=on_result)
        assert heard == {number: expected(each) for number, each in enumerate(PROMPTS)}

    world.run(scenario)


def test_B01_a_callback_that_raises_loses_nothing(world, caplog):
    def broken(*_: Any) -> None:
        raise RuntimeError("of the callback")

    async def scenario() -> None:
        batch = await world.lm.chat_batch(
            world.model, PROMPTS, on_result=broken, on_progress=broken
        )
        assert [said(result) for result in batch] == [expected(each) for each in PROMPTS]

    world.run(scenario)
    assert "of the callback" in caplog.text


def test_B01_what_on_result_does_not_take_is_in_the_batch_when_nothing_is_collected(world):
    def picky(index: int, *_: Any) -> None:
        if index in (3, 30):
            raise OSError("disk full")

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, PROMPTS, on_result=picky, collect=False)
        assert batch.results == []
        assert {index: said(row) for index, row in batch.untaken.items()} == {
            3: "You said: row 3",
            30: "You said: row 30",
        }
        assert batch.usage.total_tokens > 0

    world.run(scenario)


def test_B01_a_full_disk_stops_a_batch_that_keeps_nothing(world, caplog):
    def broken(*_: Any) -> None:
        raise OSError("disk full")

    async def scenario() -> None:
        endless = (f"row {number}" for number in range(10**9))
        with pytest.raises(BatchError, match="collect=False") as raised:
            await world.lm.chat_batch(world.model, endless, on_result=broken, collect=False)
        untaken = raised.value.batch.untaken
        assert set(untaken) == set(range(len(untaken)))
        assert len(untaken) == world.sim.requests() < 200  # whatever was paid for is there

    world.run(scenario)
    assert caplog.text.count("Traceback") == 1


def test_B01_inputs_that_raise_lose_nothing(world):
    def broken() -> Iterator[str]:
        yield from PROMPTS[:20]
        raise KeyError("prompt")

    async def scenario() -> None:
        with pytest.raises(BatchError, match="KeyError after 20 rows") as raised:
            await world.lm.chat_batch(world.model, broken(), max_parallel_requests=8)
        assert [said(result) for result in raised.value.batch] == [
            expected(each) for each in PROMPTS[:20]
        ]
        assert isinstance(raised.value.__cause__, KeyError)

    world.run(scenario)


def test_the_first_error_is_raised_when_asked_and_the_rest_is_cancelled(world):
    world.sim.key("k1").slow(60)

    async def scenario() -> None:
        rows: list[Any] = ["row 0", "row 1", [], *PROMPTS]
        with pytest.raises(ConfigurationError, match="messages is empty"):
            await world.lm.chat_batch(world.model, rows, return_exceptions=False)

    world.run(scenario)
    assert world.sim.requests() < len(PROMPTS)


@pytest.mark.parametrize("width", [1, 8, 50])
def test_B02_the_window_is_full_whenever_work_is_left_and_never_fuller(world, width):
    slow(world, 1.0)
    taken = 0

    def rows() -> Iterator[str]:
        nonlocal taken
        for number in range(200):
            taken += 1
            yield f"row {number}"

    async def scenario() -> None:
        began = world.clock.now()
        most_ahead = 0
        done = 0
        async for _ in world.lm.as_completed(world.model, rows(), max_parallel_requests=width):
            done += 1
            most_ahead = max(most_ahead, taken - done)
        assert done == 200
        assert world.clock.now() - began == pytest.approx(200 / width, abs=0.01)
        assert most_ahead <= 2 * width

    world.run(scenario)


def test_B02_who_is_slow_to_take_results_holds_the_window_up(world):
    taken = 0

    def rows() -> Iterator[str]:
        nonlocal taken
        for number in range(10**9):
            taken += 1
            yield f"row {number}"

    async def scenario() -> None:
        done = 0
        stream = world.lm.as_completed(world.model, rows(), max_parallel_requests=8)
        async for _ in stream:
            await asyncio.sleep(1.0)
            done += 1
            assert taken - done <= 2 * 8
            if done == 50:
                break
        await stream.aclose()

    world.run(scenario)


def test_as_completed_gives_a_failed_rows_exception(world):
    async def scenario() -> None:
        rows: list[Any] = ["row 0", [], "row 2"]
        found = dict([each async for each in world.lm.as_completed(world.model, rows)])
        assert said(found[0]) == "You said: row 0"
        assert isinstance(found[1], ConfigurationError)
        assert sorted(found) == [0, 1, 2]

    world.run(scenario)


def test_as_completed_raises_what_its_inputs_raise_after_the_rows_before(world):
    def broken() -> Iterator[str]:
        yield from PROMPTS[:20]
        raise KeyError("prompt")

    async def scenario() -> None:
        seen = []

        async def look() -> None:
            async for index, _ in world.lm.as_completed(world.model, broken()):
                seen.append(index)

        with pytest.raises(KeyError, match="prompt"):
            await look()
        assert sorted(seen) == list(range(20))

    world.run(scenario)


def test_a_batch_waits_for_keys_as_long_as_it_takes():
    world = World(["k1"])
    world.sim.key("k1").rate_limit(after=3, retry_after=3000)

    async def scenario() -> None:
        began = world.clock.now()
        batch = await world.lm.chat_batch(world.model, PROMPTS, max_parallel_requests=1)
        assert batch.failed == 0
        assert world.clock.now() - began == pytest.approx(3000, abs=2)
        impatient = world.sim.key("k1").rate_limit(retry_after=3000)
        batch = await world.lm.chat_batch(world.model, PROMPTS[:2], max_wait_seconds=5)
        assert batch.failed == 2
        impatient.heal()

    world.run(scenario)


def test_usage_adds_up(world):
    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, PROMPTS)
        total = (await world.lm.usage_summary())["total"]
        assert batch.usage.total_tokens == total["tokens"] > 0
        assert batch.usage.prompt_tokens == sum(r.usage.prompt_tokens for r in batch)

    world.run(scenario)


# -- models


def test_rows_are_spread_over_the_models_by_weight(world):
    async def scenario() -> None:
        batch = await world.lm.chat_batch({"m-a": 3, "m-b": 1, "m-c": 1}, PROMPTS)
        counts = [sum(r.model == name for r in batch) for name in ("m-a", "m-b", "m-c")]
        assert counts == [30, 10, 10]
        batch = await world.lm.chat_batch(["m-a", "m-b"], PROMPTS)
        assert sum(r.model == "m-a" for r in batch) == 25

    world.run(scenario)


def test_a_row_goes_on_with_another_model_after_its_providers_fault():
    world = World({"k1": "openai", "k2": "anthropic"})
    world.sim.provider("openai").outage(503)

    async def scenario() -> None:
        models = {"openai/gpt-4o-mini": 1, "anthropic/claude-haiku-4-5": 1}
        batch = await world.lm.chat_batch(models, PROMPTS, max_retries=1)
        assert batch.failed == 0
        assert {result.provider for result in batch} == {"anthropic"}

    world.run(scenario)


# -- what is done to answers


def test_raw_answers_are_dropped_when_asked(world):
    async def scenario() -> None:
        kept = await world.lm.chat_batch(world.model, ["a"])
        assert kept[0].raw["choices"]
        dropped = await world.lm.chat_batch(world.model, ["a"], keep_raw=False)
        assert dropped[0].raw == {}
        assert dropped[0].content

    world.run(scenario)


def test_postprocess_makes_the_result(world):
    async def shout(answer: ChatResponse) -> str:
        return answer.content.upper()

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, PROMPTS, postprocess=shout)
        assert batch[7] == "YOU SAID: ROW 7"
        assert batch.usage.total_tokens > 0
        batch = await world.lm.chat_batch(world.model, PROMPTS, postprocess=lambda a: a.content)
        assert batch[7] == "You said: row 7"

    world.run(scenario)


def test_an_answer_whose_postprocess_raises_is_not_lost(world):
    def broken(answer: ChatResponse) -> None:
        raise ValueError(answer.content)

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, PROMPTS, postprocess=broken)
        assert batch.failed == 50
        assert said(batch.errors[7].answer) == "You said: row 7"
        assert batch.usage.total_tokens > 0

    world.run(scenario)


# -- mistakes


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"inputs": "one prompt"}, "inputs must be a list"),
        ({"inputs": {"role": "user"}}, "inputs must be a list"),
        ({"inputs": None}, "inputs must be a list"),
        ({"max_parallel_requests": 0}, "max_parallel_requests"),
        ({"max_parallel_requests": True}, "max_parallel_requests"),
        ({"model": []}, "model is empty"),
        ({"model": {"m": 0}}, "weight of 'm'"),
        ({"model": {"m": float("inf")}}, "weight of 'm'"),
        ({"model": [3]}, "model must be a name"),
        ({"model": None}, "model must be a name"),
        ({"timeout": "soon"}, "timeout must be a number"),
        ({"timeouts": {"red": 1.0}}, "timeouts has no 'red'"),
        ({"max_wait_seconds": -1}, "max_wait_seconds"),
        ({"max_retries": -1}, "max_retries"),
        ({"affinity": 1.5}, "affinity"),
        ({"extra_headers": {"authorization": "x"}}, "the pool itself writes"),
        ({"model": "m", "provider": "nobody"}, "nobody"),
        ({"max_retrys": 3}, "max_retries"),
        ({"max_parallel_request": 3}, "max_parallel_requests"),
        ({"collect": False}, "on_result"),
    ],
)
def test_what_is_wrong_for_all_rows_is_said_before_the_first(world, wrong, words):
    asked = {"model": world.model, "inputs": PROMPTS, **wrong}

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match=words):
            await world.lm.chat_batch(asked.pop("model"), asked.pop("inputs"), **asked)

    world.run(scenario)
    assert world.sim.requests() == 0


@pytest.mark.parametrize(
    ("face", "word"),
    [
        ("as_completed", "on_result"),
        ("as_completed", "collect"),
        ("embed_batch", "dedupe"),
        ("embed_as_completed", "on_progress"),
        ("transcribe_batch", "keep_raw"),
        ("transcribe_as_completed", "return_exceptions"),
    ],
)
def test_what_is_another_batchs_does_not_go_into_the_requests(world, face, word):
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match=f"{word}= is not for this call"):
            await getattr(world.lm, face)(world.model, PROMPTS, **{word: True})

    world.run(scenario)
    assert world.sim.requests() == 0


# -- ends


def test_a_cancelled_batch_leaves_nothing_behind(world):
    slow(world, 60.0)

    async def scenario() -> None:
        before = len(asyncio.all_tasks())
        batch = asyncio.ensure_future(world.lm.chat_batch(world.model, PROMPTS))
        await asyncio.sleep(1)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        assert len(asyncio.all_tasks()) == before

    world.run(scenario)


def test_a_loop_that_is_left_early_leaves_nothing_behind(world):
    async def scenario() -> None:
        before = len(asyncio.all_tasks())
        async for index, _ in world.lm.as_completed(world.model, PROMPTS):
            if index == 5:
                break
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) == before

    world.run(scenario)


def test_the_sync_twins_give_the_same():
    with sockets() as world:
        batch = world.lm.chat_batch_sync(world.model, PROMPTS, max_parallel_requests=8)
        assert [said(result) for result in batch] == [expected(each) for each in PROMPTS]
        found = dict(world.lm.as_completed_sync(world.model, iter(PROMPTS)))
        assert {n: said(r) for n, r in found.items()} == {
            n: expected(each) for n, each in enumerate(PROMPTS)
        }
        for index, _ in world.lm.as_completed_sync(world.model, PROMPTS):
            if index == 5:
                break
        assert not world.lm._pool.judge.live


def test_who_exits_amid_a_batch_without_a_loop_leaves_it():
    def leave(answer: ChatResponse) -> None:
        if answer.content.endswith("row 7"):
            sys.exit(3)

    with sockets() as world:
        with pytest.raises(SystemExit, match="3"):
            world.lm.chat_batch_sync(world.model, PROMPTS, postprocess=leave)
        with pytest.raises(SystemExit, match="3"):
            list(world.lm.as_completed_sync(world.model, PROMPTS, postprocess=leave))
        assert not world.lm._pool.judge.live
        world.lm.close_sync()


# -- limits and load


class Quiet(Limit):
    """A limit that no answer speaks of."""

    def edit(self, plan: Plan, visit: Visit) -> None:
        super().edit(plan, visit)
        plan.room = None


@pytest.mark.parametrize("limit", [Limit, Quiet], ids=["told in headers", "told by nobody"])
def test_four_keys_at_their_limits_are_used_to_the_full_and_refuse_nothing(limit):
    keys = ("k1", "k2", "k3", "k4")
    world = limited({key: {"limits": {"rpm": 600}} for key in keys})
    for key in keys:
        world.sim.key(key).slow(0.3)._refuse(limit(600, 60.0))
    ideal = 10_000 / (4 * 600) * 60.0

    async def scenario() -> None:
        began = world.clock.now()
        done = 0
        async for _, result in world.lm.as_completed(world.model, count_to(10_000)):
            assert isinstance(result, ChatResponse)
            done += 1
        assert done == 10_000
        assert world.clock.now() - began <= 1.02 * ideal

    world.run(scenario)
    assert sum(seen.status == 429 for seen in world.sim.log) < 100


class Loaded:
    """Seconds by the requests that the server has under way."""

    def __init__(self, world: World, most: int) -> None:
        self.transport = world.transport
        self.most = most

    def edit(self, plan: Plan, visit: Visit) -> None:
        plan.first_byte = 0.5 * (1 + (self.transport.open / self.most) ** 2)


def seconds_for(rows: int, width: Any) -> float:
    world = World()
    for key in ("k1", "k2", "k3"):
        world.sim.key(key)._change(Loaded(world, 24))

    async def scenario() -> float:
        began = world.clock.now()
        await world.lm.chat_batch(world.model, count_to(rows), max_parallel_requests=width)
        return world.clock.now() - began

    return float(world.run(scenario))


@pytest.mark.parametrize("rows", [1_000, 3_000])
def test_auto_is_within_a_tenth_of_the_best_fixed_window_where_latency_grows_with_load(rows):
    best = min(seconds_for(rows, width) for width in (20, 24, 28))
    assert seconds_for(rows, "auto") <= 1.10 * best


def test_B02_memory_does_not_grow_with_the_rows():
    assert growth(20_000) < 8.0  # ten thousand answers that are kept take over 20


@pytest.mark.parametrize("kind", [list, iter])
def test_a_row_of_a_wrong_shape_fails_alone(world, kind):
    async def scenario() -> Any:
        return await world.lm.chat_batch(world.model, kind(["p0", "", None, 5, [], "p5"]))

    batch = world.run(scenario)
    wrong = [n for n, error in enumerate(batch.errors) if isinstance(error, ConfigurationError)]
    assert wrong == [1, 2, 3, 4]
    assert batch.failed == 4
    assert world.sim.requests() == 2


def test_one_empty_text_is_refused(world):
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="messages is empty"):
            await world.lm.chat(world.model, "")

    world.run(scenario)
    assert world.sim.requests() == 0


def test_a_batch_is_shown_in_few_words(world):
    async def scenario() -> Any:
        return await world.lm.chat_batch(world.model, [*PROMPTS, ""])

    shown = repr(world.run(scenario))
    assert f"{len(PROMPTS) + 1} rows done, 1 of them failed" in shown
    assert len(shown) < 100
