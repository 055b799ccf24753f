"""The faces of embeddings, as LMRotate has them."""

from __future__ import annotations

import math
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any

from ..arguments import OF_BATCHES, OURS, Steering, counted, steered
from ..core.wire import Bounds, EmbedRequest, Request
from ..engine.pool import Pool
from ..engine.portal import PORTAL
from ..types import EmbeddingResponse
from .batch import OnProgress, OnResult, Wishes, board_of, finishing, run_batch, run_batch_sync
from .chat import Models, sprayed
from .embedding import (
    Embedder,
    EmbeddingBatch,
    check_text,
    group_bounds,
    numpy,
    response_of,
    stacked,
)
from .groups import Groups, GroupWindow
from .progress import ProgressWish
from .width import width_of

# Texts in one request: few enough that one bad text costs few requests to be found.
MICRO_BATCH_SIZE = 32
_OURS = (*OURS, *OF_BATCHES, "dimensions", "task_type", "as_array", "micro_batch_size")
Texts = Iterable[str] | AsyncIterable[str]


class Embeddings:
    """Texts as vectors, for whoever can ask."""

    _pool: Pool
    _ask: Callable[..., Awaitable[Any]]
    _bounds: Callable[[type[Request], Sequence[str], Steering], Sequence[Bounds]]
    _check: Callable[[Sequence[str], Steering, Mapping[str, Any]], None]

    async def embed(
        self,
        model: str,
        text: str,
        *,
        dimensions: int | None = None,
        task_type: str | None = None,
        as_array: bool = False,
        **kwargs: Any,
    ) -> EmbeddingResponse:
        """One text as a vector.

        ``dimensions``: of the vector, where the model can shorten it. ``task_type``: what it
        is for, where the provider asks. ``as_array``: a numpy array of float32 instead of a
        list. The keywords of :meth:`chat` steer it (provider, timeout, key_id, ...), others go
        into the request as they are. Of a chain only the stages count that send the same model.

        Raises as :meth:`chat` does.
        """
        check_text(text)
        if as_array:
            numpy()
        steering, options = steered(model, kwargs, _OURS)
        request = EmbedRequest(model, (text,), dimensions, task_type, None, options)
        answer = await self._ask(request, steering)
        return response_of(answer, 0, answer.usage, as_array=as_array)

    def embed_sync(self, model: str, text: str, **kwargs: Any) -> EmbeddingResponse:
        """:meth:`embed` for code without a loop."""
        return PORTAL.run(lambda: self.embed(model, text, **kwargs))

    async def embed_batch(  # noqa: PLR0913 - a public face
        self,
        model: Models,
        texts: Texts,
        *,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        collect: bool = True,
        progress: ProgressWish = None,
        postprocess: Callable[[EmbeddingResponse], Any] | None = None,
        **kwargs: Any,
    ) -> EmbeddingBatch:
        """Every text as a vector, several in one request: results in the order of the texts,
        errors beside them.

        ``model``: a name; or several, or {name: weight}, where they give the same vectors: each
        request goes to one of them by weight, and on to another where that one cannot answer.
        ``micro_batch_size``: texts in one request at most, 32 if nothing is said, fewer where
        the provider takes fewer or they are long. A text that the provider refuses is found by
        halving, and fails alone. ``usage`` of each result is its share of what was billed, by
        length. ``as_array=True``: the batch's ``array`` holds all vectors.
        ``max_parallel_requests``: requests under way at a time. The callbacks, ``collect``,
        ``progress``, ``postprocess`` and ``return_exceptions`` are those of :meth:`chat_batch`,
        everything else is :meth:`embed`'s, except that a row waits for a key without limit unless
        ``max_wait_seconds`` is given.

        Raises as :meth:`chat_batch` does.
        """
        wishes = Wishes(return_exceptions, on_progress, on_result, collect)
        said = {**kwargs, "progress": progress, "postprocess": postprocess}
        batch = await run_batch(self._embedding(model, texts, said), wishes)
        return stacked(batch, as_array=bool(kwargs.get("as_array")))

    def embed_batch_sync(self, model: Models, texts: Texts, **kwargs: Any) -> EmbeddingBatch:
        """:meth:`embed_batch` for code without a loop; callbacks run in the thread that serves
        such calls.
        """
        return run_batch_sync(lambda: self.embed_batch(model, texts, **kwargs))

    def embed_as_completed(
        self, model: Models, texts: Texts, **kwargs: Any
    ) -> AsyncGenerator[tuple[int, Any], None]:
        """``async for index, result in lm.embed_as_completed(...)``: each text as soon as it is
        done; a failed one's result is its exception. The arguments of :meth:`embed_batch`,
        without callbacks. Only what is under way is held. Texts of an async generator that takes
        its time are not held back for others to go with.
        """
        return self._embedding(model, texts, kwargs).pairs()

    def embed_as_completed_sync(
        self, model: Models, texts: Texts, **kwargs: Any
    ) -> Generator[tuple[int, Any], None, None]:
        """:meth:`embed_as_completed` as a plain generator."""
        return self._embedding(model, texts, kwargs).pairs_sync()

    def _embedding(self, model: Models, texts: Texts, keywords: Mapping[str, Any]) -> GroupWindow:
        """The window. Complains of what is wrong for all texts before the first."""
        given = {"max_wait_seconds": math.inf, **keywords}
        size = counted("micro_batch_size", given.pop("micro_batch_size", MICRO_BATCH_SIZE))
        width = width_of(given.pop("max_parallel_requests", "auto"), self._pool.clock.now)
        progress, finish = given.pop("progress", None), finishing(given.pop("postprocess", None))
        dimensions, task = given.pop("dimensions", None), given.pop("task_type", None)
        if dimensions is not None:
            counted("dimensions", dimensions)
        as_array = bool(given.pop("as_array", False))
        if as_array:
            numpy()
        spray, steering, options = sprayed(model, given, _OURS)
        self._check(spray.names, steering, options)
        count, most = group_bounds(size, self._bounds(EmbedRequest, spray.names, steering))
        units = self._pool.judge.books.estimator.units

        def weigh(text: Any) -> float:
            return units(spray.names[0], (), [text]) if isinstance(text, str) else 0.0

        def ask(texts: tuple[str, ...]) -> Awaitable[Any]:
            names = spray.next()
            request = EmbedRequest(names[0], texts, dimensions, task, None, options)
            return self._ask(request, steering, names)

        embedder = Embedder(ask, as_array, weigh)
        groups = Groups(texts, weigh, max(1, count), most)
        board = board_of(self._pool, groups.total, progress)
        return GroupWindow(groups, embedder, width, board=board, finish=finish)
