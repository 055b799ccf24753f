"""What a lent key says of where to send, with the SDKs themselves."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from llm_rotate import LMRotate, configure_from_dict
from llm_rotate.core.wire import Endpoint
from llm_rotate.providers.lent import Address, address
from llm_rotate.testing import Simulator

from .world import HELLO

DATED = "2024-10-21"
pytestmark = pytest.mark.filterwarnings("ignore:literal")


def pool(keys: list[dict[str, Any]], providers: dict[str, Any] | None = None) -> LMRotate:
    registry = {"keys": keys, "providers": providers or {}}
    return LMRotate(configure_from_dict(registry, [key["key_id"] for key in keys]))


def test_C05_replicas_without_secrets_are_each_lent_with_their_own_address():
    with ExitStack() as stack:
        sims = [stack.enter_context(Simulator().serve()) for _ in range(2)]
        keys = [
            {"key_id": f"gpu-{n}", "provider": "vllm", "base_url": sim.url("vllm")}
            for n, sim in enumerate(sims)
        ]

        async def ask(lm: LMRotate) -> str:
            async with (
                lm.acquire("vllm", model="llama") as key,
                openai.AsyncOpenAI(
                    api_key=key.key_value or "none", base_url=key.base_url, max_retries=0
                ) as client,
            ):
                await client.chat.completions.create(model="llama", messages=HELLO)
                assert (key.api_version, key.deployment) == (None, None)
                return key.key_id

        async def both() -> list[str]:
            async with pool(keys, {"vllm": {"auth": "none", "base_url": "http://no"}}) as lm:
                return [await ask(lm), await ask(lm)]

        assert sorted(asyncio.run(both())) == ["gpu-0", "gpu-1"]
        assert [sim.requests() for sim in sims] == [1, 1]


def of_azure(sim: Simulator, **auth: Any) -> dict[str, Any]:
    auth = {"azure_endpoint": sim.url("azure_openai"), **auth}
    secret = "literal://" + sim.secret("k1")
    return {"key_id": "k1", "provider": "azure_openai", "secret_ref": secret, "auth_config": auth}


NAMES = [
    ({"azure_deployments": {"gpt-4o": "prod-4o"}}, "prod-4o"),
    ({"azure_deployment": "all"}, "all"),
    ({}, "gpt-4o"),
]


@pytest.mark.parametrize(("names", "deployment"), NAMES)
@pytest.mark.parametrize("end", ["", "/openai/v1/"])
def test_C05_a_dated_key_of_azure_is_lent_as_its_own_client_takes_it(names, deployment, end):
    async def ask(sim: Simulator) -> str:
        key = of_azure(sim, api_version=DATED, **names)
        key["auth_config"]["azure_endpoint"] += end
        async with (
            pool([key]) as lm,
            lm.acquire("azure_openai", model="gpt-4o") as lent,
            openai.AsyncAzureOpenAI(
                api_key=lent.key_value,
                azure_endpoint=lent.base_url,
                api_version=lent.api_version,
                max_retries=0,
            ) as client,
        ):
            await client.chat.completions.create(model=lent.deployment, messages=HELLO)
        return sim.log[-1].path

    with Simulator().serve() as sim:
        path = asyncio.run(ask(sim))
    end = f"/deployments/{deployment}/chat/completions?api-version={DATED}"
    assert path == f"/azure_openai/openai{end}"


@pytest.mark.parametrize("version", [None, "v1", "preview"])
def test_C05_a_key_of_azures_v1_api_is_lent_as_the_plain_client_takes_it(version):
    with Simulator().serve() as sim:
        auth = {"api_version": version} if version else {}
        lm = pool([of_azure(sim, azure_deployment="prod", **auth)])
        with (
            lm.acquire_sync("azure_openai", model="gpt-4o") as key,
            openai.OpenAI(
                api_key=key.key_value,
                base_url=key.base_url,
                default_query={"api-version": key.api_version} if key.api_version else None,
            ) as client,
        ):
            client.chat.completions.create(model=key.deployment, messages=HELLO)
        lm.close_sync()
        query = "?api-version=preview" if version == "preview" else ""
        assert sim.log[-1].path == f"/azure_openai/openai/v1/chat/completions{query}"
        assert sim.log[-1].body["model"] == "prod"


def test_C05_without_a_model_no_deployment_is_guessed():
    with Simulator().serve() as sim:
        lm = pool([of_azure(sim, azure_deployments={"gpt-4o": "prod-4o"})])
        with lm.acquire_sync("azure_openai") as key:
            assert key.deployment is None
        lm.close_sync()


@pytest.mark.parametrize(
    ("dialect", "base", "flags", "expected"),
    [
        ("anthropic", "https://a.example/v1/", {}, Address("https://a.example")),
        (
            "gemini",
            "https://global-aiplatform.googleapis.com",
            {},
            Address("https://aiplatform.googleapis.com"),
        ),
        ("gemini", "https://g", {"api_version": "v1beta"}, Address("https://g", "v1beta")),
        ("gemini", "https://p.example/g/v1beta/", {}, Address("https://p.example/g", "v1beta")),
        ("gemini", "https://g/v1", {"api_version": "v1beta"}, Address("https://g", "v1")),
        ("cohere", "https://c.example", {}, Address("https://c.example")),
    ],
)
def test_an_address_is_as_the_vendors_sdk_takes_it(dialect, base, flags, expected):
    assert address(dialect, Endpoint("p", base, flags=flags), "m") == expected
