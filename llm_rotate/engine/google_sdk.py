"""The google-genai package, imported when it is first needed."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from ..errors import ConfigurationError


@cache
def genai(name: str = "google.genai") -> Any:
    """The package, or a module of it. Raises ConfigurationError that names the extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            "Gemini is sent by the google-genai SDK, which is not installed: "
            "pip install 'llm_rotate[google]'"
        ) from error
