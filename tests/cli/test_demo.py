from __future__ import annotations

import asyncio
import io
import re
import signal

import pytest
from rich.console import Console

from llm_rotate.cli.demo.board import STYLES, Board
from llm_rotate.cli.demo.scene import ACTS, CALLS, KEYS, opened
from llm_rotate.cli.demo.show import Result, closing
from llm_rotate.cli.demo.tally import Tally
from llm_rotate.cli.demo.watch import Picture
from llm_rotate.core.events import Event, EventKind
from llm_rotate.core.keystate import Kind
from llm_rotate.core.outcome import Outcome
from llm_rotate.types import Attempt

from .command import run, start


def test_the_demo_loses_no_call_and_accounts_for_every_request() -> None:
    done = run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    for act in ACTS:
        assert act.words in done.stdout
    calls, requests, overhead = done.stdout.splitlines()[-3:]
    assert calls.startswith(f"{CALLS} calls asked, {CALLS} answered, 0 lost, in ")
    numbers = re.fullmatch(r"(\d+) requests sent, (\d+) counted .*, (\d+) rotations .*", requests)
    assert numbers
    sent, served, rotations = map(int, numbers.groups())
    assert sent == served > CALLS
    assert CALLS / 20 < rotations <= sent - CALLS
    assert re.match(r"[1-9]\d* us overhead per call", overhead)


def test_ctrl_c_ends_the_demo_quietly() -> None:
    with start("demo") as running:
        assert running.stdout
        assert running.stdout.readline().startswith(f"{CALLS} chats")
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    assert (running.returncode, errors) == (130, "")


def drawn(width: int) -> list[str]:
    async def draw(console: Console) -> None:
        with opened() as scene:
            scene.advance(CALLS)
            await scene.lm.keys.disable("openai-4", "401 invalid_api_key, and so on and on and on")
            await scene.lm.keys.rest("openai-1", 9.5)
            tally = Tally.of(KEYS)
            tally.keys["openai-2"].count(Outcome.RATE_LIMITED)
            console.print(Board(await scene.lm.health(), tally, CALLS, scene.told, len(ACTS)))

    file = io.StringIO()
    asyncio.run(draw(Console(file=file, width=width, force_terminal=True, no_color=True)))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    return [line.rstrip() for line in plain.splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_fits_and_cuts_no_number(width: int) -> None:
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    header = next(line for line in lines if "key" in line)
    assert header.split()[:4] == ["key", "state", "back", "in"]
    rows = {line.split()[0]: line.split() for line in lines if line.split()[:1] and "-" in line}
    assert rows["openai-1"][1] == "cooldown"
    assert rows["openai-2"][1:7] == ["active", "1", "-", "1", "-", "-"]
    assert rows["openai-4"][1] == "disabled"
    assert ("why" in header) == ("401" in rows["openai-4"]) == (width == 120)


def test_every_state_has_its_colour() -> None:
    assert set(STYLES) == set(Kind)


def test_the_live_picture_ends_with_the_last_state() -> None:
    file = io.StringIO()

    async def look() -> None:
        with opened() as scene:
            calls = asyncio.get_running_loop().create_future()
            calls.set_result(None)
            tally = Tally.of(KEYS)
            tally.calls = CALLS
            console = Console(file=file, width=80, height=30, force_terminal=True)
            await Picture(console)(scene, tally, [calls])

    asyncio.run(look())
    assert f"{CALLS} of {CALLS}" in file.getvalue()


def ended(call: int, seconds: float, *attempts: Attempt) -> Event:
    return Event(0.0, EventKind.CALL_ENDED, call, seconds=seconds, attempts=attempts)


def attempt(key_id: str, outcome: str, seconds: float) -> Attempt:
    return Attempt("openai", "m", key_id, outcome, seconds=seconds)


def test_overhead_is_a_calls_time_without_its_requests_and_not_of_calls_that_waited() -> None:
    tally = Tally.of(["a", "b"])
    tally(ended(1, 1.5, attempt("a", "rate_limited", 0.5), attempt("b", "ok", 0.75)))
    tally(Event(0.0, EventKind.WAITING, 2, seconds=9.0))
    tally(ended(2, 10.0, attempt("a", "ok", 0.5)))
    assert tally.own_microseconds == pytest.approx(250_000)
    assert (tally.calls, tally.rotations) == (2, 1)


def test_a_retry_at_the_same_key_is_no_rotation() -> None:
    tally = Tally.of(["a"])
    tally(ended(1, 1.0, attempt("a", "server_error", 0.5), attempt("a", "ok", 0.5)))
    assert tally.rotations == 0


def test_a_lost_call_or_a_request_too_many_is_not_good() -> None:
    def result(answered: int, served: int) -> Result:
        return Result(Tally.of([]), asked=2, answered=answered, attempts=3, served=served)

    assert result(2, 3).is_good
    assert not result(1, 3).is_good
    assert not result(2, 4).is_good
    assert "2 calls asked, 1 answered, 1 lost" in "\n".join(closing(result(1, 3)))
