"""One typed event per thing that happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..types import Attempt, Usage
from .keystate import KeyState
from .outcome import Outcome


class EventKind(StrEnum):
    """What happened."""

    ATTEMPT_STARTED = "attempt_started"
    ATTEMPT_ENDED = "attempt_ended"
    STATE_CHANGED = "state_changed"
    WAITING = "waiting"
    STAGE_LEFT = "stage_left"
    CALL_ENDED = "call_ended"


@dataclass(frozen=True, slots=True)
class Event:
    """``at``: seconds on the monotonic clock; ``seconds``: a length (of the attempt, the call,
    or the wait that begins); ``call``: a number that the events of one call share; ``subject``
    and ``state`` belong to state_changed; ``attempts`` to call_ended.
    """

    at: float
    kind: EventKind
    call: int = 0
    attempt: int = 0
    provider: str = ""
    model: str = ""
    key_id: str | None = None
    outcome: Outcome | None = None
    seconds: float | None = None
    usage: Usage | None = None
    subject: str | None = None
    state: KeyState | None = None
    is_stream: bool = False
    attempts: tuple[Attempt, ...] = ()
    detail: str = ""


Listener = Callable[[Event], None]
