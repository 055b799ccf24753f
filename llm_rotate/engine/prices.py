"""What an answer costs: the registry's own prices, else the genai-prices package's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..types import Usage

# genai-prices names some providers differently.
THEIR_NAMES: Mapping[str, str] = {
    "google_ai_studio": "google",
    "google_vertex": "google",
    "azure_openai": "azure",
    "aws_bedrock": "aws",
    "xai": "x-ai",
}


@lru_cache(maxsize=1)
def _package() -> Any:
    try:
        import genai_prices  # noqa: PLC0415 - behind the extra `prices`, and slow to import
    except ImportError:
        return None
    return genai_prices


class Prices:
    """USD per call. ``stated``: provider -> (per 1,000 input tokens, per 1,000 output tokens)
    as the registry gives them.
    """

    def __init__(self, stated: Mapping[str, tuple[float | None, float | None]]) -> None:
        self._stated = stated

    def __call__(self, provider: str, model: str, usage: Usage) -> float | None:
        """USD, or None where no price is known."""
        per_input, per_output = self._stated.get(provider, (None, None))
        if per_input is None or per_output is None:
            return _published(provider, model, usage)
        return (usage.prompt_tokens * per_input + usage.completion_tokens * per_output) / 1000


def _published(provider: str, model: str, usage: Usage) -> float | None:
    package = _package()
    if package is None or not model:
        return None
    counted = package.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
    )
    try:
        known = package.calc_price(
            counted, model_ref=model, provider_id=THEIR_NAMES.get(provider, provider)
        )
    except (LookupError, ValueError):
        return None
    return float(known.total_price)
