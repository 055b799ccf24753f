"""``llm-rotate keys``: what each key is good for."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..client import LMRotate
from ..config import KeyConfig, LMRotateConfig
from ..core.outcome import Outcome
from ..errors import LMRotateError
from .source import ConfigOption, configuration, model_of, pool

AT_ONCE = 16
# Seconds: a key is tried by a person who waits.
TIMEOUTS: Mapping[str, float] = {"connect": 10.0, "first_byte": 30.0, "idle": 30.0}
PIPE_WIDTH = 4096  # characters: in a pipe no line is broken or cut

VERDICTS: Mapping[Outcome, str] = {
    Outcome.OK: "ok",
    Outcome.RATE_LIMITED: "limited",
    Outcome.QUOTA_EXHAUSTED: "no money",
    Outcome.AUTH_FAILED: "dead",
    Outcome.FORBIDDEN: "forbidden",
    Outcome.MODEL_NOT_FOUND: "no model",
    Outcome.BAD_REQUEST: "failing",
    Outcome.CONTENT_FILTERED: "failing",
    Outcome.UPSTREAM_FAILED: "failing",
    Outcome.SECRET_MISSING: "no secret",
    Outcome.TOO_LARGE_FOR_KEY: "limited",
    Outcome.OVERLOADED: "failing",
    Outcome.SERVER_ERROR: "failing",
    Outcome.TIMED_OUT: "failing",
    Outcome.UNREACHABLE: "unreachable",
    Outcome.INTERRUPTED: "failing",
    Outcome.CANCELLED: "failing",
}
UNTRIED = "untried"
NOT_ASKED = "not asked"
STYLES: Mapping[str, str] = {"ok": "green", "limited": "yellow", UNTRIED: "dim", NOT_ASKED: "dim"}

app = typer.Typer(help="See what each key is good for; take keys out.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Checked:
    """One key's verdict. ``words``: the provider's own, without secrets."""

    key_id: str
    provider: str
    model: str | None
    verdict: str
    status: int | None = None
    code: str | None = None
    words: str = ""


@app.command()
def check(
    config: ConfigOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="What to ask: each key for what a chain makes of it there; without it, the first "
            "that the key lists, else a small one of its provider.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try each key once and say what is wrong with it.

    A try is the smallest request there is. The exit status is 1 if any key is not ok; those to
    which no call for the model comes are not asked.
    """
    found = configuration(config)
    pool(found, config)  # what no key can run with is told once
    checked = asyncio.run(_check_all(found, model))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in checked], indent=2))
    else:
        _print(checked)
    if any(each.verdict not in ("ok", NOT_ASKED) for each in checked):
        raise typer.Exit(1)


async def _check_all(config: LMRotateConfig, model: str | None) -> list[Checked]:
    room = asyncio.Semaphore(AT_ONCE)
    ways = _ways(config, model) if model else {}

    async def one(key: KeyConfig) -> Checked:
        if model and key.enabled and key.key_id not in ways:
            words = "no call for this model comes to it"
            return Checked(key.key_id, key.provider, model, NOT_ASKED, words=words)
        async with room:
            return await _check(config, key, ways.get(key.key_id) or model_of(config, key))

    return await asyncio.gather(*map(one, config.keys))


def _ways(config: LMRotateConfig, model: str) -> dict[str, str | None]:
    """What each key that may get a call for ``model`` would be asked for. Raises
    ConfigurationError if nobody serves it.
    """
    routes = config.routes()
    ways: dict[str, str | None] = {}
    for stage in routes.stages(model):
        for place in routes.eligible(stage):
            ways.setdefault(config.keys[place].key_id, stage.model)
    return ways


async def _check(config: LMRotateConfig, key: KeyConfig, model: str | None) -> Checked:
    """A pool of this key alone: no other key can answer for it, or be blamed with it."""
    if not key.enabled:
        return _untried(key, model, "enabled is false")
    if model is None:
        return _untried(key, model, "no model to try: list one for the key, or give --model")
    alone = config.model_copy(update={"keys": [key], "fallback_chains": {}})
    try:
        async with LMRotate(alone) as lm:
            response = await lm.chat(
                model,
                [{"role": "user", "content": "hi"}],
                provider=key.provider,
                max_tokens=1,
                max_retries=0,
                max_wait_seconds=0,
                timeouts=TIMEOUTS,
            )
    except LMRotateError as error:
        return _refused(key, model, error)
    return Checked(key.key_id, key.provider, model, "ok", 200, words=_took(response.latency_ms))


def _took(milliseconds: float) -> str:
    return f"answered in {milliseconds:.0f} ms"


def _untried(key: KeyConfig, model: str | None, why: str) -> Checked:
    return Checked(key.key_id, key.provider, model, UNTRIED, words=why)


def _refused(key: KeyConfig, model: str, error: LMRotateError) -> Checked:
    last = error.attempts[-1] if error.attempts else None
    if last is None or last.outcome not in VERDICTS:
        return _untried(key, model, str(error))
    verdict = VERDICTS[Outcome(last.outcome)]
    words = " ".join(last.message.split())
    return Checked(key.key_id, key.provider, model, verdict, last.status, last.code, words)


def _print(checked: Sequence[Checked]) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("key", "provider", "verdict"):
        table.add_column(name, no_wrap=True)
    table.add_column("its words", overflow="fold")
    for each in checked:
        table.add_row(
            Text(each.key_id),
            Text(each.provider),
            Text(each.verdict, STYLES.get(each.verdict, "red")),
            Text(_said(each)),
        )
    console.print(table)
    well = sum(each.verdict == "ok" for each in checked)
    asked = sum(each.verdict != NOT_ASKED for each in checked)
    console.print(f" {well} of {asked} ok", highlight=False)


def _said(each: Checked) -> str:
    """The status, the code and the words of a refusal."""
    refusal = () if each.verdict == "ok" else (each.status, each.code)
    told = " ".join(str(word) for word in refusal if word)
    return f"{told}: {each.words}" if told else each.words
