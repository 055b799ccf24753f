"""The pytest plugin: the fixture ``llm_simulator``. Every run of a venv loads it: it is light."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from . import Simulator


@pytest.fixture
def llm_simulator() -> Iterator[Simulator]:
    """A simulator of LLM services, served over HTTP on the loopback interface.

    ``llm_simulator.pool(keys=[...])`` gives a pool of simulated keys, closed with the test.
    """
    from . import Simulator  # noqa: PLC0415  what is not used is not imported

    with Simulator().serve() as sim:
        yield sim
