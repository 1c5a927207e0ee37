"""Multiaddrs between text and bytes, for the protocols that appear in an IPFS network.

`/ip4/10.0.0.1/tcp/4101/p2p/12D3Koo…` ⇄ its binary form, strictly and in bounds. Addresses live as
canonical text in this program and as bytes only on the wire. Nothing is resolved or dialled here.

Spec: multiformats/multiaddr, `protocols.csv`. Left out: onion, garlic, unix, memory and the
deprecated star transports; an address that uses them is refused as unknown.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_text
from mirrornode.wire.protobuf import read_uvarint

MAX_ADDRESS_BYTES = 1024  # a long webtransport address has some 250
MAX_COMPONENTS = 16
MAX_VALUE_BYTES = 512

Component = tuple[str, str]
"""A protocol's name and its value as text; "" for protocols without a value."""


@dataclass(frozen=True, slots=True)
class _Protocol:
    code: int
    name: str
    size_bytes: int  # -1: length-prefixed, 0: no value
    encode: Callable[[str], bytes]
    decode: Callable[[bytes], str]


def _port_to_bytes(text: str) -> bytes:
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or int(text) > 0xFFFF:
        raise ValueError(f"{text!r} is not a port")
    return int(text).to_bytes(2, "big")


def _ip6_to_bytes(text: str) -> bytes:
    if "%" in text:
        raise ValueError("a zone is written /ip6zone/ZONE/ip6/ADDRESS")
    return ipaddress.IPv6Address(text).packed


def _name_to_bytes(text: str) -> bytes:
    return _check_name(text).encode()


def _name_to_text(value: bytes) -> str:
    return _check_name(value.decode())


def _check_name(text: str) -> str:
    if not text or len(text) > 255 or "/" in text or not text.isprintable() or " " in text:
        raise ValueError(f"{text[:80]!r} is not a host name")
    return text


def _path_to_bytes(text: str) -> bytes:
    if not text:
        raise ValueError("an http-path is not empty")
    return unquote_to_bytes(text)


def _path_to_text(value: bytes) -> str:
    if not value:
        raise ValueError("an http-path is not empty")
    return quote_from_bytes(value, safe="")


def _certhash_to_bytes(text: str) -> bytes:
    if text[:1] != "u" or "=" in text:
        raise ValueError("a certhash is written in base64url (u…)")
    body = text[1:]
    return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)


def _certhash_to_text(value: bytes) -> str:
    if len(value) < 3 or value[1] != len(value) - 2:
        raise ValueError("a certhash is a multihash")
    return "u" + base64.urlsafe_b64encode(value).decode().rstrip("=")


def _no_value(_: str) -> bytes:
    return b""


def _no_text(_: bytes) -> str:
    return ""


def _port_to_text(value: bytes) -> str:
    return str(int.from_bytes(value, "big"))


_VALUED = (
    _Protocol(
        4,
        "ip4",
        4,
        lambda t: ipaddress.IPv4Address(t).packed,
        lambda v: str(ipaddress.IPv4Address(v)),
    ),
    _Protocol(41, "ip6", 16, _ip6_to_bytes, lambda v: str(ipaddress.IPv6Address(v))),
    _Protocol(42, "ip6zone", -1, _name_to_bytes, _name_to_text),
    _Protocol(6, "tcp", 2, _port_to_bytes, _port_to_text),
    _Protocol(273, "udp", 2, _port_to_bytes, _port_to_text),
    _Protocol(53, "dns", -1, _name_to_bytes, _name_to_text),
    _Protocol(54, "dns4", -1, _name_to_bytes, _name_to_text),
    _Protocol(55, "dns6", -1, _name_to_bytes, _name_to_text),
    _Protocol(56, "dnsaddr", -1, _name_to_bytes, _name_to_text),
    _Protocol(421, "p2p", -1, peer_id_to_bytes, peer_id_to_text),
    _Protocol(449, "sni", -1, _name_to_bytes, _name_to_text),
    _Protocol(466, "certhash", -1, _certhash_to_bytes, _certhash_to_text),
    _Protocol(481, "http-path", -1, _path_to_bytes, _path_to_text),
)
_BARE = {
    "webrtc-direct": 280,
    "webrtc": 281,
    "p2p-circuit": 290,
    "https": 443,
    "tls": 448,
    "noise": 454,
    "quic": 460,
    "quic-v1": 461,
    "webtransport": 465,
    "ws": 477,
    "wss": 478,
    "http": 480,
}
_PROTOCOLS = (
    *_VALUED,
    *(_Protocol(code, name, 0, _no_value, _no_text) for name, code in _BARE.items()),
)
_BY_CODE = {protocol.code: protocol for protocol in _PROTOCOLS}
_BY_NAME = {protocol.name: protocol for protocol in _PROTOCOLS}
_BY_NAME["ipfs"] = _BY_NAME["p2p"]  # protocols.csv: the old name of the same code


@lru_cache(maxsize=16384)
def multiaddr_to_bytes(text: str) -> bytes:
    """Return the binary form of a multiaddr.

    Raises:
        TargetError: Not a multiaddr, or one of an unknown protocol.
    """
    encoded: list[bytes] = []
    for protocol, value in _parse(text):
        encoded.append(encode_uvarint(protocol.code))
        if protocol.size_bytes < 0:
            encoded.append(encode_uvarint(len(value)))
        encoded.append(value)
    binary = b"".join(encoded)
    if len(binary) > MAX_ADDRESS_BYTES:
        raise TargetError(f"multiaddr is longer than {MAX_ADDRESS_BYTES} bytes")
    return binary


@lru_cache(maxsize=16384)
def multiaddr_to_text(binary: bytes) -> str:
    """Return the canonical text of a binary multiaddr.

    Raises:
        RemoteProtocolError: Malformed, out of bounds, or of an unknown protocol.
    """
    if not 0 < len(binary) <= MAX_ADDRESS_BYTES:
        raise RemoteProtocolError(f"a multiaddr of {len(binary)} bytes")
    components: list[Component] = []
    offset = 0
    while offset < len(binary):
        if len(components) == MAX_COMPONENTS:
            raise RemoteProtocolError("multiaddr has too many components")
        code, offset = _read_minimal(binary, offset)
        protocol = _BY_CODE.get(code)
        if protocol is None:
            raise RemoteProtocolError(f"unknown multiaddr protocol {code}")
        length = protocol.size_bytes
        if length < 0:
            length, offset = _read_minimal(binary, offset)
        if length > min(len(binary) - offset, MAX_VALUE_BYTES):
            raise RemoteProtocolError(f"multiaddr value of {protocol.name} is cut or too long")
        try:
            components.append((protocol.name, protocol.decode(binary[offset : offset + length])))
        except ValueError as exc:
            raise RemoteProtocolError(f"bad multiaddr value of {protocol.name}: {exc}") from exc
        offset += length
    return join_components(components)


def split_components(text: str) -> list[Component]:
    """Return the components of a multiaddr, in canonical form.

    Raises:
        TargetError: Not a multiaddr, or one of an unknown protocol.
    """
    return [(protocol.name, protocol.decode(value)) for protocol, value in _parse(text)]


def join_components(components: Sequence[Component]) -> str:
    """Return the text of components as `split_components` gives them."""
    return "".join(f"/{name}/{value}" if value else f"/{name}" for name, value in components)


@lru_cache(maxsize=16384)
def split_peer_id(text: str) -> tuple[str, str]:
    """Return `(address without its last /p2p part, peer id)`; the peer id is "" when absent.

    Raises:
        TargetError: Not a multiaddr.
    """
    components = split_components(text)
    if components and components[-1][0] == "p2p":
        return join_components(components[:-1]), components[-1][1]
    return join_components(components), ""


def _parse(text: str) -> list[tuple[_Protocol, bytes]]:
    if not text.startswith("/") or len(text) > 4 * MAX_ADDRESS_BYTES:
        raise TargetError(f"{text[:80]!r} is not a multiaddr such as /ip4/192.168.1.5/tcp/4101")
    words = iter(text.removesuffix("/")[1:].split("/"))
    parsed: list[tuple[_Protocol, bytes]] = []
    for name in words:
        protocol = _BY_NAME.get(name)
        if protocol is None:
            raise TargetError(f"unknown protocol {name[:80]!r} in multiaddr {text[:200]!r}")
        value = b""
        if protocol.size_bytes:
            word = next(words, None)
            if word is None:
                raise TargetError(f"multiaddr {text[:200]!r} ends where {name} needs a value")
            try:
                value = protocol.encode(word)
                protocol.decode(value)  # what we could not read back, we do not write
            except (ValueError, binascii.Error, RemoteProtocolError) as exc:
                raise TargetError(f"bad {name} in multiaddr {text[:200]!r}: {exc}") from exc
            if len(value) > MAX_VALUE_BYTES:
                raise TargetError(f"{name} in multiaddr is longer than {MAX_VALUE_BYTES} bytes")
        parsed.append((protocol, value))
        if len(parsed) > MAX_COMPONENTS:
            raise TargetError(f"multiaddr has more than {MAX_COMPONENTS} components")
    return parsed


def _read_minimal(binary: bytes, offset: int) -> tuple[int, int]:
    """Read a multiformats uvarint: at most nine bytes and of minimal length."""
    value, end = read_uvarint(binary, offset, max_bytes=9)
    if end - offset > 1 and binary[end - 1] == 0:
        raise RemoteProtocolError("uvarint is not of minimal length")
    return value, end


def ip_of(address: str) -> str:
    """Return the IP address that a multiaddr begins with, "" when it begins with something else."""
    parts = address.split("/")
    if len(parts) > 2 and parts[1] in ("ip4", "ip6"):
        try:
            return str(ipaddress.ip_address(parts[2]))
        except ValueError:
            return ""
    return ""
