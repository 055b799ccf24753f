"""The faces of transcription, as LMRotate has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

from ..arguments import Steering, checked, steered
from ..core.wire import Bounds, Request, TranscribeRequest
from ..engine.portal import PORTAL
from ..types import TranscriptionResponse
from .recording import AudioInput, recorded
from .transcription import check_split, in_pieces, request_of

Most = int | Literal["provider"] | None


class Transcriptions:
    """Recordings as text, for whoever can ask."""

    _ask: Callable[[Request, Steering], Awaitable[Any]]
    _bounds: Callable[[type[Request], str, Steering], Sequence[Bounds]]

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
        steering, options = steered(model, kwargs)
        if split:
            check_split(options)
        is_bounded = max_transcription_bytes == "provider"
        most = self._most(max_transcription_bytes, model, steering)

        async def send(request: TranscribeRequest) -> TranscriptionResponse:
            response: TranscriptionResponse = await self._ask(request, steering)
            return response

        with ExitStack() as left:
            kept = None if split else most
            recording = await asyncio.to_thread(recorded, audio, filename, kept, left)
            recording.check(kept)
            request = request_of(model, recording, options, is_bounded=is_bounded)
            if most is not None and recording.size > most:
                return await in_pieces(recording, most, request, send)
            return await send(request)

    def transcribe_sync(
        self, model: str, audio: AudioInput, **kwargs: Any
    ) -> TranscriptionResponse:
        """:meth:`transcribe` for code without a loop."""
        return PORTAL.run(lambda: self.transcribe(model, audio, **kwargs))

    def _most(self, said: Most, model: str, steering: Steering) -> int | None:
        if said == "provider":
            sizes = [each.size for each in self._bounds(TranscribeRequest, model, steering)]
            return max((size for size in sizes if size is not None), default=None)
        return None if said is None else checked("max_transcription_bytes", said)
