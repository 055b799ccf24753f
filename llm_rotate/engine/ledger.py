"""Counts what was sent and answered, per key, model and provider of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.pool import Counts
from ..types import Usage

MOST_ROWS = 20_000  # kept apart: names of models come from callers
OTHERS = "(others)"  # what all further models of a key are counted as, also in tally.lua
Price = Callable[[str, str, Usage], float | None]


Name = tuple[str, ...]
"""Provider, key_id and model ("" for none)."""


@dataclass(slots=True, eq=False)
class Tally:
    """One key and model. Attempts: answered, or refused and failed. ``said``: what of it the
    shared state was told.
    """

    name: Name = ("", "", "")
    successes: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    said: tuple[int, ...] = (0,) * 5

    def answered(self, usage: Usage | None) -> None:
        self.successes += 1
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.cached_tokens += usage.cached_tokens

    def counts(self) -> tuple[int, ...]:
        """All of them, in the order in which the shared state keeps them."""
        return (
            self.successes,
            self.failures,
            self.prompt_tokens,
            self.completion_tokens,
            self.cached_tokens,
        )


class Ledger:
    """All tallies. Any thread counts."""

    def __init__(self) -> None:
        self._tallies: dict[Name, Tally] = {}
        self._touched: set[Tally] = set()
        self._lock = threading.Lock()

    def tally(self, provider: str, key_id: str, model: str | None) -> Tally:
        """The row for one key and model, made at first use."""
        name = (provider, key_id, model or "")
        found = self._tallies.get(name)
        if found is None:
            if len(self._tallies) >= MOST_ROWS:
                name = (provider, key_id, OTHERS)
            found = self._tallies.setdefault(name, Tally(name))
        return found

    def answered(self, row: Tally, usage: Usage | None) -> None:
        """One more success, with the tokens it took."""
        with self._lock:
            row.answered(usage)
            self._touched.add(row)

    def failed(self, row: Tally) -> None:
        """One more attempt that was refused or failed."""
        with self._lock:
            row.failures += 1
            self._touched.add(row)

    def counts(self) -> Counts:
        """What this process counted, by name."""
        with self._lock:
            return {name: row.counts() for name, row in list(self._tallies.items())}

    def unsaid(self) -> Counts:
        """What was counted since this was last asked."""
        more = {}
        with self._lock:
            for row in self._touched:
                now = row.counts()
                more[row.name] = tuple(a - b for a, b in zip(now, row.said, strict=True))
                row.said = now
            self._touched = set()
        return more

    def forget(self) -> None:
        """After a fork: what was counted so far, the parent says."""
        self._lock = threading.Lock()
        self.unsaid()


def successes(counts: Counts) -> dict[str, int]:
    """Answers given, by key_id."""
    found: dict[str, int] = {}
    for (_, key_id, _), row in counts.items():
        found[key_id] = found.get(key_id, 0) + row[0]
    return found


def summary(counts: Counts, price: Price) -> dict[str, Any]:
    """``total``, ``by_provider``, ``by_key`` and ``by_model``; each with successes, failures,
    tokens (prompt + completion), prompt_tokens, completion_tokens and cost (USD; None when no
    price is known).
    """
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {
        "by_provider": {},
        "by_key": {},
        "by_model": {},
    }
    lines = []
    for name, row in counts.items():
        provider, _, model = name
        line = _line(row, provider, model, price)
        lines.append(line)
        for group, member in zip(groups, name, strict=True):
            if member:
                groups[group].setdefault(member, []).append(line)
    by = {
        group: {member: _sum(rows) for member, rows in named.items()}
        for group, named in groups.items()
    }
    return {"total": _sum(lines), **by}


def _line(counts: Sequence[int], provider: str, model: str, price: Price) -> dict[str, Any]:
    won, lost, prompt, completion, cached = counts
    tokens = prompt + completion
    usage = Usage(prompt, completion, tokens, cached)
    return {
        "successes": won,
        "failures": lost,
        "tokens": tokens,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cost": price(provider, model, usage) if tokens else None,
    }


def _sum(lines: Iterable[dict[str, Any]]) -> dict[str, Any]:
    lines = list(lines)
    costs = [line["cost"] for line in lines if line["cost"] is not None]
    counts = ("successes", "failures", "tokens", "prompt_tokens", "completion_tokens")
    total: dict[str, Any] = {name: sum(line[name] for line in lines) for name in counts}
    total["cost"] = sum(costs) if costs else None
    return total
