"""Every spelling of "come back later"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.core.retry_after import LONGEST_S, in_details, later_s, length_s, stated_s
from llm_rotate.core.wire import Headers

WALL = 1_790_000_000.0  # Mon, 21 Sep 2026 14:13:20 UTC
REQUESTS = ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
TOKENS = ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
BUCKETS = (REQUESTS, TOKENS)


def headers(**named: str) -> Headers:
    return Headers([(k.replace("_", "-").encode(), v.encode()) for k, v in named.items()])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (" 20 ", 20.0),
        ("1s", 1.0),
        ("0s", 0.0),
        ("6m0s", 360.0),
        ("8.64s", 8.64),
        ("12ms", 0.012),
        ("1d2h", 93_600.0),
        ("1h2m3s", 3723.0),
        ("Mon, 21 Sep 2026 14:13:30 GMT", 10.0),
        ("2026-09-21T14:13:25Z", 5.0),
        ("2026-09-21T16:13:25+02:00", 5.0),
        ("Mon, 21 Sep 2020 14:13:30 GMT", 0.0),
        ("1790000030", 30.0),
        ("1790000030000", 30.0),
    ],
)
def test_R11_each_spelling_of_a_time_is_understood(text: str, seconds: float) -> None:
    assert stated_s(text, WALL) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "soon", "-1", "-5s", "1x", "s", "1s!", "nan", "inf", "1e400", "1_000", "٣", "9" * 40,
     "Mon, 99 Foo 2026 99:99:99 GMT", "9999-99-99T00:00:00Z", "1" * 1000, "9d" * 60],
)  # fmt: skip
def test_L03_a_time_that_makes_no_sense_is_ignored(text: str) -> None:
    assert stated_s(text, WALL) is None


def test_milliseconds_win_over_seconds_and_both_over_buckets() -> None:
    given = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "9s"}
    assert later_s(headers(retry_after="7", retry_after_ms="6500", **given), WALL, BUCKETS) == 6.5
    assert later_s(headers(retry_after="7", **given), WALL, BUCKETS) == 7.0
    assert later_s(headers(**given), WALL, BUCKETS) == 9.0


def test_a_senseless_retry_after_leaves_the_word_to_the_buckets() -> None:
    given = headers(
        retry_after="later", x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="9s"
    )
    assert later_s(given, WALL, BUCKETS) == 9.0


def test_the_latest_reset_of_the_empty_buckets_counts() -> None:
    given = headers(
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="2s",
        x_ratelimit_remaining_tokens="0",
        x_ratelimit_reset_tokens="6m0s",
    )
    assert later_s(given, WALL, BUCKETS) == 360.0


def test_a_bucket_with_room_left_does_not_count_beside_an_empty_one() -> None:
    given = headers(
        x_ratelimit_remaining_requests="0",
        x_ratelimit_reset_requests="2s",
        x_ratelimit_remaining_tokens="500",
        x_ratelimit_reset_tokens="6m0s",
    )
    assert later_s(given, WALL, BUCKETS) == 2.0


def test_of_buckets_that_are_not_empty_only_a_lone_one_speaks() -> None:
    lone = {"x_ratelimit_remaining_tokens": "500", "x_ratelimit_reset_tokens": "4s"}
    other = {"x_ratelimit_remaining_requests": "1", "x_ratelimit_reset_requests": "2s"}
    assert later_s(headers(**lone), WALL, BUCKETS) == 4.0
    assert later_s(headers(**lone, **other), WALL, BUCKETS) is None


@pytest.mark.parametrize("remaining", ["-1", "", "many"])
def test_L03_a_senseless_remaining_is_not_an_empty_bucket(remaining: str) -> None:
    given = headers(
        x_ratelimit_remaining_requests=remaining,
        x_ratelimit_reset_requests="2s",
        x_ratelimit_remaining_tokens="0",
        x_ratelimit_reset_tokens="5s",
    )
    assert later_s(given, WALL, BUCKETS) == 5.0


def test_L03_a_bucket_that_resets_at_once_says_nothing() -> None:
    given = headers(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="0s")
    assert later_s(given, WALL, BUCKETS) is None


def test_R11_a_retry_delay_among_the_details_is_found() -> None:
    assert in_details([{"@type": "x.Help"}, {"@type": "x.RetryInfo", "retryDelay": "34s"}]) == 34.0
    assert in_details([{"retryDelay": "34.5s"}]) == 34.5


@pytest.mark.parametrize("details", [None, "34s", b"34s", {}, 5, [], [5, None, {"retryDelay": 4}]])
def test_details_without_a_delay_say_nothing(details: object) -> None:
    assert in_details(details) is None


@given(st.text(max_size=80) | st.from_regex(r"[0-9.:,+\-dhmsTZ GMT]{0,40}"))
def test_L03_any_text_is_none_or_a_sane_time(text: str) -> None:
    for seconds in (stated_s(text, WALL), length_s(text)):
        assert seconds is None or 0.0 <= seconds <= LONGEST_S


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", *REQUESTS, *TOKENS]),
        st.text(max_size=40) | st.sampled_from(["0", "-1", "0s", "1s", "nan", "1e999"]),
    )
)
def test_L03_any_headers_are_none_or_a_sane_time(found: dict[str, str]) -> None:
    raw = [(k.encode(), v.encode("latin-1", "replace")) for k, v in found.items()]
    seconds = later_s(Headers(raw), WALL, BUCKETS)
    assert seconds is None or 0.0 <= seconds <= LONGEST_S


@given(st.floats(0, 86_400), st.sampled_from(["s", "ms", "m"]))
def test_a_length_reads_back_as_it_was_written(value: float, unit: str) -> None:
    scale = {"s": 1.0, "ms": 1e-3, "m": 60.0}[unit]
    assert length_s(f"{value:.3f}{unit}") == pytest.approx(round(value, 3) * scale)
