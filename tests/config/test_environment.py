"""Keys that stand in the environment."""

import pytest

from llm_rotate.config import configure_from_dict, registry_from_environment
from llm_rotate.errors import ConfigurationError
from llm_rotate.secrets import resolve


def configured(environ, **arguments):
    return configure_from_dict(registry_from_environment(environ), None, **arguments)


def found(environ):
    config = configured(environ)
    return [(key.key_id, key.provider, key.secret_ref) for key in config.keys]


def test_numbered_names_and_lists_are_found_in_order():
    environ = {
        "OPENAI_API_KEY_10": "k10",
        "OPENAI_API_KEY_2": "k2",
        "OPENAI_API_KEY": "k1",
        "OPENAI_API_KEYS": "k20, ,k21",
        "OPENAI_API_KEY_OLD": "no",
        "GROQ_API_KEY": "g",
        "PATH": "/bin",
    }
    assert found(environ) == [
        ("openai-1", "openai", "env://OPENAI_API_KEY"),
        ("openai-2", "openai", "env://OPENAI_API_KEY_2"),
        ("openai-10", "openai", "env://OPENAI_API_KEY_10"),
        ("openai-11", "openai", "env://OPENAI_API_KEYS#0"),
        ("openai-12", "openai", "env://OPENAI_API_KEYS#1"),
        ("groq-1", "groq", "env://GROQ_API_KEY"),
    ]


def test_a_keys_name_has_its_variables_number_and_no_other():
    google = {"GEMINI_API_KEY": "a", "GEMINI_API_KEY_2": "b", "GOOGLE_API_KEY": "c"}
    cases = {
        ("OPENAI_API_KEY", "OPENAI_API_KEY_3"): ["openai-1", "openai-3"],
        ("OPENAI_API_KEY", "OPENAI_API_KEY_1"): ["openai-2", "openai-1"],
        ("OPENAI_API_KEY_2", "OPENAI_API_KEY_02"): ["openai-2", "openai-3"],
        ("OPENAI_API_KEYS", "OPENAI_API_KEY_4"): ["openai-4", "openai-5"],
    }
    for names, ids in cases.items():
        assert [key_id for key_id, _, _ in found({name: name for name in names})] == ids
    ids = [key_id.removeprefix("google_ai_studio-") for key_id, _, _ in found(google)]
    assert ids == ["1", "2", "3"]


def test_openais_keys_go_where_its_variable_says():
    environ = {
        "OPENAI_API_KEY": "k",
        "XAI_API_KEY": "x",
        "OPENAI_BASE_URL": " https://gw.example/v1/ ",
    }
    config = configured(environ)
    openai, xai = (config.endpoint(key).base_url for key in config.keys)
    assert (openai, xai) == ("https://gw.example/v1", "https://api.x.ai/v1")
    for empty in ("", " "):
        (key,) = configured({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": empty}).keys
        assert key.base_url is None
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL must begin with https://"):
        configured({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "gw.example/v1"})


def test_a_registry_says_its_address_itself(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gw.example/v1")
    key = {"key_id": "k", "provider": "openai", "secret_ref": "env://OPENAI_API_KEY"}
    config = configure_from_dict({"keys": [key]})
    assert config.endpoint(config.keys[0]).base_url == "https://api.openai.com/v1"


def test_every_reference_leads_to_its_secret(monkeypatch):
    environ = {"ANTHROPIC_API_KEY": " a \n", "ANTHROPIC_API_KEYS": ",b,, c"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    keys = configured(environ).keys
    assert [resolve(key.secret_ref).reveal() for key in keys] == ["a", "b", "c"]


def test_equal_secrets_make_one_key_and_empty_ones_none():
    environ = {"OPENAI_API_KEY": "k", "OPENAI_API_KEY_2": "k", "OPENAI_API_KEYS": "k,l"}
    assert [ref for _, _, ref in found(environ | {"XAI_API_KEY": " "})] == [
        "env://OPENAI_API_KEY",
        "env://OPENAI_API_KEYS#1",
    ]


def test_azure_needs_its_endpoint_beside_the_key():
    environ = {"AZURE_OPENAI_API_KEY": "k"}
    with pytest.raises(ConfigurationError, match=r"AZURE_OPENAI_API_KEY \(with AZURE_OPENAI_END"):
        configured(environ)
    config = configured(environ | {"AZURE_OPENAI_ENDPOINT": "https://r.example/"})
    assert config.endpoint(config.keys[0]).base_url == "https://r.example"


def test_F01_no_key_at_all_says_which_names_were_looked_for():
    with pytest.raises(ConfigurationError) as caught:
        configured({"HOME": "/root"})
    for name in ("OPENAI_API_KEY,", "ANTHROPIC_API_KEY,", "OPENROUTER_API_KEY,", "NAME_2", "NAMES"):
        assert name in str(caught.value)


def test_arguments_hold_for_keys_of_the_environment():
    config = configured(
        {"OPENAI_API_KEY": "k", "XAI_API_KEY": "x"},
        strategy="priority",
        priorities={"openai-1": 2},
        fallback_chains={"openai": [{"provider": "xai", "model": "grok-4"}]},
    )
    assert config.defaults.selection_strategy == "priority"
    assert [key.priority for key in config.keys] == [2, 0]
    assert [stage.provider for stage in config.routes().stages("gpt-4o")] == ["openai", "xai"]
