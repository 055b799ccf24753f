"""A secret that was changed where it is kept is read again before its key is blamed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_rotate import AuthenticationError, NoAvailableKeyError, secrets
from llm_rotate.core.events import EventKind
from llm_rotate.engine import credentials

from .dialects import REFUSED_AS, asked, each_dialect, health_of
from .doors import sockets
from .world import World


def kept_in(path: Path) -> Any:
    """Edits a configuration: the first key's secret is in this file."""

    def edit(config: Any) -> Any:
        config.keys[0].secret_ref = f"file://{path}"
        return config

    return edit


def world_with(path: Path, provider: str, *others: str, **more: Any) -> World:
    """The key ``a``, whose secret is ``old`` and may become ``new``, and others."""
    world = World(["a", *others], provider=provider, strategy="priority", edit=kept_in(path), priorities={"a": 9}, **more)  # fmt: skip
    path.write_text(world.sim.secret("old"))
    return world


def rotate(world: Any, path: Path) -> None:
    path.write_text(world.sim.secret("new"))
    world.sim.key("old").bad_key()


@each_dialect
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_secret_that_was_rotated_goes_on_without_a_failure(
    provider: str, is_stream: bool, tmp_path: Path
) -> None:
    world = world_with(tmp_path / "key", provider, "b")
    events: list[Any] = []

    async def answer() -> Any:
        if not is_stream:
            return await world.chat()
        stream = world.lm.chat_stream(world.model, [{"role": "user", "content": "hello"}])
        assert [chunk async for chunk in stream]
        return stream.response

    async def scenario() -> None:
        await world.chat()
        rotate(world, tmp_path / "key")
        with world.lm.listen(events.append):
            response = await answer()
        assert response.key_id == "a"
        assert [(a.key_id, a.outcome) for a in response.attempts] == [
            ("a", "auth_failed"),
            ("a", "ok"),
        ]
        health = await health_of(world, "a")
        assert (health.state, health.failures) == ("active", 0)
        await world.chat()

    world.run(scenario)
    assert asked(world) == ["old", "old", "new", "new"]
    kinds = [(e.kind, e.attempt) for e in events if e.kind is not EventKind.STATE_CHANGED]
    assert kinds[:4] == [
        (EventKind.ATTEMPT_STARTED, 1),
        (EventKind.ATTEMPT_ENDED, 1),
        (EventKind.ATTEMPT_STARTED, 2),
        (EventKind.ATTEMPT_ENDED, 2),
    ]


@each_dialect
def test_a_secret_that_is_still_the_same_is_judged_as_ever(provider: str, tmp_path: Path) -> None:
    world = world_with(tmp_path / "key", provider, "b")

    async def scenario() -> None:
        await world.chat()
        world.sim.key("old").bad_key()
        assert (await world.chat()).key_id == "b"
        assert (await health_of(world, "a")).state == "quarantine"

    world.run(scenario)
    assert asked(world) == ["old", "old", "b"]


@each_dialect
def test_a_new_secret_that_is_refused_too_is_blamed_once(provider: str, tmp_path: Path) -> None:
    world = world_with(tmp_path / "key", provider)

    async def scenario() -> None:
        await world.chat()
        rotate(world, tmp_path / "key")
        world.sim.key("new").bad_key()
        with pytest.raises(NoAvailableKeyError) as caught:
            await world.chat(max_wait_seconds=0)
        assert isinstance(caught.value.__cause__, AuthenticationError)
        assert (await health_of(world, "a")).failures == 1

    world.run(scenario)
    assert asked(world) == ["old", "old", "new"]


@each_dialect
def test_a_secret_that_cannot_be_read_any_more_is_judged_as_the_old_one(
    provider: str, tmp_path: Path
) -> None:
    world = world_with(tmp_path / "key", provider, "b")

    async def scenario() -> None:
        await world.chat()
        (tmp_path / "key").unlink()
        world.sim.key("old").bad_key()
        assert (await world.chat()).key_id == "b"
        assert str(REFUSED_AS.get(provider, 401)) in (await health_of(world, "a")).reason

    world.run(scenario)


@each_dialect
def test_a_crowd_that_meets_the_old_secret_goes_over_to_the_new_one(
    provider: str, tmp_path: Path
) -> None:
    world = world_with(tmp_path / "key", provider)

    async def scenario() -> None:
        await world.chat()
        rotate(world, tmp_path / "key")
        assert {answer.key_id for answer in await world.gather(32)} == {"a"}
        health = await health_of(world, "a")
        assert (health.state, health.failures) == ("active", 0)

    world.run(scenario)
    assert asked(world).count("new") == 32


@each_dialect
def test_F04_a_refusal_that_echoes_the_old_secret_shows_neither(
    provider: str, tmp_path: Path
) -> None:
    world = world_with(tmp_path / "key", provider)
    old, new = world.sim.secret("old"), world.sim.secret("new")

    async def scenario() -> None:
        await world.chat()
        rotate(world, tmp_path / "key")
        world.sim.key("old").heal().echo_secret()
        response = await world.chat()
        assert response.attempts[0].outcome == "auth_failed"
        shown = repr(response.attempts)
        assert old not in shown
        assert new not in shown

    world.run(scenario)


# -- keys that are lent


def refused() -> openai.AuthenticationError:
    request = httpx.Request("POST", "http://x.test")
    return openai.AuthenticationError("no", response=httpx.Response(401, request=request), body={})


@pytest.mark.parametrize("is_changed", [True, False])
@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_lent_secret_that_was_rotated_meanwhile_blames_nobody(
    mode: str, is_changed: bool, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    with sockets(keys=["a"], edit=kept_in(path)) as world:
        path.write_text(world.sim.secret("old"))

        def fail(key: Any) -> None:
            assert key.key_value == world.sim.secret("old")
            if is_changed:
                rotate(world, path)
            raise refused()

        async def lend() -> None:
            if mode == "async":
                async with world.lm.acquire("openai") as key:
                    fail(key)
            else:
                with world.lm.acquire_sync("openai") as lent:
                    fail(lent)

        async def scenario() -> None:
            with pytest.raises(openai.AuthenticationError):
                await lend()
            health = (await world.lm.health()).providers["openai"].keys["a"]
            assert health.state == ("active" if is_changed else "quarantine")
            if is_changed:
                async with world.lm.acquire("openai") as key:
                    assert key.key_value == world.sim.secret("new")

        world.run(scenario)


# -- how they are read


def test_calls_that_need_the_same_secret_share_one_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, free = [], threading.Event()

    def slow(rest: str) -> str:
        read.append(rest)
        free.wait(10)
        return "sk-sim-k1"

    monkeypatch.setattr(secrets, "SCHEMES", {**secrets.SCHEMES, "slow": slow})

    def edit(config: Any) -> Any:
        config.keys[0].__dict__["secret_ref"] = "slow://k1"
        return config

    with sockets(keys=["k1"], edit=edit) as world:

        async def scenario() -> None:
            asyncio.get_running_loop().call_later(0.05, free.set)
            answers = await asyncio.gather(*(world.chat() for _ in range(8)))
            assert {answer.key_id for answer in answers} == {"k1"}

        world.run(scenario)
    assert read == ["k1"]


@each_dialect
def test_R16_a_secret_that_no_header_can_carry_is_its_keys_matter_alone(
    provider: str, tmp_path: Path
) -> None:
    world = world_with(tmp_path / "key", provider, "b")
    (tmp_path / "key").write_text("clé-of-another-alphabet", encoding="utf-8")

    async def scenario() -> None:
        answer = await world.chat()
        assert [each.outcome for each in answer.attempts] == ["secret_missing", "ok"]
        assert "no header can carry" in answer.attempts[0].message
        assert "clé" not in repr(await health_of(world, "a"))

    world.run(scenario)


def test_a_machine_out_of_threads_reads_the_secret_at_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_with(tmp_path / "key", "openai", "b")

    def none_left(_: threading.Thread) -> None:
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)

    async def scenario() -> None:
        answer = await world.chat()
        assert [each.outcome for each in answer.attempts] == ["secret_missing", "ok"]
        await world.lm.keys.reset("a")
        assert (await world.chat()).key_id == "a"

    world.run(scenario)


def test_a_reading_that_hangs_takes_its_key_out_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = threading.Event()

    def hang(rest: str) -> str:
        free.wait(10)
        return rest

    monkeypatch.setattr(secrets, "SCHEMES", {**secrets.SCHEMES, "hanging": hang})
    monkeypatch.setattr(credentials, "LONGEST_READ_SECONDS", 0.05)

    def edit(config: Any) -> Any:
        config.keys[0].__dict__["secret_ref"] = "hanging://k1"
        return config

    with sockets(keys=["k1", "k2"], priorities={"k1": 9}, edit=edit) as world:

        async def scenario() -> None:
            answer = await world.chat()
            assert answer.key_id == "k2"
            assert answer.attempts[0].outcome == "secret_missing"
            assert "within 0.05 s" in answer.attempts[0].message
            free.set()

        world.run(scenario)


def test_a_call_that_is_cancelled_while_the_secret_is_read_again_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free, again, read = threading.Event(), threading.Event(), []

    def slow_the_second_time(rest: str) -> str:
        read.append(rest)
        if len(read) > 1:
            again.set()
            free.wait(10)
        return f"sk-sim-{rest}"

    monkeypatch.setattr(secrets, "SCHEMES", {**secrets.SCHEMES, "slow": slow_the_second_time})

    def edit(config: Any) -> Any:
        config.keys[0].__dict__["secret_ref"] = "slow://k1"
        return config

    with sockets(keys=["k1"], edit=edit) as world:
        world.sim.key("k1").bad_key()

        async def scenario() -> None:
            call = asyncio.create_task(world.chat())
            assert await asyncio.to_thread(again.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            health = (await world.lm.health()).providers["openai"].keys["k1"]
            assert (health.state, health.in_flight) == ("active", 0)
            free.set()

        world.run(scenario)
