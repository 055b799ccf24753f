"""``llm-rotate transcribe``: the text of every recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...lmclient.results import TranscriptionResult
from ...lmclient.transcriptions import DEFAULT_MAX_TRANSCRIPTION_BYTES
from .clients import client_of
from .mapping import by_fields
from .options import Connection, Rows, with_options
from .shapes import transcribed
from .work import Task, alone, one_by_one, work


@with_options(Rows, Connection)
def transcribe(
    rows: Rows,
    asked: Connection,
    path: Annotated[Path | None, typer.Argument(metavar="PATH", hidden=True)] = None,
    language: Annotated[
        str | None, typer.Option("--language", metavar="CODE", help="What is spoken, as en.")
    ] = None,
    max_bytes: Annotated[
        int,
        typer.Option("--max-bytes", metavar="COUNT", min=0, help="Refuse larger; 0: no limit."),
    ] = DEFAULT_MAX_TRANSCRIPTION_BYTES,
    split: Annotated[
        bool, typer.Option("--split", help="Cut larger recordings in silences, with ffmpeg.")
    ] = False,
) -> None:
    """Write down one recording, or every row of a file.

    PATH is one recording. A row is a JSON object with a path. Its result has the row's number
    as _index, text, duration_s, language, request_id, deployment and error. The exit status is
    0 only if every row succeeded.
    """
    client = client_of(asked, keywords={"language": language})
    manner: dict[str, Any] = {"split": True} if split else {}

    async def ask(recording: Path) -> TranscriptionResult:
        most = max_bytes or None
        return await client.atranscribe(recording, max_transcription_bytes=most, **manner)

    if path is not None:
        typer.echo(alone(rows, client, ask(path)).text)
        return
    about = {"command": "transcribe", "model": asked.model, "language": language, "split": split}
    read = by_fields("path")
    work(client, rows, Task(about, read, transcribed, one_by_one(ask), asked.window))
