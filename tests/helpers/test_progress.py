"""How a batch goes, as numbers and as a bar."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from llm_rotate import ConfigurationError, LMRotateConfig, Progress
from tests.behaviours.world import World

ROWS: list[Any] = [f"row {number}" for number in range(50)]


def priced(config: LMRotateConfig) -> LMRotateConfig:
    told = config.model_dump(exclude_unset=True)
    for entry, key in zip(told["keys"], config.keys, strict=True):
        entry["secret_ref"] = key.secret_ref
    told["providers"]["openai"] |= {
        "cost_per_1k_input_tokens": 1.0,
        "cost_per_1k_output_tokens": 2.0,
    }
    return LMRotateConfig.model_validate(told)


@pytest.fixture
def world() -> World:
    made = World()
    for key in ("k1", "k2", "k3"):
        made.sim.key(key).slow(1.0)
    return made


def test_a_function_hears_ten_times_a_second_at_most_and_the_end(world):
    seen: list[Progress] = []

    async def scenario() -> None:
        rows = [*ROWS, []]
        batch = await world.lm.chat_batch(
            world.model, rows, progress=seen.append, max_parallel_requests=10
        )
        last = seen[-1]
        assert (last.completed, last.total, last.failed) == (51, 51, 1)
        assert last.tokens == batch.usage.total_tokens > 0
        assert last.seconds == pytest.approx(5.0)
        assert last.rate == pytest.approx(51 / 5)
        assert last.seconds_left == 0.0
        assert len(seen) <= 8  # ten rows end in the same moment
        assert [each.completed for each in seen] == sorted(each.completed for each in seen)

    world.run(scenario)


def test_the_cost_is_that_of_what_was_sent_for():
    world = World(edit=priced)
    seen: list[Progress] = []

    async def scenario() -> None:
        await world.lm.chat_batch(world.model, ["a"] * 10, dedupe=True, progress=seen.append)
        total = (await world.lm.usage_summary())["total"]
        assert seen[-1].cost == pytest.approx(total["cost"])
        assert seen[-1].cost

    world.run(scenario)


def test_texts_and_recordings_are_shown_too():
    world = World(edit=priced)
    world.sim.refuses("row 7")
    texts: list[Progress] = []
    recordings: list[Progress] = []

    async def scenario() -> None:
        batch = await world.lm.embed_batch("text-embedding-3-small", ROWS, progress=texts.append)
        assert (batch.completed, batch.failed) == (50, 1)
        refused = await world.lm.embed_batch(
            "text-embedding-3-small", ["row 7"], progress=texts.append
        )
        assert refused.failed == 1
        told = await world.lm.transcribe_batch(
            "gpt-4o-transcribe", [b"RIFF....WAVE" + bytes(100)] * 3, progress=recordings.append
        )
        assert told.failed == 0

    world.run(scenario)
    assert next(each for each in texts if each.completed == 50).cost == pytest.approx(
        next(each for each in texts if each.completed == 50).tokens / 1000
    )
    assert recordings[-1].cost


@pytest.mark.parametrize("face", ["as_completed", "embed_as_completed", "transcribe_as_completed"])
def test_rows_as_they_come_are_shown_too(face, world):
    world.sim.refuses("row 7")
    recording = b"RIFF....WAVE" + bytes(100)
    rows = [recording] * 50 if face.startswith("transcribe") else ROWS
    seen: list[Progress] = []

    async def scenario() -> None:
        found = getattr(world.lm, face)(world.model, rows, progress=seen.append)
        failed = [each async for each in found if isinstance(each[1], Exception)]
        last = seen[-1]
        assert (last.completed, last.total, last.failed) == (50, 50, len(failed))
        assert last.tokens > 0
        with pytest.raises(ConfigurationError, match="progress must be"):
            getattr(world.lm, face)(world.model, rows, progress="stars")

    world.run(scenario)


def test_a_loop_that_is_left_early_leaves_the_last_line_standing(world, capsys):
    async def scenario() -> None:
        rows = world.lm.as_completed(world.model, ROWS, progress="tqdm", max_parallel_requests=10)
        async for _ in rows:
            break
        await rows.aclose()

    world.run(scenario)
    assert "10/50" in "".join(capsys.readouterr())


def test_a_generator_has_no_time_left(world):
    seen: list[Progress] = []
    world.run(lambda: world.lm.chat_batch(world.model, iter(ROWS), progress=seen.append))
    assert seen[-1].seconds_left is None
    assert seen[-1].total is None


def test_as_text_it_is_one_line():
    whole = Progress(1_500, 10_000, 3, 1_200_000, 0.0421, 60.0)
    assert str(whole) == "1,500/10,000  25.0/s  3 failed  1,200,000 tokens  $0.0421  0:05:40 left"
    assert str(Progress(7, None, 0, 70, 12.5, 0.0)) == "7  0.0/s  0 failed  70 tokens  $12.50"


@pytest.mark.parametrize("bar", ["rich", "tqdm"])
def test_a_bar_shows_the_figures_and_leaves_no_thread(bar, world, capsys):
    threads = threading.active_count()

    async def scenario() -> None:
        await world.lm.chat_batch(world.model, ROWS, progress=bar, max_parallel_requests=10)
        await world.lm.chat_batch(world.model, iter(ROWS[:5]), progress=bar)

    world.run(scenario)
    said = "".join(capsys.readouterr())
    assert "50/50" in said
    assert "0 failed" in said
    assert threading.active_count() == threads


def test_a_bar_that_fails_costs_no_row(world, caplog):
    def broken(progress: Progress) -> None:
        raise RuntimeError("no screen")

    async def scenario() -> None:
        batch = await world.lm.chat_batch(world.model, ROWS, progress=broken)
        assert batch.failed == 0

    world.run(scenario)
    assert caplog.text.count("progress cannot be shown") == 1


def test_a_missing_package_is_named_before_anything_is_sent(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)

    async def scenario(wish: Any, words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            await world.lm.chat_batch(world.model, ROWS, progress=wish)

    world.run(lambda: scenario("tqdm", r"pip install 'llm_rotate\[progress\]'"))
    world.run(lambda: scenario("stars", '"rich", "tqdm" or a function'))
    assert world.sim.requests() == 0


@pytest.mark.parametrize("wish", [True, [], "bar", 5])
def test_what_shows_nothing_is_told_before_anything_is_sent(world, wish):
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="progress must be"):
            await world.lm.chat_batch(world.model, ["a"], progress=wish)

    world.run(scenario)
    assert world.sim.requests() == 0


def test_a_function_that_would_have_to_be_awaited_is_told_at_once(world):
    async def show(progress: Any) -> None:
        raise AssertionError("nobody awaits it")

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="on_progress"):
            await world.lm.chat_batch(world.model, ["a"], progress=show)

    world.run(scenario)
