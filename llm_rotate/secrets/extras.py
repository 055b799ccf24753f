"""What the schemes of services share: their packages, and fields of secrets that are JSON."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from .secret import SecretError

TIMEOUT_SECONDS = 10.0  # to connect, and between two reads; whole reads are bounded elsewhere
# botocore's loggers that write whole requests and answers.
_TALKATIVE = ("botocore.auth", "botocore.endpoint", "botocore.parsers")


class _Reading(threading.local):
    depth = 0


_READING = _Reading()


def _is_harmless(record: logging.LogRecord) -> bool:
    return not _READING.depth or record.levelno > logging.DEBUG


@contextmanager
def kept_out_of_the_log() -> Iterator[None]:
    """What botocore tells at DEBUG while this thread reads secrets holds them. The filter stays:
    one that is taken away while another thread writes would let a record of it slip through.
    """
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_harmless)
    _READING.depth += 1
    try:
        yield
    finally:
        _READING.depth -= 1


def needed(module: str, extra: str) -> ModuleType:
    """A vendor's module. Raises SecretError that names the extra it comes with."""
    try:
        return import_module(module)
    except ImportError as error:
        raise SecretError(
            f"{extra}:// needs {error.name or module}: pip install 'llm_rotate[{extra}]'"
        ) from error


def field_of(text: str, field: str, source: str) -> str:
    """The text itself, or with ``field`` that field of the JSON object that it is."""
    if not field:
        return text
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SecretError(f"{source} is no JSON object, so it has no field {field!r}")
    return text_in(found, field, source)


def text_in(found: dict[str, Any], field: str, source: str) -> str:
    value = found.get(field)
    if not isinstance(value, str):
        raise SecretError(f"{source} has no text in a field {field!r}")
    return value
