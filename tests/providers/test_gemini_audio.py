"""Transcription by Gemini: the recording inside JSON, read as it is sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import (
    Endpoint,
    Headers,
    Ready,
    TranscribeRequest,
    Upload,
    Verdict,
    operation,
)
from llm_rotate.errors import CapabilityError
from llm_rotate.providers import dialect

OPERATION = operation(dialect("gemini"), TranscribeRequest)
PLACE = Endpoint("google_ai_studio", "https://x.test")


def asked(sound: bytes = b"RIFF", step: int = 5, **options: Any) -> TranscribeRequest:
    def pieces() -> Iterator[bytes]:
        for at in range(0, len(sound), step):
            yield sound[at : at + step]

    audio = Upload(len(sound), pieces)
    return TranscribeRequest("gemini-2.5-flash", audio, "a.wav", "audio/wav", "B", options=options)


def sent(request: TranscribeRequest) -> dict[str, Any]:
    body = OPERATION.encode(request, PLACE)
    raw = b"".join(body)
    assert len(raw) == len(body)
    assert all(body), "no piece is empty"
    found: dict[str, Any] = json.loads(raw)
    return found


def parse(answer: Any, status: int = 200) -> Verdict[Any]:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return OPERATION.parse(asked(), status, Headers(()), raw, 0.0)


def said(text: str, finish: str = "STOP") -> dict[str, Any]:
    content = {"parts": [{"text": text}]} if text else {}
    return {
        "candidates": [{"content": content, "finishReason": finish}],
        "usageMetadata": {
            "promptTokenCount": 40, "candidatesTokenCount": 2, "totalTokenCount": 42,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 32}],
        },
        "responseId": "r1",
    }  # fmt: skip


@given(st.binary(max_size=60), st.integers(1, 9))
def test_the_recording_arrives_whole_however_it_is_read(sound, step):
    sound_part, words = sent(asked(sound, step))["contents"][0]["parts"]
    assert base64.b64decode(sound_part["inlineData"]["data"], validate=True) == sound
    assert sound_part["inlineData"]["mimeType"] == "audio/wav"
    assert "word for word" in words["text"]


def test_keywords_of_a_transcription_are_told_in_words_and_others_go_along():
    tricky = 'say "data":"@" twice'
    found = sent(asked(language="de", prompt=tricky, temperature=0, response_format="text"))
    told = found["contents"][0]["parts"][1]["text"]
    assert "The language is de." in told
    assert tricky in told
    assert found["generationConfig"] == {"temperature": 0}


def test_what_it_cannot_is_named():
    with pytest.raises(CapabilityError, match="response_format 'verbose_json'"):
        sent(asked(response_format="verbose_json"))
    small = Endpoint("g", "https://x.test", flags={"audio_bytes": 3})
    with pytest.raises(CapabilityError, match="a recording of 4 bytes; 3 is the most"):
        OPERATION.encode(asked(), small)


def test_the_request_is_a_call_of_generate_content():
    ready = Ready(PLACE, "", ((b"x-goog-api-key", b"s"),))
    request = OPERATION.build(asked(), b"", ready, 0.0)
    assert request.url == "https://x.test/v1beta/models/gemini-2.5-flash:generateContent"
    assert request.headers == ready.headers


def test_text_and_tokens_are_read():
    verdict = parse(said(" good morning\n"))
    assert (verdict.value.text, verdict.value.finish_reason) == ("good morning", "STOP")
    assert (verdict.used.total_tokens, verdict.used.audio_tokens) == (42, 32)
    assert verdict.request_id == "r1"
    assert parse(said("cut", "MAX_TOKENS")).value.finish_reason == "MAX_TOKENS"
    assert parse(said("")).value.text == ""


def test_a_refusal_is_one():
    verdict = parse(said("", "SAFETY"))
    assert (verdict.outcome, verdict.code) == (Outcome.CONTENT_FILTERED, "SAFETY")
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    assert parse(blocked).outcome is Outcome.CONTENT_FILTERED
    refused = {"error": {"code": 429, "message": "wait", "status": "RESOURCE_EXHAUSTED"}}
    assert parse(refused, 429).outcome is Outcome.RATE_LIMITED
    assert parse(b"words").outcome is Outcome.SERVER_ERROR
    assert parse({}).outcome is Outcome.SERVER_ERROR
