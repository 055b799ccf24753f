from __future__ import annotations

import math
import os
import pty
import signal
import subprocess
from pathlib import Path

from llm_rotate.testing import Simulator

from .command import PROGRAM, entry, environment, registry, run, start


def test_the_answer_alone_is_printed(sim: Simulator, tmp_path: Path) -> None:
    file = registry(tmp_path, sim, entry("k1"))
    done = run("chat", "hello there", "-m", "gpt-4o-mini", "-c", file, env=environment(sim, "k1"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "You said: hello there\n", "")
    assert sim.log[0].model == "gpt-4o-mini"
    assert sim.log[0].stream is False


def test_a_stream_prints_the_same(sim: Simulator, tmp_path: Path) -> None:
    file = registry(tmp_path, sim, entry("k1"))
    words = ("chat", "hello there", "--stream", "--config", file)
    done = run(*words, env=environment(sim, "k1"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "You said: hello there\n", "")
    assert sim.log[0].stream is True


def test_in_a_terminal_it_streams(sim: Simulator, tmp_path: Path) -> None:
    file = registry(tmp_path, sim, entry("k1"))
    ours, theirs = pty.openpty()
    subprocess.run(
        [*PROGRAM, "chat", "hello", "-c", str(file)],
        env=environment(sim, "k1"),
        stdout=theirs,
        check=True,
        timeout=30,
    )
    assert os.read(ours, 1000) == b"You said: hello\r\n"
    os.close(ours)
    os.close(theirs)
    assert sim.log[0].stream is True


def test_a_dash_reads_the_prompt(sim: Simulator, tmp_path: Path) -> None:
    file = registry(tmp_path, sim, entry("k1"))
    done = run("chat", "-", "-c", file, env=environment(sim, "k1"), stdin="from a pipe\n")
    assert done.stdout == "You said: from a pipe\n"


def test_nothing_to_ask_is_wrong_usage() -> None:
    done = run("chat", "-", stdin=" \n")
    assert done.returncode == 2
    assert "nothing to ask" in done.stderr


def test_verbose_names_the_key_that_served_and_the_usage(sim: Simulator, tmp_path: Path) -> None:
    sim.key("k1").bad_key()
    keys = entry("k1", priority=1), entry("k2")
    file = registry(tmp_path, sim, *keys)
    done = run("chat", "hello there", "-v", "-c", file, env=environment(sim, "k1", "k2"))
    assert done.stdout == "You said: hello there\n"
    assert done.stderr.startswith("k2 (openai, gpt-4o-mini): 2 + 4 tokens, ")
    assert done.stderr.endswith("ms, 2 requests\n")


def test_the_first_listed_model_is_the_default(sim: Simulator, tmp_path: Path) -> None:
    keys = entry("k1"), entry("k2", "anthropic", models=["claude-x", "claude-y"])
    file = registry(tmp_path, sim, *keys)
    env = environment(sim, "k1", "k2")
    assert run("chat", "hello", "-c", file, env=env).returncode == 0
    assert run("chat", "hello", "-c", file, "--provider", "openai", env=env).returncode == 0
    assert [seen.model for seen in sim.log] == ["claude-x", "gpt-4o-mini"]


def test_without_a_model_the_chain_still_holds(sim: Simulator, tmp_path: Path) -> None:
    sim.key("k1").bad_key()
    chains = {"openai": [{"provider": "anthropic", "model": "claude-x"}]}
    keys = entry("k1"), entry("k2", "anthropic")
    file = registry(tmp_path, sim, *keys, fallback_chains=chains)
    done = run("chat", "hello", "-c", file, env=environment(sim, "k1", "k2"))
    assert done.stdout == "You said: hello\n"
    assert [seen.model for seen in sim.log] == ["gpt-4o-mini", "claude-x"]


def test_no_model_at_all_is_said(sim: Simulator, tmp_path: Path) -> None:
    own = {"mine": {"base_url": sim.url("mine")}}
    file = registry(tmp_path, sim, entry("k1", "mine"), providers=own)
    done = run("chat", "hello", "-c", file, env=environment(sim, "k1"))
    assert done.returncode == 2
    assert "--model" in done.stderr
    assert sim.requests() == 0


def test_max_tokens_reaches_the_provider(sim: Simulator, tmp_path: Path) -> None:
    file = registry(tmp_path, sim, entry("k1"))
    words = ("chat", "hello there", "--max-tokens", 2, "-c", file)
    assert run(*words, env=environment(sim, "k1")).stdout == "You said:\n"


def test_a_refusal_is_told_in_words_with_status_1(sim: Simulator, tmp_path: Path) -> None:
    sim.key("k1").echo_secret()
    file = registry(tmp_path, sim, entry("k1"))
    done = run("chat", "hello", "-c", file, env=environment(sim, "k1"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llm-rotate: no key of openai can serve 'openai/gpt-4o-mini' now")


def test_a_broken_stream_keeps_what_came_and_fails(sim: Simulator, tmp_path: Path) -> None:
    sim.key("k1").cut_stream(2)
    file = registry(tmp_path, sim, entry("k1"))
    done = run("chat", "hello there", "--stream", "-c", file, env=environment(sim, "k1"))
    assert (done.returncode, done.stdout) == (1, "You said:\n")
    assert done.stderr.startswith("llm-rotate: openai (k1, 'gpt-4o-mini')")


def test_no_key_anywhere_is_a_configuration_error() -> None:
    done = run("chat", "hello")
    assert done.returncode == 2
    assert "OPENAI_API_KEY" in done.stderr


def test_keys_come_from_the_environment() -> None:
    done = run("chat", "hello", "-p", "anthropic", env=environment() | {"OPENAI_API_KEY": "x"})
    assert done.returncode == 2
    assert "no enabled key of anthropic; there are keys of: openai" in done.stderr


def test_a_literal_secret_is_warned_of_in_one_line(sim: Simulator, tmp_path: Path) -> None:
    file = registry(tmp_path, sim, entry("k1", secret_ref=f"literal://{sim.secret('k1')}"))
    done = run("chat", "hello", "-c", file)
    assert done.stdout == "You said: hello\n"
    assert done.stderr.startswith("warning: literal://")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_leaves_quietly_and_hangs_up(sim: Simulator, tmp_path: Path) -> None:
    sim.key("k1").slow(math.inf)
    file = registry(tmp_path, sim, entry("k1"))
    with start("chat", "hello", "-c", file, env=environment(sim, "k1")) as running:
        assert sim.wait_for(lambda: sim.in_flight == 1, 20)
        running.send_signal(signal.SIGINT)
        assert running.communicate(timeout=20) == ("", "")
    assert running.returncode == 130
    assert sim.wait_idle()


def test_a_reader_that_leaves_is_no_news(sim: Simulator, tmp_path: Path) -> None:
    sim.says("word " * 2000)
    sim.key("k1").slow(0.0, between=0.001)
    file = registry(tmp_path, sim, entry("k1"))
    with start("chat", "hello", "--stream", "-c", file, env=environment(sim, "k1")) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.read(4) == "word"
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(20) == 1
    assert sim.wait_idle()
