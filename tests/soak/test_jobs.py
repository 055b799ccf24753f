"""B05 at full length: twenty kills of one job, and a disk that fills up again and again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from llm_rotate.testing import Simulator
from tests.cli.command import run
from tests.cli.jobs import generating, good, killed_again_and_again, paid, rows, write_prompts


@pytest.mark.parametrize("seed", range(3))
def test_B05_twenty_kills_of_five_thousand_rows(tmp_path: Path, seed: int) -> None:
    killed_again_and_again(tmp_path, count=5000, kills=20, window=32, seed=seed)


def test_B05_a_disk_that_fills_up_again_and_again(tmp_path: Path) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    output = disk / "out.jsonl"
    write_prompts(tmp_path / "in.jsonl", 5000, 1000)
    try:
        with Simulator(log_size=20_000).serve() as sim:
            words = generating(sim, tmp_path, "-o", output, "--resume")
            for size in range(3, 20):
                done = run(*words)
                assert paid(sim).keys() == good(output)
                if done.returncode == 0:
                    break
                assert "disk" in done.stderr
                grow = ["mount", "-o", f"remount,size={size}m", str(disk)]
                assert subprocess.run(grow, check=False).returncode == 0
            assert done.returncode == 0
            assert set(paid(sim).values()) == {1}
        assert sorted(row["_index"] for row in rows(output)) == list(range(5000))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
