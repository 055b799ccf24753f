"""Counts what was sent and answered, per key, model and provider of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..types import Usage

Price = Callable[[str, str, Usage], float | None]


@dataclass(slots=True)
class Tally:
    """One key and model. Attempts: answered, or refused and failed."""

    successes: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def answered(self, usage: Usage | None) -> None:
        self.successes += 1
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.cached_tokens += usage.cached_tokens


class Ledger:
    """All tallies, and the summary made from them."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, str], Tally] = {}

    def tally(self, provider: str, key_id: str, model: str | None) -> Tally:
        """The row for one key and model, made at first use."""
        name = (provider, key_id, model or "")
        found = self._tallies.get(name)
        if found is None:
            found = self._tallies.setdefault(name, Tally())
        return found

    def successes(self) -> dict[str, int]:
        """Answers given, by key_id."""
        counts: dict[str, int] = {}
        for (_, key_id, _), row in list(self._tallies.items()):
            counts[key_id] = counts.get(key_id, 0) + row.successes
        return counts

    def summary(self, price: Price) -> dict[str, Any]:
        """``total``, ``by_provider``, ``by_key`` and ``by_model``; each with successes,
        failures, tokens (prompt + completion), prompt_tokens, completion_tokens and cost
        (USD; None when no price is known).
        """
        groups: dict[str, dict[str, list[dict[str, Any]]]] = {
            "by_provider": {},
            "by_key": {},
            "by_model": {},
        }
        lines = []
        for (provider, key_id, model), row in list(self._tallies.items()):
            line = _line(row, provider, model, price)
            lines.append(line)
            for group, name in zip(groups, (provider, key_id, model), strict=True):
                if name:
                    groups[group].setdefault(name, []).append(line)
        by = {
            group: {name: _sum(rows) for name, rows in named.items()}
            for group, named in groups.items()
        }
        return {"total": _sum(lines), **by}


def _line(row: Tally, provider: str, model: str, price: Price) -> dict[str, Any]:
    tokens = row.prompt_tokens + row.completion_tokens
    usage = Usage(row.prompt_tokens, row.completion_tokens, tokens, row.cached_tokens)
    return {
        "successes": row.successes,
        "failures": row.failures,
        "tokens": tokens,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "cost": price(provider, model, usage) if tokens else None,
    }


def _sum(lines: Iterable[dict[str, Any]]) -> dict[str, Any]:
    lines = list(lines)
    costs = [line["cost"] for line in lines if line["cost"] is not None]
    counts = ("successes", "failures", "tokens", "prompt_tokens", "completion_tokens")
    total: dict[str, Any] = {name: sum(line[name] for line in lines) for name in counts}
    total["cost"] = sum(costs) if costs else None
    return total
