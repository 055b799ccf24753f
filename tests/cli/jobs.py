"""Jobs of many rows as real processes, and what must hold of them however they are stopped."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from llm_rotate.testing import Simulator

from .command import run, start

PATIENCE_SECONDS = 60.0
ROW_BYTES = 270


def write_prompts(path: Path, count: int, size: int = 0) -> Path:
    """So many rows; each takes ``size`` bytes more in the output."""
    more = {"metadata": "x" * size} if size else {}
    path.write_text(
        "".join(json.dumps({"prompt": f"row {n}", **more}) + "\n" for n in range(count))
    )
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    """Whole rows; a torn last line is none."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def good(path: Path) -> set[int]:
    return {row["_index"] for row in rows(path) if row["error"] is None}


def generating(sim: Simulator, folder: Path, *more: object) -> list[object]:
    return [
        *("generate", "-m", "m", "--api-base", sim.url("openai")),
        *("-i", folder / "in.jsonl", "-o", folder / "out.jsonl", *more),
    ]


def paid(sim: Simulator) -> Counter[int]:
    """How often each row was answered."""
    return Counter(
        int(seen.body["messages"][0]["content"].split()[1])
        for seen in sim.log
        if seen.body and seen.status == 200
    )


def wait_for_rows(job: subprocess.Popen[str], output: Path, size: int) -> None:
    """Until the output has so many bytes, or the job is over."""
    until = time.monotonic() + PATIENCE_SECONDS
    while job.poll() is None and (not output.exists() or output.stat().st_size < size):
        assert time.monotonic() < until, "the job does not get on"
        time.sleep(0.002)


def killed_again_and_again(folder: Path, *, count: int, kills: int, window: int, seed: int) -> None:
    """One job of ``count`` rows, killed at random moments and gone on with. At its end every
    row is there once; no row was sent again that the output had when a kill came, and no more
    were than can have been under way.
    """
    die = random.Random(seed)
    output = folder / "out.jsonl"
    write_prompts(folder / "in.jsonl", count)
    saved: dict[int, int] = {}
    with Simulator(log_size=4 * count).serve() as sim:
        words = generating(sim, folder, "--resume", "--max-parallel-requests", window)
        for number in range(kills):
            size = output.stat().st_size if output.exists() else 0
            step = die.uniform(0.2, 0.9) * count * ROW_BYTES / (kills + 1)
            job = start(*words)
            wait_for_rows(job, output, int(size + step))
            time.sleep(die.uniform(0.0, 0.01))
            job.kill()
            assert job.wait() == -9, f"the job was over before kill {number}"
            job.communicate()
            counted = paid(sim)
            there = [row["_index"] for row in rows(output)]
            assert len(there) == len(set(there))
            saved |= {row: counted[row] for row in set(there) - saved.keys()}
        last = run(*words)
        assert last.returncode == 0, last.stderr
        counted = paid(sim)
    there = [row["_index"] for row in rows(output)]
    assert sorted(there) == list(range(count))
    assert {row: counted[row] for row in saved} == saved, "a saved row was paid again"
    assert counted.keys() == set(range(count))
    assert counted.total() - count <= kills * window, counted.total() - count
    print(f"{kills} kills: {counted.total() - count} of {count} rows were under way and sent again")


def wait_for_requests(job: subprocess.Popen[str], sim: Simulator, count: int) -> None:
    """Until the server has seen so many, or the job is over."""
    until = time.monotonic() + PATIENCE_SECONDS
    while job.poll() is None and sim.requests() < count:
        assert time.monotonic() < until, "the job does not get on"
        time.sleep(0.002)
