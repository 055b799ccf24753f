"""The same batch through this package and through others, each in a process of its own.

The others live in ``.venv-peers``, made here with the interpreter of this one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

PEERS = {"lm_deluge": "0.0.168", "infermesh": "0.3.2"}
OURS = "llm_rotate"
ROWS, ROUNDS = 2000, 3
_SCRIPT = Path(__file__).with_name("one_batch.py")
_HOME = Path(__file__).parents[2] / ".venv-peers"
_PYTHON = _HOME / "bin" / "python"

Cost = dict[str, float]


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    words = [str(each) for each in command]
    return subprocess.run(words, check=False, capture_output=True, text=True)


def missing() -> dict[str, str]:
    """Installs the peers. The reason of each that cannot be had."""
    if not _PYTHON.exists():
        _run(sys.executable, "-m", "venv", _HOME)
    pip = (_PYTHON, "-m", "pip", "install", "--quiet", "--retries", 1)
    found = {name: _run(*pip, f"{name}=={version}") for name, version in PEERS.items()}
    return {name: _reason(done.stderr) for name, done in found.items() if done.returncode}


def _reason(said: str) -> str:
    """pip's first error; a version refused for its Python comes before "not found"."""
    if needs := [word for word in said.replace(";", " ").split() if word.startswith(">=3.")]:
        return f"needs Python {needs[-1]}, this is {sys.version_info[0]}.{sys.version_info[1]}"
    errors = [line for line in said.splitlines() if line.startswith("ERROR")]
    return (errors or [said.strip() or "pip failed"])[0][:90]


def _once(package: str, url: str) -> Cost:
    python = sys.executable if package == OURS else _PYTHON
    done = _run(python, "-P", _SCRIPT, package, url, ROWS)
    if done.returncode:
        raise RuntimeError(f"{package}: {done.stderr[-500:]}")
    cost: Cost = json.loads(done.stdout.splitlines()[-1])
    return cost


def costs(url: str, packages: list[str]) -> dict[str, Cost]:
    """Microseconds a row, medians, taken in turn."""
    seen: dict[str, list[Cost]] = {package: [] for package in packages}
    for _ in range(ROUNDS):
        for package in packages:
            seen[package].append(_once(package, url))
    return {
        package: {name: statistics.median(run[name] for run in runs) for name in ("cpu", "wall")}
        for package, runs in seen.items()
    }
