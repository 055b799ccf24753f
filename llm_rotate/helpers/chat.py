"""Rows of a chat batch: from an input to its answer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..arguments import Steering, check_endpoint, check_messages, checked, steered
from ..core.wire import ChatRequest
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

    def next(self) -> tuple[str, ...]:
        """The model of the next row, and those that it may go on to."""
        names, credit = self.names, self._credit
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


def messages_of(row: Any) -> Any:
    """A row is a prompt or a list of messages. Raises ConfigurationError."""
    messages = [{"role": "user", "content": row}] if isinstance(row, str) else row
    check_messages(messages)
    return messages


def asking(
    ask: Ask, models: Models, keywords: Mapping[str, Any], ours: tuple[str, ...]
) -> tuple[Spray, Steering, Callable[[Any], Awaitable[ChatResponse]]]:
    """What sends a row, with the models and the steering of all. A row waits for a key as long
    as it takes, unless the keywords say otherwise. Raises ConfigurationError.
    """
    spray = Spray(models)
    given = {"max_wait_seconds": math.inf, **keywords}
    own = {name: given.pop(name, None) for name in ("max_tokens", "temperature", "endpoint")}
    check_endpoint(own["endpoint"])
    for name in spray.names:
        steering, options = steered(name, given, ours)

    def send(row: Any) -> Awaitable[ChatResponse]:
        names = spray.next()
        messages = messages_of(row)
        request = ChatRequest(names[0], messages, options=options, **own)
        return ask(request, steering, names)

    return spray, steering, send


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
