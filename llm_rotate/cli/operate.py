"""``llm-rotate keys``: ``rest``, ``disable``, ``enable`` and ``reset`` a key of a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from ..client import LMRotate
from ..keys import Keys
from .fleet import fleet
from .health import told
from .source import ConfigOption

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", hidden=True)]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="WORDS", help="Why, as health and errors will say.")
]


def rest(
    key: KeyArgument,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="SECONDS", help="How long, from now.")
    ],
    config: ConfigOption = None,
    reason: ReasonOption = "rested by an operator",
) -> None:
    """Take a key out of a running fleet for a while.

    KEY is its key_id. It holds from the next call of every process on.
    """
    _steer(config, key, lambda keys: keys.rest(key, seconds, reason))


def disable(
    key: KeyArgument, config: ConfigOption = None, reason: ReasonOption = "disabled by an operator"
) -> None:
    """Take a key out of a running fleet for good.

    KEY is its key_id. It holds from the next call of every process on, until the key is
    enabled or reset.
    """
    _steer(config, key, lambda keys: keys.disable(key, reason))


def enable(key: KeyArgument, config: ConfigOption = None) -> None:
    """Let one call of a running fleet try a key.

    KEY is its key_id. If the call succeeds, the key is active again.
    """
    _steer(config, key, lambda keys: keys.enable(key))


def reset(key: KeyArgument, config: ConfigOption = None) -> None:
    """Make a key of a running fleet as new.

    KEY is its key_id. It is active, with all its models, and its failures are forgotten.
    """
    _steer(config, key, lambda keys: keys.reset(key))


def _steer(path: Path | None, key: str, say: Callable[[Keys], Awaitable[None]]) -> None:
    asyncio.run(_said(fleet(path), key, say))


async def _said(lm: LMRotate, key: str, say: Callable[[Keys], Awaitable[None]]) -> None:
    async with lm:
        await say(lm.keys)
        report = await lm.health()
    for provider in report.providers.values():
        if key in provider.keys:
            typer.echo(f"{key}: {told(provider.keys[key])}")
