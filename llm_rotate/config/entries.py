"""The entries of a configuration, as they stand in a registry dict or file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)

from ..core.redact import is_key_like
from ..secrets import SPELLINGS, scheme_of
from ..strategies import STRATEGIES
from . import checks
from .problems import checked, hint, nearest
from .redis_url import redis_address

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Address = Annotated[str, AfterValidator(checks.web_address)]
HeaderFields = Annotated[dict[str, str], AfterValidator(checks.header_fields)]
Namespace = Annotated[
    str,
    AfterValidator(checks.namespace),
    WithJsonSchema({"type": "string", "pattern": r"^[^{}\s]+$"}),
]
TimeZone = Annotated[str, AfterValidator(checks.time_zone)]
Tags = Annotated[
    dict[str, str],
    BeforeValidator(checks.named_tags),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "array", "items": {"type": "string"}},
            ]
        }
    ),
]
Dialect = Annotated[
    Literal["openai", "openai_responses", "anthropic", "gemini", "bedrock"],
    BeforeValidator(checks.dialect),
]


ESTIMATORS = ("auto", "tiktoken", "bytes")
# What llm-rotate 0.3 called the limits of a key.
OLD_LIMITS: Mapping[str, str] = {"rate_limit_rpm": "rpm", "rate_limit_tpm": "tpm"}


class Entry(BaseModel):
    """Fields are checked when an entry is made; ConfigurationError lists all that is wrong."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    def __init__(self, **fields: Any) -> None:
        fill = super().__init__
        checked(type(self), lambda: fill(**fields), lambda: self._cross_checks(fields))

    # pydantic then fills nested entries in place, and their problems keep their whole path
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined] # functions take any

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        fill = super().model_validate
        return checked(cls, lambda: fill(obj, **options), lambda: cls._cross_checks(obj))

    @classmethod
    def _cross_checks(cls, given: Any) -> list[str]:  # noqa: ARG003 - what most entries lack
        """The problems between the fields of ``given``."""
        return []


class TimeoutsConfig(Entry):
    """Seconds.

    ``connect``; ``first_byte``, to the answer's headers; ``first_event``, the same for a
    stream's first event; ``idle``, between two reads of a body; ``deadline``, the default of
    a call's ``timeout``, None for none.
    """

    connect: Seconds = 10.0
    first_byte: Seconds = 600.0
    first_event: Seconds = 120.0
    idle: Seconds = 60.0
    deadline: Seconds | None = None


class DefaultsConfig(Entry):
    """What holds where nothing more specific is said.

    ``selection_strategy`` is a name, or in Python a strategy of your own. ``max_retries``
    bounds the retries of one call, ``max_wait_seconds`` its waiting for a key. ``output_tokens``
    are reserved for the answer of a request that does not say how long it may be; None for
    what recent answers suggest. ``estimator`` says how a prompt is counted before it is sent:
    by tiktoken, by its bytes, "auto" for the former where it can; or in Python a quick function
    (model, text) -> tokens, None for a model it does not know.
    """

    selection_strategy: Any = Field(
        default="health_aware", json_schema_extra={"type": "string", "enum": list(STRATEGIES)}
    )
    max_retries: Annotated[int, Field(ge=0)] = 3
    cooldown_seconds: Seconds = 60.0
    quarantine_seconds: Seconds = 300.0
    max_consecutive_failures: Count = 5
    max_wait_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    output_tokens: Count | None = None
    estimator: Any = Field(
        default="auto", json_schema_extra={"type": "string", "enum": list(ESTIMATORS)}
    )
    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig)

    @field_validator("selection_strategy")
    @classmethod
    def _is_a_strategy(cls, strategy: Any) -> Any:
        if callable(strategy) or (isinstance(strategy, str) and strategy in STRATEGIES):
            return strategy
        raise ValueError(f"no such strategy{hint(strategy, STRATEGIES)}")

    @field_validator("estimator")
    @classmethod
    def _is_an_estimator(cls, estimator: Any) -> Any:
        if callable(estimator) or (isinstance(estimator, str) and estimator in ESTIMATORS):
            return estimator
        raise ValueError(f"no such estimator{hint(estimator, ESTIMATORS)}")


class FallbackEntry(Entry):
    """A stage of a chain. ``model`` is the name sent there, or ``models`` maps the names asked
    for to those sent; every further keyword goes into the request's body.
    """

    model_config = ConfigDict(extra="allow")

    provider: str
    upstream: str | None = None
    model: str | None = None
    models: dict[str, str] = Field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of this stage alone."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _means_one_thing(self) -> Self:
        if self.model is not None and self.models:
            raise ValueError("give model (one name for all) or models (a mapping), not both")
        for name in self.options:
            near = nearest(name, list(type(self).model_fields), 0.8)
            if near:
                raise ValueError(f"{name}: no such field; did you mean {near!r}?")
        return self


class StateStoreConfig(Entry):
    """Where the health of keys lives.

    ``store_timeout_ms``: the longest that a call waits for Redis. ``on_store_failure``: when
    Redis is away, "local" goes on with what this process knows, "raise" stops calls with a
    StoreError.
    """

    backend: Literal["memory", "redis"] = "memory"
    redis_url: str = Field(default="redis://localhost:6379/0", repr=False)
    redis_namespace: Namespace = "llmrotate"
    store_timeout_ms: Count = 250
    on_store_failure: Literal["local", "raise"] = "local"

    @field_validator("redis_url")
    @classmethod
    def _has_a_place(cls, url: str) -> str:
        redis_address(url)
        return url

    @field_serializer("redis_url")
    def _without_password(self, url: str) -> str:
        return checks.without_password(url)


class HttpConfig(Entry):
    """``proxy``: its URL. ``verify``: False, or the path of a CA bundle. ``max_connections``:
    per origin. ``trust_env``: proxies and CA bundles from the environment count.
    """

    proxy: str | None = Field(default=None, repr=False)
    verify: bool | str = True
    max_connections: Count = 1000
    trust_env: bool = True

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, url: str | None) -> str | None:
        return None if url is None else checks.proxy_address(url)

    @field_validator("verify")
    @classmethod
    def _can_verify(cls, verify: bool | str) -> bool | str:
        return verify if isinstance(verify, bool) else checks.certificates(verify)

    @field_serializer("proxy")
    def _without_password(self, url: str | None) -> str | None:
        return None if url is None else checks.without_password(url)


class LimitsConfig(Entry):
    """What may be used at most; None is no limit.

    ``rpm``, ``tpm``: requests and tokens a minute; ``input_tpm``, ``output_tpm``: the tokens
    of prompts and of answers by themselves. ``rpd``, ``tpd``, ``max_cost_per_day`` (US
    dollars): until the provider's day ends. ``max_concurrency``: requests at a time.
    ``request_burst``, ``token_burst``: what may go at once, None for the usual.
    """

    rpm: Count | None = None
    tpm: Count | None = None
    input_tpm: Count | None = None
    output_tpm: Count | None = None
    rpd: Count | None = None
    tpd: Count | None = None
    max_concurrency: Count | None = None
    request_burst: Count | None = None
    token_burst: Count | None = None
    max_cost_per_day: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class QuotaGroupConfig(LimitsConfig):
    """Limits that keys share: those of one account. ``model_limits``: of single models."""

    model_limits: dict[str, LimitsConfig] = Field(default_factory=dict)


class ProviderConfig(Entry):
    """A service. An entry named like a built-in one changes the fields it gives.

    ``auth``: the header the secret goes into, or none. ``families``: patterns (``gpt-*``) of
    the models it is known for. ``upstream_names``, ``upstream_vendors``: how a broker spells
    an upstream in a route and in a model's name. ``env``: variables that hold keys, and
    ``env_auth_config`` fields of auth_config with the variables that hold those;
    ``env_base_url``: the variable that holds another address for those keys. ``flags``: how
    this service departs from its dialect. Costs are in US dollars per 1,000 tokens.
    ``day_ends``: the time zone at whose midnight daily limits begin anew.
    ``header_bucket_scope``: whether the limits that answers tell of are a minute's or a day's.
    """

    name: str = ""
    display_name: str = ""
    provider_type: Literal["direct", "broker"] = "direct"
    dialect: Dialect = Field(default="openai", validation_alias=AliasChoices("dialect", "adapter"))
    base_url: Address | None = None
    auth: Literal["bearer", "api-key", "x-api-key", "x-goog-api-key", "google", "none"] = "bearer"
    headers: HeaderFields = Field(default_factory=dict, repr=False)
    timeouts: TimeoutsConfig = Field(default_factory=TimeoutsConfig)
    default_cooldown_seconds: Seconds = 60.0
    default_quarantine_seconds: Seconds = 300.0
    max_consecutive_failures: Count = 5
    supported_models: list[str] = Field(default_factory=list)
    families: list[str] = Field(default_factory=list)
    upstream_providers: list[str] = Field(default_factory=list)
    upstream_names: dict[str, str] = Field(default_factory=dict)
    upstream_vendors: dict[str, str] = Field(default_factory=dict)
    cost_per_1k_input_tokens: Price | None = None
    cost_per_1k_output_tokens: Price | None = None
    day_ends: TimeZone = "UTC"
    header_bucket_scope: Literal["auto", "minute", "day"] = "auto"
    env: list[str] = Field(default_factory=list)
    env_auth_config: dict[str, str] = Field(default_factory=dict)
    env_base_url: str | None = None
    flags: dict[str, Any] = Field(default_factory=dict)


class KeyConfig(Entry):
    """A key. ``secret_ref`` says where its secret is; it is read when the key is used.

    ``models``, ``regions``: None, or an empty list, means any. A bigger ``priority`` goes
    first. ``tags``: a mapping, or a list of names. ``limits``: its own, ``model_limits`` those
    of single models; ``quota_group``: the group whose limits and rests it shares.
    ``rate_limit_rpm``, ``rate_limit_tpm``: older names of ``limits.rpm`` and ``limits.tpm``.
    ``base_url``: this key's own server.
    """

    key_id: Annotated[str, Field(min_length=1)]
    provider: str
    secret_ref: str = Field(default="", exclude=True, repr=False)
    models: list[str] | None = None
    auth_method: str = "api_key"
    auth_config: dict[str, Any] = Field(default_factory=dict, repr=False)
    priority: int = 0
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    regions: list[str] | None = None
    tags: Tags = Field(default_factory=dict)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    model_limits: dict[str, LimitsConfig] = Field(default_factory=dict)
    quota_group: str | None = None
    rate_limit_rpm: Count | None = None
    rate_limit_tpm: Count | None = None
    enabled: bool = True
    metadata: dict[str, Any] = Field(default_factory=dict)
    base_url: Address | None = None

    @field_validator("key_id")
    @classmethod
    def _is_a_name(cls, key_id: str) -> str:
        if is_key_like(key_id):
            raise ValueError(
                "looks like a secret, and key_ids are shown; "
                "give the key a name, and say in secret_ref where its secret is"
            )
        return checks.name_of_states(key_id)

    @field_validator("quota_group")
    @classmethod
    def _is_a_groups_name(cls, name: str | None) -> str | None:
        return None if name is None else checks.name_of_states(name)

    @field_validator("secret_ref")
    @classmethod
    def _leads_somewhere(cls, reference: str) -> str:
        scheme = scheme_of(reference)
        if reference and scheme is None:
            raise ValueError(f"needs a scheme: {SPELLINGS}")
        if scheme == "env" and is_key_like(reference.removeprefix("env://")):
            raise ValueError(
                "env:// takes the name of a variable, and what stands there looks like a secret"
            )
        return reference

    @field_validator("auth_config")
    @classmethod
    def _can_be_sent(cls, auth: dict[str, Any]) -> dict[str, Any]:
        return auth | {name: checks.auth_field(name, auth[name]) for name in auth}

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        for old, name in OLD_LIMITS.items():
            said, stated = getattr(self, old), getattr(self.limits, name)
            if said is not None and stated not in (None, said):
                raise ValueError(f"{old} is the older name of limits.{name}, which differs")
        return self

    def stated_limits(self) -> LimitsConfig:
        """``limits``, with what stands under the older names."""
        old = {name: getattr(self, said) for said, name in OLD_LIMITS.items()}
        given = {name: limit for name, limit in old.items() if limit is not None}
        return self.limits.model_copy(update=given) if given else self.limits

    @property
    def is_literal(self) -> bool:
        """Does ``secret_ref`` hold the secret itself?"""
        return scheme_of(self.secret_ref) == "literal"

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        if self.is_literal:
            state["__dict__"] = state["__dict__"] | {"secret_ref": "literal://"}
        return state
