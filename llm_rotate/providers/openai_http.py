"""Requests as OpenAI's endpoints take them, at OpenAI, Azure and compatible services.

What differs at Azure is in ``Endpoint.flags``:

- ``azure``: the paths are Azure's
- ``api_version``: a date for the paths of that version; "v1" or none for those without one
- ``deployments``, ``deployment``: a model's name -> its deployment; the one of all others
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from ..core.learned import Reading
from ..core.outcome import Outcome
from ..core.wire import ChatRequest, Endpoint, EventReader, Headers, HttpRequest, Ready, Verdict
from ..types import ChatResponse
from .faults import OPENAI, broken, judge, request_id
from .jsonio import loads
from .limit_headers import readings_in
from .parts import static_headers
from .reading import as_dict
from .sdk_errors import classify
from .stream import StreamReader, Tally

_PATH, _OF_DEPLOYMENT = "{path}", "deployments/{deployment}/"  # filled in for each request
# At Azure's dated versions these belong to a deployment; the others name it in the body.
_DEPLOYED = frozenset({"chat/completions", "embeddings", "audio/transcriptions"})
_UNDATED = frozenset({"v1", "preview", "latest"})


class OpenAIEndpoint:
    """What the endpoints that answer a chat have in common. Without state of its own."""

    name: str
    path: str
    counts_cached = True

    @abstractmethod
    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes: ...

    @abstractmethod
    def fault_in(self, answer: object) -> object | None:
        """The error that a good status hides, or None."""

    @abstractmethod
    def response_of(self, answer: object, model: str) -> ChatResponse | None:
        """The response in an answer, or None if it has not the shape of one."""

    @abstractmethod
    def tally(self, request: ChatRequest) -> Tally: ...

    def prepare(self, secret: str | None, endpoint: Endpoint) -> Ready:
        return made_ready(secret, endpoint)

    def build(
        self,
        request: ChatRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        flags, model = ready.endpoint.flags, ""
        if flags.get("azure"):
            model = deployment(request.model, flags)
            if model != request.model:  # this key's own name for it
                body = self.encode(replace(request, model=model), ready.endpoint)
        url = url_of(ready, self.path, model)
        return HttpRequest("POST", url, ready.headers, body, request.stream)

    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]:
        pinned = request.upstream is not None
        if not 200 <= status < 300:
            return judge(OPENAI, status, headers, body, wall, pinned=pinned)
        try:
            answer = loads(body)
        except ValueError:
            return broken("the answer is not JSON", status, headers, body)
        fault = self.fault_in(answer)
        if fault is not None:
            return judge(OPENAI, status, headers, fault, wall, pinned=pinned)
        response = self.response_of(answer, request.model)
        if response is None:
            return broken("the answer has not the shape of one", status, headers, answer)
        response.request_id = request_id(headers)
        return Verdict(
            Outcome.OK, response, response.usage, status=status, request_id=response.request_id
        )

    def events(self, request: ChatRequest) -> EventReader:
        return StreamReader(self.tally(request))

    def readings(self, headers: Headers, wall: float) -> Sequence[Reading]:
        return readings_in(OPENAI.limits, headers, wall)

    def classify(self, error: BaseException, wall: float) -> Verdict[Any] | None:
        return classify(OPENAI, error, wall)


def made_ready(secret: str | None, endpoint: Endpoint) -> Ready:
    """A key for all endpoints of its service: the URL still lacks the request's path."""
    return Ready(endpoint, _template(endpoint), static_headers(secret, endpoint))


def route(wish: object, upstream: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """A broker's ``provider`` field that lets ``upstream`` alone serve; ``wish``: the caller's."""
    named = flags.get("upstream_names", {}).get(upstream, upstream)
    return as_dict(wish) | {"order": [named], "allow_fallbacks": False}


def url_of(ready: Ready, path: str, model: str = "") -> str:
    """Where ``path`` is; ``model``: its deployment, at Azure."""
    return _filled(ready.url, path, model)


def deployment(model: str, flags: Mapping[str, Any]) -> str:
    """The name that the key's resource has for ``model``: without a word on it, the same."""
    named = flags.get("deployments", {}).get(model) or flags.get("deployment")
    return str(named or model)


def _template(endpoint: Endpoint) -> str:
    base = endpoint.base_url.rstrip("/")
    if not endpoint.flags.get("azure"):
        return f"{base}/{_PATH}"
    base = base.removesuffix("/v1").removesuffix("/openai")
    version = endpoint.flags.get("api_version") or "v1"
    query = "" if version == "v1" else f"?api-version={quote(str(version), safe='')}"
    if version in _UNDATED:
        return f"{base}/openai/v1/{_PATH}{query}"
    return f"{base}/openai/{_OF_DEPLOYMENT}{_PATH}{query}"


@lru_cache(maxsize=512)
def _filled(template: str, path: str, model: str) -> str:
    if path not in _DEPLOYED:
        template = template.replace(_OF_DEPLOYMENT, "")
    return template.replace("{deployment}", quote(model, safe="")).replace(_PATH, path)
