"""Error answers: every row, every status, every shape of body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import Headers, Verdict
from llm_rotate.providers.faults import ANTHROPIC, BY_STATUS, OPENAI, Tongue, judge
from llm_rotate.providers.told import from_value

WALL = 1_790_000_000.0


def openai(message: str = "no", code: str | int | None = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": more.pop("type", None), "code": code, **more}}


def anthropic(kind: str, message: str = "no", error_code: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"type": kind, "message": message}
    if error_code:
        error["details"] = {"error_code": error_code}
    return {"type": "error", "error": error, "request_id": "req_1"}


UPSTREAM = {"provider_name": "Some Cloud", "raw": "busy"}
PINNED = True
# (tongue, status, body, pinned, outcome, key sign): at least one for every row.
SAMPLES: list[tuple[Tongue, int, dict[str, Any], bool, Outcome, bool]] = [
    (OPENAI, 429, openai(code="insufficient_quota"), False, Outcome.QUOTA_EXHAUSTED, False),
    (OPENAI, 429, openai(type="insufficient_quota"), False, Outcome.QUOTA_EXHAUSTED, False),
    (OPENAI, 429, openai(code="billing_not_active"), False, Outcome.QUOTA_EXHAUSTED, False),
    (OPENAI, 400, openai(code="billing_hard_limit_reached"), False, Outcome.QUOTA_EXHAUSTED, False),
    (OPENAI, 403, openai(type="exceeded_current_quota_error"), False, Outcome.QUOTA_EXHAUSTED, False),
    (OPENAI, 401, openai(code="invalid_api_key"), False, Outcome.AUTH_FAILED, True),
    (OPENAI, 401, openai(code="account_deactivated"), False, Outcome.AUTH_FAILED, True),
    (OPENAI, 401, openai(type="incorrect_api_key_error"), False, Outcome.AUTH_FAILED, True),
    (OPENAI, 401, openai(type="authentication_error", code="invalid_request_error"), False, Outcome.AUTH_FAILED, True),
    (OPENAI, 401, openai(type="invalid_authentication_error"), False, Outcome.AUTH_FAILED, True),
    (OPENAI, 400, openai(code=400, details=[{"reason": "API_KEY_INVALID"}]), False, Outcome.AUTH_FAILED, True),
    (OPENAI, 400, openai(code=400, details=[{"reason": "API_KEY_EXPIRED"}]), False, Outcome.AUTH_FAILED, True),
    (OPENAI, 413, openai(code="rate_limit_exceeded"), False, Outcome.TOO_LARGE_FOR_KEY, False),
    (OPENAI, 429, openai("Request too large for gpt-x", "rate_limit_exceeded"), False, Outcome.TOO_LARGE_FOR_KEY, False),
    (OPENAI, 429, openai(code="rate_limit_exceeded"), False, Outcome.RATE_LIMITED, False),
    (OPENAI, 404, openai(code="model_not_found"), False, Outcome.MODEL_NOT_FOUND, False),
    (OPENAI, 403, openai(code="model_not_found"), False, Outcome.MODEL_NOT_FOUND, False),
    (OPENAI, 400, openai(code="model_decommissioned"), False, Outcome.MODEL_NOT_FOUND, False),
    (OPENAI, 404, openai(code="DeploymentNotFound"), False, Outcome.MODEL_NOT_FOUND, False),
    (OPENAI, 404, openai(code="unknown_url"), False, Outcome.BAD_REQUEST, False),
    (OPENAI, 400, openai(code="context_length_exceeded"), False, Outcome.BAD_REQUEST, False),
    (OPENAI, 400, openai(code="content_policy_violation"), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 400, openai(code="moderation_blocked"), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 404, openai("This model is only supported in v1/responses and not in v1/chat/completions."), False, Outcome.BAD_REQUEST, False),
    (OPENAI, 404, openai("This is not a chat model and thus not supported in the v1/chat/completions endpoint."), False, Outcome.BAD_REQUEST, False),
    (OPENAI, 400, openai(code="image_content_policy_violation"), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 400, openai(code="misalignment_policy_violation"), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 400, openai(code="bio_policy"), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 400, openai("This breaks our usage policies", "invalid_prompt"), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 400, openai("Limited for safety reasons", "invalid_prompt"), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 400, openai("A schema is malformed", "invalid_prompt"), False, Outcome.BAD_REQUEST, False),
    (OPENAI, 400, openai(code="content_filter"), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 400, openai(innererror={"code": "ResponsibleAIPolicyViolation"}), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 429, openai(type="engine_overloaded_error"), False, Outcome.OVERLOADED, False),
    (OPENAI, 403, openai(code=403, metadata={"reasons": ["violence"]}), False, Outcome.CONTENT_FILTERED, False),
    (OPENAI, 403, openai(code=403), False, Outcome.FORBIDDEN, False),
    (OPENAI, 402, openai(code=402), False, Outcome.QUOTA_EXHAUSTED, False),
    (OPENAI, 429, openai(code=429, metadata=UPSTREAM), PINNED, Outcome.UPSTREAM_FAILED, False),
    (OPENAI, 429, openai(code=429, metadata=UPSTREAM), False, Outcome.RATE_LIMITED, False),
    (OPENAI, 429, openai(code=429), PINNED, Outcome.RATE_LIMITED, False),
    (OPENAI, 502, openai(code=502, metadata=UPSTREAM), PINNED, Outcome.UPSTREAM_FAILED, False),
    (OPENAI, 502, openai(code=502, metadata=UPSTREAM), False, Outcome.SERVER_ERROR, False),
    (OPENAI, 503, openai(code=503), PINNED, Outcome.UPSTREAM_FAILED, False),
    (OPENAI, 503, openai(code=503), False, Outcome.OVERLOADED, False),
    (OPENAI, 404, openai("No allowed providers are there", 404), PINNED, Outcome.UPSTREAM_FAILED, False),
    (OPENAI, 429, openai("You exceeded your current quota"), False, Outcome.QUOTA_EXHAUSTED, False),
    (OPENAI, 400, openai("Incorrect API key provided: ab"), False, Outcome.AUTH_FAILED, True),
    (OPENAI, 404, openai("Invalid URL (POST /v1/cat)"), False, Outcome.BAD_REQUEST, False),
    (OPENAI, 404, openai("nothing here"), False, Outcome.MODEL_NOT_FOUND, False),
    (ANTHROPIC, 429, anthropic("rate_limit_error", error_code="enforced_spend_limit_reached"), False, Outcome.QUOTA_EXHAUSTED, False),
    (ANTHROPIC, 429, anthropic("rate_limit_error", error_code="contract_spend_limit_reached"), False, Outcome.QUOTA_EXHAUSTED, False),
    (ANTHROPIC, 429, anthropic("rate_limit_error", error_code="linked_organization_spend_limit_reached"), False, Outcome.QUOTA_EXHAUSTED, False),
    (ANTHROPIC, 400, anthropic("invalid_request_error", error_code="organization_on_hold"), False, Outcome.AUTH_FAILED, True),
    (ANTHROPIC, 402, anthropic("billing_error"), False, Outcome.QUOTA_EXHAUSTED, False),
    (ANTHROPIC, 401, anthropic("authentication_error"), False, Outcome.AUTH_FAILED, True),
    (ANTHROPIC, 403, anthropic("permission_error"), False, Outcome.FORBIDDEN, False),
    (ANTHROPIC, 404, anthropic("not_found_error", "model: claude-x"), False, Outcome.MODEL_NOT_FOUND, False),
    (ANTHROPIC, 413, anthropic("request_too_large"), False, Outcome.BAD_REQUEST, False),
    (ANTHROPIC, 429, anthropic("rate_limit_error"), False, Outcome.RATE_LIMITED, False),
    (ANTHROPIC, 500, anthropic("api_error"), False, Outcome.SERVER_ERROR, False),
    (ANTHROPIC, 504, anthropic("timeout_error"), False, Outcome.TIMED_OUT, False),
    (ANTHROPIC, 529, anthropic("overloaded_error"), False, Outcome.OVERLOADED, False),
    (ANTHROPIC, 400, anthropic("invalid_request_error", "Your credit balance is too low"), False, Outcome.QUOTA_EXHAUSTED, False),
    (ANTHROPIC, 400, anthropic("invalid_request_error", "This organization has been disabled."), False, Outcome.AUTH_FAILED, True),
    (ANTHROPIC, 400, anthropic("invalid_request_error", "Blocked by content filtering policy"), False, Outcome.CONTENT_FILTERED, False),
    (ANTHROPIC, 400, anthropic("invalid_request_error", "prompt is too long"), False, Outcome.BAD_REQUEST, False),
]  # fmt: skip


def judged(
    tongue: Tongue, status: int | None, body: object, *, pinned: bool = False, **headers: str
) -> Verdict[Any]:
    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return judge(tongue, status, Headers(raw), body, WALL, pinned=pinned)


@pytest.mark.parametrize(("tongue", "status", "body", "pinned", "outcome", "sign"), SAMPLES)
def test_each_error_is_what_its_row_says(
    tongue: Tongue, status: int, body: Any, pinned: bool, outcome: Outcome, sign: bool
) -> None:
    verdict = judged(tongue, status, json.dumps(body).encode(), pinned=pinned)
    assert (verdict.outcome, verdict.key_sign) == (outcome, sign)
    assert verdict.status == status
    assert verdict.message
    assert verdict.body == body


@pytest.mark.parametrize("tongue", [OPENAI, ANTHROPIC])
def test_every_row_decides_a_sample_and_names_its_source(tongue: Tongue) -> None:
    decided = set()
    for of, status, body, pinned, _, _ in SAMPLES:
        told = from_value(body).with_mark("pinned") if pinned else from_value(body)
        text = told.message.lower()
        if of is tongue:
            decided.add(next((r for r in tongue.rows if r.fits(status, told, text)), None))
    assert set(tongue.rows) - decided == set()
    assert all(row.source for row in tongue.rows)


@pytest.mark.parametrize("tongue", [OPENAI, ANTHROPIC])
def test_codes_decide_before_marks_and_marks_before_text(tongue: Tongue) -> None:
    def rank(index: int) -> int:
        row = tongue.rows[index]
        return 0 if row.code else 1 if row.marks else 2

    ranks = [rank(index) for index in range(len(tongue.rows))]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("tongue", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize(
    ("status", "outcome"),
    [*BY_STATUS.items(), (400, Outcome.BAD_REQUEST), (413, Outcome.BAD_REQUEST),
     (422, Outcome.BAD_REQUEST), (418, Outcome.BAD_REQUEST), (301, Outcome.BAD_REQUEST),
     (500, Outcome.SERVER_ERROR), (502, Outcome.SERVER_ERROR), (599, Outcome.SERVER_ERROR)],
)  # fmt: skip
def test_an_error_without_a_word_goes_by_its_status(
    tongue: Tongue, status: int, outcome: Outcome
) -> None:
    verdict = judged(tongue, status, b"")
    assert verdict.outcome is outcome
    assert str(status) in verdict.message
    assert verdict.key_sign is False


def test_R08_a_plain_429_that_speaks_of_billing_is_a_rate_limit() -> None:
    body = openai(
        "Rate limit reached. Visit our billing page; you exceeded your current quota",
        "rate_limit_exceeded",
        type="requests",
    )
    assert judged(OPENAI, 429, body).outcome is Outcome.RATE_LIMITED


def test_R08_no_short_rest_goes_with_an_empty_purse() -> None:
    verdict = judged(OPENAI, 429, openai(code="insufficient_quota"), retry_after="1")
    assert (verdict.outcome, verdict.later_s) == (Outcome.QUOTA_EXHAUSTED, None)


def test_R11_the_time_stated_goes_into_the_verdict() -> None:
    assert judged(OPENAI, 429, openai(), retry_after="7").later_s == 7.0
    assert judged(OPENAI, 503, openai(), retry_after_ms="1500").later_s == 1.5
    empty = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6m0s"}
    assert judged(OPENAI, 429, openai(), **empty).later_s == 360.0
    assert judged(OPENAI, 429, openai(details=[{"retryDelay": "34s"}])).later_s == 34.0
    reset = {
        "anthropic_ratelimit_requests_remaining": "0",
        "anthropic_ratelimit_requests_reset": "2026-09-21T14:13:25Z",
    }
    assert judged(ANTHROPIC, 429, anthropic("rate_limit_error"), **reset).later_s == 5.0


def test_a_rate_limit_header_says_nothing_about_another_fault() -> None:
    empty = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6m0s"}
    assert judged(OPENAI, 500, openai(), **empty).later_s is None


def test_a_time_that_a_broker_passes_on_in_the_body_counts() -> None:
    passed_on = {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1790000020000"}}
    assert judged(OPENAI, 429, openai(metadata=passed_on)).later_s == 20.0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "M"}}', "M"),
        (b'{"error": "M"}', "M"),
        (b'{"error": "M", "code": "c"}', "M"),
        (b'{"detail": "M"}', "M"),
        (b'{"detail": [{"loc": ["body", "x"], "msg": "M"}, {"msg": "N"}]}', "M; N"),
        (b'{"message": "M"}', "M"),
        (b'{"error": {"code": 5}, "message": "M"}', "M"),
        (b'[{"error": {"message": "M"}}]', "M"),
        (b'"M"', "M"),
        (b"  M\n", "M"),
        (b"<html><head><title>502 Bad &amp; Gone</title></head><body>x</body></html>", "502 Bad & Gone"),
        (b"<html><body><h1>Bad</h1>\n<p>gone</p></body></html>", "Bad gone"),
        (b"caf\xe9", "caf\ufffd"),
        (b'{"error": {"message": "caf\xe9"}}', "caf\ufffd"),
        (b'{"error": {"message": "cut', '{"error": {"message": "cut'),
        (b'{"error": {"message": "M", "metadata": {"raw": "deeper"}}}', "M: deeper"),
    ],
)  # fmt: skip
def test_any_shape_of_body_gives_a_readable_message(body: bytes, message: str) -> None:
    assert judged(OPENAI, 500, body).message == message


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"5", b'{"error": null}', b"[[[]]]"])
def test_a_body_that_says_nothing_still_gives_a_message(body: bytes) -> None:
    assert "500" in judged(OPENAI, 500, body).message


def test_an_endless_body_gives_a_bounded_message() -> None:
    for body in (b"x" * 10_000_000, b"<" * 1_000_000, b"[" * 1_000_000, b"<p>" * 300_000):
        verdict = judged(OPENAI, 500, body)
        assert len(verdict.message) <= 2_000
        assert len(str(verdict.body)) <= 2_000


def test_the_call_is_named_by_header_or_body() -> None:
    assert judged(OPENAI, 500, b"", x_request_id="r1").request_id == "r1"
    assert judged(ANTHROPIC, 500, b"", request_id="r2").request_id == "r2"
    assert judged(ANTHROPIC, 500, anthropic("api_error")).request_id == "req_1"


@pytest.mark.parametrize(
    ("tongue", "body", "outcome"),
    [
        (OPENAI, openai(code="rate_limit_exceeded"), Outcome.RATE_LIMITED),
        (OPENAI, openai(code=502), Outcome.SERVER_ERROR),
        (OPENAI, openai(code="429"), Outcome.RATE_LIMITED),
        (OPENAI, openai(type="invalid_request_error"), Outcome.BAD_REQUEST),
        (OPENAI, openai(type="server_error"), Outcome.SERVER_ERROR),
        (OPENAI, openai(), Outcome.SERVER_ERROR),
        (ANTHROPIC, anthropic("overloaded_error"), Outcome.OVERLOADED),
        (ANTHROPIC, anthropic("invalid_request_error", "Your credit balance is too low"), Outcome.QUOTA_EXHAUSTED),
        (ANTHROPIC, anthropic("new_error"), Outcome.SERVER_ERROR),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [None, 200])
def test_an_error_under_200_goes_by_what_it_states(
    tongue: Tongue, body: Any, outcome: Outcome, status: int | None
) -> None:
    assert judged(tongue, status, body).outcome is outcome
