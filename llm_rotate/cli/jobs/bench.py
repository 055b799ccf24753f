"""``llm-rotate bench``: how many requests at a time get most done, measured from here."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import ConfigurationError
from ...helpers.source import Source
from ...helpers.width import Fixed
from ...helpers.window import Window
from ...lmclient.client import LMClient
from ...lmclient.results import RequestMetrics
from .clients import client_of
from .extras import needed
from .generate import Endpoint
from .mapping import Mapped, by_fields, of_responses
from .options import Connection, with_options
from .records import BadRowError, records

LEVELS = (1, 2, 4, 8, 16, 32, 64)
ENOUGH = 0.95  # of the best rate: with fewer at a time if they reach it

app = typer.Typer(help="Find the best number of requests at a time.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is measured."""

    input_jsonl: Annotated[
        Path | None,
        typer.Option("--input-jsonl", "-i", metavar="FILE", help="Rows to send by turns."),
    ] = None
    warmup: Annotated[
        int, typer.Option("--warmup", metavar="COUNT", min=0, help="Requests before it begins.")
    ] = 5
    requests: Annotated[
        int, typer.Option("--requests", metavar="COUNT", min=1, help="At each level.")
    ] = 50
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", metavar="COUNT", min=1, help="This level alone."),
    ] = None
    max_concurrency: Annotated[
        int, typer.Option("--max-concurrency", metavar="COUNT", min=1, help="The highest level.")
    ] = LEVELS[-1]
    output_json: Annotated[
        Path | None, typer.Option("--output-json", metavar="FILE", help="The table as JSON.")
    ] = None
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="The table as a picture, .png.")
    ] = None

    def levels(self) -> list[int]:
        """Numbers of requests at a time."""
        if self.concurrency is not None:
            return [self.concurrency]
        below = [level for level in LEVELS if level < self.max_concurrency]
        return [*below, self.max_concurrency]


@dataclass(frozen=True, slots=True)
class Level:
    """One line of the table. Times are in seconds: of whole calls, of the answered request
    (svc), and of the waiting before it (q).
    """

    c: int
    rps: float
    p50: float
    p95: float
    p99: float
    svc_p95: float
    q_p95: float
    errors: int
    requests: int
    elapsed: float

    def __str__(self) -> str:
        return (
            f"c={self.c:<4} rps={self.rps:.2f}  p50={self.p50:.3f}s  p95={self.p95:.3f}s  "
            f"p99={self.p99:.3f}s  svc_p95={self.svc_p95:.3f}s  q_p95={self.q_p95:.3f}s  "
            f"err={self.errors}/{self.requests}  elapsed={self.elapsed:.1f}s"
        )


@app.command("generate")
@with_options(Sweep, Connection)
def bench_generate(
    sweep: Sweep,
    asked: Connection,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="What is asked.")
    ] = None,
    endpoint: Endpoint = "chat_completion",
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="COUNT", min=1, help="Of an answer.")
    ] = None,
) -> None:
    """Measure generation.

    c is the number of requests at a time. High q_p95 beside svc_p95 says that the client is the
    bottleneck, and not the server. Real requests are sent, and paid for.
    """
    client = client_of(asked, endpoint, {"max_tokens": max_tokens})
    read = of_responses() if endpoint == "responses" else by_fields("prompt", "messages")
    measure(client, sweep, client.agenerate, inputs_of(sweep, prompt, read, "--prompt"))


@app.command("embed")
@with_options(Sweep, Connection)
def bench_embed(
    sweep: Sweep,
    asked: Connection,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="What is embedded.")
    ] = None,
) -> None:
    """Measure embeddings.

    c is the number of requests at a time, of one text each. Real requests are sent, and paid for.
    """
    client = client_of(asked)
    inputs = inputs_of(sweep, text, by_fields("text", "input"), "--text")
    measure(client, sweep, client.aembed, inputs)


def inputs_of(
    sweep: Sweep, one: str | None, read: Callable[[Any], Mapped], option: str
) -> list[Any]:
    """What is sent by turns. Raises ConfigurationError."""
    if (one is None) == (sweep.input_jsonl is None):
        raise typer.BadParameter(f"give {option} or --input-jsonl, one of them")
    if sweep.input_jsonl is None:
        return [one]
    found = []
    for number, record in enumerate(records(sweep.input_jsonl)):
        try:
            if isinstance(record, BadRowError):
                raise record
            found.append(read(record).input)
        except BadRowError as error:
            raise ConfigurationError(f"{sweep.input_jsonl}, row {number}: {error}") from None
    if not found:
        raise ConfigurationError(f"{sweep.input_jsonl} has no row")
    return found


def measure(
    client: LMClient, sweep: Sweep, ask: Callable[[Any], Awaitable[Any]], inputs: Sequence[Any]
) -> None:
    """Runs the sweep, prints a line for each level, and the recommendation."""
    if sweep.plot is not None:
        needed("matplotlib", "plot", "--plot")
    endless = cycle(inputs)

    async def whole() -> list[Level]:
        found = []
        async with client:
            await level(1, list(islice(endless, sweep.warmup)), ask)
            for number in sweep.levels():
                found.append(await level(number, list(islice(endless, sweep.requests)), ask))
                typer.echo(found[-1])
        return found

    found = asyncio.run(whole())
    typer.echo(f"recommended_max_parallel_requests={recommended(found)}")
    if sweep.output_json is not None:
        told = {"levels": [asdict(each) for each in found], "recommended": recommended(found)}
        sweep.output_json.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    if sweep.plot is not None:
        draw(found, sweep.plot)
    if all(each.errors == each.requests for each in found):
        raise typer.Exit(1)


async def level(number: int, inputs: list[Any], ask: Callable[[Any], Awaitable[Any]]) -> Level:
    """So many requests at a time, until all are answered."""
    began = time.perf_counter()
    window: Window[Any, Any] = Window(Source(inputs), ask, Fixed(number))
    rows = [row async for _, row in window.pairs()]
    seconds = time.perf_counter() - began
    metrics: list[RequestMetrics] = [row.metrics for row in rows if not isinstance(row, Exception)]
    whole = sorted(each.end_to_end_s for each in metrics)
    return Level(
        c=number,
        rps=len(metrics) / seconds if seconds else 0.0,
        p50=share(whole, 0.50),
        p95=share(whole, 0.95),
        p99=share(whole, 0.99),
        svc_p95=share(sorted(each.service_time_s for each in metrics), 0.95),
        q_p95=share(sorted(each.queue_wait_s for each in metrics), 0.95),
        errors=len(rows) - len(metrics),
        requests=len(rows),
        elapsed=seconds,
    )


def share(ordered: Sequence[float], part: float) -> float:
    """What so large a part does not exceed; 0.0 of nothing."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def recommended(levels: Sequence[Level]) -> int:
    """The smallest that gets nearly as much done as any, of those with the fewest errors."""
    fewest = min(each.errors / each.requests for each in levels)
    sound = [each for each in levels if each.errors / each.requests == fewest]
    best = max(each.rps for each in sound)
    return min(each.c for each in sound if each.rps >= ENOUGH * best)


def draw(levels: Sequence[Level], path: Path) -> None:
    """Rates and times over the number of requests at a time."""
    pyplot = needed("matplotlib.figure", "plot", "--plot")
    figure = pyplot.Figure(figsize=(7.0, 4.0), layout="constrained")
    rate = figure.subplots()
    times = rate.twinx()
    at = [each.c for each in levels]
    (line,) = rate.plot(at, [each.rps for each in levels], "o-", color="tab:blue", label="rps")
    lines = [line]
    for name, color in (("p50", "tab:green"), ("p95", "tab:orange"), ("p99", "tab:red")):
        lines += times.plot(
            at, [getattr(each, name) for each in levels], ".--", color=color, label=name
        )
    rate.axvline(recommended(levels), color="tab:gray", linewidth=0.8)
    rate.set(xlabel="requests at a time", ylabel="answers a second", xscale="log", ylim=(0, None))
    rate.set_xticks(at, [str(each) for each in at], minor=False)
    times.set(ylabel="seconds", ylim=(0, None))
    rate.legend(lines, [each.get_label() for each in lines], loc="upper left")
    figure.savefig(path, dpi=150)
