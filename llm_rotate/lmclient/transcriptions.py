"""Transcription, as LMClient has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.portal import PORTAL
from ..helpers.batch import BatchResult, OnProgress, OnResult, run_batch_sync
from ..helpers.recording import AudioInput
from .bound import Bound
from .results import TranscriptionResult, transcription_of

# What OpenAI takes: https://platform.openai.com/docs/guides/speech-to-text
DEFAULT_MAX_TRANSCRIPTION_BYTES = 25 * 1024 * 1024


class Transcriptions(Bound):
    """Recordings as text."""

    def transcribe(
        self,
        input_data: AudioInput,
        *,
        max_transcription_bytes: int | None = DEFAULT_MAX_TRANSCRIPTION_BYTES,
        **kwargs: Any,
    ) -> TranscriptionResult:
        """:meth:`atranscribe` for code without a loop."""
        return PORTAL.run(
            lambda: self.atranscribe(
                input_data, max_transcription_bytes=max_transcription_bytes, **kwargs
            )
        )

    async def atranscribe(
        self,
        input_data: AudioInput,
        *,
        max_transcription_bytes: int | None = DEFAULT_MAX_TRANSCRIPTION_BYTES,
        **kwargs: Any,
    ) -> TranscriptionResult:
        """One recording as text.

        ``input_data``: a path, bytes, or a file opened with "rb". ``max_transcription_bytes``:
        what is larger is refused before it is read; None for no limit. Other keywords are
        those of the pool's ``transcribe``; with ``split=True`` what is larger is cut in silences
        instead. Raises what that raises.
        """
        said = {**self._said(kwargs), "max_transcription_bytes": max_transcription_bytes}
        found = await self._once(self._lm.transcribe, self._lm.transcribe_batch, input_data, said)
        return transcription_of(found)

    def transcribe_batch(
        self,
        input_batch: Iterable[AudioInput],
        *,
        max_transcription_bytes: int | None = DEFAULT_MAX_TRANSCRIPTION_BYTES,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        **kwargs: Any,
    ) -> BatchResult[TranscriptionResult]:
        """:meth:`atranscribe_batch` for code without a loop; callbacks run in the thread that
        serves such calls.
        """
        return run_batch_sync(
            lambda: self.atranscribe_batch(
                input_batch,
                max_transcription_bytes=max_transcription_bytes,
                return_exceptions=return_exceptions,
                on_progress=on_progress,
                on_result=on_result,
                **kwargs,
            )
        )

    async def atranscribe_batch(
        self,
        input_batch: Iterable[AudioInput],
        *,
        max_transcription_bytes: int | None = DEFAULT_MAX_TRANSCRIPTION_BYTES,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        **kwargs: Any,
    ) -> BatchResult[TranscriptionResult]:
        """Every recording as text: results in order, errors beside them. The rest as in
        :meth:`atranscribe`, and as in the pool's ``transcribe_batch``.
        """
        return await self._lm.transcribe_batch(
            self._models,
            input_batch,
            max_transcription_bytes=max_transcription_bytes,
            return_exceptions=return_exceptions,
            on_progress=on_progress,
            on_result=on_result,
            postprocess=transcription_of,
            **self._rows(kwargs),
        )
