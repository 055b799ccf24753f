from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_rotate.cli.config import app
from llm_rotate.config.schema import registry_schema

from .command import PROGRAM, environment, run

CONFIGS = Path(__file__).parents[2] / "configs"


def test_all_mistakes_are_told_with_their_paths(tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    keys = [
        {"key_id": "a", "provider": "opnai", "secret_ref": "env://A"},
        {"key_id": "a", "provider": "openai", "secret_ref": "sk-sim-plain", "prioritty": 1},
    ]
    file.write_text(json.dumps({"keys": keys, "defaults": {"max_retries": -1}}))
    done = run("config", "validate", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(file) in done.stderr
    for words in (
        "keys[0].provider: no such provider",
        "did you mean 'openai'?",
        "keys[1].key_id: the same as that of keys[0]",
        "keys[1].prioritty: no such field; did you mean 'priority'?",
        "keys[1].secret_ref",
        "defaults.max_retries",
    ):
        assert words in done.stderr


def test_a_good_file_is_summed_up() -> None:
    done = run("config", "validate", CONFIGS / "two_providers_chain.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first.endswith("two_providers_chain.yaml: well")
    assert rest[0] == "  openai: 2 keys (openai-1, openai-2)"
    assert rest[1] == "  anthropic: 1 key (anthropic-1)"
    assert rest[2].startswith("  chain of openai: anthropic (gpt-4o-mini as claude-")
    assert rest[-1] == "  strategy: health_aware"  # and no note


def test_a_key_that_is_off_and_an_upstream_are_named(tmp_path: Path) -> None:
    file = tmp_path / "pool.json"
    keys = [
        {"key_id": "a", "provider": "openai", "secret_ref": "env://A", "enabled": False},
        {"key_id": "b", "provider": "openrouter", "secret_ref": "env://B"},
    ]
    chain = [{"provider": "openrouter", "upstream": "openai", "model": "openai/gpt-x"}]
    file.write_text(json.dumps({"keys": keys, "fallback_chains": {"*": chain}}))
    lines = run("config", "validate", file).stdout.splitlines()
    assert "  openai: 1 key (a, not enabled)" in lines
    assert "  chain of *: openrouter via openai (openai/gpt-x)" in lines


def test_notes_say_what_will_not_happen_and_the_status_stays_0(tmp_path: Path) -> None:
    file = tmp_path / "pool.json"
    keys = [
        {"key_id": "a", "provider": "openai", "secret_ref": "env://A"},
        {"key_id": "b", "provider": "openai", "secret_ref": "env://B"},
        {"key_id": "c", "provider": "openai"},
        {"key_id": "d", "provider": "groq", "enabled": False},
    ]
    chain = [{"provider": name} for name in ("openai", "anthropic", "groq", "anthropic")]
    fields = {"fallback_chains": {"*": chain}, "quota_groups": {"team": {"rpm": 9}}}
    file.write_text(json.dumps({"keys": keys, **fields}))
    done = run("config", "validate", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line.startswith("note: ")] == [
        "note: the chain of * skips anthropic, which has no enabled key",
        "note: the chain of * skips groq, which has no enabled key",
        "note: c has no secret_ref: calls with it fail",
        "note: no key belongs to the quota group team",
    ]


def test_what_another_machine_needs_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    done = CliRunner().invoke(app, ["validate", str(CONFIGS / "many_workers.yaml")])
    assert done.exit_code == 0
    assert "many_workers.yaml: well" in done.output
    assert "note: state_store.backend redis needs" in done.output


@pytest.mark.parametrize("text", ["", "[]", "{", '{"keys": []}'])
def test_what_is_no_registry_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pool.json"
    file.write_text(text)
    done = run("config", "validate", file)
    assert done.returncode == 2
    assert done.stderr.startswith(f"llm-rotate: {file}: ")


def test_the_schema_is_printed() -> None:
    assert json.loads(run("config", "schema").stdout) == registry_schema()


def test_a_pipe_that_closes_early_is_silent() -> None:
    command = " ".join([*PROGRAM, "config", "schema", "|", "head", "-n", "1"])
    done = subprocess.run(
        ["bash", "-c", command],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("{\n", "")
