"""How a batch goes: told to a caller's function, or drawn as a bar."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from ..errors import ConfigurationError
from .meter import Meter

EVERY_SECONDS = 0.1  # faster than that nobody reads
MINUTE, HOUR = 60, 3_600
_log = logging.getLogger("llm_rotate")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is. ``total``: None where the inputs have no length. ``tokens`` and
    ``cost`` (USD; None where no price is known) are of the answers that were sent for;
    ``seconds`` since it began. As text it is one line.
    """

    completed: int
    total: int | None
    failed: int
    tokens: int
    cost: float | None
    seconds: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.completed / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None where that cannot be said."""
        if self.total is None or not self.rate:
            return None
        return (self.total - self.completed) / self.rate

    def __str__(self) -> str:
        total = "" if self.total is None else f"/{self.total:,}"
        return f"{self.completed:,}{total}  {self.figures}"

    @property
    def figures(self) -> str:
        """The line without the count."""
        words = [f"{self.rate:,.1f}/s", f"{self.failed:,} failed", f"{self.tokens:,} tokens"]
        if self.cost is not None:
            words.append(f"${self.cost:,.4g}" if self.cost < 1 else f"${self.cost:,.2f}")
        if self.seconds_left is not None:
            words.append(f"{_clock(self.seconds_left)} left")
        return "  ".join(words)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // HOUR}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"


ProgressWish = Literal["rich", "tqdm"] | Callable[[Progress], Any] | None


class Display(Protocol):
    """Where progress is shown. Opens at the first ``show``."""

    def show(self, progress: Progress) -> None: ...
    def close(self) -> None: ...


class Told:
    """A caller's function."""

    def __init__(self, told: Callable[[Progress], Any]) -> None:
        self.show = told

    def close(self) -> None:
        """Nothing is open."""


class RichBar:
    """A bar of the rich package, in terminals and notebooks. Drawn when it is told to: no
    thread of its own.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._cell: Any = None  # its place in a notebook, which needs no widgets

    def show(self, progress: Progress) -> None:
        """Draws it."""
        if self._bar is None:
            self._open(progress)
        self._bar.update(
            self._task, completed=progress.completed, total=progress.total, words=progress.figures
        )
        if self._cell is None:
            self._bar.refresh()
        else:
            self._cell.update(self._bar)

    def _open(self, progress: Progress) -> None:
        from rich.progress import (  # noqa: PLC0415 - behind the extra `progress`
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
        )
        from rich.progress import Progress as Rich  # noqa: PLC0415 - as above

        words = TextColumn("{task.fields[words]}")
        bar = Rich(BarColumn(), MofNCompleteColumn(), words, auto_refresh=False)
        self._task = bar.add_task("", total=progress.total, words="")
        if bar.console.is_jupyter:
            self._cell = import_module("IPython.display").display(bar, display_id=True)
        else:
            bar.start()
        self._bar = bar

    def close(self) -> None:
        """Leaves the last line standing."""
        if self._bar is not None and self._cell is None:
            self._bar.stop()


class TqdmBar:
    """A bar of the tqdm package, in terminals and notebooks; there as text without ipywidgets."""

    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, progress: Progress) -> None:
        """Draws it."""
        if self._bar is None:
            self._open(progress)
        self._bar.n = progress.completed
        self._bar.set_postfix_str(progress.figures, refresh=False)
        self._bar.refresh()

    def _open(self, progress: Progress) -> None:
        kind = "tqdm.auto" if find_spec("ipywidgets") else "tqdm.std"  # the former would warn
        tqdm = import_module(kind).tqdm
        quiet = type("Bar", (tqdm,), {"monitor_interval": 0})  # no thread that looks after it
        layout = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {postfix}"
        if progress.total is None:
            layout = "{n_fmt} {postfix}"
        self._bar = quiet(total=progress.total, bar_format=layout)

    def close(self) -> None:
        """Leaves the last line standing."""
        if self._bar is not None:
            self._bar.close()


BARS: dict[str, Callable[[], Display]] = {"rich": RichBar, "tqdm": TqdmBar}


def display_of(wish: ProgressWish) -> Display | None:
    """As a caller says it. Raises ConfigurationError."""
    if wish is None:
        return None
    if inspect.iscoroutinefunction(wish):
        raise ConfigurationError("progress takes no async function; on_progress does")
    if callable(wish):
        return Told(wish)
    bar = next((made for name, made in BARS.items() if name == wish), None)
    if bar is None:
        raise ConfigurationError(f'progress must be "rich", "tqdm" or a function, not {wish!r}')
    if find_spec(wish) is None:
        raise ConfigurationError(
            f"progress={wish!r} needs {wish}: pip install 'llm_rotate[progress]'"
        )
    return bar()


class Board:
    """What became of a batch so far, shown now and then, and once at the end. What a display
    raises is logged, and it is shown nothing more: no row depends on it.
    """

    def __init__(self, meter: Meter, total: int | None = None, wish: ProgressWish = None) -> None:
        self.meter = meter
        self.total = total
        self._display = display_of(wish)
        self._began = meter.now()
        self._due = 0.0
        self._completed = self._failed = 0

    def note(self, error: Exception | None) -> None:
        """A row is done."""
        if self._display is None:
            return
        self._completed += 1
        self._failed += error is not None
        now = self.meter.now()
        if now >= self._due:
            self._due = now + EVERY_SECONDS
            self._show(now)

    def close(self) -> None:
        """The last look. Once more does nothing."""
        self._show(self.meter.now())
        self._guarded(lambda display: display.close())
        self._display = None

    def _show(self, now: float) -> None:
        meter, seconds = self.meter, now - self._began
        shown = Progress(
            self._completed, self.total, self._failed, meter.tokens, meter.cost, seconds
        )
        self._guarded(lambda display: display.show(shown))

    def _guarded(self, act: Callable[[Display], None]) -> None:
        if self._display is not None:
            try:
                act(self._display)
            except Exception:
                self._display = None
                _log.exception("progress cannot be shown; the batch goes on")
