"""``llm-rotate chat``: one question, one answer."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from ..client import LMRotate
from ..types import ChatResponse
from .source import ConfigOption, configuration, default_model, pool


def chat(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", hidden=True)],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A model, or provider/model; without it, the first that a key lists, "
            "else a small one of the first key's provider.",
        ),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", "-p", metavar="NAME", help="Only this provider, no fallback."),
    ] = None,
    config: ConfigOption = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=1, metavar="COUNT", help="At most so many in the answer."),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", help="Print as it comes; the default in a terminal."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say on stderr which key served, and usage.")
    ] = False,
) -> None:
    """Ask the pool one question and print the answer.

    PROMPT is the question; - reads it from standard input.
    """
    text = sys.stdin.read().strip() if prompt == "-" else prompt
    if not text:
        raise typer.BadParameter("there is nothing to ask", param_hint="PROMPT")
    found = configuration(config)
    lm = pool(found, config)
    question = Question(text, model or default_model(found, provider), provider, max_tokens)
    is_live = sys.stdout.isatty() if stream is None else stream
    response = asyncio.run((_streamed if is_live else _whole)(lm, question))
    if verbose:
        typer.echo(told(response), err=True)


@dataclass(frozen=True, slots=True)
class Question:
    """One call's arguments."""

    text: str
    model: str
    provider: str | None
    max_tokens: int | None

    @property
    def messages(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.text}]


async def _whole(lm: LMRotate, asked: Question) -> ChatResponse:
    async with lm:
        response = await lm.chat(
            asked.model, asked.messages, provider=asked.provider, max_tokens=asked.max_tokens
        )
    typer.echo(response.content)
    return response


async def _streamed(lm: LMRotate, asked: Question) -> ChatResponse:
    has_text = False
    async with (
        lm,
        lm.chat_stream(
            asked.model, asked.messages, provider=asked.provider, max_tokens=asked.max_tokens
        ) as stream,
    ):
        try:
            async for chunk in stream:
                typer.echo(chunk.delta, nl=False)
                has_text = has_text or bool(chunk.delta)
        finally:
            if has_text:
                typer.echo()
        return stream.response


def told(response: ChatResponse) -> str:
    """Who served, and what it took."""
    usage, sent = response.usage, len(response.attempts)
    return (
        f"{response.key_id} ({response.provider}, {response.model}): "
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens, "
        f"{response.latency_ms:.0f} ms, {sent} {'request' if sent == 1 else 'requests'}"
    )
