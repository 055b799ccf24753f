"""What users import, and what every pytest run of theirs pays for."""

import subprocess
import sys

import pytest

import llm_rotate.testing as testing

HEAVY = ("httpx", "pydantic", "rich", "typer", "yaml", "asyncio", "llm_rotate.testing.app")


def loaded_by(statement):
    code = f"import pytest\n{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_plugin_imports_nothing_until_it_is_used():
    new = loaded_by("import llm_rotate.testing.plugin") - loaded_by("pass")
    ours = {name for name in new if name.startswith("llm_rotate")}
    assert ours == {"llm_rotate", "llm_rotate.testing", "llm_rotate.testing.plugin"}
    assert not new.intersection(HEAVY)


def test_each_public_name_is_there_and_documented():
    for name in testing.__all__:
        assert getattr(testing, name).__doc__
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = testing.no_such_name


def test_the_fixture_serves_a_simulator(llm_simulator):
    assert isinstance(llm_simulator, testing.Simulator)
    assert llm_simulator.url("anthropic").startswith("http://127.0.0.1:")
