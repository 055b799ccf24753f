"""Limits of all keys together; and what headers speak of when the configuration says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm_rotate import LMRotateConfig, NoAvailableKeyError
from llm_rotate.config.entries import LimitsConfig, QuotaGroupConfig
from llm_rotate.core import estimate
from llm_rotate.core.learned import Reading, of_scope
from llm_rotate.core.meter import REQUESTS
from llm_rotate.engine import ledger, quotas

from .world import HELLO, World


def pool(limits: dict[str, Any], keys: tuple[str, ...] = ("a", "b"), **fields: Any) -> World:
    def edit(config: LMRotateConfig) -> LMRotateConfig:
        told = config.model_dump(exclude_unset=True)
        for entry, key in zip(told["keys"], config.keys, strict=True):
            entry["secret_ref"] = key.secret_ref
        return LMRotateConfig.model_validate({**told, "limits": limits, **fields})

    return World(keys, edit=edit)


def test_two_keys_share_the_pools_rpm_and_serve_alike() -> None:
    world = pool({"rpm": 60})
    results: list[Any] = world.run(lambda: world.gather(150, max_wait_seconds=600))
    assert not [each for each in results if isinstance(each, Exception)]
    times = sorted(seen.at for seen in world.sim.log)
    assert max(sum(at <= then < at + 60.0 for then in times) for at in times) <= 60
    assert times[-1] - times[0] <= 151.0
    assert abs(world.served()["a"] - world.served()["b"]) <= 2


def test_at_most_so_many_of_all_keys_are_under_way() -> None:
    world = pool({"max_concurrency": 3})
    most = 0

    async def scenario() -> None:
        nonlocal most
        for key in ("a", "b"):
            world.sim.key(key).slow(1.0)
        calls = asyncio.ensure_future(world.gather(12, max_wait_seconds=60))
        while not calls.done():
            await asyncio.sleep(0.25)
            most = max(most, len(world.lm._pool.judge.live))
        assert not [each for each in await calls if isinstance(each, Exception)]

    world.run(scenario)
    assert most == 3
    assert world.sim.log[-1].at - world.sim.log[0].at == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("whose", ["pool", "group"])
def test_a_day_of_several_providers_keys_is_one(whose: str) -> None:
    """The providers' own days end eight hours apart: each end must not begin the limit anew."""

    def edit(config: LMRotateConfig) -> LMRotateConfig:
        config.providers["openai"].day_ends = "UTC"
        config.providers["gemini"].day_ends = "America/Los_Angeles"
        if whose == "pool":
            config.limits = LimitsConfig(rpd=10, request_burst=10)
        else:
            config.quota_groups["g"] = QuotaGroupConfig(rpd=10, request_burst=10)
            for key in config.keys:
                key.quota_group = "g"
        return config

    world = World({"a": "openai", "b": "gemini"}, edit=edit)

    async def scenario() -> None:
        for _ in range(96):  # two days
            for provider in ("gemini", "openai"):
                await world.gather(6, model="m", provider=provider, max_wait_seconds=0)
            await asyncio.sleep(1800)

    world.run(scenario)
    times = sorted(seen.at for seen in world.sim.log)
    assert len(times) == 20
    assert times[10] - times[9] == pytest.approx(86400.0, abs=1800)


def test_limits_of_models_that_callers_name_do_not_add_up(monkeypatch) -> None:
    monkeypatch.setattr(quotas, "MOST_WATCHED", 20)
    world = World(("a",))
    world.sim.key("a").headers({"x-ratelimit-remaining-requests": "50"})

    async def scenario() -> None:
        for number in range(100):
            await world.chat(model=f"ft:gpt-{number}", provider="openai")
        kept = world.lm._pool.assembly.quotas
        assert len(kept.watched) <= 20
        assert len(kept._specs) <= 21
        world.sim.key("a").headers({"x-ratelimit-remaining-requests": "0"})
        await world.chat(model="ft:gpt-0", provider="openai")  # forgotten, and told again
        with pytest.raises(NoAvailableKeyError):
            await world.chat(model="ft:gpt-0", provider="openai", max_wait_seconds=0)

    world.run(scenario)


def test_counts_and_estimates_of_models_that_callers_name_do_not_add_up(monkeypatch) -> None:
    monkeypatch.setattr(ledger, "MOST_ROWS", 20)
    monkeypatch.setattr(estimate, "MOST_MODELS", 20)
    world = pool({"tpm": 10**6}, ("a",))

    async def scenario() -> None:
        for number in range(100):
            await world.chat(model=f"ft:gpt-{number}", provider="openai")
        usage = await world.lm.usage_summary()
        assert len(usage["by_model"]) == 21
        assert usage["by_model"]["ft:gpt-3"]["successes"] == 1
        assert usage["by_model"]["(others)"]["successes"] == 80
        assert usage["by_key"]["a"]["successes"] == usage["total"]["successes"] == 100
        assert len(world.lm._pool.judge.books.estimator._models) <= 20

    world.run(scenario)


def test_a_refused_key_of_the_pool_does_not_rest_the_others() -> None:
    world = pool({"rpm": 600})
    world.sim.key("a").rate_limit(retry_after=30)

    async def scenario() -> None:
        for _ in range(10):
            await world.chat()

    world.run(scenario)
    assert world.served() == {"a": 1, "b": 10}


def test_health_shows_the_pools_limits_at_every_key() -> None:
    world = pool({"rpm": 60})

    async def scenario() -> Any:
        await world.chat()
        return await world.lm.health()

    keys = world.run(scenario).providers["openai"].keys
    assert keys["a"].limits["pool"]["rpm"].taken == keys["b"].limits["pool"]["rpm"].taken == 1


def test_what_an_answer_takes_without_a_stated_length_can_be_said() -> None:
    defaults = {"output_tokens": 40}
    world = pool({"tpm": 100, "token_burst": 100}, ("a",), defaults=defaults)
    results: list[Any] = world.run(lambda: world.gather(2, max_wait_seconds=0))
    assert not [each for each in results if isinstance(each, Exception)]


READING = Reading(REQUESTS, remaining=3.0, limit=100.0, reset_seconds=3_000.0)


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("auto", READING),
        ("minute", READING._replace(reset_seconds=60.0)),
        ("day", READING._replace(limit=None, reset_seconds=7_200.0)),
    ],
)
def test_headers_speak_of_what_they_are_said_to_speak_of(scope: str, told: Reading) -> None:
    assert list(of_scope([READING], scope, 60.0, 7_200.0)) == [told]


def test_headers_of_a_day_close_a_key_until_the_day_ends() -> None:
    base = {"base_url": "http://simulator.invalid/openai/v1"}
    world = pool(
        {},
        ("a", "b"),
        providers={"openai": {**base, "header_bucket_scope": "day"}},
    )
    world.sim.key("a").headers({"x-ratelimit-remaining-requests": "0"})

    async def scenario() -> None:
        for _ in range(4):
            await world.lm.chat("gpt-4o-mini", HELLO)
        await asyncio.sleep(600.0)
        for _ in range(4):
            await world.lm.chat("gpt-4o-mini", HELLO)

    world.run(scenario)
    assert world.served() == {"a": 1, "b": 7}
