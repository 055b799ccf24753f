"""The pool under the servers and queues of the documentation: forked, spawned, really stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_rotate.testing import Simulator
from tests.docs.pages import ROOT, blocks
from tests.redis_server import RedisServer, free_port

POOL = """
providers: {{openai: {{base_url: "{url}"}}}}
keys:
  - {{key_id: a, provider: openai, secret_ref: "env://SECRET_A"}}
  - {{key_id: b, provider: openai, secret_ref: "env://SECRET_B"}}
defaults: {{selection_strategy: round_robin, max_wait_seconds: 1}}
state_store: {{backend: redis, redis_url: "{redis}", store_timeout_ms: 5000}}
"""
SERVERS = {
    "gunicorn": "gunicorn --preload --workers 3 --worker-class uvicorn_worker.UvicornWorker --bind",
    "uvicorn": "uvicorn --workers 3 --port",
}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def host(redis: RedisServer, tmp_path: Path) -> Iterator[Host]:
    redis.do("FLUSHALL")
    with Simulator().serve() as sim:
        yield Host(sim, redis, tmp_path)


class Host:
    """A folder with a file of the documentation and the pool's, and what runs there."""

    def __init__(self, sim: Simulator, redis: RedisServer, folder: Path) -> None:
        self.sim = sim
        self.folder = folder
        pool = POOL.format(url=sim.url("openai"), redis=redis.url)
        (folder / "pool.yaml").write_text(pool)
        self.env = {
            **os.environ,
            "SECRET_A": sim.secret("a"),
            "SECRET_B": sim.secret("b"),
            "BROKER_URL": redis.url,
            "RESULT_URL": redis.url,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
            "PYTHONWARNINGS": "ignore",  # theirs
        }

    def put(self, page: str, title: str) -> None:
        """A file that ``page`` of the documentation shows."""
        [text] = [each.text for each in blocks(ROOT / page) if each.title == title]
        (self.folder / title).write_text(text)

    @contextmanager
    def running(self, *words: str) -> Iterator[None]:
        """A module run as a program, which ends by itself when it is told to."""
        said = self.folder / "said.txt"
        with (
            said.open("wb") as out,
            subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self.folder,
                env=self.env,
                stdout=out,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) in (0, -signal.SIGTERM)
            finally:
                process.kill()
        assert "Traceback" not in said.read_text()

    def run(self, code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def asked(port: int, question: Any) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/answer?question={question}") as answer:
        return str(answer.read().decode())


def first_answer(port: int, seconds: float = 20.0) -> str:
    until = time.monotonic() + seconds
    while True:
        try:
            return asked(port, "hello")
        except urllib.error.URLError:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize("server", SERVERS)
def test_D02_workers_of_a_server_forked_or_spawned_share_one_state(server, host) -> None:
    host.put("docs/how-to/workers.md", "app.py")
    port = free_port()
    *words, place = SERVERS[server].split()
    where = f"127.0.0.1:{port}" if place == "--bind" else str(port)
    with host.running(*words, place, where, "app:app"):
        assert first_answer(port) == '"You said: hello"'
        host.sim.key("a").rate_limit(retry_after=60)
        for number in range(30):
            assert asked(port, number) == f'"You said: {number}"'
        assert host.sim.requests("a") <= 2  # the first answer, and the refusal
        host.sim.key("b").rate_limit(retry_after=60)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            asked(port, "again")
        spent = host.sim.requests()
        for _ in range(6):
            with pytest.raises(urllib.error.HTTPError, match="503"):
                asked(port, "again")
        assert host.sim.requests() == spent


def test_a_celery_worker_forks_shares_and_puts_a_task_back_until_a_key_is_there(host) -> None:
    host.put("docs/how-to/tasks.md", "tasks.py")
    ask = (
        "import tasks; sent = [tasks.answer.delay(f'question {n}') for n in range({count})]; "
        "print(*(each.get(timeout=30) for each in sent), sep='\\n')"
    )
    with host.running("celery", "-A", "tasks", "worker", "--pool", "prefork", "-c", "2"):
        answers = host.run(ask.replace("{count}", "10")).splitlines()
        assert answers == [f"You said: question {n}" for n in range(10)]
        assert host.sim.requests() == 10
        for key in ("a", "b"):
            host.sim.key(key).rate_limit(retry_after=2)
        answers = host.run(ask.replace("{count}", "4")).splitlines()
        assert answers == [f"You said: question {n}" for n in range(4)]
        assert 14 < host.sim.requests() <= 14 + 4  # refused once or twice a key, not once a task
