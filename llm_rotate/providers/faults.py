"""Which outcome an error answer is: one table per dialect, one row per thing a provider says.

Rows are read from the top and the first that fits decides; codes and types come before
marks, and text, which providers reword, comes last. What no row knows goes by its status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.outcome import Outcome
from ..core.retry_after import in_details, later_s
from ..core.wire import Headers, Verdict
from .limit_headers import ANTHROPIC_LIMITS, OPENAI_LIMITS, LimitHeaders
from .told import Told, bare_code, from_body, from_value

# Where rows are from: the provider's own pages, or public reports that quote the answer.
_OPENAI = "https://platform.openai.com/docs/guides/error-codes"
_OPENAI_INACTIVE = "https://github.com/BerriAI/litellm/issues/2743"
_OPENAI_HARD_LIMIT = "https://github.com/Decryptu/DecryptGPT/issues/1"
_OPENAI_DEACTIVATED = "https://github.com/nat/openplayground/issues/143"
_OPENAI_TOO_LARGE = "https://github.com/TheR1D/shell_gpt/issues/653"
_OPENAI_UNKNOWN_URL = "https://github.com/InternLM/MindSearch/issues/150"
_OPENAI_INVALID_URL = "https://github.com/harry0703/MoneyPrinterTurbo/issues/57"
_OPENAI_POLICY = "https://github.com/alan-turing-institute/t0-1/issues/69"
_OPENAI_SDK = "codes of a failed response in the openai package, version 3"
_OPENAI_RESPONSES = "https://github.com/n8n-io/n8n/issues/18352"
_OPENAI_NO_CHAT = "https://github.com/micz/ThunderAI/issues/570"
_OPENAI_SAFETY = "https://github.com/microsoft/PyRIT/pull/1463"
_AZURE = "https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter"
_AZURE_REST = "https://learn.microsoft.com/azure/ai-foundry/openai/reference"
_OPENROUTER = "https://openrouter.ai/docs/api-reference/errors"
_OPENROUTER_PIN = "https://github.com/farion1231/cc-switch/issues/995"
_GROQ = "https://console.groq.com/docs/errors"
_GROQ_GONE = "https://github.com/atiilla/sqlmap-ai/issues/3"
_DEEPSEEK = "https://github.com/deepseek-ai/DeepSeek-R1/issues/82"
_MOONSHOT = "https://platform.kimi.ai/docs/api/errors"
_MOONSHOT_QUOTA = "https://github.com/MoonshotAI/Kimi-K2/issues/5"
_MOONSHOT_BUSY = "https://github.com/MoonshotAI/MoonshotAI-Cookbook/issues/16"
_GEMINI = "https://ai.google.dev/gemini-api/docs/troubleshooting"
_GOOGLE_REASONS = (
    "https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto"
)
_GEMINI_QUOTA = "https://ai.google.dev/gemini-api/docs/rate-limits"
_GEMINI_POLICY = "https://cloud.google.com/vertex-ai/generative-ai/docs/image/responsible-ai-imagen"
_GEMINI_TOKENS = "https://ai.google.dev/gemini-api/docs/long-context"
_XAI = "https://github.com/continuedev/continue/issues/10778"
_ANTHROPIC = "https://platform.claude.com/docs/en/api/errors"
_ANTHROPIC_SDK = "error details of the anthropic package, version 2"
_ANTHROPIC_CREDIT = "https://github.com/anthropics/claude-quickstarts/issues/229"
_ANTHROPIC_DISABLED = "https://github.com/anthropics/claude-code/issues/19028"
_ANTHROPIC_FILTER = "https://github.com/anthropics/claude-code/issues/6195"


_AWS = "https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html"
_BEDROCK = "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"
_BEDROCK_KEY = "https://github.com/ai4s-research/open-science/issues/53"
_BEDROCK_DAY = "https://github.com/minorun365/agent-book/issues/29"
_BEDROCK_ON_DEMAND = "https://github.com/anthropics/claude-code/issues/1466"
_BEDROCK_MODEL = (
    "cassette test_bedrock_error in the tests of https://github.com/pydantic/pydantic-ai"
)
_AWS_SESSION = "https://github.com/Aider-AI/aider/issues/1986"


@dataclass(frozen=True, slots=True)
class Row:
    """``status``, ``code`` (code or type), every mark in ``marks`` and ``text`` (part of the
    message) must fit, lower case; what is empty fits all. ``source`` is where it is written.
    ``key_sign``: the answer names this very key, or its account, as bad. ``is_of_model``: the
    allowance is that of the model alone.
    """

    outcome: Outcome
    source: str
    status: int | None = None
    code: str = ""
    marks: frozenset[str] = frozenset()
    text: str = ""
    key_sign: bool = False
    is_of_model: bool = False

    def fits(self, status: int, told: Told, text: str) -> bool:
        return (
            (self.status is None or self.status == status)
            and (not self.code or self.code in told.codes)
            and self.marks <= told.marks
            and self.text in text
        )


@dataclass(frozen=True, slots=True)
class Tongue:
    """How one dialect speaks of faults.

    ``statuses`` is what a code or type means where no status goes with it (an error event
    under 200). ``buckets`` are the header pairs (remaining, reset) of its rate limits
    that say when to come back, ``limits`` all that they say. ``code_header``: the header that
    names the error.
    """

    rows: tuple[Row, ...]
    statuses: Mapping[str, int]
    limits: tuple[LimitHeaders, ...] = ()
    buckets: tuple[tuple[str, str], ...] = ()
    code_header: str = ""


BY_STATUS: Mapping[int, Outcome] = {
    401: Outcome.AUTH_FAILED,
    402: Outcome.QUOTA_EXHAUSTED,
    403: Outcome.FORBIDDEN,
    # A chat's path and body name nothing else that could be missing; a wrong base_url looks
    # the same and concerns this key's endpoint alone. Known words for a wrong path have rows.
    404: Outcome.MODEL_NOT_FOUND,
    408: Outcome.TIMED_OUT,
    409: Outcome.SERVER_ERROR,
    424: Outcome.SERVER_ERROR,
    425: Outcome.SERVER_ERROR,
    429: Outcome.RATE_LIMITED,
    498: Outcome.OVERLOADED,  # Groq, flex tier: no capacity
    503: Outcome.OVERLOADED,
    504: Outcome.TIMED_OUT,
    524: Outcome.TIMED_OUT,  # Cloudflare: the origin took too long
    529: Outcome.OVERLOADED,
}

_PINNED = frozenset({"pinned"})
_PINNED_NAMED = frozenset({"pinned", "provider_name"})
_MODERATED = frozenset({"reasons"})

# What a response may fail for that has taken an image in: the request's own matter.
_OF_IMAGES = (
    "invalid_image",
    "invalid_image_format",
    "invalid_base64_image",
    "invalid_image_url",
    "image_too_large",
    "image_too_small",
    "image_parse_error",
    "invalid_image_mode",
    "image_file_too_large",
    "unsupported_image_media_type",
    "empty_image_file",
    "failed_to_download_image",
    "image_file_not_found",
)

OPENAI = Tongue(
    rows=(
        Row(Outcome.QUOTA_EXHAUSTED, _OPENAI, code="insufficient_quota"),
        Row(Outcome.QUOTA_EXHAUSTED, _OPENAI_INACTIVE, code="billing_not_active"),
        Row(Outcome.QUOTA_EXHAUSTED, _OPENAI_HARD_LIMIT, code="billing_hard_limit_reached"),
        Row(Outcome.QUOTA_EXHAUSTED, _MOONSHOT_QUOTA, code="exceeded_current_quota_error"),
        Row(Outcome.AUTH_FAILED, _OPENAI, code="invalid_api_key", key_sign=True),
        Row(Outcome.AUTH_FAILED, _OPENAI_DEACTIVATED, code="account_deactivated", key_sign=True),
        Row(Outcome.AUTH_FAILED, _MOONSHOT, code="incorrect_api_key_error", key_sign=True),
        Row(Outcome.AUTH_FAILED, _DEEPSEEK, code="authentication_error", key_sign=True),
        Row(Outcome.AUTH_FAILED, _MOONSHOT, code="invalid_authentication_error", key_sign=True),
        Row(Outcome.AUTH_FAILED, _GEMINI, code="api_key_invalid", key_sign=True),
        Row(Outcome.AUTH_FAILED, _GEMINI, code="api_key_expired", key_sign=True),
        Row(Outcome.TOO_LARGE_FOR_KEY, _GROQ, 413, "rate_limit_exceeded"),
        Row(
            Outcome.TOO_LARGE_FOR_KEY,
            _OPENAI_TOO_LARGE,
            429,
            "rate_limit_exceeded",
            text="request too large for",
        ),
        Row(Outcome.RATE_LIMITED, _OPENAI, 429, "rate_limit_exceeded"),
        Row(Outcome.MODEL_NOT_FOUND, _OPENAI, code="model_not_found"),
        Row(Outcome.MODEL_NOT_FOUND, _GROQ_GONE, code="model_decommissioned"),
        Row(Outcome.MODEL_NOT_FOUND, _AZURE_REST, code="deploymentnotfound"),
        Row(Outcome.BAD_REQUEST, _OPENAI_UNKNOWN_URL, 404, "unknown_url"),
        Row(Outcome.BAD_REQUEST, _OPENAI, code="context_length_exceeded"),
        Row(Outcome.CONTENT_FILTERED, _OPENAI, code="content_policy_violation"),
        Row(Outcome.CONTENT_FILTERED, _OPENAI_SAFETY, code="moderation_blocked"),
        Row(Outcome.CONTENT_FILTERED, _OPENAI_SDK, code="image_content_policy_violation"),
        Row(Outcome.CONTENT_FILTERED, _OPENAI_SDK, code="misalignment_policy_violation"),
        Row(Outcome.CONTENT_FILTERED, _OPENAI_SDK, code="bio_policy"),
        Row(Outcome.CONTENT_FILTERED, _OPENAI_POLICY, 400, "invalid_prompt", text="usage polic"),
        Row(Outcome.CONTENT_FILTERED, _OPENAI_SAFETY, 400, "invalid_prompt", text="safety reasons"),
        Row(Outcome.CONTENT_FILTERED, _AZURE, code="content_filter"),
        Row(Outcome.CONTENT_FILTERED, _AZURE, code="responsibleaipolicyviolation"),
        Row(Outcome.OVERLOADED, _MOONSHOT_BUSY, code="engine_overloaded_error"),
        Row(Outcome.CONTENT_FILTERED, _OPENROUTER, 403, marks=_MODERATED),
        Row(Outcome.UPSTREAM_FAILED, _OPENROUTER, 429, marks=_PINNED_NAMED),
        Row(Outcome.UPSTREAM_FAILED, _OPENROUTER, 502, marks=_PINNED),
        Row(Outcome.UPSTREAM_FAILED, _OPENROUTER, 503, marks=_PINNED),
        Row(
            Outcome.UPSTREAM_FAILED,
            _OPENROUTER_PIN,
            404,
            marks=_PINNED,
            text="no allowed providers",
        ),
        Row(Outcome.QUOTA_EXHAUSTED, _OPENAI, 429, text="exceeded your current quota"),
        Row(Outcome.AUTH_FAILED, _XAI, 400, text="incorrect api key provided", key_sign=True),
        Row(Outcome.BAD_REQUEST, _OPENAI_INVALID_URL, 404, text="invalid url"),
        # The model is there, but not at this endpoint: no key can change that.
        Row(Outcome.BAD_REQUEST, _OPENAI_RESPONSES, 404, text="only supported in v1/responses"),
        Row(Outcome.BAD_REQUEST, _OPENAI_NO_CHAT, 404, text="not supported in the v1/chat/"),
    ),
    statuses={
        "invalid_request_error": 400,
        "context_length_exceeded": 400,
        "content_filter": 400,
        "invalid_prompt": 400,
        "data_residency_mismatch": 400,
        **dict.fromkeys(_OF_IMAGES, 400),
        "vector_store_timeout": 504,
        "authentication_error": 401,
        "invalid_api_key": 401,
        "insufficient_quota": 429,
        "permission_error": 403,
        "not_found_error": 404,
        "model_not_found": 404,
        "rate_limit_exceeded": 429,
        "rate_limit_error": 429,
        "server_error": 500,
        "api_error": 500,
        "timeout": 504,
        "overloaded_error": 529,
    },
    limits=OPENAI_LIMITS,
    buckets=(
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
        ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ),
)

ANTHROPIC = Tongue(
    rows=(
        Row(Outcome.QUOTA_EXHAUSTED, _ANTHROPIC_SDK, code="enforced_spend_limit_reached"),
        Row(Outcome.QUOTA_EXHAUSTED, _ANTHROPIC_SDK, code="contract_spend_limit_reached"),
        Row(
            Outcome.QUOTA_EXHAUSTED, _ANTHROPIC_SDK, code="linked_organization_spend_limit_reached"
        ),
        Row(Outcome.AUTH_FAILED, _ANTHROPIC_SDK, code="organization_on_hold", key_sign=True),
        Row(Outcome.QUOTA_EXHAUSTED, _ANTHROPIC, code="billing_error"),
        Row(Outcome.AUTH_FAILED, _ANTHROPIC, code="authentication_error", key_sign=True),
        Row(Outcome.FORBIDDEN, _ANTHROPIC, code="permission_error"),
        Row(Outcome.MODEL_NOT_FOUND, _ANTHROPIC, code="not_found_error"),
        Row(Outcome.BAD_REQUEST, _ANTHROPIC, code="request_too_large"),
        Row(Outcome.RATE_LIMITED, _ANTHROPIC, code="rate_limit_error"),
        Row(Outcome.SERVER_ERROR, _ANTHROPIC, 500, "api_error"),
        Row(Outcome.TIMED_OUT, _ANTHROPIC, code="timeout_error"),
        Row(Outcome.OVERLOADED, _ANTHROPIC, code="overloaded_error"),
        Row(Outcome.QUOTA_EXHAUSTED, _ANTHROPIC_CREDIT, 400, text="credit balance is too low"),
        Row(
            Outcome.AUTH_FAILED,
            _ANTHROPIC_DISABLED,
            400,
            text="organization has been disabled",
            key_sign=True,
        ),
        Row(Outcome.CONTENT_FILTERED, _ANTHROPIC_FILTER, 400, text="content filtering policy"),
    ),
    statuses={
        "invalid_request_error": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "api_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    },
    limits=ANTHROPIC_LIMITS,
    buckets=tuple(
        (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)

_PER_DAY = frozenset({"per_day"})

GEMINI = Tongue(
    rows=(
        Row(Outcome.AUTH_FAILED, _GEMINI, code="api_key_invalid", key_sign=True),
        Row(Outcome.AUTH_FAILED, _GEMINI, code="api_key_expired", key_sign=True),
        Row(Outcome.AUTH_FAILED, _GOOGLE_REASONS, code="access_token_expired", key_sign=True),
        Row(Outcome.AUTH_FAILED, _GOOGLE_REASONS, code="consumer_suspended", key_sign=True),
        Row(Outcome.AUTH_FAILED, _GOOGLE_REASONS, code="consumer_invalid", key_sign=True),
        Row(Outcome.AUTH_FAILED, _GOOGLE_REASONS, code="account_state_invalid", key_sign=True),
        Row(Outcome.QUOTA_EXHAUSTED, _GOOGLE_REASONS, code="billing_disabled"),
        Row(Outcome.QUOTA_EXHAUSTED, _GEMINI_QUOTA, 429, marks=_PER_DAY),
        Row(Outcome.AUTH_FAILED, _GEMINI, 400, text="api key not valid", key_sign=True),
        Row(Outcome.AUTH_FAILED, _GEMINI, 400, text="api key expired", key_sign=True),
        Row(Outcome.CONTENT_FILTERED, _GEMINI_POLICY, 400, text="responsible ai practices"),
        Row(Outcome.FORBIDDEN, _GEMINI, 400, text="user location is not supported"),
        Row(Outcome.BAD_REQUEST, _GEMINI_TOKENS, 400, text="exceeds the maximum number of tokens"),
        Row(Outcome.BAD_REQUEST, _GEMINI, 500, text="input context is too long"),
    ),
    # https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
    statuses={
        "cancelled": 499,
        "invalid_argument": 400,
        "failed_precondition": 400,
        "out_of_range": 400,
        "unauthenticated": 401,
        "permission_denied": 403,
        "not_found": 404,
        "aborted": 409,
        "already_exists": 409,
        "resource_exhausted": 429,
        "internal": 500,
        "unknown": 500,
        "data_loss": 500,
        "unimplemented": 501,
        "unavailable": 503,
        "deadline_exceeded": 504,
    },
)

BEDROCK = Tongue(
    rows=(
        Row(Outcome.AUTH_FAILED, _AWS, code="unrecognizedclientexception", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="invalidclienttokenid", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="expiredtokenexception", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="expiredtoken", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="invalidsignatureexception", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="signaturedoesnotmatch", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="incompletesignature", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="incompletesignatureexception", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="missingauthenticationtoken", key_sign=True),
        Row(Outcome.AUTH_FAILED, _AWS, code="missingauthenticationtokenexception", key_sign=True),
        Row(Outcome.AUTH_FAILED, _BEDROCK_KEY, 403, text="your api key is valid", key_sign=True),
        Row(
            Outcome.AUTH_FAILED,
            _AWS_SESSION,
            403,
            text="security token included in the request is",
            key_sign=True,
        ),
        Row(Outcome.QUOTA_EXHAUSTED, _BEDROCK, code="servicequotaexceededexception"),
        Row(
            Outcome.QUOTA_EXHAUSTED,
            _BEDROCK_DAY,
            429,
            text="too many tokens per day",
            is_of_model=True,
        ),
        Row(Outcome.OVERLOADED, _BEDROCK, code="modelnotreadyexception"),
        Row(Outcome.RATE_LIMITED, _BEDROCK, code="throttlingexception"),
        Row(Outcome.FORBIDDEN, _BEDROCK, code="accessdeniedexception"),
        Row(Outcome.MODEL_NOT_FOUND, _BEDROCK, code="resourcenotfoundexception"),
        Row(Outcome.TIMED_OUT, _BEDROCK, code="modeltimeoutexception"),
        Row(Outcome.SERVER_ERROR, _BEDROCK, code="modelerrorexception"),
        Row(Outcome.SERVER_ERROR, _BEDROCK, code="modelstreamerrorexception"),
        Row(Outcome.OVERLOADED, _BEDROCK, code="serviceunavailableexception"),
        # Which models there are depends on the region, and so on the key.
        Row(Outcome.MODEL_NOT_FOUND, _BEDROCK_MODEL, 400, text="model identifier is invalid"),
        Row(Outcome.MODEL_NOT_FOUND, _BEDROCK_ON_DEMAND, 400, text="with on-demand throughput isn"),
        Row(Outcome.CONTENT_FILTERED, _ANTHROPIC_FILTER, 400, text="content filtering policy"),
    ),
    statuses={
        "accessdeniedexception": 403,
        "expiredtokenexception": 403,
        "internalserverexception": 500,
        "modelerrorexception": 424,
        "modelnotreadyexception": 429,
        "modelstreamerrorexception": 424,
        "modeltimeoutexception": 408,
        "resourcenotfoundexception": 404,
        "servicequotaexceededexception": 400,
        "serviceunavailableexception": 503,
        "throttlingexception": 429,
        "unrecognizedclientexception": 403,
        "validationexception": 400,
    },
    code_header="x-amzn-errortype",
)

_NO_HEADERS = Headers(())
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid")


def judge(
    tongue: Tongue,
    status: int | None,
    headers: Headers | None,
    body: object,
    wall: float,
    *,
    pinned: bool = False,
) -> Verdict[Any]:
    """What an error answer means. ``body``: its bytes, or the value that was in them.

    ``status`` is None, or below 400, where the error came inside a good answer; ``pinned``
    says that the request named the upstream it wants.
    """
    told = from_body(body) if isinstance(body, bytes) else from_value(body)
    if pinned:
        told = told.with_mark("pinned")
    named = headers.get(tongue.code_header) if headers and tongue.code_header else None
    if named:
        told = told.with_code(bare_code(named))
    meant = status if status is not None and status >= 300 else _stated_status(tongue, told)
    row = _row(tongue, meant, told)
    outcome = row.outcome if row else _by_status(meant)
    headers = headers or told.headers or _NO_HEADERS
    return Verdict(
        outcome,
        status=status,
        code=told.code,
        message=told.message or f"the provider answered {meant} without a word",
        later_s=_later_s(tongue, outcome, headers, told, wall),
        request_id=request_id(headers) or told.request_id,
        body=told.body,
        key_sign=row.key_sign if row else False,
        is_daily=outcome is Outcome.QUOTA_EXHAUSTED and "per_day" in told.marks,
        is_of_model="per_model" in told.marks or (row is not None and row.is_of_model),
    )


def request_id(headers: Headers) -> str | None:
    """The provider's own name for the call."""
    for name in _REQUEST_IDS:
        found = headers.get(name)
        if found:
            return found
    return None


def broken(
    message: str, status: int | None = None, headers: Headers | None = None, body: object = None
) -> Verdict[Any]:
    """An answer that is none: unparsable, or of the wrong shape. It may have been billed."""
    return Verdict(
        Outcome.SERVER_ERROR,
        status=status,
        message=message,
        request_id=request_id(headers) if headers else None,
        body=from_body(body).body if isinstance(body, bytes) else body,
    )


def _row(tongue: Tongue, status: int, told: Told) -> Row | None:
    text = told.message.lower()
    return next((row for row in tongue.rows if row.fits(status, told, text)), None)


def _stated_status(tongue: Tongue, told: Told) -> int:
    """The status that the error itself states, as a number or by its code; else 500."""
    for code in told.codes:
        if code.isdecimal() and 300 <= int(code[:4]) < 600:
            return int(code[:4])
        if code in tongue.statuses:
            return tongue.statuses[code]
    return 500


def _by_status(status: int) -> Outcome:
    known = BY_STATUS.get(status)
    if known is not None:
        return known
    return Outcome.BAD_REQUEST if status < 500 else Outcome.SERVER_ERROR


def _later_s(
    tongue: Tongue, outcome: Outcome, headers: Headers, told: Told, wall: float
) -> float | None:
    """A time that goes with an empty purse is the rate limit's: waiting brings no money."""
    if outcome is Outcome.QUOTA_EXHAUSTED:
        return None
    buckets = tongue.buckets if outcome is Outcome.RATE_LIMITED else ()
    stated = later_s(headers, wall, buckets)
    if stated is None and told.headers is not None:
        stated = later_s(told.headers, wall, buckets)
    return in_details(told.details) if stated is None else stated
