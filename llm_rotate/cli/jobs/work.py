"""What the commands have in common once they know what to send."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import typer

from ...errors import ConfigurationError
from ...lmclient.client import LMClient
from .job import Ask, Job, Shape, finish, open_sink, run_heard
from .journal import NoRoomError
from .line import Line
from .mapping import Mapped, own_mapper
from .options import Rows
from .records import PIPE, check, records, size

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Task:
    """A job of one command. ``about``: what must be the same when it is gone on with;
    ``read``: from a record to what is sent; ``ask``: from inputs to results, ``at_once`` of
    them in one go; ``window``: how many such goes may be under way.
    """

    about: Mapping[str, Any]
    read: Callable[[dict[str, Any]], Mapped]
    shape: Shape
    ask: Ask
    window: int
    at_once: int = 1


def one_by_one(ask: Callable[[Any], Awaitable[Any]]) -> Ask:
    """For requests of one row each: the exception of a row that fails is its result."""

    async def ask_one(inputs: list[Any]) -> list[Any]:
        (given,) = inputs
        try:
            return [await ask(given)]
        except Exception as error:
            return [error]

    return ask_one


def alone(rows: Rows, client: LMClient, ask: Coroutine[Any, Any, T]) -> T:
    """One result, without a job."""
    if rows != Rows():
        ask.close()
        raise typer.BadParameter("one input, or rows with what belongs to them: not both")

    async def whole() -> T:
        async with client:
            return await ask

    return asyncio.run(whole())


def work(client: LMClient, rows: Rows, task: Task) -> None:
    """All rows of the input. Leaves with the status that goes with how it ended."""
    if rows.input_jsonl is None:
        raise typer.BadParameter("give one input, or rows with --input-jsonl")
    read = own_mapper(rows.mapper) if rows.mapper else task.read
    check(rows.input_jsonl)
    try:
        sink = open_sink(rows, task.about, task.window * task.at_once)
    except NoRoomError as error:
        typer.echo(f"llm-rotate: {error}", err=True)
        raise typer.Exit(1) from None
    line = Line(size(rows.input_jsonl))
    source, is_pipe = records(rows.input_jsonl), rows.input_jsonl == PIPE
    job = Job(sink, source, read, task.shape, line, is_pipe=is_pipe)

    async def whole() -> None:
        async with client:
            with line.warned(), client.lm.listen(job.waits.hear):
                await job.run(task.ask, task.window, task.at_once)

    try:
        asyncio.run(run_heard(job, whole()))
    except ConfigurationError as error:
        job.end(str(error), 2)
    line.close()
    finish(job, sink, rows.output_jsonl)
