"""The fields of a result's row; of None, those of a row that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...lmclient.results import (
    EmbeddingResult,
    GenerationResult,
    RequestMetrics,
    TranscriptionResult,
)

Result = GenerationResult | EmbeddingResult | TranscriptionResult


def generated(result: GenerationResult | None) -> dict[str, Any]:
    """An answer."""
    return {
        "output_text": result and result.output_text,
        "token_usage": _usage(result),
        "finish_reason": result and result.finish_reason,
        **_whence(result),
    }


def embedded(result: EmbeddingResult | None) -> dict[str, Any]:
    """A vector."""
    return {
        "embedding": result and result.embedding,
        "token_usage": _usage(result),
        **_whence(result),
    }


def transcribed(result: TranscriptionResult | None) -> dict[str, Any]:
    """A text that was heard."""
    return {
        "text": result and result.text,
        "duration_s": result and result.duration_s,
        "language": result and result.language,
        **_whence(result),
    }


def _usage(result: GenerationResult | EmbeddingResult | None) -> Mapping[str, Any] | None:
    return asdict(result.token_usage) if result and result.token_usage else None


def _whence(result: Result | None) -> dict[str, Any]:
    metrics: RequestMetrics | None = result.metrics if result else None
    return {
        "request_id": result and result.request_id,
        "deployment": metrics and metrics.deployment,
    }
