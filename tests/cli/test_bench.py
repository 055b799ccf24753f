"""``llm-rotate bench``: the table, the recommendation, the picture."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from llm_rotate.cli.jobs.bench import Level, recommended, share

from .desk import Desk

LINE = re.compile(
    r"c=(\d+) +rps=\d+\.\d\d  p50=\d+\.\d{3}s  p95=\d+\.\d{3}s  p99=\d+\.\d{3}s  "
    r"svc_p95=\d+\.\d{3}s  q_p95=\d+\.\d{3}s  err=(\d+)/(\d+)  elapsed=\d+\.\d"
)


def bench(desk: Desk, *more: object, what: str = "generate") -> Any:
    return desk.run("bench", what, "-m", "m", "--api-base", desk.sim.url("openai"), *more)


def test_a_line_for_every_level_and_what_to_take(desk: Desk) -> None:
    words = ("--requests", 6, "--warmup", 2, "--max-concurrency", 3, "--output-json", "b.json")
    done = bench(desk, "--prompt", "x", *words)
    assert (done.status, done.err) == (0, "")
    *lines, last = done.out.splitlines()
    found = [match.groups() for match in map(LINE.match, lines) if match]
    assert found == [("1", "0", "6"), ("2", "0", "6"), ("3", "0", "6")]
    told = json.loads((desk.folder / "b.json").read_text())
    assert last == f"recommended_max_parallel_requests={told['recommended']}"
    assert [each["c"] for each in told["levels"]] == [1, 2, 3]
    assert desk.sim.requests() == 20


def test_rows_of_a_file_are_sent_by_turns(desk: Desk) -> None:
    desk.write("in.jsonl", {"prompt": "a"}, {"messages": [{"role": "user", "content": "b"}]})
    words = ("-i", "in.jsonl", "--requests", 4, "--warmup", 0, "--concurrency", 1)
    assert bench(desk, *words).status == 0
    asked = [seen.body["messages"][0]["content"] for seen in desk.sim.log if seen.body]
    assert asked == ["a", "b", "a", "b"]


def test_embeddings_have_a_table_too(desk: Desk) -> None:
    done = bench(desk, "--text", "x", "--requests", 3, "--concurrency", 2, what="embed")
    assert done.out.startswith("c=2 ")
    assert {seen.path.rpartition("/")[2] for seen in desk.sim.log} == {"embeddings"}


def test_errors_are_counted_and_nothing_but_errors_is_a_failure(desk: Desk) -> None:
    desk.patch.setenv("SERVER_API_KEY", desk.sim.secret("k1"))
    desk.sim.key("k1").answers([400, 200])
    words = ("--prompt", "x", "--requests", 2, "--warmup", 0, "--concurrency", 1)
    done = bench(desk, *words)
    assert "err=1/2" in done.out
    assert done.status == 0
    desk.sim.key("k1").bad_key()
    done = bench(desk, *words)
    assert "err=2/2" in done.out
    assert done.status == 1


def test_a_picture(desk: Desk) -> None:
    pytest.importorskip("matplotlib")
    words = ("--prompt", "x", "--requests", 2, "--max-concurrency", 2, "--plot", "b.png")
    assert bench(desk, *words).status == 0
    assert (desk.folder / "b.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give --prompt or --input-jsonl"),
        (("--prompt", "x", "-i", "in.jsonl"), "one of them"),
        (("-i", "in.jsonl"), "in.jsonl, row 1: the line is no JSON"),
        (("-i", "empty.jsonl"), "empty.jsonl has no row"),
    ],
)
def test_what_is_asked_must_be_there(desk: Desk, words: tuple[str, ...], told: str) -> None:
    desk.write("in.jsonl", {"prompt": "a"}, "{no")
    desk.write("empty.jsonl")
    done = bench(desk, *words)
    assert done.status == 2
    assert told in " ".join(done.err.replace("│", " ").split())
    assert desk.sim.requests() == 0


def at(c: int, rps: float, errors: int = 0) -> Level:
    return Level(c, rps, 0.1, 0.1, 0.1, 0.1, 0.0, errors, 50, 1.0)


@pytest.mark.parametrize(
    ("levels", "best"),
    [
        ([at(1, 10), at(2, 20), at(4, 39), at(8, 40), at(16, 40.5)], 4),
        ([at(1, 10), at(2, 20), at(4, 40, errors=5)], 2),
        ([at(8, 10, errors=50)], 8),
    ],
)
def test_the_smallest_that_gets_nearly_as_much_done(levels: list[Level], best: int) -> None:
    assert recommended(levels) == best


def test_shares_of_few_values() -> None:
    assert share([], 0.5) == 0.0
    assert share([1.0], 0.99) == 1.0
    assert share([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
