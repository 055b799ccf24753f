"""Cluster and Sentinel, from the same binary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from llm_rotate.core.keystate import Kind
from llm_rotate.core.pool import Lease, Refused
from tests.redis_server import RedisServer, free_port

from .test_link import KEY, NOW, opened, said, shares

SLOTS = 16384
BUS = 10_000  # a node's bus port is its port and this


def wait_for(true: Any, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < until
        time.sleep(0.02)


def node_port() -> int:
    """A free port whose bus port exists too."""
    while (port := free_port()) + BUS > 65_535:
        pass
    return port


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
    nodes = [RedisServer(*options, port=node_port()) for _ in range(3)]
    share = -(-SLOTS // len(nodes))
    for i, node in enumerate(nodes):
        slots = range(i * share, min((i + 1) * share, SLOTS))
        node.do("CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1]) if has_ranges(node) else node.do(
            "CLUSTER", "ADDSLOTS", *slots
        )
        node.do("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        nodes[0].do("CLUSTER", "MEET", "127.0.0.1", node.port)
    for node in nodes:
        wait_for(lambda node=node: "cluster_state:ok" in str(node.do("CLUSTER", "INFO")))
    yield nodes
    for node in nodes:
        node.close()


def has_ranges(node: RedisServer) -> bool:
    with node.client() as client:
        return int(client.info("server")["redis_version"].split(".")[0]) >= 7


def test_D06_a_cluster_serves_each_namespace_from_one_slot(cluster: list[RedisServer]) -> None:
    for first in cluster:
        url = f"redis+cluster://127.0.0.1:{first.port}"
        for namespace in ("one", "two", "three", "four"):
            store = opened(url, redis_namespace=namespace, store_timeout_ms=5000)

            async def scenario(store: Any = store) -> None:
                store.transition([said(Kind.COOLDOWN, NOW() + 60)], NOW())
                assert isinstance(await store.admit([KEY], NOW()), Refused)
                assert store._link.failure == ""
                await store.aclose()

            asyncio.run(scenario())
    names = [name for node in cluster for name in node.do("KEYS", "*")]
    assert len(names) == len(set(names)) == 4 * 5


def test_a_cluster_is_found_by_any_node_that_answers(cluster: list[RedisServer]) -> None:
    nodes = ",".join(f"127.0.0.1:{port}" for port in (free_port(), cluster[2].port))
    shares(f"redis+cluster://{nodes}")


def test_sentinel_tells_who_is_the_master_and_a_failover_is_followed(caplog: Any) -> None:
    first, second = RedisServer(), RedisServer()
    second.do("REPLICAOF", "127.0.0.1", first.port)
    wait_for(lambda: b"master_link_status:up" in raw_info(second))
    sentinel = watched(first)
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0"
    here = opened(url, store_timeout_ms=1000)

    async def scenario() -> None:
        assert isinstance(await here.admit([KEY], NOW()), Lease)
        here.transition([said(Kind.DISABLED, float("inf"))], NOW())
        await here.flush()
        assert first.do("EXISTS", "{llmrotate}s:key:a") == 1
        first.kill()
        async with asyncio.timeout(15):
            while not is_master(second) or here._link.is_cut:
                assert isinstance(await here.admit([KEY], NOW()), Refused)
                await asyncio.sleep(0.05)
            here.transition([said(Kind.QUARANTINE, NOW() + 600)], NOW())
            while second.do("GET", "{llmrotate}s:key:a").split(b"|")[1] != b"Q":
                await here.flush()
                await asyncio.sleep(0.05)
        await here.aclose()

    try:
        asyncio.run(scenario())
    finally:
        for each in (sentinel, second, first):
            each.close()
    assert "is back" in caplog.text


def is_master(server: RedisServer) -> bool:
    with suppress(redis.RedisError):  # sentinel ends its connections when it makes it one
        return b"role:master" in raw_info(server)
    return False


def raw_info(server: RedisServer) -> bytes:
    with server.client() as client:
        client.response_callbacks.clear()
        found = client.execute_command("INFO", "replication")
    return found if isinstance(found, bytes) else str(found).replace("': '", ":").encode()


def watched(master: RedisServer) -> RedisServer:
    """A sentinel that alone decides on the master's failover, fast."""
    sentinel = RedisServer.sentinel()
    sentinel.do("SENTINEL", "MONITOR", "main", "127.0.0.1", master.port, 1)
    sentinel.do("SENTINEL", "SET", "main", "down-after-milliseconds", 500)
    sentinel.do("SENTINEL", "SET", "main", "failover-timeout", 2000)
    wait_for(lambda: sentinel.do("SENTINEL", "REPLICAS", "main"))
    return sentinel
