"""What LMClient gives back: one typed result per input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..types import Attempt, ChatResponse, EmbeddingResponse, TranscriptionResponse, Usage


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one request. ``completion_tokens`` includes the ``reasoning_tokens``, which
    are None where the provider does not tell them.
    """

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    reasoning_tokens: int | None = None

    @property
    def output_tokens(self) -> int:
        """Tokens of the visible answer: the completion without its reasoning."""
        return self.completion_tokens - (self.reasoning_tokens or 0)


@dataclass(frozen=True, slots=True)
class RequestMetrics:
    """Where the time of one request went, in seconds.

    ``service_time_s``: from sending to the answer, of the request that was answered.
    ``end_to_end_s``: from the call to the result. ``queue_wait_s``: the rest, which is
    waiting for room and for keys, pauses between retries, and requests that failed.
    ``deployment``: the label of the deployment that answered, else the key's name.
    ``retries``: requests sent before the one that was answered.
    """

    queue_wait_s: float
    service_time_s: float
    end_to_end_s: float
    deployment: str | None = None
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that the model asks for; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str | None = None


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """One generated answer.

    ``output_parsed``: what ``response_format`` asked for, or None where nothing was asked for
    or the text does not fit it. ``finish_reason``: the provider's own word. ``cost``: US
    dollars, None where no price is known. ``raw_response``: the provider's answer as a dict.
    """

    model_id: str
    output_text: str
    output_parsed: Any | None = None
    reasoning: str | None = None
    token_usage: TokenUsage | None = None
    finish_reason: str | None = None
    tool_calls: list[ToolCall] | None = None
    raw_response: Any | None = field(default=None, repr=False)
    request_id: str | None = None
    cost: float | None = None
    metrics: RequestMetrics | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """One text's vector."""

    model_id: str
    embedding: list[float] = field(repr=False)
    token_usage: TokenUsage | None = None
    raw_response: Any | None = field(default=None, repr=False)
    request_id: str | None = None
    metrics: RequestMetrics | None = None


@dataclass(frozen=True, slots=True)
class TranscriptionResult:
    """One recording's text. ``duration_s``: seconds of sound; ``language``: as the provider
    names it; None where it does not tell.
    """

    model_id: str
    text: str
    duration_s: float | None = None
    language: str | None = None
    raw_response: Any | None = field(default=None, repr=False)
    request_id: str | None = None
    metrics: RequestMetrics | None = None


def token_usage(usage: Usage) -> TokenUsage | None:
    """None where the provider counted nothing."""
    if not usage.total_tokens:
        return None
    return TokenUsage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        usage.reasoning_tokens or None,
    )


def metrics(
    attempts: Sequence[Attempt], latency_ms: float, deployment: str | None
) -> RequestMetrics:
    """From what the pool noted of a call."""
    sent = [each for each in attempts if each.outcome != "skipped"]
    whole = latency_ms / 1000.0
    service = sent[-1].seconds if sent else 0.0
    return RequestMetrics(
        queue_wait_s=max(0.0, whole - service),
        service_time_s=service,
        end_to_end_s=whole,
        deployment=deployment,
        retries=max(0, len(sent) - 1),
    )


def generation_of(response: ChatResponse, parsed: Any, cost: float | None) -> GenerationResult:
    """A chat's answer as a result."""
    return GenerationResult(
        model_id=response.model,
        output_text=response.content,
        output_parsed=parsed,
        reasoning=response.reasoning or None,
        token_usage=token_usage(response.usage),
        finish_reason=response.finish_reason,
        tool_calls=[_tool_call(each) for each in response.tool_calls] or None,
        raw_response=response.raw or None,
        request_id=response.request_id,
        cost=cost,
        metrics=metrics(response.attempts, response.latency_ms, response.key_id or None),
    )


def _tool_call(call: dict[str, Any]) -> ToolCall:
    function = call.get("function", {})
    return ToolCall(call.get("id", ""), function.get("name", ""), function.get("arguments"))


def embedding_of(response: EmbeddingResponse) -> EmbeddingResult:
    """A text's vector as a result."""
    return EmbeddingResult(
        model_id=response.model,
        embedding=response.embedding,
        token_usage=token_usage(response.usage),
        request_id=response.request_id,
        metrics=metrics(response.attempts, response.latency_ms, response.key_id or None),
    )


def transcription_of(response: TranscriptionResponse) -> TranscriptionResult:
    """A recording's text as a result."""
    return TranscriptionResult(
        model_id=response.model,
        text=response.text,
        duration_s=response.duration_s,
        language=response.language,
        raw_response=response.raw or None,
        request_id=response.request_id,
        metrics=metrics(response.attempts, response.latency_ms, response.key_id or None),
    )
