"""A blocking HTTP/1.1 connection for lanes: reuse, TLS pinning, proxies, clear errors.

On the standard library's `http.client`, whose `readinto` costs 7 % against a hand-written loop.
It follows no redirect and retries only a request that died on a reused connection; policy lives
in the sources. Foreign exceptions become `SourceError` here and nowhere else; their messages are
predicates, to be read after the name of the source: "refuses connections".
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.errors import RemoteProtocolError, SourceGone, SourceRefused, SourceTooSlow
from mirrornode.sources.dialing import Dial, Resolve, look_up
from mirrornode.sources.http_words import SENT_LESS, what_went_wrong
from mirrornode.sources.proxy import Proxy, login_refused, open_tunnel, proxy_for
from mirrornode.sources.round_trip import round_trip_s
from mirrornode.sources.sealed_stream import SealedStream
from mirrornode.sources.sealing import ask_to_seal
from mirrornode.sources.socket_stream import SocketStream
from mirrornode.sources.tls_stream import TlsStream
from mirrornode.sources.web_tls import web_context, why_refused

if TYPE_CHECKING:
    from mirrornode.sources.ports import Pace

CONNECT_TIMEOUT_S = 8.0
READ_TIMEOUT_S = 20.0
HEAD_TIMEOUT_S = 60.0  # for the head of an answer as a whole, which may be sent byte by byte
ANSWER_TIMEOUT_S = 60.0  # for a small answer as a whole: 2 MiB at 35 KB/s
DRAIN_BYTES = 256 * 1024  # cheaper to read than to connect anew
DRAIN_TIMEOUT_S = 2.0
MAX_INTERIM = 8  # answers such as 103 Early Hints before the real one


class WrongCertificate(SourceRefused):
    """Another server answers where a peer was: this one restarted, or the peer went elsewhere."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a connection goes.

    Attributes:
        pin: SHA-256 of the only certificate accepted (peers); empty means the public web's rules.
        use_proxy: Honour `http_proxy` and friends; never for peers on the LAN.
    """

    scheme: str
    host: str
    port: int
    pin: bytes = b""
    use_proxy: bool = False


class HttpConnection:
    """One keep-alive connection; used by one thread at a time, `abort` comes from any."""

    def __init__(
        self,
        endpoint: Endpoint,
        source_id: str,
        *,
        read_timeout_s: float = READ_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        resolve: Resolve = look_up,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            read_timeout_s: How long the other side may be silent.
            connect_timeout_s: How long connecting may take; a TLS handshake has as much again.
            resolve: Looks up the addresses of a host.
        """
        self.endpoint = endpoint
        self._source_id = source_id
        self._read_timeout_s = read_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._resolve = resolve
        self._proxy: Proxy | None = None  # one that is asked for whole URLs
        self._is_proxied = False
        self._lock = threading.Lock()  # guards the three below against `abort`
        self._dial: Dial | None = None
        self._sock: socket.socket | None = None
        self._aborts = 0
        self._stream: SocketStream | None = None
        self._user = threading.get_ident()
        self._received_before = 0
        self._may_seal = bool(endpoint.pin)  # until the peer has said that it knows no seal
        self._is_to_seal = False  # this connection, at the first request that shows a bearer
        self.pace: Pace | None = None  # of bodies that are read into a caller's buffer

    @property
    def received_bytes(self) -> int:
        """What bodies have brought so far, counted at every receive: a sign of life."""
        stream = self._stream
        return self._received_before + (stream.received_bytes if stream is not None else 0)

    @property
    def round_trip_s(self) -> float | None:
        """The round trip to the server; None where that is not known, as over a proxy."""
        return None if self._is_proxied else round_trip_s(self._sock)

    @property
    def is_open(self) -> bool:
        """Whether the next request can do without connecting, if the server agrees."""
        return self._connection is not None and self._connection.sock is not None

    @property
    def aborts(self) -> int:
        """How often `abort` was called: whoever tries something again looks whether it may."""
        return self._aborts

    def connect(self) -> None:
        """Connect, if that is not done, and ask nothing; raises as `request`."""
        self._user = threading.get_ident()
        with self._translated():
            if not self.is_open:
                self._close()
                self._connect(self._aborts)

    def request(
        self, target: str, headers: Mapping[str, str], *, method: str = "GET", body: bytes = b""
    ) -> http.client.HTTPResponse:
        """Send a request and return its response with the head read.

        Raises:
            SourceGone: Not reachable, the connection broke, or `abort` was called.
            SourceTooSlow: No answer in time.
            SourceRefused: The certificate is not the right one.
        """
        self._user = threading.get_ident()
        aborts = self._aborts
        self.finish()
        is_reused = self.is_open
        try:
            return self._send(method, target, headers, body, aborts)
        except SourceGone:
            if not is_reused or self._aborts != aborts:
                raise
            # A server may close an idle connection at any moment; only that is retried here.
            return self._send(method, target, headers, body, aborts)

    def read_into(self, view: memoryview) -> None:
        """Fill `view` from the body of the current response."""
        response = self._open_response()
        filled = 0
        with self._translated(), self._counting():
            while filled < len(view):
                count = self._receive(response, view[filled:])
                if not count:
                    raise self._gone(SENT_LESS)
                filled += count

    def read_ahead(self, limit_bytes: int) -> bytes:
        """Return what has come of the content, paced and counted as by `read_into`; b"" at its end.

        Only of a response that tells where it ends.
        """
        pace, aborts = self.pace, self._aborts
        self._open_response()
        with self._counting():
            piece = self.read_some(min(limit_bytes, pace.piece_bytes) if pace else limit_bytes)
        if pace is not None:
            pace.wait(len(piece), lambda: self._aborts != aborts)
        return piece

    def read_all(self, limit_bytes: int) -> bytes:
        """Return the whole body, refusing more than `limit_bytes` or `ANSWER_TIMEOUT_S`."""
        response = self._open_response()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        body = bytearray()
        stream = self._stream
        assert stream is not None
        with self._translated():
            stream.deadline = deadline  # a sealed frame, or a TLS record, may come in crumbs
            while piece := response.read1(limit_bytes + 1 - len(body)):
                body += piece
                if len(body) > limit_bytes:
                    raise SourceRefused(
                        "sent an answer larger than allowed", source_id=self._source_id
                    )
                if time.monotonic() > deadline:
                    # A few bytes now and then would never run into the socket's timeout.
                    raise SourceTooSlow("sends its answer too slowly", source_id=self._source_id)
            stream.deadline = None
            if response.length:
                raise self._gone(SENT_LESS)
        return bytes(body)

    def read_some(self, limit_bytes: int) -> bytes:
        """Return what has come of the body, waiting for the first byte; b"" at its end."""
        response = self._open_response()
        with self._translated():
            piece = response.read1(limit_bytes)
            if not piece and response.length:
                raise self._gone(SENT_LESS)
        return piece

    def finish(self) -> None:
        """Make the connection ready for the next request, or close it when that costs more."""
        response, self._response = self._response, None
        if response is None or response.isclosed():
            return
        length, stream = response.length, self._stream
        assert stream is not None
        stream.deadline = time.monotonic() + DRAIN_TIMEOUT_S
        try:
            if response.chunked or (length is not None and length <= DRAIN_BYTES):
                response.read(DRAIN_BYTES)
                if response.isclosed():
                    stream.deadline = None
                    return
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass  # the connection is closed below either way
        self._close()

    def close(self) -> None:
        """Close a connection that nobody uses any more, whoever did."""
        self._user = threading.get_ident()
        self._close()

    def abort(self) -> None:
        """Break off what is going on, waking a thread that waits on it.

        The thread that uses the connection closes it hereby; from any other thread the socket is
        only shut down, so that nobody closes it under its user.
        """
        with self._lock:
            self._aborts += 1
        if threading.get_ident() == self._user:
            self._close()
            return
        with self._lock:
            if self._dial is not None:
                self._dial.abort()
            if self._sock is not None:
                with suppress(OSError):
                    # Past the TLS layer: it must not wait for its lock.
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def _receive(self, response: http.client.HTTPResponse, view: memoryview) -> int:
        pace, aborts = self.pace, self._aborts
        count = response.readinto(view if pace is None else view[: pace.piece_bytes])
        if pace is not None:
            pace.wait(count, lambda: self._aborts != aborts)
        return count

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        response, self._response = self._response, None
        stream, self._stream = self._stream, None
        if stream is not None:
            self._received_before += stream.received_bytes
        with self._lock:
            sock, self._sock = self._sock, None
            # A response that ends with its connection owns the socket; so all are closed.
            for part in (connection, response, stream, sock):
                if part is not None:
                    with suppress(OSError):
                        part.close()

    def _open_response(self) -> http.client.HTTPResponse:
        if self._response is None:
            raise self._gone("no response is open")
        return self._response

    def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, aborts: int
    ) -> http.client.HTTPResponse:
        with self._translated():
            if not self.is_open:
                self._close()
                self._connect(aborts)
            authorization = headers.get("Authorization", "")
            if authorization and self._is_to_seal and isinstance(self._stream, TlsStream):
                self._seal(self._stream, authorization, aborts)
            connection, stream, proxy = self._connection, self._stream, self._proxy
            assert connection is not None
            assert stream is not None
            headers = dict(headers)
            if proxy is not None:
                endpoint = self.endpoint
                target = f"{endpoint.scheme}://{_netloc(endpoint)}{target}"
                headers |= proxy.headers
            stream.deadline = time.monotonic() + HEAD_TIMEOUT_S
            connection.request(method, target, body=body or None, headers=headers)
            self._response = response = connection.getresponse()
            stream.deadline = None
            if (
                isinstance(stream, SealedStream)
                and response.length is None
                and not response.chunked
            ):
                raise self._gone("names no length")  # a cut would look like the end
            if proxy is not None and self._response.status == 407:
                raise login_refused(proxy, self._source_id)
            return self._response

    def _connect(self, aborts: int) -> None:
        endpoint = self.endpoint
        host, port = endpoint.host, endpoint.port
        proxy = proxy_for(endpoint.scheme, host, port, self._source_id) if self._may_proxy else None
        self._is_proxied = proxy is not None
        if proxy is None:
            sock = self._open_socket(host, port, aborts)
        else:
            sock = self._open_socket(proxy.host, proxy.port, aborts)
            if endpoint.scheme == "https":
                open_tunnel(sock, proxy, host, port, self._source_id, self._connect_timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if endpoint.pin:
            stream: SocketStream = self._open_pinned(sock)
        elif endpoint.scheme == "https":
            stream = SocketStream(self._open_tls(sock, host, aborts))
        else:
            stream = SocketStream(sock)
        stream.settimeout(self._read_timeout_s)
        self._is_to_seal = self._may_seal
        self._proxy = proxy if endpoint.scheme == "http" else None
        self._stream = stream
        is_default_port = endpoint.scheme == "http" or endpoint.pin
        connection = (
            http.client.HTTPConnection(host, port)
            if is_default_port
            else http.client.HTTPSConnection(host, port, context=web_context())
        )
        connection.response_class = _Response
        # A stream is all of a socket that http.client uses.
        connection.sock = stream
        # Else http.client would connect anew by itself, and nobody would look at the certificate.
        connection.auto_open = 0
        self._connection = connection

    @property
    def _may_proxy(self) -> bool:
        return self.endpoint.use_proxy and not self.endpoint.pin

    def _open_socket(self, host: str, port: int, aborts: int) -> socket.socket:
        """Connect to the first address of `host` that answers; `abort` reaches it meanwhile."""
        dial = Dial(self._resolve)
        with self._lock:
            self._dial = dial
            if self._aborts != aborts:
                dial.abort()
        try:
            sock = dial.connect(host, port, self._connect_timeout_s)
        finally:
            with self._lock:
                self._dial = None
        self._take(sock, aborts)
        return sock

    def _open_tls(self, plain: socket.socket, host: str, aborts: int) -> ssl.SSLSocket:
        sock = web_context().wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._take(sock, aborts)
        sock.do_handshake()
        return sock

    def _open_pinned(self, sock: socket.socket) -> TlsStream:
        """Meet a peer; nothing is sent before its certificate is the one of its ticket."""
        stream = TlsStream(sock, _pinned_context(), self._connect_timeout_s)
        if hashlib.sha256(stream.certificate()).digest() != self.endpoint.pin:
            raise WrongCertificate(
                "has another certificate than its ticket names", source_id=self._source_id
            )
        return stream

    def _seal(self, tls: TlsStream, authorization: str, aborts: int) -> None:
        """Leave TLS for sealed frames, with a peer that knows them."""
        connection = self._connection
        assert connection is not None
        tls.deadline = time.monotonic() + HEAD_TIMEOUT_S
        self._response, stream = ask_to_seal(connection, tls, authorization)
        tls.deadline = None
        if stream is not None:
            self._response = None
            stream.settimeout(self._read_timeout_s)
            self._received_before += tls.received_bytes
            self._stream = connection.sock = stream
            return
        # By a bearer that has ended or a node that is ending: the next connection may be sealed.
        self._may_seal = self._response.status in (401, 503)
        self._is_to_seal = False
        self.finish()
        if not self.is_open:
            self._close()
            self._connect(aborts)
            self._is_to_seal = False

    def _take(self, sock: socket.socket, aborts: int) -> None:
        """Make `sock` the one that `abort` shuts down, unless it has come already."""
        with self._lock:
            self._sock = sock
            if self._aborts == aborts:
                return
        raise self._gone("broken off")

    def _gone(self, reason: str) -> SourceGone:
        return SourceGone(reason, source_id=self._source_id)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Let what arrives count as a sign of life."""
        stream = self._stream
        assert stream is not None
        stream.is_counting = True
        try:
            yield
        finally:
            stream.is_counting = False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SourceGone, SourceRefused, SourceTooSlow):
            self._close()
            raise
        except RemoteProtocolError as exc:
            self._close()
            raise self._gone(f"sent {exc}") from exc
        except ssl.SSLCertVerificationError as exc:
            self._close()
            raise SourceRefused(why_refused(exc), source_id=self._source_id) from exc
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            # ValueError: a host, header or length that is none. AttributeError: http.client after
            # the other side has closed the connection between two of its steps.
            is_connected = self._stream is not None
            self._close()
            if isinstance(exc, TimeoutError):
                what = "fell silent" if is_connected else "did not accept a connection in time"
                raise SourceTooSlow(what, source_id=self._source_id) from exc
            raise self._gone(what_went_wrong(exc, self.endpoint.host)) from exc


class _Response(http.client.HTTPResponse):
    """A response that skips interim answers such as 103; the base class skips 100 only."""

    def begin(self) -> None:
        super().begin()
        for _ in range(MAX_INTERIM):
            if self.status == 101 or not 100 <= self.status < 200:
                return
            self.headers = None  # type: ignore[assignment]  # so says the base: not begun yet
            super().begin()
        raise http.client.BadStatusLine("one interim answer after the other")


@functools.cache
def _pinned_context() -> ssl.SSLContext:
    """TLS 1.3 to a peer: its certificate is self-signed and checked against the ticket's hash."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _netloc(endpoint: Endpoint) -> str:
    default = 443 if endpoint.scheme == "https" else 80
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == default else f"{host}:{endpoint.port}"
