"""Rows of a chat batch: from an input to its answer."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import Steering, check_endpoint, check_model, checked, messages_of, steered
from ..core.wire import ChatRequest
from ..errors import ConfigurationError
from ..types import ChatResponse
from .cache import ResponseCache
from .progress import ProgressWish
from .recall import Equals
from .width import MaxParallel

Ask = Callable[..., Awaitable[ChatResponse]]
# Keywords that are a chat's own fields.
OF_A_CHAT = ("max_tokens", "temperature", "endpoint")
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
    if not isinstance(models, Mapping | Sequence):
        check_model(models)  # complains
    weights = models if isinstance(models, Mapping) else dict.fromkeys(models, 1.0)
    for name, weight in weights.items():
        if checked(f"the weight of {name!r}", weight) == math.inf:
            raise ConfigurationError(f"the weight of {name!r} is not finite")
    if not weights:
        raise ConfigurationError("model is empty: name one model or several")
    return weights


def sprayed(
    models: Models, keywords: Mapping[str, Any], ours: tuple[str, ...]
) -> tuple[Spray, Steering, dict[str, Any]]:
    """The models of a batch, what steers its rows, and what goes into its requests; ``ours``:
    names that the latter must not be misspelled ones of. Raises ConfigurationError.
    """
    spray = Spray(models)
    for name in spray.names:
        steering, options = steered(name, keywords, ours)
    return spray, steering, options


@dataclass(frozen=True, slots=True)
class Handling:
    """What is done about the rows; the names are those of the faces."""

    max_parallel_requests: MaxParallel = "auto"
    progress: ProgressWish = None
    keep_raw: bool = True
    postprocess: Callable[[ChatResponse], Any] | None = None
    dedupe: bool = False
    cache: ResponseCache | None = None


class Asker:
    """Sends a row. It waits for a key as long as it takes, unless the keywords say otherwise.

    ``equals`` tells rows that are the same, if that is wanted. Raises ConfigurationError for
    keywords that are wrong for every row.
    """

    def __init__(
        self, ask: Ask, models: Models, keywords: Mapping[str, Any], ours: tuple[str, ...]
    ) -> None:
        self._ask = ask
        given = {"max_wait_seconds": math.inf, **keywords}
        self._own = {name: given.pop(name, None) for name in OF_A_CHAT}
        check_endpoint(self._own["endpoint"])
        self._spray, self.steering, self.options = sprayed(models, given, ours)
        self.names = self._spray.names
        self.equals: Equals | None = None

    def __call__(self, row: Any) -> Awaitable[ChatResponse]:
        if isinstance(row, ConfigurationError):
            raise row  # why what was given for it is none
        names = self._spray.next()
        request = ChatRequest(names[0], messages_of(row), options=self.options, **self._own)
        if self.equals is None:
            return self._ask(request, self.steering, names)
        return self.equals.once(request, lambda: self._ask(request, self.steering, names))
