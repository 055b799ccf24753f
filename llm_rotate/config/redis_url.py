"""``redis_url``: one server, a socket file, Sentinel or Cluster, all in one spelling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

SPELLINGS = (
    "redis://host:6379/0, rediss://host (TLS), unix:///path/to.sock, "
    "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379,host:6379"
)
PORT, SENTINEL_PORT = 6379, 26379
# What may stand after "?": TLS files and checks, Sentinel's own login, and for a socket its db.
OPTIONS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "sentinel_username",
    "sentinel_password",
    "db",
)
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where the shared state is. ``service``: what Sentinel calls it; ``path``: of a socket."""

    kind: str
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    is_tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str | bool] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Without user and password."""
        return self.path or ",".join(f"{host}:{port}" for host, port in self.nodes)


def redis_address(url: str) -> RedisAddress:
    """Raises ValueError, which never shows what was written, for what is no such URL."""
    try:
        parts = urlsplit(url)
        return _address(parts, dict(parse_qsl(parts.query, strict_parsing=bool(parts.query))))
    except (ValueError, LookupError):
        raise ValueError(f"must be one of {SPELLINGS}") from None


def _address(parts: SplitResult, query: dict[str, str]) -> RedisAddress:
    scheme, _, kind = parts.scheme.partition("+")
    if any(name not in OPTIONS for name in query):
        raise ValueError
    db = int(query.pop("db", "0"))
    options = {name: FLAGS.get(text, text) for name, text in query.items()}
    login, _, places = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    own: dict[str, Any] = {
        "username": unquote(username) or None,
        "password": unquote(password) or None,
        "options": options,
    }
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError
        return RedisAddress("unix", path=unquote(parts.path), db=db, **own)
    names = [unquote(name) for name in parts.path.split("/")[1:] if name]
    is_tls = {"redis": False, "rediss": True}[scheme]
    port = {"": PORT, "cluster": PORT, "sentinel": SENTINEL_PORT}[kind]
    nodes = tuple(_node(place, port) for place in places.split(","))
    service = names.pop(0) if kind == "sentinel" else ""
    db = int(names.pop(0)) if names else db
    if names or (kind == "" and len(nodes) > 1) or (kind == "cluster" and db):
        raise ValueError
    return RedisAddress(kind or "one", nodes, "", service, db, is_tls, **own)


def _node(place: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    return parts.hostname or "localhost", parts.port or port
