"""The real openai SDK's responses, and its Azure clients, against the loopback server."""

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel

HELLO = "hello there"
TOOL = {
    "type": "function",
    "name": "get_weather",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
def client(sim):
    with openai.OpenAI(
        api_key=sim.secret("k1"), base_url=sim.url("openai"), max_retries=0
    ) as client:
        yield client


def ask(client, given=HELLO, **options):
    return client.responses.create(model="gpt-sim", input=given, **options)


def test_an_answer_is_given_and_counted(sim, client):
    answer = ask(client)
    assert (answer.output_text, answer.status, answer.model) == (
        "You said: hello there",
        "completed",
        "gpt-sim",
    )
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (2, 4, 6)
    [seen] = sim.log
    assert (seen.key, seen.provider, seen.path) == ("k1", "openai", "/openai/v1/responses")


def test_a_stream_has_typed_events_in_their_order(client):
    events = list(ask(client, stream=True))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(said) == "You said: hello there" == events[-1].response.output_text
    with client.responses.stream(model="gpt-sim", input=HELLO) as stream:
        assert stream.get_final_response().output_text == "You said: hello there"


@pytest.mark.parametrize("stream", [False, True])
def test_tools_go_round_with_reasoning(client, stream):
    options = {"tools": [TOOL], "tool_choice": "required", "reasoning": {"effort": "low"}}
    if stream:
        answer = list(ask(client, stream=True, **options))[-1].response
    else:
        answer = ask(client, **options)
    thought, call = answer.output
    assert (thought.type, thought.encrypted_content) == ("reasoning", "sealed for k1")
    assert (call.type, json.loads(call.arguments)) == ("function_call", {"city": "text"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    given = [{"role": "user", "content": HELLO}, *answer.output, result]
    assert ask(client, given, tools=[TOOL]).output_text


class City(BaseModel):
    name: str
    people: int


def test_structured_output_fits_its_schema(client):
    answer = client.responses.parse(model="gpt-sim", input=HELLO, text_format=City)
    assert answer.output_parsed == City(name="text", people=1)


def test_a_kept_answer_is_found_by_its_own_key_alone(sim, client):
    first = ask(client)
    assert client.responses.retrieve(first.id).output_text == first.output_text
    assert ask(client, previous_response_id=first.id).previous_response_id == first.id
    with openai.OpenAI(
        api_key=sim.secret("k2"), base_url=sim.url("openai"), max_retries=0
    ) as other:
        with pytest.raises(openai.NotFoundError):
            other.responses.retrieve(first.id)
        with pytest.raises(openai.BadRequestError, match="not found"):
            ask(other, previous_response_id=first.id)


def test_work_in_the_background_is_queued_then_done(client):
    answer = ask(client, background=True)
    seen = [answer.status]
    while answer.status in {"queued", "in_progress"}:
        answer = client.responses.retrieve(answer.id)
        seen.append(answer.status)
    assert seen == ["queued", "in_progress", "completed"]
    assert answer.output_text == "You said: hello there"


def test_a_cut_answer_says_so(client):
    answer = ask(client, max_output_tokens=2)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert list(ask(client, max_output_tokens=2, stream=True))[-1].type == "response.incomplete"


@pytest.mark.parametrize(
    "wrong",
    [{"model": ""}, {"input": []}, {"input": [{"role": "nobody", "content": "x"}]}],
)
def test_what_the_service_would_refuse_is_refused(client, wrong):
    with pytest.raises(openai.BadRequestError):
        client.responses.create(**{"model": "m", "input": HELLO, **wrong})


def test_refusals_and_broken_streams_are_the_sdks_errors(sim, client):
    sim.key("k1").rate_limit(retry_after=1)
    with pytest.raises(openai.RateLimitError):
        ask(client)
    sim.key("k2").error_in_stream(1)
    with (
        openai.OpenAI(api_key=sim.secret("k2"), base_url=sim.url("openai"), max_retries=0) as other,
        pytest.raises(openai.APIError, match="had an error"),
    ):
        list(ask(other, stream=True))


# -- Azure


def azure(sim, **options):
    endpoint = sim.url("azure_openai")
    given = {"api_key": sim.secret("k1"), "api_version": "2024-10-21", **options}
    return openai.AsyncAzureOpenAI(azure_endpoint=endpoint, max_retries=0, **given)


@pytest.mark.parametrize("options", [{}, {"azure_deployment": "prod"}])
def test_azures_own_client_chats_and_responds(sim, options):
    messages = [{"role": "user", "content": HELLO}]

    async def scenario():
        async with azure(sim, **options) as client:
            chat = await client.chat.completions.create(model="gpt-sim", messages=messages)
            assert chat.choices[0].message.content == "You said: hello there"
            stream = await client.chat.completions.create(
                model="gpt-sim", messages=messages, stream=True
            )
            assert [chunk async for chunk in stream]
            answer = await client.responses.create(model="gpt-sim", input=HELLO)
            assert answer.output_text == "You said: hello there"
            events = await client.responses.create(model="gpt-sim", input=HELLO, stream=True)
            assert [event.type async for event in events][-1] == "response.completed"

    asyncio.run(scenario())
    deployed = options.get("azure_deployment", "gpt-sim")
    assert [seen.model for seen in sim.log] == [deployed, deployed, "gpt-sim", "gpt-sim"]
    assert {(seen.key, seen.provider) for seen in sim.log} == {("k1", "azure_openai")}
    assert "openai/deployments/" in sim.log[0].path
    assert sim.log[2].path == "/azure_openai/openai/responses?api-version=2024-10-21"


def test_azures_client_may_send_a_token(sim):
    async def token():
        return "sk-sim-k7"

    async def scenario():
        async with azure(sim, api_key=None, azure_ad_token_provider=token) as client:
            await client.responses.create(model="gpt-sim", input=HELLO)

    asyncio.run(scenario())
    assert sim.requests("k7") == 1


def test_azures_undated_paths_take_the_plain_client(sim):
    base_url = sim.url("azure_openai") + "/openai/v1/"
    with openai.OpenAI(api_key=sim.secret("k1"), base_url=base_url, max_retries=0) as client:
        assert ask(client).output_text == "You said: hello there"
    assert sim.log[0].provider == "azure_openai"


def test_azures_dated_paths_are_not_there_without_their_date(sim):
    base_url = sim.url("azure_openai") + "/openai/deployments/prod"
    with (
        openai.OpenAI(api_key=sim.secret("k1"), base_url=base_url, max_retries=0) as client,
        pytest.raises(openai.NotFoundError),
    ):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
