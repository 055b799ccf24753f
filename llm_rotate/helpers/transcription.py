"""Recordings as text; long ones in pieces, joined as if they had been one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..core.wire import TranscribeRequest
from ..errors import ConfigurationError
from ..types import TranscriptionResponse, Usage
from .ffmpeg import Piece, ffmpeg, split
from .recording import Recording, boundary, recorded

Send = Callable[[TranscribeRequest], Awaitable[TranscriptionResponse]]
# Formats that can be joined; subtitles would need to be written anew.
_JOINED = (None, "json", "verbose_json", "diarized_json", "text")


def request_of(
    model: str, recording: Recording, options: dict[str, Any], *, is_bounded: bool
) -> TranscribeRequest:
    return TranscribeRequest(
        model,
        recording.upload,
        recording.filename,
        recording.mime_type,
        boundary(),
        is_bounded,
        options=options,
    )


def check_split(options: dict[str, Any]) -> None:
    """Raises ConfigurationError if pieces could not be made or joined."""
    if options.get("response_format") not in _JOINED:
        raise ConfigurationError(
            f"split=True cannot join response_format={options['response_format']!r}; "
            "the default has the times of every segment"
        )
    ffmpeg()


async def in_pieces(
    recording: Recording, most: int, template: TranscribeRequest, send: Send
) -> TranscriptionResponse:
    """The recording cut into pieces that fit, each sent by itself, the answers joined."""
    with ExitStack() as left:
        folder = Path(left.enter_context(TemporaryDirectory(prefix="llm-rotate-")))
        path = recording.path
        if path is None:
            path = await asyncio.to_thread(_written, recording, folder / "whole")
        pieces = await split(path, most, folder)
        requests = [await _request_for(piece, template, left) for piece in pieces]
        return joined(await _together(map(send, requests)), pieces)


async def _request_for(
    piece: Piece, template: TranscribeRequest, left: ExitStack
) -> TranscribeRequest:
    made = await asyncio.to_thread(recorded, piece.path, None, None, left)
    return replace(template, audio=made.upload, filename=made.filename, mime_type=made.mime_type)


def _written(recording: Recording, path: Path) -> Path:
    """On disk, where ffmpeg finds it."""
    with path.open("wb") as file:
        file.writelines(recording.upload)
    return path


async def _together(calls: Iterable[Awaitable[Any]]) -> list[Any]:
    """All at once; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def joined(
    answers: Sequence[TranscriptionResponse], pieces: Sequence[Piece]
) -> TranscriptionResponse:
    """One answer with the times of the whole. A piece whose answer has no segments is one."""
    pairs = list(zip(answers, pieces, strict=True))
    segments = [each for answer, piece in pairs for each in _segments(answer, piece)]
    return replace(
        answers[0],
        text=" ".join(text for answer in answers if (text := answer.text.strip())),
        usage=added([answer.usage for answer in answers]),
        latency_ms=max(answer.latency_ms for answer in answers),
        language=next((answer.language for answer in answers if answer.language), None),
        duration_s=pieces[-1].end,
        segments=[each | {"id": number} for number, each in enumerate(segments)],
        words=[word for answer, piece in pairs for word in _later(answer.words, piece.start)],
        raw={"pieces": [answer.raw for answer in answers]},
        attempts=tuple(each for answer in answers for each in answer.attempts),
    )


def _segments(answer: TranscriptionResponse, piece: Piece) -> list[dict[str, Any]]:
    if answer.segments or not answer.text.strip():
        return _later(answer.segments, piece.start)
    return [{"start": piece.start, "end": piece.end, "text": answer.text.strip()}]


def _later(told: Iterable[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """The same with their times in the whole recording."""
    return [
        each
        | {
            name: round(each[name] + seconds, 3)
            for name in ("start", "end")
            if isinstance(each.get(name), int | float) and math.isfinite(each[name])
        }
        for each in told
    ]


def added(usages: Sequence[Usage]) -> Usage:
    """What all cost together."""
    return Usage(
        *(
            sum(getattr(usage, name) for usage in usages)
            for name in (
                "prompt_tokens",
                "completion_tokens",
                "total_tokens",
                "cached_tokens",
                "reasoning_tokens",
                "audio_tokens",
            )
        )
    )
