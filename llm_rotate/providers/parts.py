"""What the dialects share in reading a caller's messages and writing static headers.

An answer goes into the next request through ``ChatResponse.message``. For that a dialect sets
``ChatResponse.native`` to the assistant's message as its wire had it (plain JSON, signatures
included, the same for a stream as for an answer in one piece), and looks with ``own_words`` at
each assistant message that it encodes: what that returns is sent as it is. Where it returns
None, ``role``, ``content`` and ``tool_calls`` are converted as ever, and ``native`` is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, NoReturn

from ..core.wire import Endpoint
from ..errors import CapabilityError, ConfigurationError
from .jsonio import dumps, loads
from .reading import as_dict, as_text


def cannot(dialect: str, what: str) -> NoReturn:
    raise CapabilityError(
        f"{dialect} cannot carry {what}: leave it out, or send the call to a provider that can"
    )


def checked(dialect: str, message: object) -> Mapping[str, Any]:
    if not isinstance(message, Mapping):
        cannot(dialect, f"a message of type {type(message).__name__}")
    return message


PARTS_OF_BYTES = ("image_bytes", "pdf_bytes", "audio_bytes")
Said = tuple[str, list[Any]]
"""The text and the OpenAI-shaped tool calls of a message."""


def own_words(
    message: Mapping[str, Any], provider: str, said: Callable[[Any], Said | None]
) -> Any | None:
    """What ``ChatResponse.native`` was, if ``provider`` gave the message and nobody changed it.

    ``said`` reads a native message of the dialect; None where it has not the shape of one.
    """
    kept = message.get("native")
    if not isinstance(kept, Mapping) or kept.get("provider") != provider:
        return None
    found = said(kept.get("content"))
    text, calls = message.get("content") or "", message.get("tool_calls") or []
    return kept["content"] if found == (text, calls) else None


def tool_call(call_id: Any, name: object, given: object) -> dict[str, Any]:
    """OpenAI-shaped. Arguments that a stream cut short are the text as it came."""
    arguments = given if isinstance(given, str) else dumps(as_dict(given)).decode()
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": as_text(name), "arguments": arguments},
    }


def input_of(arguments: str) -> Any:
    """A tool's input; the text itself where it is no JSON, for the model may have been cut off."""
    if not arguments:
        return {}
    try:
        return loads(arguments.encode("utf-8", "surrogatepass"))
    except ValueError:
        return arguments


def written(dialect: str, body: Mapping[str, Any]) -> bytes:
    """The body as JSON; CapabilityError names what JSON has no word for."""
    try:
        return dumps(body)
    except TypeError as error:
        cannot(dialect, _strange(body) or f"a value in the request ({error})")
    except ValueError as error:
        cannot(dialect, f"a value in the request ({error})")


def _strange(body: Mapping[str, Any]) -> str | None:
    """The first value that JSON has no word for, in the encoder's order, and where it is."""
    left: list[tuple[str, Any]] = [("", body)]
    while left:
        path, value = left.pop()
        if isinstance(value, dict):
            items = [(f"{path}.{name}", each) for name, each in value.items()]
            left += reversed(items)
        elif isinstance(value, (list, tuple)):
            left += reversed([(f"{path}[{i}]", each) for i, each in enumerate(value)])
        elif isinstance(value, (bytes, bytearray, memoryview)):
            return f"{path[1:]} (bytes go into parts of type {', '.join(PARTS_OF_BYTES)})"
        elif not isinstance(value, (str, int, float, bool, NoneType)):
            return f"{path[1:]}, which is of type {type(value).__name__}"
    return None


def upstream_pin(asked: object, upstream: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """A broker's routing wishes: what the call ``asked``, and this upstream alone."""
    named = flags.get("upstream_names", {}).get(upstream, upstream)
    return as_dict(asked) | {"order": [named], "allow_fallbacks": False}


def raw_part(dialect: str, part: Mapping[str, Any]) -> tuple[str, str]:
    """(mime type, base64 text) of an image_bytes or pdf_bytes part."""
    data = part.get("data")
    if not isinstance(data, bytes | bytearray | memoryview):
        cannot(dialect, f"a part of type {part['type']} whose data is not bytes")
    mime = part.get("mime_type") or ("application/pdf" if part["type"] == "pdf_bytes" else None)
    if not isinstance(mime, str):
        cannot(dialect, f"a part of type {part['type']} without mime_type")
    return mime, base64.b64encode(data).decode("ascii")


def from_data_url(url: str) -> tuple[str, str] | None:
    """(mime type, base64 text) of a base64 data URL; None if it is another kind of URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    return head[5:-7].partition(";")[0] or "text/plain", data


def static_headers(
    secret: str | None, endpoint: Endpoint, extra: Mapping[str, str] | None = None
) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of every request with this key. The endpoint's own win over ``extra``.

    Raises ConfigurationError, without the value, if one cannot stand in a header.
    """
    found = {"content-type": "application/json", "accept": "*/*", "user-agent": "llm-rotate"}
    found |= extra or {}
    found |= {name.lower(): value for name, value in endpoint.headers.items()}
    if secret is not None and endpoint.auth != "none":
        is_bearer = endpoint.auth in ("bearer", "entra", "google")
        name = "authorization" if is_bearer else endpoint.auth
        found[name] = f"Bearer {secret}" if is_bearer else secret
    return tuple((_token(name), _line(name, value)) for name, value in found.items())


def _token(name: str) -> bytes:
    if not name.isascii() or not name.isprintable() or " " in name or ":" in name or not name:
        raise ConfigurationError(f"{name!r} cannot be the name of a header")
    return name.encode("ascii")


def _line(name: str, value: str) -> bytes:
    if not value.isascii() or not value.isprintable():
        raise ConfigurationError(
            f"the value of header {name!r} has a character that no header can carry, such as a"
            " line break or a letter beyond ASCII; look at the secret or headers it comes from"
        )
    return value.encode("ascii")
