"""The environment's HTTP proxy: which one, for whom, and the tunnel through it.

`http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` in either case, as curl and requests read
them; user and password come from the proxy's URL. Only plain `http://` proxies, which is what
companies run for outgoing traffic; TLS to the proxy itself and SOCKS are refused by name.
"""

from __future__ import annotations

import base64
import ipaddress
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from mirrornode.errors import SourceRefused

if TYPE_CHECKING:
    import socket

MAX_ANSWER_BYTES: Final = 64 * 1024
LOGIN_ADVICE: Final = (
    "put a login for it into the proxy's URL, as in http://USER:PASSWORD@HOST:PORT"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where to connect instead, and the headers it wants."""

    host: str
    port: int
    headers: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def proxy_for(scheme: str, host: str, port: int, source_id: str) -> Proxy | None:
    """Return the proxy for a server, None to go there directly. Loopback is always direct.

    Raises:
        SourceRefused: The environment names a proxy of a kind we do not speak.
    """
    address = _address_of(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return None
    proxies = urllib.request.getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    if address is not None and _is_listed(address, proxies.get("no", "")):
        return None
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        proxy_host, proxy_port = parts.hostname, parts.port or 80
    except ValueError:
        proxy_host = None
    if not proxy_host or parts.scheme != "http":
        raise SourceRefused(
            f"is behind a proxy that this program cannot use: {scheme}_proxy must be "
            "http://HOST:PORT",
            source_id=source_id,
        )
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(proxy_host, proxy_port, headers)


def open_tunnel(
    sock: socket.socket, proxy: Proxy, host: str, port: int, source_id: str, timeout_s: float
) -> None:
    """Ask the proxy at the other end of `sock` for a way through to `host`.

    Raises:
        SourceRefused: The proxy says no; with its status.
        OSError: The proxy left, or its answer takes longer than `timeout_s`.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", "User-Agent: mirrornode"]
    lines += [f"{name}: {value}" for name, value in proxy.headers.items()]
    deadline = time.monotonic() + timeout_s
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = sock.recv(4096)
        answer += piece
        if not piece or len(answer) > MAX_ANSWER_BYTES:
            raise ConnectionResetError(f"proxy {proxy} gave no proper answer")
        if time.monotonic() > deadline:
            raise TimeoutError
    status, reason = _status_of(answer.split(b"\r\n", 1)[0].decode("latin-1"))
    if status == 407:
        raise login_refused(proxy, source_id)
    if not 200 <= status < 300:
        raise SourceRefused(
            f"cannot be reached: proxy {proxy} answered {status} {reason}".strip(),
            source_id=source_id,
            status=status if status >= 500 else 0,
        )
    if not answer.endswith(b"\r\n\r\n"):
        # TLS clients speak first; whatever this is, it did not come through the tunnel.
        raise ConnectionResetError(f"proxy {proxy} sent more than its answer")


def login_refused(proxy: Proxy, source_id: str) -> SourceRefused:
    """Return what to say of a 407."""
    what = "does not accept the login it was given" if proxy.headers else "asks for a login"
    return SourceRefused(
        f"cannot be reached: proxy {proxy} {what} (407); {LOGIN_ADVICE}",
        source_id=source_id,
        status=407,
    )


def _status_of(line: str) -> tuple[int, str]:
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/") or not parts[1].isascii():
        raise ConnectionResetError("the proxy does not speak HTTP")
    if not parts[1].isdigit() or len(parts[1]) != 3:
        raise ConnectionResetError("the proxy does not speak HTTP")
    return int(parts[1]), parts[2][:80] if len(parts) > 2 else ""


def _address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_listed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, no_proxy: str) -> bool:
    """Tell whether one of the networks in `no_proxy` holds the address, as requests reads them."""
    for entry in no_proxy.split(","):
        try:
            network = ipaddress.ip_network(entry.strip(), strict=False)
        except ValueError:
            continue  # a name; the standard library has looked at those
        if address in network:
            return True
    return False
