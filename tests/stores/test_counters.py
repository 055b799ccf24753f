"""What a process counted reaches the server once, whatever gets lost on the way."""

from __future__ import annotations

from llm_rotate.stores.counters import Counters

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
