import pytest

from llm_rotate.testing import Simulator


@pytest.fixture
def sim():
    with Simulator().serve() as sim:
        yield sim
