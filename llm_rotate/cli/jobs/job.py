"""Works through the rows of a file: read, send, save, each once."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import typer

from ...errors import BatchError, ConfigurationError, LMRotateError
from ...helpers.groups import Groups, Member
from ...helpers.width import Fixed
from ...helpers.window import Window
from .arrivals import Arrivals
from .journal import Journal, NoRoomError, line_of
from .line import Line
from .mapping import Mapped
from .options import Rows
from .records import PIPE, BadRowError, Record, digest
from .waits import Waits

Shape = Callable[[Any], Mapping[str, Any]]
"""A result -> the fields of its row; None -> those of a row that failed."""
# Endings of names that would promise something else than what is written.
OTHER_FORMATS = (".csv", ".tsv", ".parquet", ".arrow", ".feather", ".npy", ".npz", ".xlsx")
Ask = Callable[[list[Any]], Awaitable[Sequence[Any]]]
"""Inputs -> what became of each, a result or an exception; None if it was dropped."""


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


@dataclass(frozen=True, slots=True)
class Planned:
    """A row on its way."""

    number: int
    mapped: Mapped


class Job:
    """One pass over the rows. A row is saved in the very task that asked for it, so that what
    a killed process had not saved was under way.
    """

    def __init__(
        self,
        sink: Sink,
        source: Iterable[Record],
        read: Callable[[Any], Mapped],
        shape: Shape,
        line: Line,
        *,
        is_pipe: bool,
    ) -> None:
        self._sink = sink
        self._line = line
        self._source = source
        self._pipe = Arrivals(source) if is_pipe else None
        self._read = read
        self._shape = shape
        self._failed = dict.fromkeys(shape(None))
        self.waits = Waits()
        self.ended: Ended | None = None
        self.lost = 0

    async def run(self, ask: Ask, window: int, at_once: int) -> None:
        """Asks for all rows that are not settled, ``at_once`` in one go, and saves them."""

        async def go(group: Sequence[Member]) -> None:
            if self.ended is not None:
                return
            outcomes = await ask([planned.mapped.input for _, planned in group])
            for (_, planned), outcome in zip(group, outcomes, strict=True):
                self._take(planned, outcome)

        planned = self._arriving(self._pipe) if self._pipe else self._planned()
        groups = Groups(planned, lambda _: 0.0, at_once, math.inf)
        rows: Window[Sequence[Member], None] = Window(groups, go, Fixed(window))
        try:
            while row := await rows.next():
                if row.error is not None:
                    raise row.error
        except LMRotateError:
            if self.ended is None:  # else by what was dropped
                raise
        finally:
            await rows.aclose()

    def _planned(self) -> Iterator[Planned]:
        for number, record in enumerate(self._source):
            if self.ended is not None:
                return
            planned = self._plan(number, record)
            if planned is not None:
                yield planned

    async def _arriving(self, pipe: Arrivals[Record]) -> AsyncIterator[Planned]:
        """The same from a pipe."""
        number = 0
        async for record in pipe:
            if self.ended is not None:
                return
            planned = self._plan(number, record)
            number += 1
            if planned is not None:
                yield planned

    def _plan(self, number: int, record: Record) -> Planned | None:
        """What is to be sent for a row, if anything is."""
        if self._sink.is_done(number):
            self._line.skip()
            return None
        try:
            if isinstance(record, BadRowError):
                raise record
            return Planned(number, self._read(record))
        except BadRowError as error:
            self._save(number, {**self._failed, "error": str(error)}, None)
            return None

    def _take(self, planned: Planned, outcome: Any) -> None:
        if outcome is None or (isinstance(outcome, BatchError) and self.ended is not None):
            return  # it waited, and was dropped
        if isinstance(outcome, Exception):
            row = {**self._failed, "error": said(outcome)}
        else:
            row = {**self._shape(outcome), "error": None}
        self._save(planned.number, row, planned.mapped.metadata)

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
            self._line.note(whole)
            if self._sink.is_full:
                self.end("the disk is full; what was under way was saved", 1)

    def end(self, why: str, status: int, *, force: bool = False) -> None:
        """Begins no more rows, and drops those that only wait. The first reason stands, unless
        the next is worse.
        """
        if self.ended is None or force:
            self.ended = Ended(why, status)
        self.waits.drop()
        if self._pipe is not None:
            self._pipe.stop()


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
    if rows.output_jsonl.suffix.lower() in OTHER_FORMATS:
        raise ConfigurationError(
            f"{rows.output_jsonl}: the output is JSON lines, a result a line: name it "
            f"{rows.output_jsonl.with_suffix('.jsonl').name}"
        )
    if rows.input_jsonl == PIPE:
        if rows.resume:
            raise ConfigurationError("--resume needs a file as input: a pipe cannot be read again")
        source: Mapping[str, Any] = {"input": "-"}
    else:
        source = {"input": digest(rows.input_jsonl or PIPE)}
    about = {**source, "mapper": rows.mapper, **job}
    return Journal(rows.output_jsonl, about, window, resume=rows.resume)


async def run_heard(job: Job, running: Coroutine[Any, Any, None]) -> None:
    """Runs the job. The first Ctrl-C (or SIGTERM) begins no more rows, drops those that wait for
    a key or for room, and saves what is under way; the second one drops that too.
    """
    task = asyncio.ensure_future(running)
    async with _heard(job, task):
        try:
            await task
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

    with suppress(NotImplementedError):  # where signals do not come through the loop
        for number in signals:
            loop.add_signal_handler(number, hear, number)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for number in signals:
                loop.remove_signal_handler(number)


def finish(job: Job, sink: Sink, output: Path | None) -> None:
    """Says how it ended, and leaves with the status that goes with it."""
    done, failed = sink.counts()
    sink.close()
    failures = f", {failed} failed" if failed else ""
    typer.echo(f"{done} {'row' if done == 1 else 'rows'} done{failures}", err=True)
    if job.ended is not None:
        on = f"; go on with --resume ({output})" if output and output != PIPE else ""
        typer.echo(f"llm-rotate: {job.ended.why}{on}", err=True)
        if job.ended.why.startswith("nobody"):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(job.ended.status)
    if failed:
        raise typer.Exit(1)
