from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import llm_rotate
from llm_rotate.cli.app import app

from .command import environment, run


def test_version() -> None:
    assert run("--version").stdout == f"llm-rotate {llm_rotate.__version__}\n"


@pytest.mark.parametrize(
    "words", [(), ("chat",), ("keys", "check"), ("config", "validate"), ("demo",)]
)
def test_help_is_there(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.output


def test_an_unknown_command_is_wrong_usage() -> None:
    done = run("caht")
    assert done.returncode == 2
    assert "caht" in done.stderr


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_how_to_get_it(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; import llm_rotate.cli; llm_rotate.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install '.[cli]'" in done.stderr


def test_another_missing_module_is_not_called_the_extra() -> None:
    code = "import sys; sys.modules['pydantic'] = None; import llm_rotate.cli as c; c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert "pydantic" in done.stderr
    assert ".[cli]" not in done.stderr
