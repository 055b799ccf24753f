"""Opens the transport that the settings ask for: lean, or through httpx where a proxy stands."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

from ...core.outcome import Outcome
from ...core.wire import HttpRequest
from .http11 import Origin, locate
from .httpx_client import HttpxTransport
from .lean import KEEP_ALIVE_S, MAX_CONNECTIONS, LeanTransport
from .seam import Answer, Timeouts, Transport, TransportError
from .tls import Verify, tls_context


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """``proxy``: one for everything, a URL; else, with ``trust_env``, what HTTPS_PROXY,
    HTTP_PROXY, ALL_PROXY and NO_PROXY (or the system) say when the transport is opened.

    ``verify``: True, False, the path of a CA file or folder, or a context. ``max_connections``
    counts per origin.
    """

    proxy: str | None = field(default=None, repr=False)  # may hold a password
    verify: Verify = True
    max_connections: int = MAX_CONNECTIONS
    trust_env: bool = True


def open_transport(http: HttpSettings) -> Transport:
    """Opens no connection yet."""
    lean = LeanTransport(verify=http.verify, max_connections=http.max_connections)
    proxy_of = proxies(http)
    return lean if proxy_of is None else ProxyingTransport(http, lean, proxy_of)


def proxies(http: HttpSettings) -> Callable[[Origin], str | None] | None:
    """Tells the proxy of an origin, if it has one; None: no origin has."""
    if http.proxy is not None:
        proxy = http.proxy
        return lambda _: proxy
    found = urllib.request.getproxies() if http.trust_env else {}
    if not found.keys() & {"http", "https", "all"}:
        return None

    def proxy_of(origin: Origin) -> str | None:
        proxy = found.get(origin.scheme) or found.get("all")
        if not proxy or urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    return proxy_of


class ProxyingTransport:
    """Lean where no proxy stands between, else an httpx client per proxy."""

    def __init__(
        self, http: HttpSettings, lean: LeanTransport, proxy_of: Callable[[Origin], str | None]
    ) -> None:
        self._http = http
        self._lean = lean
        self._proxy_of = proxy_of
        self._by_proxy: dict[str, Transport] = {}
        self._by_origin: dict[Origin, Transport] = {}

    async def send(
        self,
        request: HttpRequest,
        timeouts: Timeouts,
        go: Callable[[], bool],
        limit_s: float | None = None,
    ) -> Answer:
        return await self._for(request.url).send(request, timeouts, go, limit_s)

    async def aclose(self) -> None:
        await self._lean.aclose()
        for transport in self._by_proxy.values():
            await transport.aclose()

    def abort(self) -> None:
        self._lean.abort()
        for transport in self._by_proxy.values():
            transport.abort()

    def _for(self, url: str) -> Transport:
        try:
            origin = locate(url)[0]
        except ValueError:
            return self._lean  # which says what is wrong with it
        found = self._by_origin.get(origin)
        if found is None:
            proxy = self._proxy_of(origin)
            found = self._lean if proxy is None else self._through(proxy)
            self._by_origin[origin] = found
        return found

    def _through(self, proxy: str) -> Transport:
        if proxy not in self._by_proxy:
            self._by_proxy[proxy] = HttpxTransport(proxied_client(self._http, proxy), owned=True)
        return self._by_proxy[proxy]


def proxied_client(http: HttpSettings, proxy: str) -> Any:
    """Raises TransportError (unreachable) for a proxy that httpx cannot speak to."""
    import httpx  # noqa: PLC0415 - slow to import, and needed behind proxies only

    limits = httpx.Limits(
        max_connections=http.max_connections,
        max_keepalive_connections=http.max_connections,
        keepalive_expiry=KEEP_ALIVE_S,
    )
    try:
        client = httpx.AsyncClient(
            proxy=proxy, verify=tls_context(http.verify), trust_env=False, limits=limits
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        kind = type(error).__name__  # its text may show the proxy's password
        raise TransportError(Outcome.UNREACHABLE, f"the proxy cannot be used: {kind}") from None
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client
