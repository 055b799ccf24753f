"""Which transport the settings lead to, and that a proxy is really used."""

import asyncio

import pytest

from llm_rotate.core.outcome import Outcome
from llm_rotate.core.wire import HttpRequest
from llm_rotate.engine.transport.choose import HttpSettings, open_transport
from llm_rotate.engine.transport.lean import LeanTransport
from llm_rotate.engine.transport.seam import Timeouts, TransportError
from tests.wire_server import answering, ok, run, serving

QUICK = Timeouts(connect=1, first_byte=1, first_event=1, idle=1)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def fetch(transport, url):
    answer = await transport.send(HttpRequest("POST", url, (), b"{}"), QUICK, lambda: True)
    return await answer.read(1)


def test_without_proxies_it_is_the_lean_one():
    assert isinstance(open_transport(HttpSettings()), LeanTransport)


def test_the_environment_is_left_alone_if_told_so(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    assert isinstance(open_transport(HttpSettings(trust_env=False)), LeanTransport)
    assert not isinstance(open_transport(HttpSettings()), LeanTransport)


def through_proxy(prepare, url="http://provider.invalid/v1"):
    """Where the request arrived: the targets that the proxy and the server saw."""

    async def check():
        cookie = ok(b"proxied", b"Set-Cookie: a=b; Path=/")
        async with serving(answering(cookie)) as proxy, serving(answering(ok())) as direct:
            address = f"127.0.0.1:{proxy.port}"
            transport = open_transport(prepare(address))
            await fetch(transport, url or direct.url)
            await fetch(transport, url or direct.url)
            await transport.aclose()
            assert not any("cookie" in request.headers for request in proxy.requests)
            await proxy.settled()
            await direct.settled()
            return [r.target for r in proxy.requests], [r.target for r in direct.requests]

    return run(check())


def test_a_given_proxy_carries_everything():
    seen = through_proxy(lambda address: HttpSettings(proxy=f"http://{address}"))
    assert seen == (["http://provider.invalid/v1"] * 2, [])


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environment_names_the_proxy(monkeypatch, name, scheme):
    def prepare(address):
        monkeypatch.setenv(name, scheme + address)
        return HttpSettings()

    assert through_proxy(prepare) == (["http://provider.invalid/v1"] * 2, [])


def test_a_proxy_for_https_leaves_http_alone(monkeypatch):
    def prepare(address):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        return HttpSettings()

    assert through_proxy(prepare, url=None) == ([], ["/v1/chat"] * 2)


def test_no_proxy_is_honoured(monkeypatch):
    def prepare(address):
        monkeypatch.setenv("ALL_PROXY", f"http://{address}")
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        return HttpSettings()

    assert through_proxy(prepare, url=None) == ([], ["/v1/chat"] * 2)


def test_https_goes_through_a_tunnel_and_a_refused_tunnel_is_unreachable():
    async def check():
        refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        async with serving(answering(refusal)) as proxy:
            transport = open_transport(
                HttpSettings(proxy=f"http://u:hidden@127.0.0.1:{proxy.port}")
            )
            with pytest.raises(TransportError) as caught:
                await fetch(transport, "https://provider.invalid/v1")
            assert caught.value.outcome is Outcome.UNREACHABLE
            assert "hidden" not in repr(caught.value) + repr(caught.value.__cause__)
            assert proxy.requests[0].method == "CONNECT"
            assert proxy.requests[0].target == "provider.invalid:443"
            await transport.aclose()

    run(check())


@pytest.mark.parametrize("proxy", ["nonsense://u:hidden@h:1", "http://u:hidden@h:no"])
def test_a_proxy_that_cannot_be_used_says_so_without_its_password(proxy):
    async def check():
        settings = HttpSettings(proxy=proxy)
        assert "hidden" not in repr(settings)
        transport = open_transport(settings)
        with pytest.raises(TransportError) as caught:
            await fetch(transport, "https://provider.invalid/v1")
        assert caught.value.outcome is Outcome.UNREACHABLE
        assert "hidden" not in repr(caught.value)
        assert caught.value.__cause__ is None
        await transport.aclose()

    run(check())


def test_nothing_is_opened_before_the_first_call():
    async def check():
        async with serving(answering(ok())) as proxy:
            transport = open_transport(HttpSettings(proxy=f"http://127.0.0.1:{proxy.port}"))
            await asyncio.sleep(0.01)
            transport.abort()
            assert proxy.accepted == 0

    run(check())
