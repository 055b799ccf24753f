"""What is said to a shared store's server, and by what way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Protocol

from ..core.bucket import Tokens
from ..core.pool import FREE, Blocked, Candidate, Lease, Refused


@dataclass(frozen=True, slots=True)
class Script:
    """A script by its name in ``lua/``, with the heads that it needs."""

    name: str
    text: str

    @classmethod
    def of(cls, name: str, *heads: str) -> Script:
        """Reads it from the package."""
        room = files(__package__).joinpath("lua")
        parts = [room.joinpath(f"{part}.lua") for part in (*heads, name)]
        return cls(name, "".join(part.read_text(encoding="utf-8") for part in parts))


_PLAIN = ("common",)
_LIMITED = ("common", "meter", "limits")
ADMIT = Script.of("admit", *_LIMITED)
SETTLE = Script.of("settle", *_LIMITED)
LOOK = Script.of("look", *_LIMITED)
CHANGE = Script.of("change", *_PLAIN)
KEEP = Script.of("keep", *_PLAIN)
TALLY = Script.of("tally", *_PLAIN)
SCRIPTS = (ADMIT, SETTLE, LOOK, CHANGE, KEEP, TALLY)


@dataclass(slots=True, eq=False)
class Command:
    """One script call. ``heard`` takes the reply and the time it came, once."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str]
    heard: Callable[[Any, float], None]
    is_heard: bool = False


@dataclass(slots=True, eq=False)
class Ask:
    """One admission on its way. Without candidates it only asks for news. ``answer`` is
    None until the server has spoken. ``barred``: what this process alone knows against
    candidates, by their place. ``cost``: what the request takes of its limits;
    ``patience_s``: how long it may hold others up for them.
    """

    id: str
    candidates: Sequence[Candidate] = ()
    barred: Mapping[int, Blocked] = field(default_factory=dict)
    cost: Tokens = FREE
    patience_s: float = 0.0
    answer: Lease | Refused | None = None


@dataclass(slots=True, eq=False)
class Question(Ask):
    """Not an admission: ``command`` goes instead, and its reply is kept."""

    command: Command | None = None
    reply: Any = None


class Link(Protocol):
    """The way to the server. ``is_cut``: the store is on its own for now.

    ``ask`` returns when the ask is answered, or cannot be; ``soon`` says that something
    lies in the outbox, ``later`` that it can wait a second, both from any thread; ``now`` is
    the clock that states are told in.
    """

    is_cut: bool
    failure: str

    def now(self) -> float: ...
    async def ask(self, ask: Ask) -> None: ...
    def soon(self) -> None: ...
    def later(self) -> None: ...
    def watch(self, is_waiting: Callable[[], bool]) -> None: ...
    def forget(self) -> None: ...
    async def aclose(self) -> None: ...
