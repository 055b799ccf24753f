"""``make bench``: what this package costs, held against bare httpx in the same run."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from llm_rotate.stores.memory import MemoryStore
from tests.redis_server import RedisServer

from . import gemini, peers, pools, shared
from .imports import imported
from .measure import cpu_in_turn, wall_in_turn
from .server import serving

ROUNDS = 7


@dataclass(frozen=True)
class Row:
    """``value`` against ``aim``: met when it is not larger."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    note: str = ""

    def __str__(self) -> str:
        aim = "" if self.aim is None else f"{'met' if self.value <= self.aim else 'MISSED'}"
        goal = "" if self.aim is None else f"{self.aim:g}"
        return f"{self.name:<50}{self.value:>9.2f} {self.unit:<5}{goal:>7}  {aim:<7}{self.note}"


async def _chats(url: str) -> list[Row]:
    now, slow = pools.pool(f"{url}/now"), pools.pool(f"{url}/slow")
    async with now, slow, httpx.AsyncClient() as bare:
        cost = await cpu_in_turn(
            {
                "httpx": lambda: pools.posts(bare, f"{url}/now", 300),
                "pool": lambda: pools.chats(now, 300),
                "pool at 64": lambda: pools.chats_at_once(slow, 1280),
                "row": lambda: pools.rows(now, 600),
                "row at 64": lambda: pools.rows(slow, 1280),
            },
            ROUNDS,
        )
    return [
        Row("chat, sequential, of httpx post + json", cost["pool"] / cost["httpx"], "x", 0.75),
        Row(
            "chat, 64 in flight at 50 ms, of own sequential",
            cost["pool at 64"] / cost["pool"],
            "x",
            1.4,
        ),
        Row("row of a batch, of a chat", cost["row"] / cost["pool"], "x", 1.15),
        Row(
            "row of a batch, of a chat, 64 in flight at 50 ms",
            cost["row at 64"] / cost["pool at 64"],
            "x",
            1.15,
        ),
        Row("  chat, sequential", cost["pool"], "us"),
        Row("  httpx post + json, sequential", cost["httpx"], "us"),
    ]


async def _gemini(url: str) -> list[Row]:
    bare = gemini.bare(f"{url}/gemini")
    async with gemini.pool(f"{url}/gemini") as lm, bare.aio:
        cost = await cpu_in_turn(
            {
                "sdk": lambda: gemini.bare_contents(bare, 150),
                "chat": lambda: gemini.chats(lm, 150),
                "contents": lambda: gemini.contents(lm, 150),
                "sdk stream": lambda: gemini.bare_chunks(bare, 2),
                "stream": lambda: gemini.chunks(lm, 2),
            },
            ROUNDS,
        )
    bare.close()
    return [
        Row(
            "Gemini: generate_content, of the bare SDK's", cost["contents"] / cost["sdk"], "x", 1.1
        ),
        Row("Gemini: chat, of the bare SDK's", cost["chat"] / cost["sdk"], "x", 1.1),
        Row("Gemini: chunk, of the bare SDK's", cost["stream"] / cost["sdk stream"], "x", 1.1),
        Row("  the bare SDK's generate_content", cost["sdk"], "us"),
    ]


async def _engine() -> list[Row]:
    by_size = {size: pools.pool("http://127.0.0.1:9", size) for size in (3, 100, 10_000)}
    loop = await cpu_in_turn(
        {f"{n}": lambda lm=lm: pools.turns_of_the_loop(lm, 2000) for n, lm in by_size.items()},
        ROUNDS,
    )
    turn = await cpu_in_turn(
        {f"{n}": lambda lm=lm: pools.selections(lm, 5000) for n, lm in by_size.items()}, ROUNDS
    )
    return [
        Row("engine, core and store together, 3 keys", loop["3"], "us", 20.0),
        Row("  the same, 10,000 keys, of 3", loop["10000"] / loop["3"], "x", 1.2),
        Row("selection, 3 keys", turn["3"], "us"),
        Row("selection, 100 keys, of 3", turn["100"] / turn["3"], "x", 1.2),
        Row("selection, 10,000 keys, of 3", turn["10000"] / turn["3"], "x", 1.2),
    ]


async def _streams(url: str) -> list[Row]:
    burst, paced = pools.pool(f"{url}/burst"), pools.pool(f"{url}/paced")
    async with burst, paced, httpx.AsyncClient() as bare:
        cost = await cpu_in_turn(
            {
                "bare burst": lambda: pools.bare_chunks(bare, f"{url}/burst", 10),
                "pool burst": lambda: pools.pool_chunks(burst, 10),
                "bare paced": lambda: pools.bare_chunks(bare, f"{url}/paced", 2),
                "pool paced": lambda: pools.pool_chunks(paced, 2),
            },
            ROUNDS,
        )
        first = await wall_in_turn(
            {
                "bare": lambda: pools.bare_first(bare, f"{url}/paced", 20),
                "pool": lambda: pools.pool_first(paced, 20),
            },
            ROUNDS,
        )
    return [
        Row(
            "chunk, all at once, of aiter_lines + json",
            cost["pool burst"] / cost["bare burst"],
            "x",
            0.9,
        ),
        Row(
            "chunk, one a millisecond, of the same",
            cost["pool paced"] / cost["bare paced"],
            "x",
            0.9,
        ),
        Row("first chunk, later than bare httpx's", first["pool"] - first["bare"], "ms", 2.0),
    ]


async def _rotation(url: str) -> list[Row]:
    straight = pools.pool(f"{url}/now")
    limited = pools.pool(f"{url}/now", base_url=f"{url}/limited", priority=1)
    async with straight, limited:
        took = await wall_in_turn(
            {
                "straight": lambda: pools.chats(straight, 200),
                "past a 429": lambda: pools.chats(limited, 200),
            },
            ROUNDS,
        )
    return [Row("rotation past a 429", took["past a 429"] - took["straight"], "ms", 1.0)]


async def _limits() -> list[Row]:
    keys = {size: shared.candidates(size) for size in (3, 10_000)}
    stores = {size: MemoryStore() for size in keys}
    cost = await cpu_in_turn(
        {
            f"{size}": lambda size=size: shared.memory_admissions(keys[size], stores[size], 20_000)
            for size in keys
        },
        ROUNDS,
    )
    return [
        Row("one admission under rpm and tpm, 3 keys", cost["3"], "us", 15.0),
        Row("one admission under rpm and tpm, 10,000 keys", cost["10000"], "us", 15.0),
    ]


async def _shared() -> list[Row]:
    server = RedisServer()
    try:
        took = await shared.latencies(server)
        rates = await shared.at_once(server)
        blocked = await shared.among_blocked(server)
    finally:
        server.close()
    return [
        Row("Redis: an admission, p50, of a GET's", took["plain"] / took["GET"], "x", 2.5),
        Row("Redis: the same under rpm and tpm", took["limited"] / took["GET"], "x", 2.5),
        Row("  a GET, p50", took["GET"] * 1e3, "us"),
        Row("Redis: settling, the caller's part", took["settle"] * 1e3, "us"),
        Row("Redis: 64 tasks, of a script call each", rates["each"] / rates["together"], "x", 0.25),
        Row("  of bare calls, made before", rates["bare"] / rates["together"], "x"),
        Row("  admissions a second", rates["together"], ""),
        Row(
            "Redis: 990 of 1000 keys rest, p50, of a GET's",
            blocked["warm"] / blocked["GET"],
            "x",
            3,
        ),
        Row("  the first look", blocked["cold"], "ms", 5.0),
    ]


def _imports() -> Iterator[Row]:
    bare_ms, bare_mib = imported("pass")
    ms, mib = imported("import llm_rotate")
    full_ms, full_mib = imported("import llm_rotate; llm_rotate.LMRotate")
    yield Row("import llm_rotate, over bare Python", ms - bare_ms, "ms", 120.0)
    yield Row("  and resident", mib, "MiB", 32.0, f"bare Python {bare_mib:.1f}")
    yield Row("import of LMRotate and all it needs", full_ms - bare_ms, "ms", None)
    yield Row("  and resident", full_mib, "MiB")


def _peers(url: str) -> Iterator[Row]:
    """2,000 short prompts, 64 at a time: this package's cost of each peer's."""
    missing = peers.missing()
    there = [name for name in peers.PEERS if name not in missing]
    for path, pace in (("now", "at once"), ("slow", "after 50 ms")):
        cost = peers.costs(f"{url}/{path}", [peers.OURS, *there])
        ours = cost.pop(peers.OURS)
        yield Row(f"row of a batch, answered {pace}: CPU", ours["cpu"], "us")
        for name, theirs in cost.items():
            for kind, what in (("cpu", "CPU"), ("wall", "wall time")):
                title = f"  {what}, of {name} {peers.PEERS[name]}'s"
                yield Row(title, ours[kind] / theirs[kind], "x")
    for name, reason in missing.items():
        yield Row(f"{name} {peers.PEERS[name]}", math.nan, "", note=f"not installed: {reason}")


async def _all(url: str) -> list[Row]:
    return [
        *await _chats(url),
        *await _gemini(url),
        *await _engine(),
        *await _streams(url),
        *await _rotation(url),
        *await _limits(),
        *await _shared(),
    ]


def main() -> int:
    """Prints the table. The exit status is 0 whatever it says: machines are noisy."""
    with serving() as url:
        rows = asyncio.run(_all(url))
        print(f"{'medians, in turn, one run':<50}{'value':>9} {'':<5}{'aim':>7}")
        for row in (*rows, *_imports()):
            print(row)
        for row in _peers(url):  # last: nothing above is lost where one of them breaks
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
