"""``llm-rotate generate``: rows in, results out."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from llm_rotate.cli.jobs.line import Line
from llm_rotate.testing import Simulator

from .command import PROGRAM, entry, environment, registry, run
from .desk import Desk
from .jobs import good, paid, rows, write_prompts


def asked(sim: Simulator) -> list[str]:
    return [seen.body["messages"][-1]["content"] for seen in sim.log if seen.body]


def test_one_prompt_prints_its_answer(desk: Desk) -> None:
    url = desk.sim.url("openai")
    done = desk.run(
        "generate", "-m", "m", "--api-base", url, "--prompt", "hello", "--max-tokens", 3
    )
    assert (done.status, done.out, done.err) == (0, "You said: hello\n", "")
    assert desk.sim.log[0].body is not None
    assert desk.sim.log[0].body["max_tokens"] == 3


def test_every_row_has_its_result_with_its_number(desk: Desk) -> None:
    desk.write(
        "in.jsonl",
        {"prompt": "one", "metadata": {"id": 7}},
        "",
        {"messages": [{"role": "user", "content": "two"}]},
    )
    done = desk.generate()
    assert (done.status, done.out, done.err) == (0, "", "2 rows done\n")
    found = sorted(rows(desk.output), key=lambda row: row["_index"])
    assert [row["output_text"] for row in found] == ["You said: one", "You said: two"]
    first = found[0]
    assert first.pop("request_id").startswith("req_")
    assert first == {
        "_index": 0,
        "output_text": "You said: one",
        "token_usage": {
            "prompt_tokens": 1,
            "completion_tokens": 3,
            "total_tokens": 4,
            "reasoning_tokens": None,
        },
        "finish_reason": "stop",
        "deployment": "server",
        "error": None,
        "metadata": {"id": 7},
    }
    assert (desk.folder / "out.checkpoint.sqlite").exists()
    assert len(list(desk.folder.iterdir())) == 3


def test_failed_rows_say_why_and_are_tried_again_by_a_resume(desk: Desk) -> None:
    url = desk.sim.url("openai")
    desk.patch.setenv("SERVER_API_KEY", desk.sim.secret("k1"))
    desk.sim.key("k1").answers([200, 400, 200])
    desk.write("in.jsonl", {"prompt": "row 0"}, {"prompt": "row 1"}, {"prompt": "row 2"}, "{no")
    done = desk.generate("--max-parallel-requests", 1)
    assert done.status == 1
    assert done.err == "2 rows done, 2 failed\n"
    errors = {row["_index"]: row["error"] for row in rows(desk.output)}
    assert errors[0] is errors[2] is None
    assert "BadRequestError" in errors[1]
    assert "the line is no JSON" in errors[3]
    assert {row["output_text"] for row in rows(desk.output) if row["error"]} == {None}
    again = desk.generate("--resume")
    assert again.status == 1
    assert again.err == "3 rows done, 1 failed\n"
    assert sorted(row["_index"] for row in rows(desk.output)) == [0, 1, 2, 3]
    assert paid(desk.sim) == {0: 1, 1: 1, 2: 1}
    assert url


def test_a_finished_job_is_not_done_again(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 5)
    assert desk.generate("--resume").status == 0
    assert desk.generate("--resume").status == 0
    assert desk.sim.requests() == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["-m", "other"], "model was 'm', is 'other'"),
        (["--max-tokens", "3"], "max_tokens was None, is 3"),
        (["--endpoint", "responses"], "endpoint was 'chat_completion'"),
        (["--mapper", "json:dumps"], "mapper was None, is 'json:dumps'"),
    ],
)
def test_a_job_with_other_parameters_is_another_job(
    desk: Desk, change: list[str], told: str
) -> None:
    write_prompts(desk.folder / "in.jsonl", 2)
    desk.generate()
    before = desk.output.read_bytes()
    done = desk.generate("--resume", *change)
    assert done.status == 2
    assert told in done.err
    assert desk.output.read_bytes() == before
    assert desk.sim.requests() == 2


def test_a_job_with_another_input_is_another_job_but_other_limits_are_none(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 2)
    desk.generate()
    assert desk.generate("--resume", "--rpm", 100, "--max-parallel-requests", 3).status == 0
    write_prompts(desk.folder / "in.jsonl", 3)
    done = desk.generate("--resume")
    assert done.status == 2
    assert "the input file has changed since" in done.err


def test_nothing_is_overwritten(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 2)
    desk.write("out.jsonl", "precious")
    done = desk.generate()
    assert done.status == 2
    assert "--resume goes on with it; or remove it" in done.err
    done = desk.generate("--resume")
    assert done.status == 2
    assert "no checkpoint beside it (out.checkpoint.sqlite)" in done.err
    assert desk.output.read_text() == "precious\n"
    assert desk.sim.requests() == 0


def test_two_runs_do_not_write_to_one_output(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 2)
    desk.generate()
    other = sqlite3.connect(desk.folder / "out.checkpoint.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    done = desk.generate("--resume")
    other.close()
    assert done.status == 2
    assert "another run is at work on it" in done.err


def test_what_is_no_checkpoint_is_said(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 2)
    desk.generate()
    (desk.folder / "out.checkpoint.sqlite").write_text("x" * 1000)
    done = desk.generate("--resume")
    assert done.status == 2
    assert "is no checkpoint" in done.err


# -- a damaged output


TAILS = {
    "a torn line": lambda whole: whole[:-30],
    "half a line more": lambda whole: whole + b'{"_index": 9, "outp',
    "a whole line that was not settled": lambda whole: whole,
    "nonsense": lambda whole: whole + b"\x00\x00\n",
    "a line twice": lambda whole: whole + whole.splitlines(keepends=True)[0],
}


@pytest.mark.parametrize("damage", TAILS)
def test_B05_a_damaged_end_does_no_harm(desk: Desk, damage: str) -> None:
    """As if the process had died between writing and settling the last row."""
    write_prompts(desk.folder / "in.jsonl", 6)
    desk.generate("--max-parallel-requests", 1)
    whole = desk.output.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    with sqlite3.connect(desk.folder / "out.checkpoint.sqlite") as checkpoint:
        checkpoint.execute("DELETE FROM rows WHERE number = 5")
        checkpoint.execute("UPDATE notes SET value = ? WHERE name = 'bytes'", [len(whole) - last])
    checkpoint.close()
    desk.output.write_bytes(TAILS[damage](whole))
    done = desk.generate("--resume")
    assert (done.status, done.err) == (0, "6 rows done\n")
    assert sorted(row["_index"] for row in rows(desk.output)) == list(range(6))
    assert desk.sim.requests() == (7 if damage == "a torn line" else 6)


def test_an_output_that_lost_rows_is_not_gone_on_with(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 4)
    desk.generate()
    desk.output.write_bytes(desk.output.read_bytes()[:100])
    done = desk.generate("--resume")
    assert done.status == 2
    assert "rows are missing" in done.err


def test_a_rewrite_that_was_interrupted_is_done_again(desk: Desk) -> None:
    """Killed after the new output was whole, before it took the old one's place."""
    desk.write("in.jsonl", {"prompt": "row 0"}, "{no", {"prompt": "row 2"})
    desk.generate()
    whole = desk.output.read_bytes()
    kept = b"".join(line for line in whole.splitlines(keepends=True) if b'"error": null' in line)
    with sqlite3.connect(desk.folder / "out.checkpoint.sqlite") as checkpoint:
        checkpoint.execute("DELETE FROM rows WHERE number = 1")
        checkpoint.execute("UPDATE notes SET value = ? WHERE name = 'bytes'", [len(kept)])
        checkpoint.execute("INSERT OR REPLACE INTO notes VALUES ('rewriting', '1')")
    checkpoint.close()
    done = desk.generate("--resume")
    assert done.err == "2 rows done, 1 failed\n"
    assert sorted(row["_index"] for row in rows(desk.output)) == [0, 1, 2]
    assert desk.sim.requests() == 2


# -- other inputs


def test_pipes_on_both_sides(desk: Desk) -> None:
    url = desk.sim.url("openai")
    lines = '{"prompt": "a"}\n{"prompt": "b"}\n'
    done = run("generate", "-m", "m", "--api-base", url, "-i", "-", "-o", "-", stdin=lines)
    assert done.returncode == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(row["output_text"] for row in found) == ["You said: a", "You said: b"]
    assert done.stderr == "2 rows done\n"


def test_a_named_pipe_is_read_once(desk: Desk) -> None:
    pipe = desk.folder / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=['{"prompt": "a"}\n'], daemon=True)
    writer.start()
    done = run("generate", "-m", "m", "--api-base", desk.sim.url("openai"), "-i", pipe)
    assert done.stderr == "1 row done\n"


def test_a_pipe_has_no_past(desk: Desk) -> None:
    words = ("generate", "-m", "m", "--api-base", desk.sim.url("openai"))
    write_prompts(desk.folder / "in.jsonl", 1)
    done = desk.run(*words, "-i", "in.jsonl", "--resume")
    assert (done.status, "a pipe has no past" in done.err) == (2, True)
    done = desk.run(*words, "-i", "-", "-o", "out.jsonl", "--resume")
    assert (done.status, "cannot be read again" in done.err) == (2, True)


def test_csv_rows(desk: Desk) -> None:
    with (desk.folder / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt", "id"], ["one,\ntwo", 1], ["three", 2], ["", 3]])
    done = desk.generate("-i", "in.csv")
    unused, told = done.err.splitlines()
    assert unused.startswith("fields of the rows that are not used: 'id'; ")
    assert told == "2 rows done, 1 failed"
    found = {row["_index"]: row for row in rows(desk.output)}
    assert "one,\ntwo" in asked(desk.sim)
    assert found[2]["error"] == "the row's 'prompt' is empty"


def test_a_long_csv_cell_is_a_row_like_others_and_one_past_all_bounds_fails_alone(
    desk: Desk,
) -> None:
    with (desk.folder / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt"], ["one"], ["x" * 200_000], ["three"]])
    assert desk.generate("-i", "in.csv").status == 0
    desk.output.unlink()
    (desk.folder / "out.checkpoint.sqlite").unlink()
    desk.patch.setattr("llm_rotate.cli.jobs.records.CELL", 1000)
    done = desk.generate("-i", "in.csv")
    csv.field_size_limit(1 << 17)  # the module's, as it was
    assert (done.status, done.err) == (1, "2 rows done, 1 failed\n")
    found = {row["_index"]: row for row in rows(desk.output)}
    assert "the row is no CSV: field larger than field limit" in found[1]["error"]
    assert good(desk.output) == {0, 2}


def test_a_line_nested_too_deeply_fails_alone(desk: Desk) -> None:
    desk.write("in.jsonl", {"prompt": "one"}, "[" * 100_000, {"prompt": "three"})
    done = desk.generate()
    assert (done.status, done.err) == (1, "2 rows done, 1 failed\n")
    found = {row["_index"]: row for row in rows(desk.output)}
    assert "nested too deeply" in found[1]["error"]
    assert good(desk.output) == {0, 2}


def test_parquet_rows(desk: Desk) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"prompt": ["one", "two"]}), desk.folder / "in.parquet")
    done = desk.generate("-i", "in.parquet")
    assert (done.status, done.err) == (0, "2 rows done\n")
    assert good(desk.output) == {0, 1}


def test_a_missing_library_is_named_with_its_extra(desk: Desk) -> None:
    desk.patch.setitem(sys.modules, "pyarrow.parquet", None)
    desk.write("in.parquet", "x")
    done = desk.generate("-i", "in.parquet")
    assert done.status == 2
    assert "needs pyarrow; from a checkout: pip install '.[tables]'" in done.err
    assert [each.name for each in desk.folder.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.jsonl", None, "none.jsonl cannot be read: No such file"),
        ("in.parquet", b"text", "is no Parquet file"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(
    desk: Desk, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (desk.folder / name).write_bytes(content)
    done = desk.generate("-i", name)
    assert done.status == 2
    assert told in done.err
    assert "rows done" not in done.err
    assert not desk.output.exists()
    assert desk.generate("-i", name, "-o", "-").err == done.err


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "-"])
def test_what_is_not_text_is_its_rows_error(desk: Desk, name: str) -> None:
    is_csv = name.endswith("csv")
    lines = [b"prompt"] * is_csv + [
        text if is_csv else b'{"prompt": "' + text + b'"}' for text in (b"one", b"t\xffo", b"three")
    ]
    (desk.folder / "in").write_bytes(b"\n".join(lines))
    if name == "-":
        with (desk.folder / "in").open("rb") as file:
            desk.patch.setattr(sys, "stdin", io.TextIOWrapper(file))
            done = desk.generate("-i", name)
    else:
        (desk.folder / "in").rename(desk.folder / name)
        done = desk.generate("-i", name)
    assert (done.status, done.err) == (1, "2 rows done, 1 failed\n")
    found = {row["_index"]: row for row in rows(desk.output)}
    assert "is not UTF-8 text" in found[1]["error"]
    assert good(desk.output) == {0, 2}


def test_fields_that_nobody_knows_are_named_once(desk: Desk) -> None:
    row = {"prompt": "x", "id": "abc", "temperature": 0, "metadata": 1}
    desk.write("in.jsonl", row, row, {**row, "system": "s"})
    done = desk.generate()
    first, second, _ = done.err.splitlines()
    assert "not used: 'id', 'temperature'; a row may have prompt or messages and metad" in first
    assert "not used: 'system'; " in second


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "x", "messages": []}, "the row has 'prompt' and 'messages': leave all out"),
        ({"prompt": ""}, "the row's 'prompt' is empty"),
        ({"promt": "x"}, "'prompt' or 'messages'; is its 'promt' meant to be 'prompt'?"),
        ({"text": "x"}, "the row has no field 'prompt' or 'messages'"),
    ],
)
def test_a_row_without_what_is_to_be_sent_says_why(desk: Desk, row: object, told: str) -> None:
    desk.write("in.jsonl", row)
    done = desk.generate()
    assert done.err == "0 rows done, 1 failed\n"
    assert told in rows(desk.output)[0]["error"]
    assert desk.sim.requests() == 0


@pytest.mark.parametrize("name", ["v.parquet", "v.npy", "out.CSV"])
def test_an_output_is_not_named_as_what_it_is_not(desk: Desk, name: str) -> None:
    write_prompts(desk.folder / "in.jsonl", 1)
    done = desk.generate("-o", name)
    assert done.status == 2
    assert (
        f"the output is JSON lines, a result a line: name it {name.split('.', maxsplit=1)[0]}.jsonl"
        in done.err
    )
    assert not (desk.folder / name).exists()


def test_line_ends_inside_a_text_end_no_row(desk: Desk) -> None:
    (desk.folder / "in.jsonl").write_text('{"prompt": "a\u2028b\x85c"}\r\n', "utf-8", newline="")
    assert desk.generate().status == 0
    lines = desk.output.read_bytes().split(b"\n")
    assert len(lines) == 2
    assert asked(desk.sim) == ["a\u2028b\x85c"]


# -- mappers


MAPPER = """
def build(record):
    if record["n"] == 2:
        raise ValueError("no two")
    if record["n"] == 3:
        return "three"
    return {"input": f"number {record['n']}", "metadata": record}
"""


def test_a_mapper_makes_the_input_and_its_faults_are_its_rows(desk: Desk) -> None:
    (desk.folder / "prompts_here.py").write_text(MAPPER)
    desk.write("in.jsonl", {"n": 1}, {"n": 2}, {"n": 3})
    done = desk.generate("--mapper", "prompts_here:build")
    assert done.err == "1 row done, 2 failed\n"
    found = {row["_index"]: row for row in rows(desk.output)}
    assert found[0]["output_text"] == "You said: number 1"
    assert found[0]["metadata"] == {"n": 1}
    assert found[1]["error"] == "the mapper raised ValueError: no two"
    assert "must return a mapping with 'input'" in found[2]["error"]


@pytest.mark.parametrize(
    ("mapper", "told"),
    [
        ("nowhere_at_all:f", "No module named 'nowhere_at_all'"),
        ("json:nothing", "json has no function 'nothing'"),
        ("json", "is spelled package.module:function"),
    ],
)
def test_a_mapper_that_is_not_there_is_said(desk: Desk, mapper: str, told: str) -> None:
    write_prompts(desk.folder / "in.jsonl", 1)
    done = desk.generate("--mapper", mapper)
    assert done.status == 2
    assert told in done.err


# -- servers and keys


def test_several_addresses_share_the_rows(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 10)
    first = desk.sim.url("openai")
    other = first.replace("127.0.0.1", "localhost")
    done = desk.generate("--api-base", other)
    assert done.status == 0
    served = [row["deployment"] for row in rows(desk.output)]
    assert len(set(served)) == 2
    assert max(served.count(each) for each in served) == 5


def test_deployments_from_a_file_with_a_key_from_a_file_of_variables(desk: Desk) -> None:
    url = desk.sim.url("openai")
    desk.write(
        "servers.toml",
        "[deployments.gpu-0]",
        'model = "hosted_vllm/meta/llama"',
        f'api_base = "{url}"',
        "[deployments.gpu-1]",
        'model = "hosted_vllm/meta/llama"',
        f'api_base = "{url}"',
    )
    desk.write(".env", "# keys", f'export HOSTED_VLLM_API_KEY="{desk.sim.secret("k1")}"')
    desk.patch.delenv("HOSTED_VLLM_API_KEY", raising=False)
    write_prompts(desk.folder / "in.jsonl", 4)
    done = desk.run(
        *("generate", "-m", "llama-3", "--deployments-toml", "servers.toml", "--env-file", ".env"),
        *("-i", "in.jsonl", "-o", "out.jsonl"),
    )
    os.environ.pop("HOSTED_VLLM_API_KEY")  # monkeypatch would put it back
    assert (done.status, done.err) == (0, "4 rows done\n")
    assert {row["deployment"] for row in rows(desk.output)} == {"gpu-0", "gpu-1"}
    assert {seen.key for seen in desk.sim.log} == {"k1"}
    assert {seen.model for seen in desk.sim.log} == {"meta/llama"}


def test_a_pool_of_ones_own(desk: Desk) -> None:
    registry(desk.folder, desk.sim, entry("k1"), entry("k2"))
    for key_id in ("k1", "k2"):
        desk.patch.setenv(f"SECRET_{key_id.upper()}", desk.sim.secret(key_id))
    write_prompts(desk.folder / "in.jsonl", 6)
    done = desk.run(
        "generate", "-m", "gpt-4o-mini", "-c", "pool.json", "-i", "in.jsonl", "-o", "out.jsonl"
    )
    assert (done.status, done.err) == (0, "6 rows done\n")
    assert {row["deployment"] for row in rows(desk.output)} == {"k1", "k2"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--prompt", "x", "-i", "in.jsonl"), "not both"),
        ((), "give one input, or rows with --input-jsonl"),
        (("--prompt", "x", "--resume"), "not both"),
        (("--prompt", "x", "--endpoint", "chat"), "endpoint must be one of"),
        (("--prompt", "x", "--env-file", "none.env"), "none.env cannot be read"),
        (("--prompt", "x", "--deployments-toml", "none.toml"), "leave --api-base out"),
        (("--prompt", "x", "--config", "none.yaml"), "leave --api-base and --deployments-toml"),
    ],
)
def test_options_that_do_not_go_together(desk: Desk, words: tuple[str, ...], told: str) -> None:
    done = desk.run("generate", "-m", "m", "--api-base", desk.sim.url("openai"), *words)
    assert done.status == 2
    assert told in " ".join(done.err.replace("│", " ").split())
    assert desk.sim.requests() == 0


def test_a_dead_key_ends_the_job_soon_with_a_reason_for_every_row(desk: Desk) -> None:
    desk.patch.setenv("SERVER_API_KEY", desk.sim.secret("k1"))
    desk.sim.key("k1").bad_key()
    write_prompts(desk.folder / "in.jsonl", 100)
    done = desk.generate()
    assert (done.status, done.err) == (1, "0 rows done, 100 failed\n")
    assert all("401" in row["error"] for row in rows(desk.output))
    assert "sk-sim" not in desk.output.read_text()


def test_the_reader_of_a_pipe_may_leave(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 300)
    words = ["generate", "-m", "m", "--api-base", desk.sim.url("openai"), "-i", "in.jsonl"]
    script = f"{sys.executable} -m llm_rotate.cli {' '.join(words)} 2>err.txt | head -n 1"
    assert os.system(script) == 0
    told = (desk.folder / "err.txt").read_text()
    assert "Traceback" not in told
    assert desk.sim.requests() < 300 or "300 rows done" in told


def test_in_a_terminal_a_line_says_how_it_goes(desk: Desk) -> None:
    write_prompts(desk.folder / "in.jsonl", 5)
    desk.patch.setattr(sys.stderr, "isatty", lambda: True)
    done = desk.generate()
    assert done.status == 0
    last = done.err.replace("\r\x1b[K", "\n").splitlines()
    assert last[-1] == "5 rows done"
    assert last[-2].startswith("5/5  ")
    assert "0 failed" in last[-2]


def test_warnings_stand_above_the_line(desk: Desk) -> None:
    desk.patch.setattr(sys.stderr, "isatty", lambda: True)
    log = logging.getLogger("llm_rotate")
    with Line(None).warned():
        log.warning("'m' waits %s s", 300)
        log.info("no matter")
    assert desk.capture.readouterr().err == "\r\x1b[K'm' waits 300 s\n"
    assert not log.handlers


@pytest.mark.parametrize("place", ["nowhere/out.jsonl", "shut/out.jsonl", "folder"])
def test_an_output_that_cannot_be_written_is_named(desk: Desk, place: str) -> None:
    (desk.folder / "folder").mkdir()
    (desk.folder / "shut").write_text("a file")
    write_prompts(desk.folder / "in.jsonl", 2)
    done = desk.generate("-o", place)
    assert done.status == 2
    assert place in done.err
    assert desk.sim.requests() == 0


@pytest.mark.parametrize(("command", "field"), [("generate", "prompt"), ("embed", "text")])
def test_a_slow_writer_of_a_pipe_holds_nothing_up_and_can_be_left(
    desk: Desk, command: str, field: str
) -> None:
    """Answers come while the next line does not; Ctrl-C does not wait for it."""
    url = desk.sim.url("openai")
    job = subprocess.Popen(
        [*PROGRAM, command, "-m", "m", "--api-base", url, "-i", "-"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert job.stdin is not None
    assert job.stdout is not None
    for number, word in enumerate(("one", "two")):
        job.stdin.write(json.dumps({field: word}) + "\n")
        job.stdin.flush()
        row = json.loads(job.stdout.readline())
        assert (row["_index"], row["error"]) == (number, None)
    job.send_signal(signal.SIGINT)
    job.wait(timeout=20)
    _, told = job.communicate()
    assert job.returncode == 130
    assert "2 rows done" in told
    assert "Traceback" not in told
