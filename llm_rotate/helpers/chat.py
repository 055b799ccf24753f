"""Rows of a chat batch: from an input to its answer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..arguments import checked
from ..errors import ConfigurationError
from ..types import ChatResponse

Ask = Callable[..., Awaitable[ChatResponse]]
Models = str | Sequence[str] | Mapping[str, float]


class Spray:
    """Which model each row asks first, by weight: no draw, so that shares are exact.

    The others follow in turn, for a row whose model cannot answer.
    """

    def __init__(self, models: Models) -> None:
        weights = _weights(models)
        self.names = tuple(weights)
        self._weights = list(weights.values())
        self._credit = [0.0] * len(weights)

    def next(self) -> str | tuple[str, ...]:
        """The model of the next row, and those that it may go on to."""
        names, credit = self.names, self._credit
        if len(names) == 1:
            return names[0]
        for i, weight in enumerate(self._weights):
            credit[i] += weight
        first = credit.index(max(credit))
        credit[first] -= sum(self._weights)
        return names[first:] + names[:first]


def _weights(models: Models) -> Mapping[str, float]:
    if isinstance(models, str):
        return {models: 1.0}
    weights = models if isinstance(models, Mapping) else dict.fromkeys(models, 1.0)
    for name, weight in weights.items():
        if checked(f"the weight of {name!r}", weight) == math.inf:
            raise ConfigurationError(f"the weight of {name!r} is not finite")
    if not weights:
        raise ConfigurationError("model is empty: name one model or several")
    return weights


def messages_of(row: Any) -> Sequence[Any]:
    """A row is a prompt or a list of messages."""
    if isinstance(row, str):
        return [{"role": "user", "content": row}]
    if isinstance(row, Sequence) and not isinstance(row, (bytes, bytearray)):
        return row
    raise ConfigurationError(
        f"a row must be a prompt or a list of messages, not {type(row).__name__}"
    )


def asking(ask: Ask, spray: Spray, keywords: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Sends a row. It waits for a key as long as it takes, unless the keywords say otherwise."""
    given = {"max_wait_seconds": math.inf, **keywords}

    def send(row: Any) -> Awaitable[ChatResponse]:
        return ask(spray.next(), messages_of(row), **given)

    return send


def finishing(
    keep_raw: bool, postprocess: Callable[[ChatResponse], Any] | None
) -> Callable[[ChatResponse], Awaitable[Any]] | None:
    """What is done to each answer before it is a result; None if nothing is."""
    if keep_raw and postprocess is None:
        return None

    async def finish(answer: ChatResponse) -> Any:
        if not keep_raw:
            answer.raw = {}
        if postprocess is None:
            return answer
        made = postprocess(answer)
        return await made if inspect.isawaitable(made) else made

    return finish
