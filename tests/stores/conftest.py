from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_server import RedisServer


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """One server for all tests of the folder that leave it as it was."""
    server = RedisServer()
    yield server
    server.close()
