"""Company proxies: found in the environment, logged in to, tunnelled through, blamed by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode.errors import SourceGone, SourceRefused
from mirrornode.sources.http_client import Endpoint, HttpConnection
from mirrornode.sources.proxy import proxy_for
from mirrornode.sources.web import Moved, WebConnection
from support.certificates import make_authority, server_context
from support.faulty_server import faulty_server
from support.raw_server import Visit, raw_server
from support.stand_in_proxy import stand_in_proxy

FILES = {"m.bin": b"model"}
HOST = "models.test"  # no such host: only the proxy can lead there


@pytest.fixture(autouse=True)
def no_proxy_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def get(url: str) -> tuple[int, bytes]:
    connection = WebConnection("http:test", Moved())
    try:
        response = connection.request(url, {})
        return response.status, connection.read_all(100)
    finally:
        connection.abort()


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("login", ["", "me:p@ss word"])
def test_http_goes_through_the_proxy_with_its_login(
    monkeypatch: pytest.MonkeyPatch, variable: str, login: str
) -> None:
    with faulty_server(FILES) as server, stand_in_proxy(port_of(server.url), login=login) as proxy:
        user = "me:p%40ss%20word@" if login else ""
        monkeypatch.setenv(variable, f"http://{user}{proxy.address}")
        assert get(f"http://{HOST}/m.bin") == (200, b"model")
        assert proxy.places == [f"http://{HOST}/m.bin"]
        assert "Proxy-Authorization" not in server.requests[0].head
        assert f"Host: {HOST}" in server.requests[0].head


@pytest.mark.parametrize("login", ["", "me:secret"])
def test_https_goes_through_a_tunnel_with_its_login(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, login: str
) -> None:
    authority = make_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    context = server_context(tmp_path, authority, names=(HOST,))
    with (
        faulty_server(FILES, context=context) as server,
        stand_in_proxy(port_of(server.url), login=login) as proxy,
    ):
        monkeypatch.setenv("https_proxy", f"http://{login and login + '@'}{proxy.address}")
        assert get(f"https://{HOST}/m.bin") == (200, b"model")
        assert proxy.places == [f"{HOST}:443"]
        # The proxy's login is for the proxy.
        assert "Proxy-Authorization" not in server.requests[0].head


def test_round_trip_when_over_a_proxy_then_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_server(FILES) as server, stand_in_proxy(port_of(server.url)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        connection = HttpConnection(Endpoint("http", HOST, 80, use_proxy=True), "http:test")
        connection.connect()
        assert connection.is_open
        assert connection.round_trip_s is None  # the kernel knows the way to the proxy only
        connection.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("user", "what"), [("", "asks for a login"), ("me:old@", "does not accept the login")]
)
def test_proxy_when_it_answers_407_then_said_what_to_do(
    monkeypatch: pytest.MonkeyPatch, scheme: str, user: str, what: str
) -> None:
    with stand_in_proxy(1, login="me:new") as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://{user}{proxy.address}")
        with pytest.raises(SourceRefused) as caught:
            get(f"{scheme}://{HOST}/m.bin")
    assert str(caught.value) == (
        f"cannot be reached: proxy {proxy.address} {what}"
        f"{' it was given' if user else ''} (407); put a login for it into the proxy's URL, "
        "as in http://USER:PASSWORD@HOST:PORT"
    )


@pytest.mark.parametrize(("refusal", "status"), [("403 Forbidden", 0), ("502 Bad Gateway", 502)])
def test_proxy_when_it_gives_no_tunnel_then_its_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, refusal: str, status: int
) -> None:
    with stand_in_proxy(1, refusal=refusal) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")
        with pytest.raises(SourceRefused, match=f"proxy {proxy.address} answered {refusal}") as got:
            get(f"https://{HOST}/m.bin")
    assert got.value.status == status


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nearly", b"x" * 70_000],
    ids=["nothing", "no http", "early bytes", "endless"],
)  # fmt: skip
def test_proxy_when_it_answers_nonsense_then_source_gone(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.send(answer)

    with raw_server(behaviour) as server:
        monkeypatch.setenv("https_proxy", server.url)
        with pytest.raises(SourceGone):
            get(f"https://{HOST}/m.bin")


@pytest.mark.parametrize("url", ["socks5://h:1", "https://h:1", "http://", "http://h:x"])
def test_proxy_when_it_is_of_another_kind_then_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("http_proxy", url)
    with pytest.raises(SourceRefused, match="http_proxy must be"):
        proxy_for("http", HOST, 80, "http:test")


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("", "models.test", False),
        ("*", "models.test", True),
        ("models.test", "models.test", True),
        (".test", "models.test", True),
        ("test", "models.test", True),
        ("other.test, models.test:80", "models.test", True),
        ("models.test:81", "models.test", False),
        ("els.test", "models.test", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "fd00::1", True),
        ("", "127.0.0.1", True),
        ("", "::1", True),
        ("", "localhost", True),
    ],
)
def test_no_proxy_names_who_is_asked_directly(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, host: str, is_direct: bool
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert (proxy_for("http", host, 80, "http:test") is None) == is_direct
