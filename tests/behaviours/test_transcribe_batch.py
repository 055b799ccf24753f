"""Many recordings: in order, one bad one alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from llm_rotate import BadRequestError, BatchResult, ConfigurationError
from tests.behaviours.world import World

WAV = b"RIFF....WAVE" + bytes(100)


@pytest.fixture
def paths(tmp_path):
    found = [tmp_path / f"talk{number}.wav" for number in range(20)]
    for path in found:
        path.write_bytes(WAV)
    return found


def transcribe(world: World, rows: Any, model: Any = "whisper-1", **keywords: Any) -> BatchResult:
    return world.run(lambda: world.lm.transcribe_batch(model, rows, **keywords))


def test_B01_texts_stand_in_the_order_of_the_recordings(paths):
    world = World()
    batch = transcribe(world, paths, max_parallel_requests=4)
    assert [each.text for each in batch] == [f"You said: {path.name}" for path in paths]
    assert (batch.completed, batch.failed) == (20, 0)


def test_what_fails_fails_alone(paths, tmp_path):
    world = World()
    world.sim.refuses("talk7")
    rows = [*paths[:10], tmp_path / "nowhere.wav", b"", WAV]
    batch = transcribe(world, rows)
    assert isinstance(batch.errors[7], BadRequestError)
    assert isinstance(batch.errors[10], ConfigurationError)
    assert isinstance(batch.errors[11], ConfigurationError)
    assert batch.failed == 3
    assert batch[12].text == "You said: recording.wav"


def test_usage_adds_up(paths):
    world = World()
    batch = transcribe(world, paths, "gpt-4o-transcribe")
    assert batch.usage.total_tokens == world.sim.tokens() > 0


def test_models_by_weight(paths):
    world = World()
    transcribe(world, paths, {"whisper-1": 3, "gpt-4o-transcribe": 1})
    counts = Counter(seen.model for seen in world.sim.log)
    assert counts == {"whisper-1": 15, "gpt-4o-transcribe": 5}


def test_a_recording_goes_on_with_another_model_after_its_providers_fault(paths):
    world = World({"k1": "openai", "k2": "google_ai_studio"})
    world.sim.provider("openai").outage(503)
    models = {"openai/whisper-1": 1, "google_ai_studio/gemini-2.5-flash": 1}
    batch = transcribe(world, paths, models, max_retries=1)
    assert batch.failed == 0
    assert {result.provider for result in batch} == {"google_ai_studio"}


def test_keywords_go_along_and_what_is_wrong_for_all_is_said_first(paths):
    world = World()
    transcribe(world, paths[:2], language="de", key_id="k2")
    assert {seen.body["language"] for seen in world.sim.log} == {"de"}
    assert {seen.key for seen in world.sim.log} == {"k2"}
    for keywords, words in [
        ({"max_parallel_requests": 0}, "max_parallel_requests"),
        ({"splitt": True}, "did you mean split="),
        ({"provider": "nobody"}, "nobody"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            transcribe(World(), paths, **keywords)
    with pytest.raises(ConfigurationError, match="not str"):
        transcribe(World(), str(paths[0]))


def test_rows_as_they_come_and_the_sync_twins(llm_simulator, paths):
    lm = llm_simulator.pool(["k1", "k2"])
    batch = lm.transcribe_batch_sync("whisper-1", iter(paths))
    assert [each.text for each in batch] == [f"You said: {path.name}" for path in paths]
    found = dict(lm.transcribe_as_completed_sync("whisper-1", paths))
    assert {n: each.text for n, each in found.items()} == {
        n: f"You said: {path.name}" for n, path in enumerate(paths)
    }


def test_a_loop_that_is_left_early_leaves_nothing(paths):
    world = World()

    async def scenario():
        rows = world.lm.transcribe_as_completed("whisper-1", paths, max_parallel_requests=2)
        async for index, result in rows:
            assert result.text == f"You said: talk{index}.wav"
            break
        await rows.aclose()

    world.run(scenario)
    assert world.sim.requests() < 10
