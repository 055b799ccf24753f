"""Two ways to look on: a live picture in a terminal, plain lines anywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import typer
from rich.console import Console
from rich.live import Live

from .board import Board, resting
from .scene import ACTS, AT_ONCE, CALLS, KEYS, Scene
from .tally import Tally

Calls = Sequence[asyncio.Future[Any]]

FRAME_SECONDS = 0.1
LINE_SECONDS = 1.0
TITLE = (
    f"{CALLS} chats, {AT_ONCE} at a time, {len(KEYS)} keys, "
    f"{len(set(KEYS.values()))} providers, a simulator on loopback HTTP"
)


class Watch(Protocol):
    """Looks on until the calls have ended."""

    async def __call__(self, scene: Scene, tally: Tally, calls: Calls) -> None: ...


class Picture:
    """A table that is drawn anew in its place."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def __call__(self, scene: Scene, tally: Tally, calls: Calls) -> None:
        self._console.print(f" {TITLE}", highlight=False)
        with Live(console=self._console, auto_refresh=False) as live:
            is_over = False
            while not is_over:
                is_over = await _ended(calls, FRAME_SECONDS)
                report = await scene.lm.health()
                live.update(Board(report, tally, CALLS, scene.told, len(ACTS)), refresh=True)
        typer.echo()


class Lines:
    """A line each second, and one for each thing that happens."""

    async def __call__(self, scene: Scene, tally: Tally, calls: Calls) -> None:
        typer.echo(TITLE)
        told, is_over = 0, False
        while not is_over:
            is_over = await _ended(calls, LINE_SECONDS)
            for seconds, words in scene.told[told:]:
                typer.echo(f"{seconds:5.1f} s  {words}")
            told = len(scene.told)
            report = await scene.lm.health()
            typer.echo(f"{scene.seconds():5.1f} s  {tally.calls} of {CALLS}; {resting(report)}")


async def _ended(calls: Calls, seconds: float) -> bool:
    """Waits for them, but no longer than ``seconds``."""
    _, pending = await asyncio.wait(calls, timeout=seconds)
    return not pending
