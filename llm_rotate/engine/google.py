"""The google-genai SDK's clients, which send over the pool's own transport."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from ..core.wire import Endpoint, Ready
from ..errors import ConfigurationError
from ..providers.gemini_urls import split_version
from .extra_headers import Pairs
from .google_answer import Call, Crossing
from .google_auth import Token
from .google_call import read, shape
from .google_sdk import genai
from .readers import Readers
from .run import Grant
from .stages import PoolKey, Stage
from .transport.seam import Answer, Timeouts, Transport


def is_cold(stages: Sequence[Stage]) -> bool:
    """Is one of them served by an SDK that is not imported yet?"""
    return not shape.cache_info().currsize and any(each.provider.sdk for each in stages)


_IMPORTERS = Readers()


async def warm() -> None:
    """Imports what takes half a second to import, off the loop, once for all who wait."""
    await asyncio.get_running_loop().run_in_executor(_IMPORTERS, _rehearse)


def _rehearse() -> None:
    """A call that ends before it is sent. What the SDK makes at its first call is made here:
    a fork in the midst of that would leave a lock behind that nobody opens.
    """
    found = read(b'{"contents": [{"parts": [{"text": "x"}]}], "config": {}}')
    endpoint = Endpoint("x", "http://rehearsal.invalid")
    client = _client({"vertexai": False, "api_key": "x"}, endpoint, *_http_clients())
    with suppress(RuntimeError):
        client.models.generate_content(model="x", contents=found.contents, config=found.config)


class SdkClients:
    """The SDK's clients of one event loop, one per key; they hold no sockets of their own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._held: WeakKeyDictionary[PoolKey, tuple[Ready, Any]] = WeakKeyDictionary()
        self._http: tuple[Any, Any] | None = None

    def of(self, key: PoolKey, ready: Ready) -> Any:
        """The key's client, made anew when its secret was read again."""
        held = self._held.get(key)
        if held is None or held[0] is not ready:
            self._http = self._http or _http_clients()
            held = self._held[key] = ready, _client(_account(key), ready.endpoint, *self._http)
        return held[1]

    async def send(
        self, grant: Grant, ready: Ready, call: Call, timeouts: Timeouts, extra: Pairs
    ) -> Answer:
        """Sends once. Raises as the transport does; BAD_REQUEST: the SDK wrote no request."""
        crossing = Crossing(self._transport, grant, timeouts, extra, call)
        return await crossing.make(self.of(grant.key, ready))

    async def aclose(self) -> None:
        """Lets go of the clients; a call under way ends with the transport's sockets."""
        self._held.clear()
        http, self._http = self._http, None
        if http is not None:
            await http[0].aclose()
            http[1].close()


def _http_clients() -> tuple[Any, Any]:
    from .transport import guest  # noqa: PLC0415 - httpx is slow to import

    return guest.guest_client(), guest.no_client()


def _account(key: PoolKey) -> dict[str, Any]:
    """What the SDK asks with: an API key, or the token of a project at Vertex."""
    if key.endpoint.auth != "google":
        return {"vertexai": False, "api_key": key.secret}
    token: Token | None = key.token
    if token is None:
        return {"vertexai": True, "api_key": key.secret}
    auth = key.endpoint.auth_config
    project = auth.get("project") or token.project
    if not project:
        raise ConfigurationError(f"key {key.key_id!r} needs auth_config.project")
    credentials = genai("google.oauth2.credentials").Credentials(
        token.value, quota_project_id=token.quota_project
    )
    location = auth.get("region")
    return {
        "vertexai": True,
        "credentials": credentials,
        "project": project,
        "location": location,
    }


def _client(
    account: Mapping[str, Any], endpoint: Endpoint, asynchronous: Any, blocking: Any
) -> Any:
    types = genai("google.genai.types")
    base_url, version = _split_version(endpoint)
    unused = _unused_certificates()
    options = types.HttpOptions(
        base_url=base_url,
        api_version=version,
        headers=dict(endpoint.headers),
        httpx_async_client=asynchronous,
        httpx_client=blocking,
        client_args={"verify": unused},
        async_client_args={"verify": unused, "ssl": unused},
        retry_options=types.HttpRetryOptions(attempts=1),
    )
    return genai().Client(**account, http_options=options)


@cache
def _unused_certificates() -> ssl.SSLContext:
    """For clients that the SDK does not make here. It would read those of the machine for every
    key, which takes longer than a call.
    """
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _split_version(endpoint: Endpoint) -> tuple[str | None, str | None]:
    """(address, version); None: the SDK's own, which knows how Vertex spells regions."""
    if endpoint.base_url.endswith("-aiplatform.googleapis.com"):
        return None, endpoint.flags.get("api_version")
    return split_version(endpoint)
