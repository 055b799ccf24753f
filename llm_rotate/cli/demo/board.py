"""The demo's live picture: one row per key, how far it is, what has happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...engine.report import HealthReport, KeyHealth, ScopeHealth
from .tally import KeyCounts, Tally

STYLES: Mapping[str, str] = {
    "active": "green",
    "probation": "cyan",
    "cooldown": "yellow",
    "quarantine": "magenta",
    "disabled": "red",
}
COLUMNS: Mapping[str, int] = {
    "key": 11,
    "state": 10,
    "back in": 7,
    "sent": 5,
    "answered": 8,
    "refused": 7,
    "failed": 6,
    "in flight": 9,
}
WIDTH = 80  # columns of a terminal that these fill
LEAST_ROOM = 20  # columns for the reasons; with less they are left out
BAR = 32
TRIAL = "one request will try it"


@dataclass(frozen=True, slots=True)
class Board:
    """One frame. ``told``: seconds and words of what has happened; ``lines``: room for it."""

    report: HealthReport
    tally: Tally
    asked: int
    told: Sequence[tuple[float, str]]
    lines: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._table(options.max_width - WIDTH)
        yield self._progress()
        yield Text()
        for seconds, words in self.told:
            yield Text.assemble((f" {seconds:5.1f} s  ", "dim"), words)
        for _ in range(self.lines - len(self.told)):
            yield Text()

    def _table(self, room: int) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for name, width in COLUMNS.items():
            is_text = name in ("key", "state")
            table.add_column(name, width=width, justify="left" if is_text else "right")
        if room >= LEAST_ROOM:
            table.add_column("why", no_wrap=True, overflow="ellipsis", width=room)
        for provider in self.report.providers.values():
            for key_id, health in provider.keys.items():
                row = _row(key_id, health, self.tally.keys[key_id])
                table.add_row(*row[: len(table.columns)])
            table.add_section()
        return table

    def _progress(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(
            total=self.asked,
            completed=self.tally.calls,
            width=BAR,
            complete_style="green",
            finished_style="green",
        )
        grid.add_row(Text(" chats"), bar, f"{self.tally.calls} of {self.asked}")
        return grid


def _row(key_id: str, health: KeyHealth, counts: KeyCounts) -> list[Text]:
    state = hardest(health)
    numbers = (
        counts.requests,
        counts.answered,
        counts.refused,
        counts.failed,
        health.in_flight,
    )
    return [
        Text(key_id),
        Text(state.state, STYLES[state.state]),
        Text(_left(state)),
        *(Text(str(n)) if n else Text("-", "dim") for n in numbers),
        Text(TRIAL if state.state == "probation" else state.reason, "dim"),
    ]


def hardest(health: KeyHealth) -> ScopeHealth:
    """The key's own state, or if that is active the one of a model that rests."""
    return next(iter(health.scopes.values()), health) if health.state == "active" else health


def resting(report: HealthReport) -> str:
    """The keys that rest, in words."""
    found = [
        f"{key_id} {hardest(key).state}"
        for provider in report.providers.values()
        for key_id, key in provider.keys.items()
        if hardest(key).state != "active"
    ]
    return ", ".join(found) or "all keys active"


def _left(state: ScopeHealth) -> str:
    if state.until is None:
        return ""
    return f"{max(0.0, (state.until - datetime.now(UTC)).total_seconds()):.1f} s"
