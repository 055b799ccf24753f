"""What happens in the demo: the keys, and what the simulator does to them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ...client import LMRotate
from ...testing import Simulator

MODEL = "gpt-4o-mini"
CALLS = 400
AT_ONCE = 20

KEYS: Mapping[str, str] = {
    "openai-1": "openai",
    "openai-2": "openai",
    "openai-3": "openai",
    "openai-4": "openai",
    "anthropic-1": "anthropic",
    "anthropic-2": "anthropic",
}
DEAD = "openai-4"
# Key -> requests that it may serve in WINDOW_SECONDS; the others have no limit.
LIMITS: Mapping[str, int] = {
    "openai-1": 24,
    "openai-2": 18,
    "openai-3": 12,
    "openai-4": 24,
    "anthropic-1": 20,
}
WINDOW_SECONDS = 2.0
# Whose answers say what is left of a limit: it is kept then, and no 429 comes.
STATES = frozenset({"anthropic"})
# Provider -> seconds until it answers.
PACE: Mapping[str, float] = {"openai": 0.25, "anthropic": 0.35}


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens once ``after`` calls have ended."""

    after: int
    words: str
    play: Callable[[Simulator], object]


def _begin(sim: Simulator) -> None:
    for key_id, provider in KEYS.items():
        script = sim.key(key_id).slow(PACE[provider])
        if key_id in LIMITS:
            is_stated = provider in STATES
            script.rpm(LIMITS[key_id], window=WINDOW_SECONDS, is_stated=is_stated)


ACTS = (
    Act(0, "five keys have limits: past them, 429; anthropic says what is left", _begin),
    Act(90, f"{DEAD} is revoked: 401 from now on", lambda sim: sim.key(DEAD).heal().bad_key()),
    Act(180, "openai goes down: 503 to every key", lambda sim: sim.provider("openai").outage()),
    Act(280, "openai is back", lambda sim: sim.provider("openai").heal()),
)


class Scene:
    """A simulator and a pool of its keys. ``told``: seconds and words of what has happened."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self._began = time.monotonic()
        self._coming = deque(ACTS)
        self.told: list[tuple[float, str]] = []
        # Times are short, so that a few seconds show a key's whole life.
        self.lm: LMRotate = sim.pool(
            KEYS,
            fallback_chains={"openai": [{"provider": "anthropic", "model": "claude-haiku-4-5"}]},
            quarantine_seconds=1.0,
            max_consecutive_failures=2,
        )

    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._began

    def advance(self, ended: int) -> None:
        """Plays what is due after ``ended`` calls."""
        while self._coming and self._coming[0].after <= ended:
            act = self._coming.popleft()
            act.play(self._sim)
            self.told.append((self.seconds(), act.words))

    def served(self) -> int:
        """Requests that the server has counted."""
        return self._sim.requests()


@contextmanager
def opened() -> Iterator[Scene]:
    """A scene over loopback HTTP; nothing of it is left afterwards."""
    with Simulator().serve() as sim:
        yield Scene(sim)
