"""Exceptions of the real SDKs and HTTP libraries, judged without importing them."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from google.genai import errors as genai_errors

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import Dialect
from llm_rotate.providers import dialect

WALL = 1_790_000_000.0
OPENAI, ANTHROPIC = dialect("openai"), dialect("anthropic")
REQUEST = httpx2.Request("POST", "https://api.test/v1/chat/completions")


def openai_error(status: int, body: Any, **headers: str) -> openai.APIError:
    """As the SDK makes it of an answer."""
    response = httpx2.Response(status, json=body, headers=headers, request=REQUEST)
    client = openai.OpenAI(api_key="k", base_url="https://api.test/v1")
    with client:
        return client._make_status_error_from_response(response)


def anthropic_error(status: int, body: Any, **headers: str) -> anthropic.APIError:
    response = httpx2.Response(status, json=body, headers=headers, request=REQUEST)
    client = anthropic.Anthropic(api_key="k", base_url="https://api.test")
    with client:
        return client._make_status_error_from_response(response)


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("status", "code", "outcome", "sign"),
    [
        (401, "invalid_api_key", Outcome.AUTH_FAILED, True),
        (429, "insufficient_quota", Outcome.QUOTA_EXHAUSTED, False),
        (429, "rate_limit_exceeded", Outcome.RATE_LIMITED, False),
        (404, "model_not_found", Outcome.MODEL_NOT_FOUND, False),
        (400, "context_length_exceeded", Outcome.BAD_REQUEST, False),
        (403, None, Outcome.FORBIDDEN, False),
        (503, None, Outcome.OVERLOADED, False),
    ],
)
def test_C05_an_openai_error_is_judged_by_its_answer(
    status: int, code: str | None, outcome: Outcome, sign: bool
) -> None:
    error = openai_error(status, {"error": {"message": "M", "type": None, "code": code}})
    verdict = OPENAI.classify(error, WALL)
    assert verdict is not None
    assert (verdict.outcome, verdict.key_sign, verdict.status) == (outcome, sign, status)
    assert verdict.error is error
    assert verdict.message == "M"


def test_C05_headers_of_an_sdk_error_are_read() -> None:
    error = openai_error(
        429, {"error": {"message": "M"}}, **{"Retry-After": "7", "x-request-id": "r"}
    )
    verdict = OPENAI.classify(error, WALL)
    assert verdict is not None
    assert (verdict.later_s, verdict.request_id) == (7.0, "r")


@pytest.mark.parametrize(
    ("status", "kind", "message", "outcome"),
    [
        (429, "rate_limit_error", "M", Outcome.RATE_LIMITED),
        (529, "overloaded_error", "M", Outcome.OVERLOADED),
        (200, "overloaded_error", "M", Outcome.OVERLOADED),
        (400, "invalid_request_error", "Your credit balance is too low", Outcome.QUOTA_EXHAUSTED),
        (401, "authentication_error", "M", Outcome.AUTH_FAILED),
    ],
)
def test_C05_an_anthropic_error_is_judged_by_its_answer(
    status: int, kind: str, message: str, outcome: Outcome
) -> None:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    verdict = ANTHROPIC.classify(anthropic_error(status, body), WALL)
    assert verdict is not None
    assert (verdict.outcome, verdict.message) == (outcome, message)


def test_an_openai_error_in_a_stream_has_no_status() -> None:
    error = openai.APIError("M", REQUEST, body={"message": "M", "code": "rate_limit_exceeded"})
    verdict = OPENAI.classify(error, WALL)
    assert verdict is not None
    assert verdict.outcome is Outcome.RATE_LIMITED


@pytest.mark.parametrize("sdk", [openai, anthropic])
@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        (httpx2.ConnectError("x"), Outcome.UNREACHABLE),
        (httpx2.ConnectTimeout("x"), Outcome.UNREACHABLE),
        (httpx.ReadError("x"), Outcome.SERVER_ERROR),
        (httpx2.RemoteProtocolError("x"), Outcome.SERVER_ERROR),
        (httpx.ReadTimeout("x"), Outcome.TIMED_OUT),
        (ValueError("x"), Outcome.SERVER_ERROR),
    ],
)
def test_a_connection_error_is_what_broke_beneath(
    sdk: Any, cause: BaseException, outcome: Outcome
) -> None:
    verdict = OPENAI.classify(caused(sdk.APIConnectionError(request=REQUEST), cause), WALL)
    assert verdict is not None
    assert verdict.outcome is outcome


@pytest.mark.parametrize("sdk", [openai, anthropic])
def test_an_sdk_timeout_is_a_timeout(sdk: Any) -> None:
    verdict = OPENAI.classify(sdk.APITimeoutError(request=REQUEST), WALL)
    assert verdict is not None
    assert verdict.outcome is Outcome.TIMED_OUT


@pytest.mark.parametrize("sdk", [openai, anthropic])
def test_an_answer_the_sdk_could_not_read_is_the_servers_fault(sdk: Any) -> None:
    response = httpx2.Response(200, request=REQUEST)
    verdict = OPENAI.classify(sdk.APIResponseValidationError(response, None), WALL)
    assert verdict is not None
    assert verdict.outcome is Outcome.SERVER_ERROR


@pytest.mark.parametrize("http", [httpx, httpx2])
def test_errors_of_the_http_libraries_themselves_are_judged(http: Any) -> None:
    request = http.Request("POST", "https://api.test")
    response = http.Response(429, headers={"retry-after": "3"}, json={}, request=request)
    answered = OPENAI.classify(http.HTTPStatusError("x", request=request, response=response), WALL)
    assert answered is not None
    assert (answered.outcome, answered.later_s) == (Outcome.RATE_LIMITED, 3.0)
    broken = OPENAI.classify(http.ReadError("x"), WALL)
    assert broken is not None
    assert broken.outcome is Outcome.SERVER_ERROR


def test_an_unread_stream_behind_an_error_is_judged_by_its_status() -> None:
    response = httpx2.Response(429, stream=httpx2.ByteStream(b"{}"), request=REQUEST)
    error = httpx2.HTTPStatusError("too many", request=REQUEST, response=response)
    verdict = OPENAI.classify(error, WALL)
    assert verdict is not None
    assert (verdict.outcome, verdict.message) == (Outcome.RATE_LIMITED, "too many")


class ConnectError(Exception):
    """A namesake of the HTTP libraries' class."""


class HTTPException(Exception):  # noqa: N818 - the frameworks name it so
    """As a web framework raises it for its own clients."""

    status_code = 429


@pytest.mark.parametrize("chosen", [OPENAI, ANTHROPIC], ids=lambda chosen: chosen.name)
@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("x"),
        TimeoutError("x"),
        ConnectionResetError("x"),
        OSError("x"),
        RuntimeError("x"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        GeneratorExit(),
        ConnectError("x"),
        HTTPException("x"),
        openai.OpenAIError("x"),
        openai.ContentFilterFinishReasonError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_C05_the_callers_own_errors_blame_nobody(chosen: Dialect, error: BaseException) -> None:
    assert chosen.classify(error, WALL) is None


@pytest.mark.parametrize(
    ("package", "names", "outcome"),
    [
        ("aiohttp", ["ClientConnectionError", "ClientOSError", "ClientConnectorError"], Outcome.UNREACHABLE),
        ("aiohttp", ["ClientConnectionError", "ServerDisconnectedError"], Outcome.SERVER_ERROR),
        ("aiohttp", ["ClientConnectionError", "ServerTimeoutError"], Outcome.TIMED_OUT),
        ("aiohttp", ["ClientPayloadError"], Outcome.SERVER_ERROR),
        ("requests", ["ConnectionError", "ConnectTimeout"], Outcome.UNREACHABLE),
        ("requests", ["Timeout", "ReadTimeout"], Outcome.TIMED_OUT),
    ],
)  # fmt: skip
def test_libraries_that_may_not_be_installed_are_known_by_their_class_names(
    package: str, names: list[str], outcome: Outcome
) -> None:
    cls: type[Exception] = Exception
    for name in names:
        cls = type(name, (cls,), {"__module__": f"{package}.exceptions"})
    verdict = OPENAI.classify(cls("x"), WALL)
    assert verdict is not None
    assert verdict.outcome is outcome


def test_C05_an_answer_that_googles_sdk_cannot_read_is_the_providers() -> None:
    error = genai_errors.UnknownApiResponseError("Failed to parse response as JSON")
    verdict = dialect("gemini").classify(error, 0.0)
    assert verdict is not None
    assert verdict.outcome is Outcome.SERVER_ERROR
