"""The faces of chat batches, as LMRotate has them."""

from __future__ import annotations

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

from ..arguments import OF_BATCHES, OF_CHAT_BATCHES, OURS, Steering
from ..engine.assembly import narrowed_to
from ..engine.pool import Pool
from ..types import ChatResponse
from .batch import (
    BatchResult,
    OnProgress,
    OnResult,
    Wishes,
    board_of,
    finishing,
    run_batch,
    run_batch_sync,
)
from .cache import ResponseCache
from .chat import Asker, Handling, Models
from .progress import ProgressWish
from .recall import Equals, SentTo
from .source import Source
from .width import MaxParallel, width_of
from .window import Window

_OURS = (*OURS, *OF_BATCHES, *OF_CHAT_BATCHES)


class ChatBatches:
    """Many chats at once, for whoever can ask one thing."""

    _pool: Pool
    _ask: Callable[..., Awaitable[Any]]
    _check: Callable[[Sequence[str], Steering, Mapping[str, Any]], None]

    async def chat_batch(  # noqa: PLR0913 - a public face
        self,
        model: Models,
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        max_parallel_requests: MaxParallel = "auto",
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        collect: bool = True,
        progress: ProgressWish = None,
        keep_raw: bool = True,
        postprocess: Callable[[ChatResponse], Any] | None = None,
        dedupe: bool = False,
        cache: ResponseCache | None = None,
        **kwargs: Any,
    ) -> BatchResult[Any]:
        """Every input answered: results in the order of the inputs, errors beside them.

        ``model``: a name, several, or {name: weight}; each row goes to one of them by weight,
        and on to another where that one cannot answer. ``inputs``: prompts or lists of
        messages; a list, a generator or an async generator, never read ahead.
        ``max_parallel_requests``: rows under way at a time; "auto" grows while more get done,
        and takes back on 429, overload and rising latency. ``return_exceptions``: False
        raises the first error and cancels the rest. ``on_progress(completed, total)``: after
        each row; ``total`` is None where the inputs have no length. ``on_result(index, result,
        error)``: for each row as it comes; both may be async, one is called at a time, and
        what they raise is logged and loses nothing. ``collect=False``: keeps no results, so
        that memory does not grow. ``progress``: "rich" or "tqdm" draws a bar, a function gets
        a Progress up to ten times a second. ``keep_raw=False``: drops the providers' own answers.
        ``postprocess``: what it makes of an answer, awaited if it is async, is the result; an
        error that it raises is the row's, with the answer as ``error.answer``. ``dedupe``: equal
        requests of this batch are sent once. ``cache``: answers are looked up there, and kept.
        ``attempts`` of an answer that nothing was sent for is empty. Everything else is chat's,
        except that a row waits for a key without limit unless ``max_wait_seconds`` is given.

        Raises ConfigurationError before anything is sent, BatchError if the inputs raise or the
        pool is closed. Whatever ends a batch early, a cancellation too, has what is done as its
        ``batch``.
        """
        wishes = Wishes(return_exceptions, on_progress, on_result, collect)
        handling = Handling(max_parallel_requests, progress, keep_raw, postprocess, dedupe, cache)
        return await run_batch(self._window(model, inputs, handling, kwargs), wishes)

    def chat_batch_sync(
        self, model: Models, inputs: Iterable[Any] | AsyncIterable[Any], **kwargs: Any
    ) -> BatchResult[Any]:
        """:meth:`chat_batch` for code without a loop; callbacks run in the thread that serves
        such calls.
        """
        return run_batch_sync(lambda: self.chat_batch(model, inputs, **kwargs))

    def as_completed(  # noqa: PLR0913 - a public face
        self,
        model: Models,
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        max_parallel_requests: MaxParallel = "auto",
        progress: ProgressWish = None,
        keep_raw: bool = True,
        postprocess: Callable[[ChatResponse], Any] | None = None,
        dedupe: bool = False,
        cache: ResponseCache | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[tuple[int, Any], None]:
        """``async for index, result in lm.as_completed(...)``: each row as soon as it is done;
        a failed row's result is its exception. The arguments of :meth:`chat_batch`, without
        callbacks.

        Only the rows under way are held, and as many that are done; a loop that is left early
        cancels them. Raises what the inputs raise, and PoolClosedError, after the rows before.
        """
        handling = Handling(max_parallel_requests, progress, keep_raw, postprocess, dedupe, cache)
        return self._window(model, inputs, handling, kwargs).pairs()

    def as_completed_sync(
        self, model: Models, inputs: Iterable[Any] | AsyncIterable[Any], **kwargs: Any
    ) -> Generator[tuple[int, Any], None, None]:
        """:meth:`as_completed` as a plain generator."""
        own = Handling.__dataclass_fields__
        handling = Handling(**{name: kwargs.pop(name) for name in own if name in kwargs})
        return self._window(model, inputs, handling, kwargs).pairs_sync()

    def _window(
        self,
        model: Models,
        inputs: Iterable[Any] | AsyncIterable[Any],
        handling: Handling,
        keywords: Mapping[str, Any],
    ) -> Window[Any, Any]:
        """The window. Complains of what is wrong for all rows before the first."""
        asker = Asker(self._ask, model, keywords, _OURS)
        steering = asker.steering
        narrowed = narrowed_to(steering.key_id, steering.tags, steering.region)

        def sent_to(name: str) -> SentTo:
            first = self._pool.stages(name, steering.provider, narrowed)[0]
            return first.provider.name, first.model or "", first.upstream

        self._check(asker.names, steering, asker.options)
        if handling.dedupe or handling.cache is not None:
            asker.equals = Equals(
                handling.cache, sent_to, dedupe=handling.dedupe, keep_raw=handling.keep_raw
            )
        width = width_of(handling.max_parallel_requests, self._pool.clock.now)
        source: Source[Any] = Source(inputs)
        board = board_of(self._pool, source.total, handling.progress)
        finish = finishing(handling.postprocess, keep_raw=handling.keep_raw)
        return Window(source, asker, width, board=board, finish=finish)
