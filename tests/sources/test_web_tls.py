"""TLS to mirrors: the company's CA is believed, everybody else is refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode.errors import SourceError, SourceRefused
from mirrornode.sources.web import Moved, WebConnection
from mirrornode.sources.web_tls import CA_VARIABLES
from support.certificates import Authority, make_authority, server_context
from support.faulty_server import faulty_server

FILES = {"m.bin": b"model"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(autouse=True)
def no_ca_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def get(url: str, private: dict[str, str] | None = None) -> bytes:
    connection = WebConnection("http:test", Moved())
    try:
        connection.request(url, {}, private=private or {})
        return connection.read_all(100)
    finally:
        connection.abort()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_server_when_the_environment_names_its_ca_then_believed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(authority.path))
    with faulty_server(FILES, context=server_context(tmp_path, authority)) as server:
        assert get(f"{server.url}/m.bin") == b"model"


@pytest.mark.parametrize(
    ("names", "days", "is_signed", "is_known", "reason"),
    [
        (("127.0.0.1",), 10, False, False, "certificate is self-signed; set SSL_CERT_FILE or "
         "REQUESTS_CA_BUNDLE to your company's CA file"),
        (("127.0.0.1",), 10, True, False, "certificate is signed by an authority that is not "
         "known here; set SSL_CERT_FILE or REQUESTS_CA_BUNDLE"),
        (("127.0.0.1",), -1, True, True, "certificate has expired"),
        (("other.test",), 10, True, True, "certificate is another host's"),
        (("10.0.0.1",), 10, True, True, "certificate is another host's"),
    ],
    ids=["self-signed", "unknown authority", "expired", "wrong host", "wrong address"],
)  # fmt: skip
def test_server_when_its_certificate_is_no_good_then_refused_with_what_to_do(
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    days: int,
    is_signed: bool,
    is_known: bool,
    reason: str,
) -> None:
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    context = server_context(tmp_path, authority if is_signed else None, names=names, days=days)
    with faulty_server(FILES, context=context) as server:
        with pytest.raises(SourceRefused) as caught:
            get(f"{server.url}/m.bin")
        assert str(caught.value).startswith(reason)
        assert not server.requests


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "no certificates"])
def test_ca_file_when_it_is_unusable_then_it_is_named(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    path = tmp_path / "bundle.pem"
    if is_there:
        path.write_text("nothing")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with (
        faulty_server(FILES, context=server_context(tmp_path, authority)) as server,
        pytest.raises(SourceError, match=r"bundle\.pem"),
    ):
        get(f"{server.url}/m.bin")


def test_redirect_from_https_to_http_carries_no_private_header(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    context = server_context(tmp_path, authority)
    with faulty_server(FILES) as plain:
        move = f"move:{plain.url}/m.bin"
        with faulty_server(FILES, move, context=context) as secure:
            url = secure.url.replace("//", "//me:secret@") + "/m.bin"
            assert get(url, {"X-Token": "private"}) == b"model"
            assert "X-Token: private" in secure.requests[0].head
            assert "Authorization" in secure.requests[0].head
        assert "X-Token" not in plain.requests[0].head
        assert "Authorization" not in plain.requests[0].head
