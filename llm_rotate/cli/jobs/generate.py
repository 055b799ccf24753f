"""``llm-rotate generate``: an answer for every row."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .clients import client_of
from .mapping import by_fields, of_responses
from .options import Connection, Rows, with_options
from .shapes import generated
from .work import Task, alone, one_by_one, work

Endpoint = Annotated[
    str, typer.Option("--endpoint", metavar="NAME", help="chat_completion, or OpenAI's responses.")
]


@with_options(Rows, Connection)
def generate(
    rows: Rows,
    asked: Connection,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="One prompt instead of rows.")
    ] = None,
    endpoint: Endpoint = "chat_completion",
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="COUNT", min=1, help="Of an answer.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", metavar="NUMBER", help="Of the model.")
    ] = None,
) -> None:
    """Answer one prompt, or every row of a file.

    A row is a JSON object with a prompt, messages or responses_input. Its result has the row's
    number as _index, output_text, token_usage, finish_reason, request_id, deployment and error.
    The exit status is 0 only if every row succeeded.
    """
    keywords: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    client = client_of(asked, endpoint, keywords)
    if prompt is not None:
        typer.echo(alone(rows, client, client.agenerate(prompt)).output_text)
        return
    read = of_responses() if endpoint == "responses" else by_fields("prompt", "messages")
    about = {"command": "generate", "model": asked.model, "endpoint": endpoint, **keywords}
    work(client, rows, Task(about, read, generated, one_by_one(client.agenerate), asked.window))
