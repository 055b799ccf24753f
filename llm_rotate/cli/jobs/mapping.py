"""From a record to what is sent."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ...errors import ConfigurationError
from .records import BadRowError

Mapper = Callable[[dict[str, Any]], Any]
KNOWN = ("metadata",)
_log = logging.getLogger("llm_rotate")


@dataclass(frozen=True, slots=True)
class Mapped:
    """What is sent for a row, and what goes with it into the output."""

    input: Any
    metadata: Any = None


def by_fields(*names: str) -> Callable[[dict[str, Any]], Mapped]:
    """What is sent is the one of these fields that a record has. Others, but for metadata, are
    named once in the log.
    """
    unused: set[str] = set()

    def map_record(record: dict[str, Any]) -> Mapped:
        given = [name for name in names if record.get(name) not in (None, "")]
        if len(given) != 1:
            raise BadRowError(_none_of(names, record) if not given else _too_many(given))
        if more := [name for name in record if name not in (*given, *KNOWN, *unused)]:
            unused.update(more)
            _log.warning(
                "fields of the rows that are not used: %s; a row may have %s and metadata, "
                "which comes back with its result",
                ", ".join(map(repr, more)),
                " or ".join(names),
            )
        return Mapped(record[given[0]], record.get("metadata"))

    return map_record


def _too_many(given: Sequence[str]) -> str:
    return f"the row has {' and '.join(map(repr, given))}: leave all out but one"


def _none_of(names: Sequence[str], record: Mapping[str, Any]) -> str:
    empty = next((name for name in names if name in record), None)
    if empty is not None:
        return f"the row's {empty!r} is empty"
    told = f"the row has no field {' or '.join(map(repr, names))}"
    for name in names:
        if near := get_close_matches(name, record, 1):
            return f"{told}; is its {near[0]!r} meant to be {name!r}?"
    return told


def of_responses() -> Callable[[dict[str, Any]], Mapped]:
    """For the responses endpoint: its own payload too."""
    read = by_fields("responses_input", "prompt", "messages")

    def map_record(record: dict[str, Any]) -> Mapped:
        mapped = read(record)
        given = record.get("responses_input")
        if given in (None, ""):
            return mapped
        is_payload = isinstance(given, Mapping) and "input" in given
        return Mapped(given if is_payload else {"input": given}, mapped.metadata)

    return map_record


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
