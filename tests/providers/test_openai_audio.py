"""OpenAI transcriptions: what is sent, and what is read from answers of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import (
    Endpoint,
    Headers,
    TranscribeRequest,
    Upload,
    Verdict,
    operation,
)
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import dialect
from llm_rotate.types import Usage

OPERATION = operation(dialect("openai"), TranscribeRequest)
PLAIN = Endpoint("openai", "https://x.test/v1")
NONE = Headers(())
SOUND = b"RIFF\r\n--B\r\n\x00\xff"


def asked(
    model: str = "whisper-1",
    sound: bytes = SOUND,
    filename: str = "talk.wav",
    is_bounded: bool = True,
    **options: Any,
) -> TranscribeRequest:
    def pieces() -> Iterator[bytes]:
        for at in range(0, len(sound), 4):
            yield sound[at : at + 4]

    audio = Upload(len(sound), pieces)
    return TranscribeRequest(model, audio, filename, "audio/wav", "XYZ", is_bounded, None, options)


def parts(request: TranscribeRequest, endpoint: Endpoint = PLAIN) -> list[Message]:
    """The parts of the body, as the standard library's parser of mail reads them."""
    body = OPERATION.encode(request, endpoint)
    raw = b"".join(body)
    assert len(raw) == len(body)
    assert b"".join(body) == raw, "a body can be sent again"
    found = message_from_bytes(b"Content-Type: multipart/form-data; boundary=XYZ\r\n\r\n" + raw)
    assert found.is_multipart()
    return found.get_payload()  # type: ignore[return-value]


def name_of(part: Message) -> str:
    return str(part.get_param("name", header="content-disposition"))


def fields(**options: Any) -> list[tuple[str, str]]:
    *found, file = parts(asked(**options))
    assert name_of(file) == "file"
    return [(name_of(part), str(part.get_payload())) for part in found]


def parse(answer: Any, status: int = 200, **options: Any) -> Verdict[Any]:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return OPERATION.parse(asked(**options), status, NONE, raw, 0.0)


def test_the_form_carries_the_file_as_it_is_behind_the_fields():
    file = parts(asked())[-1]
    assert file.get_payload(decode=True) == SOUND
    assert (file.get_filename(), file.get_content_type()) == ("talk.wav", "audio/wav")


def test_whisper_is_asked_for_all_it_knows_and_newer_models_for_what_they_have():
    assert fields() == [("model", "whisper-1"), ("response_format", "verbose_json")]
    assert fields(model="gpt-4o-transcribe") == [("model", "gpt-4o-transcribe")]
    assert ("response_format", "text") in fields(response_format="text")


def test_keywords_become_fields():
    found = fields(
        model="m",
        language="de",
        temperature=0.2,
        timestamp_granularities=["word", "segment"],
        chunking_strategy={"type": "server_vad", "threshold": 0.5},
        flag=True,
        prompt=None,
    )
    assert found == [
        ("model", "m"),
        ("language", "de"),
        ("temperature", "0.2"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("chunking_strategy[type]", "server_vad"),
        ("chunking_strategy[threshold]", "0.5"),
        ("flag", "true"),
    ]


@given(st.text())
def test_no_filename_breaks_out_of_its_line(name):
    body = b"".join(OPERATION.encode(asked(filename=name), PLAIN))
    assert body.count(b"\r\n--XYZ\r\n") == 2
    line = body.split(b'name="file"; filename="')[1].split(b"\r\n")[0]
    assert line.count(b'"') == 1
    assert b"\n" not in line


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "https://x.test/audio/transcriptions"),
        ({"azure": True}, "https://x.test/openai/v1/audio/transcriptions"),
        (
            {"azure": True, "api_version": "2024-10-21"},
            "https://x.test/openai/deployments/my-d/audio/transcriptions?api-version=2024-10-21",
        ),
    ],
)
def test_the_request_goes_to_the_services_place_as_a_form(flags, expected):
    ready = dialect("openai").prepare("s", Endpoint("p", "https://x.test", flags=flags))
    sent = OPERATION.build(asked("my-d"), b"", ready, 0.0)
    assert sent.url == expected
    headers = dict(sent.headers)
    assert headers[b"content-type"] == b"multipart/form-data; boundary=XYZ"
    assert headers[b"authorization"] == b"Bearer s"
    assert len(headers) == len(sent.headers)


def test_B04_what_a_service_does_not_take_is_refused_by_its_size_alone():
    small = Endpoint("tiny", "https://x.test", flags={"audio_bytes": 5})

    def unread() -> Iterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    request = TranscribeRequest("m", Upload(6, unread), "a.wav", "audio/wav", "XYZ")
    with pytest.raises(CapabilityError, match="tiny cannot carry a recording of 6 bytes; 5 is"):
        OPERATION.encode(request, small)
    assert len(OPERATION.encode(asked(sound=b"123456", is_bounded=False), small)) > 6
    assert OPERATION.bounds("m", PLAIN).size == 25 * 1024 * 1024


def test_text_language_length_and_times_are_read():
    segments = [{"id": 0, "start": 0.0, "end": 2.5, "text": "hello"}]
    answer = {
        "text": "hello", "language": "german", "duration": "2.5", "segments": segments,
        "words": [{"word": "hello", "start": 0.1, "end": 0.4}, 7],
    }  # fmt: skip
    value = parse(answer).value
    assert (value.text, value.language, value.duration_s) == ("hello", "german", 2.5)
    assert value.segments == segments
    assert value.words == [{"word": "hello", "start": 0.1, "end": 0.4}]
    assert value.raw == answer


def test_usage_in_tokens_and_in_seconds():
    tokens = {
        "type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
    }  # fmt: skip
    verdict = parse({"text": "a", "usage": tokens})
    assert verdict.used == Usage(14, 45, 59, audio_tokens=14)
    verdict = parse({"text": "a", "usage": {"type": "duration", "seconds": 3}})
    assert (verdict.used, verdict.value.duration_s) == (Usage(), 3.0)


def test_a_format_that_is_no_json_is_text_as_it_came():
    assert parse(b"hello\n", response_format="text").value.text == "hello"
    assert parse(b"1\n00:00 --> 00:01\nhi\n\n", response_format="srt").value.text.endswith("hi\n")


@pytest.mark.parametrize("answer", [b"plain", [], {}, {"text": None}, "a", {"text": ["a"]}])
def test_an_answer_without_text_is_broken(answer):
    assert parse(answer).outcome is Outcome.SERVER_ERROR


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "usage", "duration", "segments", "seconds", "error"]), inner)))  # fmt: skip
def test_no_answer_makes_the_parser_raise(answer):
    assert parse(answer).outcome is not None


def test_an_error_is_judged_as_in_a_chat():
    refused = {"error": {"message": "no", "code": "rate_limit_exceeded"}}
    assert parse(refused, 429).outcome is Outcome.RATE_LIMITED
    assert parse({"error": "Invalid file format."}, 400).outcome is Outcome.BAD_REQUEST


def test_a_deployment_named_otherwise_is_asked_for_all_that_its_model_knows():
    place = Endpoint(
        "azure_openai",
        "https://x.test",
        flags={"azure": True, "deployments": {"whisper-1": "ears"}},
    )
    ready = dialect("openai").prepare("s", place)
    sent = OPERATION.build(asked(), OPERATION.encode(asked(), place), ready, 0.0)
    raw = b"".join(sent.body)
    assert b"ears" in raw
    assert b"verbose_json" in raw
