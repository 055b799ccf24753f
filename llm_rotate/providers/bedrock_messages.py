"""Turns OpenAI-shaped messages and tools into Converse's.

System messages are gathered; messages of one role in a row become one; tool results are blocks
of a user message. Blocks in Converse's own shapes pass as they are. A ``cache_control`` on a
part, a message, a tool, its call or its result is a cache point behind it. A message's ``name``
has no place there and is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from .bedrock_answer import said
from .parts import Said, cannot, from_data_url, own_words, raw_part
from .reading import as_dict
from .roles import Roles, Turn, called, calls_in, in_turns

_NAME = "bedrock"
Block = Mapping[str, Any]

# Formats by mime type: the enums of the service's model (bedrock-runtime, 2023-09-30).
_IMAGES = {f"image/{kind}": kind for kind in ("png", "jpeg", "gif", "webp")}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_VIDEOS = {
    "video/x-matroska": "mkv",
    "video/quicktime": "mov",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
_AUDIO = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/mp4": "m4a",
    "audio/webm": "webm",
}
_MEDIA = (
    ("image", _IMAGES),
    ("document", _DOCUMENTS),
    ("video", _VIDEOS),
    ("audio", _AUDIO),
)
# What a document's name may hold besides letters, digits and single spaces.
_UNNAMABLE = re.compile(r"[^A-Za-z0-9\-()\[\]]+")
_LONGEST_NAME = 200
# Blocks that Converse knows, by their one field.
_OWN = frozenset(
    {
        "text",
        "image",
        "document",
        "video",
        "audio",
        "toolUse",
        "toolResult",
        "guardContent",
        "cachePoint",
        "reasoningContent",
        "citationsContent",
        "searchResult",
    }
)


def split(
    messages: Sequence[Mapping[str, Any]], provider: str
) -> tuple[list[Block], list[dict[str, Any]]]:
    """(system, messages). ``provider``: whom they go to."""
    roles: Roles = {"user": _user, "assistant": partial(_assistant, provider), "tool": _tool_result}
    system, found = in_turns(_NAME, messages, _content, roles)
    _name_apart(found)
    return system, found


def _name_apart(messages: list[dict[str, Any]]) -> None:
    """Names of documents must differ within a request."""
    seen: dict[str, int] = {}
    for message in messages:
        message["content"] = [_apart(block, seen) for block in message["content"]]


def _apart(block: Block, seen: dict[str, int]) -> Block:
    """The block, or one like it, for it may be the caller's own."""
    document = as_dict(block.get("document"))
    name = document.get("name")
    if not isinstance(name, str):
        return block
    seen[name] = seen.get(name, 0) + 1
    if seen[name] == 1:
        return block
    return {**block, "document": {**document, "name": f"{name} ({seen[name]})"}}


def has_tool_blocks(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the conversation has used tools: then it must offer them."""
    return any(
        isinstance(block, Mapping) and ("toolUse" in block or "toolResult" in block)
        for message in messages
        for block in message["content"]
    )


def tools(given: Any) -> list[Any]:
    """Function tools converted; Converse's own pass."""
    if not isinstance(given, list | tuple):
        cannot(_NAME, "tools that are not a list")
    return [entry for each in given for entry in _tool(each)]


def _tool(given: Any) -> list[Any]:
    if not isinstance(given, Mapping) or not isinstance(given.get("function"), Mapping):
        return [given]
    function = given["function"]
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    kept = {name: function[name] for name in ("description", "strict") if function.get(name)}
    spec = {"name": function.get("name"), **kept, "inputSchema": {"json": schema}}
    return _marked(given, {"toolSpec": spec})


def tool_choice(given: Any) -> Any:
    """Converse's word for every choice but none."""
    if isinstance(given, str):
        if given not in {"auto", "required"}:
            cannot(_NAME, f"tool_choice {given!r}")
        return {"auto" if given == "auto" else "any": {}}
    name = as_dict(as_dict(given).get("function")).get("name")
    return {"tool": {"name": name}} if name else given


def _said(native: Any) -> Said | None:
    """None also where a tool call was cut off: no request takes that."""
    if not isinstance(native, list) or not all(isinstance(block, dict) for block in native):
        return None
    uses = [block["toolUse"] for block in native if "toolUse" in block]
    return said(native) if all(isinstance(as_dict(u).get("input"), dict) for u in uses) else None


def _user(message: Mapping[str, Any]) -> Turn:
    return "user", _content(message)


def _assistant(provider: str, message: Mapping[str, Any]) -> Turn | None:
    own = own_words(message, provider, _said)
    if own is None:
        calls = calls_in(_NAME, message)
        used = [block for call in calls for block in _marked(call, _call(call))]
        blocks = [*_content(message), *used]
    else:
        blocks = _without_empty(own)
    return ("assistant", blocks) if blocks else None  # the provider would refuse one without


def _tool_result(message: Mapping[str, Any]) -> Turn:
    result = {"toolUseId": message.get("tool_call_id"), "content": _blocks(message.get("content"))}
    return "user", _marked(message, {"toolResult": result})


def _call(call: Any) -> dict[str, Any]:
    name, arguments = called(_NAME, call)
    return {"toolUse": {"toolUseId": call.get("id"), "name": name, "input": arguments}}


def _content(message: Mapping[str, Any]) -> list[Block]:
    blocks = _blocks(message.get("content"))
    return [*blocks[:-1], *_marked(message, blocks[-1])] if blocks else []


def _blocks(content: Any) -> list[Block]:
    """A message's content as blocks. Empty text is left out: the provider refuses it."""
    if content is None:
        return []
    if isinstance(content, str):
        return _without_empty([{"text": content}])
    if not isinstance(content, list | tuple):
        cannot(_NAME, f"content of type {type(content).__name__}")
    return _without_empty([block for part in content for block in _part(part)])


def _without_empty(blocks: Sequence[Block]) -> list[Block]:
    return [block for block in blocks if block != {"text": ""}]


def _part(part: Any) -> list[Block]:
    if isinstance(part, str):
        return [{"text": part}]
    if not isinstance(part, Mapping):
        cannot(_NAME, f"a part of type {type(part).__name__}")
    if _is_own(part):
        return [part]
    convert = _PARTS.get(str(part.get("type")))
    if convert is None:
        cannot(_NAME, f"a part of type {part.get('type')!r}")
    return _marked(part, convert(part))


def _is_own(part: Any) -> bool:
    return isinstance(part, Mapping) and len(part) == 1 and not _OWN.isdisjoint(part)


def _text(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": part.get("text", part.get("refusal"))}


def _raw(part: Mapping[str, Any]) -> dict[str, Any]:
    mime, data = raw_part(_NAME, part)
    return _media(mime, {"bytes": data}, part.get("filename"))


def _image_url(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(part["type"])
    given = part.get(kind)
    url = given if isinstance(given, str) else as_dict(given).get("url")
    if not isinstance(url, str):
        cannot(_NAME, f"a part of type {kind} without a URL")
    held = from_data_url(url)
    if held is None:
        cannot(_NAME, f"a part of type {kind} by its URL; it takes bytes and data URLs")
    return _media(held[0], {"bytes": held[1]})


def _file(part: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's file part, or one with ``file_uri`` (in S3) and ``mime_type``."""
    if "file_uri" in part:
        uri = part["file_uri"]
        if not isinstance(uri, str) or not uri.startswith("s3://"):
            cannot(_NAME, f"a file_uri that is not in S3: {str(uri)[:80]!r}")
        return _media(str(part.get("mime_type")), {"s3Location": {"uri": uri}})
    file = as_dict(part.get("file"))
    held = from_data_url(str(file.get("file_data")))
    if held is None:
        cannot(_NAME, "a file part without a base64 data URL or a file_uri in S3")
    return _media(held[0], {"bytes": held[1]}, file.get("filename"))


def _input_audio(part: Mapping[str, Any]) -> dict[str, Any]:
    sound = as_dict(part.get("input_audio"))
    if not isinstance(sound.get("data"), str) or sound.get("format") not in _AUDIO.values():
        cannot(_NAME, "an input_audio part without base64 data and a format that it knows")
    return {"audio": {"format": sound["format"], "source": {"bytes": sound["data"]}}}


def _thinking(part: Mapping[str, Any]) -> dict[str, Any]:
    """Anthropic's thinking, as its models on Bedrock take it back."""
    if part["type"] == "redacted_thinking":
        return {"reasoningContent": {"redactedContent": part.get("data")}}
    signed = {"signature": part["signature"]} if part.get("signature") else {}
    return {"reasoningContent": {"reasoningText": {"text": part.get("thinking"), **signed}}}


_PARTS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "text": _text,
    "refusal": _text,
    "image_bytes": _raw,
    "pdf_bytes": _raw,
    "audio_bytes": _raw,
    "image_url": _image_url,
    "video_url": _image_url,
    "file": _file,
    "input_audio": _input_audio,
    "thinking": _thinking,
    "redacted_thinking": _thinking,
}


def _media(mime: str, source: dict[str, Any], filename: Any = None) -> dict[str, Any]:
    kind, known = next(((k, formats) for k, formats in _MEDIA if mime in formats), ("", {}))
    if not kind:
        cannot(_NAME, f"a file of type {mime}")
    named = {"name": _document_name(filename)} if kind == "document" else {}
    return {kind: {"format": known[mime], **named, "source": source}}


def _document_name(filename: Any) -> str:
    """A name that the provider takes, made of the file's without its ending."""
    stem = str(filename).rpartition(".")[0] or str(filename) if filename else ""
    return " ".join(_UNNAMABLE.sub(" ", stem).split())[: _LONGEST_NAME - 6] or "document"


def _marked(given: Mapping[str, Any], block: Block) -> list[Block]:
    """The block, and a cache point if it has a ``cache_control``."""
    control = given.get("cache_control")
    if not control:
        return [block]
    ttl = as_dict(control).get("ttl")
    return [block, {"cachePoint": {"type": "default", **({"ttl": ttl} if ttl else {})}}]
