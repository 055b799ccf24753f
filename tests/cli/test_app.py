from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from typer.testing import CliRunner

import llm_rotate
from llm_rotate.cli.app import app

from .command import environment, run


def test_the_package_runs_as_the_command() -> None:
    words = [sys.executable, "-m", "llm_rotate", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"llm-rotate {llm_rotate.__version__}\n"


def test_version() -> None:
    assert run("--version").stdout == f"llm-rotate {llm_rotate.__version__}\n"


COMMANDS = [
    (),
    ("chat",),
    ("generate",),
    ("embed",),
    ("transcribe",),
    ("bench",),
    ("bench", "generate"),
    ("bench", "embed"),
    ("health",),
    ("keys",),
    *(("keys", act) for act in ("check", "rest", "reset", "disable", "enable")),
    ("config",),
    ("config", "validate"),
    ("demo",),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_is_there(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.output


def helped(*words: str) -> str:
    """The help text as in a terminal of 80 columns."""
    return run(*words, "--help", env=environment() | {"COLUMNS": "80"}).stdout


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_words_and_whole_sentences(words: tuple[str, ...]) -> None:
    text = helped(*words)
    assert not set("{}<") & set(text)
    assert "..." not in text.replace("[ARGS]...", "")  # nothing is cut
    assert max(map(len, text.splitlines())) <= 80


def test_no_line_of_help_ends_before_the_next_word_would_not_fit() -> None:
    for paragraph in helped("demo").partition("Options")[0].split("\n\n"):
        for line, following in pairwise(paragraph.splitlines()):
            assert len(line) + 1 + len(following.split()[0]) > 78
    assert " ".join(helped("demo").split()).count("needs no key and no network.") == 1


def test_help_says_which_model_is_asked_without_one() -> None:
    text = " ".join(helped("chat").split())
    assert "PROMPT" in text
    assert "without it, the first that a key lists, else a small one of the first key's" in text


@pytest.mark.parametrize("words", [("chat", "hi"), ("keys", "check")])
def test_without_a_key_the_command_says_what_its_user_can_do(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "OPENAI_API_KEY" in done.stderr
    assert done.stderr.endswith("; or pass --config FILE\n")
    assert "configure()" not in done.stderr


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
