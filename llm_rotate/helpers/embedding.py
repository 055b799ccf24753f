"""Texts as vectors: one, or many in few requests."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from ..core.wire import Bounds, Vectors
from ..errors import (
    BadRequestError,
    ConfigurationError,
    ContentFilteredError,
    LMRotateError,
    RequestTooLargeError,
)
from ..types import EmbeddingResponse, Usage
from .batch import BatchResult
from .groups import Group, Member
from .window import Row

# The caller's fault, or one text's: without it the others may be well.
REFUSED = (BadRequestError, ContentFilteredError, RequestTooLargeError)
# Tokens are estimated, by bytes: a service's bound is kept even where that is so far off.
_MISCOUNT = 3.0
_MOST_TOKENS = 300_000  # where a service names no bound: OpenAI's


@dataclass(slots=True, repr=False)
class EmbeddingBatch(BatchResult[Any]):
    """A :class:`BatchResult` of embeddings.

    ``array``: with ``as_array=True`` all vectors as rows of one numpy array of float32, which
    the results' ``embedding`` are views of; rows that failed are NaN; (0, 0) of no texts. None
    otherwise, and where no row is good (how long it would be is not known), their lengths differ,
    or a ``postprocess`` left no ``embedding``.
    """

    array: Any = None


def check_text(text: object) -> None:
    """Raises ConfigurationError for what cannot be embedded as one text."""
    if isinstance(text, str) and text:
        return
    if isinstance(text, str):
        raise ConfigurationError("the text is empty: there is nothing to embed")
    more = "; embed_batch takes many" if isinstance(text, list | tuple) else ""
    raise ConfigurationError(f"embed takes one text, a str, not {type(text).__name__}{more}")


def group_bounds(micro_batch_size: int, bounds: Sequence[Bounds]) -> tuple[int, float]:
    """Texts, and estimated tokens, that may go in one request to whichever stage."""
    counts = [each.count for each in bounds if each.count is not None]
    tokens = [each.tokens for each in bounds if each.tokens is not None]
    return min([micro_batch_size, *counts]), min(tokens, default=_MOST_TOKENS) / _MISCOUNT


@dataclass(frozen=True, slots=True)
class Embedder:
    """Sends groups of texts. ``ask``: one request of them."""

    ask: Callable[[tuple[str, ...]], Awaitable[Any]]
    as_array: bool
    weigh: Callable[[str], float]

    async def __call__(self, members: Sequence[Member]) -> Group:
        """Every text's vector, or its exception; halves of what a provider refuses go again."""
        group = Group()
        texts = []
        for index, text in members:
            try:
                check_text(text)
                texts.append((index, text))
            except ConfigurationError as error:
                group.rows.append(Row(index, None, error))
        await self._send(texts, group)
        return group

    async def _send(self, members: Sequence[Member], group: Group) -> None:
        if not members:
            return
        texts = tuple(text for _, text in members)
        try:
            answer: Vectors = await self.ask(texts)
        except Exception as error:
            group.attempts = tuple(error.attempts) if isinstance(error, LMRotateError) else ()
            if isinstance(error, REFUSED) and len(members) > 1:
                middle = len(members) // 2
                group.again = (members[:middle], members[middle:])
            else:
                group.rows += [Row(index, None, error) for index, _ in members]
            return
        group.attempts, group.usage = answer.attempts, answer.usage
        group.provider, group.model = answer.provider, answer.model
        shares = shared(answer.usage, [self.weigh(text) for text in texts])
        group.rows += [
            Row(index, response_of(answer, place, share, as_array=self.as_array), None)
            for place, ((index, _), share) in enumerate(zip(members, shares, strict=True))
        ]


def response_of(answer: Vectors, place: int, usage: Usage, *, as_array: bool) -> EmbeddingResponse:
    """The answer for one of the texts."""
    found = answer.found[place]
    return EmbeddingResponse(
        numpy().asarray(found, "float32") if as_array else list(found),
        answer.provider,
        answer.model,
        answer.key_id,
        usage,
        answer.latency_ms,
        answer.request_id,
        answer.upstream,
        answer.attempts,
    )


def shared(usage: Usage, weights: Sequence[float]) -> list[Usage]:
    """What each text took of what was billed for all, by weight; it adds up to that."""
    prompts, totals = parts(usage.prompt_tokens, weights), parts(usage.total_tokens, weights)
    return [Usage(prompt, 0, total) for prompt, total in zip(prompts, totals, strict=True)]


def parts(whole: int, weights: Sequence[float]) -> list[int]:
    """``whole`` in whole parts, each within 1 of its share."""
    edges = list(accumulate(weights if any(weights) else [1.0] * len(weights), initial=0.0))
    cuts = [round(whole * (edge / edges[-1])) for edge in edges]
    return [end - start for start, end in pairwise(cuts)]


def stacked(batch: BatchResult[Any], *, as_array: bool) -> EmbeddingBatch:
    """The batch with its array, if one was asked for."""
    whole = EmbeddingBatch(
        batch.results, batch.errors, batch.usage, batch.completed, batch.failed, batch.untaken
    )
    if not as_array:
        return whole
    kind, rows = numpy().ndarray, list[Any](batch.results)
    good = [n for n, each in enumerate(rows) if isinstance(getattr(each, "embedding", 0), kind)]
    lengths = {len(rows[n].embedding) for n in good}
    if not (rows or batch.completed or batch.failed):
        whole.array = numpy().empty((0, 0), "float32")
    elif len(lengths) == 1:
        made = whole.array = numpy().full((len(rows), lengths.pop()), math.nan, "float32")
        for n in good:
            made[n] = rows[n].embedding
            if isinstance(rows[n], EmbeddingResponse):
                rows[n].embedding = made[n]  # held once
    return whole


def numpy() -> Any:
    """The module. Raises ConfigurationError if it is not installed."""
    try:
        import numpy  # noqa: PLC0415, ICN001 - optional, and slow to import
    except ImportError:
        raise ConfigurationError(
            "as_array=True needs numpy: pip install 'llm_rotate[numpy]'"
        ) from None
    return numpy
