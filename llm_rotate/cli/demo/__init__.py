"""``llm-rotate demo``: the pool at work on the simulator."""

from __future__ import annotations

import asyncio
import sys

import typer
from rich.console import Console

from .scene import opened
from .show import closing, play
from .watch import Lines, Picture, Watch


def demo() -> None:
    """Show the pool at work on simulated services.

    Keys hit limits, one dies, a provider goes down; no call is lost. It takes about ten
    seconds, over real HTTP inside this process, and needs no key and no network.
    """
    console = Console()
    is_live = sys.stdout.isatty() and not console.is_dumb_terminal
    watch: Watch = Picture(console) if is_live else Lines()
    with opened() as scene:
        result = asyncio.run(play(scene, watch))
    for line in closing(result):
        typer.echo(line)
    if not result.is_good:
        raise typer.Exit(1)
