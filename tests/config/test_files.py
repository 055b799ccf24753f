"""F02: files. JSON and YAML say the same; the examples load; the schema is the models'."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from llm_rotate.config import configure_from_dict, configure_from_file
from llm_rotate.config.schema import registry_schema

CONFIGS = Path(__file__).parents[2] / "configs"
EXAMPLES = sorted(path for path in CONFIGS.iterdir() if path.name != "schema.json")
SCHEMA = json.loads((CONFIGS / "schema.json").read_text("utf-8"))


def content(path):
    return yaml.safe_load(path.read_text("utf-8"))  # JSON is YAML


def test_F02_there_is_an_example_for_each_use():
    assert [path.name for path in EXAMPLES] == [
        "azure_deployments.yaml",
        "local_vllm_pool.yaml",
        "many_workers.yaml",
        "openai_three_keys.yaml",
        "openrouter_upstreams.json",
        "two_providers_chain.yaml",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_F02_every_example_loads_from_json_and_yaml_alike(path, tmp_path):
    twins = [tmp_path / "a.json", tmp_path / "a.yaml", tmp_path / "a.YML"]
    twins[0].write_text(json.dumps(content(path)), "utf-8")
    for twin in twins[1:]:
        twin.write_text(yaml.safe_dump(content(path)), "utf-8")
    config = configure_from_file(path)
    assert config.keys
    for twin in twins:
        assert configure_from_file(str(twin)) == config
    assert configure_from_dict(content(path), None) == config


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_keeps_the_schema_and_names_it(path):
    jsonschema.Draft202012Validator(SCHEMA).validate(content(path))
    first = path.read_text("utf-8").splitlines()[0]
    named = content(path).get("$schema") or first.partition("yaml-language-server: $schema=")[2]
    assert named == "schema.json"


def test_the_schema_is_generated_from_the_models():
    assert registry_schema() == SCHEMA, "python -m llm_rotate.config.schema > configs/schema.json"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "broken",
    [
        {"keys": [{"key_id": "a", "provider": "b", "typo": 1}]},
        {"keys": [{"key_id": "a"}]},
        {"keys": [], "defaults": {"selection_strategy": "fastest"}},
        {"keys": [], "providers": {"x": {"auth": "basic"}}},
        {},
    ],
)
def test_the_schema_finds_mistakes_in_the_editor(broken):
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(broken))


def test_a_file_may_choose_its_keys_and_an_argument_wins(tmp_path):
    path = tmp_path / "pool.json"
    keys = [{"key_id": name, "provider": "openai"} for name in "abc"]
    path.write_text(json.dumps({"use_keys": ["b"], "keys": keys}))
    assert [key.key_id for key in configure_from_file(path).keys] == ["b"]
    chosen = configure_from_file(path, use_keys=["c", "a"])
    assert [key.key_id for key in chosen.keys] == ["c", "a"]


def test_empty_sections_of_a_yaml_file_count_as_missing(tmp_path):
    path = tmp_path / "pool.yaml"
    path.write_text("providers:\ndefaults:\nuse_keys:\nkeys: [{key_id: a, provider: openai}]\n")
    assert len(configure_from_file(path).keys) == 1


def test_loading_changes_nothing_of_what_it_was_given():
    registry = content(CONFIGS / "two_providers_chain.yaml")
    before = copy.deepcopy(registry)
    configure_from_dict(registry, ["openai-1"], strategy="weighted", priorities={"openai-1": 2})
    assert registry == before
