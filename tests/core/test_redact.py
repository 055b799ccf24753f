"""No secret comes through, and nothing else is lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.redact import HIDDEN, SHORTEST_SECRET, redact, redact_all

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
SECRETS = st.text(LETTERS, min_size=SHORTEST_SECRET, max_size=80)
PREFIXES = ["sk-", "sk-ant-api03-", "sk-proj-", "sk-or-v1-", "gsk_", "xai-", "AIza", "AKIA", "csk-"]


@given(st.text(), SECRETS, st.text())
def test_the_secret_itself_never_comes_through(before: str, secret: str, after: str) -> None:
    shown = redact(before + secret + after, secret)
    assert secret not in shown.replace(HIDDEN, "|")


@given(st.sampled_from(PREFIXES), st.text(LETTERS[:62], min_size=16, max_size=90))
def test_what_looks_like_a_key_is_hidden_though_it_is_not_ours(prefix: str, rest: str) -> None:
    shown = redact(f"Incorrect API key provided: {prefix}{rest}. See your account.")
    assert rest not in shown
    assert prefix + rest not in shown
    assert shown.startswith("Incorrect API key provided: ")
    assert "See your account." in shown


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-********************abcd.",
        "Incorrect API key provided: sk-ab***************wxyz",
        "Authorization: Bearer abc.def-ghi",
        "authorization: bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
    ],
)
def test_half_hidden_keys_and_bearer_tokens_are_hidden_whole(text: str) -> None:
    shown = redact(text)
    assert HIDDEN in shown
    for part in ("abcd", "wxyz", "abc.def-ghi", "eyJ"):
        assert part not in shown


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-4o-mini-2024-07-18` does not exist",
        "Your credit balance is too low to access the Anthropic API.",
        "Rate limit reached for claude-sonnet-4-5-20250929 in organization org-abcdefghijklmnop",
        "This is a task-oriented keyboard, skipping pkg-config",
        "request_id req_011CSHoEeqs5C35K2UUqR7Fy",
        "",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert redact(text, "sk-sim-abcdef") == text


def test_a_short_secret_is_not_torn_out_of_words() -> None:
    assert redact("a test of none", "none") == "a test of none"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, SECRETS.filter(lambda text: text.isalnum() and not text.isdigit()))
def test_a_body_loses_its_secrets_wherever_they_are(body: object, secret: str) -> None:
    whole = {"error": {"message": f"bad {secret}", "seen": [body, {f"k-{secret}": secret}]}}
    shown = json.dumps(redact_all(whole, secret))
    assert secret not in shown.replace(HIDDEN, "|")


def test_a_body_without_secrets_is_the_same() -> None:
    body = {"error": {"message": "no", "param": None, "n": [1, 2.5, True]}}
    assert redact_all(body, "sk-sim-secret") == body
