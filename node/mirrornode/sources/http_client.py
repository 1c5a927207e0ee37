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
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from mirrornode.errors import SourceGone, SourceRefused, SourceTooSlow

CONNECT_TIMEOUT_S = 8.0
READ_TIMEOUT_S = 20.0
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
    """One keep-alive connection; used by one thread, `abort` from any."""

    def __init__(
        self, endpoint: Endpoint, source_id: str, *, read_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        self.endpoint = endpoint
        self._source_id = source_id
        self._read_timeout_s = read_timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._is_absolute_form = False

    def request(
        self, target: str, headers: Mapping[str, str], *, method: str = "GET", body: bytes = b""
    ) -> http.client.HTTPResponse:
        """Send a request and return its response with the head read.

        Raises:
            SourceGone: Not reachable, or the connection broke.
            SourceTooSlow: No answer in time.
            SourceRefused: The certificate is not the right one.
        """
        self.finish()
        is_reused = self._connection is not None
        try:
            return self._send(method, target, headers, body)
        except SourceGone:
            if not is_reused:
                raise
            # A server may close an idle connection at any moment; only that is retried here.
            return self._send(method, target, headers, body)

    def read_into(self, view: memoryview) -> None:
        """Fill `view` from the body of the current response."""
        response = self._response
        if response is None:
            raise SourceGone("no response is open", source_id=self._source_id)
        filled = 0
        with self._translated():
            while filled < len(view):
                count = response.readinto(view[filled:])
                if not count:
                    raise SourceGone("the source sent less than it said", source_id=self._source_id)
                filled += count

    def read_all(self, limit_bytes: int) -> bytes:
        """Return the whole body, refusing more than `limit_bytes`."""
        response = self._response
        if response is None:
            raise SourceGone("no response is open", source_id=self._source_id)
        with self._translated():
            body = response.read(limit_bytes + 1)
        if len(body) > limit_bytes:
            self.abort()
            raise SourceRefused("the answer is larger than allowed", source_id=self._source_id)
        return body

    def finish(self) -> None:
        """Make the connection ready for the next request, or close it when that costs more."""
        response, self._response = self._response, None
        if response is None:
            return
        length = response.length
        if response.isclosed():
            return
        try:
            if length is not None and length <= DRAIN_BYTES:
                response.read()
                return
        except (OSError, http.client.HTTPException, ValueError):
            pass  # the connection is closed below either way
        self.abort()

    def abort(self) -> None:
        """Close the connection, waking a thread that waits on it."""
        connection, self._connection, self._response = self._connection, None, None
        if connection is None:
            return
        sock = connection.sock
        if sock is not None:
            # shutdown wakes a thread blocked in recv; close alone would not.
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        connection.close()

    def _send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> http.client.HTTPResponse:
        with self._translated():
            connection = self._connection or self._connect()
            if self._is_absolute_form:
                endpoint = self.endpoint
                target = f"{endpoint.scheme}://{_netloc(endpoint)}{target}"
            connection.request(method, target, body=body or None, headers=dict(headers))
            self._response = connection.getresponse()
            return self._response

    def _connect(self) -> http.client.HTTPConnection:
        endpoint = self.endpoint
        proxy = _proxy_for(endpoint) if endpoint.use_proxy else None
        connection: http.client.HTTPConnection
        self._is_absolute_form = False
        if endpoint.scheme == "https":
            context = _pinned_context() if endpoint.pin else _web_context()
            host, port = proxy or (endpoint.host, endpoint.port)
            connection = http.client.HTTPSConnection(
                host, port, timeout=CONNECT_TIMEOUT_S, context=context
            )
            if proxy is not None:
                connection.set_tunnel(endpoint.host, endpoint.port)
        else:
            host, port = proxy or (endpoint.host, endpoint.port)
            self._is_absolute_form = proxy is not None
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT_S)
        connection.connect()
        sock = connection.sock
        assert sock is not None
        if endpoint.pin and isinstance(sock, ssl.SSLSocket):
            seen = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").digest()
            if seen != endpoint.pin:
                connection.close()
                raise SourceRefused(
                    "the peer's certificate is not the one of its ticket",
                    source_id=self._source_id,
                )
        sock.settimeout(self._read_timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SourceGone, SourceRefused):
            self.abort()
            raise
        except TimeoutError as exc:
            self.abort()
            raise SourceTooSlow("no answer in time", source_id=self._source_id) from exc
        except ssl.SSLCertVerificationError as exc:
            self.abort()
            raise SourceRefused(
                f"TLS certificate refused: {exc.verify_message}", source_id=self._source_id
            ) from exc
        except socket.gaierror as exc:
            self.abort()
            raise SourceGone(
                f"cannot resolve {self.endpoint.host}", source_id=self._source_id
            ) from exc
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            # ValueError and AttributeError: `abort` from another thread closed the file under us.
            self.abort()
            reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            raise SourceGone(str(reason), source_id=self._source_id) from exc


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
