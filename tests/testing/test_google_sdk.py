"""The real google-genai SDK against the simulator, at both of Google's addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from pydantic import BaseModel

from llm_rotate.testing import Simulator

MODEL = "gemini-2.5-flash"


class City(BaseModel):
    name: str
    rainy: bool


def weather(city: str) -> str:
    """How the weather is."""
    return f"sunny in {city}"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator().serve() as sim:
        yield sim


def studio(sim: Simulator) -> dict[str, Any]:
    return {"vertexai": False, "api_key": sim.secret("k1")}


def vertex(sim: Simulator) -> dict[str, Any]:
    token = Credentials(sim.secret("k1"))  # type: ignore[no-untyped-call]
    return {"vertexai": True, "credentials": token, "project": "p", "location": "europe-west4"}


@pytest.fixture(params=[studio, vertex], ids=["google_ai_studio", "google_vertex"])
def client(request: pytest.FixtureRequest, sim: Simulator) -> Iterator[Any]:
    provider = {studio: "google_ai_studio", vertex: "google_vertex"}[request.param]
    options = types.HttpOptions(base_url=sim.url(provider))
    with genai.Client(**request.param(sim), http_options=options) as client:
        yield client
    assert {(seen.key, seen.provider) for seen in sim.log} == {("k1", provider)}


def test_an_answer_and_its_usage(client: Any) -> None:
    answer = client.models.generate_content(model=MODEL, contents="hello there")
    assert answer.text == "You said: hello there"
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count) == (2, 4)
    assert answer.model_version == MODEL


def test_a_stream(client: Any) -> None:
    chunks = list(client.models.generate_content_stream(model=MODEL, contents="hello there"))
    assert "".join(chunk.text or "" for chunk in chunks) == "You said: hello there"
    assert chunks[-1].usage_metadata.total_token_count == 6


def test_a_schema_is_kept_and_thoughts_come_apart(client: Any) -> None:
    told = {"response_schema": City, "response_mime_type": "application/json"}
    answer = client.models.generate_content(model=MODEL, contents="where?", config=told)
    assert answer.parsed == City(name="text", rainy=True)
    thinking = {"thinking_config": {"include_thoughts": True, "thinking_budget": 99}}
    answer = client.models.generate_content(model=MODEL, contents="hi", config=thinking)
    assert answer.candidates[0].content.parts[0].thought
    assert (answer.text, answer.usage_metadata.thoughts_token_count) == ("You said: hi", 5)


def test_functions_go_round(client: Any, sim: Simulator) -> None:
    told = {"tools": [weather]}
    client.models.generate_content(model=MODEL, contents="the weather in Rome?", config=told)
    assert sim.requests() == 2
    last = (sim.log[-1].body or {})["contents"][-1]["parts"][0]
    told = last.get("functionResponse") or last["function_response"]
    assert told["response"] == {"result": "sunny in text"}


def test_refusals_are_the_sdks_own_errors(client: Any, sim: Simulator) -> None:
    sim.key("k1").rate_limit(retry_after=7)
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=MODEL, contents="hi")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert caught.value.details["error"]["details"][-1]["retryDelay"] == "7s"
    sim.key("k1").then(503)
    with pytest.raises((errors.ServerError, errors.ClientError)):
        client.models.generate_content(model=MODEL, contents="hi")


def test_a_file_is_kept_for_its_key(sim: Simulator) -> None:
    options = types.HttpOptions(base_url=sim.url("google_ai_studio"))
    clients = [
        genai.Client(vertexai=False, api_key=sim.secret(key), http_options=options)
        for key in ("k1", "k2")
    ]
    file = clients[0].files.upload(file=__file__, config={"mime_type": "text/plain"})
    assert clients[0].models.generate_content(model=MODEL, contents=["what?", file]).text
    with pytest.raises(errors.ClientError, match="permission"):
        clients[1].models.generate_content(model=MODEL, contents=["what?", file])
    for client in clients:
        client.close()
