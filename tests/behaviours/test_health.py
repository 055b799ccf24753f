"""What refusals do to keys: who is blamed, for how long, and what brings a key back."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

import llm_rotate
from llm_rotate import NoAvailableKeyError, ServerError
from llm_rotate.core.events import Event, EventKind
from llm_rotate.singleton import reset_singleton
from llm_rotate.testing import Scripted, Simulator
from llm_rotate.testing.clock import EPOCH

from .dialects import (
    REFUSED_AS,
    all_answered,
    asked,
    each_address,
    each_service,
    health_of,
    moments,
    provider_health,
)
from .world import HELLO, MODELS, World

OTHER_MODEL = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-4-5",
    "google_ai_studio": "gemini-2.5-pro",
    "google_vertex": "gemini-2.5-pro",
    "openai_responses": "gpt-5",
    "azure_openai": "gpt-4o",
    "aws_bedrock": "amazon.nova-lite-v1:0",
}
NAMED_DEFAULTS = {"cooldown_seconds": 30, "quarantine_seconds": 300}


# -- R05


@each_address
def test_R05_a_401_quarantines_at_once_and_the_call_succeeds_elsewhere(provider: str) -> None:
    world = World(["a", "b"], provider=provider)
    world.sim.key("a").bad_key()

    async def scenario() -> None:
        assert (await world.chat()).key_id == "b"
        health = await health_of(world, "a")
        status = REFUSED_AS.get(provider, 401)
        assert (health.state, health.status, health.failures) == ("quarantine", status, 1)
        assert health.reason.endswith("Is its secret right?")
        assert asked(world) == ["a", "b"]
        assert all_answered(await world.gather(10))
        assert world.sim.requests("a") == 1

    world.run(scenario)


@each_address
@pytest.mark.parametrize("most", [3, 5])
def test_R05_disabled_only_after_that_many_in_a_row_with_trials_between(
    provider: str, most: int
) -> None:
    defaults = {**NAMED_DEFAULTS, "max_consecutive_failures": most}
    world = World(["a", "b"], provider=provider, defaults=defaults)
    world.sim.key("a").bad_key()
    between = [300.0, 600.0, 1200.0, 2400.0][: most - 1]

    async def scenario() -> None:
        states = []
        for _ in range(int(sum(between)) // 10 + 400):
            before = world.sim.requests("a")
            await world.chat()
            if world.sim.requests("a") > before:
                states.append((await health_of(world, "a")).state)
            await asyncio.sleep(10)
        assert states == ["quarantine"] * (most - 1) + ["disabled"]
        health = await health_of(world, "a")
        assert (health.state, health.until, health.failures) == ("disabled", None, most)

    world.run(scenario)
    seen = moments(world, "a")
    assert len(seen) == most
    trials = [late - early for early, late in itertools.pairwise(seen)]
    assert trials == pytest.approx(between, abs=20)


@each_service
def test_R05_a_success_between_starts_the_count_anew(provider: str) -> None:
    defaults = {**NAMED_DEFAULTS, "max_consecutive_failures": 3}
    world = World(["a"], provider=provider, defaults=defaults)
    world.sim.key("a").answers([401, 401, 200, 401, 401, 200])

    async def scenario() -> None:
        for _ in range(6):
            await asyncio.gather(world.chat(max_wait_seconds=0), return_exceptions=True)
            await asyncio.sleep(700)
        assert world.sim.requests("a") == 6
        assert (await health_of(world, "a")).state == "active"

    world.run(scenario)


@each_service
@pytest.mark.parametrize("order", [(429, 429, 403), (403, 429, 429), (429, 403, 429)])
def test_R05_two_429s_and_one_403_never_disable(provider: str, order: tuple[int, ...]) -> None:
    defaults = {**NAMED_DEFAULTS, "max_consecutive_failures": 3}
    world = World(["a"], provider=provider, defaults=defaults)
    world.sim.key("a").answers(order)

    async def scenario() -> None:
        for _ in order:
            with pytest.raises(NoAvailableKeyError):
                await world.chat(max_wait_seconds=0)
            assert (await health_of(world, "a")).state != "disabled"
            await asyncio.sleep(3601)
        assert (await world.chat()).key_id == "a"
        assert world.sim.requests("a") == 4

    world.run(scenario)


@each_service
def test_R05_a_hundred_refusals_of_other_kinds_never_disable(provider: str) -> None:
    world = World(["a"], provider=provider, defaults={"max_consecutive_failures": 3})
    die = random.Random(7)
    world.sim.key("a").answers([die.choice([402, 403, 404, 429]) for _ in range(100)])

    async def scenario() -> None:
        for _ in range(100):
            with pytest.raises(NoAvailableKeyError):
                await world.chat(max_wait_seconds=0)
            await asyncio.sleep(3601)
        assert (await world.chat()).key_id == "a"

    world.run(scenario)


# -- R07


@each_address
@pytest.mark.parametrize("status", [403, 404])
def test_R07_refused_for_one_model_the_key_rests_for_that_model_only(
    provider: str, status: int
) -> None:
    world = World(["a", "b"], provider=provider, defaults=NAMED_DEFAULTS)
    model = world.model
    script = world.sim.key("a")
    script.unknown_model(model) if status == 404 else script.forbidden(model)

    async def scenario() -> None:
        assert (await world.chat()).key_id == "b"
        health = await health_of(world, "a")
        assert health.state == "active"
        assert {name: scope.state for name, scope in health.scopes.items()} == {model: "quarantine"}
        assert health.scopes[model].status == status
        others = [await world.chat(model=OTHER_MODEL[provider]) for _ in range(4)]
        assert [answer.key_id for answer in others] == ["a", "b", "a", "b"]
        assert [(await world.chat()).key_id for _ in range(4)] == ["b"] * 4
        await asyncio.sleep(300)
        script.heal()
        assert {(await world.chat()).key_id for _ in range(2)} == {"a", "b"}
        assert (await health_of(world, "a")).scopes == {}

    world.run(scenario)


# -- R08

QUOTA: dict[str, list[tuple[int, Any]]] = {
    "openai": [
        (429, {"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}),
        (429, {"error": {"message": "You exceeded your current quota, please check your plan"}}),
        (402, {"error": {"message": "Insufficient credits"}}),
        (402, None),
        (400, {"error": {"code": "billing_hard_limit_reached", "message": "reached"}}),
    ],
    "anthropic": [
        (400, {"type": "error", "error": {"type": "invalid_request_error",
               "message": "Your credit balance is too low to access the Anthropic API."}}),
        (402, {"type": "error", "error": {"type": "billing_error", "message": "pay"}}),
        (402, None),
    ],
    "google_ai_studio": [
        (403, {"error": {"message": "enable billing", "details": [{"reason": "BILLING_DISABLED"}]}}),
        (402, None),
    ],
    "aws_bedrock": [
        (400, {"__type": "com.amazon.coral#ServiceQuotaExceededException", "message": "all used"}),
        (402, None),
    ],
}  # fmt: skip
QUOTA["openai_responses"] = QUOTA["azure_openai"] = QUOTA["openai"]
QUOTA_CASES = [(provider, *row) for provider, rows in QUOTA.items() for row in rows]


@pytest.mark.parametrize(("provider", "status", "body"), QUOTA_CASES)
def test_R08_an_empty_purse_is_out_for_quarantine(provider: str, status: int, body: Any) -> None:
    world = World(["a", "b"], provider=provider, defaults=NAMED_DEFAULTS)
    world.sim.key("a").then(status, body=body, headers={"retry-after": "2"}, times=9)

    async def scenario() -> None:
        answer = await world.chat()
        assert [attempt.outcome for attempt in answer.attempts] == ["quota_exhausted", "ok"]
        health = await health_of(world, "a")
        assert (health.state, health.status, health.scopes) == ("quarantine", status, {})
        for _ in range(299):
            await asyncio.sleep(1)
            assert (await world.chat()).key_id == "b"
        await asyncio.sleep(1)
        await world.chat()
        await world.chat()

    world.run(scenario)
    assert moments(world, "a") == [0.0, 300.0]


@each_service
def test_R08_a_plain_429_is_no_empty_purse(provider: str) -> None:
    world = World(["a", "b"], provider=provider, defaults=NAMED_DEFAULTS)
    world.sim.key("a").then(429)

    async def scenario() -> None:
        answer = await world.chat()
        assert [attempt.outcome for attempt in answer.attempts] == ["rate_limited", "ok"]
        assert (await health_of(world, "a")).scopes[world.model].state == "cooldown"
        await asyncio.sleep(30)
        assert {(await world.chat()).key_id for _ in range(2)} == {"a", "b"}

    world.run(scenario)


# -- R09


@each_service
@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_R09_a_provider_that_fails_twice_is_asked_three_times(provider: str, status: int) -> None:
    world = World(["a"], provider=provider)
    world.sim.key("a").answers([status, status, 200])
    waits: list[Event] = []

    async def scenario() -> None:
        answer = await world.chat(max_retries=2)
        assert answer.key_id == "a"
        assert len(answer.attempts) == 3
        health = await health_of(world, "a")
        assert (health.state, health.failures, health.scopes) == ("active", 0, {})
        assert (await provider_health(world)).rest.state == "active"

    with world.lm.listen(waits.append):
        world.run(scenario)
    paused = [event.seconds or 0.0 for event in waits if event.kind is EventKind.WAITING]
    assert len(paused) == 2
    assert 0.0 < paused[0] <= 0.5
    assert 0.0 < paused[1] <= 1.0
    seen = moments(world, "a")
    assert [late - early for early, late in itertools.pairwise(seen)] == pytest.approx(paused)


@each_service
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_R09_max_retries_is_counted(provider: str, retries: int) -> None:
    world = World(["a"], provider=provider)
    world.sim.provider(provider).outage(500)

    async def scenario() -> None:
        with pytest.raises(ServerError) as caught:
            await world.chat(max_retries=retries)
        assert len(caught.value.attempts) == retries + 1

    world.run(scenario)
    assert world.sim.requests() == retries + 1


@each_service
def test_R09_pauses_are_jittered_over_the_whole_range(provider: str) -> None:
    firsts = []
    for seed in range(40):
        world = World(["a"], provider=provider, seed=seed)
        world.sim.key("a").answers([500, 200])
        world.run(world.chat)
        firsts.append(moments(world, "a")[1])
    assert all(0.0 <= pause <= 0.5 for pause in firsts)
    assert min(firsts) < 0.1
    assert max(firsts) > 0.4


@each_service
def test_R09_no_key_loses_its_health_in_an_outage(provider: str) -> None:
    world = World(provider=provider)
    world.sim.provider(provider).outage(500, seconds=60)

    async def scenario() -> None:
        for _ in range(10):
            with pytest.raises(ServerError):
                await world.chat()
        for key in ("k1", "k2", "k3"):
            health = await health_of(world, key)
            assert (health.state, health.failures, health.scopes) == ("active", 0, {})
        await asyncio.sleep(60)
        assert all_answered(await world.gather(9))

    world.run(scenario)


# -- R10


async def cancelled(call: asyncio.Task[Any]) -> None:
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@each_address
@pytest.mark.parametrize("at", [0.0, 0.5, 1.5, 2.5], ids=["start", "connecting", "sent", "late"])
def test_R10_a_caller_that_cancels_leaves_nothing_and_blames_nobody(
    provider: str, at: float
) -> None:
    world = World(["a"], provider=provider, connect_s=1.0)
    world.sim.key("a").slow(60)

    async def scenario() -> None:
        call = asyncio.create_task(world.chat())
        await asyncio.sleep(at)
        await cancelled(call)
        world.check_idle()
        assert world.transport.discarded == world.sim.requests() == (at > 1.0)
        health = await health_of(world, "a")
        assert (health.state, health.failures, health.in_flight) == ("active", 0, 0)
        assert (await world.lm.usage_summary())["total"]["failures"] == 0
        world.sim.key("a").heal()
        assert (await world.chat()).key_id == "a"

    world.run(scenario)


@each_service
def test_R10_a_cancelled_trial_lets_the_next_caller_try(provider: str) -> None:
    world = World(["a"], provider=provider)
    world.sim.key("a").rate_limit(retry_after=5)

    async def scenario() -> None:
        with pytest.raises(NoAvailableKeyError):
            await world.chat(max_wait_seconds=0)
        await asyncio.sleep(5)
        world.sim.key("a").heal().slow(60, times=1)
        trial = asyncio.create_task(world.chat())
        await asyncio.sleep(1)
        behind = asyncio.create_task(world.chat())
        await asyncio.sleep(1)
        assert world.sim.requests() == 2
        await cancelled(trial)
        assert (await behind).key_id == "a"
        assert (await health_of(world, "a")).scopes == {}

    world.run(scenario)


@each_service
def test_R10_cancelled_while_it_waits_for_a_key_or_a_retry(provider: str) -> None:
    world = World(["a"], provider=provider)
    world.sim.key("a").rate_limit(retry_after=5)

    async def scenario() -> None:
        waiting = asyncio.create_task(world.chat())
        await asyncio.sleep(2)
        await cancelled(waiting)
        world.check_idle()
        await asyncio.sleep(4)
        world.sim.key("a").heal().then(500, headers={"retry-after": "8"})
        backing_off = asyncio.create_task(world.chat())
        await asyncio.sleep(4)
        await cancelled(backing_off)
        world.check_idle()
        assert (await world.chat()).key_id == "a"

    world.run(scenario)


@each_service
def test_R10_the_callers_deadline_blames_nobody(provider: str) -> None:
    world = World(["a"], provider=provider)
    world.sim.key("a").slow(60)

    async def scenario() -> None:
        with pytest.raises(llm_rotate.DeadlineError):
            await world.chat(timeout=2)
        assert world.clock.now() == 1002.0
        health = await health_of(world, "a")
        assert (health.state, health.failures, health.in_flight) == ("active", 0, 0)
        assert world.transport.discarded == 1

    world.run(scenario)


@each_service
def test_R10_over_real_sockets_the_connection_is_closed(provider: str) -> None:
    with Simulator().serve() as sim:
        pool = sim.pool(["a"], provider=provider)
        sim.key("a").slow(30, times=1)

        async def scenario() -> None:
            call = asyncio.create_task(pool.chat(MODELS[provider], HELLO))
            await asyncio.to_thread(sim.wait_for, lambda: sim.in_flight == 1)
            await cancelled(call)
            assert await asyncio.to_thread(sim.wait_idle)
            assert sim.log[0].closed_early
            health = (await pool.health()).providers[provider].keys["a"]
            assert (health.state, health.failures, health.in_flight) == ("active", 0, 0)
            assert (await pool.chat(MODELS[provider], HELLO)).key_id == "a"
            await pool.close()

        asyncio.run(scenario())
        assert sim.wait_for(lambda: sim.open_connections == 0)


# -- R11

AT_9 = EPOCH + 9.0
ISO_9 = "2026-01-01T00:00:09Z"
EVERYWHERE: list[tuple[dict[str, str], Any, float]] = [
    ({"retry-after": "7"}, None, 7.0),
    ({"retry-after": "7.5"}, None, 7.5),
    ({"Retry-After": formatdate(AT_9, usegmt=True)}, None, 9.0),
    ({"retry-after": "2026-01-01T00:00:09+00:00"}, None, 9.0),
    ({"retry-after-ms": "7500"}, None, 7.5),
    ({"retry-after-ms": "6500", "retry-after": "7"}, None, 6.5),
]
RETRY_INFO = {
    "error": {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "Quota exceeded",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12s"},
        ],
    }
}
SPELLINGS: Mapping[str, list[tuple[dict[str, str], Any, float]]] = {
    "openai": [
        *EVERYWHERE,
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "8.64s"}, None, 8.64),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, None, 360.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms",
          "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2s"}, None, 62.0),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "50s",
          "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "4s"}, None, 4.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(AT_9 * 1000))}, None, 9.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(AT_9))}, None, 9.0),
        ({}, RETRY_INFO, 12.0),
        ({}, json.dumps([RETRY_INFO]), 12.0),
    ],
    "anthropic": [
        *EVERYWHERE,
        ({"anthropic-ratelimit-requests-remaining": "0",
          "anthropic-ratelimit-requests-reset": ISO_9}, None, 9.0),
        ({"anthropic-ratelimit-tokens-remaining": "0",
          "anthropic-ratelimit-tokens-reset": ISO_9}, None, 9.0),
        ({"anthropic-ratelimit-input-tokens-remaining": "0",
          "anthropic-ratelimit-input-tokens-reset": ISO_9}, None, 9.0),
        ({"anthropic-ratelimit-output-tokens-remaining": "0",
          "anthropic-ratelimit-output-tokens-reset": ISO_9}, None, 9.0),
        ({"anthropic-ratelimit-requests-remaining": "12",
          "anthropic-ratelimit-requests-reset": "2026-01-01T00:01:00Z",
          "anthropic-ratelimit-tokens-remaining": "0",
          "anthropic-ratelimit-tokens-reset": ISO_9}, None, 9.0),
    ],
    "google_ai_studio": [
        *EVERYWHERE,
        ({}, RETRY_INFO, 12.0),
        ({}, json.dumps([RETRY_INFO]), 12.0),
    ],
    "aws_bedrock": [*EVERYWHERE],
}  # fmt: skip
SPELLINGS["openai_responses"] = SPELLINGS["azure_openai"] = SPELLINGS["openai"]
SPELLING_CASES = [(provider, *row) for provider, rows in SPELLINGS.items() for row in rows]


@pytest.mark.parametrize(("provider", "headers", "body", "seconds"), SPELLING_CASES)
def test_R11_every_spelling_of_later_rests_the_key_just_so_long(
    provider: str, headers: dict[str, str], body: Any, seconds: float
) -> None:
    world = World(["a"], provider=provider, defaults={"cooldown_seconds": 777})
    world.sim.key("a").then(429, body=body, headers=headers)

    async def scenario() -> None:
        await world.chat(max_wait_seconds=1000)

    world.run(scenario)
    assert moments(world, "a") == pytest.approx([0.0, seconds], abs=1e-6)


@each_service
@pytest.mark.parametrize("nonsense", ["soon", "-5", "", "nan", "9" * 30])
def test_R11_what_makes_no_sense_is_as_if_it_were_not_there(provider: str, nonsense: str) -> None:
    world = World(["a"], provider=provider, defaults={"cooldown_seconds": 20})
    world.sim.key("a").then(429, headers={"retry-after": nonsense})

    async def scenario() -> None:
        await world.chat(max_wait_seconds=1000)

    world.run(scenario)
    assert moments(world, "a") == [0.0, 20.0]


# -- R16


def refer(**references: str) -> Any:
    def edit(config: Any) -> Any:
        for key in config.keys:
            key.secret_ref = references.get(key.key_id, key.secret_ref)
        return config

    return edit


@each_address
@pytest.mark.parametrize("kind", ["variable", "file"])
def test_R16_a_key_without_its_secret_is_out_and_the_others_serve(
    provider: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    path = tmp_path / "missing.key"
    reference, named = {
        "variable": ("env://NO_SUCH_SECRET", "NO_SUCH_SECRET"),
        "file": (f"file://{path}", "missing.key"),
    }[kind]
    world = World(
        ["a", "b", "c"], provider=provider, edit=refer(a=reference), defaults=NAMED_DEFAULTS
    )

    async def scenario() -> None:
        assert [(await world.chat()).key_id for _ in range(4)] == ["b", "c", "b", "c"]
        health = await health_of(world, "a")
        assert health.state == "quarantine"
        assert named in health.reason
        assert (await health_of(world, "b")).state == "active"
        assert world.sim.requests("a") == 0
        assert not world.lm._pool.store.state("key:a").version  # only this process knows
        monkeypatch.setenv("NO_SUCH_SECRET", world.sim.secret("a"))
        path.write_text(world.sim.secret("a"))
        await asyncio.sleep(301)
        assert "a" in {(await world.chat()).key_id for _ in range(3)}
        assert (await health_of(world, "a")).state == "active"

    world.run(scenario)


def test_R16_nothing_raises_at_import_or_at_configure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    key = {"key_id": "a", "provider": "openai", "secret_ref": "env://NO_SUCH_SECRET"}
    llm_rotate.configure(registry={"keys": [key]})
    try:
        health = llm_rotate.lm.health_sync().providers["openai"].keys["a"]
        assert health.state == "active"
        with pytest.raises(NoAvailableKeyError) as caught:
            llm_rotate.lm.chat_sync("gpt-4o-mini", HELLO, max_wait_seconds=0)
        assert "NO_SUCH_SECRET" in caught.value.reasons["a"]
    finally:
        reset_singleton()


# -- R17


@each_service
@pytest.mark.parametrize(
    ("stated", "seconds"),
    [((5, 60), 60.8), ((60, 5), 60.2), ((60, 60.3), 60.2), ((60, 61), 61.8)],
    ids=["short first", "long first", "within a second", "over a second"],
)
def test_R17_of_two_rests_the_later_deadline_stands(
    provider: str, stated: tuple[float, float], seconds: float
) -> None:
    """Both requests are at the server before the first refusal is read, at 0.2 and 0.8 s."""
    world = World(["a"], provider=provider)
    answers = [Scripted(429, headers={"retry-after": str(each)}) for each in stated]
    world.sim.key("a").slow(0.8, times=2).slow(0.2, times=1).answers(answers)

    async def scenario() -> None:
        results = await world.gather(2, max_wait_seconds=0)
        assert [type(each) for each in results] == [NoAvailableKeyError] * 2
        assert world.sim.requests() == 2
        scope = (await health_of(world, "a")).scopes[world.model]
        assert scope.until is not None
        assert scope.until.timestamp() - EPOCH == pytest.approx(seconds, abs=1.0)
        assert scope.failures == 1
        assert (await world.chat(max_wait_seconds=100)).key_id == "a"

    world.run(scenario)
    assert moments(world, "a")[2] == pytest.approx(seconds, abs=1.0)
    assert moments(world, "a")[2] >= max(0.2 + stated[0], 0.8 + stated[1]) - 1.0


@each_service
@pytest.mark.parametrize("statuses", [(403, 429), (429, 403)])
def test_R17_rests_of_different_kinds_too(provider: str, statuses: tuple[int, int]) -> None:
    world = World(["a"], provider=provider, defaults=NAMED_DEFAULTS)
    answers = [Scripted(status, headers={"retry-after": "600"}) for status in statuses]
    world.sim.key("a").slow(0.8, times=2).slow(0.2, times=1).answers(answers)

    async def scenario() -> None:
        await world.gather(2, max_wait_seconds=0)
        scope = (await health_of(world, "a")).scopes[world.model]
        assert scope.state == "quarantine"
        assert scope.until is not None
        assert scope.until.timestamp() - EPOCH == pytest.approx(600.5, abs=1.0)

    world.run(scenario)


# -- R19


async def busy(world: World, seconds: int) -> None:
    """Two calls each quarter of a second that do not wait for keys."""
    for _ in range(seconds * 4):
        await world.gather(2, max_wait_seconds=0)
        await asyncio.sleep(0.25)


@each_address
@pytest.mark.parametrize("status", [403, 401])
@pytest.mark.parametrize("count", [3, 7])
def test_R19_a_block_of_every_key_rests_the_provider_and_no_key(
    provider: str, count: int, status: int
) -> None:
    world = World([f"k{n}" for n in range(count)], provider=provider)
    world.sim.provider(provider).block(status)

    async def scenario() -> None:
        with pytest.raises(NoAvailableKeyError, match="its provider rests"):
            await world.chat(max_wait_seconds=0)
        assert world.sim.requests() == count
        health = await provider_health(world)
        assert health.rest.state == "cooldown"
        for key in health.keys.values():
            assert (key.state, key.scopes) == ("active", {})
        world.sim.provider(provider).heal()
        await asyncio.sleep(1)
        answers = [await world.chat() for _ in range(count)]
        assert {answer.key_id for answer in answers} == set(world.served())
        assert (await provider_health(world)).rest.state == "active"

    world.run(scenario)


@each_service
def test_R19_the_provider_is_probed_once_at_a_time_doubling_to_a_minute(provider: str) -> None:
    world = World(provider=provider)
    world.sim.provider(provider).block(403)
    world.run(lambda: busy(world, 250))
    times = [seen.at - 1000.0 for seen in world.sim.log]
    probes = [0.0, *(at for at in times if at > 0.0)]
    gaps = [late - early for early, late in itertools.pairwise(probes)]
    assert gaps == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60], abs=0.25)


@each_service
def test_R19_all_keys_come_back_when_the_block_ends(provider: str) -> None:
    world = World(provider=provider)
    world.sim.provider(provider).block(403)

    async def scenario() -> None:
        await busy(world, 20)
        world.sim.provider(provider).heal()
        await asyncio.sleep(60)
        assert all_answered(await world.gather(30))
        assert {seen.key for seen in list(world.sim.log)[-30:]} == {"k1", "k2", "k3"}
        health = await provider_health(world)
        assert {key.state for key in (health.rest, *health.keys.values())} == {"active"}

    world.run(scenario)


@each_service
def test_R19_a_herd_of_fifty_in_a_block_loses_no_key(provider: str) -> None:
    world = World(provider=provider)
    world.sim.key("k1").slow(0.3)
    world.sim.key("k2").slow(0.2)
    world.sim.provider(provider).block(403)

    async def scenario() -> None:
        await world.gather(50, max_wait_seconds=0)
        health = await provider_health(world)
        assert health.rest.state == "cooldown"
        assert {key.state for key in health.keys.values()} == {"active"}
        assert [key.scopes for key in health.keys.values()] == [{}, {}, {}]

    world.run(scenario)


@each_service
def test_R19_a_key_refused_twice_within_the_block_comes_back_too(provider: str) -> None:
    """Its second refusal is read two seconds after the first: the later deadline stands."""
    world = World(provider=provider)
    delays = {"k1": [0.1, 2.0], "k2": [], "k3": []}

    class Late:
        def edit(self, plan: Any, visit: Any) -> None:
            own: list[float] = delays[world.sim.log[-1].key]
            plan.first_byte = own.pop(0) if own else 3.0

    world.sim.provider(provider)._change(Late())
    world.sim.provider(provider).block(403)

    async def scenario() -> None:
        await world.gather(4, max_wait_seconds=0)
        assert world.sim.requests("k1") == 2
        health = await provider_health(world)
        assert health.rest.state == "cooldown"
        assert [key.scopes for key in health.keys.values()] == [{}, {}, {}]

    world.run(scenario)


@each_service
@pytest.mark.parametrize("count", [1, 2])
def test_R19_fewer_than_three_keys_are_no_proof(provider: str, count: int) -> None:
    world = World([f"k{n}" for n in range(count)], provider=provider)
    world.sim.provider(provider).block(403)

    async def scenario() -> None:
        with pytest.raises(NoAvailableKeyError):
            await world.chat(max_wait_seconds=0)
        health = await provider_health(world)
        assert health.rest.state == "active"
        assert all(key.scopes[world.model].state == "quarantine" for key in health.keys.values())

    world.run(scenario)


@each_service
def test_R19_three_wrong_secrets_are_no_block(provider: str) -> None:
    world = World(provider=provider)
    for key in world.served():
        world.sim.key(key).bad_key()

    async def scenario() -> None:
        with pytest.raises(NoAvailableKeyError):
            await world.chat(max_wait_seconds=0)
        health = await provider_health(world)
        assert health.rest.state == "active"
        assert {key.state for key in health.keys.values()} == {"quarantine"}

    world.run(scenario)


@each_service
def test_R19_a_success_for_another_model_in_that_time_tells_it_from_a_block(provider: str) -> None:
    world = World(provider=provider)
    for key in world.served():
        world.sim.key(key).forbidden(world.model)

    async def scenario() -> None:
        await world.gather(1, max_wait_seconds=0, key_id="k1")
        await world.gather(1, max_wait_seconds=0, key_id="k2")
        await asyncio.sleep(1)
        await world.chat(model=OTHER_MODEL[provider])
        await asyncio.sleep(1)
        await world.gather(1, max_wait_seconds=0, key_id="k3")
        health = await provider_health(world)
        assert health.rest.state == "active"
        assert all(key.scopes[world.model].state == "quarantine" for key in health.keys.values())

    world.run(scenario)


@each_service
def test_R19_refusals_more_than_five_seconds_apart_are_no_block(provider: str) -> None:
    world = World(provider=provider)
    world.sim.provider(provider).block(403)

    async def scenario() -> None:
        for key in world.served():
            await world.gather(1, max_wait_seconds=0, key_id=key)
            await asyncio.sleep(2.6)
        health = await provider_health(world)
        assert health.rest.state == "active"
        assert all(key.scopes for key in health.keys.values())

    world.run(scenario)
