"""Every order in which processes can speak to the server, and be interrupted.

An admission goes through four moments: it is asked for, it is said, the server acts on it (a
script runs whole), it is heard. Here each is a step of its own, of any process, in any order;
between them a call may be cancelled, an answer lost after the server acted, a process cut off.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llm_rotate.core.bucket import BucketSpec, Tokens
from llm_rotate.core.keystate import Change, KeyState, Kind
from llm_rotate.core.outcome import Scope
from llm_rotate.core.pool import Candidate, Lease, Refused
from llm_rotate.stores.errands import Ask, Command
from llm_rotate.stores.redis import RedisStore
from tests.redis_server import RedisServer

from .direct import Clock, DirectLink

SLOTS, RPM = 2, 5
WHO = st.integers(0, 1)
SPEC = BucketSpec("key:a", rpm=RPM, tpm=1000, request_burst=RPM, max_concurrency=SLOTS)
KEY = Candidate(0, "a", ("key:a",), {Scope.KEY: "key:a"}, (SPEC,))
COST = Tokens(3, 4)
USED = 2


@types.coroutine
def pause() -> Generator[None, None, None]:
    yield


class SlowLink(DirectLink):
    """Each moment of a flush is a step of the test's."""

    def __init__(self, client: Any, now: Callable[[], float]) -> None:
        super().__init__(client, now)
        self.asks: list[Ask] = []
        self.given_up: set[str] = set()
        self.under_way: list[tuple[list[Ask], list[Command], list[Any]]] = []

    async def ask(self, ask: Ask) -> None:
        if not self.is_cut:
            self.asks.append(ask)
        while ask.answer is None and not self.is_cut and ask.id not in self.given_up:
            await pause()

    def say(self) -> None:
        assert self.store is not None
        asks, self.asks = self.asks, []
        commands = self.store.outgoing(asks, self.now())
        self.under_way.append((asks, commands, []))

    def act(self, times: int = 1) -> None:
        """The server runs the scripts of the oldest flush; nobody has heard of it yet. Twice:
        the connection ended after it acted, and all was said again.
        """
        for _, commands, replies in self.under_way:
            if not replies:
                for _ in range(times):
                    replies[:] = [(self.call(each),) for each in commands]
                return

    def hear(self) -> None:
        assert self.store is not None
        asks, commands, replies = self.under_way.pop(0)
        for command, (reply,) in zip(commands, replies, strict=True):
            command.heard(reply, self.now())
        self._hand_over(asks)

    def cut(self) -> None:
        assert self.store is not None
        asks = [ask for asks, _, _ in self.under_way for ask in asks] + self.asks
        self.under_way, self.asks, self.is_cut = [], [], True
        self.store.cut_off()
        self._hand_over(asks)

    def _hand_over(self, asks: list[Ask]) -> None:
        assert self.store is not None
        lost = [ask for ask in asks if ask.answer is None]
        for ask in asks:
            if ask.answer is not None and ask.id in self.given_up:
                self.store.abandoned(ask, self.now())
        if lost:
            self.store.unanswered(lost)


@dataclass(eq=False)
class Process:
    store: RedisStore
    link: SlowLink
    calls: list[Coroutine[Any, Any, Any]] = field(default_factory=list)
    held: list[Lease] = field(default_factory=list)


class Interleaved(RuleBasedStateMachine):
    client: Any = None

    @initialize()
    def begin(self) -> None:
        self.client.flushdb()
        self.clock = Clock(self.client)
        self.processes = []
        for _ in range(2):
            link = SlowLink(self.client, lambda: self.clock.now)
            link.store = RedisStore("test", link)
            self.processes.append(Process(link.store, link))
        self.sent: list[float] = []
        self.alone = False

    def one(self, number: int) -> Process:
        return self.processes[number % len(self.processes)]

    def resume(self, process: Process, call: Coroutine[Any, Any, Any]) -> None:
        try:
            call.send(None)
        except StopIteration as end:
            process.calls.remove(call)
            if isinstance(end.value, Lease):
                process.held.append(end.value)
                if end.value.id.startswith(process.store._name):
                    self.sent.append(self.clock.now)
            elif not isinstance(end.value, Refused):
                raise AssertionError(end.value) from end

    @rule(number=WHO, acts=st.sampled_from([None, 0, 1, 2]))
    def ask(self, number: int, acts: int | None) -> None:
        """``acts``: said at once, and acted on so often."""
        process = self.one(number)
        call = process.store.admit([KEY], self.clock.now, COST)
        process.calls.append(call)
        self.resume(process, call)
        if acts is not None and not process.link.is_cut:
            process.link.say()
            process.link.act(acts)

    @rule(number=WHO)
    def say(self, number: int) -> None:
        process = self.one(number)
        if not process.link.is_cut:
            process.link.say()

    @rule(number=WHO, times=st.sampled_from([1, 1, 2]))
    def act(self, number: int, times: int) -> None:
        self.one(number).link.act(times)

    @rule(number=WHO)
    def hear(self, number: int) -> None:
        process = self.one(number)
        flushes = process.link.under_way
        if flushes and (flushes[0][2] or not flushes[0][1]):
            process.link.hear()
            for call in list(process.calls):
                self.resume(process, call)

    @precondition(lambda self: any(process.calls for process in self.processes))
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        process = data.draw(st.sampled_from([each for each in self.processes if each.calls]))
        call = data.draw(st.sampled_from(process.calls))
        process.calls.remove(call)
        frame = call.cr_frame  # type: ignore[attr-defined]
        process.link.given_up.add(frame.f_locals["ask"].id)
        try:
            call.throw(asyncio.CancelledError())
        except asyncio.CancelledError:
            return
        raise AssertionError("it swallowed its cancellation")

    @precondition(lambda self: any(process.held for process in self.processes))
    @rule(data=st.data(), is_sent=st.booleans(), rests=st.booleans(), acts=st.integers(0, 2))
    def settle(self, data: Any, is_sent: bool, rests: bool, acts: int) -> None:
        process = data.draw(st.sampled_from([each for each in self.processes if each.held]))
        lease = data.draw(st.sampled_from(process.held))
        process.held.remove(lease)
        state = KeyState(Kind.COOLDOWN, self.clock.now + 1.0, since=self.clock.now)
        changes = [Change("key:a", lease.seen[0].version, state)] if rests else []
        process.store.settle(
            lease, changes, self.clock.now, Tokens(1, USED - 1) if is_sent else None
        )
        if not is_sent and lease.id.startswith(process.store._name):
            self.sent.pop()
        if not process.link.is_cut:
            process.link.say()
            process.link.act(acts)

    @rule(seconds=st.sampled_from([0.001, 0.5, 3.0]))
    def wait(self, seconds: float) -> None:
        if self.clock.now + seconds < 1_050.0:  # within a window and a lease's time
            self.clock.set(self.clock.now + seconds)

    @rule(number=WHO)
    def settle_and_cut(self, number: int) -> None:
        """What was said of the settling is lost."""
        process = self.one(number)
        for lease in process.held:
            process.store.settle(lease, (), self.clock.now, Tokens(1, USED - 1))
        process.held.clear()
        if not process.link.is_cut:
            process.link.say()
        self.cut(number, has_acted=False)

    @rule(number=WHO, has_acted=st.booleans())
    def cut(self, number: int, has_acted: bool) -> None:
        process = self.one(number)
        if not process.link.is_cut:
            if has_acted:
                process.link.say()
                process.link.act()
            process.link.cut()
            for call in list(process.calls):
                self.resume(process, call)

    @rule(number=WHO)
    def come_back(self, number: int) -> None:
        process = self.one(number)
        if process.link.is_cut:
            process.link.say()
            process.link.act()
            process.link.hear()
            process.link.is_cut = False

    @invariant()
    def no_more_are_in_flight_or_were_sent_than_may_be(self) -> None:
        if not hasattr(self, "processes"):
            return
        lent = [
            lease
            for each in self.processes
            for lease in each.held
            if lease.id.startswith(each.store._name)
        ]
        assert len(lent) <= SLOTS
        assert len(self.sent) <= RPM

    def teardown(self) -> None:
        if not hasattr(self, "processes"):
            return
        for number, process in enumerate(self.processes):
            self.come_back(number)
            for call in list(process.calls):
                process.link.given_up.add(call.cr_frame.f_locals["ask"].id)  # type: ignore[attr-defined]
                process.calls.remove(call)
                with suppress(asyncio.CancelledError):
                    call.throw(asyncio.CancelledError())
            while process.link.under_way or process.link.asks:
                process.link.say()
                process.link.act()
                while process.link.under_way:
                    process.link.act()
                    process.link.hear()
            for lease in process.held:
                process.store.settle(lease, (), self.clock.now, Tokens(1, USED - 1))
        for process in self.processes:
            while process.store.is_owing or process.link.under_way:
                process.link.say()
                process.link.act()
                process.link.hear()
        fresh = SlowLink(self.client, lambda: self.clock.now)
        fresh.store = RedisStore("test", fresh)
        looked = fresh.store.rooms([KEY], self.clock.now)
        looked.send(None)
        for step in (fresh.say, fresh.act, fresh.hear):
            step()
        try:
            looked.send(None)
        except StopIteration as end:
            rooms = end.value["key:a"]
            assert rooms["max_concurrency"].taken == 0, "a slot was left"
            assert rooms["rpm"].taken == len(self.sent)
            assert rooms["tpm"].taken == USED * len(self.sent)
        held = self.client.get("{test}s:key:a")
        assert held is None or held.split(b"|")[4] == b"", "a trial was left"


def test_no_order_of_steps_lends_too_much_or_leaves_anything(server: RedisServer) -> None:
    with server.client() as client:
        running = type("Interleaved", (Interleaved,), {"client": client})
        run: Callable[..., None] = running.TestCase  # type: ignore[attr-defined]
        run.settings = settings(  # type: ignore[attr-defined]
            max_examples=600,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        run("runTest").runTest()  # type: ignore[attr-defined]


def test_what_is_said_twice_counts_once(server: RedisServer) -> None:
    """The connection ended after the server acted, at an admission and at its settling."""
    with server.client() as client:
        steps = type("Steps", (Interleaved,), {"client": client})()
        steps.begin()
        steps.ask(0, acts=2)
        steps.hear(0)
        (process, _) = steps.processes
        (lease,) = process.held
        process.held.clear()
        process.store.settle(lease, (), steps.clock.now, Tokens(1, USED - 1))
        process.link.say()
        process.link.act(2)
        process.link.hear()
        steps.teardown()


def test_a_trial_that_was_lent_unheard_is_given_back_though_nobody_here_knew_of_the_rest(
    server: RedisServer,
) -> None:
    with server.client() as client:
        steps = type("Steps", (Interleaved,), {"client": client})()
        steps.begin()
        there, _ = steps.processes
        rest = KeyState(Kind.COOLDOWN, steps.clock.now + 1.0, since=steps.clock.now)
        there.store.transition([Change("key:a", None, rest)], steps.clock.now)
        there.link.say()
        there.link.act()
        there.link.hear()
        steps.wait(3.0)
        steps.ask(1, acts=1)
        steps.cut(1, has_acted=False)
        steps.teardown()


def test_what_was_given_back_is_not_lent_by_a_server_that_hears_the_request_later(
    server: RedisServer,
) -> None:
    """It hung, and answers the connection that was left after the new one."""
    with server.client() as client:
        steps = type("Steps", (Interleaved,), {"client": client})()
        steps.begin()
        steps.ask(0, acts=None)
        (process, _) = steps.processes
        process.link.say()
        ((_, commands, _),) = process.link.under_way
        steps.cut(0, has_acted=False)
        steps.come_back(0)
        for command in commands:
            process.link.call(command)
        steps.teardown()
