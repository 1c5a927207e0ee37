"""HTTP servers as multiaddrs: `/ip4/192.168.1.5/tcp/8090/http` ⇄ `http://192.168.1.5:8090`.

Which of them may be asked is decided here, too, because a record that names one comes from a
stranger: plain HTTP only on private addresses, as boxo does it (`network/http_multiaddr.go`), and
loopback only when the one who names it is on this machine. No name is resolved here.

Spec: libp2p http/transport-component.md; a path in the address is not used by IPFS gateways.
"""

from __future__ import annotations

import ipaddress

from mirrornode.errors import TargetError
from mirrornode.wire.multiaddr import Component, split_components

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Go's IsPrivate. Python's `is_private` also holds link-local addresses, behind which the metadata
# service of a cloud lies, and a dozen others.
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
)
_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def http_address(host: str, port: int) -> str:
    """Return the multiaddr of a plain HTTP server at an IP address."""
    ip = ipaddress.ip_address(host)
    return f"/ip{ip.version}/{ip}/tcp/{port}/http"


def is_http(address: str) -> bool:
    """Tell whether a multiaddr leads to an HTTP server; those are not dialled by libp2p."""
    return any(name in _DEFAULT_PORTS for name, _ in _components(address))


def is_private(ip: IpAddress) -> bool:
    """Tell whether an address is of a private network (RFC 1918, ULA)."""
    return any(ip.version == network.version and ip in network for network in _PRIVATE)


def gateway_url(address: str, *, allow_loopback: bool) -> str | None:
    """Return the URL of an HTTP gateway that may be asked, None for any other multiaddr.

    Args:
        allow_loopback: Whether whoever names the address is on this machine.
    """
    match _components(address):
        case [(kind, host), ("tcp", port), ("http", _)] if kind in ("ip4", "ip6"):
            scheme = "http"
        case [(kind, host), ("tcp", port), ("https", _)]:
            scheme = "https"
        case [(kind, host), ("tcp", port), ("tls", _), ("http", _)]:
            scheme = "https"
        case [(kind, host), ("tcp", port), ("tls", _), ("sni", name), ("http", _)] if host == name:
            scheme = "https"
        case _:
            return None
    if kind not in _HOSTS:
        return None
    if kind in ("ip4", "ip6"):
        ip = ipaddress.ip_address(host)
        if not _may_ask(ip, is_plain=scheme == "http", allow_loopback=allow_loopback):
            return None
        host = f"[{ip}]" if ip.version == 6 else str(ip)
    elif not _is_public_name(host):
        return None
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"


def _may_ask(ip: IpAddress, *, is_plain: bool, allow_loopback: bool) -> bool:
    if ip.is_loopback:
        return allow_loopback
    return is_private(ip) or (ip.is_global and not ip.is_multicast and not is_plain)


def _is_public_name(name: str) -> bool:
    """Tell whether a name may be of the web: not a bare word, not this machine's."""
    labels = name.lower().removesuffix(".").split(".")
    is_host = all(label.replace("-", "").isalnum() and label.isascii() for label in labels)
    return is_host and len(labels) > 1 and labels[-1] not in ("localhost", "local", "internal")


def _components(address: str) -> list[Component]:
    try:
        components = split_components(address)
    except TargetError:
        return []
    if components and components[-1][0] == "p2p":
        return components[:-1]
    return components
