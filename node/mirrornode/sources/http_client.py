"""A blocking HTTP/1.1 connection for lanes: reuse, TLS pinning, proxies, clear errors.

On the standard library's `http.client`, whose `readinto` costs 7 % against a hand-written loop.
It follows no redirect and retries only a request that died on a reused connection; policy lives
in the sources. Foreign exceptions become `SourceError` here and nowhere else.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import ipaddress
import os
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from mirrornode.errors import SourceGone, SourceRefused, SourceTooSlow
from mirrornode.sources.tls_stream import TlsStream

CONNECT_TIMEOUT_S = 8.0
READ_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 60.0  # for a small answer as a whole: 2 MiB at 35 KB/s
MAX_STEP_BYTES = 256 * 1024  # read before the next sign of life
MIN_STEP_BYTES = 16 * 1024
STEP_S = 0.005  # on a slow line a sign of life comes about so often
DRAIN_BYTES = 256 * 1024  # cheaper to read than to connect anew


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
        self, endpoint: Endpoint, source_id: str, *, read_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        self.endpoint = endpoint
        self._source_id = source_id
        self._read_timeout_s = read_timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._is_absolute_form = False
        self._lock = threading.Lock()  # guards the socket against `abort` while it is replaced
        self._sock: socket.socket | None = None
        self._user = threading.get_ident()
        self._aborts = 0
        self._step_bytes = MAX_STEP_BYTES
        self.received_bytes = 0  # of bodies, in all: a sign of life within a leaf

    @property
    def is_open(self) -> bool:
        """Whether the next request can do without connecting, if the server agrees."""
        return self._connection is not None and self._connection.sock is not None

    @property
    def aborts(self) -> int:
        """How often `abort` was called: whoever tries something again looks whether it may."""
        return self._aborts

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
        with self._translated():
            while filled < len(view):
                began = time.monotonic()
                count = response.readinto(view[filled : filled + self._step_bytes])
                if not count:
                    raise self._gone("the source sent less than it said")
                filled += count
                self.received_bytes += count
                rate = count / max(time.monotonic() - began, 1e-6)
                self._step_bytes = max(MIN_STEP_BYTES, min(MAX_STEP_BYTES, int(rate * STEP_S)))

    def read_next(self, view: memoryview) -> bool:
        """Fill `view` as `read_into`; False when the body had ended, as it should, before it."""
        response = self._open_response()
        with self._translated():
            count = response.readinto(view)
        if not count and response.isclosed() and not response.length:
            return False
        self.read_into(view[count:])
        return True

    def read_all(self, limit_bytes: int) -> bytes:
        """Return the whole body, refusing more than `limit_bytes` or `ANSWER_TIMEOUT_S`."""
        response = self._open_response()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        body = bytearray()
        with self._translated():
            while piece := response.read1(limit_bytes + 1 - len(body)):
                body += piece
                if len(body) > limit_bytes:
                    raise SourceRefused(
                        "the answer is larger than allowed", source_id=self._source_id
                    )
                if time.monotonic() > deadline:
                    # A few bytes now and then would never run into the socket's timeout.
                    raise SourceTooSlow("the answer comes too slowly", source_id=self._source_id)
            if response.length:
                raise self._gone("the source sent less than it said")
        return bytes(body)

    def finish(self) -> None:
        """Make the connection ready for the next request, or close it when that costs more."""
        response, self._response = self._response, None
        if response is None or response.isclosed():
            return
        length = response.length
        try:
            if response.chunked or (length is not None and length <= DRAIN_BYTES):
                response.read(DRAIN_BYTES)
                if response.isclosed():
                    return
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass  # the connection is closed below either way
        self._close()

    def abort(self) -> None:
        """Break off what is going on, waking a thread that waits on it.

        The thread that uses the connection closes it hereby; from any other thread the socket is
        only shut down, so that nobody closes it under its user.
        """
        self._aborts += 1
        if threading.get_ident() == self._user:
            self._close()
            return
        with self._lock:
            if self._sock is not None:
                with suppress(OSError):
                    # Past the TLS layer: it must not wait for its lock.
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        response, self._response = self._response, None
        with self._lock:
            sock, self._sock = self._sock, None
            # A response that ends with its connection owns the socket; so all three are closed.
            for part in (connection, response, sock):
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
            connection = self._connection
            assert connection is not None
            if self._is_absolute_form:
                endpoint = self.endpoint
                target = f"{endpoint.scheme}://{_netloc(endpoint)}{target}"
            connection.request(method, target, body=body or None, headers=dict(headers))
            self._response = connection.getresponse()
            return self._response

    def _connect(self, aborts: int) -> None:
        endpoint = self.endpoint
        proxy = _proxy_for(endpoint) if endpoint.use_proxy else None
        host, port = proxy or (endpoint.host, endpoint.port)
        self._is_absolute_form = proxy is not None and endpoint.scheme == "http"
        connection: http.client.HTTPConnection
        if endpoint.pin:
            connection = http.client.HTTPConnection(host, port)
            connection.sock = self._open_pinned(host, port, aborts)
        elif endpoint.scheme == "https":
            context = _web_context()
            connection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_TIMEOUT_S, context=context
            )
            if proxy is not None:
                connection.set_tunnel(endpoint.host, endpoint.port)
                connection.connect()
            else:
                connection.sock = self._open_tls(context, host, port, aborts)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT_S)
            connection.sock = self._open_socket(host, port, aborts)
        # Else http.client would connect anew by itself, and nobody would look at the certificate.
        connection.auto_open = 0
        self._connection = connection
        if isinstance(connection.sock, socket.socket):
            self._take(connection.sock, aborts)
        sock = self._sock
        assert sock is not None
        sock.settimeout(self._read_timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _open_socket(self, host: str, port: int, aborts: int) -> socket.socket:
        """Connect to the first address of `host` that answers; `abort` reaches it meanwhile."""
        failure: OSError = socket.gaierror(f"{host} has no address")
        for family, kind, protocol, _, place in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, kind, protocol)
            self._take(sock, aborts)
            sock.settimeout(CONNECT_TIMEOUT_S)
            try:
                sock.connect(place)
            except OSError as exc:
                failure = exc
                sock.close()
            else:
                self._take(sock, aborts)
                return sock
        raise failure

    def _open_tls(
        self, context: ssl.SSLContext, host: str, port: int, aborts: int
    ) -> ssl.SSLSocket:
        plain = self._open_socket(host, port, aborts)
        sock = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._take(sock, aborts)
        sock.do_handshake()
        return sock

    def _open_pinned(self, host: str, port: int, aborts: int) -> TlsStream:
        """Connect to a peer; nothing is sent before its certificate is the one of its ticket."""
        stream = TlsStream(self._open_socket(host, port, aborts), _pinned_context())
        if hashlib.sha256(stream.certificate()).digest() != self.endpoint.pin:
            raise SourceRefused(
                "the peer's certificate is not the one of its ticket", source_id=self._source_id
            )
        return stream

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
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SourceGone, SourceRefused, SourceTooSlow):
            self._close()
            raise
        except TimeoutError as exc:
            self._close()
            raise SourceTooSlow("no answer in time", source_id=self._source_id) from exc
        except ssl.SSLCertVerificationError as exc:
            self._close()
            raise SourceRefused(
                f"TLS certificate refused: {exc.verify_message}", source_id=self._source_id
            ) from exc
        except socket.gaierror as exc:
            self._close()
            raise self._gone(f"cannot resolve {self.endpoint.host}") from exc
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            # ValueError: a host, header or length that is none. AttributeError: http.client after
            # the other side has closed the connection between two of its steps.
            self._close()
            reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            raise self._gone(str(reason)) from exc


@functools.cache
def _pinned_context() -> ssl.SSLContext:
    """TLS 1.3 to a peer: its certificate is self-signed and checked against the ticket's hash."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@functools.cache
def _web_context() -> ssl.SSLContext:
    """TLS to the web or a company mirror, with the company's CA where the environment says."""
    context = ssl.create_default_context()
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(variable):
            context.load_verify_locations(path)
    return context


def _netloc(endpoint: Endpoint) -> str:
    default = 443 if endpoint.scheme == "https" else 80
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == default else f"{host}:{endpoint.port}"


def _proxy_for(endpoint: Endpoint) -> tuple[str, int] | None:
    """Return (host, port) of the environment's proxy for this endpoint, or None."""
    try:
        if ipaddress.ip_address(endpoint.host).is_loopback:
            return None
    except ValueError:
        if endpoint.host == "localhost":
            return None
    proxy = urllib.request.getproxies().get(endpoint.scheme)
    if not proxy or urllib.request.proxy_bypass(f"{endpoint.host}:{endpoint.port}"):
        return None
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    if not parts.hostname:
        return None
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
