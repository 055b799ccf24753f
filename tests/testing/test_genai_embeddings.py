"""The real google-genai SDK asks for embeddings, unchanged but for its address."""

import pytest
from google import genai
from google.genai import errors, types


@pytest.fixture
def client(sim):
    options = types.HttpOptions(base_url=sim.url("google_ai_studio"))
    with genai.Client(api_key=sim.secret("k1"), http_options=options) as made:
        yield made


def test_embeddings_come_in_the_order_of_the_texts(sim, client):
    texts = ["one text", "another", "one text"]
    config = types.EmbedContentConfig(output_dimensionality=8, task_type="CLUSTERING")
    answer = client.models.embed_content(
        model="gemini-embedding-001", contents=texts, config=config
    )
    first, second, third = (each.values for each in answer.embeddings)
    assert first == third != second
    assert len(first) == 8
    [seen] = sim.log
    assert (seen.key, seen.provider, seen.model) == (
        "k1", "google_ai_studio", "gemini-embedding-001",
    )  # fmt: skip
    assert sim.tokens("k1") == 5


def test_embeddings_are_refused_as_chats_are(sim, client):
    sim.key("k1").rate_limit(retry_after=7)
    with pytest.raises(errors.ClientError, match="RESOURCE_EXHAUSTED"):
        client.models.embed_content(model="gemini-embedding-001", contents=["a"])
