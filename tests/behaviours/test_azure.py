"""Azure: its two kinds of path, deployments with names of their own, tokens instead of keys."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from azure.core.credentials import AccessToken
from azure.identity import get_bearer_token_provider

from llm_rotate import ConfigurationError, LMRotate, LMRotateConfig, NoAvailableKeyError
from llm_rotate.engine.pool import Seams
from llm_rotate.testing import FakeTime, Simulator, run_fake

from .world import HELLO, HOST

ENDPOINT = f"{HOST}/azure_openai"
DATED = "2024-10-21"


class Azure:
    """Keys of Azure by their auth_config, in fake time."""

    def __init__(self, *keys: dict[str, Any], **fields: Any) -> None:
        self.sim, self.clock = Simulator(), FakeTime()
        transport = self.sim.memory_transport()
        self.config = LMRotateConfig.model_validate(
            {"keys": [entry(number, k) for number, k in enumerate(keys, 1)], **fields}
        )
        self.lm = LMRotate(self.config, seams=Seams(self.clock, open_transport=lambda: transport))

    def run(self, scenario: Callable[[], Any]) -> Any:
        return run_fake(scenario(), self.clock)

    @property
    def paths(self) -> list[str]:
        return [seen.path.removeprefix("/azure_openai") for seen in self.sim.log]


def entry(number: int, given: dict[str, Any]) -> dict[str, Any]:
    auth = {"azure_endpoint": ENDPOINT, **given.pop("auth_config", {})}
    named = {"key_id": f"k{number}", "provider": "azure_openai", "auth_config": auth}
    secret = (
        {}
        if "auth_method" in given or "azure_ad_token_provider" in auth
        else {"secret_ref": f"literal://sk-sim-k{number}"}
    )
    return named | secret | given


pytestmark = pytest.mark.filterwarnings("ignore:literal")


# -- paths


@pytest.mark.parametrize(
    ("version", "chat", "responses"),
    [
        ({}, "/openai/v1/chat/completions", "/openai/v1/responses"),
        ({"api_version": "v1"}, "/openai/v1/chat/completions", "/openai/v1/responses"),
        (
            {"api_version": "preview"},
            "/openai/v1/chat/completions?api-version=preview",
            "/openai/v1/responses?api-version=preview",
        ),
        (
            {"api_version": DATED},
            f"/openai/deployments/gpt-4o/chat/completions?api-version={DATED}",
            f"/openai/responses?api-version={DATED}",
        ),
    ],
)
@pytest.mark.parametrize("end", ["", "/", "/openai", "/openai/v1", "/openai/v1/"])
def test_each_version_has_its_paths(version, chat, responses, end):
    azure = Azure({"auth_config": {"azure_endpoint": ENDPOINT + end, **version}})

    async def scenario() -> None:
        for arguments in ({}, {"endpoint": "responses"}):
            answer = await azure.lm.chat("gpt-4o", HELLO, **arguments)
            assert (answer.content, answer.model) == ("You said: hello", "gpt-4o")
            chunks = [c async for c in azure.lm.chat_stream("gpt-4o", HELLO, **arguments)]
            assert "".join(chunk.delta for chunk in chunks) == "You said: hello"
            assert chunks[-1].usage

    azure.run(scenario)
    assert azure.paths == [chat, chat, responses, responses]
    assert {seen.key for seen in azure.sim.log} == {"k1"}


def test_background_answers_are_asked_for_at_the_same_version():
    azure = Azure({"auth_config": {"api_version": DATED}})

    async def scenario() -> None:
        answer = await azure.lm.chat("gpt-4o", HELLO, endpoint="responses", background=True)
        assert answer.content == "You said: hello"
        assert azure.paths[1:] == [f"/openai/responses/{answer.id}?api-version={DATED}"] * 2

    azure.run(scenario)


# -- deployments


@pytest.mark.parametrize("version", [{}, {"api_version": DATED}])
@pytest.mark.parametrize("endpoint", ["chat_completion", "responses"])
def test_each_key_has_its_own_name_for_a_model(version, endpoint):
    names = [{"gpt-4o": "prod-4o"}, {"gpt-4o": "west 4o", "gpt-4o-mini": "small"}]
    azure = Azure(
        *({"auth_config": {"azure_deployments": each, **version}} for each in names),
        defaults={"selection_strategy": "round_robin"},
    )

    async def scenario() -> None:
        for model in ("gpt-4o", "gpt-4o", "gpt-4o-mini", "gpt-4o-mini"):
            answer = await azure.lm.chat(model, HELLO, endpoint=endpoint)
            assert answer.attempts[-1].model == model

    azure.run(scenario)
    assert [(seen.key, seen.model) for seen in azure.sim.log] == [
        ("k1", "prod-4o"),
        ("k2", "west 4o"),
        ("k2", "small"),
        ("k2", "small"),
    ]


def test_each_key_goes_to_its_own_resource():
    east, west = ("http://east.invalid/azure_openai", "http://west.invalid/azure_openai")
    azure = Azure({"auth_config": {"azure_endpoint": east}}, {"base_url": west})

    async def scenario() -> None:
        for _ in range(2):
            await azure.lm.chat("gpt-4o", HELLO)

    azure.run(scenario)
    assert {(seen.key, seen.headers["host"]) for seen in azure.sim.log} == {
        ("k1", "east.invalid"),
        ("k2", "west.invalid"),
    }


def test_one_deployment_may_serve_every_model():
    azure = Azure({"auth_config": {"azure_deployment": "only"}})
    azure.run(lambda: azure.lm.chat("gpt-4o", HELLO))
    assert azure.sim.log[0].model == "only"


def test_a_key_that_maps_models_serves_those():
    azure = Azure({"auth_config": {"azure_deployments": {"gpt-4o": "prod-4o"}}})

    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="gpt-5"):
            await azure.lm.chat("gpt-5", HELLO)

    azure.run(scenario)


def test_embeddings_go_to_their_deployment():
    azure = Azure({"auth_config": {"azure_deployments": {"text-embedding-3-small": "vectors"}}})
    azure.run(lambda: azure.lm.embed("text-embedding-3-small", "hello"))
    assert azure.sim.log[0].model == "vectors"


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        ({"azure_deployments": ["a"]}, "azure_deployments must be a mapping"),
        ({"azure_deployments": {"gpt-4o": 4}}, "azure_deployments must be a deployment's name"),
        ({"azure_deployment": ""}, "azure_deployment must be a deployment's name"),
        ({"azure_ad_token_provider": "token"}, "azure_ad_token_provider must be a function"),
    ],
)
def test_F01_what_makes_no_sense_is_told_with_its_place(auth, words):
    with pytest.raises(ConfigurationError, match=words):
        Azure({"auth_config": auth})


def test_F01_a_secret_without_its_application_is_told():
    with pytest.raises(ConfigurationError, match=r"keys\[0\].*tenant_id and client_id"):
        Azure({"auth_method": "entra_id", "secret_ref": "env://CLIENT_SECRET"})


# -- tokens


def tokens() -> tuple[Callable[[], str], list[str]]:
    """A function of the user's that gives another token at each call, and where it ran."""
    threads: list[str] = []

    def ask() -> str:
        threads.append(threading.current_thread().name)
        return f"sk-sim-token{len(threads)}"

    return ask, threads


def test_a_token_is_sent_in_place_of_a_key_and_asked_for_again_in_time():
    ask, threads = tokens()
    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}})

    async def scenario() -> None:
        for _ in range(3):
            await azure.lm.chat("gpt-4o", HELLO)
        await azure.clock.sleep(61)
        await azure.lm.chat("gpt-4o", HELLO)

    azure.run(scenario)
    assert [seen.key for seen in azure.sim.log] == ["token1"] * 3 + ["token2"]
    assert all("authorization" not in seen.headers for seen in azure.sim.log)
    assert len(threads) == 2
    assert threading.main_thread().name not in threads


def test_many_who_need_a_token_at_once_ask_once_and_off_the_loop():
    ask, threads = tokens()
    all_wait = threading.Event()

    def slow() -> str:
        assert all_wait.wait(10)
        return ask()

    azure = Azure({"auth_config": {"azure_ad_token_provider": slow}})

    async def scenario() -> None:
        calls = [asyncio.create_task(azure.lm.chat("gpt-4o", HELLO)) for _ in range(50)]
        for _ in range(5):
            await asyncio.sleep(0)
        calls.pop(0).cancel()
        all_wait.set()
        assert all(answer.content for answer in await asyncio.gather(*calls))

    azure.run(scenario)
    assert len(threads) == 1
    assert azure.sim.requests("token1") == 49


def test_an_asynchronous_function_is_asked_once_for_all():
    asks = []

    async def ask() -> str:
        asks.append(asyncio.get_running_loop())
        await asyncio.sleep(0.1)
        return f"sk-sim-token{len(asks)}"

    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}})

    async def scenario() -> None:
        first = asyncio.create_task(azure.lm.chat("gpt-4o", HELLO))
        rest = [asyncio.create_task(azure.lm.chat("gpt-4o", HELLO)) for _ in range(20)]
        await asyncio.sleep(0.05)
        first.cancel()
        answers = await asyncio.gather(*rest)
        assert all(answer.content for answer in answers)

    azure.run(scenario)
    assert len(asks) == 1
    assert azure.sim.requests("token1") == 20


class Asks:
    async def __call__(self) -> str:
        return "sk-sim-token"


def test_an_object_with_an_asynchronous_call_is_one_too():
    azure = Azure({"auth_config": {"azure_ad_token_provider": Asks()}})
    azure.run(lambda: azure.lm.chat("gpt-4o", HELLO))
    assert azure.sim.requests("token") == 1


def test_F01_a_plain_function_that_gives_a_coroutine_is_told():
    def ask() -> Any:
        return Asks()()

    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}})
    with pytest.raises(NoAvailableKeyError, match="declare it with async def"):
        azure.run(lambda: azure.lm.chat("gpt-4o", HELLO, max_wait_seconds=0))


def test_R16_an_asynchronous_function_that_hangs_is_ended_and_asked_again_later():
    asks = []

    async def ask() -> str:
        asks.append(1)
        if len(asks) == 1:
            await asyncio.Event().wait()
        return "sk-sim-token"

    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}}, {})

    async def scenario() -> None:
        answer = await azure.lm.chat("gpt-4o", HELLO)
        assert [each.outcome for each in answer.attempts] == ["secret_missing", "ok"]
        assert "within 30 s" in answer.attempts[0].message
        await azure.lm.keys.reset("k1")
        assert (await azure.lm.chat("gpt-4o", HELLO, key_id="k1")).key_id == "k1"

    azure.run(scenario)


def test_a_refused_token_is_asked_for_anew_before_the_key_is_blamed():
    ask, _ = tokens()
    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}})
    azure.sim.key("token1").bad_key()

    async def scenario() -> None:
        answer = await azure.lm.chat("gpt-4o", HELLO)
        assert answer.content
        health = await azure.lm.health()
        assert health.providers["azure_openai"].keys["k1"].failures == 0

    azure.run(scenario)
    assert azure.sim.requests() == 2


@pytest.mark.parametrize("gives", [None, "", 7, RuntimeError("no sk-sim-secret for you")])
def test_R16_a_function_that_gives_no_token_is_that_keys_matter(gives, caplog):
    def ask() -> Any:
        if isinstance(gives, Exception):
            raise gives
        return gives

    azure = Azure(
        {"auth_config": {"azure_ad_token_provider": ask}},
        {},
        defaults={"selection_strategy": "priority"},
    )

    async def scenario() -> None:
        answer = await azure.lm.chat("gpt-4o", HELLO)
        assert [attempt.outcome for attempt in answer.attempts] == ["secret_missing", "ok"]
        health = await azure.lm.health()
        assert "Microsoft Entra ID gave no token" in str(
            health.providers["azure_openai"].keys["k1"].reason
        )

    azure.run(scenario)


def test_acquire_lends_the_token():
    ask, _ = tokens()
    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}})

    async def scenario() -> None:
        async with azure.lm.acquire("azure_openai") as key:
            assert key.key_value == "sk-sim-token1"

    azure.run(scenario)


def test_F04_neither_token_nor_function_shows():
    ask, _ = tokens()
    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}})
    azure.run(lambda: azure.lm.chat("gpt-4o", HELLO))
    shown = repr(azure.config) + repr(azure.lm) + repr(azure.lm._pool.assembly.keys["k1"])
    assert "token1" not in shown


class Credential:
    """As azure-core defines one."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> Any:
        self.scopes += scopes
        return AccessToken("sk-sim-k9", 2_000_000_000)


def test_azure_identitys_own_function_is_taken():
    credential = Credential()
    ask = get_bearer_token_provider(credential, "https://cognitiveservices.azure.com/.default")
    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}})
    azure.run(lambda: azure.lm.chat("gpt-4o", HELLO))
    assert azure.sim.requests("k9") == 1
    assert credential.scopes == ["https://cognitiveservices.azure.com/.default"]


def test_an_application_that_azure_identity_refuses_is_told(monkeypatch):
    monkeypatch.setenv("CLIENT_SECRET", "hush-hush-0123456789")
    auth = {"tenant_id": "not a tenant", "client_id": "app"}
    azure = Azure(
        {"auth_method": "entra_id", "secret_ref": "env://CLIENT_SECRET", "auth_config": auth}
    )

    async def scenario() -> str:
        with pytest.raises(NoAvailableKeyError) as caught:
            await azure.lm.chat("gpt-4o", HELLO)
        return str(caught.value)

    told = azure.run(scenario)
    assert "Microsoft Entra ID gave no token" in told
    assert "tenant" in told
    assert "hush-hush" not in told


def test_a_missing_azure_identity_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    azure = Azure({"auth_method": "entra_id"})

    async def scenario() -> str:
        with pytest.raises(NoAvailableKeyError) as caught:
            await azure.lm.chat("gpt-4o", HELLO)
        return str(caught.value)

    assert "pip install 'llm_rotate[azure]'" in azure.run(scenario)


class Machine(BaseHTTPRequestHandler):
    """Gives the machine's identity tokens, as Azure's App Service does."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("x-identity-header")))
        told = {"access_token": "sk-sim-machine", "expires_on": "2000000000", "resource": "r"}
        body = json.dumps({**told, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def machine(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Machine)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Machine.asked.clear()
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "proof")
    yield Machine
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_machines_identity_gives_the_token(machine):
    azure = Azure({"auth_method": "entra_id", "auth_config": {"client_id": "of-several"}})

    async def scenario() -> None:
        for _ in range(3):
            await azure.lm.chat("gpt-4o", HELLO)
            await azure.clock.sleep(61)

    azure.run(scenario)
    assert azure.sim.requests("machine") == 3
    [(path, proof)] = machine.asked  # azure-identity keeps the token while it is good
    assert "client_id=of-several" in path
    assert "cognitiveservices.azure.com" in path
    assert proof == "proof"


def test_work_in_the_background_outlives_its_token():
    asks = []

    def ask() -> str:
        asks.append(azure.clock.now())
        return "sk-sim-k1"

    azure = Azure({"auth_config": {"azure_ad_token_provider": ask}})
    azure.sim.key("k1").then(200).then(503, headers={"retry-after": "40"}, times=3)

    async def scenario() -> None:
        answer = await azure.lm.chat("gpt-4o", HELLO, endpoint="responses", background=True)
        assert answer.content == "You said: hello"

    azure.run(scenario)
    assert len(asks) == 2
    assert [seen.path.endswith("/responses") for seen in azure.sim.log].count(True) == 1
