"""Turns OpenAI-shaped messages and tools into Gemini's contents.

System messages become the system instruction; tool results are parts of a user's content.
Parts in Gemini's own shapes pass as they are. A message's ``name`` and cache markers have no
place there (caching is the service's own affair) and are dropped.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .gemini_answer import MADE_UP_ID, said
from .jsonio import loads
from .parts import Said, cannot, from_data_url, own_words, raw_part
from .reading import as_dict
from .roles import Roles, Turn, called, calls_in, in_turns

_NAME = "gemini"
Part = Mapping[str, Any]


def split(
    messages: Sequence[Mapping[str, Any]], provider: str
) -> tuple[list[Part], list[dict[str, Any]]]:
    """(parts of the system instruction, contents). ``provider``: whom they go to."""
    names: dict[Any, str] = {}  # of the functions called so far, by the id of the call
    roles: Roles = {
        "user": _user,
        "assistant": partial(_assistant, provider, names),
        "tool": partial(_tool_result, names),
    }
    return in_turns(_NAME, messages, lambda each: _parts(each.get("content")), roles, "parts")


def tools(given: Any) -> list[Any]:
    """Function tools gathered in one; any other kind is the provider's own and passes."""
    if not isinstance(given, list | tuple):
        cannot(_NAME, "tools that are not a list")
    functions = [_declaration(tool["function"]) for tool in given if _is_function(tool)]
    others = [tool for tool in given if not _is_function(tool)]
    return [*([{"functionDeclarations": functions}] if functions else []), *others]


def _is_function(tool: Any) -> bool:
    return isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping)


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    told = {"name": function.get("name"), "description": function.get("description")}
    if function.get("parameters"):
        told["parametersJsonSchema"] = function["parameters"]
    return {name: value for name, value in told.items() if value is not None}


_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def tool_choice(given: Any) -> dict[str, Any]:
    """The config of function calling."""
    if isinstance(given, str):
        if given not in _MODES:
            cannot(_NAME, f"tool_choice {given!r}")
        return {"mode": _MODES[given]}
    name = as_dict(as_dict(given).get("function")).get("name")
    if not isinstance(name, str):
        cannot(_NAME, "a tool_choice that names no function")
    return {"mode": "ANY", "allowedFunctionNames": [name]}


def _user(message: Mapping[str, Any]) -> Turn | None:
    parts = _parts(message.get("content"))
    return ("user", parts) if parts else None


def _assistant(provider: str, names: dict[Any, str], message: Mapping[str, Any]) -> Turn | None:
    converted = [_call(call, names) for call in calls_in(_NAME, message)]
    own = own_words(message, provider, _said)
    parts = own or [*_parts(message.get("content")), *converted]
    return ("model", parts) if parts else None


def _said(native: Any) -> Said | None:
    if not isinstance(native, list) or not all(isinstance(part, dict) for part in native):
        return None
    return said(native)


def _call(call: Any, names: dict[Any, str]) -> Part:
    (name, arguments), call_id = called(_NAME, call), as_dict(call).get("id")
    if isinstance(call_id, str):
        names[call_id] = name
    return {"functionCall": {"name": name, "args": arguments} | _given_id(call_id)}


def _given_id(call_id: Any) -> dict[str, str]:
    """An id that was made up on the way here means nothing to the provider."""
    if not isinstance(call_id, str) or call_id.startswith(MADE_UP_ID):
        return {}
    return {"id": call_id}


def _tool_result(names: dict[Any, str], message: Mapping[str, Any]) -> Turn:
    call_id = message.get("tool_call_id")
    name = names.get(call_id) if isinstance(call_id, str) else None
    name = name or message.get("name") or next(reversed(names.values()), None)
    if not isinstance(name, str):
        cannot(_NAME, "a tool message without a tool call before it or a name of its own")
    told = {"name": name, "response": _result(message.get("content"))}
    return "user", [{"functionResponse": told | _given_id(call_id)}]


def _result(content: Any) -> dict[str, Any]:
    """A tool's result as the JSON object that the provider wants."""
    if isinstance(content, list | tuple):
        texts = [as_dict(part).get("text", part) for part in content]
        if not all(isinstance(text, str) for text in texts):
            cannot(_NAME, "a tool message with other parts than text")
        content = "".join(map(str, texts))
    if isinstance(content, str):
        try:
            content = loads(content.encode("utf-8", "surrogatepass"))
        except ValueError:
            return {"result": content}
    return content if isinstance(content, dict) else {"result": content}


def _parts(content: Any) -> list[Part]:
    """A message's content as parts. Empty text is left out: the provider refuses it."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [{"text": content}]
    if not isinstance(content, list | tuple):
        cannot(_NAME, f"content of type {type(content).__name__}")
    return [_part(part) for part in content if part != {"type": "text", "text": ""}]


def _part(part: Any) -> Part:
    if isinstance(part, str):
        return {"text": part}
    if not isinstance(part, Mapping):
        cannot(_NAME, f"a part of type {type(part).__name__}")
    if "type" not in part:
        return part
    convert = _PARTS.get(str(part["type"]))
    if convert is None:
        cannot(_NAME, f"a part of type {part['type']!r}")
    return convert(part)


def _text(part: Part) -> Part:
    text = part.get("refusal" if part["type"] == "refusal" else "text")
    if not isinstance(text, str):
        cannot(_NAME, f"a part of type {part['type']} without its text")
    return {"text": text}


def _raw(part: Part) -> Part:
    return _inline(*raw_part(_NAME, part))


def _url(part: Part) -> Part:
    given = part.get(str(part["type"]))
    url = given if isinstance(given, str) else as_dict(given).get("url")
    if not isinstance(url, str):
        cannot(_NAME, f"a part of type {part['type']} without a URL")
    held = from_data_url(url)
    return _inline(*held) if held else _by_uri(url, as_dict(given).get("mime_type"))


def _file(part: Part) -> Part:
    """OpenAI's file part, or one with ``file_uri`` and ``mime_type``."""
    if "file_uri" in part:
        return _by_uri(part["file_uri"], part.get("mime_type"))
    file = as_dict(part.get("file"))
    held = from_data_url(str(file.get("file_data")))
    if held is not None:
        return _inline(*held)
    if not isinstance(file.get("file_id"), str):
        cannot(_NAME, "a file part without file_uri, file_id or a base64 data URL")
    return _by_uri(file["file_id"], None)


_SOUNDS = {"mp3": "audio/mp3", "wav": "audio/wav"}


def _audio(part: Part) -> Part:
    sound = as_dict(part.get("input_audio"))
    kind, held = sound.get("format"), sound.get("data")
    if not isinstance(kind, str) or not isinstance(held, str):
        cannot(_NAME, "an input_audio part without data and format")
    return _inline(_SOUNDS.get(kind, f"audio/{kind}"), held)


_PARTS: Mapping[str, Callable[[Part], Part]] = {
    "text": _text,
    "refusal": _text,
    "image_bytes": _raw,
    "pdf_bytes": _raw,
    "audio_bytes": _raw,
    "image_url": _url,
    "video_url": _url,
    "file": _file,
    "input_audio": _audio,
}


def _inline(mime: str, data: str) -> Part:
    return {"inlineData": {"mimeType": mime, "data": data}}


def _by_uri(uri: Any, mime: Any) -> Part:
    """A file that the provider fetches: its own (https://.../files/..., gs://) or the web's."""
    if not isinstance(uri, str) or "://" not in uri:
        cannot(_NAME, f"a file_uri or URL that names no place: {str(uri)[:80]!r}")
    kind = mime or mimetypes.guess_type(uri.partition("?")[0])[0]
    return {"fileData": {"fileUri": uri} | ({"mimeType": kind} if kind else {})}


# -- contents that are meant for this provider


def native(contents: Any) -> list[Any]:
    """Contents as the SDK takes them: parts of ours converted, what is its own left alone."""
    given = (
        contents if isinstance(contents, list | tuple) and not _is_blob(contents) else [contents]
    )
    return [_native(item) for item in given]


def _is_blob(item: Any) -> bool:
    """Bytes with their mime type."""
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], bytes | bytearray)


def _native(item: Any) -> Any:
    if _is_blob(item):
        return {"inline_data": {"data": bytes(item[0]), "mime_type": item[1]}}
    if isinstance(item, bytes | bytearray | memoryview):
        cannot(_NAME, "bytes without mime_type: give {'data': ..., 'mime_type': ...}")
    if not isinstance(item, Mapping):
        return item
    if "data" in item and "mime_type" in item and "type" not in item:
        data, mime = item["data"], item["mime_type"]
        if not isinstance(data, bytes | bytearray | memoryview):
            cannot(_NAME, f"data of type {type(data).__name__}, which are not bytes")
        return {"inline_data": {"data": bytes(data), "mime_type": mime}}
    if "type" in item:
        return _with_bytes(_part(item))
    if isinstance(item.get("parts"), list | tuple):
        parts = native(list(item["parts"]))
        return {**item, "parts": [{"text": p} if isinstance(p, str) else p for p in parts]}
    return item


def _with_bytes(part: Part) -> Part:
    """The SDK takes data as bytes, where JSON has base64."""
    held = part.get("inlineData")
    if held is None:
        return part
    try:
        data = base64.b64decode(held["data"])
    except ValueError:
        cannot(_NAME, "a part whose data is not base64")
    return {"inlineData": {**held, "data": data}}
