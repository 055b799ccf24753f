"""The long form of the cancellations."""

from __future__ import annotations

import random

import pytest

from tests.behaviours.cancelling import many
from tests.behaviours.dialects import each_dialect
from tests.behaviours.doors import fake_time, sockets
from tests.behaviours.test_cancellation import QUICK


@each_dialect
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(100, 400))
def test_R10_cancelled_anywhere_in_fake_time(provider, seed):
    with fake_time(provider=provider, keys=["k1", "k2"], defaults=QUICK, seed=seed) as world:
        world.run(lambda: many(world, random.Random(seed), rounds=50, at_once=12, longest_s=1.0))


@each_dialect
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(100, 120))
def test_R10_cancelled_anywhere_on_real_sockets(provider, seed):
    with sockets(provider=provider, keys=["k1", "k2"], defaults=QUICK) as world:
        world.run(lambda: many(world, random.Random(seed), rounds=60, at_once=40, longest_s=0.15))
