"""Whatever stands at a key of the server, nobody is cut off by it: it counts as nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from llm_rotate.core.bucket import BucketSpec, Tokens
from llm_rotate.core.keystate import Change, KeyState, Kind
from llm_rotate.core.learned import Reading
from llm_rotate.core.outcome import Scope
from llm_rotate.core.pool import Candidate, Lease, Refused
from tests.redis_server import RedisServer

from .direct import opened

NOW = time.monotonic
COST = Tokens(10, 10)
SPEC = BucketSpec("key:a", rpm=6, tpm=1000, rpd=100, max_concurrency=4, request_burst=6)
KEY = Candidate(
    0, "a", ("key:a",), {Scope.KEY: "key:a"}, (SPEC,), lambda now: (now + 9e3, now + 95e3)
)
# Among it what msgpack takes for a table of no or of one field, a number, a text, a list.
GARBAGE = [b"", b"nonsense", b"\xff\x00", b"\x80", b"\x81\xa2at\x01", b"\x07", b"\xa3abc", b"\x90"]


@pytest.fixture(autouse=True)
def _empty(server: RedisServer) -> None:
    server.do("FLUSHALL")


async def taken(store: Any, limit: str = "rpm") -> float:
    (rooms,) = (await store.rooms([KEY], NOW())).values()
    return float(rooms[limit].taken)


def write(server: RedisServer, key: bytes, value: Any) -> None:
    """``value``: a string, or a list for what is of another type."""
    with server.client() as client:
        client.delete(key)
        client.rpush(key, *value) if isinstance(value, list) else client.set(key, value, px=60_000)


@pytest.mark.parametrize("value", [*GARBAGE, [b"a list"]], ids=repr)
def test_a_value_that_is_no_bucket_is_begun_anew(server: RedisServer, value: Any) -> None:
    async def scenario() -> None:
        store = opened(server.url)
        first = await store.admit([KEY], NOW(), COST)
        write(server, b"{llmrotate}b:key:a", value)
        store.settle(first, (), NOW(), COST)
        await store.flush()
        second = await store.admit([KEY], NOW(), COST)
        assert isinstance(second, Lease)
        assert await taken(store) == 1
        write(server, b"{llmrotate}b:key:a", value)
        store.learn(second, SPEC, [Reading(0, 4, 6, 30.0)], NOW())
        await store.flush()
        write(server, b"{llmrotate}b:key:a", value)
        assert await taken(store) == 0
        assert not store._link.failure
        await store.aclose()

    asyncio.run(scenario())


def test_a_bucket_of_which_a_part_is_missing_is_begun_anew(server: RedisServer) -> None:
    """As one of another version. Each field in turn is taken out, or is of another kind."""

    async def scenario() -> None:
        store = opened(server.url)
        await store.admit([KEY], NOW(), COST)
        whole = server.do("GET", "{llmrotate}b:key:a")
        with server.client() as client:
            broken = client.register_script(BROKEN)
            fields = broken(keys=["{llmrotate}b:key:a"], args=[whole])
        assert len(fields) > 30
        for value in fields:
            write(server, b"{llmrotate}b:key:a", value)
            lease = await store.admit([KEY], NOW(), COST)
            assert isinstance(lease, Lease)
            store.settle(lease, (), NOW(), COST)
            await store.flush()
            assert await taken(store) == 1, "it was not begun anew"
            assert not store._link.failure
        await store.aclose()

    asyncio.run(scenario())


BROKEN = """
local found = {}
local function without(table, whole)
  for name, each in pairs(table) do
    for _, other in ipairs({false, 'x', {}}) do
      if type(other) ~= type(each) and name ~= 'row' then -- which the next caller says anyway
        table[name] = other or nil
        found[#found + 1] = cmsgpack.pack(whole)
        table[name] = each
      end
    end
  end
end
local bucket = cmsgpack.unpack(ARGV[1])
bucket.is_wanted = nil
without(bucket, bucket)
without(bucket.meters[1], bucket)
without(bucket.admitted, bucket)
return found
"""


@pytest.mark.parametrize("value", [*GARBAGE, b"\x81\xa5place\x01", [b"a list"]], ids=repr)
def test_a_record_that_is_none_corrects_nothing(server: RedisServer, value: Any) -> None:
    async def scenario() -> None:
        store = opened(server.url)
        lease = await store.admit([KEY], NOW(), COST)
        write(server, b"{llmrotate}l:" + lease.id.encode(), value)
        store.renew([lease], NOW())
        store.learn(lease, SPEC, [Reading(0, 4, 6, 30.0)], NOW())
        store.settle(lease, (), NOW(), COST)
        await store.flush()
        assert await taken(store) >= 1
        assert not store._link.failure
        await store.aclose()

    asyncio.run(scenario())


RESTS = [b'["x"]', b"nonsense", b"7", b'[0, 0, 0, "of_tomorrow", null, "words"]', b"\xff"]


@pytest.mark.parametrize("rest", RESTS, ids=repr)
def test_a_state_whose_words_cannot_be_read_cuts_nobody_off(
    server: RedisServer, rest: bytes
) -> None:
    """As that of a later version, while workers are replaced one by one."""

    async def scenario() -> None:
        here, there = opened(server.url), opened(server.url)
        state = KeyState(Kind.COOLDOWN, NOW() + 60, reason="said")
        here.transition([Change("key:a", None, state)], NOW())
        await here.flush()
        words = server.do("GET", "{llmrotate}s:key:a").split(b"|", 7)
        write(server, b"{llmrotate}s:key:a", b"|".join([*words[:7], rest]))
        answer = await there.admit([KEY], NOW(), COST)
        assert isinstance(answer, Refused)
        assert answer.blocked[0].until == pytest.approx(NOW() + 60, abs=1.0)
        later = replace(state, until=NOW() + 600)
        there.transition([Change("key:a", None, later)], NOW())
        await there.flush()
        assert (await here.snapshot())["key:a"].reason == "said"
        assert not there._link.failure
        assert not here._link.failure
        await here.aclose()
        await there.aclose()

    asyncio.run(scenario())


STATES = [*GARBAGE, b"1|C|2", b"x|C|0|0||0||[]", b"1|Z|9|0||0||[]", b"1|C|9|0||x||[]", [b"a list"]]


@pytest.mark.parametrize("value", STATES, ids=repr)
def test_a_state_that_is_none_is_as_new(server: RedisServer, value: Any) -> None:
    async def scenario() -> None:
        here, there = opened(server.url), opened(server.url)
        rest = Change("key:a", None, KeyState(Kind.COOLDOWN, NOW() + 60, reason="said"))
        here.transition([rest], NOW())
        await here.flush()
        write(server, b"{llmrotate}s:key:a", value)
        assert isinstance(await there.admit([KEY], NOW(), COST), Lease)
        there.transition([rest], NOW())
        await there.flush()
        assert isinstance(await there.admit([KEY], NOW(), COST), Refused)
        assert not there._link.failure
        assert not here._link.failure
        await here.aclose()
        await there.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("key", ["epoch", "count"])
@pytest.mark.parametrize("value", [b"", b"\xff", b"nonsense", [b"a list"]], ids=repr)
def test_a_namespace_whose_beginning_is_lost_begins_anew(
    server: RedisServer, key: str, value: Any
) -> None:
    async def scenario() -> None:
        here, there = opened(server.url), opened(server.url)
        await there.catch_up()
        rest = Change("key:a", None, KeyState(Kind.COOLDOWN, NOW() + 60, reason="said"))
        here.transition([rest], NOW())
        await here.flush()
        write(server, b"{llmrotate}" + key.encode(), value)
        await here.flush()
        assert isinstance(await there.admit([KEY], NOW(), COST), Refused)
        await here.flush()
        assert not here._link.failure
        assert not there._link.failure
        await here.aclose()
        await there.aclose()

    asyncio.run(scenario())


def counting(store: Any, name: tuple[str, str, str]) -> None:
    store.count(lambda: {name: (1, 0, 7, 0, 0)})


@pytest.mark.parametrize(
    "field", [b"nonsense", b'["p"]', b'["p", "a", "m", 9]', b"[1, 2"], ids=repr
)
def test_counts_that_are_none_are_left_out(server: RedisServer, field: bytes) -> None:
    async def scenario() -> None:
        store = opened(server.url)
        with server.client() as client:
            client.hset("{llmrotate}counts", field, 5)
            client.hset("{llmrotate}counts", b'["p", "a", "m", 2]', "many")
        counting(store, ("p", "a", "m"))
        found = await store.counted()
        assert found[("p", "a", "m")][0] == 1
        assert not store._link.failure
        await store.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("value", [b"nonsense", [b"a list"]], ids=repr)
def test_what_is_no_hash_of_counts_is_begun_anew(server: RedisServer, value: Any) -> None:
    async def scenario() -> None:
        store = opened(server.url)
        write(server, b"{llmrotate}counts", value)
        write(server, f"{{llmrotate}}said:{store._name}".encode(), value)
        counting(store, ("p", "a", "m"))
        assert await store.counted() == {("p", "a", "m"): [1, 0, 7, 0, 0]}
        assert not store._link.failure
        await store.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("value", [b"nonsense", [b"a list"]], ids=repr)
def test_what_is_no_list_of_workers_is_begun_anew(server: RedisServer, value: Any) -> None:
    async def scenario() -> None:
        store = opened(server.url)
        write(server, b"{llmrotate}workers", value)
        await store.catch_up()
        assert not store._link.failure
        assert server.do("ZCARD", "{llmrotate}workers") == 1
        await store.aclose()

    asyncio.run(scenario())
