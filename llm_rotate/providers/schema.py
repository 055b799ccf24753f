"""JSON schemas in the narrow form that structured output takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from .reading import as_dict

# Where schemas stand inside a schema: by name, in a list, alone.
_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "allOf", "oneOf", "prefixItems")
_ALONE = ("items",)


def schema_in(response_format: object) -> dict[str, Any] | None:
    """The JSON schema that a ``response_format`` asks for: that of a pydantic class, itself if
    it is one, or the one in OpenAI's shape; None if it asks for none.
    """
    model = _schema_of_model(response_format)
    if model is not None or not isinstance(response_format, dict):
        return model
    if response_format.get("type") == "json_schema":
        told = response_format.get("json_schema")
        schema = told.get("schema") if isinstance(told, dict) else None
        return schema if isinstance(schema, dict) else None
    return response_format if _is_schema(response_format) else None


def openai_format(response_format: object) -> Any:
    """A ``response_format`` in OpenAI's shape: schemas and pydantic classes are put into it,
    strict unless they have objects with free keys; what has the shape stays as it is.

    Strict means every object closed and every property required:
    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
    """
    schema = schema_in(response_format)
    if schema is None or as_dict(response_format).get("type") == "json_schema":
        return response_format
    told: dict[str, Any] = {"name": _name(response_format, schema), "schema": schema}
    if not _has_free_keys(schema):
        told |= {"schema": _mapped(schema, _closed_and_required), "strict": True}
    return {"type": "json_schema", "json_schema": told}


def _schema_of_model(response_format: object) -> dict[str, Any] | None:
    """The JSON schema of a pydantic class, or None if this is none."""
    if isinstance(response_format, type) and hasattr(response_format, "model_json_schema"):
        return _model_schema(response_format)
    return None


@lru_cache(maxsize=64)
def _model_schema(model: Any) -> dict[str, Any]:
    schema: dict[str, Any] = model.model_json_schema()
    return schema


def _is_schema(given: dict[str, Any]) -> bool:
    kind = given.get("type")
    return (isinstance(kind, str) and kind in _JSON_TYPES) or not given.keys().isdisjoint(_SIGNS)


_JSON_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean"})
_SIGNS = frozenset({"properties", "$ref", "anyOf", "allOf", "oneOf", "enum"})
_LONGEST_NAME = 64  # and only these letters: the provider's rule


def _name(response_format: object, schema: dict[str, Any]) -> str:
    named = getattr(response_format, "__name__", None) or schema.get("title")
    plain = re.sub(r"[^a-zA-Z0-9_-]+", "_", named) if isinstance(named, str) else ""
    return plain[:_LONGEST_NAME] or "answer"


def _has_free_keys(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_has_free_keys, value))
    if not isinstance(value, dict):
        return False
    return bool(value.get("additionalProperties")) or any(map(_has_free_keys, value.values()))


def closed_at_anthropic(schema: dict[str, Any]) -> dict[str, Any]:
    """Every object closed; constraints that are refused are told in the description instead.

    https://platform.claude.com/docs/en/build-with-claude/structured-outputs
    """
    return _mapped(schema, _closed_and_plain)


def _mapped(
    schema: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """A copy of ``schema`` in which every schema went through ``change``."""
    found = dict(schema)
    for name in _NAMED:
        if isinstance(found.get(name), dict):
            found[name] = {key: _each(value, change) for key, value in found[name].items()}
    for name in _LISTED:
        if isinstance(found.get(name), list):
            found[name] = [_each(value, change) for value in found[name]]
    for name in _ALONE:
        found |= {name: _each(found[name], change)} if name in found else {}
    return change(found)


def _each(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    return _mapped(value, change) if isinstance(value, dict) else value


def _closed_and_required(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
        schema["required"] = list(as_dict(schema.get("properties")))
    schema.pop("default", None)
    _any_for_one(schema)
    if "$ref" in schema:  # nothing may stand beside a reference
        return {name: schema[name] for name in ("$ref", *_present(schema, ("$defs",)))}
    return schema


def _any_for_one(schema: dict[str, Any]) -> None:
    if "oneOf" in schema:
        schema["anyOf"] = schema.pop("oneOf")
        schema.pop("discriminator", None)


# Refused by the provider, though JSON Schema has them.
_REFUSED = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)


def _closed_and_plain(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") == "object":
        schema.setdefault("properties", {})
        schema["additionalProperties"] = False
    refused = list(_present(schema, _REFUSED))
    if isinstance(schema.get("minItems"), int) and schema["minItems"] > 1:
        refused.append("minItems")
    _any_for_one(schema)
    if refused:
        told = ", ".join(f"{name}: {schema.pop(name)}" for name in refused)
        schema["description"] = f"{schema.get('description', '')} ({told})".strip()
    return schema


def _present(schema: dict[str, Any], names: Iterable[str]) -> Iterable[str]:
    return (name for name in names if name in schema)
