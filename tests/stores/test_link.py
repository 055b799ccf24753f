"""The way to a real server: loops, threads, forks, calls that go away, answers that get lost."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import trustme

from llm_rotate.config.entries import StateStoreConfig
from llm_rotate.core.bucket import BucketSpec, Tokens
from llm_rotate.core.keystate import Change, KeyState, Kind
from llm_rotate.core.outcome import Scope
from llm_rotate.core.pool import FREE, Candidate, Lease, Refused
from llm_rotate.engine.clock import RealClock
from llm_rotate.engine.state import open_store
from llm_rotate.testing import Simulator
from tests.redis_server import RedisServer, free_port

from .direct import Clock, direct_store, done

NOW = time.monotonic
KEY = Candidate(0, "a", ("key:a",), {Scope.KEY: "key:a"})
LIMITED = Candidate(1, "b", ("key:b",), {Scope.KEY: "key:b"}, (BucketSpec("key:b", rpm=5),))


@pytest.fixture(autouse=True)
def _empty(server: RedisServer) -> None:
    server.do("FLUSHALL")


def opened(url: str, **more: Any) -> Any:
    return open_store(StateStoreConfig(backend="redis", redis_url=url, **more), RealClock())


def said(kind: Kind, until: float = 0.0) -> Change:
    return Change("key:a", None, KeyState(kind, until, reason="said"))


def test_several_loops_one_after_another_and_at_once(server: RedisServer) -> None:
    store = opened(server.url)

    async def rest_and_ask() -> Any:
        store.transition([said(Kind.COOLDOWN, NOW() + 60)], NOW())
        return await store.admit([KEY], NOW())

    for _ in range(2):
        assert isinstance(asyncio.run(rest_and_ask()), Refused)
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(asyncio.run(rest_and_ask())))
        for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(answers) == 8
    assert all(isinstance(each, Refused) for each in answers)
    gc.collect()


def test_what_the_last_turn_of_a_loop_said_arrives(server: RedisServer) -> None:
    store = opened(server.url)

    async def last_word() -> None:
        lease = await store.admit([KEY], NOW())
        assert isinstance(lease, Lease)
        store.transition([said(Kind.DISABLED, float("inf"))], NOW())

    asyncio.run(last_word())
    assert server.do("GET", "{llmrotate}s:key:a").split(b"|")[1] == b"D"


def test_a_closed_store_asks_for_its_server_no_more(caplog: pytest.LogCaptureFixture) -> None:
    server = RedisServer()
    store = opened(server.url)

    async def scenario() -> None:
        await store.catch_up()
        await store.aclose()
        server.close()

    asyncio.run(scenario())
    assert not caplog.records


def test_a_thread_without_a_loop_may_say_something(server: RedisServer) -> None:
    store = opened(server.url)

    async def scenario() -> None:
        await store.admit([KEY], NOW())
        change = said(Kind.DISABLED, float("inf"))
        await asyncio.to_thread(store.transition, [change], NOW())
        await asyncio.sleep(0.1)
        assert server.do("GET", "{llmrotate}s:key:a").split(b"|")[1] == b"D"

    asyncio.run(scenario())


@pytest.mark.parametrize("has_loop", [False, True])
def test_what_a_thread_counted_is_said_though_no_call_follows(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, has_loop: bool
) -> None:
    """As a lent key that is given back in another loop, or outside of one."""
    monkeypatch.setattr("llm_rotate.engine.link.LATER_SECONDS", 0.02)
    monkeypatch.setattr("llm_rotate.stores.counters.SAY_SECONDS", 0.01)
    store = opened(server.url)
    counted: dict[tuple[str, str, str], tuple[int, ...]] = {}

    def unsaid() -> Any:
        told = dict(counted)
        counted.clear()
        return told

    def give_back(lease: Lease) -> None:
        counted["p", "a", "m"] = (1, 0, 0, 0, 0)
        store.settle(lease, (), NOW())

    async def in_a_loop(lease: Lease) -> None:
        give_back(lease)

    async def scenario() -> None:
        store.count(unsaid)
        lease = await store.admit([KEY], NOW())
        await asyncio.sleep(0.1)  # whatever was to be said has been
        if has_loop:
            await asyncio.to_thread(lambda: asyncio.run(in_a_loop(lease)))
        else:
            await asyncio.to_thread(give_back, lease)
        async with asyncio.timeout(5):
            while not server.do("HLEN", "{llmrotate}counts"):  # noqa: ASYNC110 - asked of a server
                await asyncio.sleep(0.01)
        await store.aclose()

    asyncio.run(scenario())


def test_a_loop_that_was_just_closed_leaves_nothing_that_hurts(server: RedisServer) -> None:
    store = opened(server.url)
    loop = asyncio.new_event_loop()
    assert isinstance(loop.run_until_complete(store.admit([KEY], NOW())), Lease)
    loop.close()

    async def again() -> Any:
        return await store.admit([KEY], NOW())

    assert isinstance(asyncio.run(again()), Lease)
    gc.collect()


def test_a_fork_has_its_own_connection_and_names(server: RedisServer) -> None:
    store = opened(server.url)

    async def lend() -> Any:
        return await store.admit([KEY], NOW())

    async def scenario() -> None:
        first = await lend()
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                asyncio._set_running_loop(None)
                store.forget_leases()
                name = asyncio.run(lend()).id
                os.write(write, name.encode())
            finally:
                os._exit(0)
        os.close(write)
        there = await asyncio.to_thread(os.read, read, 100)
        os.close(read)
        await asyncio.to_thread(os.waitpid, child, 0)
        here = await lend()
        assert there
        assert there.decode().split("-")[0] != here.id.split("-")[0] == first.id.split("-")[0]

    asyncio.run(scenario())


def trial_of(server: RedisServer) -> bytes:
    return server.do("GET", "{llmrotate}s:key:a").split(b"|")[4]


def test_admissions_whose_callers_go_away_leave_no_trial(server: RedisServer) -> None:
    store = opened(server.url)

    async def scenario() -> None:
        store.transition([said(Kind.PROBATION)], NOW())
        await store.flush()
        for turns in range(6):
            asked = [asyncio.create_task(store.admit([KEY], NOW())) for _ in range(20)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            await store.flush()
            await store.flush()
            left = [each.result() for each in asked if not each.cancelled()]
            for lease in left:
                if isinstance(lease, Lease):
                    store.settle(lease, (), NOW())
            await store.flush()
            assert trial_of(server) == b""

    asyncio.run(scenario())


class Proxy:
    """Stands before a server and swallows the answer to the command that is told."""

    def __init__(self, port: int, tls: Any = None) -> None:
        self.port = free_port()
        self._tls = tls
        self._there = port
        self.swallow: Callable[[bytes], bool] = lambda asked: False
        self.swallowed = 0
        self._served: list[Any] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await asyncio.gather(*self._served)

    async def _serve(self, reader: Any, writer: Any) -> None:
        self._served.append(asyncio.current_task())
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._there)
        is_swallowing = False

        async def asks() -> None:
            nonlocal is_swallowing
            while asked := await reader.read(1 << 20):
                is_swallowing = self.swallow(asked)
                there.write(asked)

        async def answers() -> None:
            while (answer := await there_reader.read(1 << 20)) and not is_swallowing:
                writer.write(answer)
            if is_swallowing:
                self.swallowed += 1
                self.swallow = lambda asked: False

        ways = [asyncio.create_task(asks()), asyncio.create_task(answers())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, there):
            end.close()
        ended = (*ways, writer.wait_closed(), there.wait_closed())
        await asyncio.gather(*ended, return_exceptions=True)


def through_proxy(server: RedisServer, scenario: Callable[[Any, Proxy], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with Proxy(server.port) as proxy:
            store = opened(f"redis://127.0.0.1:{proxy.port}", store_timeout_ms=2000)
            await store.admit([KEY], NOW())
            await scenario(store, proxy)
            await store.aclose()

    asyncio.run(whole())


def test_an_admission_whose_answer_was_lost_is_answered_again_alike(server: RedisServer) -> None:
    async def scenario(store: Any, proxy: Proxy) -> None:
        store.transition([said(Kind.PROBATION)], NOW())
        await store.flush()
        proxy.swallow = lambda asked: b"EVALSHA" in asked
        trial = await store.admit([KEY], NOW())
        assert proxy.swallowed == 1
        assert isinstance(trial, Lease)
        assert trial.trials == ("key:a",)
        assert trial_of(server).decode() == trial.id

    through_proxy(server, scenario)


def test_a_change_whose_answer_was_lost_is_made_once(server: RedisServer) -> None:
    async def scenario(store: Any, proxy: Proxy) -> None:
        store.transition([said(Kind.COOLDOWN, NOW() + 60)], NOW())
        proxy.swallow = lambda asked: b"EVALSHA" in asked
        await store.flush()
        assert proxy.swallowed == 1
        assert server.do("GET", "{llmrotate}s:key:a").startswith(b"1|C|")
        assert store.state("key:a").version == 1

    through_proxy(server, scenario)


def test_a_limited_admission_whose_answer_was_lost_counts_once_and_can_be_given_back(
    server: RedisServer,
) -> None:
    async def scenario(store: Any, proxy: Proxy) -> None:
        for owed, left in ((Tokens(3, 4), 1), (None, 1)):
            proxy.swallow = lambda asked: b"EVALSHA" in asked
            lease = await store.admit([LIMITED], NOW(), Tokens(5, 5))
            assert isinstance(lease, Lease)
            assert (await room(store)).taken == left + (owed is None)
            proxy.swallow = lambda asked: b"settle" in asked
            store.settle(lease, (), NOW(), owed)
            assert (await room(store)).taken == left
        assert proxy.swallowed == 4

    through_proxy(server, scenario)


async def room(store: Any) -> Any:
    return (await store.rooms([LIMITED], NOW()))["key:b"]["rpm"]


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    server = RedisServer(*request.param)
    yield server
    server.close()


def shares(url: str) -> None:
    """Two stores at ``url`` see each other's changes."""
    here, there = opened(url, store_timeout_ms=5000), opened(url, store_timeout_ms=5000)

    async def scenario() -> None:
        here.transition([said(Kind.COOLDOWN, NOW() + 60)], NOW())
        await here.flush()
        assert isinstance(await there.admit([KEY], NOW()), Refused)
        lease = await there.admit([LIMITED], NOW())
        there.settle(lease, (), NOW(), FREE)
        assert await there.rooms([LIMITED], NOW())
        here.count(lambda: {("p", "a", ""): (1, 0, 0, 0, 0)})
        assert await here.counted() == {("p", "a", ""): [1, 0, 0, 0, 0]}
        assert not here._link.failure
        assert not there._link.failure
        await here.aclose()
        await there.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("own_server", [("--unixsocket", "redis.sock")], indirect=True)
def test_a_socket_file(own_server: RedisServer) -> None:
    shares(f"unix://{own_server.folder}/redis.sock")


def test_tls(server: RedisServer, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def scenario() -> None:
        async with Proxy(server.port, context) as proxy:
            url = f"rediss://127.0.0.1:{proxy.port}/0"
            store = opened(f"{url}?ssl_ca_certs={tmp_path}/ca.pem", store_timeout_ms=5000)
            await store.flush()
            assert store._link.failure == ""
            stranger = opened(url, store_timeout_ms=5000)
            await stranger.flush()
            assert "verify" in stranger._link.failure.lower()
            await store.aclose()
            await stranger.aclose()

    asyncio.run(scenario())


def test_another_database(server: RedisServer) -> None:
    shares(f"redis://127.0.0.1:{server.port}/3")
    assert server.do("DBSIZE") == 0


def test_a_user_who_may_do_only_what_is_needed(server: RedisServer) -> None:
    """The line is the one of docs/how-to/workers.md."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "workers.md"
    rule = next(line for line in page.read_text().splitlines() if line.startswith("user worker "))
    assert "~{my-service}*" in rule
    words = rule.replace("my-service", "llmrotate").split()[2:]
    server.do("ACL", "SETUSER", "worker", *words)
    shares(f"redis://worker:pass@127.0.0.1:{server.port}")
    server.do("ACL", "DELUSER", "worker")


def test_an_admission_cancelled_with_its_answer_in_hand_leaves_no_trial(
    server: RedisServer,
) -> None:
    store = opened(server.url)

    async def scenario() -> None:
        store.transition([said(Kind.PROBATION)], NOW())
        await store.flush()
        asked = asyncio.create_task(store.admit([KEY], NOW()))
        hand_over = store._link._wires[asyncio.get_running_loop()]._hand_over

        granted: list[Any] = []

        def cancelling(asks: Any) -> None:
            hand_over(asks)
            granted.extend(ask.answer for ask, _ in asks)
            if granted:
                asked.cancel()

        store._link._wires[asyncio.get_running_loop()]._hand_over = cancelling
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert isinstance(granted[0], Lease)
        assert granted[0].trials
        store._link._wires[asyncio.get_running_loop()]._hand_over = hand_over
        await store.flush()
        assert trial_of(server) == b""

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", range(8))
def test_a_loop_that_was_busy_itself_does_not_blame_the_server(
    server: RedisServer, turns: int
) -> None:
    store = opened(server.url, store_timeout_ms=60)

    async def scenario() -> None:
        await store.flush()
        asked = asyncio.create_task(store.admit([KEY], NOW()))
        for _ in range(turns):
            await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - that is what it is about
        assert isinstance(await asked, Lease)
        assert not store._link.failure
        await store.aclose()

    asyncio.run(scenario())


def test_many_changes_go_in_parts_that_one_timeout_can_bound(server: RedisServer) -> None:
    with server.client() as client:
        clock = Clock(client)
        store, other = direct_store(client, clock), direct_store(client, clock)
        done(store.catch_up())
        rest = KeyState(Kind.COOLDOWN, clock.now + 60)
        store.transition([Change(f"key:{n}", None, rest) for n in range(5_000)], clock.now)
        parts = []
        while store.is_owing:
            commands = store.outgoing([], clock.now)
            parts.append(sum(len(command.args) // 8 for command in commands))
            for command in commands:
                command.heard(store._link.call(command), clock.now)
        assert parts == [2_000, 2_000, 1_000]
        assert len(done(other.snapshot())) == 5_000


# -- a program that just ends

SCRIPT = """
import asyncio, os, sys, time
from llm_rotate import LMRotate, configure_from_dict
store = {"backend": "redis", "redis_url": os.environ["STORE"], "redis_namespace": "ends"}
registry = {
    "providers": {"openai": {"base_url": os.environ["URL"]}},
    "keys": [{"key_id": "k1", "provider": "openai", "secret_ref": "env://SECRET"}],
    "state_store": store | {"store_timeout_ms": int(os.environ["PATIENCE_MS"])},
}
lm = LMRotate(configure_from_dict(registry, ["k1"]))
call = ("gpt-4o-mini", [{"role": "user", "content": "hello"}])
async def main():
    for _ in range(5):
        await lm.chat(*call)
"""
ENDS = {
    "calls without a loop": "for _ in range(5): lm.chat_sync(*call)",
    "calls in asyncio.run": "asyncio.run(main())",
    "sys.exit": "for _ in range(5): lm.chat_sync(*call)\nsys.exit(0)",
}


def ended(server: RedisServer, sim: Simulator, script: str, patience_ms: int = 5000) -> str:
    """What it prints. It ends well, and complains of nothing."""
    given = {"STORE": server.url, "URL": sim.url("openai"), "SECRET": sim.secret("k1")}
    assert server.process is not None
    given |= {"PATIENCE_MS": str(patience_ms), "SERVER": str(server.process.pid)}
    process = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT + script],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


@pytest.mark.parametrize("end", ENDS)
def test_C04_what_a_program_counted_is_said_when_it_just_ends(
    server: RedisServer, end: str
) -> None:
    with Simulator().serve() as sim:
        ended(server, sim, ENDS[end])
    assert server.do("HGET", "{ends}counts", '["openai", "k1", "gpt-4o-mini", 0]') == b"5"


@pytest.mark.parametrize("lost", ["SIGSTOP", "SIGKILL"])
def test_C04_a_program_ends_at_once_and_silently_though_its_server_is_away(lost: str) -> None:
    script = f"""
import signal
lm.chat_sync(*call)
os.kill(int(os.environ["SERVER"]), signal.{lost})
print(time.monotonic(), flush=True)
"""
    server = RedisServer()
    with Simulator().serve() as sim:
        out = ended(server, sim, script, patience_ms=200)
    assert time.monotonic() - float(out) < 2.0  # the same clock in every process
    server.thaw()
    server.close()
