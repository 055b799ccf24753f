"""Which key holds what a provider keeps for one account alone."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConfigurationError
from .assembly import Assembly, Narrowed

# Keywords of a call that name such a thing.
NAMED_BY = ("previous_response_id",)
MOST_NAMES = 10_000  # kept in this process, the latest


class Holders:
    """Remembers it, and sends calls that go on from there to that key."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, name: str, key_id: str) -> None:
        """The provider keeps ``name`` for this key."""
        with self._lock:
            self._keys[name] = key_id
            self._keys.move_to_end(name)
            while len(self._keys) > MOST_NAMES:
                self._keys.popitem(last=False)

    def forget(self) -> None:
        """After a fork: the lock may be held by a thread of the parent's."""
        self._lock = threading.Lock()

    def with_files(
        self, messages: Sequence[Any], narrowed: Narrowed | None, assembly: Assembly
    ) -> Narrowed | None:
        """``narrowed``, and to the key that sent the files which the messages name.

        Raises ConfigurationError if they were sent with several keys, or with one that is no
        longer in the pool.
        """
        if not self._keys or (narrowed is not None and narrowed.key_id is not None):
            return narrowed
        named = {uri: self._keys[uri] for uri in _uris(messages) if uri in self._keys}
        if not named:
            return narrowed
        key_id, *others = dict.fromkeys(named.values())
        if others:
            raise ConfigurationError(
                "the files in this request were uploaded with several keys "
                f"({', '.join(sorted({key_id, *others}))}), and no key reads another's: upload "
                "them with one key_id="
            )
        if key_id not in assembly.keys:
            raise ConfigurationError(
                f"{next(iter(named))}: key {key_id!r}, which uploaded it, is no longer in the "
                "pool: upload it again"
            )
        return replace(narrowed or Narrowed(), key_id=key_id)

    def narrow(
        self, options: Mapping[str, Any], narrowed: Narrowed | None, assembly: Assembly
    ) -> Narrowed | None:
        """``narrowed``, and to the key that holds what the keywords name, if they name any.

        Raises ConfigurationError if it is not known which of several keys that is, or if it
        is no longer in the pool.
        """
        named = next((field for field in NAMED_BY if _is_name(options.get(field))), None)
        if named is None or (narrowed is not None and narrowed.key_id is not None):
            return narrowed
        key_id = self._keys.get(options[named])
        if key_id is None and len(assembly.keys) == 1:
            return narrowed
        what = f"{named}={options[named]!r}"
        if key_id is None:
            raise ConfigurationError(
                f"{what}: this process has not seen it made, and only the key that made it can "
                "go on from it: pass the key_id of that answer as key_id="
            )
        if key_id not in assembly.keys:
            raise ConfigurationError(
                f"{what}: key {key_id!r}, which made it, is no longer in the pool: send the "
                "whole conversation in messages instead"
            )
        return replace(narrowed or Narrowed(), key_id=key_id)


def _is_name(value: object) -> bool:
    """What is none, the provider refuses."""
    return isinstance(value, str) and value != ""


# Fields that name a file, of our parts, of Gemini's, and of google-genai's types.
_URIS = ("file_uri", "fileUri", "uri")
_WITHIN = ("content", "parts", "file_data", "fileData")


def _uris(value: Any) -> Iterator[str]:
    """The files that messages, contents or parts name, as dicts or as types of an SDK."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _uris(item)
    elif value is not None and not isinstance(value, (str, bytes)):
        for name in _URIS:
            uri = _field(value, name)
            if isinstance(uri, str):
                yield uri
        for name in _WITHIN:
            yield from _uris(_field(value, name))


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
