"""Every script, in the pure app: the time is an argument, no door is open."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.testing import Scripted, SimRequest, Simulator
from llm_rotate.testing.exchange import End

PATHS = {
    "openai": "/openai/v1/chat/completions",
    "anthropic": "/anthropic/v1/messages",
    "openrouter": "/openrouter/api/v1/chat/completions",
}
WALL = 1_767_225_600.0


def post(sim, key="k1", now=0.0, provider="openai", model="m", **fields):
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "one two three"}],
        **({"max_tokens": 100} if provider == "anthropic" else {}),
        **fields,
    }
    headers = {"authorization": f"Bearer {sim.secret(key)}", "anthropic-version": "2023-06-01"}
    request = SimRequest("POST", PATHS[provider], headers, json.dumps(body).encode())
    answer = sim.answer(request, now, WALL + now)
    sim.done(answer, early=False)
    return answer


def statuses(sim, n, **options):
    return [post(sim, **options).status for _ in range(n)]


def body_of(answer):
    return json.loads(b"".join(chunk.data for chunk in answer.chunks))


def header(answer, name):
    return dict(answer.headers).get(name)


def test_a_rate_limit_lasts_until_its_time_and_states_what_is_left():
    sim = Simulator()
    sim.key("k1").rate_limit(after=1, retry_after=7)
    assert post(sim, now=0).status == 200
    first, later = post(sim, now=10), post(sim, now=14.5)
    assert (first.status, header(first, "retry-after")) == (429, "7")
    assert (later.status, header(later, "retry-after")) == (429, "2.5")
    assert post(sim, now=17).status == 200
    assert sim.requests("k1") == 4


def test_a_rate_limit_binds_its_key_alone():
    sim = Simulator()
    sim.key("k1").rate_limit(retry_after=7)
    assert post(sim, "k1").status == 429
    assert post(sim, "k2").status == 200


def test_rpm_counts_in_a_sliding_window_and_says_what_is_left():
    sim = Simulator()
    sim.key("k1").rpm(2, window=6.0)
    first = post(sim, now=0.0)
    assert header(first, "x-ratelimit-limit-requests") == "2"
    assert header(first, "x-ratelimit-remaining-requests") == "1"
    assert header(first, "x-ratelimit-reset-requests") == "6s"
    assert post(sim, now=4.0).status == 200
    refused = post(sim, now=5.0)
    assert refused.status == 429
    assert header(refused, "retry-after") == "1"
    assert header(refused, "x-ratelimit-remaining-requests") == "0"
    assert post(sim, now=6.0).status == 200
    assert post(sim, now=9.0).status == 429


def test_a_limit_that_is_not_stated_is_known_by_its_429_alone():
    sim = Simulator()
    sim.key("k1").rpm(1, window=6.0, is_stated=False)
    answers = [post(sim, now=0.0), post(sim, now=2.0)]
    assert [answer.status for answer in answers] == [200, 429]
    assert header(answers[1], "retry-after") == "4"
    assert not any(name.startswith("x-ratelimit") for each in answers for name, _ in each.headers)


def test_anthropic_s_limits_reset_at_a_date():
    sim = Simulator()
    sim.key("k1").rpm(5, window=60)
    answer = post(sim, provider="anthropic")
    assert header(answer, "anthropic-ratelimit-requests-remaining") == "4"
    assert header(answer, "anthropic-ratelimit-requests-reset") == "2026-01-01T00:01:00.000Z"


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(0, 5))
def test_no_window_ever_holds_more_than_the_limit(gaps, limit):
    sim = Simulator()
    sim.key("k1").rpm(limit, window=6.0)
    now, served = 0.0, []
    for gap in gaps:
        now += gap
        answer = post(sim, now=now)
        if answer.status == 200:
            served.append(now)
        else:
            # Who waits as long as it was told is served, if there is a limit to be under.
            assert float(header(answer, "retry-after")) <= 6.001
    for at in served:
        assert sum(at - 5.999 < other <= at for other in served) <= limit


@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=30))
def test_who_waits_for_retry_after_is_served(gaps):
    sim = Simulator()
    sim.key("k1").rpm(2, window=6.0)
    now = 0.0
    for gap in gaps:
        now += gap
        answer = post(sim, now=now)
        if answer.status == 429:
            now += float(header(answer, "retry-after"))
            assert post(sim, now=now).status == 200


# script -> for each provider: status, and where its error says what
@pytest.mark.parametrize(
    ("tell", "provider", "status", "sign"),
    [
        (lambda key: key.quota_exhausted(), "openai", 429, "insufficient_quota"),
        (lambda key: key.quota_exhausted(), "openrouter", 402, 402),
        (lambda key: key.quota_exhausted(), "anthropic", 400, "invalid_request_error"),
        (lambda key: key.bad_key(), "openai", 401, "invalid_api_key"),
        (lambda key: key.bad_key(), "openrouter", 401, 401),
        (lambda key: key.bad_key(), "anthropic", 401, "authentication_error"),
        (lambda key: key.forbidden(), "openai", 403, "model_access_denied"),
        (lambda key: key.forbidden(), "anthropic", 403, "permission_error"),
        (lambda key: key.unknown_model("m"), "openai", 404, "model_not_found"),
        (lambda key: key.unknown_model("m"), "anthropic", 404, "not_found_error"),
        (lambda key: key.rate_limit(), "openai", 429, "rate_limit_exceeded"),
        (lambda key: key.rate_limit(), "anthropic", 429, "rate_limit_error"),
        (lambda key: key.then(529), "anthropic", 529, "overloaded_error"),
        (lambda key: key.then(500), "anthropic", 500, "api_error"),
        (lambda key: key.then(500), "openai", 500, None),
        (lambda key: key.then(402), "anthropic", 402, "billing_error"),
    ],
)
def test_each_refusal_is_spelled_as_its_provider_does(tell, provider, status, sign):
    sim = Simulator()
    tell(sim.key("k1"))
    answer = post(sim, provider=provider)
    error = body_of(answer)["error"]
    assert answer.status == status
    assert error["type" if provider == "anthropic" else "code"] == sign
    assert error["message"]
    assert not answer.stream


def test_a_model_alone_is_forbidden_or_unknown():
    sim = Simulator()
    sim.key("k1").forbidden("a").unknown_model("b")
    assert [post(sim, model=model).status for model in "abc"] == [403, 404, 200]


def test_explicit_answers_come_one_by_one_then_all_is_well():
    sim = Simulator()
    sim.key("k1").answers([500, Scripted(200, {"odd": 1}, {"X-Odd": "yes"}), 429])
    first, second, third, last = (post(sim) for _ in range(4))
    assert [first.status, second.status, third.status, last.status] == [500, 200, 429, 200]
    assert body_of(second) == {"odd": 1}
    assert header(second, "x-odd") == "yes"
    assert header(last, "x-odd") is None
    assert body_of(last)["choices"]


def test_then_follows_then():
    sim = Simulator()
    sim.key("k1").then(500, times=2).then().then(429, headers={"Retry-After": "3"}, body="slow")
    assert statuses(sim, 3) == [500, 500, 200]
    limited = post(sim)
    assert (limited.status, header(limited, "retry-after")) == (429, "3")
    assert limited.chunks[0].data == b"slow"
    assert header(limited, "content-type") == "text/plain"
    assert statuses(sim, 2) == [200, 200]


@pytest.mark.parametrize("provider", PATHS)
def test_a_stream_is_cut_silent_or_failed_where_it_was_told(provider):
    for after in (0, 2):
        for tell, end in (("cut_stream", End.CUT), ("silent_stream", End.HANG)):
            sim = Simulator()
            getattr(sim.key("k1"), tell)(after)
            answer = post(sim, provider=provider, stream=True)
            assert (answer.status, answer.end) == (200, end)
            said = b"".join(chunk.data for chunk in answer.chunks)
            assert [word in said for word in (b"You", b" said", b" one")] == [
                after > 0,
                after > 0,
                False,
            ]
            assert said  # the opening events came


@pytest.mark.parametrize(("provider", "sign"), [("openai", b'"error"'), ("anthropic", b"error")])
def test_an_error_comes_inside_a_stream_even_first(provider, sign):
    for at, opened, text in ((None, False, False), (0, True, False), (1, True, True)):
        sim = Simulator()
        sim.key("k1").error_in_stream(at)
        answer = post(sim, provider=provider, stream=True)
        assert answer.status == 200
        assert sign in answer.chunks[-1].data
        assert (len(answer.chunks) > 1) is opened
        assert any(b"You" in chunk.data for chunk in answer.chunks) is text


def test_stream_faults_leave_whole_answers_alone_and_count_streams_only():
    sim = Simulator()
    sim.key("k1").cut_stream(1, times=1)
    assert post(sim).end is End.CLEAN
    assert post(sim, stream=True).end is End.CUT
    assert post(sim, stream=True).end is End.CLEAN


def test_slow_malformed_and_dropped_answers():
    sim = Simulator()
    sim.key("k1").slow(2.0, between=0.5)
    answer = post(sim, stream=True)
    assert answer.delay == 2.0
    assert [chunk.delay for chunk in answer.chunks][:3] == [0.0, 0.5, 0.5]
    sim.key("k1").heal().malformed("<html>", times=1)
    assert post(sim).chunks[0].data == b"<html>"
    sim.key("k1").drop(times=1)
    gone = post(sim)
    assert (gone.status, gone.chunks, gone.end) == (0, (), End.CUT)
    assert post(sim).status == 200


def test_headers_ride_on_every_answer_and_replace():
    sim = Simulator()
    sim.key("k1").rate_limit(after=1).headers(
        {"X-RateLimit-Reset-Requests": "", "Retry-After": "x"}
    )
    assert header(post(sim), "x-ratelimit-reset-requests") == ""
    assert header(post(sim), "retry-after") == "x"


@pytest.mark.parametrize("provider", PATHS)
def test_a_secret_is_echoed_only_when_told(provider):
    sim = Simulator()
    sim.key("k1").echo_secret()
    answer = post(sim, provider=provider)
    assert answer.status == 401
    assert sim.secret("k1") in body_of(answer)["error"]["message"]
    assert sim.secret("k1") not in repr(answer) + repr(sim.log)


def test_heal_ends_everything():
    sim = Simulator()
    sim.key("k1").bad_key().rpm(0).headers({"x-odd": "1"})
    assert post(sim).status == 401
    sim.key("k1").heal()
    answer = post(sim)
    assert (answer.status, header(answer, "x-odd")) == (200, None)


def test_an_outage_lasts_its_time_for_every_key_of_that_provider():
    sim = Simulator()
    sim.provider("openai").outage(503, seconds=10)
    assert [post(sim, key, now=now).status for key, now in (("a", 5), ("b", 14.9))] == [503, 503]
    assert post(sim, provider="anthropic").status == 200
    assert post(sim, "a", now=15).status == 200
    sim.provider("openai").outage()
    assert post(sim, now=10_000).status == 503
    sim.provider("openai").heal()
    assert post(sim, now=10_001).status == 200


def test_a_block_says_the_same_to_all():
    sim = Simulator()
    sim.provider("openai").block()
    answers = [post(sim, key) for key in ("k1", "k2", "k3")]
    assert [answer.status for answer in answers] == [403] * 3
    assert len({body_of(answer)["error"]["message"] for answer in answers}) == 1


def openrouter(sim, order, allow, now=0.0):
    body = {
        "model": "anthropic/c",
        "messages": [{"role": "user", "content": "hi"}],
        "provider": {"order": order, "allow_fallbacks": allow},
    }
    headers = {"authorization": f"Bearer {sim.secret('k1')}"}
    request = SimRequest("POST", PATHS["openrouter"], headers, json.dumps(body).encode())
    return sim.answer(request, now, WALL)


def test_a_pinned_route_fails_alone_and_the_order_is_kept():
    sim = Simulator()
    sim.upstream("google-vertex").down(429, seconds=5)
    failed = openrouter(sim, ["google-vertex"], allow=False)
    assert (failed.status, sim.log[-1].upstream) == (429, None)
    assert body_of(failed)["error"]["metadata"]["provider_name"] == "Google"
    served = openrouter(sim, ["google-vertex", "openai"], allow=False)
    assert (served.status, body_of(served)["provider"]) == (200, "OpenAI")
    fallen = openrouter(sim, ["google-vertex"], allow=True)
    assert (fallen.status, sim.log[-1].upstream) == (200, "anthropic")
    assert openrouter(sim, ["google-vertex"], allow=False, now=5.0).status == 200


def test_random_faults_hit_their_share_and_repeat_with_their_seed():
    def run(seed):
        sim = Simulator()
        sim.faults(0.2, seed=seed)
        return statuses(sim, 1000)

    first = run(7)
    assert 150 < sum(status != 200 for status in first) < 250
    assert set(first) == {0, 200, 429, 500, 503}
    assert run(7) == first != run(8)


def test_unknown_keys_are_numbered_and_refused_only_if_strict():
    def ask(sim, secret):
        headers = {"authorization": f"Bearer {secret}"}
        body = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'
        return sim.answer(SimRequest("POST", PATHS["openai"], headers, body), 0.0, WALL).status

    easy, strict = Simulator(), Simulator(strict_keys=True)
    strict.key("mine", secret="s-mine")
    for secret in ("s-real-1", "s-real-2", "s-real-1", "sk-sim-k9"):
        assert ask(easy, secret) == 200
        assert ask(strict, secret) == 401
    assert ask(strict, "s-mine") == 200
    assert [seen.key for seen in easy.log] == ["unknown-1", "unknown-2", "unknown-1", "k9"]
    assert "s-real" not in repr(easy.log) + repr(easy.log[0].headers)


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        ("openai", {"messages": []}),
        ("openai", {"model": ""}),
        ("openai", {"messages": [{"role": "robot", "content": "x"}]}),
        ("openai", {"messages": [{"role": "tool", "content": "x"}]}),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "image_bytes"}]}]}),
        ("anthropic", {"max_tokens": None}),
        ("anthropic", {"messages": [{"role": "system", "content": "x"}]}),
        ("anthropic", {"messages": [{"role": "user", "content": ""}]}),
        ("anthropic", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
    ],
)
def test_what_a_provider_would_not_take_is_400(provider, fields):
    options = {"model": "m", **fields}
    answer = post(Simulator(), provider=provider, **options)
    assert answer.status == 400
    assert body_of(answer)["error"]["type"] == "invalid_request_error"


def test_what_is_no_json_or_no_path_of_ours_is_refused():
    sim = Simulator()
    assert sim.answer(SimRequest("POST", PATHS["openai"], {}, b"{"), 0.0, WALL).status == 400
    assert sim.answer(SimRequest("POST", "/nowhere", {}, b"{}"), 0.0, WALL).status == 404
    assert sim.answer(SimRequest("GET", PATHS["openai"], {}, b"{}"), 0.0, WALL).status == 405


@pytest.mark.parametrize(
    ("path", "provider", "model"),
    [
        ("/openai/v1/chat/completions", "openai", "m"),
        ("/v1/chat/completions", "openai", "m"),
        ("/chat/completions", "openai", "m"),
        ("/vllm/v1/chat/completions?x=1", "vllm", "m"),
        ("/openrouter/api/v1/chat/completions", "openrouter", "m"),
        ("/api/v1/chat/completions", "openai", "m"),
        ("/azure_openai/openai/v1/chat/completions", "azure_openai", "m"),
        ("/openai/deployments/d/chat/completions?api-version=v", "azure_openai", "d"),
        (
            "/azure_openai/openai/deployments/d/chat/completions?api-version=2024-10-21",
            "azure_openai",
            "d",
        ),
        ("/anthropic/v1/messages", "anthropic", "m"),
        ("/v1/messages", "anthropic", "m"),
    ],
)
def test_paths_say_who_is_meant(path, provider, model):
    sim = Simulator()
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    if model == "m":
        body["model"] = "m"
    headers = {"api-key": sim.secret("k1"), "anthropic-version": "1"}
    answer = sim.answer(SimRequest("POST", path, headers, json.dumps(body).encode()), 0, WALL)
    seen = answer.seen
    assert (seen.status, seen.provider, seen.model, seen.key) == (200, provider, model, "k1")


@pytest.mark.parametrize("provider", PATHS)
def test_the_same_request_gets_the_same_answer_in_new_ids(provider):
    sim, twin = Simulator(), Simulator()
    first, second = body_of(post(sim, provider=provider)), body_of(post(sim, provider=provider))
    assert first == body_of(post(twin, provider=provider))
    assert first["id"] != second["id"]
    assert {**first, "id": ""} == {**second, "id": ""}


def test_it_says_what_it_is_told():
    sim = Simulator()
    sim.says("four words of mine")
    assert body_of(post(sim))["choices"][0]["message"]["content"] == "four words of mine"
    sim.says(str.upper)
    assert body_of(post(sim))["choices"][0]["message"]["content"] == "ONE TWO THREE"
    assert sim.tokens() == (3 + 4) + (3 + 3)


def test_the_log_is_bounded_and_the_counts_are_not():
    sim = Simulator(log_size=3)
    statuses(sim, 5)
    assert (len(sim.log), sim.requests("k1"), sim.in_flight) == (3, 5, 0)


def test_azure_opens_a_stream_with_its_filter():
    sim = Simulator()
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
    path = "/azure_openai/openai/deployments/d/chat/completions?api-version=2024-10-21"
    answer = sim.answer(SimRequest("POST", path, {}, json.dumps(body).encode()), 0, WALL)
    assert b'"choices":[],"prompt_filter_results"' in answer.chunks[0].data


@pytest.mark.parametrize("provider", PATHS)
def test_max_tokens_ends_an_answer_early(provider):
    answer = body_of(post(Simulator(), provider=provider, max_tokens=2))
    if provider == "anthropic":
        assert (answer["content"][0]["text"], answer["stop_reason"]) == ("You said:", "max_tokens")
    else:
        choice = answer["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("You said:", "length")
