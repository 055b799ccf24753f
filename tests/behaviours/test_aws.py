"""Keys with AWS credentials: signed requests, wherever the credentials come from."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import botocore.config
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from llm_rotate import ConfigurationError, NoAvailableKeyError
from llm_rotate.core.wire import Endpoint, HttpRequest
from llm_rotate.engine import aws
from llm_rotate.providers import bedrock_urls
from llm_rotate.secrets import SecretError
from llm_rotate.testing.aws_signature import ACCESS_KEY_PREFIX

from .doors import DOORS, asked, fake_time, read, sockets, text
from .world import HELLO, World

each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
ARN = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-x-v1:0"


@pytest.fixture(autouse=True)
def no_aws_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def signed_with(**auth: Any) -> Any:
    """Edits a configuration: its keys sign, by default with access keys of their own."""

    def edit(config: Any) -> Any:
        for key in config.keys:
            named = auth or {"access_key_id": ACCESS_KEY_PREFIX + key.key_id}
            if "access_key_id" not in named:
                key.secret_ref = ""
            key.auth_config = {"region": "eu-west-1", **named}
        return config

    return edit


def world_of(door: Any, *keys: str, **auth: Any) -> Any:
    return door(provider="aws_bedrock", keys=keys or ("k1", "k2"), edit=signed_with(**auth))


# -- access keys


@each_door
@pytest.mark.parametrize("model", ["amazon.nova-lite-v1:0", ARN, "a b/c%d+é~._-"])
def test_a_signed_call_is_answered(door: Any, model: str) -> None:
    with world_of(door) as world:
        answer = world.run(lambda: world.chat(model=f"aws_bedrock/{model}"))
    assert (answer.content, answer.model) == ("You said: hello", model)
    assert world.sim.log[-1].model == model
    assert asked(world) == ["k1"]


@each_door
def test_a_signed_stream_is_answered(door: Any) -> None:
    with world_of(door) as world:
        chunks: list[Any] = []
        world.run(lambda: read(world.lm.chat_stream(world.model, HELLO), chunks))
    assert text(chunks) == "You said: hello"
    assert world.sim.log[-1].stream


def test_extra_headers_are_signed_with_the_others() -> None:
    with world_of(fake_time, "k1") as world:
        world.run(lambda: world.chat(extra_headers={"x-amz-note": "café", "x-team": "blue"}))
    assert world.sim.log[-1].status == 200
    assert world.sim.log[-1].headers["x-team"] == "blue"


@pytest.mark.parametrize("name", ["X-Amz-Date", "x-amz-security-token"])
def test_what_the_signature_says_cannot_be_said_beside_it(name: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match="the pool itself writes"):
            await world.chat(extra_headers={name: "20000101T000000Z"})

    with world_of(fake_time, "k1") as world:
        world.run(scenario)
    assert world.sim.requests() == 0


def test_signatures_are_made_at_the_time_of_the_call() -> None:
    async def scenario() -> None:
        await world.chat()
        await asyncio.sleep(86_400)
        await world.chat()

    with world_of(fake_time, "k1") as world:
        world.run(scenario)
    stamps = [seen.headers["x-amz-date"] for seen in world.sim.log]
    assert stamps == ["20260101T000000Z", "20260102T000000Z"]


def test_a_wrong_secret_is_told_by_its_signature_and_rotated() -> None:
    def edit(config: Any) -> Any:
        config.keys[0].secret_ref = "literal://wrong"
        return signed_with()(config)

    world = World(["k1", "k2"], provider="aws_bedrock", strategy="priority", edit=edit)
    answer = world.run(world.chat)
    assert [attempt.outcome for attempt in answer.attempts] == ["auth_failed", "ok"]
    assert answer.attempts[0].code == "InvalidSignatureException"
    health = world.lm.health_sync().providers["aws_bedrock"].keys["k1"]
    assert (health.state, health.status) == ("quarantine", 403)


def test_the_signature_is_the_one_that_botocore_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: at.replace(tzinfo=None))
    url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/a%3Ab%2Fc/converse"
    access = aws.AccessKey("AKIA1", "s3cret", "t0ken")
    theirs = AWSRequest("POST", url, {"content-type": "application/json"}, b"{}")
    SigV4Auth(access, "bedrock", "eu-west-1").add_auth(theirs)
    endpoint = Endpoint("aws_bedrock", url, "sigv4", auth_config={"region": "eu-west-1"})
    request = HttpRequest("POST", url, ((b"content-type", b"application/json"), (b"accept", b"*/*")), b"{}")  # fmt: skip
    ours = aws.signer(access.written(), endpoint)(request, at.timestamp())
    found = {name.decode(): value.decode() for name, value in ours.headers}
    for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
        assert found[name.lower()] == theirs.headers[name]


def test_session_tokens_by_reference_and_ids_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_ID", ACCESS_KEY_PREFIX + "k1")
    monkeypatch.setenv("MY_TOKEN", "t0ken-of-a-session")
    named = {"access_key_id": "env://MY_ID", "session_token": "env://MY_TOKEN"}
    with world_of(fake_time, "k1", **named) as world:
        seen: list[Any] = []
        answer = world.sim.answer

        def spy(request: Any, *times: float) -> Any:
            seen.append(request.headers)
            return answer(request, *times)

        world.sim.answer = spy
        assert world.run(world.chat).content
    [headers] = seen
    assert headers["x-amz-security-token"] == "t0ken-of-a-session"
    assert "x-amz-security-token" in headers["authorization"]
    assert "x-amz-security-token" not in world.sim.log[-1].headers


def test_F04_an_echoed_session_token_does_not_show(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_TOKEN", "t0ken-of-a-session")
    named = {"access_key_id": ACCESS_KEY_PREFIX + "k1", "session_token": "env://MY_TOKEN"}
    with world_of(fake_time, "k1", **named) as world:
        body = {"message": "canonical: x-amz-security-token:t0ken-of-a-session"}
        world.sim.key("k1").then(403, body=body, times=9)
        with pytest.raises(NoAvailableKeyError) as caught:
            world.run(lambda: world.chat(max_wait_seconds=0))
        shown = [
            caught.value,
            caught.value.__cause__,
            caught.value.attempts,
            world.lm.health_sync(),
        ]
    told = "".join(f"{each!s}{each!r}" for each in shown) + caplog.text
    assert "t0ken" not in told
    assert "sk-sim" not in told


# -- profiles, programs, roles


def test_a_profile_of_the_credentials_file(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        f"[prod]\naws_access_key_id = {ACCESS_KEY_PREFIX}k1\naws_secret_access_key = sk-sim-k1\n"
    )
    with world_of(sockets, "k1", profile="prod") as world:
        assert world.run(world.chat).content == "You said: hello"
        assert asked(world) == ["k1"]


def test_what_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_PREFIX + "k7")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sk-sim-k7")
    with world_of(sockets, "k1", region="us-west-2") as world:
        assert world.run(world.chat).key_id == "k1"
        assert asked(world) == ["k7"]


@pytest.mark.parametrize("auth", [{"profile": "nobody"}, {"region": "us-east-1"}])
def test_R16_no_credentials_are_no_secret(auth: dict[str, str]) -> None:
    with world_of(fake_time, "k1", **auth) as world:
        with pytest.raises(NoAvailableKeyError) as caught:
            world.run(lambda: world.chat(max_wait_seconds=0))
        assert "AWS gave no credentials" in caught.value.reasons["k1"]
        assert asked(world) == []


def program(tmp_path: Path, *, life_s: float) -> Path:
    """A program of a profile: it gives key k1 new sessions, and counts them in a file."""
    path = tmp_path / "program"
    until = (datetime.now(UTC) + timedelta(seconds=life_s)).isoformat()
    path.write_text(
        f"#!{sys.executable}\nimport json, time\n"
        f"count = open({str(tmp_path / 'count')!r}, 'a+'); count.write('x'); count.seek(0)\n"
        "time.sleep(0.05)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'AKIASIM-k1',"
        " 'SecretAccessKey': 'sk-sim-k1', 'SessionToken': 's' * len(count.read()),"
        f" 'Expiration': {until!r}}}))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "config").write_text(f"[profile tool]\ncredential_process = {path}\n")
    return tmp_path / "count"


@pytest.mark.parametrize(
    "program", ["/nowhere/program", "echo hidden-0123456789", "echo '[1]'", "echo 'unclosed"]
)
def test_R16_a_program_that_gives_no_credentials_is_its_keys_matter(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(f"[profile p]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(SecretError, match="AWS gave no credentials") as caught:
        aws.Source({"profile": "p"}, None).read()
    assert "hidden" not in str(caught.value)
    assert caught.value.__context__ is None


def test_credentials_are_fetched_once_for_all_calls_and_off_the_loop(tmp_path: Path) -> None:
    count = program(tmp_path, life_s=86_400)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    async def scenario() -> list[Any]:
        heart = asyncio.ensure_future(beat())
        try:
            return await asyncio.gather(*(world.chat() for _ in range(30)))
        finally:
            heart.cancel()

    with world_of(sockets, "k1", profile="tool") as world:
        answers = world.run(scenario)
    assert {answer.content for answer in answers} == {"You said: hello"}
    assert count.read_text() == "x"
    assert beats >= 5, "the loop stood still while the program ran"


def test_credentials_that_expire_soon_are_fetched_anew_in_time(tmp_path: Path) -> None:
    count = program(tmp_path, life_s=700)  # botocore asks again from 15 minutes before

    async def scenario() -> None:
        await world.chat()
        first = len(count.read_text())
        await world.chat()
        assert len(count.read_text()) == first, "not with every call"
        await asyncio.sleep(61)
        await world.chat()
        assert len(count.read_text()) > first

    with world_of(fake_time, "k1", profile="tool") as world:
        world.run(scenario)


def test_expired_credentials_are_read_again_before_the_key_is_blamed(tmp_path: Path) -> None:
    count = program(tmp_path, life_s=86_400)
    expired = {"__type": "com.amazon.coral#ExpiredTokenException", "message": "expired"}

    async def scenario() -> None:
        await world.chat()
        world.sim.key("k1").then(403, body=expired)
        answer = await world.chat()
        assert answer.content == "You said: hello"

    with world_of(fake_time, "k1", profile="tool") as world:
        world.run(scenario)
        health = world.lm.health_sync().providers["aws_bedrock"].keys["k1"]
    assert (health.state, health.failures) == ("active", 0)
    assert count.read_text() == "xx"


class SecurityTokenService(BaseHTTPRequestHandler):
    """Answers AssumeRole."""

    roles: list[dict[str, list[str]]]
    life_s: float

    def do_POST(self) -> None:
        asked_for = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self.roles.append(asked_for)
        until = (datetime.now(UTC) + timedelta(seconds=self.life_s)).isoformat()
        body = (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>'
            "<Credentials><AccessKeyId>AKIASIM-k1</AccessKeyId>"
            "<SecretAccessKey>sk-sim-k1</SecretAccessKey><SessionToken>of-a-role</SessionToken>"
            f"<Expiration>{until}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "text/xml")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def token_service(
    monkeypatch: pytest.MonkeyPatch, life_s: float = 3600
) -> Iterator[list[dict[str, list[str]]]]:
    SecurityTokenService.roles, SecurityTokenService.life_s = [], life_s
    server = ThreadingHTTPServer(("127.0.0.1", 0), SecurityTokenService)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
    try:
        yield SecurityTokenService.roles
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_role_is_assumed_once_for_many_calls(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    role = {"role_arn": "arn:aws:iam::123456789012:role/r", "external_id": "e-1"}

    async def scenario() -> list[Any]:
        return await asyncio.gather(*(world.chat() for _ in range(20)))

    with (
        token_service(monkeypatch) as roles,
        world_of(sockets, "k1", access_key_id="AKIA-of-the-user", **role) as world,
    ):
        answers = world.run(scenario)
    assert {answer.content for answer in answers} == {"You said: hello"}
    assert set(asked(world)) == {"k1"}
    assert all(secret not in caplog.text for secret in ("sk-sim", "of-a-role"))
    gc.collect()  # what was left open would be told of
    [assumed] = roles
    assert (assumed["RoleArn"], assumed["ExternalId"]) == ([role["role_arn"]], ["e-1"])


def test_a_role_is_assumed_anew_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    role = {"role_arn": "arn:aws:iam::123456789012:role/r"}

    async def scenario() -> None:
        for _ in range(3):
            await world.chat()
        assert len(roles) == 1
        await asyncio.sleep(61)
        await world.chat()
        assert len(roles) == 2

    with (
        token_service(monkeypatch, life_s=660) as roles,  # botocore asks anew below 15 minutes
        world_of(fake_time, "k1", access_key_id="AKIA-of-the-user", **role) as world,
    ):
        world.run(scenario)


# -- what is lent


def test_C05_a_lent_key_is_what_boto3_takes() -> None:
    with world_of(sockets, "k1") as world:
        with world.lm.acquire_sync("aws_bedrock", model=world.model) as key:
            client = boto3.Session().client(
                "bedrock-runtime",
                region_name="eu-west-1",
                endpoint_url=world.sim.url("aws_bedrock"),
                config=botocore.config.Config(retries={"total_max_attempts": 1}),
                **json.loads(key.key_value),
            )
            messages = [{"role": "user", "content": [{"text": "hello"}]}]
            answer = client.converse(modelId=world.model, messages=messages)
            client.close()
        assert answer["output"]["message"]["content"] == [{"text": "You said: hello"}]
        assert world.lm.usage_summary_sync()["total"]["successes"] == 1
        world.lm.close_sync()


# -- what is needed and what is not


def ran(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CALLS = """
from llm_rotate.testing import Simulator
HELLO = [{"role": "user", "content": "hello"}]
with Simulator().serve() as sim:
    openai = sim.pool(["k1"])
    print(openai.chat_sync("gpt-4o-mini", HELLO).content)
    print(len(list(openai.chat_stream_sync("gpt-4o-mini", HELLO))) > 1)
import sys
print([name for name in sys.modules if name.partition(".")[0] in ("botocore", "boto3")])
"""


def test_calling_openai_never_imports_botocore() -> None:
    assert ran(CALLS) == "You said: hello\nTrue\n[]\n"


API_KEY = """
import sys
from llm_rotate import ConfigurationError
from llm_rotate.testing import Simulator
HELLO = [{"role": "user", "content": "hello"}]
with Simulator().serve() as sim:
    lm = sim.pool(["k1"], provider="aws_bedrock")
    print(lm.chat_sync("amazon.nova-lite-v1:0", HELLO).content)
    print([name for name in sys.modules if name.partition(".")[0] in ("botocore", "boto3")])
"""


def test_an_api_key_needs_no_botocore_for_a_chat() -> None:
    assert ran(API_KEY) == "You said: hello\n[]\n"


def test_without_botocore_nothing_signed_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.auth", None)

    async def scenario() -> None:
        async with world.lm.acquire("aws_bedrock", max_wait_seconds=0):
            raise AssertionError("nothing to lend")

    with (
        world_of(fake_time, "k1", profile="prod") as world,
        pytest.raises(NoAvailableKeyError, match=r"llm_rotate\[bedrock\]"),
    ):
        world.run(scenario)


def test_without_botocore_streams_and_signatures_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bedrock_urls, "find_spec", lambda _name: None)
    bedrock_urls.need_botocore.cache_clear()
    with world_of(fake_time, "k1") as world:
        with pytest.raises(ConfigurationError, match=r"llm_rotate\[bedrock\]"):
            world.run(world.chat)
        assert asked(world) == []
    bedrock_urls.need_botocore.cache_clear()
