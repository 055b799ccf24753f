"""Pools of simulated keys, through both doors."""

import threading

import pytest

from llm_rotate.testing import FakeTime, Simulator, run_fake

HI = [{"role": "user", "content": "hi"}]


def test_survives_a_rate_limit(llm_simulator):
    llm_simulator.key("k1").rate_limit(after=1, retry_after=7)
    lm = llm_simulator.pool(keys=["k1", "k2"], strategy="priority", priorities={"k1": 1})
    assert lm.chat_sync("m", HI).content
    assert lm.chat_sync("m", HI).key_id == "k2"
    assert llm_simulator.requests("k1") == 2


@pytest.mark.parametrize(
    "provider", ["openai", "anthropic", "openrouter", "azure_openai", "some_service"]
)
def test_keys_of_every_simulated_provider_serve(llm_simulator, provider):
    lm = llm_simulator.pool(["k1"], provider=provider)
    model = "anthropic/m" if provider == "openrouter" else "m"
    answer = lm.chat_sync(model, HI, max_tokens=50)
    assert (answer.content, answer.provider) == ("You said: hi", provider)
    assert answer.usage.total_tokens == llm_simulator.tokens("k1") == 4
    assert llm_simulator.log[0].provider == provider
    chunks = list(lm.chat_stream_sync(model, HI))
    assert "".join(chunk.delta for chunk in chunks) == "You said: hi"
    assert chunks[-1].usage.total_tokens == 4


def test_a_chain_leads_to_another_provider(llm_simulator):
    llm_simulator.provider("openai").outage()
    lm = llm_simulator.pool(
        {"k1": "openai", "a1": "anthropic"},
        fallback_chains={"openai": [{"provider": "anthropic", "model": "claude"}]},
    )
    answer = lm.chat_sync("gpt-sim", HI)
    assert (answer.key_id, llm_simulator.log[-1].model) == ("a1", "claude")


def test_it_waits_in_fake_time_and_takes_none():
    sim, clock = Simulator(), FakeTime(start=0.0)
    sim.key("k1").rate_limit(after=1, retry_after=7)

    async def main():
        async with sim.pool(["k1"], clock=clock, max_wait_seconds=10) as lm:
            await lm.chat("m", HI)
            return await lm.chat("m", HI)

    assert run_fake(main(), clock).key_id == "k1"
    assert [(seen.at, seen.status) for seen in sim.log] == [
        (0.0, 200),
        (0.0, 429),
        (pytest.approx(7.0), 200),
    ]
    assert sim.in_flight == 0


def test_the_defaults_of_a_configuration_are_passed_on(llm_simulator):
    lm = llm_simulator.pool(["k1"], max_retries=0)
    llm_simulator.key("k1").then(500, times=2)
    with pytest.raises(Exception, match="500"):
        lm.chat_sync("m", HI)
    assert llm_simulator.requests() == 1


def test_pools_are_closed_with_their_simulator():
    before = threading.active_count()
    with Simulator().serve() as sim:
        lm = sim.pool(["k1"])
        lm.chat_sync("m", HI)
        assert sim.open_connections == 1
    assert sim.open_connections == 0
    assert threading.active_count() <= before + 1  # the package's own background loop stays
    with pytest.raises(RuntimeError, match="not being served"):
        sim.pool(["k1"])
