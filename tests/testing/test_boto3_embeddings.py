"""The real boto3 asks for embeddings, unchanged but for its endpoint."""

import json
from contextlib import closing

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def client(sim):
    made = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=sim.url("aws_bedrock"),
        aws_access_key_id="AKIASIM-k1",
        aws_secret_access_key=sim.secret("k1"),
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )
    with closing(made):
        yield made


def test_embeddings_of_titan_and_cohere(client):
    def invoke(model, **body):
        answer = client.invoke_model(modelId=model, body=json.dumps(body))
        return answer, json.loads(answer["body"].read())

    _, titan = invoke("amazon.titan-embed-text-v2:0", inputText="a small text", dimensions=8)
    assert (len(titan["embedding"]), titan["inputTextTokenCount"]) == (8, 3)
    texts = ["a small text", "another"]
    answer, cohere = invoke("cohere.embed-english-v3", texts=texts, input_type="clustering")
    assert [len(each) for each in cohere["embeddings"]] == [16, 16]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amzn-bedrock-input-token-count"] == "4"
    with pytest.raises(ClientError, match="input_type"):
        invoke("cohere.embed-english-v3", texts=texts)
