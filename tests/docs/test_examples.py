"""Every example of the README and the documentation runs as printed, on the simulator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_rotate import reset_singleton
from llm_rotate.config.catalogue import built_in
from llm_rotate.testing import Simulator

from .pages import PAGES, ROOT, blocks, name_of
from .world import World, simulated_environment


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    with Simulator().serve() as sim, asyncio.Runner() as runner:
        for name, entry in built_in().items():
            if "base_url" in entry:
                monkeypatch.setitem(entry, "base_url", sim.url(name))
        environment = simulated_environment(sim)
        for name in os.environ.keys() - environment.keys():
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        reset_singleton()
        yield World(sim, tmp_path, runner, lambda: capsys.readouterr().out)
        reset_singleton()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_of_the_page_runs(world: World, page: Path) -> None:
    for block in blocks(page):
        world.run(block)


def test_the_readme_runs_in_one_session_with_nothing_that_readers_do_not_see(world: World) -> None:
    for block in blocks(ROOT / "README.md"):
        if block.language != "setup":
            world.run(block)


def test_blocks_that_are_not_run_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    marked = [block for page in PAGES for block in blocks(page) if block.reason is not None]
    with capsys.disabled():
        print(f"\n{len(marked)} examples of the documentation are not run:")
        for block in marked:
            print(f"  {block}  {block.reason}")
    assert all(block.language in {"console", "python"} for block in marked)


def test_a_block_that_nobody_can_run_fails(world: World, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ rm -rf build\n```\n", "utf-8")
    [block] = blocks(page)
    with pytest.raises(AssertionError, match="cannot be run here"):
        world.run(block)


def test_an_example_that_fails_is_told_by_page_and_line(world: World, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nraise KeyError\n```\n", "utf-8")
    [block] = blocks(page)
    assert block.line == 4
    with pytest.raises(KeyError) as told:
        world.run(block)
    assert told.traceback[-1].lineno == 3  # counted from 0
