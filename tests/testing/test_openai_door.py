"""The real openai SDK against the loopback server."""

import openai
import pytest

from llm_rotate.testing import Simulator

HELLO = [{"role": "user", "content": "hello there"}]


@pytest.fixture
def sim():
    with Simulator().serve() as sim:
        yield sim


@pytest.fixture
def client(sim):
    with openai.OpenAI(
        api_key=sim.secret("k1"), base_url=sim.url("openai"), max_retries=0
    ) as client:
        yield client


def ask(client, **options):
    return client.chat.completions.create(model="gpt-sim", messages=HELLO, **options)


def test_a_chat_is_answered_and_counted(sim, client):
    answer = ask(client)
    assert answer.choices[0].message.content == "You said: hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-sim"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 4)
    assert sim.requests("k1") == sim.requests() == 1
    assert sim.tokens("k1") == 6
    [seen] = sim.log
    assert (seen.key, seen.provider, seen.model, seen.status) == ("k1", "openai", "gpt-sim", 200)


def test_a_stream_comes_in_words_and_ends_with_usage(sim, client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "You said: hello there"
    assert chunks[-1].usage.total_tokens == 6
    assert sim.log[0].stream


def test_a_rate_limit_raises_the_sdk_s_own_error_with_its_time(sim, client):
    sim.key("k1").rate_limit(after=1, retry_after=7)
    ask(client)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert 6 < float(caught.value.response.headers["retry-after"]) <= 7
    assert caught.value.code == "rate_limit_exceeded"
