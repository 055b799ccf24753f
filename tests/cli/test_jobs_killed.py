"""B05: a job that is stopped in whatever way and gone on with."""

from __future__ import annotations

import math
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_rotate.testing import Simulator

from .command import environment, run, start
from .jobs import (
    generating,
    good,
    killed_again_and_again,
    paid,
    rows,
    wait_for_requests,
    wait_for_rows,
    write_prompts,
)


def test_B05_five_kills_of_a_thousand_rows(tmp_path: Path) -> None:
    killed_again_and_again(tmp_path, count=1000, kills=5, window=16, seed=5)


def test_B05_ctrl_c_finishes_what_is_under_way_and_pays_for_none_twice(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    write_prompts(tmp_path / "in.jsonl", 400)
    with Simulator().serve() as sim:
        words = generating(sim, tmp_path, "--max-parallel-requests", 8)
        job = start(*words)
        wait_for_rows(job, output, 10_000)
        job.send_signal(signal.SIGINT)
        _, told = job.communicate(timeout=30)
        assert job.returncode == 130
        assert "stopping: rows under way are finished" in told
        assert "go on with --resume" in told
        assert "Traceback" not in told
        assert 0 < len(good(output)) < 400
        assert paid(sim).keys() == good(output)
        last = run(*words, "--resume")
        assert (last.returncode, last.stdout) == (0, "")
        assert set(paid(sim).values()) == {1}
    assert sorted(row["_index"] for row in rows(output)) == list(range(400))


def stopped(job: subprocess.Popen[str]) -> str:
    """What it says until it ends, which is soon after a Ctrl-C."""
    job.send_signal(signal.SIGINT)
    _, told = job.communicate(timeout=30)
    assert job.returncode == 130, told
    assert "go on with --resume" in told
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize(("command", "field"), [("generate", "prompt"), ("embed", "text")])
def test_ctrl_c_drops_rows_that_wait_for_a_key(tmp_path: Path, command: str, field: str) -> None:
    (tmp_path / "in.jsonl").write_text(f'{{"{field}": "row 0"}}\n' * 40)
    with Simulator().serve() as sim:
        sim.key("k1").quota_exhausted()
        env = environment() | {"SERVER_API_KEY": sim.secret("k1")}
        job = start(command, *generating(sim, tmp_path)[1:], env=env)
        assert job.stderr is not None
        assert "300 s" in job.stderr.readline()
        assert "0 rows done" in stopped(job)
    assert rows(tmp_path / "out.jsonl") == []


@pytest.mark.parametrize("addresses", [1, 2])
def test_ctrl_c_drops_rows_that_wait_for_room_and_sends_no_more(
    tmp_path: Path, addresses: int
) -> None:
    write_prompts(tmp_path / "in.jsonl", 50)
    with Simulator().serve() as sim:
        more = ("--api-base", sim.url("openai").replace("127.0.0.1", "localhost"))
        words = generating(sim, tmp_path, "--rpm", 4, *more[: 2 * (addresses - 1)])
        job = start(*words)
        wait_for_rows(job, tmp_path / "out.jsonl", 10)
        stopped(job)
        assert paid(sim).keys() == {row["_index"] for row in rows(tmp_path / "out.jsonl")}
        assert 0 < sim.requests() < 10


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    write_prompts(tmp_path / "in.jsonl", 50)
    with Simulator().serve() as sim:
        sim.key("k1").slow(math.inf)
        env = environment() | {"SERVER_API_KEY": sim.secret("k1")}
        job = start(*generating(sim, tmp_path), env=env)
        wait_for_requests(job, sim, 32)
        job.send_signal(signal.SIGINT)
        assert job.stderr is not None
        assert "once more drops them" in job.stderr.readline()
        job.send_signal(signal.SIGINT)
        _, told = job.communicate(timeout=30)
    assert job.returncode == 130
    assert "0 rows done" in told
    assert "Traceback" not in told


# -- a disk that fills up


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, check=False, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if made.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_B05_a_full_disk_loses_nothing_and_says_so(small_disk: Path, tmp_path: Path) -> None:
    output = small_disk / "out.jsonl"
    write_prompts(tmp_path / "in.jsonl", 1100, 1000)
    with Simulator(log_size=10_000).serve() as sim:
        words = generating(sim, tmp_path, "-o", output, "--max-parallel-requests", 16)
        full = run(*words)
        assert full.returncode == 1
        assert "the disk is full; what was under way was saved" in full.stderr
        assert 100 < len(good(output)) < 1100
        assert paid(sim).keys() == good(output)
        again = run(*words, "--resume")
        assert again.returncode == 1
        assert "no room on the disk" in again.stderr or "the disk is full" in again.stderr
        assert paid(sim).keys() == good(output)
        grown = subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=False)
        assert grown.returncode == 0
        last = run(*words, "--resume")
        assert last.returncode == 0, last.stderr
        assert set(paid(sim).values()) == {1}
    assert sorted(row["_index"] for row in rows(output)) == list(range(1100))
    assert {file.name for file in small_disk.iterdir()} == {"out.jsonl", "out.checkpoint.sqlite"}
