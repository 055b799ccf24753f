"""From a record to what is sent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...errors import ConfigurationError
from .records import BadRowError

Mapper = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Mapped:
    """What is sent for a row, and what goes with it into the output."""

    input: Any
    metadata: Any = None


def by_fields(*names: str) -> Callable[[dict[str, Any]], Mapped]:
    """The first of these fields that a record has is what is sent."""

    def map_record(record: dict[str, Any]) -> Mapped:
        for name in names:
            if record.get(name) not in (None, ""):
                return Mapped(record[name], record.get("metadata"))
        raise BadRowError(f"the row has no field {' or '.join(map(repr, names))}")

    return map_record


def of_responses(record: dict[str, Any]) -> Mapped:
    """For the responses endpoint: its own payload, else as for any chat."""
    if "responses_input" not in record:
        return by_fields("prompt", "messages")(record)
    given = record["responses_input"]
    payload = given if isinstance(given, Mapping) and "input" in given else {"input": given}
    return Mapped(payload, record.get("metadata"))


def own_mapper(spelled: str) -> Callable[[dict[str, Any]], Mapped]:
    """``package.module:function``, found from the working directory too.

    Raises ConfigurationError if there is no such function.
    """
    function = _function(spelled)

    def map_record(record: dict[str, Any]) -> Mapped:
        try:
            made = function(record)
        except Exception as error:
            raise BadRowError(f"the mapper raised {type(error).__name__}: {error}") from error
        if not isinstance(made, Mapping) or "input" not in made:
            raise BadRowError("the mapper must return a mapping with 'input'")
        return Mapped(made["input"], made.get("metadata"))

    return map_record


def _function(spelled: str) -> Mapper:
    place, _, name = spelled.partition(":")
    if not place or not name:
        raise ConfigurationError(f"--mapper is spelled package.module:function, not {spelled!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(import_module(place), name, None)
    except Exception as error:
        raise ConfigurationError(f"--mapper {spelled}: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"--mapper {spelled}: {place} has no function {name!r}")
    mapper: Mapper = found
    return mapper
