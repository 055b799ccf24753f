"""Turns OpenAI-shaped messages and tools into Anthropic's.

System messages are gathered; messages of one role in a row become one; tool results are
blocks of a user message. Blocks in Anthropic's own shapes pass as they are. ``cache_control``
is kept on every part, tool call and tool result; beside a message's content it marks the last
part. A message's ``name`` has no place there and is dropped.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .anthropic_answer import said
from .parts import Said, cannot, from_data_url, own_words, raw_part
from .reading import as_dict
from .roles import Roles, Turn, called, calls_in, in_turns

_NAME = "anthropic"
Block = Mapping[str, Any]


def split(
    messages: Sequence[Mapping[str, Any]], provider: str
) -> tuple[str | list[Block], list[dict[str, Any]]]:
    """(system, messages). ``system`` is a string, or text blocks where there are several.
    ``provider``: whom they go to.
    """
    roles: Roles = {"user": _user, "assistant": partial(_assistant, provider), "tool": _tool_result}
    system, found = in_turns(_NAME, messages, _content, roles)
    return _plain(system), found


def tool(given: Any) -> Any:
    """A function tool converted; any other kind is the provider's own and passes."""
    if not isinstance(given, Mapping) or not isinstance(given.get("function"), Mapping):
        return given
    function = given["function"]
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    kept = {name: function[name] for name in ("description", "strict") if function.get(name)}
    return _cached(given, {"name": function.get("name"), **kept, "input_schema": schema})


_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def tool_choice(given: Any) -> Any:
    if isinstance(given, str):
        if given not in _CHOICES:
            cannot(_NAME, f"tool_choice {given!r}")
        return {"type": _CHOICES[given]}
    name = as_dict(as_dict(given).get("function")).get("name")
    return {"type": "tool", "name": name} if name else given


def _said(native: Any) -> Said | None:
    """None also where a tool call was cut off: no request takes that."""
    if not isinstance(native, list) or not all(isinstance(block, dict) for block in native):
        return None
    calls = [block for block in native if block.get("type") == "tool_use"]
    return said(native) if all(isinstance(call.get("input"), dict) for call in calls) else None


def _user(message: Mapping[str, Any]) -> Turn:
    return "user", _content(message)


def _assistant(provider: str, message: Mapping[str, Any]) -> Turn | None:
    own = own_words(message, provider, _said)
    if own is None:
        blocks = [*_content(message), *(_call(call) for call in calls_in(_NAME, message))]
    else:
        blocks = _marked(message, own)
    return ("assistant", blocks) if blocks else None  # the provider would refuse one without


def _tool_result(message: Mapping[str, Any]) -> Turn:
    content = message.get("content")
    return "user", [
        _cached(
            message,
            {
                "type": "tool_result",
                "tool_use_id": message.get("tool_call_id"),
                "content": content
                if isinstance(content, str)
                else _without_empty(_blocks(content)),
            },
        )
    ]


def _call(call: Any) -> Block:
    name, arguments = called(_NAME, call)
    use = {"type": "tool_use", "id": call.get("id"), "name": name, "input": arguments}
    return _cached(call, use)


def _content(message: Mapping[str, Any]) -> list[Block]:
    return _marked(message, _blocks(message.get("content")))


def _marked(message: Mapping[str, Any], blocks: Sequence[Block]) -> list[Block]:
    found = _without_empty(blocks)
    if found and "cache_control" in message:
        found[-1] = _cached(message, dict(found[-1]))
    return found


def _blocks(content: Any) -> list[Block]:
    """A message's content as blocks. Empty text is left out: the provider refuses it."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list | tuple):
        cannot(_NAME, f"content of type {type(content).__name__}")
    return [_block(part) for part in content]


def _without_empty(blocks: Sequence[Block]) -> list[Block]:
    return [b for b in blocks if b.get("type") != "text" or b.get("text") != ""]


def _block(part: Any) -> Block:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        cannot(_NAME, f"a part of type {type(part).__name__}")
    convert = _PARTS.get(str(part.get("type")))
    return _cached(part, convert(part)) if convert else part


def _raw(part: Mapping[str, Any]) -> dict[str, Any]:
    return _titled(part, _source(*raw_part(_NAME, part)))


def _image_url(part: Mapping[str, Any]) -> dict[str, Any]:
    given = part.get("image_url")
    url = given if isinstance(given, str) else as_dict(given).get("url")
    if not isinstance(url, str):
        cannot(_NAME, "an image_url part without a URL")
    held = from_data_url(url)
    return _source(*held) if held else _by_url("image", url)


def _file(part: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's file part, or one with ``file_uri`` and ``mime_type``."""
    if "file_uri" in part:
        mime = str(part.get("mime_type"))
        kind = "image" if mime.startswith("image/") else "document"
        if kind == "document" and mime != "application/pdf":
            cannot(_NAME, f"a file part of type {mime}")
        return _by_url(kind, part["file_uri"])
    file = as_dict(part.get("file"))
    if isinstance(file.get("file_id"), str):
        return {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}}
    held = from_data_url(str(file.get("file_data")))
    if held is None:
        cannot(_NAME, "a file part without file_id or a base64 data URL")
    return _titled(file, _source(*held))


def _refusal(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": part.get("refusal")}


def _audio(part: Mapping[str, Any]) -> dict[str, Any]:
    cannot(_NAME, f"a part of type {part['type']}")


_PARTS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "image_bytes": _raw,
    "pdf_bytes": _raw,
    "image_url": _image_url,
    "file": _file,
    "refusal": _refusal,
    "input_audio": _audio,
    "audio_bytes": _audio,
    "video_url": _audio,
}


def _source(mime: str, data: str) -> dict[str, Any]:
    """An image, PDF or text block of base64 text."""
    if mime == "text/plain":
        text = {"type": "text", "media_type": mime, "data": _decoded(data)}
        return {"type": "document", "source": text}
    if mime != "application/pdf" and not mime.startswith("image/"):
        cannot(_NAME, f"a file of type {mime}")
    kind = "document" if mime == "application/pdf" else "image"
    return {"type": kind, "source": {"type": "base64", "media_type": mime, "data": data}}


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError:
        cannot(_NAME, "a text file that is not UTF-8 in base64")


def _titled(given: Mapping[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    """A document keeps the name of its file."""
    if isinstance(given.get("filename"), str) and block["type"] == "document":
        block["title"] = given["filename"]
    return block


def _by_url(kind: str, url: Any) -> dict[str, Any]:
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        cannot(_NAME, f"a file_uri or URL that is not of the web: {str(url)[:80]!r}")
    return {"type": kind, "source": {"type": "url", "url": url}}


def _cached(given: Mapping[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    if "cache_control" in given:
        block["cache_control"] = given["cache_control"]
    return block


def _plain(system: list[Block]) -> str | list[Block]:
    if len(system) == 1 and system[0].keys() == {"type", "text"}:
        return str(system[0]["text"])
    return system
