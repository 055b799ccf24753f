"""The sub-commands together, and how the program ends."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import ConfigurationError, LMRotateError
from . import config, keys, operate
from .chat import chat
from .demo import demo
from .health import health
from .jobs import bench
from .jobs.embed import embed
from .jobs.generate import generate
from .jobs.transcribe import transcribe
from .wording import Worded

app = typer.Typer(
    name="llm-rotate",
    help="Many LLM API keys, many providers, one dependable endpoint.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=Worded)(chat)
for work in (generate, embed, transcribe):
    app.command(cls=Worded)(work)
app.add_typer(bench.app, name="bench")
app.command()(health)
for each in (operate.rest, operate.disable, operate.enable, operate.reset):
    keys.app.command(cls=Worded)(each)
app.add_typer(keys.app, name="keys")
app.add_typer(config.app, name="config")
app.command()(demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llm-rotate {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def run() -> None:
    """Exit status: 0 well; 1 not; 2 wrong usage or configuration; 130 after Ctrl-C."""
    try:
        app(prog_name="llm-rotate")
    except ConfigurationError as error:
        _fail(error, 2)
    except LMRotateError as error:
        _fail(error, 1)
    finally:
        _flush()


def _fail(error: LMRotateError, status: int) -> None:
    typer.echo(f"llm-rotate: {error}", err=True)
    sys.exit(status)


def _flush() -> None:
    """A reader that has gone away, as head does, is no news: not at the interpreter's end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
