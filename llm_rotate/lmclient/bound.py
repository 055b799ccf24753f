"""A pool, and the models that a client is bound to there."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from ..client import LMRotate
from ..helpers.chat import Spray
from .inputs import EndpointType, check_keywords, checked_endpoint
from .translation import timeouts_of


class Bound:
    """What every method of a client needs. ``_window``: rows of a batch under way at a time,
    None for what the pool finds best.
    """

    _owns_pool: bool

    def _bind(
        self,
        lm: LMRotate,
        models: Mapping[str, float],
        *,
        endpoint: EndpointType,
        window: int | None,
        keywords: Mapping[str, Any],
    ) -> None:
        self._lm = lm
        self._models = models
        self._spray = Spray(models)
        self._endpoint = checked_endpoint(endpoint)
        self._window = window
        self._keywords = keywords

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._models)}; {self._lm!r})"

    @property
    def lm(self) -> LMRotate:
        """The pool behind it: health(), keys, listen() and what else it has."""
        return self._lm

    # -- to the pool

    async def _once(
        self,
        ask: Callable[..., Awaitable[Any]],
        ask_many: Callable[..., Awaitable[Any]],
        given: Any,
        said: Mapping[str, Any],
    ) -> Any:
        """One answer, of the model whose turn it is or, where that cannot, of another."""
        first, *others = self._spray.next()
        if not others:
            return await ask(first, given, **said)
        models = [first, *others]
        batch = await ask_many(models, [given], return_exceptions=False, **said)
        return batch.results[0]

    def _said(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of one call. It waits for room as long as it takes."""
        said = {"max_wait_seconds": math.inf, **self._keywords, **given}
        check_keywords(said)
        if (seconds := said.pop("timeout", None)) is not None:
            said["timeouts"] = timeouts_of(seconds)
        return said

    def _rows(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The same of a batch."""
        width = {} if self._window is None else {"max_parallel_requests": self._window}
        return width | self._said(given)

    # -- an end

    def close(self) -> None:
        """Closes the connections of the client's own pool. A later call opens new ones."""
        if self._owns_pool:
            self._lm.close_sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._owns_pool:
            await self._lm.close()
