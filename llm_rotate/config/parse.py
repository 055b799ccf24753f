"""From the text of a file to what it holds. Mistakes are told by line, not by what stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..core.redact import shown
from ..errors import ConfigurationError

# Of the parser's reasons, those that quote no more than a sign or the name of a token.
_QUOTES_NOTHING = re.compile(r"[^'\"]*(?:'(?:<[a-z ]+>|\\[tnr\\]|[^\w'])'[^'\"]*)*")


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once_each)
    except json.JSONDecodeError as error:
        reason = f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
    raise ConfigurationError(reason)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigurationError(f"{shown(name)!r} stands twice in one mapping")
        found[name] = value
    return found


def _yaml(text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "YAML needs the yaml extra of this package, which is PyYAML "
            "(pip install pyyaml); JSON needs nothing"
        ) from None

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            _refuse_repeated([key for key, _ in node.value])
            return node

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except ConfigurationError:
        raise
    except yaml.YAMLError as error:
        reason = f"is not YAML{_place(error)}{_cause(error)}"
    except (ValueError, AttributeError):  # a day like 2024-99-99; their words quote it
        reason = "is not YAML: a value is not what its form or its tag says"
    raise ConfigurationError(reason)


def _refuse_repeated(keys: list[Any]) -> None:
    """``<<`` may stand twice: each of its mappings is merged."""
    lines: dict[tuple[str, str], int] = {}
    for key in keys:
        if not isinstance(key.value, str) or key.tag == "tag:yaml.org,2002:merge":
            continue
        name, line = (key.tag, key.value), key.start_mark.line + 1
        if name in lines:
            again = f"{shown(key.value)!r} stands twice in one mapping"
            raise ConfigurationError(f"line {line}: {again}, first in line {lines[name]}")
        lines[name] = line


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _cause(error: Exception) -> str:
    cause = getattr(error, "problem", None) or getattr(error, "reason", None) or ""
    return f": {cause}" if cause and _QUOTES_NOTHING.fullmatch(cause) else ""


PARSERS: Mapping[str, Callable[[str], Any]] = {".json": _json, ".yaml": _yaml, ".yml": _yaml}
