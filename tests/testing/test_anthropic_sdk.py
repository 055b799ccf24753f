"""The real anthropic SDK against the loopback server, unchanged but for its base URL."""

import anthropic
import pytest

HELLO = [{"role": "user", "content": "hello there"}]
TOOL = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}}


def client_of(sim, **options):
    return anthropic.Anthropic(
        api_key=sim.secret("k1"), base_url=sim.url("anthropic"), max_retries=0, **options
    )


@pytest.fixture
def client(sim):
    with client_of(sim) as client:
        yield client


def with_defaults(options):
    return {"model": "claude-sim", "max_tokens": 2000, "messages": HELLO, **options}


def ask(client, **options):
    return client.messages.create(**with_defaults(options))


def streamed(client, **options):
    with client.messages.stream(**with_defaults(options)) as stream:
        return "".join(stream.text_stream), stream.get_final_message()


def test_a_message_is_answered_and_counted(sim, client):
    answer = ask(client, system="be kind")
    [block] = answer.content
    assert (block.text, answer.stop_reason) == ("You said: hello there", "end_turn")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 4)
    assert sim.tokens("k1") == 8
    [seen] = sim.log
    assert (seen.key, seen.provider, seen.model) == ("k1", "anthropic", "claude-sim")


def test_a_stream_adds_up_to_the_message(sim, client):
    text, message = streamed(client)
    assert text == "You said: hello there"
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 4)
    assert sim.log[0].stream


@pytest.mark.parametrize("stream", [False, True])
def test_tools_go_round(client, stream):
    options = {"tools": [TOOL], "tool_choice": {"type": "any"}}
    answer = streamed(client, **options)[1] if stream else ask(client, **options)
    [call] = answer.content
    assert answer.stop_reason == "tool_use"
    assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "text"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages = [
        *HELLO,
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    assert ask(client, messages=messages, **options).content[0].type == "text"


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_comes_first_when_asked(client, stream):
    options = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    answer = streamed(client, **options)[1] if stream else ask(client, **options)
    thinking, text = answer.content
    assert (thinking.type, text.type) == ("thinking", "text")
    assert thinking.thinking == "Let me think about that."
    assert thinking.signature


def test_images_are_taken_and_counted(client):
    content = [IMAGE, {"type": "text", "text": "see"}]
    answer = ask(client, messages=[{"role": "user", "content": content}])
    assert answer.usage.input_tokens == 85 + 1


@pytest.mark.parametrize(
    ("tell", "error"),
    [
        (lambda key: key.rate_limit(), anthropic.RateLimitError),
        (lambda key: key.quota_exhausted(), anthropic.BadRequestError),
        (lambda key: key.bad_key(), anthropic.AuthenticationError),
        (lambda key: key.forbidden(), anthropic.PermissionDeniedError),
        (lambda key: key.unknown_model("claude-sim"), anthropic.NotFoundError),
        (lambda key: key.then(529), anthropic.InternalServerError),
        (lambda key: key.then(413), anthropic.RequestTooLargeError),
        (lambda key: key.drop(), anthropic.APIConnectionError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_raise_the_sdk_s_own_errors(sim, client, tell, error, stream):
    tell(sim.key("k1"))
    with pytest.raises(error):
        ask(client, stream=stream)
    assert sim.requests() == 1
    sim.key("k1").heal()
    assert ask(client).content


def test_an_error_event_raises_inside_the_stream(sim, client):
    for at in (None, 0, 1):
        sim.key("k1").heal().error_in_stream(at)
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            streamed(client)


def test_a_message_without_the_version_or_max_tokens_is_400(sim, client):
    for options in ({"max_tokens": 0}, {"extra_headers": {"anthropic-version": anthropic.omit}}):
        with pytest.raises(anthropic.BadRequestError):
            ask(client, **options)
