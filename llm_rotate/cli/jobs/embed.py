"""``llm-rotate embed``: a vector for every row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ...errors import BatchError
from ...lmclient.client import LMClient
from ...lmclient.embeddings import MICRO_BATCH_SIZE
from .clients import client_of
from .job import Ask
from .mapping import by_fields
from .options import Connection, Rows, with_options
from .shapes import embedded
from .work import Task, alone, work


@with_options(Rows, Connection)
def embed(
    rows: Rows,
    asked: Connection,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="One text instead of rows.")
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option("--dimensions", metavar="COUNT", min=1, help="Of a vector.")
    ] = None,
    micro_batch_size: Annotated[
        int,
        typer.Option("--micro-batch-size", metavar="COUNT", min=1, help="Texts in one request."),
    ] = MICRO_BATCH_SIZE,
) -> None:
    """Embed one text, or every row of a file.

    A row is a JSON object with a text. Its result has the row's number as _index, embedding,
    token_usage, request_id, deployment and error. One text prints its vector. The exit status
    is 0 only if every row succeeded.
    """
    client = client_of(asked, keywords={"dimensions": dimensions})
    if text is not None:
        typer.echo(json.dumps(alone(rows, client, client.aembed(text)).embedding))
        return
    about = {"command": "embed", "model": asked.model, "dimensions": dimensions}
    work(
        client,
        rows,
        Task(
            about,
            by_fields("text", "input"),
            embedded,
            together(client, micro_batch_size),
            asked.window,
            micro_batch_size,
        ),
    )


def together(client: LMClient, size: int) -> Ask:
    """Several texts in one request; one that is refused fails alone."""

    async def ask(texts: list[Any]) -> Sequence[Any]:
        try:
            batch = await client.aembed_batch(texts, micro_batch_size=size)
        except BatchError as ended:  # some of it waited, and was dropped
            batch = ended.batch
        return [error or result for error, result in zip(batch.errors, batch.results, strict=True)]

    return ask
