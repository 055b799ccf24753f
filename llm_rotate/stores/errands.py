"""What is said to a shared store's server, and by what way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Protocol

from ..core.pool import Blocked, Candidate, Lease, Refused


@dataclass(frozen=True, slots=True)
class Script:
    """A script by its name in ``lua/``, with the head that all have."""

    name: str
    text: str

    @classmethod
    def of(cls, name: str) -> Script:
        """Reads it from the package."""
        room = files(__package__).joinpath("lua")
        head, body = (room.joinpath(f"{part}.lua") for part in ("common", name))
        return cls(name, head.read_text(encoding="utf-8") + body.read_text(encoding="utf-8"))


ADMIT, CHANGE, KEEP = (Script.of(name) for name in ("admit", "change", "keep"))
SCRIPTS = (ADMIT, CHANGE, KEEP)


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
    candidates, by their place.
    """

    id: str
    candidates: Sequence[Candidate] = ()
    barred: Mapping[int, Blocked] = field(default_factory=dict)
    answer: Lease | Refused | None = None


class Link(Protocol):
    """The way to the server. ``is_cut``: the store is on its own for now.

    ``ask`` returns when the ask is answered, or cannot be; ``soon`` says that something
    lies in the outbox, from any thread; ``now`` is the clock that states are told in.
    """

    is_cut: bool
    failure: str

    def now(self) -> float: ...
    async def ask(self, ask: Ask) -> None: ...
    def soon(self) -> None: ...
    def watch(self, is_waiting: Callable[[], bool]) -> None: ...
    def forget(self) -> None: ...
    async def aclose(self) -> None: ...
