"""Keys of Bedrock: where their requests go, and how they prove themselves."""

from __future__ import annotations

from typing import Any

import pytest

from llm_rotate import ConfigurationError, LMRotateConfig
from llm_rotate.config.environment import registry_from_environment
from llm_rotate.core.wire import Endpoint

ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc"


def config_of(*keys: dict[str, Any], **more: Any) -> LMRotateConfig:
    named = [
        {"key_id": f"k{n}", "provider": "aws_bedrock", "secret_ref": "env://X", **key}
        for n, key in enumerate(keys)
    ]
    return LMRotateConfig.model_validate({"keys": named, **more})


def endpoint_of(**key: Any) -> Endpoint:
    config = config_of(key)
    return config.endpoint(config.keys[0])


def test_the_region_is_part_of_the_address() -> None:
    found = endpoint_of(auth_config={"region": "eu-west-1"})
    assert found.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert found.auth == "bearer"


def test_an_address_of_ones_own_wins() -> None:
    own = "https://vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com"
    assert endpoint_of(base_url=own).base_url == own
    assert endpoint_of(base_url=own, auth_config={"region": "eu-west-1"}).base_url == own


SIGNED: dict[str, dict[str, Any]] = {
    "access key": {"access_key_id": "AKIA1"},
    "profile": {"profile": "prod"},
    "role": {"role_arn": "arn:aws:iam::123456789012:role/r"},
}


@pytest.mark.parametrize("how", SIGNED)
def test_aws_credentials_sign(how: str) -> None:
    found = endpoint_of(auth_config={"region": "us-east-1", **SIGNED[how]})
    assert (found.auth, found.auth_config["region"]) == ("sigv4", "us-east-1")


def test_a_key_without_a_secret_is_the_machines_own() -> None:
    assert endpoint_of(secret_ref="", auth_config={"region": "us-east-1"}).auth == "sigv4"


@pytest.mark.parametrize(
    "key",
    [{}, {"auth_config": {}}, {"base_url": "https://x.test", "auth_config": {"profile": "p"}}],
)
def test_F01_a_missing_region_is_told(key: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"keys\[0\].*auth_config.region"):
        config_of(key)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("region", "us-east-1.evil.test/", "region"),
        ("region", "", "region"),
        ("session_token", "the token itself", "must say where the secret is"),
        ("access_key_id", "AKIA\n1", "access_key_id"),
    ],
)
def test_F01_fields_that_cannot_be_are_told_without_their_value(
    field: str, value: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        config_of({"auth_config": {"region": "us-east-1", field: value}})
    assert "evil" not in str(caught.value)
    assert "the token itself" not in str(caught.value)


def test_keys_from_the_environment() -> None:
    environ = {"AWS_BEARER_TOKEN_BEDROCK": "ABSK-one", "AWS_REGION": "eu-west-1"}
    [key] = registry_from_environment(environ)["keys"]
    assert key == {
        "key_id": "aws_bedrock-1",
        "provider": "aws_bedrock",
        "secret_ref": "env://AWS_BEARER_TOKEN_BEDROCK",
        "auth_config": {"region": "eu-west-1"},
    }


@pytest.mark.parametrize(
    "model",
    ["amazon.nova-lite-v1:0", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "openai.gpt-oss-20b-1:0", ARN],
)  # fmt: skip
def test_its_models_are_known_by_their_names(model: str) -> None:
    config = config_of(
        {"auth_config": {"region": "us-east-1"}},
        {"key_id": "other", "provider": "openai"},
    )
    [stage] = config.routes().stages(model, None)
    assert (stage.provider, stage.model) == ("aws_bedrock", model)


def test_an_arn_beside_a_brokers_keys_is_named_with_its_provider() -> None:
    config = config_of(
        {"auth_config": {"region": "us-east-1"}}, {"key_id": "other", "provider": "openrouter"}
    )
    [stage] = config.routes().stages(f"aws_bedrock/{ARN}", None)
    assert (stage.provider, stage.model) == ("aws_bedrock", ARN)
