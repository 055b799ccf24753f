"""Estimates of tokens, and how usage puts them right."""

import random
import threading

import pytest

from llm_rotate.core.bucket import Tokens
from llm_rotate.core.estimate import MESSAGE_TOKENS, Estimator

TEXT = "All work and no play makes Jack a dull boy. "


def chat(*texts):
    return [{"role": "user", "content": text} for text in texts]


def prompt(estimator, messages, model="m"):
    return estimator.estimate(model, estimator.units(model, messages)).input


def test_prose_is_four_bytes_a_token():
    assert prompt(Estimator(), chat(TEXT * 100)) == pytest.approx(1_100, rel=0.02)


def test_other_scripts_count_for_more_than_their_characters():
    assert prompt(Estimator(), chat("漢字仮名" * 100)) > 250
    assert prompt(Estimator(), chat("\ud800" * 40)) > 0


def test_every_shape_of_message_is_counted():
    estimator = Estimator()
    plain = estimator.units("m", chat(TEXT * 10))
    parts = [{"role": "user", "content": [{"type": "text", "text": TEXT * 10}]}]
    called = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"arguments": TEXT * 10}}],
        }
    ]
    assert estimator.units("m", parts) == pytest.approx(plain, rel=0.1)
    assert estimator.units("m", called) >= plain
    assert estimator.units("m", [TEXT * 10]) == pytest.approx(plain)
    assert estimator.units("m", []) == 0
    tools = [{"type": "function", "function": {"name": "f", "description": TEXT * 10}}]
    assert estimator.units("m", chat(TEXT * 10), tools) == pytest.approx(2 * plain, rel=0.1)


def test_pictures_count_the_same_whatever_their_bytes():
    estimator = Estimator()
    few, many = (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x" * size}}]}]
        for size in (10, 1_000_000)
    )
    assert estimator.units("m", few) == estimator.units("m", many) > 500


def test_usage_puts_a_model_right_and_leaves_others_alone():
    estimator, rng = Estimator(), random.Random(1)
    for _ in range(300):
        text = "x" * rng.randrange(400, 8_000)
        units = estimator.units("dense", chat(text))
        estimator.note("dense", units, Tokens(int(units * 1.7 * rng.uniform(0.5, 1.5)), 10))
    assert prompt(estimator, chat("x" * 4_000), "dense") == pytest.approx(1_700, rel=0.1)
    assert prompt(estimator, chat("x" * 4_000), "other") == pytest.approx(1_000, rel=0.02)


def test_nonsense_in_the_usage_is_not_believed():
    estimator = Estimator()
    for used in (Tokens(0, 0), Tokens(-5, -5), Tokens(10**9, 0)):
        for _ in range(50):
            estimator.note("m", 100.0, used)
    estimator.note("m", 0.0, Tokens(5, 5))
    assert estimator.estimate("m", 100.0) == Tokens(101, 512)


def test_output_is_the_maximum_where_there_is_one():
    assert Estimator().estimate("m", 10.0, max_tokens=77).output == 77


def test_output_is_512_at_first_and_then_what_four_in_five_do_not_exceed():
    estimator, rng = Estimator(), random.Random(1)
    assert estimator.estimate("m", 10.0).output == 512
    estimator.note("m", 10.0, Tokens(10, 3))
    assert estimator.estimate("m", 10.0).output == 512
    for _ in range(400):
        estimator.note("m", 10.0, Tokens(10, rng.randrange(1, 1_001)))
    assert estimator.estimate("m", 10.0).output == pytest.approx(800, abs=100)
    assert estimator.estimate("other", 10.0).output == 512
    for _ in range(120):
        estimator.note("m", 10.0, Tokens(10, 20))
    assert estimator.estimate("m", 10.0).output == 20


def test_a_tokenizer_counts_instead_and_is_put_right_alike():
    words = Estimator(lambda model, text: len(text.split()) if model == "known" else None)
    messages = chat("one two three " * 100)
    assert prompt(words, messages, "known") == 305
    assert prompt(words, messages, "unknown") == prompt(Estimator(), messages)
    for _ in range(300):
        words.note("known", 304.0, Tokens(608, 1))
    assert prompt(words, messages, "known") == pytest.approx(609, rel=0.02)


def test_threads_may_note_at_once():
    estimator = Estimator()

    def note():
        for i in range(2_000):
            estimator.note("m", 100.0, Tokens(100, 1 + i % 50))
            assert estimator.estimate("m", 100.0).output > 0

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert estimator.estimate("m", 100.0).input == 101
    assert estimator.estimate("m", 100.0).output == pytest.approx(40, abs=10)


def test_an_answer_that_goes_back_in_its_providers_words_too_counts_once():
    plain = {"role": "assistant", "content": "four words it has"}
    native = {"provider": "p", "content": [{"type": "thinking", "signature": "x" * 400}]}
    units = Estimator().units
    assert units("m", [plain | {"native": native}]) == units("m", [plain])


def test_what_nobody_can_mean_is_held_to_a_number_that_can_be_added_up():
    estimator = Estimator(lambda model, text: 10**400)
    hello = [{"role": "user", "content": "hello"}]
    assert estimator.units("m", hello) == MESSAGE_TOKENS + 10**9
    assert estimator.estimate("m", 1.0, 10**400).output == 10**9
