from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from llm_rotate.cli.keys import VERDICTS
from llm_rotate.core.outcome import Outcome
from llm_rotate.testing import Simulator

from .command import entry, environment, registry, run


def test_every_outcome_has_a_verdict() -> None:
    assert set(VERDICTS) == set(Outcome)


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def ailing(sim: Simulator, path: Path) -> tuple[Path, dict[str, str]]:
    """A registry with one key for each verdict."""
    sim.key("dead").echo_secret()
    sim.key("poor").quota_exhausted()
    sim.key("busy").rate_limit(retry_after=30)
    sim.key("barred").forbidden()
    sim.key("small").unknown_model("gpt-4o-mini")
    sim.key("ill").answers([503, 503, 503])
    nowhere = f"http://127.0.0.1:{closed_port()}/v1"
    keys = [
        entry("good"),
        entry("other", "anthropic"),
        *(entry(key_id) for key_id in ("dead", "poor", "busy", "barred", "small", "ill")),
        entry("far", base_url=nowhere),
        entry("bare"),
        entry("off", enabled=False),
        entry("strange", "mine"),
    ]
    own = {"mine": {"base_url": sim.url("mine")}}
    served = [key["key_id"] for key in keys if key["key_id"] != "bare"]
    return registry(path, sim, *keys, providers=own), environment(sim, *served)


VERDICT_OF = {
    "good": "ok",
    "other": "ok",
    "dead": "dead",
    "poor": "no money",
    "busy": "limited",
    "barred": "forbidden",
    "small": "no model",
    "ill": "failing",
    "far": "unreachable",
    "bare": "no secret",
    "off": "untried",
    "strange": "untried",
}


def test_each_key_is_tried_once_and_judged(sim: Simulator, tmp_path: Path) -> None:
    file, env = ailing(sim, tmp_path)
    done = run("keys", "check", "--config", file, "--json", env=env)
    found = {key["key_id"]: key for key in json.loads(done.stdout)}
    assert {key_id: key["verdict"] for key_id, key in found.items()} == VERDICT_OF
    assert done.returncode == 1
    unsent = {"far", "bare", "off", "strange"}
    assert {key_id: sim.requests(key_id) for key_id in found} == {
        key_id: int(key_id not in unsent) for key_id in found
    }
    assert {(seen.body or {}).get("max_tokens", 1) for seen in sim.log} == {1}
    assert {(seen.body or {}).get("max_completion_tokens", 1) for seen in sim.log} == {1}
    assert found["small"]["status"] == 404
    assert "gpt-4o-mini" in found["small"]["words"]


def test_the_table_says_the_same_in_the_providers_words(sim: Simulator, tmp_path: Path) -> None:
    file, env = ailing(sim, tmp_path)
    done = run("keys", "check", "-c", file, env=env)
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    for key_id, verdict in VERDICT_OF.items():
        assert verdict in rows[key_id]
    assert "401" in rows["dead"]
    assert "SECRET_BARE" in rows["bare"]
    assert "no model to try" in rows["strange"]
    assert "2 of 12 ok" in done.stdout
    assert (done.returncode, done.stderr) == (1, "")


def test_many_dead_keys_are_each_told_dead(sim: Simulator, tmp_path: Path) -> None:
    """Alike and all at once they would look like an outage, if they were one pool."""
    key_ids = [f"k{number}" for number in range(40)]
    for key_id in key_ids:
        sim.key(key_id).bad_key()
    file = registry(tmp_path, sim, *map(entry, key_ids))
    done = run("keys", "check", "-c", file, "--json", env=environment(sim, *key_ids))
    assert [key["verdict"] for key in json.loads(done.stdout)] == ["dead"] * 40


def test_all_ok_is_status_0_and_the_model_can_be_named(sim: Simulator, tmp_path: Path) -> None:
    own = {"mine": {"base_url": sim.url("mine")}}
    chains = {"openai": [{"provider": "mine"}]}
    keys = entry("k1", models=["gpt-x"]), entry("k2", "mine")
    file = registry(tmp_path, sim, *keys, providers=own, fallback_chains=chains)
    env = environment(sim, "k1", "k2")
    assert run("keys", "check", "-c", file, env=env).returncode == 1
    assert [seen.model for seen in sim.log] == ["gpt-x"]
    assert run("keys", "check", "-c", file, "-m", "gpt-x", env=env).returncode == 0


def test_each_key_is_asked_for_what_the_chain_makes_of_the_model(
    sim: Simulator, tmp_path: Path
) -> None:
    """And a key that no call for it reaches is no failure."""
    sim.key("ant").unknown_model("gpt-4o-mini")
    chain = {"gpt-4o-mini": [{"provider": "anthropic", "model": "claude-haiku-4-5"}]}
    keys = [
        entry("oai", models=["gpt-4o-mini"]),
        entry("big", models=["gpt-4o"]),
        entry("ant", "anthropic", models=["claude-haiku-4-5"]),
    ]
    file = registry(tmp_path, sim, *keys, fallback_chains=chain)
    env = environment(sim, "oai", "big", "ant")
    done = run("keys", "check", "-c", file, "-m", "gpt-4o-mini", "--json", env=env)
    found = {key["key_id"]: (key["model"], key["verdict"]) for key in json.loads(done.stdout)}
    assert found == {
        "oai": ("gpt-4o-mini", "ok"),
        "big": ("gpt-4o-mini", "not asked"),
        "ant": ("claude-haiku-4-5", "ok"),
    }
    assert done.returncode == 0
    shown = run("keys", "check", "-c", file, "-m", "gpt-4o-mini", env=env).stdout
    assert "no call for this model comes to it" in shown
    assert "2 of 2 ok" in shown


def test_a_model_that_no_key_serves_is_told_with_status_2(sim: Simulator, tmp_path: Path) -> None:
    file = registry(tmp_path, sim, entry("oai", models=["gpt-4o-mini"]))
    done = run("keys", "check", "-c", file, "-m", "gpt-5", env=environment(sim, "oai"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "gpt-5" in done.stderr
    assert not sim.log


def test_a_bad_file_is_told_with_status_2(tmp_path: Path) -> None:
    done = run("keys", "check", "--config", tmp_path / "none.json")
    assert done.returncode == 2
    assert "none.json: cannot be read" in done.stderr


@pytest.mark.parametrize("words", [("keys", "check", "-c"), ("chat", "hi", "-c")])
def test_what_no_key_can_run_with_is_told_once_with_the_file(
    words: tuple[str, ...], sim: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "redis.py").write_text("raise ModuleNotFoundError(name='redis')")
    store = {"backend": "redis"}
    file = registry(tmp_path, sim, entry("k1"), entry("k2"), state_store=store)
    env = environment(sim, "k1", "k2") | {"PYTHONPATH": str(tmp_path)}
    done = run(*words, file, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"llm-rotate: {file}: state_store.backend 'redis' needs redis")
    assert done.stderr.count("state_store") == 1
