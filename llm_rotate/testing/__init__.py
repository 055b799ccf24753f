"""A simulator of LLM services and a fake clock, for testing code that uses llm_rotate.

Nothing is imported until a name is used: the pytest plugin loads this package in every run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import Simulator as Simulator
    from .clock import FakeLoop as FakeLoop
    from .clock import FakeTime as FakeTime
    from .clock import run_fake as run_fake
    from .exchange import Seen as Seen
    from .exchange import SimAnswer as SimAnswer
    from .exchange import SimRequest as SimRequest
    from .memory import MemoryTransport as MemoryTransport
    from .script import KeyScript as KeyScript
    from .script import ProviderScript as ProviderScript
    from .script import Scripted as Scripted
    from .script import UpstreamScript as UpstreamScript

_HOMES = {
    "Simulator": "app",
    "FakeLoop": "clock",
    "FakeTime": "clock",
    "run_fake": "clock",
    "MemoryTransport": "memory",
    "Seen": "exchange",
    "SimAnswer": "exchange",
    "SimRequest": "exchange",
    "KeyScript": "script",
    "ProviderScript": "script",
    "Scripted": "script",
    "UpstreamScript": "script",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605  the table is the list


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
