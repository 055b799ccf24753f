"""The command as a user runs it, on keys that a simulator serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from llm_rotate.testing import Simulator

PROGRAM = [sys.executable, "-W", "error", "-m", "llm_rotate.cli"]


def environment(sim: Simulator | None = None, *key_ids: str) -> dict[str, str]:
    """No key but those named, each in the variable ``secret_ref`` says."""
    vendors = ("OPENAI", "ANTHROPIC", "AZURE", "OPENROUTER", "GROQ", "MISTRAL", "DEEPSEEK")
    clean = {
        name: value
        for name, value in os.environ.items()
        if "API_KEY" not in name and not name.startswith(vendors)
    }
    own = {variable(key_id): sim.secret(key_id) for key_id in key_ids} if sim else {}
    return {**clean, **own, "PYTHONUNBUFFERED": ""}


def variable(key_id: str) -> str:
    return f"SECRET_{key_id.upper().replace('-', '_')}"


def entry(key_id: str, provider: str = "openai", **fields: Any) -> dict[str, Any]:
    reference = {"secret_ref": f"env://{variable(key_id)}"}
    return {"key_id": key_id, "provider": provider, **reference, **fields}


def registry(path: Path, sim: Simulator, *keys: dict[str, Any], **fields: Any) -> Path:
    """A file in which ``sim`` serves OpenAI and Anthropic."""
    providers = {
        "openai": {"base_url": sim.url("openai")},
        "anthropic": {"base_url": sim.url("anthropic")},
        **fields.pop("providers", {}),
    }
    file = path / "pool.json"
    file.write_text(json.dumps({"providers": providers, "keys": [*keys], **fields}))
    return file


def run(
    *words: object, env: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs to the end, without a terminal; whatever happens, no traceback."""
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        env=env or environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "sk-sim-" not in done.stdout + done.stderr
    return done


def start(*words: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts it; the test ends it."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
