"""Limits as a registry states them."""

from __future__ import annotations

from typing import Any

import pytest

from llm_rotate.config import LimitsConfig, LMRotateConfig, configure_from_dict
from llm_rotate.errors import ConfigurationError

KEY = {"key_id": "a", "provider": "openai", "secret_ref": "env://A"}


def made(key: dict[str, Any], **fields: Any) -> LMRotateConfig:
    return configure_from_dict({"keys": [{**KEY, **key}], **fields}, None)


def mistake(key: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        made(key, **fields)
    return str(caught.value)


def test_a_key_without_limits_states_none() -> None:
    assert made({}).keys[0].stated_limits() == LimitsConfig()


def test_the_older_names_mean_the_same() -> None:
    config = made({"rate_limit_rpm": 60, "rate_limit_tpm": 1000, "limits": {"rpd": 5}})
    assert config.keys[0].stated_limits() == LimitsConfig(rpm=60, tpm=1000, rpd=5)


def test_an_older_name_may_say_the_same_twice_but_nothing_else() -> None:
    assert made({"rate_limit_rpm": 60, "limits": {"rpm": 60}}).keys[0].stated_limits().rpm == 60
    told = mistake({"rate_limit_rpm": 60, "limits": {"rpm": 61}})
    assert told == "keys[0]: rate_limit_rpm is the older name of limits.rpm, which differs"


def test_limits_of_models_and_groups() -> None:
    config = made(
        {"model_limits": {"gpt-4o": {"rpm": 5}}, "quota_group": "org"},
        quota_groups={"org": {"tpm": 10, "model_limits": {"gpt-4o": {"max_concurrency": 2}}}},
    )
    assert config.keys[0].model_limits["gpt-4o"].rpm == 5
    assert config.quota_groups["org"].tpm == 10
    assert config.quota_groups["org"].model_limits["gpt-4o"].max_concurrency == 2


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ({"limits": {"rpm": 0}}, "keys[0].limits.rpm: input should be greater than 0"),
        ({"limits": {"rmp": 1}}, "keys[0].limits.rmp: no such field; did you mean 'rpm'?"),
        ({"model_limits": {"m": {"tmp": 1}}}, "keys[0].model_limits.m.tmp: no such field"),
        ({"quota_group": "ogr"}, "keys[0].quota_group: no such group; did you mean 'org'?"),
        ({"limits": {"max_cost_per_day": 0}}, "keys[0].limits.max_cost_per_day: input should"),
    ],
)
def test_mistakes_are_named_by_place(key: dict[str, Any], told: str) -> None:
    assert mistake(key, quota_groups={"org": {}}).startswith(told)


def test_a_group_that_nobody_described_is_a_mistake() -> None:
    assert "quota_groups has none" in mistake({"quota_group": "org"})


def test_a_providers_day_ends_in_a_time_zone() -> None:
    config = made({})
    assert config.providers["google_ai_studio"].day_ends == "America/Los_Angeles"
    assert config.providers["openai"].day_ends == "UTC"
    assert "no such time zone" in mistake({}, providers={"openai": {"day_ends": "Mars/Olympus"}})
