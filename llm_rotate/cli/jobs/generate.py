"""``llm-rotate generate``: an answer for every row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ...errors import ConfigurationError
from ...lmclient.client import LMClient
from ...lmclient.results import GenerationResult
from .clients import client_of
from .job import Job, Sink, finish, open_sink, run_job
from .journal import NoRoomError
from .mapping import by_fields, of_responses, own_mapper
from .options import Connection, Rows, with_options
from .records import records
from .shapes import usage_of

WINDOW = 32


@with_options(Connection, Rows)
def generate(
    asked: Connection,
    rows: Rows,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="One prompt instead of rows.")
    ] = None,
    endpoint: Annotated[
        str,
        typer.Option("--endpoint", metavar="NAME", help="chat_completion, or OpenAI's responses."),
    ] = "chat_completion",
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="COUNT", min=1, help="Of an answer.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", metavar="NUMBER", help="Of the model.")
    ] = None,
) -> None:
    """Answer one prompt, or every row of a file.

    A row is {"prompt": ...}, {"messages": [...]} or {"responses_input": ...}. A result has the
    row's number as _index, output_text, token_usage, finish_reason, request_id, deployment and
    error. The exit status is 0 only if every row succeeded.
    """
    keywords = {"max_tokens": max_tokens, "temperature": temperature}
    client = client_of(asked, endpoint, keywords)
    if prompt is not None:
        if rows.input_jsonl is not None:
            raise typer.BadParameter("give --prompt or --input-jsonl, not both")
        typer.echo(asyncio.run(_one(client, prompt)).output_text)
        return
"""
"""
