"""``llm-rotate embed`` and ``transcribe``: the same jobs with other requests."""

from __future__ import annotations

import json

import pytest

from .desk import Desk, Ended
from .jobs import rows


def test_one_text_prints_its_vector(desk: Desk) -> None:
    url = desk.sim.url("openai")
    done = desk.run("embed", "-m", "m", "--api-base", url, "--text", "hello", "--dimensions", 4)
    assert (done.status, done.err) == (0, "")
    assert len(json.loads(done.out)) == 4


def embed(desk: Desk, *more: object) -> Ended:
    words = ("embed", "-m", "m", "--api-base", desk.sim.url("openai"))
    return desk.run(*words, "-i", "in.jsonl", "-o", "out.jsonl", *more)


def test_rows_are_embedded_several_in_one_request(desk: Desk) -> None:
    desk.write("in.jsonl", *({"text": f"text {n}", "metadata": n} for n in range(10)))
    done = desk.run(
        *("embed", "-m", "m", "--api-base", desk.sim.url("openai"), "-i", "in.jsonl"),
        *("-o", "out.jsonl", "--micro-batch-size", 4),
    )
    assert (done.status, done.err) == (0, "10 rows done\n")
    found = sorted(rows(desk.output), key=lambda row: row["_index"])
    assert [row["metadata"] for row in found] == list(range(10))
    assert len({tuple(row["embedding"]) for row in found}) == 10
    assert found[0]["deployment"] == "server"
    assert found[0]["token_usage"]["total_tokens"] > 0
    assert desk.sim.requests() == 3


def test_B03_a_refused_text_fails_alone_and_is_tried_again(desk: Desk) -> None:
    desk.write("in.jsonl", {"text": "a"}, {"text": ["no text"]}, {"nothing": 1}, {"text": "b"})
    assert embed(desk).err == "2 rows done, 2 failed\n"
    errors = {row["_index"]: row["error"] for row in rows(desk.output)}
    assert errors[0] is errors[3] is None
    assert "no field 'text' or 'input'" in errors[2]
    sent = desk.sim.requests()
    assert embed(desk, "--resume").err == "2 rows done, 2 failed\n"
    assert desk.sim.requests() == sent
    assert sorted(row["_index"] for row in rows(desk.output)) == [0, 1, 2, 3]


@pytest.mark.parametrize("more", [("--dimensions", 3), ("-m", "n")])
def test_other_vectors_are_another_job(desk: Desk, more: tuple[object, ...]) -> None:
    desk.write("in.jsonl", {"text": "a"})
    embed(desk)
    done = embed(desk, "--resume", *more)
    assert done.status == 2


def test_one_recording_prints_its_text(desk: Desk) -> None:
    (desk.folder / "a.wav").write_bytes(b"RIFF" + bytes(100))
    url = desk.sim.url("openai")
    done = desk.run("transcribe", "-m", "whisper-1", "--api-base", url, "a.wav")
    assert (done.status, done.out) == (0, "You said: a.wav\n")


def test_recordings_of_a_file(desk: Desk) -> None:
    for name in ("a.wav", "b.wav"):
        (desk.folder / name).write_bytes(b"RIFF" + bytes(100 if name == "a.wav" else 5000))
    desk.write("in.jsonl", {"path": "a.wav"}, {"path": "none.wav"}, {"path": "b.wav"})
    done = desk.run(
        *("transcribe", "-m", "whisper-1", "--api-base", desk.sim.url("openai")),
        *("-i", "in.jsonl", "-o", "out.jsonl", "--max-bytes", 1000, "--language", "en"),
    )
    assert (done.status, done.err) == (1, "1 row done, 2 failed\n")
    found = {row["_index"]: row for row in rows(desk.output)}
    assert found[0]["text"] == "You said: a.wav"
    assert {"duration_s", "language", "request_id", "deployment"} <= found[0].keys()
    assert "none.wav" in found[1]["error"]
    assert "1000" in found[2]["error"].replace(",", "")
    assert desk.sim.requests() == 1
