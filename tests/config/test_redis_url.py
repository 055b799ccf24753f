"""Where the shared state is: every spelling, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from llm_rotate import ConfigurationError, LMRotateConfig
from llm_rotate.config.redis_url import redis_address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", {"kind": "one", "nodes": (("localhost", 6379),), "db": 0}),
        ("redis://h:1/2", {"nodes": (("h", 1),), "db": 2, "is_tls": False}),
        ("rediss://u:p%40x@h:1", {"is_tls": True, "username": "u", "password": "p@x"}),
        ("redis://:word@h", {"username": None, "password": "word"}),
        ("redis://[::1]:7", {"nodes": (("::1", 7),)}),
        ("unix:///run/r.sock?db=4", {"kind": "unix", "path": "/run/r.sock", "db": 4}),
        ("unix://u:p@/run/r.sock", {"path": "/run/r.sock", "username": "u", "password": "p"}),
        (
            "redis+sentinel://:p@a,b:1/main/3",
            {
                "kind": "sentinel",
                "nodes": (("a", 26379), ("b", 1)),
                "service": "main",
                "db": 3,
                "password": "p",
            },
        ),
        (
            "rediss+cluster://a:1,b",
            {"kind": "cluster", "nodes": (("a", 1), ("b", 6379)), "is_tls": True},
        ),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            {"options": {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}},
        ),
    ],
)
def test_each_spelling(url: str, expected: dict[str, Any]) -> None:
    address = redis_address(url)
    assert {name: getattr(address, name) for name in expected} == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://h",
        "redis://h/word",
        "redis://h:port",
        "redis://a,b",
        "redis://h/0/1",
        "redis://h?timeout=5",
        "redis+sentinel://a",
        "redis+cluster://a/3",
        "redis+other://a",
        "unix://",
    ],
)
def test_what_is_none_is_said_without_showing_it(url: str) -> None:
    url = url.replace("://", "://user:sesame@") if "://" in url else url + "sesame"
    with pytest.raises(ConfigurationError, match="redis_url") as caught:
        LMRotateConfig.model_validate({"state_store": {"redis_url": url}})
    assert "redis+sentinel://" in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_the_password_is_shown_nowhere() -> None:
    url = "redis+cluster://user:sesame@a:1,b:2"
    config = LMRotateConfig.model_validate({"state_store": {"redis_url": url}})
    shown = [
        repr(config),
        config.model_dump_json(),
        repr(redis_address(url)),
        str(redis_address(url)),
    ]
    assert all("sesame" not in text for text in shown)
    assert str(redis_address(url)) == "a:1,b:2"


@pytest.mark.parametrize("name", ["", "two words", "a{b}"])
def test_a_namespace_is_one_plain_word(name: str) -> None:
    with pytest.raises(ConfigurationError, match="redis_namespace: must be a name such as"):
        LMRotateConfig.model_validate({"state_store": {"redis_namespace": name}})
