"""How a job goes, as one line of a terminal that is written again and again."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...helpers.progress import Progress

EVERY_SECONDS = 0.2


class _Above(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(f"{record.getMessage()}\n")


class Line:
    """On standard error, if that is a terminal; warnings are shown in any case."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._is_shown = sys.stderr.isatty()
        self._completed = self._failed = self._tokens = 0
        self._began = time.monotonic()
        self._due = self._began

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

    @contextmanager
    def warned(self) -> Iterator[None]:
        """What the library warns of meanwhile stands above the line."""
        handler, log = _Above(self._say), logging.getLogger("llm_rotate")
        log.addHandler(handler)
        try:
            yield
        finally:
            log.removeHandler(handler)

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
