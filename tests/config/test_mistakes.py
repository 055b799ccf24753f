"""F01: every mistake is named by its place, reason and nearest valid name, all at once."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.config import (
    KeyConfig,
    LMRotateConfig,
    configure_from_dict,
    configure_from_file,
)
from llm_rotate.errors import ConfigurationError

SECRET = "sk-hidden-0123456789"
KEY = {"key_id": "oai-1", "provider": "openai"}


def mistake(registry, use_keys=None, **arguments):
    with pytest.raises(ConfigurationError) as caught:
        configure_from_dict(registry, use_keys, **arguments)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert SECRET not in str(error) + repr(error)
    assert SECRET.encode() not in pickle.dumps(error)
    return error


def key(**fields):
    return {"keys": [KEY | fields]}


FIELD_MISTAKES = [
    ({"kyes": [KEY], "keys": [KEY]}, "kyes: no such field; did you mean 'keys'?"),
    (key(provder="x"), "keys[0].provder: no such field; did you mean 'provider'?"),
    (key(weight=0), "keys[0].weight: input should be greater than 0"),
    (key(weight=float("nan")), "keys[0].weight: input should be a finite number"),
    (key(rate_limit_rpm=-1), "keys[0].rate_limit_rpm: input should be greater than 0"),
    (key(priority=SECRET), "keys[0].priority: input should be a valid integer, unable to parse string as an integer"),
    (key(models=SECRET), "keys[0].models: input should be a valid list"),
    (key(secret_ref=SECRET), "keys[0].secret_ref: needs a scheme: env://NAME, file://PATH or literal://VALUE"),
    (key(key_id=""), "keys[0].key_id: string should have at least 1 character"),
    ({"keys": [{"provider": "openai"}]}, "keys[0].key_id: missing"),
    ({"keys": [SECRET]}, "keys[0]: input should be a valid dictionary or instance of KeyConfig"),
    ({"keys": SECRET}, "keys: input should be a valid list"),
    ({"keys": [KEY], "providers": [SECRET]}, "providers: input should be a valid dictionary"),
    ({"keys": [KEY], "providers": {"x": SECRET}}, "providers.x: input should be a valid dictionary or instance of ProviderConfig"),
    ({"keys": [KEY], "providers": {"x.y": {"bas_url": "u"}}}, "providers['x.y'].bas_url: no such field; did you mean 'base_url'?"),
    ({"keys": [KEY], "providers": {"x": {"dialect": "antropic"}}}, "providers.x.dialect: not one of its values; did you mean 'anthropic'?"),
    ({"keys": [KEY], "providers": {"x": {"auth": SECRET}}}, "providers.x.auth: not one of its values; known: bearer, api-key, x-api-key, none"),
    ({"keys": [KEY], "providers": {"x": {"name": "y"}}}, "providers.x.name: differs from the name of its entry"),
    ({"keys": [KEY], "providers": {"x": {"headers": {"a b": "c"}}}}, "providers.x.headers: a header's name has characters that no header can carry"),
    ({"keys": [KEY], "providers": {"x": {"headers": {"a": f"{SECRET}\n"}}}}, "providers.x.headers: must be text of characters that a header can carry"),
    ({"keys": [KEY], "providers": {"x": {"timeouts": {"idel": 3}}}}, "providers.x.timeouts.idel: no such field; did you mean 'idle'?"),
    ({"keys": [KEY], "defaults": {"max_retires": 3}}, "defaults.max_retires: no such field; did you mean 'max_retries'?"),
    ({"keys": [KEY], "defaults": {"selection_strategy": "helth_aware"}}, "defaults.selection_strategy: no such strategy; did you mean 'health_aware'?"),
    ({"keys": [KEY], "defaults": {"cooldown_seconds": 0}}, "defaults.cooldown_seconds: input should be greater than 0"),
    ({"keys": [KEY], "state_store": {"backend": "rediss"}}, "state_store.backend: not one of its values; did you mean 'redis'?"),
    ({"keys": [KEY], "http": {"proxi": SECRET}}, "http.proxi: no such field; did you mean 'proxy'?"),
    (key(auth_config={"base_url": SECRET}), "keys[0].auth_config: base_url must begin with https:// or http:// and a host"),
    (key(auth_config={"default_headers": SECRET}), "keys[0].auth_config: default_headers must be a mapping of headers to values"),
]  # fmt: skip

ENTRY_MISTAKES = [
    (key(provider="opnai"), "keys[0].provider: no such provider (a new service needs an entry in providers with its base_url); did you mean 'openai'?"),
    ({"keys": [KEY, KEY]}, "keys[1].key_id: the same as that of keys[0]"),
    (key(provider="azure_openai"), "keys[0]: needs auth_config.azure_endpoint, the URL of its resource"),
    ({"keys": [KEY | {"provider": "x"}], "providers": {"x": {}}}, "keys[0]: needs a base_url, its own or its provider's"),
    ({"keys": [KEY], "fallback_chains": {"opnai": []}}, "fallback_chains.opnai: neither a provider nor a model; did you mean 'openai'?"),
    ({"keys": [KEY], "fallback_chains": {"gpt-4.1": [{"provider": "antropic"}]}}, "fallback_chains['gpt-4.1'][0].provider: no such provider (a new service needs an entry in providers with its base_url); did you mean 'anthropic'?"),
    ({"keys": [KEY], "fallback_chains": {"*": [{"upstream": "x"}]}}, "fallback_chains['*'][0].provider: missing"),
    ({"keys": [KEY], "fallback_chains": {"*": [{"provider": "openrouter", "upstream": "antropic"}]}}, "fallback_chains['*'][0].upstream: openrouter has no such upstream; did you mean 'anthropic'?"),
    ({"keys": [KEY], "fallback_chains": {"*": [{"provider": "openai", "upstream": "x"}]}}, "fallback_chains['*'][0].upstream: openai has no such upstream"),
    ({"keys": [KEY], "fallback_chains": {"*": [{"provider": "openai", "modle": "x"}]}}, "fallback_chains['*'][0]: modle: no such field; did you mean 'model'?"),
    ({"keys": [KEY], "fallback_chains": {"*": [{"provider": "openai", "model": "x", "models": {"a": "b"}}]}}, "fallback_chains['*'][0]: give model (one name for all) or models (a mapping), not both"),
    ({"keys": []}, "keys: there are none"),
    ({}, "keys: there are none"),
    ({"keys": [KEY], "use_keys": ["oai-2"]}, "use_keys[0]: no such key; did you mean 'oai-1'?"),
    ({"keys": [KEY], "use_keys": ["oai-1", "oai-1"]}, "use_keys[1]: named twice"),
    ({"keys": [KEY], "use_keys": "oai-1"}, "use_keys: must be a list of key_ids, at least one"),
]  # fmt: skip


@pytest.mark.parametrize(("registry", "text"), [*FIELD_MISTAKES, *ENTRY_MISTAKES])
def test_F01_a_mistake_has_a_place_a_reason_and_the_nearest_name(registry, text):
    error = mistake(registry)
    assert str(error) == text
    assert error.problems == (text,)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"use_keys": [SECRET]}, "use_keys[0]: no such key; known: oai-1"),
        ({"use_keys": []}, "use_keys: must be a list of key_ids, at least one"),
        ({"strategy": "round-robin"}, "defaults.selection_strategy: no such strategy; did you mean 'round_robin'?"),
        ({"priorities": {"oai1": 1}}, "priorities.oai1: no such key; did you mean 'oai-1'?"),
        ({"priorities": {"oai-1": "high"}}, "keys[0].priority: input should be a valid integer, unable to parse string as an integer"),
        ({"priorities": [SECRET]}, "priorities: must be a mapping of key_ids to numbers"),
        ({"fallback_chains": {"*": [{"provider": "gorq"}]}}, "fallback_chains['*'][0].provider: no such provider (a new service needs an entry in providers with its base_url); did you mean 'groq'?"),
        ({"fallback_chains": SECRET}, "fallback_chains: input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_F01_mistakes_in_arguments(arguments, text):
    assert str(mistake({"keys": [KEY]}, **arguments)) == text


def test_F01_all_mistakes_come_at_once():
    error = mistake(
        {
            "keys": [
                KEY | {"secret_ref": SECRET},
                KEY | {"provider": "opnai", "mdels": [SECRET]},
            ],
            "defaults": {"timeouts": {"connet": 1}},
        },
        ["nobody"],
    )
    assert str(error).splitlines() == [
        "6 problems in the configuration:",
        "  use_keys[0]: no such key; known: oai-1",
        "  defaults.timeouts.connet: no such field; did you mean 'connect'?",
        "  keys[0].secret_ref: needs a scheme: env://NAME, file://PATH or literal://VALUE",
        "  keys[1].mdels: no such field; did you mean 'models'?",
        "  keys[1].key_id: the same as that of keys[0]",
        "  keys[1].provider: no such provider (a new service needs an entry in providers with its base_url); did you mean 'openai'?",
    ]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("api.example.com", "must begin with https:// or http:// and a host"),
        ("ftp://api.example.com", "must begin with https:// or http:// and a host"),
        ("https://", "must begin with https:// or http:// and a host"),
        ("https://h:port/", "must begin with https:// or http:// and a host"),
        (f"https://u:{SECRET}@h/v1", "must hold no user and password; use headers for them"),
        (f"https://h/v1?key={SECRET}", "must end with its path, without ? and #"),
        ("https://h/ v1", "must be the URL of a server"),
        ("https://h/\nv1", "must be the URL of a server"),
    ],
)
def test_F01_a_server_needs_a_whole_url(address, reason):
    assert str(mistake(key(base_url=address))) == f"keys[0].base_url: {reason}"


@pytest.mark.parametrize("registry", [None, [], SECRET, 7])
def test_F01_a_registry_is_a_mapping(registry):
    assert str(mistake(registry)) == "a registry must be a mapping that holds a list of keys"


def test_F01_entries_made_by_hand_are_explained_alike():
    with pytest.raises(ConfigurationError) as caught:
        KeyConfig(key_id="a", provider="openai", secret=SECRET)
    assert str(caught.value) == "secret: no such field; did you mean 'secret_ref'?"
    assert caught.value.__context__ is None
    with pytest.raises(ConfigurationError, match=r"^keys\[0\]\.provider: no such provider"):
        LMRotateConfig(keys=[KeyConfig(key_id="a", provider="opnai")])
    with pytest.raises(ConfigurationError, match=r"^nonsense: no such field"):
        LMRotateConfig.model_validate({"nonsense": SECRET})


JSONISH = st.recursive(
    st.none() | st.booleans() | st.floats() | st.just(SECRET) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "key_id",
                    "provider",
                    "secret_ref",
                    "models",
                    "openai",
                    "x",
                    "upstream",
                    "timeouts",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
SECTIONS = [*LMRotateConfig.model_fields, "use_keys", "other"]


@given(st.dictionaries(st.sampled_from(SECTIONS), JSONISH, max_size=5))
def test_F01_whatever_a_registry_holds_it_loads_or_is_explained_without_its_values(registry):
    try:
        configure_from_dict(registry, None)
    except ConfigurationError as error:
        text = str(error)
    else:
        text = ""
    assert SECRET not in text


# -- files


def file_mistake(path):
    with pytest.raises(ConfigurationError) as caught:
        configure_from_file(path)
    assert caught.value.__context__ is None
    assert SECRET not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.json", "", "is empty; a registry is a mapping that holds a list of keys"),
        ("a.yaml", " \n", "is empty; a registry is a mapping that holds a list of keys"),
        ("a.json", f'{{"keys": [\n  "{SECRET}",,]}}', "is not JSON: line 2, column 26: Expecting value"),
        ("a.yml", f"keys:\n  - key_id: {SECRET}\n  provider", "is not YAML: line 3, column 11"),
        ("a.yaml", f"keys: !{SECRET} x", "is not YAML: line 1, column 7"),
        ("a.yaml", f"- {SECRET}", "a registry must be a mapping that holds a list of keys"),
        ("a.json", f'"{SECRET}"', "a registry must be a mapping that holds a list of keys"),
        ("a.yaml", "1: 2\nkeys: [{key_id: k, provider: openai}]", "[1]: names must be text"),
        ("a.toml", "x", "must be a file of these kinds: .json, .yaml, .yml"),
        ("a.json", json.dumps({"keys": [{"key_id": 1, "provider": "openai"}]}), "keys[0].key_id: input should be a valid string"),
    ],
)  # fmt: skip
def test_F01_a_broken_file_is_explained_with_its_line_but_without_its_content(
    name, content, text, tmp_path
):
    path = tmp_path / name
    path.write_text(content)
    assert file_mistake(path) == text


def test_F01_a_file_that_cannot_be_read_is_explained(tmp_path):
    assert file_mistake(tmp_path / "no.json") == "cannot be read: No such file or directory"
    (tmp_path / "dir.json").mkdir()
    assert file_mistake(tmp_path / "dir.json") == "cannot be read: Is a directory"
    (tmp_path / "b.json").write_bytes(b"\xff" + SECRET.encode())
    assert file_mistake(tmp_path / "b.json") == "is not UTF-8 text"


def test_F01_yaml_without_its_extra_says_what_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("keys: []")
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    assert file_mistake(path) == (
        "YAML needs the yaml extra of this package, which is PyYAML (pip install pyyaml); "
        "JSON needs nothing"
    )
