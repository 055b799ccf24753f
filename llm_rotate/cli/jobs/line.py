"""How a job goes, as one line of a terminal that is written again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from ...core.events import Event, EventKind
from ...helpers.progress import Progress

EVERY_SECONDS = 0.2
LONG_SECONDS = 60.0  # a wait that should not look like a standstill


class Line:
    """On standard error, if that is a terminal; long waits are told of in any case."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._is_shown = sys.stderr.isatty()
        self._completed = self._failed = self._tokens = 0
        self._began = time.monotonic()
        self._due = self._quiet_until = self._began

    def skip(self) -> None:
        """A row was done before."""
        if self._total is not None:
            self._total -= 1

    def note(self, row: Mapping[str, Any]) -> None:
        """A row is done."""
        self._completed += 1
        self._failed += row["error"] is not None
        self._tokens += (row.get("token_usage") or {}).get("total_tokens", 0)
        if self._is_shown and time.monotonic() >= self._due:
            self._write()

    def hear(self, event: Event) -> None:
        """A call waits: told of if it is for long, and only now and then."""
        seconds, now = event.seconds or 0.0, time.monotonic()
        if event.kind is EventKind.WAITING and seconds > LONG_SECONDS and now > self._quiet_until:
            self._quiet_until = now + LONG_SECONDS
            self._say(f"waiting {seconds:.0f} s for a key or for room\n")

    def close(self) -> None:
        """Leaves the last line standing."""
        if self._is_shown and self._completed:
            self._write()
            sys.stderr.write("\n")

    def _write(self) -> None:
        now = time.monotonic()
        self._due = now + EVERY_SECONDS
        so_far = (self._completed, self._total, self._failed, self._tokens, None)
        self._say(str(Progress(*so_far, now - self._began)))

    def _say(self, text: str) -> None:
        clear = "\r\x1b[K" if self._is_shown else ""
        sys.stderr.write(clear + text)
        sys.stderr.flush()
