"""Options that several commands share, as dataclasses: a field each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

WINDOW = 32  # rows under way at a time where nothing is said


def _file(*names: str, help: str) -> Any:  # noqa: A002 - typer's name
    return typer.Option(*names, metavar="FILE", help=help)


def _count(name: str, help: str, least: int = 1) -> Any:  # noqa: A002 - typer's name
    return typer.Option(name, metavar="COUNT", min=least, help=help)


@dataclass(frozen=True, slots=True)
class Connection:
    """Who is asked, with which keys, and how fast."""

    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="provider/model, or a server's own name for it."
        ),
    ]
    api_base: Annotated[
        list[str] | None,
        typer.Option(
            "--api-base", metavar="URL", help="A server's address; several are shared out among."
        ),
    ] = None
    deployments_toml: Annotated[
        Path | None,
        _file("--deployments-toml", help="Servers: [deployments.NAME] with model, api_base."),
    ] = None
    config: Annotated[
        Path | None, _file("--config", "-c", help="A registry file: a pool of your own.")
    ] = None
    env_file: Annotated[
        Path | None, _file("--env-file", help="Variables, one NAME=VALUE a line.")
    ] = None
    max_parallel_requests: Annotated[
        int | None, _count("--max-parallel-requests", "Requests under way at a time.")
    ] = None
    rpm: Annotated[int | None, _count("--rpm", "Requests a minute.")] = None
    tpm: Annotated[int | None, _count("--tpm", "Tokens a minute.")] = None
    rpd: Annotated[int | None, _count("--rpd", "Requests a day.")] = None
    tpd: Annotated[int | None, _count("--tpd", "Tokens a day.")] = None
    max_request_burst: Annotated[
        int | None, _count("--max-request-burst", "Requests that may go at once.")
    ] = None
    max_token_burst: Annotated[
        int | None, _count("--max-token-burst", "Tokens that may go at once.")
    ] = None
    max_retries: Annotated[
        int, _count("--max-retries", "Sent again after a provider's fault.", 0)
    ] = 3
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0.001, help="For one request."),
    ] = None

    @property
    def window(self) -> int:
        """Rows that may be under way."""
        return self.max_parallel_requests or WINDOW


@dataclass(frozen=True, slots=True)
class Rows:
    """Where rows come from and where they go."""

    input_jsonl: Annotated[
        Path | None,
        _file(
            "--input-jsonl",
            "--input",
            "-i",
            help="A row a line as JSON; .csv and .parquet files too; - for standard input.",
        ),
    ] = None
    output_jsonl: Annotated[
        Path | None,
        _file(
            "--output-jsonl", "--output", "-o", help="A result a line; without it, standard output."
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an output that an earlier run began.")
    ] = False
    mapper: Annotated[
        str | None,
        typer.Option(
            "--mapper",
            metavar="MODULE:FUNCTION",
            help="Makes of a record what is sent.",
        ),
    ] = None


def with_options(*kinds: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The command's first parameters are dataclasses of these kinds: on the command line each
    of their fields is an option. The command's own parameters stand after them.
    """

    def wrap(command: Callable[..., Any]) -> Callable[..., Any]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[len(kinds) :]
        shared = {kind: _parameters(kind) for kind in kinds}

        def run(**given: Any) -> Any:
            made = [
                kind(**{each.name: given.pop(each.name) for each in parameters})
                for kind, parameters in shared.items()
            ]
            return command(*made, **given)

        every = [*own, *(each for parameters in shared.values() for each in parameters)]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # functions take any
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in every]
        )
        run.__annotations__ = {each.name: each.annotation for each in every}
        run.__doc__, run.__name__ = command.__doc__, command.__name__
        return run

    return wrap


def _parameters(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in fields(kind)
    ]
