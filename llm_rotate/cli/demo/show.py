"""The demo's calls, and what they came to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...errors import LMRotateError
from .scene import AT_ONCE, CALLS, KEYS, MODEL, Scene
from .tally import Tally
from .watch import Watch


@dataclass(slots=True)
class Result:
    """``attempts``: requests that the answers (and errors) list; ``served``: those that the
    server counted.
    """

    tally: Tally
    asked: int = 0
    answered: int = 0
    attempts: int = 0
    served: int = 0
    seconds: float = 0.0
    errors: list[LMRotateError] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return self.asked - self.answered

    @property
    def is_good(self) -> bool:
        """No call was lost, and no request is unaccounted for."""
        return not self.lost and self.attempts == self.served


def closing(result: Result) -> Iterator[str]:
    """What it came to, in lines."""
    if result.errors:
        yield f"first error: {result.errors[0]}"
    yield (
        f"{result.asked} calls asked, {result.answered} answered, {result.lost} lost, "
        f"in {result.seconds:.1f} s"
    )
    yield (
        f"{result.attempts} requests sent, {result.served} counted by the server, "
        f"{result.tally.rotations} rotations to another key"
    )
    yield (
        f"{result.tally.own_microseconds:.0f} us overhead per call "
        "(median time of a call outside its requests and waits)"
    )


async def play(scene: Scene, watch: Watch) -> Result:
    """Asks all calls while ``watch`` looks on."""
    result = Result(Tally.of(KEYS))
    scene.advance(0)
    with scene.lm.listen(result.tally):
        numbers = iter(range(CALLS))
        async with asyncio.TaskGroup() as group:
            asking = (_ask(scene, result, numbers) for _ in range(AT_ONCE))
            await watch(scene, result.tally, [group.create_task(each) for each in asking])
    result.served, result.seconds = scene.served(), scene.seconds()
    return result


async def _ask(scene: Scene, result: Result, numbers: Iterator[int]) -> None:
    """Calls one after the other, as long as there are ``numbers``."""
    for number in numbers:
        result.asked += 1
        messages = [{"role": "user", "content": f"chat {number}"}]
        try:
            attempts = (await scene.lm.chat(MODEL, messages)).attempts
            result.answered += 1
        except LMRotateError as error:
            attempts = error.attempts
            result.errors.append(error)
        result.attempts += len(attempts)
        scene.advance(result.tally.calls)
