"""Prompts counted by tiktoken, or by a function of the user's: never waited for, never fatal."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tiktoken.registry
import tiktoken_ext.openai_public as public

from llm_rotate import ConfigurationError, LMRotateConfig, RequestTooLargeError
from llm_rotate.config.entries import LimitsConfig
from llm_rotate.engine import tokenizer
from llm_rotate.engine.tokenizer import SAMPLED, THREAD, Tiktoken, token_count
from tests.behaviours.world import HELLO, World

# The names of tiktoken's cached files, as it names them.
CACHED = {
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
}


class Cache:
    """tiktoken with encodings of a token a byte, which come out of a cache of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded: list[str] = []
        self.may_load = threading.Event()
        self.may_load.set()

    def put(self, encoding: str) -> None:
        (self.folder / CACHED[encoding]).touch()

    def constructor(self, encoding: str) -> Any:
        def construct() -> dict[str, Any]:
            assert self.may_load.wait(10)
            self.loaded.append(encoding)
            ranks = {bytes([byte]): byte for byte in range(256)}
            return {
                "name": encoding,
                "pat_str": r"\S+|\s+",
                "mergeable_ranks": ranks,
                "special_tokens": {},
            }

        return construct


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cache]:
    cache = Cache(tmp_path)
    made = {name: cache.constructor(name) for name in public.ENCODING_CONSTRUCTORS}
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", made)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    yield cache
    cache.may_load.set()
    join()


def join() -> None:
    """Waits until nothing is being loaded."""
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(10)


def learned(count: Tiktoken, model: str, text: str = "hello") -> int | None:
    """What it says once it has had its time."""
    count(model, text)
    join()
    return count(model, text)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("openai/gpt-4o-mini", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
    ],
)
def test_a_cached_encoding_is_loaded_once_and_counts(cache, model, encoding):
    cache.put(encoding)
    count = Tiktoken()
    assert learned(count, model) == 5
    assert count(model, "Zürich \ud800") == 11
    assert count(model, "") == 0
    assert cache.loaded == [encoding]


def test_what_is_not_cached_is_not_fetched(cache):
    cache.put("cl100k_base")
    count = Tiktoken()
    assert learned(count, "gpt-4o-mini") is None
    assert learned(count, "gpt-4") == 5
    assert cache.loaded == ["cl100k_base"]


def test_what_the_program_has_loaded_by_itself_is_used(cache):
    tiktoken.get_encoding("o200k_base")
    assert learned(Tiktoken(), "gpt-4o-mini") == 5


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "", "gemini-2.5-flash", "my-deployment"])
def test_models_of_others_are_not_counted(cache, model):
    cache.put("o200k_base")
    assert learned(Tiktoken(), model) is None


def test_nobody_waits_for_the_loading(cache):
    cache.put("o200k_base")
    cache.may_load.clear()
    count = Tiktoken()
    began = time.monotonic()
    assert [count("gpt-4o-mini", "hello") for _ in range(100)] == [None] * 100
    assert time.monotonic() - began < 5
    assert cache.loaded == []
    cache.may_load.set()
    assert learned(count, "gpt-4o") == 5


def test_a_broken_cache_is_told_and_does_no_harm(cache, caplog):
    cache.put("o200k_base")
    tiktoken.registry.ENCODING_CONSTRUCTORS["o200k_base"] = lambda: {"name": "o200k_base"}
    assert learned(Tiktoken(), "gpt-4o-mini") is None
    assert [each.levelno for each in caplog.records] == [logging.WARNING]


def test_of_a_long_text_the_ends_are_counted(cache):
    cache.put("o200k_base")
    count = Tiktoken()
    assert learned(count, "gpt-4o-mini", "a" * SAMPLED) == SAMPLED
    text = "a" * SAMPLED + "é" * SAMPLED  # bytes: one half of them twice as many
    assert count("gpt-4o-mini", text) == 3 * SAMPLED


# -- the setting


def world(estimator: Any) -> World:
    """A pool whose key holds 500 tokens a minute."""

    def edit(config: LMRotateConfig) -> LMRotateConfig:
        config.defaults.estimator = estimator
        config.keys[0].limits = LimitsConfig(tpm=500)
        return config

    return World(["k1"], edit=edit)


def estimated(world: World) -> int:
    judge = world.lm._pool.judge
    units = judge.books.estimator.units(world.model, HELLO)
    return judge.books.estimator.estimate(world.model, units).input


def test_a_function_of_the_users_counts_every_text_with_the_model_as_sent():
    heard = []

    def count(model: str, text: str) -> int:
        heard.append((model, text))
        return 900

    own = world(count)

    async def scenario() -> None:
        with pytest.raises(RequestTooLargeError, match="905 tokens of prompt"):
            await own.chat(max_tokens=10)

    own.run(scenario)
    assert heard == [(own.model, "hello")]
    assert own.sim.requests() == 0


@pytest.mark.parametrize("found", [None, -1, float("nan"), float("inf"), "5", ZeroDivisionError()])
def test_what_it_cannot_count_is_measured_in_bytes_and_told_once(found, caplog):
    def count(model: str, text: str) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    own = world(count)

    async def scenario() -> None:
        for _ in range(3):
            await own.chat(max_tokens=10)

    own.run(scenario)
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(told) == (0 if found is None else 1)
    assert all(own.model in words for words in told)


def test_a_reload_takes_another_estimator(cache):
    own = world("bytes")
    assert estimated(own) == 6

    async def scenario() -> None:
        defaults = own.lm.config.defaults.model_copy(update={"estimator": lambda _m, _t: 40})
        own.lm.reload_config(own.lm.config.model_copy(update={"defaults": defaults}))
        assert estimated(own) == 45

    own.run(scenario)


def test_tiktoken_counts_by_itself_where_it_is_installed(cache):
    cache.put("o200k_base")
    cache.may_load.clear()
    own = world("auto")
    assert estimated(own) == 6
    cache.may_load.set()
    join()
    assert estimated(own) == 10


def test_without_tiktoken_bytes_are_measured_and_asking_for_it_is_an_error(monkeypatch):
    monkeypatch.setattr(tokenizer, "find_spec", lambda name: None)
    assert token_count("auto") is None
    assert token_count("bytes") is None
    with pytest.raises(ConfigurationError, match=r"pip install 'llm_rotate\[tiktoken\]'"):
        token_count("tiktoken")


def test_a_pool_brings_tiktoken_in_when_a_limited_call_needs_it_and_not_before():
    code = (
        "import asyncio, sys\n"
        "from llm_rotate import LMRotate, configure_from_dict\n"
        "key = {'key_id': 'a', 'provider': 'openai', 'secret_ref': 'env://NONE'}\n"
        "asyncio.run(LMRotate(configure_from_dict({'keys': [key]}, None)).health())\n"
        "assert 'tiktoken' not in sys.modules\n"
    )

    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        assert await process.wait() == 0

    asyncio.run(scenario())
