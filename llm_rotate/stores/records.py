"""States as the shared store's scripts keep them: durations out, moments in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from ..core.keystate import FRESH, HARDNESS, KeyState, Kind, merge
from ..core.outcome import Outcome

LETTERS: Mapping[Kind, str] = {
    Kind.ACTIVE: "A",
    Kind.COOLDOWN: "C",
    Kind.QUARANTINE: "Q",
    Kind.PROBATION: "P",
    Kind.DISABLED: "D",
}
KINDS = {letter.encode(): kind for kind, letter in LETTERS.items()}
FOREVER_MS = 9_000_000_000_000_000  # as in common.lua


@dataclass(frozen=True, slots=True)
class Record:
    """A state as the server has it, on this process's clock. ``is_tried``: a trial is on."""

    state: KeyState
    is_tried: bool


ABSENT = Record(FRESH, is_tried=False)


def packed(state: KeyState, now: float) -> tuple[str, str, str, str]:
    """The words of a change: kind, ms of rest, ms since it began, and all else."""
    if not HARDNESS[state.kind]:
        rest = ""
    else:
        rest_ms = (state.until - now) * 1000.0
        rest = "inf" if rest_ms > FOREVER_MS else str(math.ceil(rest_ms))
    rest_of_it = [
        state.failures,
        state.strikes,
        state.failed_trials,
        state.outcome,
        state.status,
        state.reason,
    ]
    age = str(math.floor((now - state.since) * 1000.0))
    return LETTERS[state.kind], rest, age, json.dumps(rest_of_it, ensure_ascii=False)


def unpacked(text: bytes, server_ms: int, now: float) -> Record:
    """What a script told of a state at its ``server_ms``, heard at ``now``."""
    if not text:
        return ABSENT
    version, letter, until, since, trial, trial_until, _, rest = text.split(b"|", 7)
    failures, strikes, failed_trials, outcome, status, reason = _words(rest)
    state = KeyState(
        kind=KINDS[letter],
        until=_moment(int(until), server_ms, now),
        since=now + (int(since) - server_ms) / 1000.0,
        version=int(version),
        failures=failures,
        strikes=strikes,
        failed_trials=failed_trials,
        outcome=outcome,
        status=status,
        reason=reason,
    )
    return Record(state, is_tried=bool(trial) and int(trial_until) > server_ms)


def _words(rest: bytes) -> tuple[int, int, int, Outcome | None, int | None, str]:
    """What the scripts do not read of a state. Where it cannot be read, as an outcome that only
    a later version knows, its kind and its end hold without.
    """
    with suppress(ValueError, TypeError):
        failures, strikes, failed_trials, outcome, status, reason = json.loads(rest)
        known = None if outcome is None else Outcome(outcome)
        return int(failures), int(strikes), int(failed_trials), known, status, str(reason)
    return 0, 0, 0, None, None, ""


def _moment(at_ms: int, server_ms: int, now: float) -> float:
    if at_ms in (0, FOREVER_MS):
        return math.inf if at_ms else 0.0
    return now + (at_ms - server_ms) / 1000.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A state that was reached while the server was away, or that the server has lost.

    ``base``: the version at the server that it grew from, -1 if none did. ``is_said``: an
    operator said it, so it holds whatever stands there.
    """

    mine: KeyState
    base: int = -1
    is_said: bool = False

    @property
    def seen(self) -> int | None:
        """As a Change's."""
        return None if self.is_said else self.base

    def upon(self, current: KeyState, now: float) -> KeyState | None:  # noqa: ARG002 - as a Change's
        """What ``current`` becomes by it; None: nothing."""
        if self.is_said or current.version == self.base:
            return replace(self.mine, version=current.version + 1)
        if HARDNESS[current.kind]:
            return merge(current, self.mine)
        if self.mine.kind in (Kind.ACTIVE, current.kind):
            return None
        return replace(self.mine, version=current.version + 1)
