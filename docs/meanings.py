# ruff: noqa: INP001 - a script beside the pages, not a package
"""The words beside what is printed from the code: one for every outcome and every field."""

from __future__ import annotations

from collections.abc import Mapping

FAULT_TABLE_HEAD = """# The fault table

How an attempt can end, whose fault that is, and what follows. The library decides by this
table and by nothing else. A key is punished only for its own faults.
"""

FAULT_TABLE_FOOT = """
An unknown 4xx is `bad_request`, an unknown 5xx `server_error`. Exceptions of your own code
never touch a key.

- *Stated time*: what the provider says in `Retry-After` and the headers like it.
- `cooldown_seconds`, `quarantine_seconds`, `max_consecutive_failures` and `max_retries` are
  settings: see [Configuration](../reference/configuration.md).
- Going on with another key costs no time and is not counted. Being sent again is, up to
  `max_retries`.
- `auth_failed` disables a key after `max_consecutive_failures` in a row.
- Where a key rests for one model only, it goes on serving its others.
- The exceptions are on [their own page](../reference/errors.md). Which of them ends a call
  depends on what else could be tried: when every key rests, it is `NoAvailableKeyError`, whose
  `__cause__` is the exception of the last attempt.
- When every key that a provider has for a model (three at least) is refused alike within 5 s,
  that is an outage: the provider rests for a second, doubling to a minute, and the keys do not.
"""

SAID: Mapping[str, str] = {
    "ok": "2xx",
    "rate_limited": "429",
    "quota_exhausted": "402, `insufficient_quota`, a spend limit, a daily quota",
    "auth_failed": "401, an invalid, expired or revoked key, an account on hold",
    "forbidden": "any other 403",
    "model_not_found": "404 on the model",
    "bad_request": "400, 413, 422, a context that is too long",
    "content_filtered": "a policy's refusal, as an error",
    "upstream_failed": "a broker's 502, 503 or 429 that names the upstream asked for",
    "secret_missing": "nothing was sent: the variable is unset, or the file is missing",
    "too_large_for_key": "the request alone exceeds this key's tokens per minute",
    "overloaded": "503, 529, `overloaded_error`",
    "server_error": "other 5xx, 409, 424, 425, an unreadable 2xx, a connection that broke",
    "timed_out": "408, 504, or no answer in time",
    "unreachable": "no connection; nothing was sent",
    "interrupted": "a stream broke after its first chunk had been handed out",
    "cancelled": "the caller went away, or `timeout=` passed",
}

SCOPES: Mapping[str, str] = {
    "none": "",
    "key": "the key",
    "key_model": "the key for this model",
    "quota": "the key, or its group",
    "quota_model": "the key, or its group, for this model",
    "route": "the key by this upstream",
    "local": "the key in this process",
}

EFFECTS: Mapping[str, str] = {
    "none": "nothing",
    "clear": "active; its failures are forgotten",
    "cooldown": "cooldown until the stated time, else `cooldown_seconds`",
    "exhaust": "quarantine until the stated time, else `quarantine_seconds`",
    "quarantine": "quarantine for `quarantine_seconds`",
    "strike": "quarantine for `quarantine_seconds`; disabled after so many in a row",
}

CALLS: Mapping[str, str] = {
    "return": "returns",
    "raise": "raises",
    "rotate": "goes on with another key",
    "retry": "is sent again after a pause",
    "propagate": "ends; after `timeout=` with `DeadlineError`",
}

CONFIGURATION_HEAD = """# Configuration

Every field of a registry, whether it is a dict for `configure(registry=...)`, a JSON or YAML
file for `configure_from_file`, or the arguments of the models themselves. Unknown fields are
errors, and every error of a registry is told at once.

Where a time or a count can be set in several places, the most specific thing that you wrote
wins: the call, the key, the provider, `defaults`; then the built-in provider's own, then the
default here. `llm-rotate config schema` prints the JSON Schema of a registry, with which
editors complete one; it is also in `configs/schema.json`.
"""

# Name of the schema -> (title, opening sentence), in the order of the page
ENTRIES: Mapping[str, tuple[str, str]] = {
    "registry": (
        "Registry",
        "The outermost mapping: an `LMRotateConfig`, and what only files have.",
    ),
    "KeyConfig": ("Keys", "An entry of `keys`."),
    "ProviderConfig": (
        "Providers",
        (
            "An entry of `providers`. One named like a [built-in provider](providers.md) changes "
            "the fields that it gives and keeps the rest. A new service needs a `base_url`."
        ),
    ),
    "DefaultsConfig": ("Defaults", "`defaults`: what holds where nothing more specific is said."),
    "TimeoutsConfig": ("Timeouts", "`timeouts` of `defaults` or of a provider, in seconds."),
    "FallbackEntry": (
        "Stages",
        (
            "An entry of a chain. Further keywords, such as `temperature`, go into the request "
            "that this stage sends."
        ),
    ),
    "LimitsConfig": (
        "Limits",
        (
            "`limits` of a key, and each entry of `model_limits`: what may be used at most. None "
            "is no limit. See [Keep within limits](../how-to/limits.md)."
        ),
    ),
    "QuotaGroupConfig": (
        "Groups",
        "An entry of `quota_groups`: limits that all keys naming it share, and so they rest.",
    ),
    "HttpConfig": ("HTTP", "`http`: how connections are made."),
    "StateStoreConfig": ("Store", "`state_store`: where the health of keys is kept."),
}

FIELDS: Mapping[str, Mapping[str, str]] = {
    "registry": {
        "$schema": "For editors; the library does not read it.",
        "use_keys": "The `key_id`s to use, in this order; all if it is missing.",
        "defaults": "See [Defaults](#defaults).",
        "providers": "By name; see [Providers](#providers).",
        "keys": "See [Keys](#keys).",
        "fallback_chains": "By model, by provider, or `*` for every model without a chain of "
        "its own or its provider's; see [Stages](#stages).",
        "quota_groups": "By name; see [Groups](#groups).",
        "limits": "[Limits](#limits) of all keys together, beside those of each.",
        "state_store": "See [Store](#store).",
        "http": "See [HTTP](#http).",
    },
    "KeyConfig": {
        "key_id": "Its name in reports, errors and logs. Must be unique.",
        "provider": "The name of a provider, built in or of your own.",
        "secret_ref": "Where the secret is: `env://NAME`, `file://PATH`, or one of the "
        "[other places](../how-to/secrets.md). Read when the key is used; left out of dumps.",
        "models": "The models that it serves. None: those of its provider, else any.",
        "auth_method": "A word for the usage log.",
        "auth_config": "What this key needs beside its secret: `org_id`, `base_url`, "
        "`azure_endpoint`, `api_version`, `default_headers`, `http_referer`, `x_title`; at "
        "[Bedrock](../how-to/bedrock.md) `region` and where its AWS credentials are.",
        "priority": "A bigger number goes first.",
        "weight": "Its share of the calls beside keys of the same priority.",
        "regions": "Where it may serve; None is anywhere. A call narrows with `region=`.",
        "tags": "Names, or names with values. A call narrows with `tags=`.",
        "limits": "See [Limits](#limits).",
        "model_limits": "[Limits](#limits) of single models, by name, beside the key's own.",
        "quota_group": "The group, of `quota_groups`, whose limits and rests it shares.",
        "rate_limit_rpm": "The older name of `limits.rpm`.",
        "rate_limit_tpm": "The older name of `limits.tpm`.",
        "enabled": "False leaves it out.",
        "metadata": "Yours; a lent key carries it.",
        "base_url": "This key's own server, as for replicas.",
    },
    "ProviderConfig": {
        "name": "The name of the entry again; may be left out.",
        "display_name": "A name for people.",
        "provider_type": "A broker passes requests on to upstreams.",
        "dialect": "Its wire format.",
        "base_url": "Where its API begins, such as `https://llm.example.com/v1`.",
        "auth": "The header that the secret goes into: `Authorization: Bearer`, `api-key` or "
        "`x-api-key`; `none` for servers without keys.",
        "headers": "Sent with every request.",
        "timeouts": "See [Timeouts](#timeouts).",
        "default_cooldown_seconds": "How long a rate-limited key rests if no time is stated.",
        "default_quarantine_seconds": "How long a key rests that is refused for other reasons.",
        "max_consecutive_failures": "So many `auth_failed` in a row disable a key.",
        "supported_models": "The models of its keys that list none. Empty: any.",
        "families": "Patterns (`gpt-*`) of the models that it is known for.",
        "upstream_providers": "A broker's upstreams, as chains name them.",
        "upstream_names": "How the broker itself spells them in a route.",
        "upstream_vendors": "How the broker spells them before the slash of a model's name.",
        "cost_per_1k_input_tokens": "US dollars; wins over the published price.",
        "cost_per_1k_output_tokens": "US dollars; both must be given.",
        "day_ends": "The time zone (`America/Los_Angeles`) at whose midnight daily limits begin "
        "anew.",
        "header_bucket_scope": "Whether the limits that answers tell of in headers are a minute's "
        "or a day's. `auto`: as their resets say.",
        "env": "Environment variables that hold its keys, for `configure()` without arguments. "
        "Read from the built-in providers.",
        "env_auth_config": "Fields of `auth_config` and the variables that hold those.",
        "env_base_url": "A variable that holds another address for those keys.",
        "flags": "How it departs from its dialect: `max_tokens_field` (a name), "
        "`stream_options` (false: cannot take them), `cache_control` (false: refuses "
        "the marks of a prompt cache), `default_max_tokens` (Anthropic).",
        "adapter": "The older name of `dialect`.",
    },
    "DefaultsConfig": {
        "selection_strategy": "In Python also a [strategy of your own](../how-to/strategy.md).",
        "max_retries": "Sends of one call after a provider's fault. Going on with another key "
        "after a refusal is not counted.",
        "cooldown_seconds": "As `default_cooldown_seconds`, for providers that do not say it.",
        "quarantine_seconds": "As `default_quarantine_seconds`, likewise.",
        "max_consecutive_failures": "As the provider's, likewise.",
        "max_wait_seconds": "How long one call may wait, in all, when every key rests.",
        "output_tokens": "Reserved for an answer where the request does not say how long it may "
        "be. None: what recent answers suggest.",
        "estimator": "How a prompt's tokens are counted before it is sent; in Python also a "
        "[function of your own](../how-to/limits.md#how-a-prompt-is-counted).",
        "timeouts": "See [Timeouts](#timeouts).",
    },
    "TimeoutsConfig": {
        "connect": "To open a connection.",
        "first_byte": "From the request to the head of its answer.",
        "first_event": "The same for a stream's first event.",
        "idle": "Between two reads of a body or a stream.",
        "deadline": "The default of `timeout=`: over the whole call.",
    },
    "FallbackEntry": {
        "provider": "Who is asked.",
        "upstream": "The one upstream of a broker that may serve.",
        "model": "The name to send, whatever was asked for.",
        "models": "From the name asked for to the one to send. Others are sent as they are.",
    },
    "LimitsConfig": {
        "rpm": "Requests a minute.",
        "tpm": "Tokens a minute, of prompts and answers together.",
        "input_tpm": "Tokens a minute of prompts alone, where a provider counts so.",
        "output_tpm": "Tokens a minute of answers alone.",
        "rpd": "Requests a day; the day ends at the provider's `day_ends`.",
        "tpd": "Tokens a day.",
        "max_concurrency": "Requests at a time.",
        "request_burst": "So many requests may go at once. None: what 5 s of `rpm` bring, three "
        "at least.",
        "token_burst": "So many tokens may go at once. None: what 5 s of a limit bring; a larger "
        "request goes when that much is saved up.",
        "max_cost_per_day": "US dollars a day, by the prices that are known.",
    },
    "QuotaGroupConfig": {
        **dict.fromkeys(
            (
                "rpm",
                "tpm",
                "input_tpm",
                "output_tpm",
                "rpd",
                "tpd",
                "max_concurrency",
                "request_burst",
                "token_burst",
                "max_cost_per_day",
            ),
            "As a key's [limit](#limits).",
        ),
        "model_limits": "Limits of single models, by name, beside those of the whole group.",
    },
    "HttpConfig": {
        "proxy": "The URL of a proxy for everything.",
        "verify": "False, or the path of a file or folder with the certificates to trust.",
        "max_connections": "To one host.",
        "trust_env": "Whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count.",
    },
    "StateStoreConfig": {
        "backend": "`redis`: one state for many processes. Needs `llm_rotate[redis]`.",
        "redis_url": "`redis://`, `rediss://` (TLS), `unix://`, "
        "`redis+sentinel://HOST:PORT,.../SERVICE/DB`, `redis+cluster://HOST:PORT,...`.",
        "redis_namespace": "Pools with the same one share their state.",
        "store_timeout_ms": "The longest that a call waits for Redis.",
        "on_store_failure": "When Redis is away: go on with what this process knows, "
        "or raise StoreError.",
    },
}

PROVIDERS_HEAD = """# Built-in providers

These need no entry under `providers`. A key names one, and all the rest is known; an entry of
the same name changes what it gives. A name in the last but one column means also `NAME_2`,
`NAME_3` and so on, and `NAMES` with several keys between commas.
"""

PROVIDERS_FOOT = """
OpenAI's keys from the environment go to the address in `OPENAI_BASE_URL`, if there is one; a
registry says `base_url` itself.

Azure's `base_url` is each key's `auth_config.azure_endpoint`, in the environment
`AZURE_OPENAI_ENDPOINT`; [deployments](../how-to/azure.md) have names of their own. Bedrock's
takes each key's `auth_config.region`, in the environment `AWS_REGION`; its keys are API keys or
[AWS credentials](../how-to/bedrock.md).

Any other service that speaks one of the dialects needs
[a `base_url`](../how-to/compatible-services.md), no more.
"""
