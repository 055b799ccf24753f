"""Messages as the responses API takes them: a list of input items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .parts import Said, cannot, checked, own_words, raw_part
from .reading import as_dict
from .responses_answer import said
from .roles import calls_in

NAME = "openai_responses"

Item = dict[str, Any]


def items(messages: Sequence[Mapping[str, Any]], provider: str) -> list[Any]:
    """The items of all messages to ``provider``. What already is an item stays as it is."""
    return [item for message in messages for item in _items(checked(NAME, message), provider)]


def _items(message: Mapping[str, Any], provider: str) -> Iterable[Any]:
    if "role" not in message and "type" in message:
        return (message,)
    own: list[Any] | None = own_words(message, provider, _own_said)
    if own is not None:
        return own
    role = message.get("role")
    make = _ROLES.get(role) if isinstance(role, str) else None
    if make is None:
        cannot(NAME, f"a message with role {role!r}")
    return make(message)


def _own_said(native: Any) -> Said | None:
    """None for an answer to chat completions, of which the same provider may have given some."""
    if not isinstance(native, list) or not all(isinstance(item, dict) for item in native):
        return None
    return said(native)


def _said(message: Mapping[str, Any]) -> list[Item]:
    return [{"role": message["role"], "content": _content(message.get("content"))}]


def _assistant(message: Mapping[str, Any]) -> list[Item]:
    content, calls = message.get("content"), calls_in(NAME, message)
    words = [{"role": "assistant", "content": _spoken(content)}] if content else []
    return [*words, *(_call(call) for call in calls)]


def _call(given: Any) -> Item:
    call = as_dict(given)
    function, custom = as_dict(call.get("function")), as_dict(call.get("custom"))
    if custom:
        own = {"type": "custom_tool_call", "input": custom.get("input", "")}
    elif isinstance(function.get("name"), str):
        own = {"type": "function_call", "arguments": function.get("arguments") or "{}"}
    else:
        cannot(NAME, "a tool call without a function's name")
    return {**own, "call_id": call.get("id"), "name": (custom or function).get("name")}


def _result(message: Mapping[str, Any]) -> list[Item]:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        cannot(NAME, "a tool message without tool_call_id")
    content = message.get("content")
    output = content if isinstance(content, str) else _content(content)
    return [{"type": "function_call_output", "call_id": call_id, "output": output}]


_ROLES: Mapping[str, Callable[[Mapping[str, Any]], list[Item]]] = {
    "system": _said,
    "developer": _said,
    "user": _said,
    "assistant": _assistant,
    "tool": _result,
}


# -- parts


def _content(content: Any) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list | tuple):
        cannot(NAME, f"content of type {type(content).__name__}")
    return [_part(part) for part in content]


def _spoken(content: Any) -> Any:
    """What an assistant said. Text is of another type than what is said to it."""
    if not isinstance(content, list | tuple):
        return _content(content)
    found = []
    for part in content:
        kind = as_dict(part).get("type")
        if kind in ("text", "output_text"):
            found.append({"type": "output_text", "text": part.get("text")})
        elif kind == "refusal":
            found.append(dict(part))
        else:
            cannot(NAME, f"an assistant's part of type {kind!r}")
    return found


def _part(part: Any) -> Item:
    given = as_dict(part)
    kind = given.get("type")
    make = _PARTS.get(kind) if isinstance(kind, str) else None
    if make is None:
        cannot(NAME, f"a part of type {kind!r}")
    return make(given)


def _image_url(part: Item) -> Item:
    image = part.get("image_url")
    if isinstance(image, str):
        image = {"url": image}
    url = as_dict(image).get("url")
    if not isinstance(url, str):
        cannot(NAME, "an image_url without its url")
    return {"type": "input_image", "image_url": url} | _picked(as_dict(image), "detail")


def _image_bytes(part: Item) -> Item:
    mime, data = raw_part(NAME, part)
    return {"type": "input_image", "image_url": f"data:{mime};base64,{data}"}


def _pdf_bytes(part: Item) -> Item:
    mime, data = raw_part(NAME, part)
    name = part.get("filename", "document.pdf")
    return {"type": "input_file", "filename": name, "file_data": f"data:{mime};base64,{data}"}


def _file(part: Item) -> Item:
    uri = part.get("file_uri")
    if uri is not None:
        if not isinstance(uri, str) or not uri.startswith(("https://", "http://")):
            cannot(NAME, "a file part whose file_uri is no web address")
        return {"type": "input_file", "file_url": uri}
    told = _picked(as_dict(part.get("file")), "file_id", "file_data", "filename", "file_url")
    if not told:
        cannot(NAME, "a file part without file_id, file_data or file_uri")
    return {"type": "input_file", **told}


def _picked(given: Item, *names: str) -> Item:
    return {name: given[name] for name in names if given.get(name) is not None}


_PARTS: Mapping[str, Callable[[Item], Item]] = {
    "text": lambda part: {"type": "input_text", "text": part.get("text")},
    "image_url": _image_url,
    "image_bytes": _image_bytes,
    "pdf_bytes": _pdf_bytes,
    "file": _file,
    "input_text": dict,
    "input_image": dict,
    "input_file": dict,
}
