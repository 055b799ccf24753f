"""What a process counted reaches the server once, whatever gets lost on the way."""

from __future__ import annotations

from llm_rotate.engine.ledger import OTHERS
from llm_rotate.stores.counters import Counters
from tests.redis_server import RedisServer

from .direct import Clock, direct_store, done

COUNTED = {("openai", "a", "m"): (1, 0, 0, 0, 0)}


def test_a_late_answer_to_a_message_that_went_twice_does_not_lose_the_next() -> None:
    counters = Counters("worker")
    counters.of(lambda: COUNTED)
    first = counters.take(0.0)
    counters.again()
    twice = counters.take(2.0)
    assert first is twice is not None
    counters.heard(first)
    following = counters.take(4.0)
    assert following is not None
    assert following[1] == "2"
    counters.heard(twice)
    counters.again()  # the second was lost
    assert counters.take(6.0) == following


def test_names_of_models_do_not_add_up_at_the_server(server: RedisServer) -> None:
    """What is new counts among all further models of its key; what is known, as ever."""
    with server.client() as client:
        client.flushdb()
        known = {f'["openai", "a", "m{number}", 0]': 1 for number in range(100_000)}
        client.hset("{test}counts", mapping=known)
        store = direct_store(client, Clock(client))
        new = ("openai", "a", 'says ", "b"')
        store.count(lambda: {("openai", "a", "m7"): (1, 0, 0, 0, 0), new: (2, 0, 5, 0, 0)})
        found = done(store.counted())
        assert client.hlen("{test}counts") == 100_002
        client.flushdb()
    assert found["openai", "a", "m7"][0] == 2
    assert found["openai", "a", OTHERS] == [2, 0, 5, 0, 0]
    assert new not in found
