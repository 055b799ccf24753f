"""The real openai SDK against the loopback server, unchanged but for its base URL."""

import asyncio
import base64
import json

import openai
import pytest

HELLO = [{"role": "user", "content": "hello there"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def client_of(sim, provider="openai", key="k1"):
    return openai.OpenAI(api_key=sim.secret(key), base_url=sim.url(provider), max_retries=0)


@pytest.fixture
def client(sim):
    with client_of(sim) as client:
        yield client


def ask(client, messages=HELLO, **options):
    return client.chat.completions.create(model="gpt-sim", messages=messages, **options)


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


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
    assert seen.body["messages"] == HELLO


def test_a_stream_comes_in_words_and_ends_with_usage(sim, client):
    chunks = list(ask(client, **USAGE))
    assert text_of(chunks) == "You said: hello there"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 6
    assert sim.log[0].stream
    assert list(ask(client, stream=True))[-1].usage is None


@pytest.mark.parametrize("stream", [False, True])
def test_tools_go_round(client, stream):
    messages, options = list(HELLO), {"tools": [TOOL], "tool_choice": "required"}
    if stream:
        with client.chat.completions.stream(
            model="gpt-sim", messages=messages, **options
        ) as events:
            answer = events.get_final_completion()
    else:
        answer = ask(client, messages, **options)
    assert answer.choices[0].finish_reason == "tool_calls"
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "text", "days": 1}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    messages += [answer.choices[0].message.model_dump(exclude_none=True), result]
    assert ask(client, messages, **options).choices[0].message.content


def test_a_tool_is_called_when_the_prompt_names_it_and_only_then(client):
    assert ask(client, tools=[TOOL]).choices[0].message.tool_calls is None
    named = [{"role": "user", "content": "use get_weather please"}]
    assert ask(client, named, tools=[TOOL]).choices[0].message.tool_calls
    assert ask(client, named, tools=[TOOL], tool_choice="none").choices[0].message.content


def test_images_are_taken_and_counted(client):
    url = "data:image/png;base64," + base64.b64encode(b"png").decode()
    parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = ask(client, [{"role": "user", "content": parts}])
    assert answer.usage.prompt_tokens == 1 + 85


def test_structured_output_fits_its_schema(client):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}, "of": {"enum": ["a"]}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    answer = ask(client, response_format=wanted)
    assert json.loads(answer.choices[0].message.content) == {"ok": True, "of": "a"}
    plain = ask(client, response_format={"type": "json_object"})
    assert isinstance(json.loads(plain.choices[0].message.content), dict)


def test_reasoning_is_counted_and_shown_by_those_who_show_it(sim, client):
    hidden = ask(client, reasoning_effort="low")
    assert hidden.usage.completion_tokens_details.reasoning_tokens == 5
    assert "reasoning_content" not in hidden.choices[0].message.model_dump()
    with client_of(sim, "deepseek") as other:
        shown = ask(other, reasoning_effort="low")
        assert shown.choices[0].message.reasoning_content == "Let me think about that."
        chunks = list(ask(other, reasoning_effort="low", stream=True))
    thoughts = [getattr(c.choices[0].delta, "reasoning_content", None) for c in chunks]
    assert "".join(filter(None, thoughts)) == "Let me think about that."


@pytest.mark.parametrize(
    ("tell", "error"),
    [
        (lambda key: key.rate_limit(), openai.RateLimitError),
        (lambda key: key.rpm(0), openai.RateLimitError),
        (lambda key: key.quota_exhausted(), openai.RateLimitError),
        (lambda key: key.bad_key(), openai.AuthenticationError),
        (lambda key: key.forbidden(), openai.PermissionDeniedError),
        (lambda key: key.unknown_model("gpt-sim"), openai.NotFoundError),
        (lambda key: key.then(400), openai.BadRequestError),
        (lambda key: key.then(422), openai.UnprocessableEntityError),
        (lambda key: key.then(503), openai.InternalServerError),
        (lambda key: key.drop(), openai.APIConnectionError),
        (lambda key: key.echo_secret(), openai.AuthenticationError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_raise_the_sdk_s_own_errors(sim, client, tell, error, stream):
    tell(sim.key("k1"))
    with pytest.raises(error):
        ask(client, stream=stream)
    assert sim.requests() == 1
    sim.key("k1").heal()
    assert ask(client).choices


def test_a_rate_limit_states_its_time(sim, client):
    sim.key("k1").rate_limit(after=1, retry_after=7)
    ask(client)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert 6 < float(caught.value.response.headers["retry-after"]) <= 7
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.request_id.startswith("req_")


def test_an_error_event_raises_inside_the_stream(sim, client):
    sim.key("k1").error_in_stream(1)
    seen = []
    with pytest.raises(openai.APIError), ask(client, stream=True) as stream:
        seen.extend(stream)
    assert text_of(seen) == "You"


def test_a_cut_stream_breaks_the_connection_not_the_server(sim, client):
    sim.key("k1").cut_stream(2)
    seen = []
    with pytest.raises(openai.APIConnectionError), ask(client, stream=True) as stream:
        seen.extend(stream)
    assert text_of(seen) == "You said:"
    sim.key("k1").heal()
    assert text_of(list(ask(client, stream=True))) == "You said: hello there"
    assert sim.streams_cut_by_client == 0


def test_a_silent_stream_and_a_slow_answer_run_into_the_client_s_timeout(sim):
    with client_of(sim).with_options(timeout=0.2) as client:
        sim.key("k1").silent_stream(1)
        seen = []
        with pytest.raises(openai.APITimeoutError), ask(client, stream=True) as stream:
            seen.extend(stream)
        assert text_of(seen) == "You"
        sim.key("k1").heal().slow(30)
        with pytest.raises(openai.APITimeoutError):
            ask(client)
    assert sim.wait_idle()
    assert [seen.closed_early for seen in sim.log] == [True, True]
    assert sim.streams_cut_by_client == 1


def test_a_client_that_leaves_a_stream_is_noticed(sim):
    sim.key("k1").slow(0, between=0.05)
    with client_of(sim) as client, ask(client, stream=True) as stream:
        next(iter(stream))
        assert sim.in_flight == 1
    assert sim.wait_idle()
    assert (sim.streams_cut_by_client, sim.log[0].closed_early) == (1, True)


def test_azure_by_deployment_and_by_v1(sim):
    secret, url = sim.secret("k1"), sim.url("azure_openai")
    with openai.AzureOpenAI(
        api_key=secret, azure_endpoint=url, api_version="2024-10-21", max_retries=0
    ) as client:
        assert ask(client).choices[0].message.content
        assert text_of(list(ask(client, stream=True))) == "You said: hello there"
    with openai.OpenAI(api_key=secret, base_url=f"{url}/openai/v1", max_retries=0) as client:
        assert ask(client).choices[0].message.content
    assert {(seen.key, seen.provider, seen.model) for seen in sim.log} == {
        ("k1", "azure_openai", "gpt-sim")
    }


def test_openrouter_names_who_served_and_keeps_the_line_open(sim):
    with client_of(sim, "openrouter") as client:
        pin = {"provider": {"order": ["google-vertex"], "allow_fallbacks": False}}
        assert ask(client, extra_body=pin).provider == "Google"
        assert text_of(list(ask(client, stream=True, extra_body=pin))) == "You said: hello there"
        sim.upstream("google-vertex").down()
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, extra_body=pin)
    assert caught.value.body["metadata"]["provider_name"] == "Google"


def test_many_at_once_are_each_answered(sim):
    async def main():
        async with openai.AsyncOpenAI(
            api_key=sim.secret("k1"), base_url=sim.url("openai"), max_retries=0
        ) as client:
            return await asyncio.gather(
                *(
                    ask(client, [{"role": "user", "content": f"number {n}"}], max_tokens=n + 5)
                    for n in range(64)
                )
            )

    answers = asyncio.run(main())
    assert [a.choices[0].message.content for a in answers] == [
        f"You said: number {n}" for n in range(64)
    ]
    assert sim.requests() == 64
    assert sim.in_flight == 0


def test_embeddings_are_vectors_of_length_one_the_same_for_the_same_text(sim, client):
    texts = ["one text", "another", "one text"]
    answer = client.embeddings.create(model="emb", input=texts, dimensions=70)
    first, second, third = (item.embedding for item in answer.data)
    assert first == third != second
    assert len(first) == 70
    assert sum(number * number for number in first) == pytest.approx(1.0)
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sim.tokens("k1") == 5
    plain = client.embeddings.create(
        model="emb", input="one text", dimensions=70, encoding_format="float"
    )
    assert plain.data[0].embedding == first


def test_embeddings_are_refused_as_chats_are(sim, client):
    for wrong in ("", [], ["a", ""], [[1, 2]]):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="emb", input=wrong)
    sim.key("k1").rate_limit(retry_after=7)
    with pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="emb", input="text")


def test_azure_embeds_under_a_deployment(sim):
    with openai.AzureOpenAI(
        api_key=sim.secret("k1"),
        azure_endpoint=sim.url("azure_openai"),
        api_version="2024-10-21",
        max_retries=0,
    ) as client:
        answer = client.embeddings.create(model="my-embeddings", input="text")
    assert len(answer.data[0].embedding) == 16
    assert sim.log[0].model == "my-embeddings"


WAV = ("talk.wav", b"RIFF....WAVE" + bytes(100))


def test_a_recording_is_what_models_say_with_times_for_whisper(sim, client):
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=WAV, response_format="verbose_json", language="german"
    )
    assert answer.text == "You said: talk.wav"
    assert (answer.language, answer.duration) == ("german", 3.0)
    assert [segment.start for segment in answer.segments] == [0.0, 1.0, 2.0]
    assert sim.log[0].body["file"] == {"filename": "talk.wav", "size": 112}
    plain = client.audio.transcriptions.create(model="whisper-1", file=WAV, response_format="text")
    assert plain == "You said: talk.wav\n"
    newer = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=WAV)
    assert newer.usage.output_tokens == 3


def test_what_is_no_recording_or_too_large_is_refused(sim, client):
    for model, name, data, wanted in [
        ("whisper-1", "a.wav", b"", "json"),
        ("whisper-1", "a.wav", bytes(25 * 1024 * 1024 + 1), "json"),
        ("gpt-4o-transcribe", "a.wav", b"RIFF", "verbose_json"),
    ]:
        with pytest.raises(openai.BadRequestError):
            client.audio.transcriptions.create(
                model=model, file=(name, data), response_format=wanted
            )
