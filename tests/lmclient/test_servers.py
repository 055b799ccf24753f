"""From a model's name, an address and keys to the pool behind a client."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from llm_rotate import ConfigurationError, DeploymentConfig, LMClient, configure_from_dict
from llm_rotate.config import registry_from_environment
from llm_rotate.lmclient.servers import place_of

OPENAI = "https://api.openai.com/v1"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if "API_KEY" in name or name == "OPENAI_BASE_URL" or name.startswith(("AWS_", "AZURE_")):
            monkeypatch.delenv(name)
    for name in ("OPENAI_API_KEY", "OPENAI_API_KEY_2"):
        monkeypatch.setenv(name, f"secret-of-{name}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    ("model", "api_base", "provider", "name"),
    [
        ("openai/gpt-4.1-mini", None, "openai", "gpt-4.1-mini"),
        ("openai/gpt-4.1-mini", OPENAI, "openai", "gpt-4.1-mini"),
        ("gpt-4.1-mini", OPENAI, "openai", "gpt-4.1-mini"),
        ("openai/llama", "https://gpu.example/v1", "openai_compatible", "llama"),
        ("llama-3", "https://gpu.example/v1", "server", "llama-3"),
        ("meta-llama/Llama-3", "https://gpu.example/v1", "server", "meta-llama/Llama-3"),
        ("hosted_vllm/meta/L3", "https://gpu.example/v1", "hosted_vllm", "meta/L3"),
        ("azure/my-gpt", "https://my.example", "azure_openai", "my-gpt"),
        ("together_ai/meta/L3", None, "together", "meta/L3"),
        ("openrouter/anthropic/claude", None, "openrouter", "anthropic/claude"),
        ("anthropic/claude-haiku-4-5", None, "anthropic", "claude-haiku-4-5"),
    ],
)
def test_a_models_name_says_where_it_is(
    model: str, api_base: str | None, provider: str, name: str
) -> None:
    place = place_of(model, api_base)
    assert place is not None
    assert (place.provider, place.model) == (provider, name)


def keys_of(client: LMClient) -> list[tuple[str, str, str]]:
    return [(key.key_id, key.provider, key.secret_ref) for key in client.lm.config.keys]


def test_without_a_key_all_of_the_environments_are_used() -> None:
    assert keys_of(LMClient(model="openai/gpt-4.1-mini")) == [
        ("openai-1", "openai", "env://OPENAI_API_KEY"),
        ("openai-2", "openai", "env://OPENAI_API_KEY_2"),
    ]


def test_a_bare_name_takes_the_whole_environment() -> None:
    assert len(keys_of(LMClient(model="gpt-4.1-mini"))) == 2


def test_a_key_that_is_given_is_the_only_one_and_is_not_shown() -> None:
    client = LMClient(model="openai/gpt-4.1-mini", api_key="sk-very-secret")
    assert keys_of(client) == [("openai", "openai", "literal://sk-very-secret")]
    assert "very-secret" not in repr(client) + repr(client.lm.config)
    assert "very-secret" not in repr(DeploymentConfig("m", api_key="sk-very-secret"))


def test_the_vendors_key_does_not_go_to_a_server_that_was_not_named_after_it() -> None:
    client = LMClient(model="llama-3", api_base="https://gpu.example/v1")
    assert keys_of(client) == [("server", "server", "")]
    assert client.lm.config.providers["server"].auth == "none"


def test_openais_own_spelling_of_fields_is_not_used_elsewhere() -> None:
    client = LMClient(model="openai/llama", api_base="https://gpu.example/v1")
    entry = client.lm.config.providers["openai_compatible"]
    assert (entry.flags, entry.auth) == ({}, "bearer")
    assert {key.base_url for key in client.lm.config.keys} == {"https://gpu.example/v1"}
    assert [ref for _, _, ref in keys_of(client)] == [
        "env://OPENAI_API_KEY",
        "env://OPENAI_API_KEY_2",
    ]


def test_the_variable_with_openais_address_counts_as_one_that_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gpu.example/v1")
    given = {"api_base": "https://other.example/v1"}
    for more, address in (({}, "https://gpu.example/v1"), (given, given["api_base"])):
        for model in ("openai/llama", "llama") if not more else ("openai/llama",):
            keys = LMClient(model=model, **more).lm.config.keys
            assert {key.base_url for key in keys} == {address}


def test_the_variables_server_gets_openais_own_spelling_as_from_a_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    (mine, _) = LMClient(model="openai/o3").lm.config.keys
    (theirs, _) = configure_from_dict(registry_from_environment(os.environ)).keys
    assert (mine.provider, mine.base_url) == (theirs.provider, theirs.base_url)
    assert mine.provider == "openai"


def test_a_servers_own_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "x")
    client = LMClient(model="hosted_vllm/m", api_base="https://gpu.example/v1")
    assert keys_of(client) == [("hosted_vllm", "hosted_vllm", "env://HOSTED_VLLM_API_KEY")]


def test_azure_needs_no_second_variable_for_an_address_that_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "x")
    client = LMClient(model="azure/my-gpt", api_base="https://my.example")
    (key,) = client.lm.config.keys
    assert key.secret_ref == "env://AZURE_OPENAI_API_KEY"
    assert key.auth_config["azure_endpoint"] == "https://my.example"


def test_who_finds_credentials_by_itself_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    (key,) = LMClient(model="bedrock/anthropic.claude-3").lm.config.keys
    assert (key.provider, key.secret_ref, key.auth_config["region"]) == (
        "aws_bedrock",
        "",
        "eu-west-1",
    )
    elsewhere = {"model": "bedrock/x", "extra_kwargs": {"aws_region_name": "us-east-1"}}
    (key,) = deployed(a=elsewhere).lm.config.keys
    assert key.auth_config["region"] == "us-east-1"
    tokens = {"azure_ad_token_provider": lambda: "token"}
    mine = {"model": "azure/x", "api_base": "https://my.example", "extra_kwargs": tokens}
    (key,) = deployed(a=mine).lm.config.keys
    assert key.secret_ref == ""


def deployed(**deployments: Any) -> LMClient:
    return LMClient(model="m", deployments=deployments)


def test_labels_become_keys_with_all_that_belongs_to_them() -> None:
    client = deployed(
        a=DeploymentConfig("hosted_vllm/l3", "https://a.example/v1", api_key="k"),
        b={
            "model": "hosted_vllm/l3",
            "api_base": "https://b.example/v1",
            "extra_kwargs": {
                "rpm": 60,
                "max_parallel_requests": 4,
                "weight": 2,
                "api_version": "7",
                "organization": "org",
            },
        },
    )
    a, b = client.lm.config.keys
    assert (a.key_id, a.secret_ref, a.base_url) == ("a", "literal://k", "https://a.example/v1")
    assert (b.key_id, b.secret_ref, b.models) == ("b", "literal://none", ["l3"])
    assert (b.limits.rpm, b.limits.max_concurrency, b.weight) == (60, 4, 2.0)
    assert b.auth_config == {"api_version": "7", "org_id": "org"}


@pytest.mark.parametrize(
    ("deployment", "told"),
    [
        ({"model": "openai/x", "api_bse": "y"}, "did you mean 'api_base'"),
        ({"api_base": "https://a.example"}, "names no model"),
        ({"model": "llama"}, "give api_base, or name the provider: 'openai/llama'"),
        ({"model": "hosted_vllm/l"}, "give its api_base"),
        ({"model": "openai/x", "extra_kwargs": {"rmp": 1}}, "did you mean 'rpm'"),
        ({"model": "openai/x", "extra_kwargs": {"seed": 1}}, "default_request_kwargs"),
        ("openai/x", "must be a DeploymentConfig or a mapping, not str"),
    ],
)
def test_a_wrong_deployment_is_told_by_its_label(deployment: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        deployed(bad=deployment)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "model is missing"),
        ({"model": "m", "deployments": {}, "api_base": "x"}, "with deployments each has its own"),
        ({"model": "openai/m", "endpoint": "chat"}, "endpoint must be one of chat_completion"),
        ({"model": "openai/m", "max_parallel_requests": 0}, "max_concurrency"),
        ({"model": "openai/m", "routing_strategy": "random"}, "known: simple-shuffle"),
        ({"model": "openai/m", "router_kwargs": {"cooldwn_time": 3}}, "mean 'cooldown_time'"),
        ({"model": "anthropic/claude"}, "set ANTHROPIC_API_KEY, or give api_key"),
        ({"model": "gpt", "api_key": "x"}, "whose key is api_key"),
        ({"model": "vllm/m"}, "give its api_base"),
    ],
)
def test_what_cannot_be_is_a_ValueError_that_says_what_to_do(
    arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=r"\w") as error:
        LMClient(**arguments)
    assert told in str(error.value)


def test_limits_and_manners_reach_the_pool() -> None:
    client = LMClient(
        model="openai/m",
        rpm=1,
        tpm=2,
        rpd=3,
        tpd=4,
        max_request_burst=5,
        max_token_burst=6,
        max_parallel_requests=7,
        max_retries=8,
        timeout=9.0,
        default_output_tokens=10,
        header_bucket_scope="day",
        routing_strategy="usage-based-routing",
        router_kwargs={"cooldown_time": 11},
    )
    config = client.lm.config
    limits = config.limits
    assert (limits.rpm, limits.tpm, limits.rpd, limits.tpd) == (1, 2, 3, 4)
    assert (limits.request_burst, limits.token_burst, limits.max_concurrency) == (5, 6, 7)
    defaults = config.defaults
    assert (defaults.max_retries, defaults.output_tokens, defaults.cooldown_seconds) == (8, 10, 11)
    assert config.timeouts("openai").first_byte == config.timeouts("openai").connect == 9.0
    assert config.providers["openai"].header_bucket_scope == "day"
    assert defaults.selection_strategy == "least_tokens"


@pytest.mark.parametrize(
    ("api_base", "is_told"),
    [
        ("http://gpu0:8000/v1", True),
        ("http://10.0.0.7/v1", True),
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.1:8000/v1", False),
        ("https://gpu0:8000/v1", False),
    ],
)
def test_plain_http_to_another_machine_is_warned_of(
    api_base: str, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "llm_rotate"):
        LMClient(model="m", api_base=api_base)
    assert ("plain http" in caplog.text) is is_told


@pytest.mark.parametrize(
    "given", ["gpu-0", [DeploymentConfig("hosted_vllm/m", "https://g.example")]]
)
def test_deployments_have_labels(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="deployments must be a mapping of labels"):
        LMClient(model="m", deployments=given)


def test_a_misspelt_provider_is_not_a_part_of_a_models_name() -> None:
    client = LMClient(model="opnai/gpt-4.1-mini")
    with pytest.raises(ConfigurationError, match=r"did you mean 'openai/gpt-4\.1-mini'"):
        client.generate("hello")
