"""The public names, with the signatures and defaults that users rely on; and a cheap import."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import llm_rotate
from llm_rotate import (
    AcquireContext,
    ChatResponse,
    ChatStream,
    ContentPart,
    HealthReport,
    LMRotate,
    LMRotateConfig,
    StreamChunk,
)
from llm_rotate.engine.lending import Loan, SyncAcquireContext
from llm_rotate.engine.sync_stream import SyncChatStream
from llm_rotate.keys import Keys
from llm_rotate.testing import Simulator

ASKED = [
    "configure",
    "lm",
    "LMRotate",
    "LMRotateConfig",
    "configure_from_dict",
    "configure_from_file",
    "AcquireContext",
    "HealthReport",
    "ContentPart",
    "GenerateContentRequest",
    "ConfigurationError",
    "LMRotateError",
    "NoAvailableKeyError",
    "__version__",
]
EMPTY = inspect.Parameter.empty
KEYWORD = inspect.Parameter.KEYWORD_ONLY
PLAIN = inspect.Parameter.POSITIONAL_OR_KEYWORD

# name -> plain parameters and keywords, each with its default (EMPTY: it must be given)
CHAT = (
    {"model": EMPTY, "messages": EMPTY},
    {"provider": None, "max_tokens": None, "temperature": None, "max_retries": None},
)
SIGNATURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "configure": (
        {"use_keys": None},
        {
            "registry": None,
            "config": None,
            "strategy": None,
            "priorities": None,
            "fallback_chains": None,
        },
    ),
    "configure_from_dict": (
        {"registry": EMPTY, "use_keys": None},  # the reference has no default; ours takes all keys
        {"strategy": None, "priorities": None, "fallback_chains": None},
    ),
    "configure_from_file": ({"path": EMPTY}, {"use_keys": None}),
    "LMRotate.__init__": ({"config": EMPTY}, {}),
    "LMRotate.chat": CHAT,
    "LMRotate.chat_stream": CHAT,
    "LMRotate.chat_sync": ({"model": EMPTY, "messages": EMPTY}, {}),
    "LMRotate.acquire": ({"provider": EMPTY}, {"model": None}),
    "LMRotate.acquire_sync": ({"provider": EMPTY}, {"model": None}),
    "LMRotate.health": ({}, {}),
    "LMRotate.usage_summary": ({}, {}),
    "LMRotate.reload_config": ({"config": EMPTY}, {}),
    "LMRotate.close": ({}, {}),
    "AcquireContext.report_success": ({"upstream_provider": None}, {}),
    "AcquireContext.report_error": ({"exc": EMPTY}, {}),
}


def resolve(path: str) -> Any:
    found: Any = llm_rotate
    for name in path.split("."):
        found = getattr(found, name)
    return found


def own_parameters(function: Any) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(function).parameters)
    found.pop("self", None)
    return found


@pytest.mark.parametrize("name", ASKED)
def test_every_asked_name_is_there(name):
    assert getattr(llm_rotate, name) is not None
    assert name in llm_rotate.__all__


@pytest.mark.parametrize("name", llm_rotate.__all__)
def test_every_public_name_resolves_and_is_listed(name):
    assert getattr(llm_rotate, name) is not None
    assert name in dir(llm_rotate)


def test_star_import_and_a_wrong_name():
    names: dict[str, Any] = {}
    exec("from llm_rotate import *", names)
    assert set(llm_rotate.__all__) <= set(names)
    with pytest.raises(AttributeError, match="has no attribute 'chatt'"):
        llm_rotate.chatt  # noqa: B018 - reading it is the test


@pytest.mark.parametrize("path", SIGNATURES)
def test_signatures_and_defaults_are_the_references(path):
    """What users of the reference pass, by place or by name, means the same here."""
    plain, keywords = SIGNATURES[path]
    found = own_parameters(resolve(path))
    placed = [name for name, each in found.items() if each.kind is PLAIN]
    assert placed == list(plain)
    for name, default in {**plain, **keywords}.items():
        assert found[name].default == default, name
    for name in keywords:
        assert found[name].kind is KEYWORD
    more = {n: p for n, p in found.items() if n not in plain and n not in keywords}
    assert all(
        p.kind is inspect.Parameter.VAR_KEYWORD or (p.kind is KEYWORD and p.default is None)
        for p in more.values()
    )


def test_what_is_awaited_and_what_is_not():
    for name in ("chat", "health", "usage_summary", "close"):
        assert inspect.iscoroutinefunction(getattr(LMRotate, name))
    for name in ("chat_sync", "chat_stream", "acquire", "acquire_sync", "reload_config"):
        assert not inspect.iscoroutinefunction(getattr(LMRotate, name))
    for name in ("report_success", "report_error"):
        assert inspect.iscoroutinefunction(getattr(AcquireContext, name))
        assert not inspect.iscoroutinefunction(getattr(SyncAcquireContext, name))
    assert hasattr(ChatStream, "__anext__")
    assert hasattr(LMRotate, "__aenter__")


def test_configuration_models_have_the_references_defaults():
    config = LMRotateConfig()
    assert config.defaults.model_dump(include={*DEFAULTS}) == DEFAULTS
    assert config.state_store.model_dump(include={*STORE}) == STORE
    assert config.keys == []
    assert config.fallback_chains == {}
    assert "openai" in config.providers


DEFAULTS = {
    "selection_strategy": "health_aware",
    "max_retries": 3,
    "cooldown_seconds": 60,
    "quarantine_seconds": 300,
    "max_consecutive_failures": 5,
}
STORE = {
    "backend": "memory",
    "redis_url": "redis://localhost:6379/0",
    "redis_namespace": "llmrotate",
}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            ChatResponse,
            "content provider model key_id usage latency_ms finish_reason raw",
        ),
        (StreamChunk, "delta finish_reason usage provider model"),
        (ContentPart, "type text data file_uri mime_type"),
        (HealthReport, "providers"),
        (llm_rotate.Usage, "prompt_tokens completion_tokens total_tokens"),
        (
            llm_rotate.GenerateContentRequest,
            (
                "model contents system_instruction response_mime_type max_output_tokens temperature"
                " top_p seed thinking_budget disable_automatic_function_calling"
            ),
        ),
    ],
)
def test_data_types_have_their_fields(kind, names):
    assert set(names.split()) <= set(kind.__annotations__)


def test_a_lent_key_has_its_fields(llm_simulator):
    lm = llm_simulator.pool(["k1"])
    with lm.acquire_sync("openai") as key:
        assert (key.provider, key.key_id, key.key_value) == ("openai", "k1", "sk-sim-k1")
        assert dict(key.metadata) == {}


# -- twins and docstrings


def public(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(kind).items():
        if not name.startswith("_"):
            yield name, value


@pytest.mark.parametrize("kind", [LMRotate, Keys])
def test_every_coroutine_stream_and_context_has_a_sync_twin(kind):
    awaited = [
        name
        for name, value in public(kind)
        if inspect.iscoroutinefunction(value) or name in {"chat_stream", "acquire"}
    ]
    assert awaited
    for name in awaited:
        twin = getattr(kind, f"{name}_sync")
        assert not inspect.iscoroutinefunction(twin)
        ours, theirs = own_parameters(getattr(kind, name)), own_parameters(twin)
        if "kwargs" not in theirs:
            assert list(ours) == list(theirs), f"{name}_sync takes other arguments than {name}"


def documented() -> Iterator[tuple[str, Any]]:
    classes = [each for name in llm_rotate.__all__ if inspect.isclass(each := resolve(name))]
    for kind in [*classes, Keys, Loan, SyncAcquireContext, SyncChatStream, Simulator]:
        yield kind.__name__, kind
        for name, value in public(kind):
            if inspect.isfunction(value) or isinstance(value, property | classmethod):
                yield f"{kind.__name__}.{name}", value
    for name in ("configure", "configure_from_dict", "configure_from_file", "reset_singleton"):
        yield name, resolve(name)


@pytest.mark.parametrize(
    ("name", "thing"), [pytest.param(*each, id=each[0]) for each in documented()]
)
def test_every_public_thing_says_what_it_is(name, thing):
    text = inspect.getdoc(thing) if not inspect.isclass(thing) else thing.__doc__
    assert text, name
    assert not text.startswith(f"{name}("), "a dataclass's own signature is no docstring"
    assert re.search(r"\w+", text)


# -- import

HEAVY = ("httpx", "httpx2", "pydantic", "rich", "typer", "yaml", "openai", "anthropic", "ssl")


def python(code: str, *flags: str) -> str:
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_import_is_cheap():
    loaded = f"import sys, llm_rotate, llm_rotate.testing; print([m for m in {HEAVY} if m in sys.modules])"
    assert python(loaded).strip() == "[]"
    assert python("import sys, llm_rotate; print('asyncio' in sys.modules)").strip() == "False"


@pytest.mark.parametrize("name", llm_rotate.__all__)
def test_each_name_can_be_the_first_one_imported(name):
    """No order of imports is needed, so none is a circle."""
    python(f"from llm_rotate import {name}; assert {name} is not None")


def test_the_version_is_the_distributions():
    assert re.fullmatch(r"\d+\.\d+\.\d+", llm_rotate.__version__)
