"""What `doctor` looks at on the way to the web: proxy, certificates, servers. Sends no login."""

from __future__ import annotations

import contextlib
import email.utils
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509

from mirrornode.errors import MirrorError, SourceError, TargetError
from mirrornode.mirror.doctor_web_rules import CaSeen, ProxySeen, ServerSeen
from mirrornode.sources.http_client import HttpConnection
from mirrornode.sources.proxy import open_tunnel, proxy_for
from mirrornode.sources.web import WEB_HEADERS, public_url, split_url
from mirrornode.sources.web_tls import CA_VARIABLES, web_context

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECT_WAIT_S = 3.0
ANSWER_WAIT_S = 4.0
SERVERS_WAIT_S = 7.0  # for all of them, which are asked side by side
MAX_SERVERS = 32
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def look_at_proxy(environ: Mapping[str, str]) -> ProxySeen:
    """Look at the proxy variables, and whether the proxy takes connections."""
    variables = {name: value for name, value in environ.items() if name.lower() in PROXY_VARIABLES}
    proxies = urllib.request.getproxies()
    is_set = any(proxies.get(kind) for kind in ("http", "https", "all"))
    failure = ""
    for kind in ("https", "http"):
        if not failure and (url := proxies.get(kind) or proxies.get("all")):
            failure = _proxy_failure(url)
    return ProxySeen(
        variables,
        failure,
        bypasses_loopback=not is_set or bool(urllib.request.proxy_bypass("127.0.0.1:8090")),
        hf_endpoint=environ.get("HF_ENDPOINT", ""),
    )


def look_at_ca(environ: Mapping[str, str]) -> CaSeen:
    """Look whether the CA files that the environment names can be used."""
    variables = {name: environ.get(name, "") for name in CA_VARIABLES}
    try:
        web_context()
    except OSError as exc:
        return CaSeen(variables, f"{exc.filename}: {exc.strerror or exc}")
    return CaSeen(variables)


def look_at_servers(servers: Iterable[tuple[str, str]]) -> list[ServerSeen]:
    """Ask all servers side by side, `(kind, URL)` each; a late one is among what failed."""
    asked = list(dict.fromkeys(servers))[:MAX_SERVERS]
    found: dict[tuple[str, str], ServerSeen] = {}

    def work(server: tuple[str, str]) -> None:
        found[server] = look_at_server(*server)

    threads = [threading.Thread(target=work, args=(server,), daemon=True) for server in asked]
    deadline = time.monotonic() + SERVERS_WAIT_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"gave no answer within {SERVERS_WAIT_S:g} s"
    return [
        found[one] if one in found else ServerSeen(one[0], public_url(one[1]), failure=late)
        for one in asked
    ]


def look_at_server(kind: str, url: str) -> ServerSeen:
    """Ask a server for the head of its URL; any answer will do."""
    try:
        endpoint, target, _ = split_url(url)
    except TargetError:  # its words may hold the login of the URL
        return ServerSeen(kind, "a URL in config.toml", failure="is no http:// or https:// URL")
    shown = public_url(url)
    try:
        connection = HttpConnection(
            endpoint,
            f"{kind}:{shown}",
            read_timeout_s=ANSWER_WAIT_S,
            connect_timeout_s=CONNECT_WAIT_S,
        )
        began = time.monotonic()
        try:
            # Without the login that the URL may have: nothing of it is needed here.
            response = connection.request(target, WEB_HEADERS, method="HEAD")
            seconds = time.monotonic() - began
            skew_s = _skew(response.headers.get("Date", ""))
            # 501 only says that it knows no HEAD.
            is_down = response.status >= 500 and response.status != 501
            failure = f"is in trouble (answered {response.status})" if is_down else ""
        finally:
            connection.abort()
    except SourceError as exc:
        is_tls = isinstance(exc.__cause__, ssl.SSLCertVerificationError)
        issuer = issuer_of(url) if is_tls else ""
        return ServerSeen(kind, shown, failure=str(exc), is_tls_failure=is_tls, issuer=issuer)
    return ServerSeen(kind, shown, seconds, failure, issuer=issuer_of(url), skew_s=skew_s)


def issuer_of(url: str) -> str:
    """Return who signed a server's certificate, believed or not; "" when that cannot be told.

    Only the handshake is done: nothing is sent to a server that might be anybody.
    """
    with contextlib.suppress(OSError, MirrorError, ValueError):
        endpoint, _, _ = split_url(url)
        if endpoint.scheme != "https":
            return ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        host, port = endpoint.host, endpoint.port
        proxy = proxy_for("https", host, port, "doctor")
        there = (proxy.host, proxy.port) if proxy is not None else (host, port)
        with socket.create_connection(there, CONNECT_WAIT_S) as sock:
            if proxy is not None:
                open_tunnel(sock, proxy, host, port, "doctor", CONNECT_WAIT_S)
            with context.wrap_socket(sock, server_hostname=host) as secure:
                der = secure.getpeercert(binary_form=True)
        if der is not None:
            return _name_of(x509.load_der_x509_certificate(der).issuer)
    return ""


def _name_of(issuer: x509.Name) -> str:
    oids = (x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME)
    parts = [str(entry.value) for oid in oids for entry in issuer.get_attributes_for_oid(oid)]
    text = ", ".join(dict.fromkeys(parts))
    return "".join(c for c in text if c.isprintable())[:120]


def _proxy_failure(url: str) -> str:
    """Return why a proxy takes no connection, "" when it does or is of a kind we cannot use."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        return "its URL cannot be read"
    if parts.scheme != "http" or not host:
        return ""
    try:
        socket.create_connection((host, port), CONNECT_WAIT_S).close()
    except OSError as exc:
        return f"{host}:{port}: {exc.strerror or exc or 'no answer'}"
    return ""


def _skew(date: str) -> float | None:
    """Return how far this machine's clock is ahead of an HTTP date, None when there is none."""
    try:
        return time.time() - email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
