"""The real boto3 against the loopback server, unchanged but for its endpoint.

With access keys: API keys it sends over HTTPS only.
"""

import json
from contextlib import closing

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError, EventStreamError

HELLO = [{"role": "user", "content": [{"text": "hello there"}]}]
MODEL = "anthropic.claude-sim-v1:0"
ARN = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-sim-v1:0"
TOOL = {
    "toolSpec": {
        "name": "get_weather",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
}
SESSION = boto3.Session()  # it reads what the service's operations are once


def client_of(sim, key_id="k1", secret=None, **options):
    return SESSION.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=sim.url("aws_bedrock"),
        aws_access_key_id=f"AKIASIM-{key_id}",
        aws_secret_access_key=secret or sim.secret(key_id),
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
        **options,
    )


@pytest.fixture
def client(sim):
    client = client_of(sim)
    yield client
    client.close()


def ask(client, **options):
    return client.converse(**{"modelId": MODEL, "messages": HELLO, **options})


def streamed(client, **options):
    answer = client.converse_stream(**{"modelId": MODEL, "messages": HELLO, **options})
    with closing(answer["stream"]) as stream:
        return list(stream)


def test_a_message_is_answered_and_counted(sim, client):
    answer = ask(client, system=[{"text": "be kind"}])
    assert answer["output"]["message"]["content"] == [{"text": "You said: hello there"}]
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"] == {"inputTokens": 4, "outputTokens": 4, "totalTokens": 8}
    assert answer["ResponseMetadata"]["RequestId"]
    assert sim.tokens("k1") == 8
    [seen] = sim.log
    assert (seen.key, seen.provider, seen.model) == ("k1", "aws_bedrock", MODEL)


def test_a_stream_adds_up_to_the_message(sim, client):
    events = streamed(client)
    deltas = [e["contentBlockDelta"]["delta"]["text"] for e in events if "contentBlockDelta" in e]
    assert "".join(deltas) == "You said: hello there"
    assert [next(iter(event)) for event in events[-2:]] == ["messageStop", "metadata"]
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 4
    assert sim.log[0].stream


@pytest.mark.parametrize("stream", [False, True])
def test_tools_go_round(client, stream):
    options = {"toolConfig": {"tools": [TOOL], "toolChoice": {"any": {}}}}
    if stream:
        events = streamed(client, **options)
        [start] = [e["contentBlockStart"]["start"]["toolUse"] for e in events if "contentBlockStart" in e]  # fmt: skip
        parts = [e["contentBlockDelta"]["delta"]["toolUse"]["input"] for e in events if "contentBlockDelta" in e]  # fmt: skip
        use = {**start, "input": json.loads("".join(parts))}
    else:
        [block] = ask(client, **options)["output"]["message"]["content"]
        use = block["toolUse"]
    assert (use["name"], use["input"]) == ("get_weather", {"city": "text"})
    result = {"toolUseId": use["toolUseId"], "content": [{"text": "sunny"}]}
    messages = [
        *HELLO,
        {"role": "assistant", "content": [{"toolUse": use}]},
        {"role": "user", "content": [{"toolResult": result}]},
    ]
    answer = ask(client, messages=messages, toolConfig={"tools": [TOOL]})
    assert answer["stopReason"] == "end_turn"


@pytest.mark.parametrize("model", [MODEL, ARN])
def test_models_and_inference_profiles(sim, client, model):
    ask(client, modelId=model)
    assert sim.log[0].model == model


def test_thinking_comes_first_and_signed(client):
    more = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    first, second = ask(client, additionalModelRequestFields=more)["output"]["message"]["content"]
    assert first["reasoningContent"]["reasoningText"]["signature"]
    assert "text" in second
    kinds = [
        next(iter(event["contentBlockDelta"]["delta"]))
        for event in streamed(client, additionalModelRequestFields=more)
        if "contentBlockDelta" in event
    ]
    assert kinds == ["reasoningContent"] * 6 + ["text"] * 4


def test_pictures_and_documents(client):
    parts = [
        {"text": "see"},
        {"image": {"format": "png", "source": {"bytes": b"png"}}},
        {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"%PDF"}}},
    ]
    answer = ask(client, messages=[{"role": "user", "content": parts}])
    assert answer["usage"]["inputTokens"] == 86


REFUSED = {
    "rate_limit": ("ThrottlingException", 429),
    "quota_exhausted": ("ServiceQuotaExceededException", 400),
    "bad_key": ("UnrecognizedClientException", 403),
    "forbidden": ("AccessDeniedException", 403),
}


@pytest.mark.parametrize("told", REFUSED)
def test_refusals_have_the_names_that_boto3_knows(sim, client, told):
    getattr(sim.key("k1"), told)()
    with pytest.raises(ClientError) as caught:
        ask(client)
    response = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    assert (response["Error"]["Code"], status) == REFUSED[told]
    assert response["Error"]["Message"]


def test_what_is_wrong_with_a_request_is_told(client):
    with pytest.raises(client.exceptions.ValidationException, match="user message"):
        ask(client, messages=[{"role": "assistant", "content": [{"text": "x"}]}])
    use = {"toolUseId": "1", "name": "f", "input": {}}
    with pytest.raises(client.exceptions.ValidationException, match="toolConfig"):
        ask(client, messages=[*HELLO, {"role": "assistant", "content": [{"toolUse": use}]}])


@pytest.mark.parametrize("at", [None, 0, 2])
def test_an_exception_inside_a_stream(sim, client, at):
    sim.key("k1").error_in_stream(at)
    with pytest.raises(EventStreamError, match="serviceUnavailableException"):
        streamed(client)


def test_a_wrong_secret_makes_a_wrong_signature(sim):
    client = client_of(sim, secret="another")
    with pytest.raises(ClientError) as caught:
        ask(client)
    client.close()
    assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"
    assert sim.log[0].key == "k1"


def test_a_session_token_is_signed_with_the_rest(sim):
    client = client_of(sim, aws_session_token="t0ken")
    assert ask(client)["stopReason"] == "end_turn"
    client.close()


def test_a_clock_that_is_wrong_is_refused(sim, client):
    def late(request, **_):
        request.headers["X-Amz-Date"] = "20200101T000000Z"

    client.meta.events.register("before-send", late)
    with pytest.raises(ClientError, match="expired"):
        ask(client)
