"""The simulator: a pure app, from a request and the time to a scripted answer.

It knows no sockets and no clock: its doors (``serve``, ``memory_transport``) tell it the time.
"""

from __future__ import annotations

import json
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import words
from .anthropic_wire import AnthropicWire
from .aws_signature import ACCESS_KEY_PREFIX, access_key_in, wrong_signature
from .bedrock_embeddings_wire import BedrockEmbeddingsWire
from .bedrock_wire import BedrockWire
from .embeddings_wire import EmbeddingsWire
from .exchange import Seen, SimAnswer, SimRequest
from .faults import Faults
from .gemini_embeddings_wire import GeminiEmbeddingsWire
from .gemini_wire import GeminiWire
from .google_files import GoogleFiles
from .google_tokens import token_for
from .multipart import form_of
from .openai_wire import OpenAIWire
from .render import render
from .responses_wire import ResponsesWire
from .routes import Route, base_path, find_route, secret_in, without_secrets
from .script import KeyScript, Plan, ProviderScript, Refusal, UpstreamScript, Visit
from .transcriptions_wire import TranscriptionsWire
from .wire import Call, Wire

if TYPE_CHECKING:
    from ..client import LMRotate
    from .clock import FakeTime
    from .memory import MemoryTransport
    from .pool import Chains
    from .server import Loopback

_SECRET_PREFIX = "sk-sim-"  # noqa: S105  no secret: what simulated ones begin with


class Simulator:
    """Services that speak OpenAI chat completions, responses, embeddings and transcriptions,
    Anthropic messages, Bedrock Converse and Gemini's contents, told what to do.

    Keys are named by key id; the secret of key id ``k1`` is ``sk-sim-k1``, and its access key id
    ``AKIASIM-k1`` where requests are signed; signatures are checked. Secrets that it was not
    told about are accepted, unless ``strict_keys``. ``log_size`` bounds ``log``, in requests.
    Threads may share one simulator.
    """

    def __init__(self, *, strict_keys: bool = False, log_size: int = 10_000) -> None:
        self.log: deque[Seen] = deque(maxlen=log_size)
        self.in_flight = 0
        self.streams_cut_by_client = 0
        self._strict = strict_keys
        self._keys: dict[str, KeyScript] = {}
        self._secrets: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._providers: dict[str, ProviderScript] = {}
        self._upstreams: dict[str, UpstreamScript] = {}
        self._responses = ResponsesWire()
        self._google_files = GoogleFiles()
        self._wires: Mapping[str, Wire] = {
            "openai": OpenAIWire(),
            "openai_responses": self._responses,
            "openai embeddings": EmbeddingsWire(),
            "openai transcriptions": TranscriptionsWire(),
            "anthropic": AnthropicWire(),
            "bedrock": BedrockWire(),
            "bedrock embeddings": BedrockEmbeddingsWire(),
            "gemini": GeminiWire(),
            "gemini embeddings": GeminiEmbeddingsWire(),
        }
        self._faults: Faults | None = None
        self._says: words.Says = words.echo
        self._refused: tuple[str, ...] = ()
        self._requests: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._total = 0
        self._strangers = 0
        self._issued = 0
        self._pools: list[LMRotate] = []
        self._door: Loopback | None = None
        self._change = threading.Condition(threading.RLock())

    # Telling it what to do

    def key(self, key_id: str, *, secret: str | None = None) -> KeyScript:
        """The script of key ``key_id``, made known with ``secret`` if it is new."""
        with self._change:
            if key_id not in self._keys:
                self._keys[key_id] = KeyScript()
            if secret is not None or key_id not in self._secrets:
                self._secrets[key_id] = secret or _SECRET_PREFIX + key_id
                self._ids[self._secrets[key_id]] = key_id
            return self._keys[key_id]

    def secret(self, key_id: str) -> str:
        """What a client sends for key ``key_id``, which is known from now on."""
        self.key(key_id)
        return self._secrets[key_id]

    def provider(self, name: str) -> ProviderScript:
        """The script of a whole provider, by the name in its URL."""
        return self._providers.setdefault(name, ProviderScript())

    def upstream(self, name: str) -> UpstreamScript:
        """The script of an upstream behind openrouter, by the name in ``provider.order``."""
        return self._upstreams.setdefault(name, UpstreamScript(name))

    def faults(self, share: float, *, seed: int = 0, retry_after: float = 1.0) -> None:
        """Spoils ``share`` (0 to 1) of the requests that would have been served: 429 with
        ``retry_after`` seconds, 500, 503 and broken connections in turn of a seeded die.
        """
        self._faults = Faults(share, seed, retry_after) if share else None

    def says(self, text: str | Callable[[str], str]) -> None:
        """What models answer: this text, or this function of the last user message."""
        self._says = text if callable(text) else lambda _prompt: text

    def refuses(self, words: str) -> None:
        """400 for every request with ``words`` in what it asks: a chat's last message, a text to
        embed, a file's name.
        """
        self._refused = (*self._refused, words)

    # What it saw

    def requests(self, key_id: str | None = None) -> int:
        """Requests seen, of one key or of all."""
        return self._total if key_id is None else self._requests[key_id]

    def tokens(self, key_id: str | None = None) -> int:
        """Tokens answered with, prompts included, of one key or of all."""
        return self._tokens.total() if key_id is None else self._tokens[key_id]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        """Waits until ``condition`` holds, asked again after each request and answer, and each
        connection that was closed.

        False if that took longer than ``timeout`` real seconds.
        """
        with self._change:
            return self._change.wait_for(condition, timeout)

    def wait_idle(self, timeout: float = 5.0) -> bool:
        """Waits, in real seconds, until no request is in flight; False if that took too long.

        A client that has gone away is noticed by the server a moment later.
        """
        return self.wait_for(lambda: self.in_flight == 0, timeout)

    # Its doors

    @contextmanager
    def serve(self, *, keep_alive: float = 75.0) -> Iterator[Simulator]:
        """Answers over HTTP/1.1 on the loopback interface while the block runs.

        ``keep_alive``: seconds after which an idle connection is closed; 0 closes each after
        its answer. Nothing is left behind: no thread, socket or task. An exception while it
        answered, as of a function given to ``says``, was a 500 for the client, and is raised at
        the end of the block; where the block itself fails, its traceback goes to stderr.
        """
        from .server import Loopback  # noqa: PLC0415  the in-memory door needs none

        if self._door is not None:
            raise RuntimeError("this simulator is being served already")
        door = self._door = Loopback(self, keep_alive)
        try:
            door.start()
            yield self
        except BaseException:
            for failure in door.failures:
                traceback.print_exception(failure)
            raise
        finally:
            self._close_pools()
            door.stop()
            self._door = None
        if door.failures:
            raise door.failures[0]

    def _close_pools(self) -> None:
        while self._pools:
            self._pools.pop().close_sync()

    def memory_transport(self, *, connect_s: float = 0.0) -> MemoryTransport:
        """The same without sockets, for the engine: times are those of the running loop."""
        from .memory import MemoryTransport  # noqa: PLC0415  the HTTP door needs none

        return MemoryTransport(self, connect_s=connect_s)

    def pool(
        self,
        keys: Sequence[str] | Mapping[str, str] = ("k1", "k2", "k3"),
        *,
        provider: str = "openai",
        strategy: str = "health_aware",
        priorities: Mapping[str, int] | None = None,
        fallback_chains: Chains | None = None,
        clock: FakeTime | None = None,
        **defaults: Any,
    ) -> LMRotate:
        """A pool of simulated keys, closed when the simulator is no longer served.

        ``keys``: key ids, all of ``provider``, or a mapping key id -> provider. Every key
        serves any model. ``clock``: the pool lives in this fake time and needs no server; use
        its coroutines on a loop of the same time (``run_fake``). ``defaults``: fields of a
        configuration's ``defaults``, such as ``max_retries`` or ``max_wait_seconds``.
        RuntimeError if it is not being served and has no clock.
        """
        from ..client import LMRotate  # noqa: PLC0415  who only serves needs no engine
        from .memory import memory_url  # noqa: PLC0415
        from .pool import fake_seams, pool_config, providers_of  # noqa: PLC0415

        config = pool_config(
            providers_of(keys, provider),
            memory_url if clock else self.url,
            self.secret,
            priorities or {},
            fallback_chains=fallback_chains or {},
            defaults={"selection_strategy": strategy, **defaults},
        )
        if clock is not None:
            return LMRotate(config, seams=fake_seams(clock, self.memory_transport))
        pool = LMRotate(config)
        self._pools.append(pool)
        return pool

    @property
    def base_url(self) -> str:
        """Where it is served; providers hang below it, see ``url``."""
        if self._door is None:
            raise RuntimeError("the simulator is not being served: use `with sim.serve():`")
        return self._door.base_url

    @property
    def open_connections(self) -> int:
        """Connections of clients to the loopback server."""
        return 0 if self._door is None else self._door.open_connections

    def url(self, provider: str) -> str:
        """The base URL for ``provider`` as its SDK and a registry expect it."""
        return self.base_url + base_path(provider)

    # The app

    def answer(self, request: SimRequest, now: float, wall: float) -> SimAnswer:
        """The answer to ``request``; ``now`` in monotonic, ``wall`` in epoch seconds.

        The door that asked says ``done`` when the exchange is over.
        """
        with self._change:
            secret = self._signing_secret(request) or secret_in(request.headers)
            seen = self._see(request, self._key_id(secret), now)
            route = find_route(request.path)
            wire = self._wires[route.dialect if route else "openai"]
            call = _call(seen, route, self._total, wall, secret)
            plan = self._plan(call, seen, wire if route else None, request)
            if route is not None and route.answer_id and not plan.settled:
                self._look(plan, call, route.answer_id)
            call = replace(
                call, upstream=seen.upstream, is_bearer="authorization" in request.headers
            )
            answer = render(call, wire, plan, seen, self._says)
            self._tokens[seen.key] += seen.tokens
            self.in_flight += 1
            self._change.notify_all()
            return answer

    def done(self, answer: SimAnswer, *, early: bool) -> None:
        """An exchange is over; ``early``: the client went away before its end."""
        with self._change:
            answer.seen.closed_early = early
            self.streams_cut_by_client += early and answer.stream
            self.in_flight -= 1
            self._change.notify_all()

    def closed(self) -> None:
        """A connection was closed."""
        with self._change:
            self._change.notify_all()

    def _look(self, plan: Plan, call: Call, answer_id: str) -> None:
        plan.body = self._responses.look(call, answer_id)
        if plan.body is None:
            plan.refusal = Refusal("status", status=404)

    def _signing_secret(self, request: SimRequest) -> str:
        """The secret that a request should be signed with: its key is known by another name."""
        access_key = access_key_in(request.headers)
        key_id = access_key.removeprefix(ACCESS_KEY_PREFIX)
        return self._secrets.get(key_id, _SECRET_PREFIX + key_id) if access_key else ""

    def _see(self, request: SimRequest, key: str, now: float) -> Seen:
        body = form_of(request.headers, request.body) or _json_object(request.body)
        seen = Seen(now, key, "", request.path, without_secrets(request.headers), body)
        self.log.append(seen)
        self._total += 1
        self._requests[key] += 1
        return seen

    def _key_id(self, secret: str) -> str:
        """The key id of a secret; strangers are numbered, so that no log shows a secret."""
        if not secret:
            return ""
        if secret not in self._ids:
            if secret.startswith(_SECRET_PREFIX) and not self._strict:
                return secret.removeprefix(_SECRET_PREFIX)
            self._strangers += 1
            self._ids[secret] = f"unknown-{self._strangers}"
        return self._ids[secret]

    def _new_token(self, key_id: str) -> str:
        """What clients send for a while in place of the key's secret."""
        self._issued += 1
        token = f"{self.secret(key_id)}.{self._issued}"
        self._ids[token] = key_id
        return token

    def _plan(self, call: Call, seen: Seen, wire: Wire | None, request: SimRequest) -> Plan:
        plan = Plan()
        if (token := token_for(request, self._new_token)) is not None:
            plan.body = json.dumps(token)
            return plan
        if (sent := self._google_files.answer(request, seen.key, call)) is not None:
            if (told := self._keys.get(seen.key)) is not None:
                told.apply(sent, Visit(self._requests[seen.key], seen.at, "", stream=False))
            return sent
        is_look = request.method == "GET" and "/responses/" in request.path
        if wire is None or (request.method != "POST" and not is_look):
            plan.refusal = Refusal("status", status=404 if wire is None else 405)
            return plan
        if access_key_in(request.headers):
            wrong = wrong_signature(request, call.secret, call.wall)
            plan.refusal = Refusal("bad_signature", detail=wrong) if wrong else None
        visit = Visit(self._requests[seen.key], seen.at, seen.model, seen.stream)
        for script in (self._providers.get(seen.provider), self._keys.get(seen.key)):
            if script is not None and not plan.settled:
                script.apply(plan, visit)
        if self._strict and seen.key not in self._secrets and not plan.settled:
            plan.refusal = Refusal("bad_key")
        if not plan.settled and plan.body is None and not is_look:
            wrong = "not JSON" if seen.body is None else wire.invalid(call, request.headers)
            self._check(plan, call, seen, wrong or self._refusal_of(wire, call), visit)
        return plan

    def _refusal_of(self, wire: Wire, call: Call) -> str | None:
        prompt = wire.asked(call).prompt if self._refused else ""
        found = next((words for words in self._refused if words in prompt), None)
        return None if found is None else f"the simulator was told to refuse {found!r}"

    def _check(
        self,
        plan: Plan,
        call: Call,
        seen: Seen,
        wrong: str | None,
        visit: Visit,
    ) -> None:
        """What is refused though the key is well: a wrong request, an upstream, bad luck."""
        if wrong is not None:
            plan.refusal = Refusal("invalid", detail=wrong)
            return
        if seen.provider == "openrouter":
            seen.upstream = self._upstream(plan, call, visit)
        plan.refusal = plan.refusal or self._google_files.refusal(call.body, seen.key)
        if self._faults is not None and not plan.settled:
            self._faults.edit(plan, visit)

    def _upstream(self, plan: Plan, call: Call, visit: Visit) -> str | None:
        """The first upstream of ``provider.order`` that is up; who pins gets no other."""
        wishes = call.body.get("provider") or {}
        order = [*wishes.get("order", ())]
        if wishes.get("allow_fallbacks", True):
            order.append(call.model.partition("/")[0])
        refusal = None
        for name in order:
            attempt = Plan()
            self.upstream(name).apply(attempt, visit)
            if attempt.refusal is None:
                return str(name)
            refusal = refusal or attempt.refusal
        plan.refusal = refusal
        return None


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(raw)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _call(seen: Seen, route: Route | None, number: int, wall: float, secret: str) -> Call:
    """Completes what was seen by what its route and body say."""
    body = seen.body or {}
    model = (route.model if route else "") or body.get("model")
    seen.model = model if isinstance(model, str) else ""
    seen.provider = route.provider if route else ""
    seen.stream = body.get("stream") is True or (route is not None and route.stream)
    return Call(
        number, wall, seen.provider, seen.model, body, seen.stream, key=seen.key, secret=secret
    )
