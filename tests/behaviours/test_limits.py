"""Limits: used to the full, never exceeded, in order, and learned from answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_rotate import ChatResponse, LMRotateConfig, NoAvailableKeyError, RequestTooLargeError
from llm_rotate.stores.memory import MemoryStore
from llm_rotate.testing import Scripted
from llm_rotate.testing.clock import EPOCH

from .dialects import TELLING, all_answered, asked, each_dialect, health_of, moments
from .world import World

WINDOW = 60.0
_SECOND = timedelta(seconds=1)


def limited(
    keys: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Any] | None = None,
    provider: str = "openai",
    providers: Mapping[str, Any] | None = None,
    **more: Any,
) -> World:
    """A pool whose keys have these fields (limits, model_limits, quota_group)."""

    def edit(config: LMRotateConfig) -> LMRotateConfig:
        told = config.model_dump(exclude_unset=True)
        for entry, key in zip(told["keys"], config.keys, strict=True):
            entry.update(keys[key.key_id], secret_ref=key.secret_ref)
        for name, fields in (providers or {}).items():
            told["providers"].setdefault(name, {}).update(fields)
        return LMRotateConfig.model_validate({**told, "quota_groups": groups or {}})

    return World(list(keys), provider=provider, edit=edit, **more)


def words(count: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": " ".join(["word"] * count)}]


def most_in_a_minute(times: Sequence[float]) -> int:
    """Of requests, in any 60 s."""
    return max(sum(start <= at < start + WINDOW for at in times) for start in times)


# -- L01


@each_dialect
def test_L01_two_hundred_calls_at_60_rpm_are_spread_over_the_minutes(provider: str) -> None:
    world = limited({"a": {"limits": {"rpm": 60}}}, provider=provider)
    results: list[Any] = world.run(lambda: world.gather(200, max_wait_seconds=600))
    assert all_answered(results)
    times = moments(world, "a")
    assert most_in_a_minute(times) <= 60
    steady = [at for at in times if 60 <= at < 180]
    assert len(steady) >= 2 * 58
    assert asked(world) == ["a"] * 200


@each_dialect
def test_L01_at_600_rpm_at_least_588_go_in_a_minute(provider: str) -> None:
    world = limited({"a": {"limits": {"rpm": 600}}}, provider=provider)
    results: list[Any] = world.run(lambda: world.gather(1250, max_wait_seconds=600))
    assert all_answered(results)
    times = moments(world, "a")
    assert most_in_a_minute(times) <= 600
    assert sum(60 <= at < 120 for at in times) >= 588


@each_dialect
def test_L01_a_key_without_room_is_passed_over_not_asked(provider: str) -> None:
    world = limited({"a": {"limits": {"rpm": 3}}, "b": {}}, provider=provider)
    world.sim.key("a").rpm(3)

    async def scenario() -> None:
        assert all_answered(await world.gather(20))

    world.run(scenario)
    assert world.served() == {"a": 3, "b": 17}


@each_dialect
def test_L01_low_limits_are_served(provider: str) -> None:
    world = limited({"a": {"limits": {"rpm": 2}}}, provider=provider)
    results: list[Any] = world.run(lambda: world.gather(7, max_wait_seconds=600))
    assert all_answered(results)
    assert most_in_a_minute(moments(world, "a")) <= 2
    assert max(moments(world, "a")) <= 190


def test_L01_the_next_stage_serves_when_every_key_of_one_is_full() -> None:
    world = limited({"a": {"limits": {"rpm": 3}}, "b": {"provider": "anthropic"}})

    async def scenario() -> None:
        config = world.lm.config
        chains = {"openai": [{"provider": "anthropic", "model": "claude-haiku-4-5"}]}
        told = config.model_dump(exclude_unset=True)
        for entry, key in zip(told["keys"], config.keys, strict=True):
            entry["secret_ref"] = key.secret_ref
        told["providers"]["anthropic"] = {
            "base_url": "http://simulator.invalid/anthropic",
            "dialect": "anthropic",
        }
        world.lm.reload_config(LMRotateConfig.model_validate({**told, "fallback_chains": chains}))
        assert all_answered(await world.gather(8))

    world.run(scenario)
    assert world.served() == {"a": 3, "b": 5}
    assert {seen.at for seen in world.sim.log} == {1000.0}


@each_dialect
def test_L01_a_call_that_may_not_wait_is_told_which_limit_and_when(provider: str) -> None:
    world = limited({"a": {"limits": {"rpm": 4}}}, provider=provider)

    async def scenario() -> None:
        assert all_answered(await world.gather(3))
        with pytest.raises(NoAvailableKeyError) as caught:
            await world.chat(max_wait_seconds=0)
        assert "full 15 s more: rpm 3 of 4" in caught.value.reasons["a"]
        back = caught.value.earliest_retry_at
        assert back is not None
        assert (back - datetime.fromtimestamp(EPOCH, UTC)).total_seconds() == pytest.approx(15, 0.1)
        assert world.clock.now() == 1000.0

    world.run(scenario)
    assert world.sim.requests() == 3


@each_dialect
def test_L01_a_slot_is_freed_when_an_answer_is_read(provider: str) -> None:
    world = limited({"a": {"limits": {"max_concurrency": 2}}}, provider=provider)
    world.sim.key("a").slow(3.0)
    results: list[Any] = world.run(lambda: world.gather(5))
    assert all_answered(results)
    assert moments(world, "a") == [0.0, 0.0, 3.0, 3.0, 6.0]


@each_dialect
def test_L01_a_stream_holds_its_slot_until_it_is_over(provider: str) -> None:
    world = limited({"a": {"limits": {"max_concurrency": 1}}}, provider=provider)

    async def scenario() -> None:
        stream = world.lm.chat_stream(world.model, words(3))
        async with stream:
            async for _ in stream:
                break
            with pytest.raises(NoAvailableKeyError) as caught:
                await world.chat(max_wait_seconds=0)
            assert "max_concurrency 1 of 1" in caught.value.reasons["a"]
        assert (await world.chat(max_wait_seconds=0)).key_id == "a"

    world.run(scenario)


# -- L02


def test_L01_a_slot_is_kept_in_its_own_loop_though_another_had_calls_before() -> None:
    world = limited({"a": {"limits": {"max_concurrency": 1}}})

    async def short() -> None:
        await world.chat()

    async def long() -> None:
        async with world.lm.acquire(provider="openai"):
            await asyncio.sleep(100)
            with pytest.raises(NoAvailableKeyError):
                await world.chat(max_wait_seconds=0)

    world.run(short)
    world.run(long)


@each_dialect
def test_L02_tokens_are_reserved_before_and_settled_after(provider: str) -> None:
    world = limited({"a": {"limits": {"tpm": 10_000}}}, provider=provider)
    world.sim.key("a").slow(1.0)

    async def scenario() -> None:
        call = asyncio.ensure_future(world.chat(max_tokens=2000))
        await asyncio.sleep(0.5)
        during = (await health_of(world, "a")).limits["key"]["tpm"]
        answer = await call
        after = (await health_of(world, "a")).limits["key"]["tpm"]
        assert 2000 < during.taken < 2050
        assert after.taken == answer.usage.total_tokens
        assert (after.limit, after.is_learned) == (10_000, False)

    world.run(scenario)


@each_dialect
def test_L02_a_limit_on_tokens_puts_none_on_requests(provider: str) -> None:
    world = limited({"a": {"limits": {"tpm": 10_000_000}}}, provider=provider)
    assert all_answered(world.run(lambda: world.gather(300, max_tokens=5)))
    assert {seen.at for seen in world.sim.log} == {1000.0}


@each_dialect
def test_L02_a_request_larger_than_a_limit_goes_to_a_larger_key(provider: str) -> None:
    world = limited(
        {"a": {"limits": {"tpm": 500}}, "b": {"limits": {"tpm": 5000}}}, provider=provider
    )

    async def scenario() -> None:
        for _ in range(3):
            assert (await world.chat(max_tokens=900)).key_id == "b"

    world.run(scenario)


@each_dialect
def test_L02_a_request_larger_than_every_limit_fails_at_once_and_says_so(provider: str) -> None:
    world = limited(
        {"a": {"limits": {"tpm": 500}}, "b": {"limits": {"output_tpm": 600}}}, provider=provider
    )

    async def scenario() -> None:
        await world.lm.keys.rest("b", 5)
        with pytest.raises(RequestTooLargeError) as caught:
            await world.chat(max_tokens=900)
        assert "tpm" in str(caught.value)
        assert caught.value.outcome == "too_large_for_key"
        assert caught.value.attempts == ()
        assert world.clock.now() == 1000.0

    world.run(scenario)
    assert world.sim.requests() == 0


@each_dialect
def test_L02_a_fifth_of_the_limit_is_served_while_small_ones_come(provider: str) -> None:
    world = limited({"a": {"limits": {"tpm": 1000}}}, provider=provider)

    async def scenario() -> list[Any]:
        calls = [world.chat(max_tokens=200, max_wait_seconds=300) for _ in range(8)]
        return list(await asyncio.gather(*calls))

    assert all_answered(world.run(scenario))


@each_dialect
def test_L02_what_was_not_sent_is_given_back_and_a_refusal_keeps_its_request(provider: str) -> None:
    world = limited({"a": {"limits": {"tpm": 1000, "rpm": 10}}}, provider=provider)
    world.sim.key("a").then(400)

    async def scenario() -> None:
        with pytest.raises(Exception, match="400"):
            await world.chat(max_tokens=500)
        rooms = (await health_of(world, "a")).limits["key"]
        assert (rooms["tpm"].taken, rooms["rpm"].taken) == (0, 1)

    world.run(scenario)


@each_dialect
def test_L02_estimates_follow_the_usage_that_comes_back(provider: str) -> None:
    """A simulated token is a word: a quarter more than four bytes are."""
    world = limited({"a": {"limits": {"tpm": 1_000_000}}}, provider=provider)

    async def scenario() -> None:
        first = _reserved(world)
        for _ in range(60):
            await world.lm.chat(world.model, words(400), max_tokens=10)
        assert _reserved(world) < 0.9 * first

    def _reserved(world: World) -> int:
        judge = world.lm._pool.judge
        units = judge.books.estimator.units(world.model, words(400))
        return judge.books.estimator.estimate(world.model, units, 10).input

    world.run(scenario)


# -- L03

ABSURD = ["0s", "-1", "", "soon", "1e999", "nan", "١", "9" * 70, "0x10", "-5ms", "1;w=60"]


@each_dialect
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(ABSURD), min_size=3, max_size=3), st.sampled_from([200, 429]))
def test_L03_absurd_headers_never_raise(provider: str, values: list[str], status: int) -> None:
    world = limited({"a": {"limits": {"rpm": 1000}}, "b": {}}, provider=provider)
    stem = "x-ratelimit-{1}-{0}" if provider == "openai" else "anthropic-ratelimit-{0}-{1}"
    headers = {
        stem.format(what, fact): value.encode("ascii", "ignore").decode()
        for what in ("requests", "tokens")
        for fact, value in zip(("limit", "remaining", "reset"), values, strict=True)
    }
    for key in ("a", "b"):
        world.sim.key(key).then(status, headers=headers, times=2)

    async def scenario() -> None:
        for _ in range(4):
            with suppress(NoAvailableKeyError):  # a time that was stated may be long
                await world.chat(max_wait_seconds=120)
        await world.lm.health()

    world.run(scenario)


@pytest.mark.parametrize("provider", TELLING)
def test_L03_nothing_left_closes_the_key_until_the_reset(provider: str) -> None:
    world = limited({"a": {}, "b": {}}, provider=provider, strategy="priority")
    if provider == "openai":
        left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"}
    else:
        reset = datetime.fromtimestamp(EPOCH + 20, UTC).isoformat()
        left = {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": reset,
        }
    world.sim.key("a").then(200, headers=left)

    async def scenario() -> None:
        assert (await world.chat()).key_id == "a"
        assert (await world.chat()).key_id == "b"
        await asyncio.sleep(20)
        assert (await world.chat()).key_id == "a"

    world.run(scenario)


@pytest.mark.parametrize("provider", TELLING)
def test_a_limit_that_nobody_stated_is_learned_from_answers(provider: str) -> None:
    world = limited({"a": {}}, provider=provider)
    world.sim.key("a").rpm(60)

    async def scenario() -> None:
        for _ in range(3):
            await world.chat()
        room = (await health_of(world, "a")).limits[world.model]["rpm"]
        assert (room.limit, room.is_learned) == (60, True)
        assert all_answered(await world.gather(100, max_wait_seconds=300))

    world.run(scenario)
    assert world.sim.requests() == 103  # not one was refused


@each_dialect
def test_a_429_without_a_word_lowers_an_estimate_that_recovers(provider: str) -> None:
    world = limited({"a": {}}, provider=provider, defaults={"cooldown_seconds": 1})
    busy = Scripted(429, body={"error": {"type": "rate_limit_error"}})
    world.sim.key("a").then(429, body=busy.body).then(200, times=20).then(429, body=busy.body)

    async def scenario() -> None:
        for _ in range(20):
            await world.chat(max_retries=5)
        await world.chat(max_retries=5, max_wait_seconds=100)
        room = (await health_of(world, "a")).limits[world.model]["rpm"]
        assert room.is_learned
        low = room.limit
        assert 10 <= low <= 20
        await asyncio.sleep(300)
        assert (await health_of(world, "a")).limits[world.model]["rpm"].limit > low
        await asyncio.sleep(3600)
        assert "rpm" not in (await health_of(world, "a")).limits[world.model]

    world.run(scenario)


# -- L04


@each_dialect
def test_L04_waiters_go_in_the_order_in_which_they_came(provider: str) -> None:
    world = limited({"a": {"limits": {"rpm": 12}}}, provider=provider)
    done: list[int] = []

    async def call(number: int) -> None:
        await world.chat(max_wait_seconds=300)
        done.append(number)

    async def scenario() -> None:
        await asyncio.gather(*(call(number) for number in range(20)))

    world.run(scenario)
    assert done == list(range(20))


@each_dialect
def test_L04_a_large_request_is_not_starved_by_small_ones(provider: str) -> None:
    world = limited({"a": {"limits": {"tpm": 1000}}}, provider=provider)
    done: list[str] = []

    async def call(name: str, tokens: int) -> None:
        await world.chat(max_tokens=tokens, max_wait_seconds=600)
        done.append(name)

    async def scenario() -> None:
        world.sim.says(lambda _: " ".join(["word"] * 1000))
        small = [asyncio.ensure_future(call(f"early {i}", 60)) for i in range(3)]
        await asyncio.sleep(0)
        large = asyncio.ensure_future(call("large", 800))
        for _ in range(40):
            await asyncio.sleep(2)
            small.append(asyncio.ensure_future(call("late", 60)))
        await asyncio.gather(large, *small)

    world.run(scenario)
    assert done.index("large") <= 4


def test_L04_only_a_call_that_waits_asks_other_workers_to_wait_for_it(monkeypatch) -> None:
    world = limited({"a": {"limits": {"rpm": 1}}})
    asked: list[float] = []
    admit = MemoryStore.admit

    async def noting(*arguments: Any) -> Any:
        asked.append(arguments[-1])
        return await admit(*arguments)

    monkeypatch.setattr(MemoryStore, "admit", noting)

    async def scenario() -> None:
        await world.chat(max_wait_seconds=90)
        await world.chat(max_wait_seconds=90)

    world.run(scenario)
    assert asked[:2] == [0.0, 0.0]  # both looked
    assert asked[2:] == [pytest.approx(90.0 - WINDOW, abs=2.0)]


@each_dialect
def test_L04_a_cancelled_waiter_leaves_no_hole(provider: str) -> None:
    world = limited({"a": {"limits": {"rpm": 12}}}, provider=provider)

    async def scenario() -> None:
        calls = [asyncio.ensure_future(world.chat(max_wait_seconds=300)) for _ in range(12)]
        await asyncio.sleep(1)
        for number in (3, 5, 6, 11):
            calls[number].cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(each, ChatResponse) for each in results) == 8

    world.run(scenario)
    assert moments(world, "a") == pytest.approx([0, 0, 0, 5, 10, 15, 20, 25], abs=0.01)


@each_dialect
def test_L04_a_wait_that_will_be_too_long_is_refused_at_once(provider: str) -> None:
    world = limited({"a": {"limits": {"rpm": 60}}}, provider=provider)

    async def scenario() -> None:
        results = await world.gather(200, max_wait_seconds=30)
        assert world.clock.now() == pytest.approx(1030.0, abs=0.1)
        assert sum(isinstance(each, ChatResponse) for each in results) in (35, 36)

    began: list[float] = []

    async def late() -> None:
        waiting = asyncio.ensure_future(world.gather(40, max_wait_seconds=60))
        await asyncio.sleep(1)
        began.append(world.clock.now())
        with pytest.raises(NoAvailableKeyError):
            await world.chat(max_wait_seconds=20)
        assert world.clock.now() == began[0]
        await waiting

    world.run(scenario)
    world.run(late)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([10, 60, 300, 900]), st.integers(0, 20), st.booleans()),
        min_size=1,
        max_size=15,
    )
)
def test_L04_whatever_comes_goes_in_order_and_nothing_is_left(
    calls: list[tuple[int, int, bool]],
) -> None:
    """Each call: its tokens, seconds after the one before it, and whether it gives up."""
    world = limited({"a": {"limits": {"tpm": 1000, "rpm": 30}}})
    began: list[int] = []

    async def call(number: int, tokens: int) -> None:
        await world.lm.chat(
            world.model, words(1), max_tokens=tokens, user=str(number), max_wait_seconds=9999
        )

    async def scenario() -> None:
        tasks = []
        for number, (tokens, later, _) in enumerate(calls):
            await asyncio.sleep(later)
            tasks.append(asyncio.ensure_future(call(number, tokens)))
        for task, (_, _, gives_up) in zip(tasks, calls, strict=True):
            if gives_up:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [each for each in results if isinstance(each, Exception)] == []

    world.run(scenario)
    began = [int(seen.body["user"]) for seen in world.sim.log]
    assert began == sorted(began)


# -- L05


@each_dialect
def test_L05_a_group_shares_one_limit(provider: str) -> None:
    world = limited(
        {"a": {"quota_group": "g"}, "b": {"quota_group": "g"}, "c": {}},
        {"g": {"rpm": 4, "request_burst": 4}},
        provider=provider,
    )
    assert all_answered(world.run(lambda: world.gather(12)))
    served = world.served()
    assert served["a"] + served["b"] == 4
    assert served["c"] == 8


@each_dialect
def test_L05_a_group_shares_one_rest(provider: str) -> None:
    world = limited(
        {"a": {"quota_group": "g"}, "b": {"quota_group": "g"}, "c": {}},
        {"g": {}},
        provider=provider,
    )
    world.sim.key("a").rate_limit(retry_after=30)

    async def scenario() -> None:
        for _ in range(6):
            assert (await world.chat()).key_id == "c" or world.served()["a"] == 1
        assert (await health_of(world, "b")).scopes["group:g, " + world.model].state == "cooldown"
        await world.lm.keys.reset("b")
        assert (await health_of(world, "a")).scopes == {}

    world.run(scenario)
    assert world.served()["b"] == 0 or world.served()["a"] == 0 or asked(world)[0] != "a"


@each_dialect
def test_L05_a_models_limit_binds_that_model_only(provider: str) -> None:
    world = limited({"a": {"model_limits": {"m-1": {"rpm": 3}}}}, provider=provider)

    async def scenario() -> None:
        for _ in range(3):
            await world.chat(model=f"{provider}/m-1")
        with pytest.raises(NoAvailableKeyError):
            await world.chat(model=f"{provider}/m-1", max_wait_seconds=0)
        for _ in range(10):
            await world.chat(model=f"{provider}/m-2", max_wait_seconds=0)

    world.run(scenario)


# -- L06


@each_dialect
def test_L06_a_daily_quota_is_out_until_the_providers_midnight(provider: str) -> None:
    """The world begins at midnight UTC, which is 16:00 of the day before in California."""
    world = limited(
        {"a": {"limits": {"rpd": 3}}},
        provider=provider,
        providers={provider: {"day_ends": "America/Los_Angeles"}},
    )

    async def scenario() -> None:
        for _ in range(3):
            await world.chat()
        with pytest.raises(NoAvailableKeyError) as caught:
            await world.chat()
        assert caught.value.earliest_retry_at == pytest.approx(
            datetime(2026, 1, 1, 8, tzinfo=UTC), abs=_SECOND
        )
        assert "rpd 3 of 3" in caught.value.reasons["a"]
        await asyncio.sleep(8 * 3600 - 30)
        with pytest.raises(NoAvailableKeyError):
            await world.chat()
        await asyncio.sleep(31)
        for _ in range(3):
            await world.chat()
        with pytest.raises(NoAvailableKeyError):
            await world.chat()

    world.run(scenario)


@each_dialect
def test_L06_the_days_money_is_counted_by_prices(provider: str) -> None:
    world = limited(
        {"a": {"limits": {"max_cost_per_day": 0.05}}, "b": {}},
        provider=provider,
        providers={provider: {"cost_per_1k_input_tokens": 1.0, "cost_per_1k_output_tokens": 1.0}},
        strategy="priority",
    )

    async def scenario() -> None:
        assert (await world.chat(max_tokens=5)).key_id == "a"
        taken = (await health_of(world, "a")).limits["key"]["max_cost_per_day"]
        assert 0 < taken.taken <= 0.05
        while (await world.chat(max_tokens=5)).key_id == "a":
            pass
        assert (await health_of(world, "a")).limits["key"]["max_cost_per_day"].taken <= 0.05

    world.run(scenario)


def test_waits_for_room_are_told_of_only_when_they_are_long(caplog):
    world = limited({"a": {"limits": {"rpm": 3, "rpd": 12}}})

    async def scenario():
        began = world.clock.now()
        await world.lm.chat_batch(world.model, ["x"] * 12)
        assert world.clock.now() > began + 100
        assert not [each for each in caplog.records if each.levelname == "WARNING"]
        await world.lm.chat_batch(world.model, ["x"])

    world.run(scenario)
    (told,) = (each.getMessage() for each in caplog.records if each.levelname == "WARNING")
    assert "waits" in told
    assert "a full" in told
