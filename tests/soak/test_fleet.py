"""The fleet's promises at full length: four processes, a real Redis, a provider that counts."""

from __future__ import annotations

import asyncio
import bisect
import multiprocessing
import os
import random
import re
import signal
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llm_rotate import LMRotate, LMRotateConfig
from llm_rotate.testing import Simulator
from tests.behaviours.crowd import resident
from tests.behaviours.fleet import MODEL, shipped
from tests.redis_server import RedisServer

WORKERS = 4
D01_SECONDS = float(os.environ.get("LLM_ROTATE_SOAK_D01_SECONDS", "250"))
FAULTS_SECONDS = float(os.environ.get("LLM_ROTATE_SOAK_FAULTS_SECONDS", "600"))
WINDOW = 60.0
RPM = {"few": 60, "many": 600, "most": 3_000}
TPM = {"tokens": 100_000, "flood": 1_000_000}
AT_ONCE = {"few": 3, "many": 12, "most": 24, "tokens": 12, "flood": 24}  # in each worker
RETRIES = 10  # one call in 10**14 meets so many of the provider's own faults in a row
WORDS = (150, 1_250)  # of a prompt: tokens, as the simulator counts them
MIB = 1024 * 1024


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def sim() -> Iterator[Simulator]:
    sim = Simulator(log_size=100_000)
    with sim.serve():
        sim.says(lambda prompt: "so be it")
        yield sim


# -- D01


def prompt(rng: random.Random) -> str:
    """Words of two to ten letters: an estimate by bytes is off by up to a half."""
    return " ".join(["x" * rng.randint(2, 10)] * rng.randint(*WORDS))


def saturate(config: dict[str, Any], seconds: float, seed: int, told: Any) -> None:
    asyncio.run(_saturate(config, seconds, random.Random(seed), told))


async def _saturate(config: dict[str, Any], seconds: float, rng: random.Random, told: Any) -> None:
    until = time.monotonic() + seconds
    began: dict[tuple[int, int], float] = {}
    sent: list[tuple[str | None, float, int]] = []

    def note(event: Any) -> None:
        if event.kind == "attempt_started":
            began[event.call, event.attempt] = time.monotonic()
        elif event.kind == "attempt_ended" and event.usage is not None:
            at = began.pop((event.call, event.attempt))
            sent.append((event.key_id, at, event.usage.total_tokens))

    async with LMRotate(LMRotateConfig.model_validate(config)) as lm, _listening(lm, note):

        async def ask(key_id: str, text: Any) -> None:
            while time.monotonic() < until:
                message = [{"role": "user", "content": text()}]
                await lm.chat(
                    MODEL, message, key_id=key_id, max_tokens=10, max_wait_seconds=seconds + 60
                )

        demands = [
            *(ask(name, lambda: "hello") for name in RPM for _ in range(AT_ONCE[name])),
            *(ask(name, lambda: prompt(rng)) for name in TPM for _ in range(AT_ONCE[name])),
        ]
        tasks = [asyncio.ensure_future(each) for each in demands]
        await asyncio.wait(tasks, timeout=seconds)
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    told.put(sent)


@asynccontextmanager
async def _listening(lm: LMRotate, note: Any) -> AsyncIterator[None]:
    with lm.listen(note):
        yield


def heaviest(seen: list[tuple[float, int]]) -> int:
    """The most that any window of a minute holds, wherever it begins."""
    worst = held = first = 0
    for at, amount in seen:
        held += amount
        while seen[first][0] <= at - WINDOW:
            held -= seen[first][1]
            first += 1
        worst = max(worst, held)
    return worst


def used(seen: list[tuple[float, int]]) -> float:
    """Of a minute, in the steady state: after the first window, up to the last second; a call
    is no loss.
    """
    times = [at for at, _ in seen]
    left, right = times[0] + 62, times[-1] - 1
    among = [amount for _, amount in seen[bisect.bisect(times, left) : bisect.bisect(times, right)]]
    one_call = max(among)  # at either end one may be just outside
    return (sum(among) + one_call) / (right - left) * WINDOW


def audit(
    name: str, limit: int, arrived: list[tuple[float, int]], sent: list[tuple[float, int]]
) -> bool:
    """Whether a limit was kept, half a percent or a call over it allowed, and was used up."""
    most, use, call = heaviest(arrived), used(arrived) / limit, max(each for _, each in arrived)
    print(f"\n{name}: at most {most:,} in a minute ({heaviest(sent):,} as sent), used {use:.2%}")
    return most <= limit + max(0.005 * limit, call) and use >= 0.98


@pytest.mark.timeout(600)
def test_D01_four_processes_use_each_limit_and_no_more(sim, redis) -> None:
    config = shipped(sim, redis.url, [*RPM, *TPM])
    for key in config["keys"]:
        name = key["key_id"]
        key["limits"] = {"rpm": RPM[name]} if name in RPM else {"tpm": TPM[name]}
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Queue()
    workers = [
        spawn.Process(target=saturate, args=(config, D01_SECONDS, seed, told))
        for seed in range(WORKERS)
    ]
    for each in workers:
        each.start()
    sent = sorted(
        (each for _ in workers for each in told.get(timeout=D01_SECONDS + 60)),
        key=lambda each: each[1],
    )
    for each in workers:
        each.join(60)
        assert each.exitcode == 0
    log = list(sim.log)
    assert not [each for each in log if each.status == 429]
    kept = {
        name: audit(
            f"{name}: {limit:,} {'rpm' if name in RPM else 'tpm'}",
            limit,
            [(each.at, 1 if name in RPM else each.tokens) for each in log if each.key == name],
            [(at, 1 if name in RPM else tokens) for key, at, tokens in sent if key == name],
        )
        for name, limit in (RPM | TPM).items()
    }
    assert all(kept.values()), kept


# -- D04


def hold(config: dict[str, Any]) -> None:
    asyncio.run(_hold(config))


async def _hold(config: dict[str, Any]) -> None:
    async with LMRotate(LMRotateConfig.model_validate(config)) as lm:
        calls = [lm.chat(MODEL, [{"role": "user", "content": "hold"}]) for _ in range(3)]
        await asyncio.gather(*calls)


@pytest.mark.timeout(180)
def test_D04_a_killed_workers_slots_are_back_within_the_lease(sim, redis) -> None:
    config = shipped(sim, redis.url, ["a"])
    config["keys"][0]["limits"] = {"max_concurrency": 3}
    sim.key("a").slow(300)
    worker = multiprocessing.get_context("spawn").Process(target=hold, args=(config,))
    worker.start()
    assert sim.wait_for(lambda: sim.requests() == 3, 20)
    os.kill(worker.pid or 0, signal.SIGKILL)
    killed = time.monotonic()
    worker.join()
    sim.key("a").heal()

    async def scenario() -> None:
        async with LMRotate(LMRotateConfig.model_validate(config)) as lm:
            call = lm.chat(MODEL, [{"role": "user", "content": "now"}], max_wait_seconds=90)
            assert (await call).key_id == "a"

    asyncio.run(scenario())
    waited = time.monotonic() - killed
    print(f"\nthe slots came back after {waited:.1f} s")
    assert waited < 62


# -- ten minutes of faults


def toil(config: dict[str, Any], pipe: Any, seed: int) -> None:
    asyncio.run(_toil(config, pipe, random.Random(seed)))


async def _toil(config: dict[str, Any], pipe: Any, rng: random.Random) -> None:
    """Calls all the time, until told to stop; then says what it counted."""
    lost: list[str] = []
    slow: list[float] = []
    sizes: list[int] = []
    ended = asyncio.Event()
    counts = {"calls": 0, "attempts": 0}
    loop = asyncio.get_running_loop()

    async def ask(lm: LMRotate) -> None:
        while not ended.is_set():
            began = loop.time()
            try:
                answer = await lm.chat(
                    MODEL,
                    [{"role": "user", "content": "hello"}],
                    max_tokens=10,
                    max_wait_seconds=60,
                    max_retries=RETRIES,
                )
            except Exception as error:
                lost.append(repr(error))
            else:
                counts["attempts"] += len(answer.attempts)
            counts["calls"] += 1
            slow.append(loop.time() - began)
            await asyncio.sleep(rng.uniform(0, 0.05))

    async with LMRotate(LMRotateConfig.model_validate(config)) as lm:
        tasks = [asyncio.create_task(ask(lm)) for _ in range(8)]
        pipe.send("ready")
        while not pipe.poll():
            await asyncio.sleep(5)
            sizes.append(resident())
        ended.set()
        await asyncio.gather(*tasks)
    pipe.send((counts, lost, max(slow), sizes))


def faults(redis: RedisServer, rng: random.Random, seconds: float) -> list[str]:
    """One at a time, a few seconds apart; the server is well in the end."""
    until, done = time.monotonic() + seconds, []

    def restart() -> None:
        redis.kill()
        time.sleep(rng.uniform(0.1, 2))
        redis.start()

    def stop() -> None:
        redis.freeze()
        time.sleep(rng.uniform(0.1, 2))
        redis.thaw()

    kinds = {
        "restart": restart,
        "stop": stop,
        "pause": lambda: redis.do("CLIENT", "PAUSE", rng.randint(100, 2000)),
        "kill clients": lambda: redis.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
        "flush all": lambda: redis.do("FLUSHALL"),
        "flush scripts": lambda: redis.do("SCRIPT", "FLUSH"),
    }
    while time.monotonic() < until:
        time.sleep(rng.uniform(1, 6))
        kind = rng.choice(list(kinds))
        kinds[kind]()
        done.append(kind)
    return done


@pytest.mark.timeout(1800)
def test_ten_minutes_of_faults_lose_nothing_and_leave_nothing(sim, redis) -> None:
    rng = random.Random(11)
    config = shipped(sim, redis.url, ["a", "b", "c"])
    for key in config["keys"]:
        key["limits"] = {"rpm": 2_000, "tpm": 10_000_000, "max_concurrency": 20}
    sim.faults(0.05, seed=1, retry_after=0.5)
    spawn = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    for seed in range(WORKERS):
        here, there = spawn.Pipe()
        workers.append(spawn.Process(target=toil, args=(config, there, seed)))
        pipes.append(here)
        workers[-1].start()
    for pipe in pipes:
        assert pipe.recv() == "ready"
    done = faults(redis, rng, FAULTS_SECONDS)
    for pipe in pipes:
        pipe.send("stop")
    told = [pipe.recv() for pipe in pipes]
    for each in workers:
        each.join(30)
        assert each.exitcode == 0
    counts = [each[0] for each in told]
    calls, attempts = (sum(each[name] for each in counts) for name in ("calls", "attempts"))
    lost = [error for each in told for error in each[1]]
    slowest = max(each[2] for each in told)
    print(
        f"\n{len(done)} faults, {calls} calls, {attempts} attempts, {sim.requests()} at the server"
    )
    print(f"lost {len(lost)}, the slowest call {slowest:.2f} s")
    for text, count in Counter(re.sub(r"[\d.]+", "#", error) for error in lost).most_common(5):
        print(f"{count} x {text}")
    assert lost == []
    assert sim.requests() == attempts
    for _, _, _, sizes in told:
        early, late = sizes[len(sizes) // 3 : len(sizes) // 2], sizes[-len(sizes) // 4 :]
        grown = (statistics.median(late) - statistics.median(early)) / MIB
        print(f"a worker's memory: {statistics.median(late) / MIB:.1f} MiB, grown {grown:.1f}")
        assert grown < 2
    left = {name.decode() for name in redis.do("KEYS", "*")}
    assert all(redis.do("PTTL", name) != -1 for name in left)

    async def looked() -> Any:
        async with LMRotate(LMRotateConfig.model_validate(config)) as lm:
            return await lm.health()

    report = asyncio.run(looked())
    for key in report.providers["openai"].keys.values():
        assert key.limits["key"]["max_concurrency"].taken == 0
