"""Code without a loop: scripts, notebooks, threads, forks, Ctrl-C, and a quiet end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from llm_rotate import ChatResponse
from llm_rotate.core.events import EventKind
from llm_rotate.testing import Simulator

from .dialects import each_dialect
from .doors import Sockets, sockets, wait_until
from .world import HELLO, MODELS

# What every script begins with; URL, PROVIDER and MODEL come from the environment.
SCRIPT = """
import asyncio, faulthandler, logging, os, signal, sys, threading, time
import llm_rotate
# A busy machine takes long over a step: in the development mode asyncio would say so.
logging.getLogger("asyncio").addFilter(lambda record: "took %.3f seconds" not in record.msg)
from llm_rotate import configure_from_dict, LMRotate
E = os.environ
MODEL, HELLO = E["MODEL"], [{"role": "user", "content": "hello"}]
REGISTRY = {
    "providers": {E["PROVIDER"]: {"base_url": E["URL"]}},
    "keys": [{"key_id": "k1", "provider": E["PROVIDER"], "secret_ref": "env://SECRET"}],
}
lm = LMRotate(configure_from_dict(REGISTRY, ["k1"]))
said = threading.Event()
def begun(event):
    if event.kind == "attempt_started":
        said.set()
def ask(**more):
    return lm.chat_sync(MODEL, HELLO, **more).content
def ask_in_background():
    threading.Thread(target=ask, daemon=True).start()
    assert said.wait(5)
"""


def environment(sim: Simulator, provider: str) -> dict[str, str]:
    given = {
        "URL": sim.url(provider),
        "PROVIDER": provider,
        "MODEL": MODELS[provider],
        "SECRET": sim.secret("k1"),
    }
    return {**os.environ, **given}


def start(sim: Simulator, provider: str, script: str, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", *flags, "-c", SCRIPT + script],
        env=environment(sim, provider),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(sim: Simulator, provider: str, script: str, *flags: str) -> str:
    """What the script prints. It must end well, and say nothing on stderr."""
    with start(sim, provider, script, *flags) as process:
        out, err = ended(process)
    assert (process.returncode, err) == (0, "")
    return out


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed and complained of; killed if it does not end."""
    try:
        return process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        raise AssertionError("it hangs", process.communicate()) from None


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator().serve() as sim:
        yield sim


@contextmanager
def pool(provider: str, **arguments: Any) -> Iterator[Sockets]:
    with sockets(provider=provider, **arguments) as world:
        yield world
        world.lm.close_sync()
        world.check_idle()


def ask(world: Sockets, **arguments: Any) -> ChatResponse:
    return world.lm.chat_sync(world.model, HELLO, **arguments)


# -- where it works


@each_dialect
def test_C04_in_a_plain_thread_of_control(provider):
    with pool(provider) as world:
        answer = ask(world, max_tokens=2)
        assert (answer.content, answer.key_id) == ("You said:", "k1")


@each_dialect
def test_C04_within_a_running_loop_as_in_a_notebook(provider):
    with pool(provider) as world:

        async def cell() -> str:
            before = ask(world).content
            after = (await world.chat()).content
            await world.lm.close()
            return before + after

        assert asyncio.run(cell()) == "You said: hello" * 2


@each_dialect
def test_C04_from_20_threads(provider):
    with pool(provider, strategy="round_robin") as world:
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(lambda _: ask(world), range(200)))
        assert {answer.content for answer in answers} == {"You said: hello"}
        assert world.sim.requests() == 200
        assert world.lm.usage_summary_sync()["total"]["successes"] == 200
        assert {key: world.sim.requests(key) for key in ("k1", "k2", "k3")} == pytest.approx(
            dict.fromkeys(("k1", "k2", "k3"), 67), abs=1
        )


@each_dialect
def test_C04_sync_and_async_calls_at_the_same_time(provider):
    with pool(provider) as world:

        async def many() -> list[ChatResponse]:
            asked = [asyncio.to_thread(ask, world) for _ in range(20)]
            answers = await asyncio.gather(*asked, *(world.chat() for _ in range(20)))
            await world.lm.close()
            return answers

        assert len(asyncio.run(many())) == world.sim.requests() == 40


@each_dialect
def test_C04_one_pool_over_two_event_loops(provider):
    """And the connections of the first are closed with it, though nobody closed the pool."""
    with pool(provider) as world:
        for n in (1, 2):
            assert asyncio.run(world.chat()).content == "You said: hello"
            assert wait_until(lambda: world.sim.open_connections == 0)
            assert world.sim.requests() == n


@each_dialect
def test_C04_a_sync_call_on_the_loop_that_serves_them_says_so(provider):
    """It would wait for itself for ever."""
    found: list[BaseException] = []
    with pool(provider) as world:

        def listener(event: Any) -> None:
            if event.kind is EventKind.ATTEMPT_STARTED:
                try:
                    ask(world)
                except RuntimeError as error:
                    found.append(error)

        with world.lm.listen(listener):
            assert ask(world).content
        assert "await the async form" in str(found[0])
        assert (len(found), world.sim.requests()) == (1, 1)


@each_dialect
def test_C04_the_callers_context_is_there(provider):
    name: ContextVar[str] = ContextVar("name", default="nobody")
    heard: list[str] = []
    name.set("the caller")
    with pool(provider) as world, world.lm.listen(lambda _: heard.append(name.get())):
        ask(world)
    assert set(heard) == {"the caller"}


# -- fork

FORK = """
def forked(work):
    pid = os.fork()
    if not pid:
        code = 1
        faulthandler.dump_traceback_later(15, exit=True)
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@each_dialect
def test_C04_after_fork(provider, sim):
    script = "print(ask()); print(forked(ask)); print(ask())"
    out = run(sim, provider, FORK + script)
    assert out.split("\n")[:3] == ["You said: hello", "0", "You said: hello"]
    assert sim.requests("k1") == 3


@each_dialect
def test_C04_after_fork_with_a_call_in_flight_that_holds_the_only_trial(provider, sim):
    """The child has not that call, so the key is free for it; the parent's goes on."""
    sim.key("k1").slow(1.0, times=1)
    script = """
answers = []
ask_kept = lambda: answers.append(ask())
lm.keys.enable_sync("k1")
with lm.listen(begun):
    thread = threading.Thread(target=ask_kept)
    thread.start()
    assert said.wait(5)
    def child():
        assert lm.health_sync().providers[E["PROVIDER"]].keys["k1"].in_flight == 0
        assert ask(max_wait_seconds=0) == "You said: hello"
    print(forked(child))
thread.join()
print(answers)
"""
    assert run(sim, provider, FORK + script).split("\n")[:2] == ["0", "['You said: hello']"]
    assert sim.requests("k1") == 2


@each_dialect
def test_C04_after_fork_inside_a_running_loop(provider, sim):
    script = """
async def main():
    answer = await lm.chat(MODEL, HELLO)
    print(answer.content, forked(ask), forked(lambda: asyncio.run(lm.chat(MODEL, HELLO))))
    print((await lm.chat(MODEL, HELLO)).content)
asyncio.run(main())
"""
    assert run(sim, provider, FORK + script) == "You said: hello 0 0\nYou said: hello\n"


@each_dialect
def test_C04_many_forks_under_busy_threads(provider, sim):
    script = """
ask()  # imports are done: a fork while another thread imports is Python's own deadlock
stop = threading.Event()
def busy():
    while not stop.is_set():
        ask()
threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads: thread.start()
codes = {forked(ask) for _ in range(20)}
stop.set()
for thread in threads: thread.join()
print(codes)
"""
    assert run(sim, provider, FORK + script) == "{0}\n"


LEAVES = {
    "closes": "lambda: stream.close()",
    "drops": "drop",
    "closes in a loop of its own": "lambda: asyncio.run(stream._stream.aclose())",
}


@each_dialect
@pytest.mark.parametrize("leave", LEAVES)
def test_C04_a_forked_child_leaves_the_parents_stream_alone(provider, sim, leave):
    """It has the same connection: to close it would cut the parent's answer off."""
    sim.key("k1").slow(0.0, between=0.1)
    script = f"""
import gc
stream = lm.chat_stream_sync(MODEL, HELLO, timeouts={{"idle": 3}})
words = [next(stream).delta]
def drop():
    global stream
    del stream
    gc.collect()
print(forked({LEAVES[leave]}))
print("".join(words + [chunk.delta for chunk in stream]))
print(ask(timeouts={{"first_byte": 3}}))
"""
    out = run(sim, provider, FORK + script)
    assert out.split("\n")[:3] == ["0", "You said: hello", "You said: hello"]
    assert sim.streams_cut_by_client == 0


# -- the end

ENDS = {
    "after a call": "ask()",
    "after a stream": "list(lm.chat_stream_sync(MODEL, HELLO))",
    "with a stream half read": "s = lm.chat_stream_sync(MODEL, HELLO); next(s)",
    "with a key still lent": "loan = lm.acquire_sync(E['PROVIDER']); key = loan.__enter__()",
    "with a listener": "ask(); c = lm.listen(print); c.__enter__()",
    "with a call in flight": "c = lm.listen(begun); c.__enter__(); ask_in_background()",
    "after close": "ask(); lm.close_sync()",
    "after asyncio.run": "asyncio.run(lm.chat(MODEL, HELLO)); ask()",
    "with an async stream half read": (
        "async def main():\n    global s\n    s = lm.chat_stream(MODEL, HELLO)\n    await anext(s)\n"
        "asyncio.run(main())"
    ),
    "with the singleton": (
        "llm_rotate.configure(registry=REGISTRY); print(llm_rotate.lm.chat_sync(MODEL, HELLO).content)"
    ),
    "unused": "pass",
}


@each_dialect
@pytest.mark.parametrize("end", ENDS)
def test_C04_the_interpreter_exits_at_once_and_silently(provider, sim, end):
    """In development mode, where every warning is an error and unclosed things are told of."""
    if end == "with a call in flight":
        sim.key("k1").slow(float("inf"))
    elif "half read" in end:
        sim.key("k1").silent_stream(1)
    script = f"{ENDS[end]}\nprint(time.monotonic(), flush=True)"
    out = run(sim, provider, script, "-X", "dev", "-W", "error")
    ended = time.monotonic()  # the same clock in every process
    assert (
        ended - float(out.strip().split("\n")[-1]) < 5.0
    )  # python itself takes one, on a busy machine
    assert sim.wait_idle()


# -- Ctrl-C


def interrupt(sim: Simulator, process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ctrl-C while the first request is being answered."""
    assert sim.wait_for(lambda: sim.in_flight == 1, 20)
    process.send_signal(signal.SIGINT)
    return ended(process)


CAUGHT = """
try:
    {call}
except KeyboardInterrupt:
    key = lm.health_sync().providers[E["PROVIDER"]].keys["k1"]
    print("interrupted", key.state, key.in_flight, ask())
"""


@each_dialect
@pytest.mark.parametrize("call", ["ask()", "list(lm.chat_stream_sync(MODEL, HELLO))"])
def test_C04_ctrl_c_cancels_the_call_and_the_next_one_works(provider, sim, call):
    sim.key("k1").slow(float("inf"), times=1)
    with start(sim, provider, CAUGHT.format(call=call)) as process:
        out, err = interrupt(sim, process)
    assert (process.returncode, err, out) == (0, "", "interrupted active 0 You said: hello\n")
    assert sim.wait_idle()


@each_dialect
def test_C04_ctrl_c_that_nobody_catches_ends_the_script_with_its_own_traceback(provider, sim):
    sim.key("k1").slow(float("inf"))
    with start(sim, provider, "ask()", "-X", "dev", "-W", "error") as process:
        _, err = interrupt(sim, process)
    assert process.returncode == -signal.SIGINT
    assert err.strip().split("\n")[-1] == "KeyboardInterrupt"
    assert err.count("Traceback") == 1
    assert sim.wait_idle()


@each_dialect
def test_C04_ctrl_c_while_waiting_for_a_key_leaves_no_waiter(provider, sim):
    script = """
logging.getLogger("llm_rotate").disabled = True  # it says that the call waits long
lm.keys.rest_sync("k1", 3600)
def interrupt():
    while not lm._pool.judge.bell._waiting:
        threading.Event().wait(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    lm.chat_sync(MODEL, HELLO, max_wait_seconds=7200)
except KeyboardInterrupt:
    lm.keys.reset_sync("k1")
    print(ask(), len(lm._pool.judge.bell._waiting))
"""
    assert run(sim, provider, script) == "You said: hello 0\n"


def test_C04_calls_of_threads_that_outlive_main_are_answered(sim):
    """The background loop serves until the last thread has its answer."""
    sim.key("k1").slow(0.3)
    script = "threading.Thread(target=lambda: print(ask())).start()"
    assert run(sim, "openai", script) == "You said: hello\n"


def test_C04_nothing_of_the_tests_own_threads_is_left():
    """One background thread serves all sync calls of this process."""
    names = [t.name for t in threading.enumerate() if "portal" in t.name]
    assert len(names) <= 1
