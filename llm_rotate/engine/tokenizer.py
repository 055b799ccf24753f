"""Counts tokens before a request is sent: by tiktoken, or by a callable of the user's."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import tempfile
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..core.estimate import TokenCount
from ..errors import ConfigurationError

THREAD = "llm_rotate-tiktoken"
# Of a longer text this many characters are counted, half at each end: 0.3 ms of prose.
SAMPLED = 8_000
MOST_MODELS = 4096  # looked up at a time: their names come from callers
# Where tiktoken gets its encodings; it names the files of its cache by the hash of this.
_SOURCE = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
# Encodings that are another's with more special tokens, which no text has.
_SAME: dict[str, str] = {"o200k_harmony": "o200k_base"}
_log = logging.getLogger("llm_rotate")


def token_count(chosen: Any) -> TokenCount | None:
    """What ``defaults.estimator`` chooses; None: the rule of bytes. Raises ConfigurationError
    if tiktoken is asked for and is not there.
    """
    if callable(chosen):
        return Guarded(chosen)
    if chosen == "bytes":
        return None
    if find_spec("tiktoken") is not None:
        return Tiktoken()
    if chosen == "tiktoken":
        raise ConfigurationError(
            "defaults.estimator 'tiktoken' needs tiktoken: pip install 'llm_rotate[tiktoken]'"
        )
    return None


class Guarded:
    """A callable of the user's: what it cannot count is told once, and measured in bytes."""

    def __init__(self, count: TokenCount) -> None:
        self._count = count
        self._is_told = False

    def __call__(self, model: str, text: str) -> int | None:
        try:
            found = self._count(model, text)
            if found is None or 0 <= found < math.inf:
                return found
            wrong = f"it returned {found!r}"
        except Exception as error:  # a call does not fail for its estimate
            wrong = f"it raised {type(error).__name__}"
        if not self._is_told:
            self._is_told = True
            _log.warning("the estimator cannot count a text for %s: %s", model, wrong)
        return None


class Tiktoken:
    """Knows the models of OpenAI, by their names. Loads an encoding in a thread of its own,
    from tiktoken's cache alone: nothing is fetched, and until it is there nothing is counted.
    """

    def __init__(self) -> None:
        self._encodings: dict[str, Any] = {}

    def __call__(self, model: str, text: str) -> int | None:
        name = model.rpartition("/")[2]  # brokers write openai/gpt-4o
        if name not in self._encodings:
            if len(self._encodings) >= MOST_MODELS:
                self._encodings.clear()
            self._encodings[name] = None
            with suppress(RuntimeError):  # no thread is to be had, as at the program's end
                threading.Thread(target=self._learn, args=(name,), name=THREAD, daemon=True).start()
        encoding = self._encodings.get(name)
        return None if encoding is None else _counted(encoding, text)

    def _learn(self, model: str) -> None:
        try:
            import tiktoken  # noqa: PLC0415 - an extra, and slow to import

            name = tiktoken.encoding_name_for_model(model)
            name = _SAME.get(name, name)
            if name in tiktoken.registry.ENCODINGS or _cached(name).is_file():
                self._encodings[model] = tiktoken.get_encoding(name)
        except KeyError:
            pass  # not a model of OpenAI's
        except Exception:  # a broken cache, another version: bytes are measured then
            _log.warning("tiktoken cannot count for %s", model, exc_info=True)


def _counted(encoding: Any, text: str) -> int:
    if len(text) <= SAMPLED:
        return len(encoding.encode_ordinary(text))
    half = SAMPLED // 2
    ends = len(encoding.encode_ordinary(text[:half])) + len(encoding.encode_ordinary(text[-half:]))
    return round(ends * len(text) / SAMPLED)


def _cached(encoding: str) -> Path:
    """Where tiktoken keeps an encoding once it has been fetched."""
    own = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    folder = Path(tempfile.gettempdir(), "data-gym-cache") if own is None else Path(own)
    url = _SOURCE.format(encoding)
    return folder / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
