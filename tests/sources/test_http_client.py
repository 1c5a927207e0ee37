"""The blocking HTTP connection: reuse, pins, timeouts, aborts; every fault is a SourceError."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrornode.errors import SourceError, SourceGone, SourceRefused, SourceTooSlow
from mirrornode.gateway.certificate import PlaneCertificate, load_or_create_certificate
from mirrornode.sources.http_client import MAX_INTERIM, READ_TIMEOUT_S, Endpoint, HttpConnection
from mirrornode.sources.sealed_stream import SealedStream
from mirrornode.sources.socket_stream import SocketStream
from mirrornode.wire import sealed
from support.raw_server import Visit, raw_server

SHORT_S = 0.1


def connect(port: int, *, read_timeout_s: float = READ_TIMEOUT_S) -> HttpConnection:
    endpoint = Endpoint("http", "127.0.0.1", port)
    return HttpConnection(endpoint, "http:test", read_timeout_s=read_timeout_s)


def body_of(connection: HttpConnection, target: str = "/") -> bytes:
    connection.request(target, {})
    return connection.read_all(1 << 20)


def hello(visit: Visit) -> None:
    while visit.head():
        visit.answer(b"hello")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> PlaneCertificate:
    return load_or_create_certificate(tmp_path_factory.mktemp("home"))


def test_connection_is_reused_for_the_next_request() -> None:
    with raw_server(hello) as server:
        connection = connect(server.port)
        assert [body_of(connection, f"/{n}") for n in range(3)] == [b"hello"] * 3
        assert server.connections == 1
        connection.abort()


def test_connection_is_reused_when_a_small_rest_is_unread() -> None:
    with raw_server(hello) as server:
        connection = connect(server.port)
        connection.request("/", {})
        connection.finish()
        assert body_of(connection) == b"hello"
        assert server.connections == 1
        connection.abort()


def test_connection_is_closed_when_a_large_rest_is_unread() -> None:
    def large(visit: Visit) -> None:
        while visit.head():
            visit.answer(bytes(1 << 20) if visit.number == 1 else b"small")

    with raw_server(large) as server:
        connection = connect(server.port)
        connection.request("/", {})
        assert body_of(connection) == b"small"
        assert server.connections == 2
        connection.abort()


def test_request_when_server_closed_the_idle_connection_then_connects_anew() -> None:
    def one_each(visit: Visit) -> None:
        visit.head()
        visit.answer(b"hello")

    with raw_server(one_each) as server:
        connection = connect(server.port)
        assert [body_of(connection) for _ in range(3)] == [b"hello"] * 3
        assert server.connections == 3
        connection.abort()


def test_request_when_server_says_close_then_connects_anew() -> None:
    def closing(visit: Visit) -> None:
        visit.head()
        visit.answer(b"hello", headers="Connection: close\r\n")

    with raw_server(closing) as server:
        connection = connect(server.port)
        assert body_of(connection) == b"hello"
        assert not connection.is_open
        assert body_of(connection) == b"hello"
        connection.abort()


def test_request_when_fresh_connection_breaks_then_source_gone_and_no_retry() -> None:
    with raw_server(lambda visit: None) as server:
        with pytest.raises(SourceGone) as caught:
            body_of(connect(server.port))
        assert caught.value.source_id == "http:test"
        assert server.connections == 1


def silent(visit: Visit) -> None:
    visit.head()
    visit.hang()


def silent_in_body(visit: Visit) -> None:
    visit.head()
    visit.answer(b"some", length=100)
    visit.hang()


@pytest.mark.parametrize("behaviour", [silent, silent_in_body])
def test_request_when_server_stalls_then_too_slow(behaviour: Callable[[Visit], None]) -> None:
    with raw_server(behaviour) as server, pytest.raises(SourceTooSlow):
        body_of(connect(server.port, read_timeout_s=SHORT_S))


def test_request_when_port_is_closed_then_source_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceGone):
        body_of(connect(port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300])
def test_request_when_host_has_no_address_then_source_gone(host: str) -> None:
    with pytest.raises(SourceGone):
        body_of(HttpConnection(Endpoint("http", host, 80), "http:test"))


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["not http", "no status", "many headers", "long header", "bad chunk", "cut chunk"],
)
def test_request_when_answer_is_no_http_then_source_gone(head: bytes) -> None:
    def speak(visit: Visit) -> None:
        visit.head()
        visit.send(head)

    with raw_server(speak) as server, pytest.raises(SourceGone):
        body_of(connect(server.port))


def test_body_when_shorter_than_said_then_source_gone_not_a_short_body() -> None:
    def short(visit: Visit) -> None:
        visit.head()
        visit.answer(b"12345", length=10)

    with raw_server(short) as server:
        with pytest.raises(SourceGone):
            body_of(connect(server.port))
        connection = connect(server.port)
        connection.request("/", {})
        with pytest.raises(SourceGone):
            connection.read_into(memoryview(bytearray(10)))


def test_body_when_larger_than_allowed_then_refused() -> None:
    with raw_server(hello) as server:
        connection = connect(server.port)
        connection.request("/", {})
        assert connection.read_all(5) == b"hello"
        connection.request("/", {})
        with pytest.raises(SourceRefused):
            connection.read_all(4)
        assert body_of(connection) == b"hello"
        connection.abort()


@pytest.mark.parametrize("header", ["a\r\nb", "caf\u00e9\u4e2d"])
def test_request_when_header_cannot_be_sent_then_source_gone(header: str) -> None:
    with raw_server(hello) as server, pytest.raises(SourceGone):
        connect(server.port).request("/", {"Authorization": header})


def test_read_when_no_response_is_open_then_source_gone() -> None:
    with pytest.raises(SourceGone):
        connect(1).read_all(1)


def test_received_bytes_grow_with_every_receive_of_a_body() -> None:
    steps = [threading.Event() for _ in range(3)]

    def drip(visit: Visit) -> None:
        visit.head()
        visit.answer(length=30)
        for step in steps:
            step.wait()
            visit.send(b"0123456789")

    with raw_server(drip) as server:
        connection = connect(server.port)
        connection.request("/", {})
        thread = threading.Thread(
            target=lambda: connection.read_into(memoryview(bytearray(30))), daemon=True
        )
        thread.start()
        for count, step in enumerate(steps, 1):
            assert connection.received_bytes == 10 * (count - 1)
            step.set()
            while connection.received_bytes < 10 * count:
                pass
        thread.join()
        connection.abort()
        assert connection.received_bytes == 30


def test_received_bytes_do_not_count_heads_and_error_pages() -> None:
    with raw_server(hello) as server:
        connection = connect(server.port)
        for _ in range(3):
            connection.request("/", {})
            connection.finish()
        assert connection.received_bytes == 0
        assert body_of(connection) == b"hello"
        assert connection.received_bytes == 0
        connection.abort()


@pytest.mark.parametrize("interim", [b"100 Continue", b"103 Early Hints", b"102 Processing"])
def test_interim_answers_are_skipped_up_to_a_number(interim: bytes) -> None:
    def chatty(visit: Visit) -> None:
        while head := visit.head():
            count = int(head.split(" ")[1].lstrip("/"))
            visit.send((b"HTTP/1.1 " + interim + b"\r\nLink: x\r\n\r\n") * count)
            visit.answer(b"hello")

    with raw_server(chatty) as server:
        connection = connect(server.port)
        assert body_of(connection, "/3") == b"hello"
        assert body_of(connection, "/0") == b"hello"
        if interim != b"100 Continue":
            with pytest.raises(SourceGone):
                body_of(connection, f"/{MAX_INTERIM + 1}")
        connection.abort()


def test_stream_when_its_deadline_is_over_then_even_trickling_bytes_do_not_help() -> None:
    left, right = socket.socketpair()
    stream = SocketStream(left)
    right.send(b"ab")
    assert stream.read_into(memoryview(bytearray(1))) == 1
    stream.deadline = time.monotonic() - 1.0
    with pytest.raises(TimeoutError):
        stream.read_into(memoryview(bytearray(1)))
    stream.close()
    right.close()


# -- TLS -----------------------------------------------------------------------------------------


def pinned(port: int, pin: bytes) -> HttpConnection:
    return HttpConnection(Endpoint("https", "127.0.0.1", port, pin=pin), "peer:test")


def test_pin_when_certificate_is_the_right_one_then_accepted(certificate: PlaneCertificate) -> None:
    with raw_server(hello, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        assert [body_of(connection) for _ in range(2)] == [b"hello"] * 2
        assert server.connections == 1
        connection.abort()


def test_pin_when_certificate_is_another_then_refused_before_anything_is_sent(
    certificate: PlaneCertificate,
) -> None:
    with raw_server(hello, context=certificate.context) as server:
        with pytest.raises(SourceRefused):
            body_of(pinned(server.port, hashlib.sha256(b"other").digest()))
        assert server.requests == []


def test_pin_is_checked_again_when_the_server_closed_the_connection(
    certificate: PlaneCertificate, tmp_path: Path
) -> None:
    # The second connection meets somebody else: no bearer may reach them.
    impostor = load_or_create_certificate(tmp_path).context
    contexts = [certificate.context, impostor]

    def close_after_one(visit: Visit) -> None:
        with contexts[visit.number - 1].wrap_socket(visit.sock, server_side=True) as sock:
            secure = Visit(visit.server, sock, visit.number)
            secure.head()
            secure.answer(b"hello", headers="Connection: close\r\n")

    with raw_server(close_after_one) as server:
        connection = pinned(server.port, certificate.sha256)
        assert body_of(connection) == b"hello"
        with pytest.raises(SourceRefused):
            body_of(connection)
        assert len(server.requests) == 1


BEARER = {"Authorization": "Bearer x"}


def test_seal_when_the_peer_knows_none_then_asked_once_and_tls_goes_on(
    certificate: PlaneCertificate,
) -> None:
    def without_seal(visit: Visit) -> None:
        while head := visit.head():
            is_asked = head.startswith(f"GET {sealed.PATH} ")
            visit.answer(b"" if is_asked else b"hello", status="404 No" if is_asked else "200 OK")

    with raw_server(without_seal, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        for _ in range(3):
            connection.request("/", BEARER)
            assert connection.read_all(100) == b"hello"
        asked = [head.split(" ")[1] for head in server.requests]
        assert asked == [sealed.PATH, "/", "/", "/"]
        assert server.connections == 1
        connection.abort()


def test_seal_when_the_peer_closes_over_it_then_connected_anew_without(
    certificate: PlaneCertificate,
) -> None:
    def closing(visit: Visit) -> None:
        if visit.head().startswith(f"GET {sealed.PATH} "):
            visit.answer(b"no", status="400 No", headers="Connection: close\r\n")
            return
        visit.answer(b"hello")

    with raw_server(closing, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        connection.request("/", BEARER)
        assert connection.read_all(100) == b"hello"
        assert server.connections == 2
        connection.abort()


SECRET_LINE = f"{sealed.SECRET_HEADER}: {sealed.encode_secret(bytes(32))}\r\n"
UPGRADE_LINES = f"Connection: Upgrade\r\nUpgrade: {sealed.PROTOCOL}\r\n"


@pytest.mark.parametrize(
    "agreement",
    [
        UPGRADE_LINES,  # no secret
        f"{UPGRADE_LINES}{sealed.SECRET_HEADER}: none\r\n",
        SECRET_LINE,
        f"Upgrade: h2c\r\n{SECRET_LINE}",
        f"Connection: close\r\nUpgrade: {sealed.PROTOCOL}\r\n{SECRET_LINE}",
    ],
)
def test_seal_when_what_the_peer_agrees_to_is_none_then_source_gone(
    certificate: PlaneCertificate, agreement: str
) -> None:
    def odd(visit: Visit) -> None:
        visit.head()
        visit.send(f"HTTP/1.1 101 Switching Protocols\r\n{agreement}\r\n".encode())
        visit.hang()

    with raw_server(odd, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        with pytest.raises(SourceGone, match=r"secret|agreement"):
            connection.request("/", BEARER)
        assert not connection.is_open


def sealing(visit: Visit) -> SealedStream:
    """Agree to seal, and read the first request that is."""
    asked = visit.head()
    theirs = asked.partition(f"{sealed.SECRET_HEADER}: ")[2].partition("\r\n")[0]
    lines = UPGRADE_LINES + SECRET_LINE
    visit.send(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode())
    assert isinstance(visit.sock, ssl.SSLSocket)
    plain = socket.socket(fileno=visit.sock.detach())
    plain.settimeout(10)
    stream = SealedStream(plain, sealed.decode_secret(theirs), bytes(32), is_asker=False)
    with stream.makefile("rb") as reader:
        assert reader.readline() == b"GET / HTTP/1.1\r\n"
    return stream


def test_sealed_answer_when_it_names_no_length_then_source_gone(
    certificate: PlaneCertificate,
) -> None:
    def endless(visit: Visit) -> None:
        stream = sealing(visit)
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\nfirst half")
        stream.close()

    with raw_server(endless, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        with pytest.raises(SourceGone, match="names no length"):
            connection.request("/", BEARER)


def test_sealed_answer_when_a_frame_comes_in_crumbs_then_bounded_as_a_whole(
    certificate: PlaneCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirrornode.sources.http_client.ANSWER_TIMEOUT_S", SHORT_S)

    def drip(visit: Visit) -> None:
        stream = sealing(visit)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
        stream._sock.sendall((200_016).to_bytes(4, "big"))
        while not visit.server.stopped.wait(0.01):
            try:
                stream._sock.sendall(b"x")
            except OSError:
                break
        stream.close()

    with raw_server(drip, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        connection.request("/", BEARER)
        with pytest.raises(SourceTooSlow):
            connection.read_all(1 << 20)


def test_seal_when_refused_for_now_then_the_next_connection_is_sealed(
    certificate: PlaneCertificate,
) -> None:
    body = bytes(300_000)

    def later(visit: Visit) -> None:
        if visit.number == 1:
            visit.head()
            visit.answer(b"", status="503 Later")
            visit.head()
            visit.answer(body, headers="Connection: close\r\n")
            return
        stream = sealing(visit)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsealed")

    with raw_server(later, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        connection.request("/", BEARER)
        connection.read_into(memoryview(bytearray(len(body))))
        received = connection.received_bytes
        assert received > len(body) // 2
        connection.request("/", BEARER)
        assert connection.read_all(100) == b"sealed"
        assert connection.received_bytes >= received
        assert [head.split(" ")[1] for head in server.requests] == [sealed.PATH, "/", sealed.PATH]
        connection.abort()


def test_seal_when_what_follows_is_not_sealed_then_source_gone(
    certificate: PlaneCertificate,
) -> None:
    def unsealed(visit: Visit) -> None:
        visit.head()
        lines = UPGRADE_LINES + SECRET_LINE
        visit.send(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode())
        assert isinstance(visit.sock, ssl.SSLSocket)
        with socket.socket(fileno=visit.sock.detach()) as plain:
            plain.settimeout(10)
            request = plain.recv(65536)
            assert b"GET / " not in request
            assert b"Bearer" not in request
            plain.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with raw_server(unsealed, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        with pytest.raises(SourceGone, match="frame"):
            connection.request("/", BEARER)


def test_seal_when_there_is_no_bearer_or_no_pin_then_not_asked_for(
    certificate: PlaneCertificate,
) -> None:
    with raw_server(hello, context=certificate.context) as secure, raw_server(hello) as plain:
        connection = pinned(secure.port, certificate.sha256)
        assert body_of(connection) == b"hello"
        other = connect(plain.port)
        other.request("/", BEARER)
        assert other.read_all(100) == b"hello"
        assert len(secure.requests) == len(plain.requests) == 1
        connection.abort()
        other.abort()


def test_web_when_certificate_is_self_signed_then_refused(certificate: PlaneCertificate) -> None:
    with raw_server(hello, context=certificate.context) as server:
        endpoint = Endpoint("https", "127.0.0.1", server.port)
        with pytest.raises(SourceRefused, match="certificate"):
            body_of(HttpConnection(endpoint, "http:test"))


def test_https_when_server_speaks_plain_then_source_gone() -> None:
    def plain(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with raw_server(plain) as server, pytest.raises(SourceGone):
        body_of(pinned(server.port, b"p" * 32))


def test_pinned_answer_that_ends_with_its_connection_comes_whole(
    certificate: PlaneCertificate,
) -> None:
    body = bytes(range(256)) * 8192

    def closing(visit: Visit) -> None:
        visit.head()
        visit.answer(body, headers="Connection: close\r\n")

    with raw_server(closing, context=certificate.context) as server:
        connection = pinned(server.port, certificate.sha256)
        connection.request("/", {})
        assert connection.read_all(len(body)) == body
        connection.request("/", {})
        view = memoryview(bytearray(len(body)))
        connection.read_into(view)
        assert view == body
        connection.abort()


def test_pinned_answer_when_it_is_cut_then_source_gone(certificate: PlaneCertificate) -> None:
    def cutting(visit: Visit) -> None:
        visit.head()
        visit.answer(b"12345", length=10)

    with (
        raw_server(cutting, context=certificate.context) as server,
        pytest.raises(SourceGone),
    ):
        body_of(pinned(server.port, certificate.sha256))


# -- abort ---------------------------------------------------------------------------------------


def failure_of(work: Callable[[], object]) -> tuple[threading.Thread, list[SourceError]]:
    """Run `work` in a thread and collect the error it ends with."""
    failures: list[SourceError] = []

    def run() -> None:
        try:
            work()
        except SourceError as exc:
            failures.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, failures


@pytest.mark.parametrize("behaviour", [silent, silent_in_body])
@pytest.mark.parametrize("is_reused", [False, True])
def test_abort_from_another_thread_wakes_a_reader_for_good(
    behaviour: Callable[[Visit], None], is_reused: bool
) -> None:
    def first_then_silent(visit: Visit) -> None:
        if is_reused and visit.number == 1:
            visit.head()
            visit.answer(b"hello")
            visit.server.asked.clear()
        behaviour(visit)

    with raw_server(first_then_silent) as server:
        connection = connect(server.port)
        started = threading.Event()

        def work() -> None:
            if is_reused:
                body_of(connection)
            started.set()
            body_of(connection)

        thread, failures = failure_of(work)
        started.wait()
        server.asked.wait()
        connection.abort()
        thread.join()
        assert [type(failure) for failure in failures] == [SourceGone]
        # A request that was broken off on purpose is not sent a second time.
        assert server.connections == 1


def test_abort_wakes_a_reader_when_the_answer_ends_with_its_connection() -> None:
    def old_server(visit: Visit) -> None:
        visit.head()
        visit.send(b"HTTP/1.0 200 OK\r\n\r\nsome")
        visit.hang()

    with raw_server(old_server) as server:
        connection = connect(server.port)
        reading = threading.Event()

        def work() -> None:
            connection.request("/", {})
            connection.read_into(memoryview(bytearray(4)))
            reading.set()
            connection.read_into(memoryview(bytearray(4)))

        thread, failures = failure_of(work)
        reading.wait()
        connection.abort()
        thread.join()
        assert len(failures) == 1


def test_abort_wakes_a_connect_that_nobody_answers() -> None:
    # A listener whose queue is full: further handshakes get no answer.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            waiting.append(sock)
        connection = connect(port)
        thread, failures = failure_of(lambda: body_of(connection))
        while thread.is_alive():
            connection.abort()
            thread.join(0.01)
        assert [type(failure) for failure in failures] == [SourceGone]
        for sock in waiting:
            sock.close()


def test_abort_wakes_a_tls_handshake() -> None:
    with raw_server(Visit.hang) as server:
        connection = pinned(server.port, b"p" * 32)
        thread, failures = failure_of(lambda: body_of(connection))
        while thread.is_alive():
            connection.abort()
            thread.join(0.01)
        assert [type(failure) for failure in failures] == [SourceGone]


def test_connection_after_abort_can_be_used_again() -> None:
    with raw_server(hello) as server:
        connection = connect(server.port)
        assert body_of(connection) == b"hello"
        connection.abort()
        assert body_of(connection) == b"hello"
        other = threading.Thread(target=connection.abort)
        other.start()
        other.join()
        assert body_of(connection) == b"hello"
        connection.abort()


def test_no_socket_is_left_open(recwarn: pytest.WarningsRecorder) -> None:
    def fail(visit: Visit) -> None:
        visit.head()
        visit.answer(b"x", length=2)

    with raw_server(fail) as server:
        for _ in range(3):
            with pytest.raises(SourceGone):
                body_of(connect(server.port))
        connection = connect(server.port)
        connection.request("/", {})
        connection.abort()
    assert not [w for w in recwarn if issubclass(w.category, ResourceWarning)]
