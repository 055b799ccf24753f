"""What a registry may hold, and what the engine is told of it."""

import inspect
import pickle
import warnings

import pytest

from llm_rotate.config import (
    DefaultsConfig,
    KeyConfig,
    LMRotateConfig,
    ProviderConfig,
    configure_from_dict,
    configure_from_file,
)
from llm_rotate.config.catalogue import built_in
from llm_rotate.core.policy import Policy, TimeLimits

OPENAI = {"key_id": "o", "provider": "openai", "secret_ref": "env://X"}
ANTHROPIC = {"key_id": "a", "provider": "anthropic"}

# As llm-rotate 0.3 took it.
OLD_REGISTRY = {
    "providers": {
        "openai": {
            "provider_type": "direct",
            "display_name": "OpenAI",
            "adapter": "",
            "default_cooldown_seconds": 15,
        },
        "openrouter": {
            "name": "openrouter",
            "provider_type": "broker",
            "adapter": "openrouter",
            "upstream_providers": ["anthropic"],
        },
        "google_vertex": {"provider_type": "direct", "adapter": "google_vertex"},
    },
    "keys": [
        {"key_id": "o", "provider": "openai"},
        {
            "key_id": "or",
            "provider": "openrouter",
            "secret_ref": "env://OR",
            "models": [],
            "auth_config": {"http_referer": "https://example.org", "x_title": "Mine"},
        },
        {
            "key_id": "v",
            "provider": "google_vertex",
            "auth_method": "service_account",
            "secret_ref": "file://sa.json",
            "auth_config": {"project": "p", "region": "europe-west4"},
            "tags": {"team": "x"},
            "regions": ["eu"],
        },
    ],
}


def test_the_loaders_are_signed_as_the_reference_has_them():
    from_dict = inspect.signature(configure_from_dict).parameters
    assert list(from_dict) == [
        "registry",
        "use_keys",
        "strategy",
        "priorities",
        "fallback_chains",
    ]
    assert from_dict["use_keys"].default is None  # the reference has none
    assert all(p.kind is p.KEYWORD_ONLY for p in list(from_dict.values())[2:])
    from_file = inspect.signature(configure_from_file).parameters
    assert list(from_file) == ["path", "use_keys"]
    assert from_file["use_keys"].default is None


def test_a_registry_of_version_0_3_loads_unchanged():
    config = configure_from_dict(
        OLD_REGISTRY,
        ["v", "o", "or"],
        strategy="round_robin",
        priorities={"o": 5},
        fallback_chains={"google_vertex": [{"provider": "openrouter", "upstream": "anthropic"}]},
    )
    assert [key.key_id for key in config.keys] == ["v", "o", "or"]
    assert [key.priority for key in config.keys] == [0, 5, 0]
    assert config.defaults.selection_strategy == "round_robin"
    dialects = {name: config.providers[name].dialect for name in OLD_REGISTRY["providers"]}
    assert dialects == {"openai": "openai", "openrouter": "openai", "google_vertex": "gemini"}
    assert config.keyspecs()[2].models is None
    headers = config.endpoint(config.keys[2]).headers
    assert headers == {"HTTP-Referer": "https://example.org", "X-Title": "Mine"}


def test_an_overlay_changes_the_fields_it_names_and_keeps_the_rest():
    config = LMRotateConfig(
        providers={
            "openai": {"base_url": "https://proxy.example/v1/", "flags": {"stream_options": False}},
            "anthropic": ProviderConfig(default_cooldown_seconds=5),
        }
    )
    openai, anthropic = config.providers["openai"], config.providers["anthropic"]
    assert openai.base_url == "https://proxy.example/v1"
    assert openai.flags == built_in()["openai"]["flags"] | {"stream_options": False}
    assert openai.env == ["OPENAI_API_KEY"]
    assert (anthropic.dialect, anthropic.auth) == ("anthropic", "x-api-key")
    assert config.policy("anthropic").cooldown_seconds == 5


def test_every_built_in_provider_is_whole():
    config = LMRotateConfig()
    assert list(config.providers) == list(built_in())
    assert config.policy("openai") == Policy(30.0, 300.0, 5)
    assert config.policy("anthropic") == Policy(60.0, 300.0, 5)
    for name, provider in config.providers.items():
        assert provider.name == name
        assert provider.display_name
        assert "timeouts" not in built_in()[name], "its precedence would be the user's"


def test_C06_a_service_needs_a_base_url_only():
    config = configure_from_dict(
        {
            "providers": {"mine": {"base_url": "http://localhost:8000/v1"}},
            "keys": [{"key_id": "m", "provider": "mine"}],
        },
        None,
    )
    endpoint = config.endpoint(config.keys[0])
    assert (endpoint.base_url, endpoint.auth) == ("http://localhost:8000/v1", "bearer")
    assert config.providers["mine"].dialect == "openai"


def test_a_key_may_have_a_server_of_its_own():
    config = configure_from_dict(
        {
            "providers": {"pool": {"auth": "none"}},
            "keys": [
                {"key_id": "0", "provider": "pool", "base_url": "http://gpu0/v1"},
                {"key_id": "1", "provider": "pool", "auth_config": {"base_url": "http://gpu1/"}},
            ],
        },
        None,
    )
    endpoints = [config.endpoint(key) for key in config.keys]
    assert [each.base_url for each in endpoints] == ["http://gpu0/v1", "http://gpu1"]
    assert {each.auth for each in endpoints} == {"none"}


def test_azure_takes_its_endpoint_and_version_from_the_key():
    auth = {"azure_endpoint": "https://r.openai.azure.com/", "api_version": "2024-10-21"}
    key = {"key_id": "z", "provider": "azure_openai", "auth_config": auth}
    config = configure_from_dict({"keys": [key]}, None)
    endpoint = config.endpoint(config.keys[0])
    assert (endpoint.base_url, endpoint.auth) == ("https://r.openai.azure.com", "api-key")
    assert endpoint.flags["azure"] is True
    assert endpoint.flags["api_version"] == "2024-10-21"


def test_the_brokers_names_of_upstreams_reach_the_dialect():
    config = LMRotateConfig(keys=[{"key_id": "r", "provider": "openrouter"}])
    names = config.endpoint(config.keys[0]).flags["upstream_names"]
    assert names["google_ai_studio"] == "google-ai-studio"


# -- precedence: provider, defaults, catalogue, reference


def test_the_most_specific_number_that_the_user_wrote_wins():
    config = LMRotateConfig(
        providers={"openai": {"default_cooldown_seconds": 1}, "mine": {"base_url": "http://m"}},
        defaults={"cooldown_seconds": 2, "max_consecutive_failures": 9},
    )
    assert config.policy("openai") == Policy(1.0, 300.0, 9)
    assert config.policy("anthropic") == Policy(2.0, 300.0, 9)
    assert config.policy("mine") == Policy(2.0, 300.0, 9)
    untouched = LMRotateConfig(providers={"mine": {"base_url": "http://m"}})
    assert untouched.policy("mine") == Policy(60.0, 300.0, 5)
    assert untouched.policy("groq") == Policy(30.0, 300.0, 5)


def test_timeouts_are_found_number_by_number():
    config = LMRotateConfig(
        providers={"openai": {"timeouts": {"idle": 1, "deadline": 50}}},
        defaults={"timeouts": {"idle": 2, "connect": 3}},
    )
    assert config.timeouts("openai") == TimeLimits(3.0, 600.0, 120.0, 1.0, 50.0)
    assert config.timeouts("groq") == TimeLimits(3.0, 600.0, 120.0, 2.0, None)


def test_a_dump_of_what_was_written_makes_the_same_configuration():
    config = LMRotateConfig(
        keys=[{**OPENAI, "secret_ref": ""}],
        providers={"openai": {"default_cooldown_seconds": 1, "timeouts": {"idle": 4}}},
        defaults={"timeouts": {"connect": 3}},
        fallback_chains={"*": [{"provider": "anthropic", "model": "c", "temperature": 0}]},
    )
    again = LMRotateConfig(**config.model_dump(exclude_unset=True))
    copied = LMRotateConfig(providers=config.providers, defaults=config.defaults)
    assert again == config
    for other in (again, copied):
        assert other.policy("groq") == config.policy("groq")
        assert other.timeouts("openai") == config.timeouts("openai")
    assert again.fallback_chains["*"][0].options == {"temperature": 0}


def test_arguments_win_over_the_registry():
    registry = {
        "keys": [OPENAI, ANTHROPIC],
        "use_keys": ["o"],
        "defaults": {"selection_strategy": "weighted", "max_retries": 7},
        "fallback_chains": {"openai": [{"provider": "anthropic"}]},
    }
    plain = configure_from_dict(registry, None)
    assert [key.key_id for key in plain.keys] == ["o"]
    assert plain.defaults.selection_strategy == "weighted"
    config = configure_from_dict(
        registry, ["a", "o"], strategy="priority", priorities={"a": 3}, fallback_chains={}
    )
    assert [(key.key_id, key.priority) for key in config.keys] == [("a", 3), ("o", 0)]
    assert (config.defaults.selection_strategy, config.defaults.max_retries) == ("priority", 7)
    assert config.fallback_chains == {}
    assert registry["keys"][1] == ANTHROPIC


def test_entries_may_be_made_beforehand():
    def mine(key, record, norm):
        return (0, 1.0)

    config = configure_from_dict(
        {"keys": [KeyConfig(**OPENAI)], "defaults": DefaultsConfig(max_retries=1)},
        None,
        strategy=mine,
        priorities={"o": 4},
    )
    assert config.keys[0].priority == 4
    assert config.keys[0].secret_ref == "env://X"
    assert config.defaults.selection_strategy is mine
    assert config.defaults.max_retries == 1


def test_tags_may_be_names_alone():
    config = LMRotateConfig(keys=[{**OPENAI, "tags": ["batch", "eu"], "regions": ["eu"]}])
    spec = config.keyspecs()[0]
    assert spec.tags == {"batch": "", "eu": ""}
    assert spec.regions == {"eu"}


def test_a_key_without_a_list_serves_its_providers_list():
    config = LMRotateConfig(
        providers={"openai": {"supported_models": ["m"]}},
        keys=[OPENAI, {**OPENAI, "key_id": "own", "models": ["n"]}],
    )
    assert [spec.models for spec in config.keyspecs()] == [{"m"}, {"n"}]


def test_R13_the_routes_of_a_configuration():
    config = configure_from_dict(
        {"keys": [OPENAI, ANTHROPIC, {"key_id": "r", "provider": "openrouter"}]},
        None,
        fallback_chains={
            "openai": [
                {"provider": "anthropic", "models": {"gpt-4o-mini": "claude-haiku-4-5"}},
                {"provider": "openrouter", "upstream": "google_vertex", "top_p": 0.5},
            ]
        },
    )
    found = config.routes().stages("gpt-4o-mini")
    assert [(s.provider, s.model, s.upstream, dict(s.options)) for s in found] == [
        ("openai", "gpt-4o-mini", None, {}),
        ("anthropic", "claude-haiku-4-5", None, {}),
        ("openrouter", "google/gpt-4o-mini", "google_vertex", {"top_p": 0.5}),
    ]


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-haiku-4-5", "anthropic"),
        ("gpt-4o-mini", "openai"),
        ("o3", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("gemini-2.5-flash", "google_ai_studio"),
        ("grok-4", "xai"),
    ],
)
def test_the_families_of_the_catalogue(model, provider):
    names = ["groq", "openai", "azure_openai", "anthropic", "google_ai_studio", "xai"]
    auth = {"azure_endpoint": "https://x.example"}
    keys = [{"key_id": name, "provider": name, "auth_config": auth} for name in names]
    found = LMRotateConfig(keys=keys).routes().stages(model)
    assert [stage.provider for stage in found] == [provider]


# -- secrets


def literal_config():
    with pytest.warns(UserWarning, match="literal://"):
        return LMRotateConfig(
            keys=[{**OPENAI, "secret_ref": "literal://sk-hidden"}],
            state_store={"redis_url": "redis://user:sk-hidden@host/0"},
            http={"proxy": "http://user:sk-hidden@proxy:1"},
            providers={"openai": {"headers": {"X-Key": "sk-hidden-header"}}},
        )


def test_F04_no_secret_in_reprs_and_dumps():
    config = literal_config()
    assert "sk-hidden" not in repr(config) + str(config) + repr(config.keys)
    assert "redis://user:***@host/0" in config.model_dump_json()
    dumped = config.model_dump(exclude={"providers": {"openai": {"headers"}}})
    assert "sk-hidden" not in str(dumped)
    assert "secret_ref" not in dumped["keys"][0]


def test_F04_a_pickle_keeps_references_but_no_secret():
    key = literal_config().keys[0]
    raw = pickle.dumps(key)
    assert b"sk-hidden" not in raw
    assert pickle.loads(raw).secret_ref == "literal://"
    assert key.secret_ref == "literal://sk-hidden"
    assert pickle.loads(pickle.dumps(KeyConfig(**OPENAI))) == KeyConfig(**OPENAI)


def test_literal_secrets_of_keys_in_use_are_warned_of_once():
    named = [{**OPENAI, "key_id": f"k{n}", "secret_ref": f"literal://{n}"} for n in range(5)]
    with pytest.warns(UserWarning, match=r"\(k0, k1, k2, \.\.\.\)") as caught:
        configure_from_dict({"keys": named}, None)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        configure_from_dict({"keys": [*named, OPENAI]}, ["o"])


def test_R16_a_missing_secret_is_no_fault_of_the_configuration(monkeypatch):
    monkeypatch.delenv("X", raising=False)
    config = LMRotateConfig(keys=[OPENAI, {**OPENAI, "key_id": "f", "secret_ref": "file://no"}])
    assert [key.secret_ref for key in config.keys] == ["env://X", "file://no"]
