"""An answer's content as the value that ``response_format`` asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def parsed(response_format: Any, content: str) -> Any:
    """An instance of a pydantic class, a JSON value for a schema; None if none was asked for, or
    the content is none: cut off, refused in words, or not what the schema says.
    """
    if response_format is None or not content:
        return None
    read = getattr(response_format, "model_validate_json", None)
    try:
        if read is not None:
            return read(content)
        if isinstance(response_format, Mapping) and response_format.get("type") != "text":
            return json.loads(content)
    except (ValueError, RecursionError):
        return None
    return None
