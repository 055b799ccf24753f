"""Where the examples run: simulated services at the providers' addresses, keys in the
environment, an empty working directory."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from llm_rotate import configure_from_file
from llm_rotate.testing import Simulator

from .pages import Block, name_of

# The secret of key id X is sk-sim-X at the simulator; the key ids are configure()'s own.
SECRETS: Mapping[str, str] = {
    "OPENAI_API_KEY": "sk-sim-openai-1",
    "OPENAI_API_KEY_2": "sk-sim-openai-2",
    "OPENAI_API_KEY_3": "sk-sim-openai-3",
    "ANTHROPIC_API_KEY": "sk-sim-anthropic-1",
    "OPENROUTER_API_KEY": "sk-sim-openrouter-1",
    "GEMINI_API_KEY": "sk-sim-gemini-1",
}
READ_ONLY = {"text"}  # shown, not run; `title="output"` is compared
HARMLESS_ENDS = (0, None)


class World:
    """Runs the blocks of one page in their order, in one namespace and one event loop."""

    def __init__(
        self, sim: Simulator, folder: Path, runner: asyncio.Runner, out: Callable[[], str]
    ) -> None:
        self._sim = sim
        self._folder = folder
        self._runner = runner
        self._out = out
        self._names: dict[str, Any] = {"__name__": "example", "sim": sim}
        self._said = ""

    def run(self, block: Block) -> None:
        if block.reason is not None:
            return
        if block.language == "text":
            if block.title == "output":
                assert self._said.split() == block.text.split(), f"{block}: other output"
            return
        runs = {
            "setup": self._python,
            "python": self._python,
            "yaml": self._configuration,
            "json": self._configuration,
            "console": self._commands,
        }
        assert block.language in runs, f"{block}: nobody runs {block.language!r}; mark it"
        runs[block.language](block)

    def _python(self, block: Block) -> None:
        if block.title is not None:
            (self._folder / block.title).write_text(block.text, "utf-8")
        if re.search(r"^(async )?def test_", block.text, re.MULTILINE):
            self._tests(block)
            return
        result = eval(_compiled(block), self._names)
        if inspect.iscoroutine(result):
            self._runner.run(result)
        self._names["said"] = self._said = self._out()

    def _tests(self, block: Block) -> None:
        """As a user's own file, with what the package brings to pytest and nothing else."""
        path = self._folder / (block.title or "test_example.py")
        path.write_text(block.text, "utf-8")
        command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        ran = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{block}: {ran.stdout}{ran.stderr}"

    def _configuration(self, block: Block) -> None:
        path = self._folder / (block.title or f"example.{block.language}")
        path.write_text(block.text, "utf-8")
        assert configure_from_file(path).keys

    def _commands(self, block: Block) -> None:
        for line in block.text.splitlines():
            assert line.startswith("$ "), f"{block}: {line!r} is no command"
            words = shlex.split(line.removeprefix("$ "), comments=True)
            assert words[:1] == ["llm-rotate"], f"{block}: {line!r} cannot be run here; mark it"
            end = _command_line(words)
            assert end in HARMLESS_ENDS, f"{block}: {line!r} ended with {end}: {self._out()}"


def _compiled(block: Block) -> CodeType:
    """Lines are numbered as in the page, so that a traceback points there."""
    text = "\n" * (block.line - 1) + block.text
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(text, name_of(block.page), "exec", flags=flags, dont_inherit=True)


def _command_line(words: list[str]) -> int | str | None:
    from llm_rotate.cli import main  # noqa: PLC0415 - typer is an extra

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as end:
            return end.code
    return 0


def simulated_environment(sim: Simulator) -> dict[str, str]:
    """The variables of an example's process. The hosts of services in the examples do not
    exist; as a proxy, the simulator answers for each of them."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if "API_KEY" not in name and not name.upper().endswith("_PROXY")
    }
    return {
        **kept,
        **SECRETS,
        "OPENAI_BASE_URL": sim.url("openai"),
        "ANTHROPIC_BASE_URL": sim.url("anthropic"),
        "HTTP_PROXY": sim.base_url,
        "HTTPS_PROXY": sim.base_url,  # it carries no such tunnel: nothing gets out
        "NO_PROXY": "127.0.0.1,localhost",
    }
