"""Where Bedrock has a model, and what its requests need on this side."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.util import find_spec
from urllib.parse import quote

from ..errors import ConfigurationError


@cache
def need_botocore() -> None:
    """Raises ConfigurationError if it is not installed."""
    if find_spec("botocore") is None:
        raise ConfigurationError(
            "aws_bedrock needs botocore for streams and signatures: "
            "pip install 'llm_rotate[bedrock]'"
        )


@lru_cache(maxsize=256)
def url_of(base: str, model: str, operation: str) -> str:
    """ARNs, which are models' names too, have colons and slashes."""
    return f"{base}/model/{quote(model, safe='')}/{operation}"
