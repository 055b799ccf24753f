"""Single embeddings go through the same loop as chats."""

from __future__ import annotations

import math

import pytest

from llm_rotate import (
    BadRequestError,
    CapabilityError,
    ConfigurationError,
    EmbeddingResponse,
    NoAvailableKeyError,
    RequestTooLargeError,
)
from llm_rotate.helpers import embedding
from llm_rotate.testing.embeddings_wire import vector
from tests.behaviours.world import World

MODEL = "text-embedding-3-small"


def embed(world: World, text: str = "a small text", **keywords) -> EmbeddingResponse:
    return world.run(lambda: world.lm.embed(MODEL, text, **keywords))


def test_a_text_becomes_a_vector_with_its_usage_and_where_it_came_from():
    world = World(["k1"])
    response = embed(world)
    assert response.embedding == list(vector("a small text", 16))
    assert (response.provider, response.model, response.key_id) == ("openai", MODEL, "k1")
    assert response.usage.prompt_tokens == response.usage.total_tokens == 3
    assert [attempt.outcome for attempt in response.attempts] == ["ok"]
    assert response.request_id
    summary = world.lm.usage_summary_sync()
    assert (summary["by_key"]["k1"]["tokens"], summary["total"]["successes"]) == (3, 1)


def test_dimensions_and_other_keywords_go_into_the_request():
    world = World(["k1"])
    response = embed(world, dimensions=5, user="u1", timeout=30, max_retries=1)
    assert len(response.embedding) == 5
    [seen] = world.sim.log
    assert seen.body == {
        "model": MODEL, "input": ["a small text"], "dimensions": 5,
        "encoding_format": "base64", "user": "u1",
    }  # fmt: skip


def test_R03_a_limited_key_is_left_for_the_next():
    world = World(["k1", "k2"], strategy="priority", priorities={"k1": 1})
    world.sim.key("k1").rate_limit(retry_after=7)
    response = embed(world)
    assert response.key_id == "k2"
    assert [attempt.outcome for attempt in response.attempts] == ["rate_limited", "ok"]


def test_R06_a_refused_text_is_the_callers_and_shows_the_providers_words():
    world = World()
    with pytest.raises(BadRequestError, match="'dimensions' must be over 0"):
        embed(world, dimensions=0)
    assert world.sim.requests() == 1


def test_its_tokens_count_against_the_keys_limits():
    def limited(config):
        config.keys[0].limits.tpm = 100
        return config

    world = World(["k1"], edit=limited)

    async def scenario():
        with pytest.raises(RequestTooLargeError):
            await world.lm.embed(MODEL, "word " * 200)
        assert world.sim.requests() == 0
        await world.lm.embed(MODEL, "word " * 20)

    world.run(scenario)


def test_a_dialect_without_embeddings_says_so_before_anything_is_sent():
    world = World(["a1"], provider="anthropic")
    with pytest.raises(CapabilityError, match="anthropic cannot carry embeddings"):
        world.run(lambda: world.lm.embed("claude-haiku-4-5", "text"))
    assert world.sim.requests() == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "empty"), (["a", "b"], "embed_batch"), (None, "NoneType"), (b"a", "bytes")],
)
def test_what_is_no_text_is_refused_at_once(text, words):
    world = World()
    with pytest.raises(ConfigurationError, match=words):
        embed(world, text)


def test_a_keyword_that_was_meant_for_us_is_named():
    with pytest.raises(ConfigurationError, match="did you mean key_id="):
        embed(World(), key_idd="k1")


def test_the_sync_twin_and_arrays(llm_simulator):
    lm = llm_simulator.pool(["k1"])
    response = lm.embed_sync(MODEL, "a text", as_array=True)
    assert (response.embedding.dtype.name, response.embedding.shape) == ("float32", (16,))
    assert math.isclose(float((response.embedding**2).sum()), 1.0, rel_tol=1e-5)
    assert list(response.embedding) == list(vector("a text", 16))


def test_arrays_without_numpy_are_a_clear_error_before_anything_is_sent(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    world = World()
    with pytest.raises(ConfigurationError, match=r"llm_rotate\[numpy\]"):
        embed(world, as_array=True)
    assert world.sim.requests() == 0
    with pytest.raises(ConfigurationError):
        embedding.numpy()


# -- chains: vectors of two models cannot be compared

CHAINED = {"k1": "openai", "r1": "openrouter", "g1": "groq"}


def chained(*entries) -> World:
    world = World(CHAINED, fallback_chains={"openai": list(entries)})
    world.sim.key("k1").quota_exhausted()
    return world


def test_a_chain_goes_on_to_the_same_model_under_the_name_it_has_there():
    world = chained(
        {"provider": "groq", "model": "another-model"},
        {"provider": "openrouter", "models": {MODEL: f"openai/{MODEL}"}},
    )
    response = embed(world)
    assert response.provider == "openrouter"
    assert [seen.model for seen in world.sim.log] == [MODEL, f"openai/{MODEL}"]


def test_a_chain_never_goes_on_to_another_model():
    world = chained({"provider": "groq", "model": "another-model"})
    with pytest.raises(NoAvailableKeyError):
        embed(world)
    assert [seen.model for seen in world.sim.log] == [MODEL]


def test_an_entry_that_names_the_same_model_is_the_same():
    world = chained({"provider": "groq", "model": MODEL}, {"provider": "openrouter"})
    assert embed(world).provider == "groq"
