"""The faces of transcription, as LMRotate has them."""

from __future__ import annotations

import asyncio
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
from contextlib import ExitStack
from typing import Any, Literal

from ..arguments import OF_BATCHES, OURS, Steering, checked, steered
from ..core.wire import Bounds, Request, TranscribeRequest
from ..engine.pool import Pool
from ..engine.portal import PORTAL
from ..types import TranscriptionResponse
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
from .chat import Models, sprayed
from .progress import ProgressWish
from .recording import AudioInput, recorded
from .source import Source
from .transcription import check_split, in_pieces, request_of
from .width import width_of
from .window import Window

Most = int | Literal["provider"] | None
Recordings = Iterable[AudioInput] | AsyncIterable[AudioInput]
_OURS = (*OURS, *OF_BATCHES, "filename", "split", "max_transcription_bytes")


class Transcriptions:
    """Recordings as text, for whoever can ask."""

    _pool: Pool
    _ask: Callable[..., Awaitable[Any]]
    _bounds: Callable[[type[Request], Sequence[str], Steering], Sequence[Bounds]]
    _check: Callable[[Sequence[str], Steering, Mapping[str, Any]], None]

    async def transcribe(
        self,
        model: str,
        audio: AudioInput,
        *,
        filename: str | None = None,
        split: bool = False,
        max_transcription_bytes: Most = "provider",
        **kwargs: Any,
    ) -> TranscriptionResponse:
        """A recording as text.

        ``audio``: a path, bytes, or a file opened with "rb"; it is read while it is sent.
        ``filename``: its name for the provider, which tells the format by its end.
        ``max_transcription_bytes``: what is larger is refused before it is read; what the
        provider takes if nothing is said, None for no limit. ``split``: what is larger is cut
        in silences instead, by the program ffmpeg, and the answers are joined, with the times
        of the whole. The keywords of :meth:`chat` steer it (provider, timeout, key_id, ...),
        others go into the request as they are (language, prompt, response_format, ...).

        Raises as :meth:`chat` does; ConfigurationError for a recording that cannot be read, is
        empty or too large.
        """
        return await self._transcribe(
            (model,), audio, filename, split, max_transcription_bytes, kwargs
        )

    async def _transcribe(
        self,
        models: Sequence[str],
        audio: AudioInput,
        filename: str | None,
        split: bool,
        max_transcription_bytes: Most,
        keywords: Mapping[str, Any],
    ) -> TranscriptionResponse:
        """By the first of ``models``, or those that it goes on to."""
        steering, options = steered(models[0], keywords, _OURS)
        if split:
            check_split(options)
        is_bounded = max_transcription_bytes == "provider"
        most = self._most(max_transcription_bytes, models, steering)

        async def send(request: TranscribeRequest) -> TranscriptionResponse:
            response: TranscriptionResponse = await self._ask(request, steering, models)
            return response

        with ExitStack() as left:
            kept = None if split else most
            recording = await asyncio.to_thread(recorded, audio, filename, kept, left)
            recording.check(kept)
            request = request_of(models[0], recording, options, is_bounded=is_bounded)
            if most is not None and recording.size > most:
                return await in_pieces(recording, most, request, send)
            return await send(request)

    def transcribe_sync(
        self, model: str, audio: AudioInput, **kwargs: Any
    ) -> TranscriptionResponse:
        """:meth:`transcribe` for code without a loop."""
        return PORTAL.run(lambda: self.transcribe(model, audio, **kwargs))

    async def transcribe_batch(  # noqa: PLR0913 - a public face
        self,
        model: Models,
        recordings: Recordings,
        *,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        collect: bool = True,
        progress: ProgressWish = None,
        postprocess: Callable[[TranscriptionResponse], Any] | None = None,
        **kwargs: Any,
    ) -> BatchResult[Any]:
        """Every recording as text: results in the order of the recordings, errors beside them.

        ``model``: a name, several, or {name: weight}; each row goes to one of them by weight,
        and on to another where that one cannot answer.
        ``max_parallel_requests``: recordings under way at a time. The callbacks, ``collect``,
        ``progress``, ``postprocess`` and ``return_exceptions`` are those of :meth:`chat_batch`,
        everything else is :meth:`transcribe`'s, except that a row waits for a key without limit
        unless ``max_wait_seconds`` is given.

        Raises as :meth:`chat_batch` does.
        """
        wishes = Wishes(return_exceptions, on_progress, on_result, collect)
        said = {**kwargs, "progress": progress, "postprocess": postprocess}
        return await run_batch(self._transcribing(model, recordings, said), wishes)

    def transcribe_batch_sync(
        self, model: Models, recordings: Recordings, **kwargs: Any
    ) -> BatchResult[Any]:
        """:meth:`transcribe_batch` for code without a loop; callbacks run in the thread that
        serves such calls.
        """
        return run_batch_sync(lambda: self.transcribe_batch(model, recordings, **kwargs))

    def transcribe_as_completed(
        self, model: Models, recordings: Recordings, **kwargs: Any
    ) -> AsyncGenerator[tuple[int, Any], None]:
        """``async for index, result in lm.transcribe_as_completed(...)``: each recording as soon
        as it is done; a failed one's result is its exception. The arguments of
        :meth:`transcribe_batch`, without callbacks. Only what is under way is held.
        """
        return self._transcribing(model, recordings, kwargs).pairs()

    def transcribe_as_completed_sync(
        self, model: Models, recordings: Recordings, **kwargs: Any
    ) -> Generator[tuple[int, Any], None, None]:
        """:meth:`transcribe_as_completed` as a plain generator."""
        return self._transcribing(model, recordings, kwargs).pairs_sync()

    def _transcribing(
        self, model: Models, recordings: Recordings, keywords: Mapping[str, Any]
    ) -> Window[Any, Any]:
        """The window. Complains of what is wrong for all rows before the first."""
        given = {"max_wait_seconds": math.inf, **keywords}
        width = width_of(given.pop("max_parallel_requests", "auto"), self._pool.clock.now)
        progress, finish = given.pop("progress", None), finishing(given.pop("postprocess", None))
        spray, steering, options = sprayed(model, given, _OURS)
        self._check(spray.names, steering, options)
        filename, split = given.pop("filename", None), bool(given.pop("split", False))
        most = given.pop("max_transcription_bytes", "provider")
        self._most(most, spray.names, steering)  # complains
        if split:
            check_split(options)

        def send(row: AudioInput) -> Awaitable[TranscriptionResponse]:
            return self._transcribe(spray.next(), row, filename, split, most, given)

        source: Source[AudioInput] = Source(recordings)
        board = board_of(self._pool, source.total, progress)
        return Window(source, send, width, board=board, finish=finish)

    def _most(self, said: Most, models: Sequence[str], steering: Steering) -> int | None:
        if said == "provider":
            bounds = self._bounds(TranscribeRequest, models, steering)
            return max((each.size for each in bounds if each.size is not None), default=None)
        return None if said is None else checked("max_transcription_bytes", said)
