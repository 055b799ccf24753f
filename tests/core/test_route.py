"""From a model's name to the stages of its way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.keyspec import KeySpec
from llm_rotate.core.route import ChainEntry, ProviderSpec, Routes, RouteStage
from llm_rotate.errors import ConfigurationError

PROVIDERS = {
    spec.name: spec
    for spec in (
        ProviderSpec("alpha", families=("gpt-[!o]*", "o[1-9]*")),
        ProviderSpec("beta", families=("claude*",), variables=("BETA_API_KEY",)),
        ProviderSpec("gamma", families=("claude*",)),
        ProviderSpec("broker", is_broker=True, vendors={"studio": "google"}),
        ProviderSpec("local"),
    )
}


def key(key_id, provider, *models, enabled=True):
    return KeySpec(key_id, provider, models=frozenset(models) or None, enabled=enabled)


def routes(*keys, chains=None):
    entries = {name: [ChainEntry(**e) for e in chain] for name, chain in (chains or {}).items()}
    return Routes(PROVIDERS, keys, entries)


def way(found):
    return [
        (stage.provider, stage.model, *([stage.upstream] if stage.upstream else []))
        for stage in found
    ]


# -- the model's own provider


def test_a_listed_full_name_wins_over_its_prefix():
    pool = routes(key("a", "alpha"), key("l", "local", "alpha/gpt-x"))
    assert way(pool.stages("alpha/gpt-x")) == [("local", "alpha/gpt-x")]


def test_of_several_that_list_it_the_first_key_decides():
    pool = routes(key("g", "gamma", "m"), key("b", "beta", "m"))
    assert way(pool.stages("m")) == [("gamma", "m")]


def test_a_prefix_that_names_a_provider_with_keys_is_taken_off():
    pool = routes(key("b", "beta"), key("a", "alpha"), key("o", "broker"))
    assert way(pool.stages("alpha/whatever")) == [("alpha", "whatever")]


def test_a_name_with_a_slash_is_the_brokers():
    pool = routes(key("a", "alpha"), key("o", "broker"))
    assert way(pool.stages("beta/claude-x")) == [("broker", "beta/claude-x")]


def test_a_broker_keeps_the_prefix_of_its_own_models():
    pool = routes(key("a", "alpha"), key("o", "broker"))
    assert way(pool.stages("broker/auto")) == [("broker", "broker/auto")]
    assert way(pool.stages("broker/beta/claude-x")) == [("broker", "beta/claude-x")]


@pytest.mark.parametrize(
    ("model", "provider"), [("gpt-4", "alpha"), ("o3-mini", "alpha"), ("Claude-3", "beta")]
)
def test_a_family_finds_its_provider(model, provider):
    pool = routes(key("l", "local"), key("a", "alpha"), key("b", "beta"))
    assert way(pool.stages(model)) == [(provider, model)]


def test_the_only_provider_with_keys_takes_any_name():
    assert way(routes(key("l", "local")).stages("llama")) == [("local", "llama")]


def test_a_list_is_served_alone_and_passed_over_in_every_step():
    pool = routes(key("a", "alpha", "gpt-1"), key("b", "beta", "claude-1"), key("g", "gamma"))
    assert way(pool.stages("claude-2")) == [("gamma", "claude-2")]
    for model in ("gpt-2", "alpha/gpt-2", "beta/claude-2"):
        with pytest.raises(ConfigurationError):
            pool.stages(model)


def test_keys_that_are_not_enabled_serve_nothing():
    pool = routes(key("a", "alpha", "m", enabled=False), key("b", "beta", "m"))
    assert way(pool.stages("m")) == [("beta", "m")]


# -- chains


CHAINS = {
    "m": [{"provider": "beta", "model": "by-model"}],
    "alpha": [{"provider": "beta", "model": "by-provider"}],
    "*": [{"provider": "beta", "model": "by-star"}],
}


@pytest.mark.parametrize(
    ("names", "sent"),
    [("m alpha *", "by-model"), ("alpha *", "by-provider"), ("*", "by-star")],
)
def test_R13_a_chain_is_found_by_model_then_by_provider_then_by_star(names, sent):
    chains = {name: CHAINS[name] for name in names.split()}
    pool = routes(key("a", "alpha", "m"), key("b", "beta"), chains=chains)
    assert way(pool.stages("m")) == [("alpha", "m"), ("beta", sent)]


def test_R13_a_chain_by_model_is_found_for_its_prefixed_name_too():
    pool = routes(key("a", "alpha"), key("b", "beta"), chains={"m": CHAINS["m"]})
    assert way(pool.stages("alpha/m")) == [("alpha", "m"), ("beta", "by-model")]


def test_R13_a_mapping_knows_a_model_with_and_without_its_prefix():
    chain = [{"provider": "beta", "models": {"m": "one", "alpha/n": "two"}}]
    pool = routes(key("a", "alpha"), key("b", "beta"), chains={"*": chain})
    assert way(pool.stages("alpha/m"))[1] == ("beta", "one")
    assert way(pool.stages("alpha/n"))[1] == ("beta", "two")


def test_R13_entries_follow_in_order_each_with_its_name():
    chain = [
        {"provider": "beta", "models": {"m": "claude-m"}},
        {"provider": "beta", "models": {"other": "claude-other"}},
        {"provider": "broker", "upstream": "beta"},
        {"provider": "broker", "upstream": "studio"},
        {"provider": "broker", "upstream": "beta", "model": "x/y"},
        {"provider": "local"},
    ]
    keys = (key("a", "alpha", "m"), key("b", "beta"), key("o", "broker"), key("l", "local"))
    assert way(routes(*keys, chains={"alpha": chain}).stages("m")) == [
        ("alpha", "m"),
        ("beta", "claude-m"),
        ("beta", "m"),
        ("broker", "beta/m", "beta"),
        ("broker", "google/m", "studio"),
        ("broker", "x/y", "beta"),
        ("local", "m"),
    ]


def test_R13_an_entry_loses_the_prefix_that_names_its_provider():
    pool = routes(key("o", "broker"), key("b", "beta"), chains={"broker": [{"provider": "beta"}]})
    pool_stages = pool.stages("broker/beta/claude-x")
    assert way(pool_stages) == [("broker", "beta/claude-x"), ("beta", "claude-x")]


def test_R13_a_named_provider_switches_the_chain_off():
    pool = routes(key("a", "alpha"), key("b", "beta"), chains=CHAINS)
    assert way(pool.stages("m", "beta")) == [("beta", "m")]
    assert way(pool.stages("alpha/m", "alpha")) == [("alpha", "m")]


def test_R13_a_model_that_nobody_serves_lists_what_is_served():
    pool = routes(key("a", "alpha", "gpt-4o", "gpt-4o-mini"), key("b", "beta"))
    with pytest.raises(ConfigurationError) as caught:
        pool.stages("gpt-4o-mni")
    assert str(caught.value) == (
        "no key serves 'gpt-4o-mni'; did you mean 'gpt-4o-mini'? Served are "
        "alpha: gpt-4o, gpt-4o-mini; beta: claude*, any other as 'beta/NAME'"
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt4-mini", "; names of alpha begin with 'gpt-'. Served are alpha: gpt-*, o*, any"),
        ("Claude-3", ": beta has such names, but no enabled key (in the environment: BETA_A"),
        ("aplha/gpt-4", "; did you mean 'alpha/gpt-4'? Served"),
        ("gpt-oss", "serves 'gpt-oss'. Served are"),
    ],
)
def test_R13_a_model_that_nobody_serves_is_told_who_has_such_names(model, words):
    pool = routes(key("a", "alpha"), key("l", "local"))
    with pytest.raises(ConfigurationError) as caught:
        pool.stages(model)
    assert words in str(caught.value)


def test_the_only_provider_does_not_take_a_name_with_its_own_misspelt():
    pool = Routes({"openai": ProviderSpec("openai")}, [key("a", "openai")], {})
    with pytest.raises(ConfigurationError, match="did you mean 'openai/m'"):
        pool.stages("opnai/m")
    assert way(pool.stages("meta-llama/m")) == [("openai", "meta-llama/m")]


def test_R13_a_chain_serves_a_model_that_nobody_else_does():
    pool = routes(key("a", "alpha", "gpt"), key("b", "beta"), chains={"*": CHAINS["*"]})
    assert way(pool.stages("unheard-of")) == [("beta", "by-star")]


def test_R13_entries_without_keys_for_the_name_are_passed_over():
    chain = [{"provider": "gamma"}, {"provider": "beta"}, {"provider": "local", "model": "l"}]
    pool = routes(
        key("a", "alpha", "m"), key("b", "beta", "claude"), key("l", "local"), chains={"m": chain}
    )
    assert way(pool.stages("m")) == [("alpha", "m"), ("local", "l")]
    lone = routes(key("a", "alpha", "x"), chains={"m": chain})
    with pytest.raises(ConfigurationError, match="no key serves 'm'"):
        lone.stages("m")


def test_R13_the_chain_stands_in_for_a_provider_whose_keys_are_not_enabled():
    pool = routes(
        key("a", "alpha", "m", enabled=False),
        key("b", "beta"),
        key("l", "local"),
        chains={"alpha": [{"provider": "beta"}]},
    )
    assert way(pool.stages("m")) == [("beta", "m")]


def test_a_stage_like_an_earlier_one_appears_once():
    chain = [{"provider": "alpha"}, {"provider": "beta"}, {"provider": "beta"}]
    chain.append({"provider": "beta", "options": {"temperature": 0}})
    pool = routes(key("a", "alpha"), key("b", "beta"), chains={"alpha": chain})
    assert pool.stages("gpt-x") == (
        RouteStage("alpha", "gpt-x"),
        RouteStage("beta", "gpt-x"),
        RouteStage("beta", "gpt-x", options={"temperature": 0}),
    )


@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        ("alhpa", "no provider 'alhpa'; did you mean 'alpha'? There are keys of: alpha"),
        ("beta", "no enabled key of beta; there are keys of: alpha"),
        ("alpha", "no key of alpha serves 'm'. Served are alpha: gpt"),
    ],
)
def test_a_named_provider_that_cannot_serve_is_explained(provider, reason):
    pool = routes(key("a", "alpha", "gpt"), key("b", "beta", enabled=False))
    with pytest.raises(ConfigurationError) as caught:
        pool.stages("m", provider)
    assert str(caught.value) == reason


# -- the keys of a stage


def test_the_keys_of_a_stage_are_those_whose_list_has_its_name():
    pool = routes(
        key("a1", "alpha", "m"),
        key("a2", "alpha"),
        key("a3", "alpha", "n"),
        key("a4", "alpha", "m", enabled=False),
        key("b", "beta", "m"),
    )
    assert pool.eligible(RouteStage("alpha", "m")) == (0, 1)
    assert pool.eligible(RouteStage("alpha", None)) == (0, 1, 2)


def test_a_brokers_key_may_list_a_name_without_its_vendor():
    keys = (key("b", "beta"), key("o", "broker", "claude-x"))
    chains = {"beta": [{"provider": "broker", "upstream": "beta"}]}
    pool = routes(*keys, chains=chains)
    last = pool.stages("claude-x", None)[-1]
    assert way(pool.stages("claude-x")) == [("broker", "claude-x")]
    assert pool.eligible(last) == (1,)
    assert pool.eligible(RouteStage("broker", "beta/claude-x", "beta")) == (1,)


NAMES = st.sampled_from(["m", "n", "gpt-1", "claude-1", "alpha/m", "beta/x/y", "broker/m", "/", ""])
KEYS = st.lists(
    st.builds(
        KeySpec,
        key_id=st.text(min_size=1, max_size=3),
        provider=st.sampled_from(list(PROVIDERS)),
        models=st.none() | st.frozensets(NAMES, min_size=1, max_size=3),
        enabled=st.booleans(),
    ),
    max_size=6,
)
ENTRIES = st.builds(
    ChainEntry,
    provider=st.sampled_from(list(PROVIDERS)),
    upstream=st.none() | st.sampled_from(["beta", "studio"]),
    model=st.none() | NAMES,
    models=st.dictionaries(NAMES, NAMES, max_size=2),
)


@given(
    KEYS,
    st.dictionaries(st.sampled_from([*PROVIDERS, "m", "*"]), st.lists(ENTRIES, max_size=4)),
    NAMES,
    st.none() | st.sampled_from([*PROVIDERS, "nobody"]),
)
def test_every_stage_has_an_enabled_key_of_its_provider_or_there_is_none(
    keys, chains, model, provider
):
    pool = Routes(PROVIDERS, keys, chains)
    try:
        stages = pool.stages(model, provider)
    except ConfigurationError:
        stages = None
    assert stages is None or len(stages) >= 1
    for stage in stages or ():
        found = [keys[index] for index in pool.eligible(stage)]
        assert found
        assert all(each.enabled and each.provider == stage.provider for each in found)
        assert list(stages).count(stage) == 1
