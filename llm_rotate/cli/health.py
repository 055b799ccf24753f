"""``llm-rotate health``: how the keys of a running fleet stand."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..client import LMRotate
from ..engine.report import HealthReport, LimitHealth, ScopeHealth
from ..errors import StoreError
from .demo.board import STYLES
from .fleet import fleet
from .keys import PIPE_WIDTH
from .source import ConfigOption

Found = HealthReport | StoreError
NUMBERS = ("ok", "failed")
# Seconds of a unit, from the largest; two of a unit are told in the next smaller one.
UNITS: Mapping[str, float] = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}


def health(
    config: ConfigOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --watch, a line each time.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.1, metavar="SECONDS", help="Between two looks.")
    ] = 2.0,
) -> None:
    """Show how the keys of a running fleet stand.

    It reads the state that the fleet's processes share: states, reasons, and what is taken of
    every limit. No secret is read, nothing is sent to a provider.
    """
    lm = fleet(config)
    with _output(as_json, 2 if not watch else None) as say:
        asyncio.run(_follow(lm, say, every) if watch else _look(lm, say))


async def _look(lm: LMRotate, say: Callable[[Found], None]) -> None:
    async with lm:
        say(await lm.health())


async def _follow(lm: LMRotate, say: Callable[[Found], None], seconds: float) -> None:
    """A server that goes away is told of, and looked for."""
    async with lm:
        while True:
            try:
                say(await lm.health())
            except StoreError as error:
                say(error)
            await asyncio.sleep(seconds)


@contextmanager
def _output(as_json: bool, indent: int | None) -> Iterator[Callable[[Found], None]]:
    """A table drawn anew in its place in a terminal, else one after another."""
    if as_json:
        yield lambda found: typer.echo(_json(found, indent))
    elif not sys.stdout.isatty():
        plain = Console(width=PIPE_WIDTH)
        yield lambda found: plain.print(_shown(found))
    else:
        with Live(auto_refresh=False) as live:
            yield lambda found: live.update(_shown(found), refresh=True)


def _json(found: Found, indent: int | None) -> str:
    told = {"error": str(found)} if isinstance(found, StoreError) else asdict(found)
    return json.dumps(told, indent=indent, default=datetime.isoformat)


def _shown(found: Found) -> RenderableType:
    return Text(str(found)) if isinstance(found, StoreError) else table(found)


def table(report: HealthReport) -> Table:
    """A row for each provider, below it one for each of its keys, and below those one for each
    of their scopes that rests or has limits.
    """
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    made.add_column("key", no_wrap=True)
    made.add_column("state", no_wrap=True)
    for name in NUMBERS:
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("reason, limits", overflow="fold")
    for name, provider in report.providers.items():
        _add(made, name, provider.rest, {})
        for key_id, key in provider.keys.items():
            counts = (key.successes, key.failures)
            _add(made, f"  {key_id}", key, key.limits.get("key", {}), counts)
            for scope in dict.fromkeys((*key.scopes, *key.limits)):
                if scope != "key":
                    rest, limits = key.scopes.get(scope), key.limits.get(scope, {})
                    _add(made, f"    {scope}", rest, limits)
    return made


def _add(
    made: Table,
    name: str,
    health: ScopeHealth | None,
    limits: Mapping[str, LimitHealth],
    counts: Sequence[int] = (),
) -> None:
    """``health``: None of a scope that has limits, and no state of its own."""
    state = Text(f"{health.state} {_left(health)}", STYLES[health.state]) if health else Text()
    reason = [health.reason] if health and health.state != "active" else []
    words = Text("; ".join((*reason, *(_limit(name, each) for name, each in limits.items()))))
    numbers = [str(count) for count in counts] or [""] * len(NUMBERS)
    made.add_row(Text(name), state, *numbers, words)


def _limit(name: str, limit: LimitHealth) -> str:
    learned = " (learned)" if limit.is_learned else ""
    return f"{name} {limit.taken:,.0f} of {limit.limit:,.0f}{learned}"


def _left(health: ScopeHealth) -> str:
    """Until its rest ends."""
    if health.until is None:
        return ""
    seconds = max(0.0, (health.until - datetime.now(UTC)).total_seconds())
    unit = next((name for name, length in UNITS.items() if seconds >= 2 * length), "s")
    return f"{seconds / UNITS[unit]:.0f} {unit}"


def told(health: ScopeHealth) -> str:
    """A state in words."""
    left, why = _left(health), health.reason if health.state != "active" else ""
    return f"{health.state}{f' for {left} more' if left else ''}{f': {why}' if why else ''}"
