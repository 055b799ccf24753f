"""Checks of single fields. They raise ValueError, and never with what was written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ..secrets import SPELLINGS, scheme_of

# What llm-rotate 0.3 called the dialects, by provider.
OLD_ADAPTERS: Mapping[str, str] = {
    "": "openai",
    "openrouter": "openai",
    "azure_openai": "openai",
    "google_ai_studio": "gemini",
    "google_vertex": "gemini",
    "aws_bedrock": "bedrock",
}
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PROXIES = ("http", "https", "socks5", "socks5h")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


def dialect(name: Any) -> Any:
    return OLD_ADAPTERS.get(name, name) if isinstance(name, str) else name


def named_tags(tags: Any) -> Any:
    """A list of names is a mapping of each to the empty text."""
    return dict.fromkeys(tags, "") if isinstance(tags, (list, tuple, set, frozenset)) else tags


def web_address(text: Any) -> str:
    """An http(s) URL to which paths can be added, without a slash at its end."""
    if not isinstance(text, str) or not text.isprintable() or " " in text:
        raise ValueError("must be the URL of a server")
    parts = _split(text)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with https:// or http:// and a host")
    if "@" in parts.netloc:
        raise ValueError("must hold no user and password; use headers for them")
    if parts.query or parts.fragment:
        raise ValueError("must end with its path, without ? and #")
    return text.rstrip("/")


def proxy_address(url: str) -> str:
    """A proxy that the transports can speak to."""
    parts = _split(url)
    if parts is None or parts.scheme not in PROXIES or not parts.hostname or " " in url:
        raise ValueError(f"must begin with {', '.join(PROXIES)} and ://, and name a host")
    return url


def certificates(place: str) -> str:
    """A file of CA certificates, or a folder of them."""
    import ssl  # noqa: PLC0415 - few name one

    path = Path(place)
    if not path.exists():
        raise ValueError("there is no such file or folder")
    try:
        if path.is_file():
            ssl.create_default_context(cafile=place)
    except OSError:
        raise ValueError("no certificates can be read there") from None
    return place


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts


def without_password(url: str) -> str:
    """``url`` with the password in it, if there is one, hidden."""
    parts = _split(url)
    if parts is None:
        return "***"
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def time_zone(name: Any) -> str:
    """A name of the IANA database, or UTC."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - few providers have a day of their own

    if name != "UTC":
        try:
            ZoneInfo(name)
        except (ValueError, OSError, LookupError):
            raise ValueError("no such time zone; they are named like America/Los_Angeles") from None
    return str(name)


def header_fields(headers: Any) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise ValueError("must be a mapping of headers to values")  # noqa: TRY004 - for pydantic
    for name, value in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise ValueError("a header's name has characters that no header can carry")
        header_text(value)
    return dict(headers)


def header_text(value: Any) -> str:
    """Printable Latin-1, which is what a header can carry."""
    if isinstance(value, str) and value.isprintable() and all(ord(c) < 256 for c in value):
        return value
    raise ValueError("must be text of characters that a header can carry")


def deployment_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError("must be a deployment's name")
    return name


def deployment_names(names: Any) -> dict[str, str]:
    if not isinstance(names, Mapping) or not all(isinstance(model, str) for model in names):
        raise ValueError("must be a mapping of models' names to deployments' names")
    return {model: deployment_name(name) for model, name in names.items()}


def region(name: Any) -> str:
    """A region's name, which may become part of a host's."""
    if isinstance(name, str) and _REGION.fullmatch(name):
        return name
    raise ValueError("must be the name of a region, such as us-east-1")


def reference(text: Any) -> str:
    """Where a secret is: it must not stand here itself."""
    if isinstance(text, str) and scheme_of(text):
        return text
    raise ValueError(f"must say where the secret is: {SPELLINGS}")


def token_provider(ask: Any) -> Any:
    if not callable(ask):
        raise ValueError("must be a function that gives a token")  # noqa: TRY004 - for pydantic
    return ask


def name_of_states(name: str) -> str:
    """A name under which states are kept, and below it those of single models."""
    if "|" in name:
        raise ValueError("must not contain '|', which stands between a key and its models")
    return name


def namespace(name: str) -> str:
    """What begins the names of this pool's entries in Redis."""
    if re.fullmatch(r"[^{}\s]+", name):
        return name
    raise ValueError("must be a name such as llmrotate, without spaces and braces, and not empty")


# The fields of auth_config that decide where requests go or what they say.
_AUTH_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "azure_endpoint": web_address,
    "base_url": web_address,
    "azure_ad_token_provider": token_provider,
    "azure_deployment": deployment_name,
    "azure_deployments": deployment_names,
    "api_version": header_text,
    "region": region,
    "access_key_id": header_text,
    "session_token": reference,
    "default_headers": header_fields,
    "org_id": header_text,
    "http_referer": header_text,
    "x_title": header_text,
}


def auth_field(name: str, value: Any) -> Any:
    check = _AUTH_FIELDS.get(name)
    if check is None:
        return value
    try:
        return check(value)
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{name} {reason}")
