"""Secrets kept by services, read with the vendors' own packages."""

from __future__ import annotations

import base64
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import keyring.errors
import pytest
import requests
import requests.adapters
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from llm_rotate.secrets import SecretError, aws, gcp, resolve, schemes, vault

from .services import Asked, serving

HIDDEN = "sk-hidden-0123456789"


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "VAULT_NAMESPACE", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HOME", str(tmp_path))


def refused(reference: str) -> str:
    """Why it cannot be read. The error holds nothing of what was read, or read with."""
    with pytest.raises(SecretError) as caught:
        resolve(reference)
    assert caught.value.__context__ is None
    assert HIDDEN not in str(caught.value)
    return str(caught.value)


# -- the system's keyring


class InMemory(keyring.backend.KeyringBackend):
    priority = 1  # type: ignore[assignment]  # a property there

    def __init__(self, kept: dict[tuple[str, str], str], *, is_locked: bool = False) -> None:
        super().__init__()
        self._kept, self._is_locked = kept, is_locked

    def get_password(self, service: str, username: str) -> str | None:
        if self._is_locked:
            raise keyring.errors.KeyringLocked("the ring is locked")
        return self._kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._kept[service, username] = password


@pytest.fixture
def _ring() -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(InMemory({("llm", "openai"): HIDDEN, ("a/b", "c"): "deep"}))
    yield
    keyring.set_keyring(before)


@pytest.mark.usefixtures("_ring")
def test_keyring_reads_an_entry() -> None:
    assert resolve("keyring://llm/openai").reveal() == HIDDEN
    assert resolve("keyring://a/b/c").reveal() == "deep"


@pytest.mark.usefixtures("_ring")
def test_keyring_says_what_is_wrong() -> None:
    assert refused("keyring://llm/other") == "the keyring has no 'other' of 'llm'"
    assert "keyring://SERVICE/NAME" in refused("keyring://llm")
    keyring.set_keyring(InMemory({}, is_locked=True))
    assert "the ring is locked" in refused("keyring://llm/openai")


# -- AWS

ARN = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:llm/key-AbCdEf"


def aws_answer(asked: Asked) -> tuple[int, bytes]:
    name = json.loads(asked.body)["SecretId"]
    kept: dict[str, dict[str, Any]] = {
        "llm/openai": {"SecretString": HIDDEN},
        "llm/all": {"SecretString": json.dumps({"openai": HIDDEN, "n": 4})},
        "llm/bytes": {"SecretBinary": base64.b64encode(b"\xff").decode()},
        ARN: {"SecretString": "of the region"},
    }
    if name not in kept:
        return 400, b'{"__type": "ResourceNotFoundException", "Message": "no such secret"}'
    return 200, json.dumps({"Name": name, **kept[name]}).encode()


@pytest.fixture
def aws_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with serving(aws_answer) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", service.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        aws._client.cache_clear()
        yield service
        aws._client.cache_clear()


def test_aws_reads_a_secret_or_a_field_of_it(aws_service: Any) -> None:
    assert resolve("aws://llm/openai").reveal() == HIDDEN
    assert resolve("aws://llm/all#openai").reveal() == HIDDEN
    first = aws_service.asked[0]
    assert first.headers["x-amz-target"] == "secretsmanager.GetSecretValue"
    assert "us-east-1/secretsmanager" in first.headers["authorization"]


def test_aws_takes_the_region_of_an_arn(aws_service: Any) -> None:
    assert resolve(f"aws://{ARN}").reveal() == "of the region"
    assert "eu-west-3/secretsmanager" in aws_service.asked[0].headers["authorization"]


def test_aws_credentials_that_were_changed_count_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(asked: Asked) -> tuple[int, bytes]:
        if "AKIDNEW" not in asked.headers["authorization"]:
            return 400, b'{"__type": "ExpiredTokenException"}'
        return aws_answer(asked)

    with serving(answer) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", service.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOLD")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws._client.cache_clear()
        assert "ExpiredTokenException" in refused("aws://llm/openai")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNEW")
        assert resolve("aws://llm/openai").reveal() == HIDDEN
        aws._client.cache_clear()


@pytest.mark.usefixtures("aws_service")
def test_F04_what_aws_answers_goes_into_no_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-hidden-0123456789")
    with caplog.at_level(logging.DEBUG):
        assert resolve("aws://llm/openai").reveal() == HIDDEN
    assert "botocore" in caplog.text
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("aws://", "aws:// names no secret"),
        ("aws://gone", "aws://gone cannot be read: AWS answered ResourceNotFoundException"),
        ("aws://llm/bytes", "aws://llm/bytes holds bytes, not text"),
        ("aws://llm/openai#key", "aws://llm/openai is no JSON object, so it has no field 'key'"),
        ("aws://llm/all#other", "aws://llm/all has no text in a field 'other'"),
        ("aws://llm/all#n", "aws://llm/all has no text in a field 'n'"),
    ],
)
@pytest.mark.usefixtures("aws_service")
def test_aws_says_what_is_wrong(reference: str, reason: str) -> None:
    assert refused(reference) == reason


@pytest.mark.usefixtures("aws_service")
def test_aws_without_credentials_or_region_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "Unable to locate credentials" in refused("aws://llm/openai")
    aws._client.cache_clear()
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "region" in refused("aws://llm/openai")


def test_aws_that_cannot_be_reached_says_so(monkeypatch: pytest.MonkeyPatch, aws_service: Any) -> None:  # fmt: skip
    monkeypatch.setattr(aws, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    assert "Could not connect" in refused("aws://llm/openai")


# -- GCP: real credentials and their tokens at a loopback server, the service behind an adapter


class SecretManager(requests.adapters.BaseAdapter):
    """Answers as https://secretmanager.googleapis.com."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[requests.PreparedRequest] = []
        self.kept = {
            "https://secretmanager.googleapis.com/v1/projects/p/secrets/openai/versions/latest:access": HIDDEN,
            "https://secretmanager.googleapis.com/v1/projects/p/secrets/all/versions/3:access": json.dumps({"openai": HIDDEN}),
            "https://secretmanager.europe-west1.rep.googleapis.com/v1/projects/p/locations/europe-west1/secrets/s/versions/latest:access": "of the region",
        }  # fmt: skip

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        self.asked.append(request)
        answer, text = requests.Response(), self.kept.get(str(request.url))
        answer.request, answer.url = request, str(request.url)
        answer.status_code = 404 if text is None else 200
        data = {"payload": {"data": base64.b64encode((text or "").encode()).decode()}}
        answer.raw = io.BytesIO(json.dumps(data).encode())
        return answer

    def close(self) -> None:
        """Nothing is open."""


def account(token_uri: str) -> dict[str, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    return {"type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": pem,
            "client_email": "me@p.test", "client_id": "1", "token_uri": token_uri}  # fmt: skip


@pytest.fixture
def gcp_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    manager, path = SecretManager(), tmp_path / "account.json"
    get_adapter = requests.Session.get_adapter

    def chosen(session: requests.Session, url: str) -> Any:
        return manager if url.startswith("https://secretmanager.") else get_adapter(session, url)

    token = b'{"access_token": "ya29.token", "expires_in": 3600, "token_type": "Bearer"}'
    with serving(lambda asked: (200, token) if asked.path == "/ok" else (400, b'{"error": "invalid_grant"}')) as service:  # fmt: skip
        path.write_text(json.dumps(account(f"{service.url}/ok")))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        monkeypatch.setattr(requests.Session, "get_adapter", chosen)
        gcp._credentials.cache_clear()
        yield service, manager, path
        gcp._credentials.cache_clear()


def test_gcp_reads_a_secret_a_version_or_a_field(gcp_service: Any) -> None:
    service, manager, _ = gcp_service
    assert resolve("gcp://p/openai").reveal() == HIDDEN
    assert resolve("gcp://p/all/3#openai").reveal() == HIDDEN
    assert resolve("gcp://projects/p/secrets/openai/versions/latest").reveal() == HIDDEN
    assert resolve("gcp://projects/p/secrets/openai").reveal() == HIDDEN
    assert manager.asked[0].headers["authorization"] == "Bearer ya29.token"
    assert len(service.asked) == 1, "one token serves them all"


@pytest.mark.usefixtures("gcp_service")
def test_gcp_asks_a_regional_secret_of_its_region() -> None:
    assert resolve("gcp://projects/p/locations/europe-west1/secrets/s").reveal() == "of the region"


def test_gcp_says_what_is_wrong(gcp_service: Any) -> None:
    service, _, path = gcp_service
    assert "gcp://PROJECT/NAME" in refused("gcp://p")
    assert "gcp://PROJECT/NAME" in refused("gcp://")
    assert refused("gcp://p/gone") == "gcp://p/gone cannot be read: Google answered 404"
    path.write_text(json.dumps(account(f"{service.url}/refused")))
    gcp._credentials.cache_clear()
    assert "invalid_grant" in refused("gcp://p/openai")
    path.write_text(json.dumps(account(f"{service.url}/ok")))
    assert resolve("gcp://p/openai").reveal() == HIDDEN, "new credentials count at once"
    path.unlink()
    gcp._credentials.cache_clear()
    assert "account.json was not found" in refused("gcp://p/openai")


# -- Vault


def vault_answer(asked: Asked) -> tuple[int, bytes]:
    if asked.headers.get("x-vault-token") != HIDDEN:
        return 403, b'{"errors": ["permission denied"]}'
    kept: dict[str, Any] = {
        "/v1/secret/data/llm": {
            "data": {"openai": "sk-1", "anthropic": "sk-2"},
            "metadata": {"version": 3},
        },
        "/v1/old/llm": {"key": "sk-3"},
        "/v1/secret/data/number": {"data": {"key": 4}, "metadata": {}},
    }
    if asked.path not in kept:
        return 404, b'{"errors": []}'
    return 200, json.dumps({"data": kept[asked.path], "lease_duration": 0}).encode()


@pytest.fixture
def vault_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with serving(vault_answer) as service:
        monkeypatch.setenv("VAULT_ADDR", service.url)
        monkeypatch.setenv("VAULT_TOKEN", HIDDEN)
        monkeypatch.setenv("VAULT_NAMESPACE", "team")
        yield service


def test_vault_reads_a_field_of_either_kv_engine(vault_service: Any) -> None:
    assert resolve("vault://secret/data/llm#openai").reveal() == "sk-1"
    assert resolve("vault://secret/data/llm#anthropic").reveal() == "sk-2"
    assert resolve("vault://old/llm#key").reveal() == resolve("vault://old/llm").reveal() == "sk-3"
    assert vault_service.asked[0].headers["x-vault-namespace"] == "team"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("vault://", "vault:// names no path"),
        ("vault://secret/data/gone#key", "vault://secret/data/gone is not there"),
        ("vault://secret/data/llm#other", "vault://secret/data/llm has no text in a field 'other'"),
        ("vault://secret/data/llm", "vault://secret/data/llm has 2 fields: say which, as in vault://secret/data/llm#FIELD"),
        ("vault://secret/data/number", "vault://secret/data/number has no text in a field 'key'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("vault_service")
def test_vault_says_what_is_wrong(reference: str, reason: str) -> None:
    assert refused(reference) == reason


@pytest.mark.usefixtures("vault_service")
def test_vault_that_refuses_or_is_away_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "another")
    assert refused("vault://old/llm") == "vault://old/llm cannot be read: Vault answered Forbidden"
    monkeypatch.setattr(vault, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    assert refused("vault://old/llm") == "vault://old/llm cannot be read: ConnectionError"


# -- what is not installed, and what others bring


@pytest.mark.parametrize(
    ("reference", "package", "extra"),
    [
        ("keyring://llm/openai", "keyring", "keyring"),
        ("aws://llm", "botocore", "aws"),
        ("gcp://p/s", "google.auth", "gcp"),
        ("gcp://p/s", "requests", "gcp"),
        ("vault://p", "hvac", "vault"),
    ],
)
def test_a_missing_package_is_told_with_its_extra(
    reference: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    assert refused(reference).endswith(f"pip install 'llm_rotate[{extra}]'")


def test_no_vendors_package_is_imported_before_its_scheme_is_read() -> None:
    code = (
        "import sys; from llm_rotate.secrets import scheme_of, resolve; "
        "assert all(map(scheme_of, ['keyring://a', 'aws://a', 'gcp://a/b', 'vault://a'])); "
        "resolve('literal://a'); "
        "print([n for n in ('keyring', 'botocore', 'google.auth', 'hvac', 'requests') if n in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.fixture
def _another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed distribution with three schemes, one of which has gone missing."""
    (tmp_path / "house_safe.py").write_text(
        "def read(rest):\n    return 'sk-' + rest\n\n"
        f"def burst(rest):\n    raise ValueError('{HIDDEN}')\n"
    )
    info = tmp_path / "house_safe-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house-safe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[llm_rotate.secrets]\nsafe = house_safe:read\nburst = house_safe:burst\n"
        "lost = house_safe_gone:read\nenv = house_safe:read\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    schemes._others.cache_clear()
    yield
    schemes._others.cache_clear()


@pytest.mark.usefixtures("_another_package")
def test_another_package_brings_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("safe://seven").reveal() == "sk-seven"
    assert refused("burst://x") == "burst:// failed: ValueError"
    assert "comes from house_safe_gone:read, which cannot be imported" in refused("lost://x")
    monkeypatch.setenv("SOME_KEY", "ours")
    assert resolve("env://SOME_KEY").reveal() == "ours", "our own names are taken"
    assert set(schemes.SCHEMES) > {"safe", "vault", "env"}
    assert len(schemes.SCHEMES) == len(set(schemes.SCHEMES))
