"""Works through the rows of a file: read, send, save, each once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import typer

from ...errors import ConfigurationError
from .journal import Journal, NoRoomError, line_of
from .mapping import Mapped
from .options import Rows
from .records import PIPE, BadRow, Record, digest, records

Shape = Callable[[Any], Mapping[str, Any]]
"""A result -> the fields of its row."""
Send = Callable[[Iterable[Any], Callable[..., None]], Awaitable[Any]]
"""(inputs, on_result): sends every input and says for each what became of it."""


class Sink(Protocol):
    """Where rows go. ``is_full``: begin no more; ``counts``: rows done and rows failed."""

    is_full: bool

    def is_done(self, number: int) -> bool: ...
    def write(self, number: int, row: Mapping[str, Any]) -> None: ...
    def counts(self) -> tuple[int, int]: ...
    def close(self) -> None: ...


class StandardOutput:
    """Rows as they come, for a pipe. Nothing of it can be gone on with."""

    is_full = False

    def __init__(self) -> None:
        self._done = self._failed = 0

    def is_done(self, number: int) -> bool:  # noqa: ARG002 - a Sink's
        return False

    def write(self, number: int, row: Mapping[str, Any]) -> None:  # noqa: ARG002 - a Sink's
        sys.stdout.buffer.write(line_of(row))
        sys.stdout.buffer.flush()
        self._failed += row["error"] is not None
        self._done += row["error"] is None

    def counts(self) -> tuple[int, int]:
        return self._done, self._failed

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a job ended before its rows did. ``status``: of the process."""

    why: str
    status: int


class Job:
    """One pass over the rows. ``shape``: the fields that a failed row lacks are None."""

    def __init__(
        self, sink: Sink, source: Iterable[Record], read: Callable[[Any], Mapped], shape: Shape
    ) -> None:
        self._sink = sink
        self._source = source
        self._read = read
        self._shape = shape
        self._empty = dict.fromkeys(shape(None))
        self._under_way: dict[int, tuple[int, Any]] = {}
        self.ended: Ended | None = None
        self.lost = 0

    def inputs(self) -> Iterator[Any]:
        """What is to be sent, row by row, until the job is told to end."""
        sent = 0
        for number, record in enumerate(self._source):
            if self.ended is not None:
                return
            if self._sink.is_done(number):
                continue
            try:
                if isinstance(record, BadRow):
                    raise record
                mapped = self._read(record)
            except BadRow as error:
                self._save(number, {**self._empty, "error": str(error)}, None)
                continue
            self._under_way[sent] = (number, mapped.metadata)
            sent += 1
            yield mapped.input

    def take(self, place: int, result: Any, error: Exception | None) -> None:
        """What became of the row that was sent as the ``place``-th."""
        number, metadata = self._under_way.pop(place)
        if error is None:
            self._save(number, {**self._shape(result), "error": None}, metadata)
        else:
            self._save(number, {**self._empty, "error": said(error)}, metadata)

    def _save(self, number: int, row: Mapping[str, Any], metadata: Any) -> None:
        whole = {"_index": number, **row}
        if metadata is not None:
            whole["metadata"] = metadata
        try:
            self._sink.write(number, whole)
        except NoRoomError as error:
            self.lost += 1
            self.end(f"{error}: {self.lost} answers could not be saved", 1, force=True)
        except BrokenPipeError:
            self.lost += 1
            self.end("nobody reads the output any more", 1)
        else:
            if self._sink.is_full:
                self.end("the disk is full; what was under way was saved", 1)

    def end(self, why: str, status: int, *, force: bool = False) -> None:
        """Begins no more rows. The first reason stands, unless the next is worse."""
        if self.ended is None or force:
            self.ended = Ended(why, status)


def said(error: BaseException) -> str:
    """An error in one line, with the one that it came from."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    cause = error.__cause__
    return text if cause is None else f"{text} (from {' '.join(str(cause).split())})"


def open_sink(rows: Rows, job: Mapping[str, Any], window: int) -> Sink:
    """Where the rows go. Raises ConfigurationError, and NoRoomError for a full disk."""
    if rows.output_jsonl is None or rows.output_jsonl == PIPE:
        if rows.resume:
            raise ConfigurationError("--resume needs --output-jsonl: a pipe has no past")
        return StandardOutput()
    if rows.input_jsonl == PIPE:
        if rows.resume:
            raise ConfigurationError("--resume needs a file as input: a pipe cannot be read again")
        source: Mapping[str, Any] = {"input": "-"}
    else:
        source = {"input": digest(rows.input_jsonl or PIPE)}
    about = {**source, "mapper": rows.mapper, **job}
    return Journal(rows.output_jsonl, about, window, resume=rows.resume)


async def run_job(job: Job, send: Send) -> None:
    """Sends and saves all rows. The first Ctrl-C (or SIGTERM) begins no more and saves what is
    under way, the second one drops it.
    """
    sending = asyncio.ensure_future(send(job.inputs(), job.take))
    async with _heard(job, sending):
        try:
            await sending
        except asyncio.CancelledError:
            if job.ended is None:
                raise


@asynccontextmanager
async def _heard(job: Job, sending: asyncio.Future[Any]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def hear(number: int) -> None:
        if job.ended is not None:
            sending.cancel()
            return
        job.end("stopped", 128 + number)
        typer.echo("stopping: rows under way are finished; once more drops them", err=True)

    for number in signals:
        loop.add_signal_handler(number, hear, number)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def finish(job: Job, sink: Sink, output: Path | None) -> None:
    """Says how it ended, and leaves with the status that goes with it."""
    done, failed = sink.counts()
    sink.close()
    failures = f", {failed} failed" if failed else ""
    typer.echo(f"{done} rows done{failures}", err=True)
    if job.ended is not None:
        on = f"; go on with --resume ({output})" if output and output != PIPE else ""
        typer.echo(f"llm-rotate: {job.ended.why}{on}", err=True)
        if job.ended.why.startswith("nobody"):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(job.ended.status)
    if failed:
        raise typer.Exit(1)
