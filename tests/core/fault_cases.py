"""One small scenario per row of the fault table, and what must be seen of it from outside.

The expectations are written out here, not read from the table: they are what notices when a
row says something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from llm_rotate import LMRotateError
from llm_rotate.core.events import Event, EventKind
from llm_rotate.core.outcome import Outcome
from llm_rotate.engine.report import KeyHealth
from llm_rotate.strategies import priority
from tests.behaviours.dialects import PROVIDERS
from tests.behaviours.world import HELLO, World

MODEL = "model-x"
STATED = {"retry-after": "7"}
LATER = 4000.0  # seconds after which every rest of one failure is over


@dataclass(frozen=True)
class Observed:
    """What a call to a pool of two keys shows when its first key ends so, twice.

    ``ends``: who answered, or the exception's name. ``requests``: seen by the server, of the
    first key and of the second. ``pauses``: waits within the call. ``state``, ``scopes``:
    the first key's afterwards, each a kind and its seconds; ``again``: the same after the
    second call, when all rests were over. ``successes``, ``failures``: attempts of the first
    key as usage_summary counts them. ``is_noted``: it is held against the key's turns, as a
    provider's fault is. ``is_shared``: other processes would know of its state.
    """

    ends: str
    requests: tuple[int, int] = (1, 1)
    pauses: int = 0
    state: str = "active"
    scopes: Mapping[str, str] = field(default_factory=dict)
    again: Mapping[str, str] = field(default_factory=lambda: {"": "active"})
    successes: int = 0
    failures: int = 1
    is_noted: bool = False
    is_shared: bool = False
    attempts: tuple[str, ...] = ()


def rotated(outcome: str, **seen: Any) -> Observed:
    changed = bool(seen.keys() & {"state", "scopes"}) and outcome != "secret_missing"
    return Observed("k2", attempts=(outcome, "ok"), is_shared=changed, **seen)


def retried(outcome: str, **seen: Any) -> Observed:
    return Observed("k2", pauses=1, is_noted=True, attempts=(outcome, "ok"), **seen)


def raised(error: str, outcome: str, **seen: Any) -> Observed:
    return Observed(error, requests=(1, 0), attempts=(outcome,), **seen)


# Rests: 7 s were stated, 30 s is cooldown_seconds, 300 s quarantine_seconds, and one lost
# trial doubles them unless a time was stated. Two refused secrets in a row disable.
EXPECTED: Mapping[Outcome, Observed] = {
    Outcome.OK: Observed("k1", requests=(1, 0), successes=1, failures=0, attempts=("ok",)),
    Outcome.RATE_LIMITED: rotated(
        "rate_limited",
        scopes={MODEL: "cooldown 7"},
        again={"": "active", MODEL: "quarantine 7"},
    ),
    Outcome.QUOTA_EXHAUSTED: rotated(
        "quota_exhausted", state="quarantine 300", again={"": "quarantine 600"}
    ),
    Outcome.AUTH_FAILED: rotated("auth_failed", state="quarantine 300", again={"": "disabled"}),
    Outcome.FORBIDDEN: rotated(
        "forbidden",
        scopes={MODEL: "quarantine 300"},
        again={"": "active", MODEL: "quarantine 7"},
    ),
    Outcome.MODEL_NOT_FOUND: rotated(
        "model_not_found",
        scopes={MODEL: "quarantine 300"},
        again={"": "active", MODEL: "quarantine 7"},
    ),
    Outcome.BAD_REQUEST: raised("BadRequestError", "bad_request"),
    Outcome.CONTENT_FILTERED: raised("ContentFilteredError", "content_filtered"),
    Outcome.UPSTREAM_FAILED: rotated(
        "upstream_failed",
        scopes={"upstream:anthropic": "cooldown 7"},
        again={"": "active", "upstream:anthropic": "quarantine 7"},
    ),
    Outcome.SECRET_MISSING: rotated(
        "secret_missing",
        requests=(0, 1),
        state="quarantine 300",
        again={"": "quarantine 600"},
    ),
    Outcome.TOO_LARGE_FOR_KEY: rotated("too_large_for_key"),
    Outcome.OVERLOADED: retried("overloaded"),
    Outcome.SERVER_ERROR: retried("server_error"),
    Outcome.TIMED_OUT: retried("timed_out"),
    Outcome.UNREACHABLE: retried("unreachable", requests=(0, 1)),
    Outcome.INTERRUPTED: raised("StreamInterruptedError", "interrupted", is_noted=True),
    Outcome.CANCELLED: raised("DeadlineError", "cancelled", failures=0),
}


@dataclass(frozen=True)
class Case:
    """How a service comes to say it: an answer, or something done to the world."""

    status: int = 0
    body: Any = None
    prepare: Callable[[Stage], object] = lambda stage: None
    options: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    service: str | None = None


def secret_is_missing(stage: Stage) -> None:
    stage.world.lm._pool.assembly.keys["k1"].secret_ref = "env://LLM_ROTATE_TEST_NO_SUCH_SECRET"


def slow(stage: Stage) -> None:
    stage.world.sim.key("k1").slow(inf)


def no_connection(stage: Stage) -> None:
    stage.unreachable = "k1"


def cut(stage: Stage) -> None:
    stage.world.sim.key("k1").cut_stream(1)


SAME = {
    Outcome.OK: Case(),
    Outcome.SECRET_MISSING: Case(prepare=secret_is_missing),
    Outcome.SERVER_ERROR: Case(500),
    Outcome.TIMED_OUT: Case(prepare=slow, options={"timeouts": {"first_byte": 5}}),
    Outcome.UNREACHABLE: Case(prepare=no_connection),
    Outcome.INTERRUPTED: Case(prepare=cut, stream=True),
    Outcome.CANCELLED: Case(prepare=slow, options={"timeout": 5}),
}


def said(message: str, **named: str) -> dict[str, Any]:
    return {"error": {"message": message, **named}}


def reasoned(reason: str) -> dict[str, Any]:
    return {"error": {"code": 400, "message": "x", "details": [{"reason": reason}]}}


def named(code: str, message: str) -> dict[str, Any]:
    """AWS's form of an error whose name is in its body."""
    return {"__type": f"com.amazon.coral.service#{code}", "message": message}


CASES: dict[str, Mapping[Outcome, Case]] = {
    "openai": SAME
    | {
        Outcome.RATE_LIMITED: Case(429, said("slow down", code="rate_limit_exceeded")),
        Outcome.QUOTA_EXHAUSTED: Case(429, said("no money", code="insufficient_quota")),
        Outcome.AUTH_FAILED: Case(401, said("wrong key", code="invalid_api_key")),
        Outcome.FORBIDDEN: Case(403, said("not yours")),
        Outcome.MODEL_NOT_FOUND: Case(404, said("no such model", code="model_not_found")),
        Outcome.BAD_REQUEST: Case(400, said("nonsense")),
        Outcome.CONTENT_FILTERED: Case(400, said("no", code="content_filter")),
        Outcome.UPSTREAM_FAILED: Case(
            502,
            {"error": {"code": 502, "message": "x", "metadata": {"provider_name": "Anthropic"}}},
            service="openrouter",
        ),
        Outcome.TOO_LARGE_FOR_KEY: Case(413, said("too many", code="rate_limit_exceeded")),
        Outcome.OVERLOADED: Case(503),
    },
    "anthropic": SAME
    | {
        Outcome.RATE_LIMITED: Case(429, said("slow down", type="rate_limit_error")),
        Outcome.QUOTA_EXHAUSTED: Case(400, said("Your credit balance is too low to go on.")),
        Outcome.AUTH_FAILED: Case(401, said("invalid x-api-key", type="authentication_error")),
        Outcome.FORBIDDEN: Case(403, said("not yours", type="permission_error")),
        Outcome.MODEL_NOT_FOUND: Case(404, said("model: x", type="not_found_error")),
        Outcome.BAD_REQUEST: Case(400, said("nonsense", type="invalid_request_error")),
        Outcome.CONTENT_FILTERED: Case(400, said("Output blocked by content filtering policy")),
        Outcome.OVERLOADED: Case(529, said("Overloaded", type="overloaded_error")),
    },
    "gemini": SAME
    | {
        Outcome.RATE_LIMITED: Case(429, said("slow down", status="RESOURCE_EXHAUSTED")),
        Outcome.QUOTA_EXHAUSTED: Case(403, reasoned("BILLING_DISABLED")),
        Outcome.AUTH_FAILED: Case(400, reasoned("API_KEY_INVALID")),
        Outcome.FORBIDDEN: Case(403, said("not yours", status="PERMISSION_DENIED")),
        Outcome.MODEL_NOT_FOUND: Case(404, said("no such model", status="NOT_FOUND")),
        Outcome.BAD_REQUEST: Case(400, said("nonsense", status="INVALID_ARGUMENT")),
        Outcome.CONTENT_FILTERED: Case(400, said("It violates our Responsible AI practices.")),
        Outcome.OVERLOADED: Case(503, said("Overloaded", status="UNAVAILABLE")),
    },
    "bedrock": SAME
    | {
        Outcome.RATE_LIMITED: Case(429, named("ThrottlingException", "slow down")),
        Outcome.QUOTA_EXHAUSTED: Case(400, named("ServiceQuotaExceededException", "all used")),
        Outcome.AUTH_FAILED: Case(403, named("UnrecognizedClientException", "wrong key")),
        Outcome.FORBIDDEN: Case(403, named("AccessDeniedException", "not yours")),
        Outcome.MODEL_NOT_FOUND: Case(404, named("ResourceNotFoundException", "no such model")),
        Outcome.BAD_REQUEST: Case(400, named("ValidationException", "nonsense")),
        Outcome.CONTENT_FILTERED: Case(
            400, {"message": "Output blocked by content filtering policy"}
        ),
        Outcome.OVERLOADED: Case(429, named("ModelNotReadyException", "warming up")),
    },
}
CASES["openai_responses"] = {
    outcome: case
    for outcome, case in CASES["openai"].items()
    if outcome is not Outcome.UPSTREAM_FAILED
}
# What a dialect has no words for: no broker speaks it, or its limits do not tell.
UNSAID = {
    ("openai_responses", Outcome.UPSTREAM_FAILED),
    ("anthropic", Outcome.UPSTREAM_FAILED),
    ("anthropic", Outcome.TOO_LARGE_FOR_KEY),
    ("gemini", Outcome.UPSTREAM_FAILED),
    ("gemini", Outcome.TOO_LARGE_FOR_KEY),
    ("bedrock", Outcome.UPSTREAM_FAILED),
    ("bedrock", Outcome.TOO_LARGE_FOR_KEY),
}


def observe(dialect: str, outcome: Outcome) -> Observed:
    """Runs the scenario of ``outcome``: two calls, far enough apart for any rest to end."""
    case = CASES[dialect][outcome]
    stage = Stage(case.service or PROVIDERS[dialect])
    world = stage.world
    case.prepare(stage)
    if case.status:
        world.sim.key("k1").then(case.status, body=case.body, headers=STATED, times=99)

    async def scenario() -> Observed:
        with world.lm.listen(stage.hear):
            ends = await stage.call(case)
        first, events = await stage.health(), list(stage.events)
        requests = world.sim.requests("k1"), world.sim.requests("k2")
        usage = (await world.lm.usage_summary())["by_key"].get("k1", {})
        is_noted, is_shared = stage.worst > 0.0, await stage.is_shared()
        await world.clock.sleep(LATER)
        with world.lm.listen(stage.hear):
            await stage.call(case)
        again = await stage.health()
        return Observed(
            ends,
            requests,
            sum(event.kind is EventKind.WAITING for event in events),
            first.pop(""),
            first,
            again,
            usage.get("successes", 0),
            usage.get("failures", 0),
            is_noted,
            is_shared,
            stage.attempts(events),
        )

    observed: Observed = world.run(scenario)
    return observed


class Stage:
    """A pool of two keys of which the first is preferred, and who watches its turns."""

    def __init__(self, service: str) -> None:
        self.events: list[Event] = []
        self.unreachable: str | None = None
        self.worst = 0.0
        chain = [{"provider": service, "upstream": "anthropic", "model": MODEL}]
        self.world = World(
            ["k1", "k2"],
            provider=service,
            strategy=self._place,
            priorities={"k1": 1},
            fallback_chains={"routed": chain} if service == "openrouter" else {},
            defaults={
                "cooldown_seconds": 30,
                "quarantine_seconds": 300,
                "max_consecutive_failures": 2,
                "max_retries": 1,
                "max_wait_seconds": 0,
            },
            edit=_serving_one_model,
        )
        self._asked = "routed" if service == "openrouter" else MODEL

    def hear(self, event: Event) -> None:
        self.events.append(event)
        if event.kind is EventKind.ATTEMPT_STARTED:
            is_dead = event.key_id == self.unreachable
            self.world.transport.connect_s = inf if is_dead else 0.0

    def _place(self, key: Any, record: Any, norm: Any) -> Any:
        if key.key_id == "k1":
            self.worst = max(self.worst, record.fault_share)
        return priority(key, record, norm)

    async def call(self, case: Case) -> str:
        """The key that answered, or the exception's name."""
        try:
            if case.stream:
                stream = self.world.lm.chat_stream(self._asked, HELLO, **case.options)
                return [chunk.key_id async for chunk in stream][-1]
            return (await self.world.lm.chat(self._asked, HELLO, **case.options)).key_id
        except (LMRotateError, AssertionError) as error:
            return type(error).__name__

    async def health(self) -> dict[str, str]:
        """The first key's state, under "", and its scopes'."""
        key: KeyHealth = (await self.world.lm.health()).providers[self.world.provider].keys["k1"]
        scopes = {name: self._told(scope) for name, scope in key.scopes.items()}
        return {"": self._told(key), **scopes}

    async def is_shared(self) -> bool:
        known = await self.world.lm._pool.store.snapshot()
        return any(state.version for name, state in known.items() if name.startswith("key:k1"))

    def _told(self, scope: Any) -> str:
        if scope.until is None:
            return str(scope.state)
        # Its time from when it began: what is left of it depends on the call's own length.
        return f"{scope.state} {(scope.until - scope.since).total_seconds():.0f}"

    @staticmethod
    def attempts(events: list[Event]) -> tuple[str, ...]:
        return tuple(
            str(event.outcome) for event in events if event.kind is EventKind.ATTEMPT_ENDED
        )


def _serving_one_model(config: Any) -> Any:
    for key in config.keys:
        key.models = [MODEL]
    return config
