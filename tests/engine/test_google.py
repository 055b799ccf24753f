"""Google's providers through the google-genai SDK: what it is asked, and what it may not do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import RefreshError
from google.genai import errors, types
from pydantic import BaseModel

from llm_rotate import (
    BadRequestError,
    CapabilityError,
    ConfigurationError,
    GenerateContentRequest,
    LMRotate,
    NoAvailableKeyError,
    OverloadedError,
    SecretMissingError,
    configure_from_dict,
)
from llm_rotate.engine import google_auth
from llm_rotate.testing import Simulator
from tests.behaviours.dialects import health_of, moments
from tests.behaviours.world import World

MODEL = "gemini-2.5-flash"
HELLO = [{"role": "user", "content": "hello there"}]
WEATHER = "what is the weather?"


class Answer(BaseModel):
    name: str
    number: int


def weather(city: str) -> str:
    """How the weather is."""
    CALLS.append(city)
    return f"sunny in {city}"


CALLS: list[str] = []


@pytest.fixture
def sim() -> Iterator[Simulator]:
    CALLS.clear()
    with Simulator().serve() as sim:
        yield sim


@pytest.fixture
def lm(sim: Simulator) -> LMRotate:
    return sim.pool(["k1"], provider="google_ai_studio", max_wait_seconds=0)


def body(sim: Simulator) -> dict[str, Any]:
    found = sim.log[-1].body
    assert found is not None
    return found


# -- the SDK sends once, over our connections


@pytest.mark.parametrize("stream", [False, True])
def test_a_503_is_sent_once(sim: Simulator, lm: LMRotate, stream: bool) -> None:
    sim.key("k1").then(503, times=9)
    ask = lm.chat_stream_sync if stream else lm.chat_sync
    with pytest.raises(OverloadedError) as caught:
        list(ask(MODEL, HELLO, max_retries=0))
    assert sim.requests() == 1
    assert isinstance(caught.value.__cause__, errors.ServerError)
    assert caught.value.code == "UNAVAILABLE"


def test_retries_of_the_sdks_own_are_refused_in_a_chat_too(sim: Simulator, lm: LMRotate) -> None:
    for spelt in ({"http_options": {"retry_options": {"attempts": 3}}}, {"httpOptions": {"retryOptions": {}}}):  # fmt: skip
        with pytest.raises(ConfigurationError, match="max_retries="):
            lm.chat_sync(MODEL, HELLO, **spelt)
    assert sim.requests() == 0


def test_connections_are_kept_and_closed_with_the_pool(sim: Simulator, lm: LMRotate) -> None:
    async def calls() -> None:
        for _ in range(5):
            await lm.chat(MODEL, HELLO)
            async for _ in lm.chat_stream(MODEL, HELLO):
                pass
        assert sim.open_connections == 1
        await lm.close()

    asyncio.run(calls())
    assert sim.wait_for(lambda: sim.open_connections == 0)


def test_clients_are_one_per_key_and_loop_and_go_with_it(sim: Simulator) -> None:
    lm = sim.pool(["k1", "k2"], provider="google_ai_studio", strategy="round_robin")

    async def clients() -> Any:
        for _ in range(6):
            await lm.chat(MODEL, HELLO)
        sdk = lm._pool.loops.served().sdk
        keys = lm._pool.assembly.keys.values()
        found = [sdk.of(key, key.ready) for key in keys if key.ready]
        assert found == [sdk.of(key, key.ready) for key in keys if key.ready]
        assert len({id(each) for each in found}) == len(sdk._held) == 2
        return sdk

    first = asyncio.run(clients())
    assert (len(first._held), first._http) == (0, None)  # closed with its loop
    assert asyncio.run(clients()) is not first


def test_a_secret_that_changed_gets_another_client(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K", "sk-sim-old")
    key = {"key_id": "k", "provider": "google_ai_studio", "secret_ref": "env://K"}
    entry = {"google_ai_studio": {"base_url": sim.url("google_ai_studio")}}
    pool = LMRotate(configure_from_dict({"keys": [key], "providers": entry}, ["k"]))
    pool.chat_sync(MODEL, HELLO)
    sim.key("old").bad_key()
    monkeypatch.setenv("K", "sk-sim-new")
    pool.chat_sync(MODEL, HELLO)
    assert [seen.key for seen in sim.log] == ["old", "old", "new"]
    pool.close_sync()


LAZY = """
import sys
from llm_rotate.testing import Simulator
with Simulator().serve() as sim:
    lm = sim.pool(["k1"], provider="openai")
    lm.chat_sync("gpt-4o-mini", [{"role": "user", "content": "hello"}])
print([name for name in ("google.genai", "google.auth", "httpx", "botocore") if name in sys.modules])
"""
MISSING = """
import sys
sys.modules["google.genai"] = None
from llm_rotate import ConfigurationError
from llm_rotate.testing import Simulator
with Simulator().serve() as sim:
    lm = sim.pool(["k1"], provider="google_ai_studio")
    for _ in range(2):
        try:
            lm.chat_sync("gemini-2.5-flash", [{"role": "user", "content": "hello"}])
        except ConfigurationError as error:
            print(error)
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_who_calls_openai_imports_neither_sdk() -> None:
    assert run(LAZY) == "[]\n"


def test_a_missing_sdk_is_told_with_its_extra() -> None:
    assert run(MISSING).count("pip install 'llm_rotate[google]'") == 2


# -- chat


WITH_AIOHTTP = """
import sys, types
sys.path.insert(0, {here!r})
stand_in = types.ModuleType("aiohttp")
stand_in.__getattr__ = lambda name: type(name, (Exception,), {{}})
sys.modules["aiohttp"] = stand_in
from google.genai import _api_client
from tests.engine.test_google import HELLO, MODEL, Simulator
with Simulator().serve() as sim:
    lm = sim.pool(["k1"], provider="google_ai_studio")
    print(_api_client.has_aiohttp, lm.chat_sync(MODEL, HELLO).content)
    print("".join(chunk.delta for chunk in lm.chat_stream_sync(MODEL, HELLO)))
"""


def test_it_sends_over_the_pools_connections_where_the_sdk_would_take_aiohttp() -> None:
    answer = "You said: hello there"
    told = run(WITH_AIOHTTP.format(here=str(Path(__file__).parents[2])))
    assert told == f"True {answer}\n{answer}\n"


def test_keywords_that_nobody_knows_go_as_they_are(sim: Simulator, lm: LMRotate) -> None:
    lm.chat_sync(MODEL, HELLO, top_k=3, something_new={"a": 1})
    assert body(sim)["generationConfig"]["topK"] == 3
    assert body(sim)["something_new"] == {"a": 1}


def test_they_go_beside_what_the_call_says_of_its_request(sim: Simulator, lm: LMRotate) -> None:
    lm.chat_sync(MODEL, HELLO, http_options={"extra_body": {"one": 1}}, another=2)
    assert (body(sim)["one"], body(sim)["another"]) == (1, 2)


def test_what_the_sdk_has_no_word_for_is_refused_before_it_is_sent(
    sim: Simulator, lm: LMRotate
) -> None:
    with pytest.raises(CapabilityError, match="cannot carry the request"):
        lm.chat_sync(MODEL, HELLO, safety_settings=[{"threshold": ["a secret"]}])
    assert sim.requests() == 0


def test_what_the_sdk_refuses_itself_is_the_requests_fault(sim: Simulator, lm: LMRotate) -> None:
    with pytest.raises(BadRequestError) as caught:
        lm.generate_content_sync(MODEL, {"parts": []}, audio_timestamp=True)
    assert isinstance(caught.value.__cause__, ValueError)
    assert sim.requests() == 0
    assert lm.health_sync().providers["google_ai_studio"].keys["k1"].state == "active"


@pytest.mark.parametrize("first", ["openai", "google_ai_studio"])
def test_R13_chains_lead_both_ways(sim: Simulator, first: str) -> None:
    second = {"openai": "google_ai_studio", "google_ai_studio": "openai"}[first]
    names = {"openai": "gpt-4o-mini", "google_ai_studio": MODEL}
    chain = {first: [{"provider": second, "model": names[second]}]}
    pool = sim.pool({"a": first, "b": second}, fallback_chains=chain)
    sim.key("a").quota_exhausted()
    answer = pool.chat_sync(names[first], HELLO, max_tokens=9)
    assert (answer.key_id, answer.provider, answer.model) == ("b", second, names[second])
    assert [attempt.outcome for attempt in answer.attempts] == ["quota_exhausted", "ok"]


def test_extra_headers_go_with_the_request(sim: Simulator, lm: LMRotate) -> None:
    lm.chat_sync(MODEL, HELLO, extra_headers={"X-Goog-Trace": "t1"})
    assert sim.log[-1].headers["x-goog-trace"] == "t1"


# -- generate_content

SPELLINGS: dict[str, Any] = {
    "a string": "hi",
    "a list of strings": ["hi"],
    "a part of ours": [{"type": "text", "text": "hi"}],
    "the SDK's part": types.Part(text="hi"),
    "its dict": [{"text": "hi"}],
    "a content": {"role": "user", "parts": ["hi"]},
    "contents with roles": [
        {"role": "user", "parts": [{"text": "who?"}]},
        types.Content(role="model", parts=[types.Part(text="me")]),
        {"role": "user", "parts": [{"type": "text", "text": "hi"}]},
    ],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_contents_may_be_spelled(sim: Simulator, lm: LMRotate, spelling: str) -> None:
    answer = lm.generate_content_sync(MODEL, SPELLINGS[spelling])
    assert answer.content == "You said: hi"
    contents = body(sim)["contents"]
    assert contents[-1] == {"parts": [{"text": "hi"}], "role": "user"}
    assert len(contents) == (3 if spelling == "contents with roles" else 1)


BLOBS: list[Any] = [
    {"type": "image_bytes", "data": b"abc", "mime_type": "image/png"},
    {"data": b"abc", "mime_type": "image/png"},
    (b"abc", "image/png"),
    types.Part.from_bytes(data=b"abc", mime_type="image/png"),
]


@pytest.mark.parametrize("blob", BLOBS, ids=["ours", "dict", "pair", "theirs"])
def test_bytes_go_with_their_mime_type(sim: Simulator, lm: LMRotate, blob: Any) -> None:
    lm.generate_content_sync(MODEL, ["what is it?", blob])
    (content,) = body(sim)["contents"]
    told = content["parts"][1]["inlineData"]
    assert (told["data"], told.get("mime_type") or told["mimeType"]) == ("YWJj", "image/png")


@pytest.mark.parametrize(
    "item",
    [
        {"data": "YWJj", "mime_type": "text/plain"},
        {"data": 5, "mime_type": "text/plain"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,a"}},
    ],
)
def test_what_holds_no_bytes_is_refused_by_name(sim: Simulator, lm: LMRotate, item: Any) -> None:
    with pytest.raises(CapabilityError, match="data"):
        lm.generate_content_sync(MODEL, [item])
    assert sim.requests() == 0


def test_bytes_alone_are_refused(lm: LMRotate) -> None:
    with pytest.raises(CapabilityError, match="mime_type"):
        lm.generate_content_sync(MODEL, [b"abc"])


def test_the_named_arguments_and_any_field_of_the_config(sim: Simulator, lm: LMRotate) -> None:
    lm.generate_content_sync(
        MODEL,
        "hi",
        system_instruction="be kind",
        max_output_tokens=7,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        thinking_budget=0,
        response_mime_type="text/plain",
        top_k=4,
        safety_settings=[types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="OFF")],
        cached_content="cachedContents/c1",
    )
    told = body(sim)["generationConfig"]
    assert (told["maxOutputTokens"], told["temperature"], told["topP"], told["topK"]) == (
        7,
        0.5,
        0.9,
        4,
    )
    assert (told["seed"], told["responseMimeType"]) == (3, "text/plain")
    assert told["thinkingConfig"] == {"thinking_budget": 0}
    assert body(sim)["systemInstruction"]["parts"] == [{"text": "be kind"}]
    assert body(sim)["safetySettings"][0]["threshold"] == "OFF"
    assert body(sim)["cachedContent"] == "cachedContents/c1"


def test_a_request_as_one_value(sim: Simulator, lm: LMRotate) -> None:
    asked = GenerateContentRequest(MODEL, ["hi"], seed=1, temperature=0.1, extra={"top_k": 2})
    answer = lm.generate_content_sync(asked, temperature=0.2, timeout=30)
    assert answer.content == "You said: hi"
    told = body(sim)["generationConfig"]
    assert (told["seed"], told["temperature"], told["topK"]) == (1, 0.2, 2)
    assert lm.generate_content_sync(asked, "bye").content == "You said: bye"


def test_steering_is_as_in_chat(sim: Simulator) -> None:
    pool = sim.pool(["k1", "k2"], provider="google_ai_studio")
    sim.key("k1").rate_limit(retry_after=60)
    assert pool.generate_content_sync(MODEL, "hi", key_id="k2").key_id == "k2"
    assert {pool.generate_content_sync(MODEL, "hi").key_id for _ in range(4)} == {"k2"}


@pytest.mark.parametrize(
    "wanted", [Answer, {"type": "OBJECT", "properties": {"name": {"type": "STRING"}}}]
)
def test_what_the_sdk_parsed_from_a_schema(lm: LMRotate, wanted: Any) -> None:
    told = {"response_schema": wanted, "response_mime_type": "application/json"}
    answer = lm.generate_content_sync(MODEL, "hi", **told)
    expected = Answer(name="text", number=1) if wanted is Answer else {"name": "text"}
    assert answer.parsed == expected
    assert isinstance(answer.raw, dict)
    assert json.loads(answer.content)["name"] == "text"
    assert answer.raw["candidates"][0]["content"]["parts"] == [{"text": answer.content}]


def test_a_stream_of_contents(lm: LMRotate) -> None:
    told = {"response_schema": Answer, "response_mime_type": "application/json"}
    with lm.generate_content_stream_sync(MODEL, "hi", **told) as stream:
        text = "".join(chunk.delta for chunk in stream)
        assert json.loads(text) == {"name": "text", "number": 1}
        assert stream.response.parsed == Answer(name="text", number=1)


def test_functions_are_offered_and_not_called_unless_asked(sim: Simulator, lm: LMRotate) -> None:
    answer = lm.generate_content_sync(MODEL, WEATHER, tools=[weather])
    assert [call["function"]["name"] for call in answer.tool_calls] == ["weather"]
    assert (CALLS, sim.requests()) == ([], 1)


def test_functions_are_called_when_asked_and_the_usage_is_that_of_all(
    sim: Simulator, lm: LMRotate, caplog: pytest.LogCaptureFixture
) -> None:
    answer = lm.generate_content_sync(
        MODEL, WEATHER, tools=[weather], disable_automatic_function_calling=False
    )
    assert (CALLS, sim.requests()) == (["text"], 2)
    assert (answer.tool_calls, len(answer.attempts)) == ([], 1)
    assert answer.usage.total_tokens == sim.tokens()
    assert lm.usage_summary_sync()["total"]["tokens"] == sim.tokens()
    assert "automaticFunctionCallingHistory" in answer.raw
    assert isinstance(answer.raw, dict)


def test_a_refusal_between_calls_of_functions_does_not_call_them_again(sim: Simulator) -> None:
    lm = sim.pool(["k1", "k2"], provider="google_ai_studio", strategy="round_robin")
    sim.key("k1").then(200).then(429)
    answer = lm.generate_content_sync(
        MODEL, WEATHER, tools=[weather], disable_automatic_function_calling=False
    )
    assert (CALLS, [seen.key for seen in sim.log]) == (["text"], ["k1", "k1", "k2"])
    assert [attempt.status for attempt in answer.attempts] == [429, 200]
    assert sim.log[1].body == sim.log[2].body
    assert answer.usage.total_tokens == sim.tokens()
    told = [
        part for each in answer.raw["automaticFunctionCallingHistory"] for part in each["parts"]
    ]
    kinds = ("text", "functionCall", "functionResponse")
    assert [kind for part in told for kind in kinds if kind in part] == [*kinds]


def test_a_stream_calls_no_functions(lm: LMRotate) -> None:
    told: dict[str, Any] = {"tools": [weather], "disable_automatic_function_calling": False}
    with pytest.raises(CapabilityError, match="use generate_content"):
        list(lm.generate_content_stream_sync(MODEL, WEATHER, **told))
    (last,) = lm.generate_content_stream_sync(MODEL, WEATHER, tools=[weather])
    assert last.tool_calls[0]["function"]["name"] == "weather"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"temprature": 1}, "did you mean temperature"),
    ({"top_kk": 1}, "did you mean top_k"),
    ({"tools": "a secret"}, "tools: Input should be a valid list"),
    ({"http_options": {"retry_options": {"attempts": 3}}}, "max_retries="),
]


@pytest.mark.parametrize(("told", "words"), WRONG)
def test_F01_a_wrong_field_is_told_by_its_name(
    sim: Simulator, lm: LMRotate, told: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        lm.generate_content_sync(MODEL, "hi", **told)
    assert "a secret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="empty"):
        lm.generate_content_sync(MODEL)
    assert sim.requests() == 0


def test_other_dialects_have_no_such_words(sim: Simulator) -> None:
    pool = sim.pool({"a": "openai", "b": "google_ai_studio"})
    with pytest.raises(CapabilityError, match="openai cannot carry generate_content"):
        pool.generate_content_sync("gpt-4o-mini", "hi", provider="openai")
    assert sim.requests() == 0


# -- files


def part_of(file: Any) -> dict[str, str]:
    return {"type": "file", "file_uri": file.uri, "mime_type": file.mime_type}


def test_a_file_is_read_with_the_key_that_sent_it(sim: Simulator, tmp_path: Path) -> None:
    keys = ["k1", "k2", "k3"]
    pool = sim.pool(keys, provider="google_ai_studio", strategy="round_robin", max_wait_seconds=0)
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF")
    for sent in (path, b"%PDF"):
        file = pool.upload_file_sync(sent, mime_type="application/pdf")
        assert (file.size_bytes, file.provider, file.state) == (4, "google_ai_studio", "ACTIVE")
        message = {"role": "user", "content": ["sum up", part_of(file)]}
        native = types.Part.from_uri(file_uri=file.uri, mime_type=file.mime_type)
        for _ in range(4):
            assert pool.chat_sync(MODEL, [message]).key_id == file.key_id
            assert pool.generate_content_sync(MODEL, ["sum up", native]).key_id == file.key_id
            contents = {"role": "user", "parts": [part_of(file)]}
            (*_, last) = pool.generate_content_stream_sync(MODEL, [contents])
            assert last.key_id == file.key_id
        assert {pool.chat_sync(MODEL, HELLO).key_id for _ in keys} == set(keys)


def test_files_of_two_keys_cannot_be_read_together(sim: Simulator) -> None:
    pool = sim.pool(["k1", "k2"], provider="google_ai_studio")
    sent = [pool.upload_file_sync(b"x", mime_type="text/plain", key_id=k) for k in ("k1", "k2")]
    before = sim.requests()
    with pytest.raises(ConfigurationError, match="several keys"):
        pool.generate_content_sync(MODEL, [part_of(file) for file in sent])
    assert sim.requests() == before


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_upload_goes_to_another_key_and_is_not_repeated_by_the_sdk(
    sim: Simulator, status: int
) -> None:
    pool = sim.pool(
        ["k1", "k2"], provider="google_ai_studio", strategy="priority", priorities={"k1": 1}
    )
    sim.key("k1").then(status)
    file = pool.upload_file_sync(b"x", mime_type="text/plain", max_retries=1)
    assert (file.key_id, len(file.attempts), sim.requests("k1")) == ("k2", 2, 1)


def test_what_cannot_be_uploaded_is_told(sim: Simulator, lm: LMRotate, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="mime_type="):
        lm.upload_file_sync(b"x")
    with pytest.raises(ConfigurationError, match="timeoutt="):
        lm.upload_file_sync(b"x", mime_type="text/plain", timeoutt=3)
    with pytest.raises(ConfigurationError, match=r"none.txt cannot be read: No such file"):
        lm.upload_file_sync(tmp_path / "none.txt")
    assert sim.requests() == 0
    pool = sim.pool({"v": "google_vertex"})
    with pytest.raises(CapabilityError, match="Cloud Storage"):
        pool.upload_file_sync(b"x", mime_type="text/plain", provider="google_vertex")


# -- Vertex


def account(sim: Simulator, key_id: str = "k1") -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "p1",
        "private_key": pem.decode(),
        "client_email": f"{key_id}@p1.iam.example",
        "token_uri": f"{sim.base_url}/token",
    }


def vertex(
    sim: Simulator, secret_ref: str = "", defaults: dict[str, Any] | None = None, **auth: str
) -> LMRotate:
    key = {
        "key_id": "v",
        "provider": "google_vertex",
        "secret_ref": secret_ref,
        "base_url": sim.url("google_vertex"),
        "auth_config": {"region": "europe-west4", **auth},
    }
    return LMRotate(configure_from_dict({"keys": [key], "defaults": defaults or {}}, ["v"]))


def test_a_service_accounts_token_is_fetched_once_for_all(sim: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account(sim)))
    lm = vertex(sim, f"file://{file}", project="other")

    async def calls() -> None:
        await asyncio.gather(*(lm.chat(MODEL, HELLO) for _ in range(20)))
        async for _ in lm.chat_stream(MODEL, HELLO):
            pass
        await lm.generate_content(MODEL, "hi")
        async for _ in lm.generate_content_stream(MODEL, "hi"):
            pass
        await lm.close()

    asyncio.run(calls())
    token, *asked = sim.log
    assert (token.path, len(asked)) == ("/token", 23)
    assert {seen.key for seen in asked} == {"k1"}
    place = "/projects/other/locations/europe-west4/publishers/google/models/gemini-2.5-flash:"
    assert all(place in seen.path for seen in asked)


def test_a_token_serves_embeddings_and_transcriptions_too(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNT", json.dumps(account(sim)))
    lm = vertex(sim, "env://ACCOUNT")
    batch = lm.embed_batch_sync("text-embedding-005", ["a", "b c"], provider="google_vertex")
    assert [each.usage.total_tokens for each in batch] == [1, 2]
    sim.says("good morning")
    assert lm.transcribe_sync(MODEL, b"RIFF....WAVE").text == "good morning"
    place = "/projects/p1/locations/europe-west4/publishers/google/models/"
    assert [seen.path.partition("/v1")[2] for seen in sim.log if seen.path != "/token"] == [
        f"{place}text-embedding-005:predict",
        f"{place}{MODEL}:generateContent",
    ]
    lm.close_sync()


def test_a_token_that_ends_is_renewed(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNT", json.dumps(account(sim)))
    lm = vertex(sim, "env://ACCOUNT")
    lm.chat_sync(MODEL, HELLO)
    key = lm._pool.assembly.keys["v"]
    assert key.ready is not None
    assert key.source._credentials.expiry is not None
    key.source._credentials.expiry -= __import__("datetime").timedelta(minutes=56)
    object.__setattr__(key.ready, "until", 0.0)
    lm.chat_sync(MODEL, HELLO)
    assert [seen.path == "/token" for seen in sim.log] == [True, False, True, False]
    lm.close_sync()


def test_an_account_that_was_changed_is_read_before_its_key_is_blamed(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account(sim, "old")))
    lm = vertex(sim, f"file://{file}")
    lm.chat_sync(MODEL, HELLO)
    file.write_text(json.dumps(account(sim, "new")))
    real = google_auth.Source._read

    def refused(source: google_auth.Source) -> google_auth.Token:
        if "old@" in str(source._secret):
            raise RefreshError("invalid_grant: Invalid JWT Signature.")
        return real(source)

    monkeypatch.setattr(google_auth.Source, "_read", refused)
    key = lm._pool.assembly.keys["v"]
    object.__setattr__(key.ready, "until", 0.0)
    assert [each.outcome for each in lm.chat_sync(MODEL, HELLO).attempts] == ["ok"]
    assert sim.log[-1].key == "new"
    lm.close_sync()


def test_R05_a_disabled_account_waits_for_another_not_for_another_token(
    sim: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account(sim, "old")))
    limits = {"max_consecutive_failures": 1, "quarantine_seconds": 1e-6, "max_wait_seconds": 0}
    lm = vertex(sim, f"file://{file}", limits)
    sim.key("old").bad_key()
    for _ in range(3):
        with pytest.raises(NoAvailableKeyError) as caught:
            lm.chat_sync(MODEL, HELLO)
        assert {attempt.status for attempt in caught.value.attempts} <= {401}
        assert lm.health_sync().providers["google_vertex"].keys["v"].state == "disabled"
        assert sim.requests("old") == 2  # the second with a fresh token, before it is blamed
    file.write_text(json.dumps(account(sim, "new")))
    assert lm.chat_sync(MODEL, HELLO).content == "You said: hello there"
    lm.close_sync()


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_token_that_is_being_read_while_the_old_one_is_refused_keeps_its_account(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    """Another call has the key read anew: its reading has, or has not, come to a new source."""
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account(sim)))
    lm = vertex(sim, f"file://{file}")
    begun, free, real = threading.Event(), threading.Event(), google_auth.Source._read

    def slow(source: google_auth.Source) -> google_auth.Token:
        begun.set()
        assert free.wait(10)
        return real(source)

    monkeypatch.setattr(google_auth.Source, "_read", slow)

    async def calls() -> None:
        key = lm._pool.assembly.keys["v"]
        asking = asyncio.create_task(lm.chat(MODEL, HELLO))
        assert await asyncio.to_thread(begun.wait, 10)
        key.forget()
        if goes_on:
            key.source = google_auth.Source("{}")
        free.set()
        await asking
        assert key.ready is not None
        assert key.ready.until < time.time() + 3600
        await lm.close()

    asyncio.run(calls())
    assert "/projects/p1/" in sim.log[-1].path


FORKED = """
import os, sys, threading
sys.path.insert(0, {here!r})
from llm_rotate.engine import credentials, google_auth
from tests.engine.test_google import HELLO, MODEL, Simulator, account, json, vertex
with Simulator().serve() as sim:
    os.environ["ACCOUNT"] = json.dumps(account(sim))
    lm, real = vertex(sim, "env://ACCOUNT"), google_auth.Source._read
    begun, free = threading.Event(), threading.Event()

    def slow(source):
        begun.set()
        free.wait(10)
        return real(source)

    google_auth.Source._read = slow
    call = threading.Thread(target=lm.chat_sync, args=(MODEL, HELLO))
    call.start()
    begun.wait(10)
    if not os.fork():
        google_auth.Source._read, credentials.LONGEST_READ_SECONDS = real, 3.0
        print(lm.chat_sync(MODEL, HELLO).content, flush=True)
        os._exit(0)
    os.wait()
    free.set()
    call.join()
    lm.close_sync()
"""


def test_C04_a_fork_in_the_midst_of_reading_a_token_reads_its_own() -> None:
    assert run(FORKED.format(here=str(Path(__file__).parents[2]))) == "You said: hello there\n"


def test_application_default_credentials_bring_their_project(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "adc.json"
    file.write_text(json.dumps(account(sim, "machine")))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    lm = vertex(sim)
    assert lm.chat_sync(MODEL, HELLO).content == "You said: hello there"
    assert sim.log[-1].key == "machine"
    assert "/projects/p1/" in sim.log[-1].path
    lm.close_sync()


@pytest.mark.parametrize("secret", ["{}", "{", '{"type": "service_account"}'])
def test_R16_what_is_no_account_is_told_and_nothing_is_sent(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("ACCOUNT", secret)
    lm = vertex(sim, "env://ACCOUNT", project="p1")
    with pytest.raises(NoAvailableKeyError) as caught:
        lm.chat_sync(MODEL, HELLO, max_wait_seconds=0)
    assert isinstance(caught.value.__cause__, SecretMissingError)
    assert sim.requests() == 0
    lm.close_sync()


@pytest.mark.parametrize(
    "odd",
    [
        {"private_key": ["quiet-0123456789"]},
        {"private_key": "quiet-0123456789"},
        {"private_key": 5},
        {"type": "authorized_user", "client_id": "c", "client_secret": "quiet-0123456789"},
    ],
)
def test_F04_an_account_of_odd_types_is_told_without_its_values(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    monkeypatch.setenv("ACCOUNT", json.dumps(account(sim) | odd))
    lm = vertex(sim, "env://ACCOUNT")
    with pytest.raises(NoAvailableKeyError, match="Google gave no token") as caught:
        lm.chat_sync(MODEL, HELLO, max_wait_seconds=0)
    assert "quiet" not in f"{caught.value} {caught.value.__cause__!r} {caught.value.attempts}"
    lm.close_sync()


@pytest.mark.parametrize("provider", ["google_ai_studio", "google_vertex"])
def test_F04_the_sdks_own_error_does_not_bring_the_secret(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setenv("ACCOUNT", json.dumps(account(sim)))
    is_studio = provider == "google_ai_studio"
    pool = sim.pool(["k1"], provider=provider) if is_studio else vertex(sim, "env://ACCOUNT")
    sim.key("k1").then(400)
    with pytest.raises(BadRequestError) as caught:
        pool.chat_sync(MODEL, HELLO)
    cause: Any = caught.value.__cause__
    sent = dict(cause.response.request.headers)
    assert "[hidden]" in sent.values()
    (key,) = pool._pool.assembly.keys.values()
    assert key.secret not in f"{sent}"
    pool.close_sync()


def test_F04_a_token_service_that_echoes_shows_nothing(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"client_secret": "hidden-secret-of-it", "refresh_token": "hidden-token-of-it"}
    user = {"type": "authorized_user", "client_id": "c", **own}

    def echo(*_: Any, **__: Any) -> Any:
        told = {"error": "invalid_grant", "error_description": f"not {own}"}
        raise RefreshError(f"invalid_grant: {told}", told)

    monkeypatch.setattr("google.oauth2.reauth.refresh_grant", echo)
    monkeypatch.setenv("ACCOUNT", json.dumps(user))
    lm = vertex(sim, "env://ACCOUNT", project="p1")
    with pytest.raises(NoAvailableKeyError, match="invalid_grant") as caught:
        lm.chat_sync(MODEL, HELLO, max_wait_seconds=0)
    assert "hidden-" not in f"{caught.value} {caught.value.__cause__!r} {caught.value.attempts}"
    lm.close_sync()


def test_an_api_key_of_vertex_needs_no_account(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOUNT", "sk-sim-express")
    lm = vertex(sim, "env://ACCOUNT")
    assert lm.chat_sync(MODEL, HELLO).content == "You said: hello there"
    assert sim.log[-1].key == "express"
    lm.close_sync()


# -- L06


def test_L06_a_quota_of_the_day_is_out_for_that_model_until_midnight_pacific() -> None:
    """The world begins at midnight UTC, which is 16:00 of the day before in California."""
    world = World(["a", "b"], provider="google_ai_studio")
    details = [
        {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
        {"retryDelay": "5s"},
    ]
    told = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}
    world.sim.key("a").then(429, body=told)

    async def scenario() -> None:
        first = await world.chat()
        assert [attempt.outcome for attempt in first.attempts] == ["quota_exhausted", "ok"]
        health = await health_of(world, "a")
        assert (health.state, health.scopes[world.model].state) == ("active", "quarantine")
        assert (await world.chat(model="gemini-2.5-pro", key_id="a")).key_id == "a"
        await asyncio.sleep(8 * 3600 - 1)
        assert {(await world.chat()).key_id for _ in range(3)} == {"b"}
        await asyncio.sleep(1)
        assert (await world.chat(key_id="a")).key_id == "a"

    world.run(scenario)
    assert moments(world, "a") == [0.0, 0.0, 8 * 3600.0]
