from __future__ import annotations

from collections.abc import Iterator

import pytest

from llm_rotate.testing import Simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator().serve() as sim:
        yield sim
