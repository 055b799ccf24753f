"""Turns messages into those of OpenAI chat completions: most go as they are.

Parts in shapes that a compatible service may know pass; those of other providers' own are
refused, as they would end the call that a chain could save.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.wire import Endpoint
from .openai_answer import said
from .parts import Said, cannot, checked, own_words, raw_part
from .reading import as_text

_FOREIGN = frozenset({"tool_use", "tool_result", "redacted_thinking", "document"})


def messages_for(endpoint: Endpoint, messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    found = [_message(checked("openai", message), endpoint.provider) for message in messages]
    if endpoint.flags.get("cache_control", True):
        return found
    return [unmarked(message) for message in found]


def unmarked(given: Any) -> Any:
    """A message, part or tool without ``cache_control``, which many services refuse: they cache
    by themselves.
    """
    if not isinstance(given, Mapping):
        return given
    for name in ("content", "tool_calls"):
        if isinstance(given.get(name), list):
            given = {**given, name: [unmarked(each) for each in given[name]]}
    if "cache_control" not in given:
        return given
    return {name: given[name] for name in given if name != "cache_control"}


def _message(message: Mapping[str, Any], provider: str) -> Mapping[str, Any]:
    if "native" in message:
        own = own_words(message, provider, _said)
        if own is not None:
            return _sent_back(own)
        message = {name: message[name] for name in message if name != "native"}
    if isinstance(message.get("content"), list | tuple):
        return {**message, "content": [_part(part) for part in message["content"]]}
    return message


def _said(native: Any) -> Said | None:
    return said(native) if isinstance(native, dict) else None


def _sent_back(own: Mapping[str, Any]) -> dict[str, Any]:
    """An answer's message, as it came. Fields that say nothing are left out: of some of them
    their own provider takes no null.
    """
    kept = {name: own[name] for name in own if own[name] is not None or name == "content"}
    return {"role": "assistant", "content": None} | kept


def _part(part: Any) -> Any:
    kind = as_text(part.get("type")) if isinstance(part, Mapping) else ""
    if kind == "image_bytes":
        mime, data = raw_part("openai", part)
        return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{data}"}}
    if kind == "pdf_bytes":
        mime, data = raw_part("openai", part)
        name = part.get("filename", "document.pdf")
        file = {"filename": name, "file_data": f"data:{mime};base64,{data}"}
        return {"type": "file", "file": file}
    if kind == "audio_bytes":
        mime, data = raw_part("openai", part)
        return {"type": "input_audio", "input_audio": {"data": data, "format": _sound(mime)}}
    if kind == "file" and "file_uri" in part:
        return _by_uri(part)
    if kind in _FOREIGN or (kind and ("source" in part or "signature" in part)):
        cannot("openai", f"a part of type {kind} in another provider's shape")
    return part


def _by_uri(part: Mapping[str, Any]) -> Any:
    uri, mime = str(part["file_uri"]), str(part.get("mime_type"))
    if not (mime.startswith("image/") and uri.startswith(("http://", "https://"))):
        cannot("openai", f"a file part with file_uri, but for images of the web ({mime})")
    return {"type": "image_url", "image_url": {"url": uri}}


def _sound(mime: str) -> str:
    """The provider's name for a format: ``audio/wav``, ``audio/x-wav`` and ``audio/mpeg`` are
    "wav" and "mp3"; what else there is it judges itself.
    """
    kind = mime.partition(";")[0].rpartition("/")[2].removeprefix("x-")
    return "mp3" if kind == "mpeg" else kind
