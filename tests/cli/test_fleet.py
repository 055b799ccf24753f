"""What an operator sees of a running fleet, and does to it, from another process."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llm_rotate import LMRotate, configure_from_file
from llm_rotate.cli.health import table
from llm_rotate.engine.report import (
    HealthReport,
    KeyHealth,
    LimitHealth,
    ProviderHealth,
    ScopeHealth,
)
from llm_rotate.testing import Simulator
from tests.redis_server import RedisServer, free_port

from .command import PROGRAM, entry, environment, registry, run, start

MODEL = "gpt-4o-mini"
ACTS = ("rest", "reset", "disable", "enable")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def file(sim: Simulator, redis: RedisServer, tmp_path: Path) -> Path:
    redis.do("FLUSHALL")
    return shared(sim, redis.url, tmp_path)


def shared(sim: Simulator, url: str, path: Path) -> Path:
    keys = entry("a", limits={"rpm": 600}), entry("b"), entry("c", "anthropic")
    state = {"backend": "redis", "redis_url": url, "store_timeout_ms": 5_000}
    return registry(path, sim, *keys, state_store=state)


def worker(file: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> LMRotate:
    """One that has its secrets, as the commands below have not."""
    for name, secret in environment(sim, "a", "b", "c").items():
        monkeypatch.setenv(name, secret)
    return LMRotate(configure_from_file(file))


async def answered(lm: LMRotate, calls: int = 4) -> set[str | None]:
    messages = [{"role": "user", "content": "hi"}]
    return {(await lm.chat(MODEL, messages)).key_id for _ in range(calls)}


def seen(file: Path) -> dict[str, Any]:
    done = run("health", "--config", file, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)["providers"]


def test_health_shows_what_another_process_knows_and_needs_no_secret(
    sim: Simulator, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.key("a").rate_limit(retry_after=600)
    lm = worker(file, sim, monkeypatch)

    async def scenario() -> None:
        async with lm:
            assert await answered(lm) == {"b"}
            await lm.keys.disable("c", reason="leaked")

    asyncio.run(scenario())
    asked = sim.requests()
    found = seen(file)
    assert found["openai"]["keys"]["b"]["state"] == "active"
    scope = found["openai"]["keys"]["a"]["scopes"][MODEL]
    assert scope["state"] == "cooldown"
    assert "429" in str(scope["status"])
    left = datetime.fromisoformat(scope["until"]) - datetime.now(UTC)
    assert timedelta(seconds=590) < left <= timedelta(seconds=600.5)
    other = found["anthropic"]["keys"]["c"]
    assert (other["state"], other["reason"], other["until"]) == ("disabled", "leaked", None)
    rpm = found["openai"]["keys"]["a"]["limits"]["key"]["rpm"]
    assert (rpm["limit"], rpm["taken"]) == (600, 1)
    assert found["openai"]["keys"]["b"]["successes"] == 4
    assert sim.requests() == asked


def test_the_table_says_the_same(file: Path) -> None:
    run("keys", "rest", "a", "-c", file, "--seconds", 600, "--reason", "invoice unpaid")
    done = run("health", "-c", file)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "openai active" in rows
    assert "a cooldown 10 min 0 0 invoice unpaid; rpm 0 of 600" in rows
    assert "b active 0 0" in rows
    assert rows.index("anthropic active") < rows.index("c active 0 0")


def test_an_operators_words_reach_a_running_fleet(
    sim: Simulator, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = worker(file, sim, monkeypatch)

    async def told(*words: object) -> str:
        done = await asyncio.to_thread(run, "keys", *words, "--config", file)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    async def scenario() -> None:
        async with lm:
            assert await answered(lm) == {"a", "b"}
            assert await told("disable", "a", "--reason", "leaked") == "a: disabled: leaked\n"
            assert await answered(lm) == {"b"}
            assert await told("enable", "a") == "a: probation: enabled by an operator\n"
            assert await answered(lm) == {"a", "b"}
            said = await told("rest", "b", "--seconds", 300)
            assert said == "b: cooldown for 5 min more: rested by an operator\n"
            assert await answered(lm) == {"a"}
            assert await told("reset", "b") == "b: active\n"
            assert await answered(lm) == {"a", "b"}

    asyncio.run(scenario())


def test_watch_looks_again_says_when_redis_is_away_and_ends_quietly(
    sim: Simulator, tmp_path: Path
) -> None:
    server = RedisServer()
    file = shared(sim, server.url, tmp_path)
    with start("health", "-c", file, "--json", "--watch", "--every", 0.1) as watching:
        try:
            lines = (json.loads(line) for line in watching.stdout or ())
            assert next(lines)["providers"]["openai"]["keys"]["a"]["state"] == "active"
            run("keys", "disable", "a", "-c", file)
            until(lines, lambda each: state_of(each, "a") == "disabled")
            server.kill()
            until(lines, lambda each: "cannot be reached" in each.get("error", ""))
            server.start()
            until(lines, lambda each: state_of(each, "a") == "disabled")
        finally:
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=20)
            server.close()
    assert (watching.returncode, errors) == (130, "")


def test_in_a_terminal_the_table_is_drawn_anew_in_its_place(file: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "health", "-c", str(file), "--watch", "--every", "0.1"],
        env=environment() | {"TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as watching:
        os.close(theirs)
        drawn = b""
        while drawn.count(b"anthropic") < 3:
            drawn += os.read(ours, 4096)
        watching.send_signal(signal.SIGINT)
        with suppress(OSError):  # the terminal's end
            while said := os.read(ours, 4096):
                drawn += said
    os.close(ours)
    assert watching.returncode == 130
    assert b"\x1b[1A" in drawn  # up again, line by line
    assert b"\x1b[32mactive" in drawn


def until(lines: Iterator[dict[str, Any]], true: Any, seconds: float = 10.0) -> None:
    latest = time.monotonic() + seconds
    while not true(next(lines)):
        assert time.monotonic() < latest


def state_of(report: dict[str, Any], key_id: str) -> str | None:
    keys = report.get("providers", {}).get("openai", {}).get("keys", {})
    return keys[key_id]["state"] if keys else None


@pytest.mark.parametrize(
    "words",
    [("health",), ("health", "--watch"), *(("keys", act, "a") for act in ACTS)],
    ids=" ".join,
)
def test_with_states_in_memory_there_is_nothing_to_see_or_to_do(
    words: tuple[str, ...], sim: Simulator, tmp_path: Path
) -> None:
    file = registry(tmp_path, sim, entry("a"))
    own = ("--seconds", "5") if "rest" in words else ()
    done = run(*words, *own, "--config", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"llm-rotate: {file}: state_store.backend is 'memory': each ")


@pytest.mark.parametrize("words", [("health",), ("keys", "disable", "a"), ("keys", "reset", "a")])
def test_a_server_that_is_away_is_told_once_with_status_1(
    words: tuple[str, ...], sim: Simulator, tmp_path: Path
) -> None:
    file = shared(sim, f"redis://127.0.0.1:{free_port()}/0", tmp_path)
    done = run(*words, "-c", file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llm-rotate: the shared state cannot be reached (Error ")
    assert done.stderr.count("\n") == 1


def test_an_unknown_key_and_a_nonsense_time_are_refused(file: Path) -> None:
    done = run("keys", "disable", "aa", "-c", file)
    assert done.returncode == 2
    assert "Did you mean 'a'?" in done.stderr
    done = run("keys", "rest", "a", "-c", file, "--seconds", -1)
    assert (done.returncode, done.stdout) == (2, "")
    assert "seconds must be over 0" in done.stderr
    assert seen(file)["openai"]["keys"]["a"]["state"] == "active"


def test_scopes_groups_and_providers_have_rows_of_their_own() -> None:
    def scope(state: str = "active", seconds: float | None = None, why: str = "") -> ScopeHealth:
        end = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        return ScopeHealth(state, None, end, why, None, 0)

    limits = {
        "key": {"rpm": LimitHealth(500.0, 20.0, True)},
        "group:team": {"tpm": LimitHealth(200_000.0, 1_234.0, False)},
    }
    scopes = {MODEL: scope("quarantine", 7_300, "no access")}
    key = KeyHealth("active", None, None, "", None, 3, 1200, 4, scopes, limits)
    rest = scope("cooldown", 42.4, "every key was refused alike")
    report = HealthReport({"openai": ProviderHealth(rest, {"oai-1": key})})
    file = io.StringIO()
    Console(file=file, width=80).print(table(report))
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    assert lines[3:-1] == [
        "openai cooldown 42 s every key was refused alike",
        "oai-1 active 1200 3 rpm 20 of 500 (learned)",
        f"{MODEL} quarantine 2 h no access",
        "group:team tpm 1,234 of 200,000",
    ]
