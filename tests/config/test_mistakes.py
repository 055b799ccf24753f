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
TO_SECRET_REF = (
    "no such field; did you mean 'secret_ref'? It says where the secret is: env://OPENAI_API_KEY"
)


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
    (key(secret_ref=SECRET), "keys[0].secret_ref: needs a scheme: env://NAME, file://PATH, keyring://SERVICE/NAME, aws://NAME, gcp://PROJECT/NAME, vault://PATH#FIELD or literal://VALUE"),
    (key(key_id=""), "keys[0].key_id: string should have at least 1 character"),
    ({"keys": [{"provider": "openai"}]}, "keys[0].key_id: missing"),
    ({"keys": [SECRET]}, "keys[0]: input should be a valid dictionary or instance of KeyConfig"),
    ({"keys": SECRET}, "keys: input should be a valid list"),
    ({"keys": [KEY], "providers": [SECRET]}, "providers: input should be a valid dictionary"),
    ({"keys": [KEY], "providers": {"x": SECRET}}, "providers.x: input should be a valid dictionary or instance of ProviderConfig"),
    ({"keys": [KEY], "providers": {"x.y": {"bas_url": "u"}}}, "providers['x.y'].bas_url: no such field; did you mean 'base_url'?"),
    ({"keys": [KEY], "providers": {"x": {"dialect": "antropic"}}}, "providers.x.dialect: not one of its values; did you mean 'anthropic'?"),
    ({"keys": [KEY], "providers": {"x": {"auth": SECRET}}}, "providers.x.auth: not one of its values; known: bearer, api-key, x-api-key, x-goog-api-key, google, none"),
    ({"keys": [KEY], "providers": {"x": {"name": "y"}}}, "providers.x.name: differs from the name of its entry"),
    ({"keys": [KEY], "providers": {"x": {"headers": {"a b": "c"}}}}, "providers.x.headers: a header's name has characters that no header can carry"),
    ({"keys": [KEY], "providers": {"x": {"headers": {"a": f"{SECRET}\n"}}}}, "providers.x.headers: must be text of characters that a header can carry"),
    ({"keys": [KEY], "providers": {"x": {"timeouts": {"idel": 3}}}}, "providers.x.timeouts.idel: no such field; did you mean 'idle'?"),
    ({"keys": [KEY], "defaults": {"max_retires": 3}}, "defaults.max_retires: no such field; did you mean 'max_retries'?"),
    ({"keys": [KEY], "defaults": {"selection_strategy": "helth_aware"}}, "defaults.selection_strategy: no such strategy; did you mean 'health_aware'?"),
    ({"keys": [KEY], "defaults": {"cooldown_seconds": 0}}, "defaults.cooldown_seconds: input should be greater than 0"),
    ({"keys": [KEY], "state_store": {"backend": "rediss"}}, "state_store.backend: not one of its values; did you mean 'redis'?"),
    ({"keys": [KEY], "http": {"proxy": SECRET}}, "http.proxy: must begin with http, https, socks5, socks5h and ://, and name a host"),
    ({"keys": [KEY], "http": {"proxy": f"localhost:{SECRET}"}}, "http.proxy: must begin with http, https, socks5, socks5h and ://, and name a host"),
    ({"keys": [KEY], "http": {"proxy": "http://"}}, "http.proxy: must begin with http, https, socks5, socks5h and ://, and name a host"),
    ({"keys": [KEY], "http": {"verify": f"/nowhere/{SECRET}"}}, "http.verify: there is no such file or folder"),
    ({"keys": [KEY], "http": {"verify": __file__}}, "http.verify: no certificates can be read there"),
    ({"keys": [KEY], "http": {"proxi": SECRET}}, "http.proxi: no such field; did you mean 'proxy'?"),
    (key(key_id="team|prod"), "keys[0].key_id: must not contain '|', which stands between a key and its models"),
    ({"keys": [KEY | {"quota_group": "a|b"}], "quota_groups": {"a|b": {}}}, "keys[0].quota_group: must not contain '|', which stands between a key and its models"),
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
        "  keys[0].secret_ref: needs a scheme: env://NAME, file://PATH, keyring://SERVICE/NAME, aws://NAME, gcp://PROJECT/NAME, vault://PATH#FIELD or literal://VALUE",
        "  keys[1].mdels: no such field; did you mean 'models'?",
        "  keys[1].key_id: the same as that of keys[0]",
        "  keys[1].provider: no such provider (a new service needs an entry in providers with its base_url); did you mean 'openai'?",
    ]


@pytest.mark.parametrize("word", [SECRET, "gsk_" + 52 * "a", "sk-proj-abcd1234efgh5678"])
def test_F01_a_secret_in_the_place_of_a_name_is_refused_and_not_shown(word):
    registry = {
        "keys": [
            KEY | {"key_id": word},
            KEY | {word: "x"},
            KEY | {"key_id": "b", "secret_ref": f"env://{word}"},
            KEY | {"key_id": "c", "secret_ref": f"env://{word}#1"},
        ],
        "providers": {word: {"bas_url": "x"}},
        word: 1,
    }
    error = mistake(registry, ["oai-2"])
    assert word not in str(error)
    named = (
        "looks like a secret, and key_ids are shown; "
        "give the key a name, and say in secret_ref where its secret is"
    )
    variable = "env:// takes the name of a variable, and what stands there looks like a secret"
    assert error.problems == (
        "use_keys[0]: no such key; did you mean 'oai-1'?",
        "providers.[hidden].bas_url: no such field; did you mean 'base_url'?",
        f"keys[0].key_id: {named}",
        "keys[1].[hidden]: no such field, and its name looks like a secret",
        f"keys[2].secret_ref: {variable}",
        f"keys[3].secret_ref: {variable}",
        "[hidden]: no such field, and its name looks like a secret",
    )


def test_a_hint_shows_no_secret_that_stands_as_a_name():
    error = mistake({"keys": [KEY | {"key_id": SECRET}]}, [SECRET[:-1]])
    assert SECRET[:-1] not in str(error)


@pytest.mark.parametrize(
    "name", ["key-production-eu-west-0001", "openai-key-production-primary", "xai-customers-europe"]
)
def test_names_of_words_are_no_secrets(name):
    registry = key(key_id=name, secret_ref="env://KEY_OPENAI_PRODUCTION_EU_2")
    assert configure_from_dict(registry, None).keys[0].key_id == name


@pytest.mark.parametrize("name", ["api_key", "key", "token", "secret"])
def test_F01_what_others_call_the_secret_leads_to_secret_ref(name):
    assert str(mistake(key(**{name: SECRET}))) == f"keys[0].{name}: {TO_SECRET_REF}"


def test_elsewhere_those_names_mean_no_secret_ref():
    assert "secret_ref" not in str(mistake({"keys": [KEY], "http": {"token": SECRET}}))


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


def test_F01_a_path_for_a_registry_is_told_its_reader():
    assert "; configure_from_file(path) reads one" in str(mistake("pool.yaml"))


def test_F01_entries_made_by_hand_are_explained_alike():
    with pytest.raises(ConfigurationError) as caught:
        KeyConfig(key_id="a", provider="openai", secret=SECRET)
    assert str(caught.value) == f"secret: {TO_SECRET_REF}"
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
        ("a.yml", f"keys:\n  - key_id: {SECRET}\n  provider", "is not YAML: line 3, column 11: could not find expected ':'"),
        ("a.yaml", f"keys: !{SECRET} x", "is not YAML: line 1, column 7"),
        ("a.yaml", f"keys: *{SECRET}", "is not YAML: line 1, column 7"),
        ("a.yaml", f"keys:\n  - key_id: a\n\tprovider: {SECRET}", r"is not YAML: line 3, column 1: found character '\t' that cannot start any token"),
        ("a.yaml", f"keys: '{SECRET}", "is not YAML: line 1, column 28: found unexpected end of stream"),
        ("a.yaml", f"keys: [{SECRET}", "is not YAML: line 1, column 28: expected ',' or ']', but got '<stream end>'"),
        ("a.yaml", f"keys: {SECRET}: x", "is not YAML: line 1, column 27: mapping values are not allowed here"),
        ("a.yaml", "keys: \x01", "is not YAML: special characters are not allowed"),
        ("a.yaml", f"keys: !!int {SECRET}", "is not YAML: a value is not what its form or its tag says"),
        ("a.yaml", f"keys: !!timestamp {SECRET}", "is not YAML: a value is not what its form or its tag says"),
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


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.yaml", f"keys: [{SECRET}]\ndefaults:\n'keys': []", "line 3: 'keys' stands twice in one mapping, first in line 1"),
        ("a.yaml", f"keys:\n- key_id: a\n  key_id: {SECRET}", "line 3: 'key_id' stands twice in one mapping, first in line 2"),
        ("a.yaml", f"keys: []\n{SECRET}: 1\n{SECRET}: 1", "line 3: '[hidden]' stands twice in one mapping, first in line 2"),
        ("a.json", f'{{"keys": ["{SECRET}"], "keys": []}}', "'keys' stands twice in one mapping"),
        ("a.json", f'{{"keys": [{{"key_id": "a", "key_id": "{SECRET}"}}]}}', "'key_id' stands twice in one mapping"),
        ("a.json", f'{{"{SECRET}": 1, "{SECRET}": 1}}', "'[hidden]' stands twice in one mapping"),
    ],
)  # fmt: skip
def test_F01_what_stands_twice_in_one_mapping_is_refused(name, content, text, tmp_path):
    path = tmp_path / name
    path.write_text(content)
    assert file_mistake(path) == text


def test_what_yaml_merges_may_be_said_anew(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "keys:\n"
        "- &first {key_id: a, provider: openai, priority: 1}\n"
        "- &second {<<: *first, key_id: b, weight: 2}\n"
        "- {<<: *second, <<: *first, key_id: c}\n"
    )
    keys = configure_from_file(path).keys
    assert [(key.key_id, key.priority, key.weight) for key in keys] == [
        ("a", 1, 1.0),
        ("b", 1, 2.0),
        ("c", 1, 2.0),
    ]


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
