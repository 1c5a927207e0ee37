"""URLs and redirects: followed, remembered, forgotten when they expire, never trusted."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from mirrornode.errors import SourceError, SourceGone, SourceRefused, TargetError
from mirrornode.sources.http_client import Endpoint
from mirrornode.sources.web import MAX_REDIRECTS, Moved, WebConnection, public_url, split_url
from support.raw_server import RawServer, Visit, raw_server

Routes = Callable[[str], tuple[str, str, bytes]]
"""Answers a path with (status line, header lines, body)."""


def serving(routes: Routes) -> Callable[[Visit], None]:
    def behaviour(visit: Visit) -> None:
        while head := visit.head():
            status, headers, body = routes(head.split(" ")[1])
            visit.answer(body, status=status, headers=headers)

    return behaviour


def moved_to(location: str, status: str = "302 Found") -> tuple[str, str, bytes]:
    return status, f"Location: {location}\r\n", b"moved"


def get(url: str, moved: Moved | None = None) -> tuple[int, bytes]:
    connection = WebConnection("http:test", moved or Moved())
    try:
        response = connection.request(url, {})
        return response.status, connection.read_all(1000)
    finally:
        connection.abort()


def paths(server: RawServer) -> list[str]:
    return [head.split(" ")[1] for head in server.requests]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temp", "308 Perm"])
def test_redirect_is_followed(status: str) -> None:
    def routes(path: str) -> tuple[str, str, bytes]:
        return moved_to("/b?sig=1", status) if path == "/a" else ("200 OK", "", b"there")

    with raw_server(serving(routes)) as server:
        assert get(f"{server.url}/a") == (200, b"there")
        assert paths(server) == ["/a", "/b?sig=1"]


def test_redirect_to_another_server_is_followed_and_remembered() -> None:
    with (
        raw_server(serving(lambda path: ("200 OK", "", path.encode()))) as far,
        raw_server(serving(lambda path: moved_to(f"{far.url}/signed"))) as near,
    ):
        moved = Moved()
        for _ in range(3):
            assert get(f"{near.url}/a", moved) == (200, b"/signed")
        assert len(near.requests) == 1
        assert len(far.requests) == 3


@pytest.mark.parametrize("location", ["b", "./b", "/d/b", "../d/b"])
def test_redirect_when_relative_then_resolved(location: str) -> None:
    def routes(path: str) -> tuple[str, str, bytes]:
        return moved_to(location) if path == "/d/a" else ("200 OK", "", path.encode())

    with raw_server(serving(routes)) as server:
        assert get(f"{server.url}/d/a") == (200, b"/d/b")


def test_signed_url_when_expired_then_the_first_url_is_asked_again() -> None:
    signatures = iter("12")

    def routes(path: str) -> tuple[str, str, bytes]:
        if path == "/a":
            return moved_to(f"/signed?{next(signatures)}")
        if path == "/signed?1" and len(server.requests) > 2:
            return "403 Forbidden", "", b"expired"
        return "200 OK", "", path.encode()

    with raw_server(serving(routes)) as server:
        moved = Moved()
        assert get(f"{server.url}/a", moved) == (200, b"/signed?1")
        assert get(f"{server.url}/a", moved) == (200, b"/signed?2")
        assert paths(server) == ["/a", "/signed?1", "/signed?1", "/a", "/signed?2"]


def test_status_when_the_first_url_says_no_then_returned_once() -> None:
    with raw_server(serving(lambda path: ("403 Forbidden", "", b"no"))) as server:
        assert get(f"{server.url}/a") == (403, b"no")
        assert len(server.requests) == 1


def test_redirect_loop_ends_refused() -> None:
    with raw_server(serving(lambda path: moved_to(path + "x"))) as server:
        with pytest.raises(SourceRefused, match="too many redirects"):
            get(f"{server.url}/a")
        assert len(server.requests) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "location",
    ["", "ftp://x/y", "javascript:alert(1)", "http://", "http://[bad/", "http://h:99999/",
     "file:///etc/passwd", "http://h:x/"],
)  # fmt: skip
def test_redirect_when_it_leads_nowhere_then_the_source_is_blamed(location: str) -> None:
    # Not a TargetError: the user did not type this, and the transfer must go on without it.
    with (
        raw_server(serving(lambda path: moved_to(location))) as server,
        pytest.raises(SourceRefused),
    ):
        get(f"{server.url}/a")


def test_login_goes_to_its_own_server_only() -> None:
    def routes(path: str) -> tuple[str, str, bytes]:
        return moved_to(f"{near.url}/b") if path == "/a" else moved_to(f"{far.url}/c")

    with (
        raw_server(serving(lambda path: ("200 OK", "", b"there"))) as far,
        raw_server(serving(routes)) as near,
    ):
        assert get(near.url.replace("//", "//me:s%40cret@") + "/a") == (200, b"there")
        expected = "Authorization: Basic " + base64.b64encode(b"me:s@cret").decode()
        assert [expected in head for head in near.requests] == [True, True]
        assert "Authorization" not in far.requests[0]


def test_redirect_to_https_is_tried_there() -> None:
    with (
        raw_server(lambda visit: visit.send(b"not TLS")) as far,
        raw_server(serving(lambda _: moved_to(f"https://127.0.0.1:{far.port}/"))) as near,
        pytest.raises(SourceGone),
    ):
        get(f"{near.url}/a")
    assert far.connections == 1


def test_abort_before_a_request_does_not_spoil_it() -> None:
    with raw_server(serving(lambda path: ("200 OK", "", b"x"))) as server:
        connection = WebConnection("http:test", Moved())
        connection.abort()
        assert connection.request(f"{server.url}/", {}).status == 200
        connection.abort()


@pytest.mark.parametrize(
    ("url", "endpoint", "target"),
    [
        ("http://h", Endpoint("http", "h", 80, use_proxy=True), "/"),
        ("https://H:1/a b?c=d e", Endpoint("https", "h", 1, use_proxy=True), "/a%20b?c=d%20e"),
        ("http://[::1]:5/a%20b", Endpoint("http", "::1", 5, use_proxy=True), "/a%20b"),
        ("http://h/é#part", Endpoint("http", "h", 80, use_proxy=True), "/%C3%A9"),
    ],
)
def test_split_url(url: str, endpoint: Endpoint, target: str) -> None:
    assert split_url(url) == (endpoint, target, {})


@pytest.mark.parametrize(
    "url",
    ["", "h", "ftp://h/", "http://", "http:///x", "http://h:x/", "http://h:70000/", "http://["],
)
def test_split_url_when_it_is_none_then_target_error(url: str) -> None:
    with pytest.raises(TargetError):
        split_url(url)


def test_public_url_shows_no_secret() -> None:
    assert public_url("https://me:pw@h:1/a?token=x#y") == "https://h:1/a"
    assert public_url("http://[::1]:5/") == "http://[::1]:5/"


def test_source_error_is_what_callers_catch() -> None:
    assert issubclass(SourceRefused, SourceError)
