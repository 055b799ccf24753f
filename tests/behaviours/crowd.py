"""A thousand callers at once, some of them unlucky; counted at both ends."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

from llm_rotate import ChatResponse, LMRotateError, StreamInterruptedError
from llm_rotate.core.events import Event, EventKind
from llm_rotate.core.outcome import FAULTS, Billing, Outcome
from llm_rotate.testing import Simulator

from .doors import Sockets

SENT = {str(outcome) for outcome, fault in FAULTS.items() if fault.billing is not Billing.UNSENT}


@dataclass
class Held:
    """What this process holds."""

    tasks: int = 0
    threads: int = 0
    files: int = 0

    @classmethod
    def now(cls) -> Held:
        tasks = len(asyncio.all_tasks())
        return cls(tasks, threading.active_count(), psutil.Process().num_fds())


@dataclass
class Crowd:
    """One pool of three keys, and what is known of its calls."""

    world: Sockets
    results: list[Any] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)

    def hear(self, event: Event) -> None:
        # without an outcome it was withdrawn before the write: nothing was sent
        if event.kind is EventKind.ATTEMPT_ENDED and event.outcome is not None:
            self.ended[event.outcome.value] += 1

    async def call(self, number: int) -> Any:
        """Every fifth one is a stream."""
        lm, messages = self.world.lm, [{"role": "user", "content": f"hello {number}"}]
        try:
            if number % 5:
                return await lm.chat(self.world.model, messages)
            stream = lm.chat_stream(self.world.model, messages)
            async for _ in stream:
                pass
            return stream.response
        except LMRotateError as error:
            return error

    async def calls(self, count: int, at_once: int) -> None:
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                self.results.append(await self.call(number))

        await asyncio.gather(*(caller() for _ in range(at_once)))

    def check_results(self, count: int) -> None:
        """An answer, or a reason that lists what was tried."""
        assert len(self.results) == count
        for result in self.results:
            if isinstance(result, ChatResponse):
                assert result.content.startswith("You said: hello")
                assert result.attempts[-1].outcome == Outcome.OK
            else:
                assert isinstance(result, LMRotateError)
                assert result.attempts
                assert not isinstance(result, StreamInterruptedError)
                assert {attempt.outcome for attempt in result.attempts} <= {*map(str, Outcome)}

    def check_counts(self) -> None:
        """The server saw what was recorded, no more and no less, whoever counts."""
        attempts: Counter[str] = Counter()
        for result in self.results:
            attempts.update(attempt.outcome for attempt in result.attempts)
        sent = sum(count for outcome, count in attempts.items() if outcome in SENT)
        assert sent == self.world.sim.requests()
        assert attempts == self.ended
        total = self.world.lm.usage_summary_sync()["total"]
        assert total["successes"] == attempts[str(Outcome.OK)]
        assert total["successes"] + total["failures"] == sum(attempts.values())

    def share_answered(self) -> float:
        answered = sum(isinstance(result, ChatResponse) for result in self.results)
        return answered / len(self.results)


@contextmanager
def crowd(provider: str, faults: float) -> Iterator[Crowd]:
    with Simulator(log_size=1).serve() as sim:
        sim.faults(faults, seed=7, retry_after=0.1)
        defaults = {"max_wait_seconds": 30, "max_retries": 5}
        keys = ("k1", "k2", "k3")
        world = Sockets(sim, keys, provider=provider, strategy="health_aware", defaults=defaults)
        gathered = Crowd(world)
        with world.lm.listen(gathered.hear):
            yield gathered


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def resident() -> int:
    """Bytes of memory that this process has."""
    gc.collect()
    return int(psutil.Process(os.getpid()).memory_info().rss)
