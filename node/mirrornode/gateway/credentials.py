"""What a request to the gateway shows of who asks: tokens, networks, the proxies in between.

Pure: texts in, values out; who is let in is decided by `gateway.access`.

A token of the gateway is shown alone or with one of the Hub behind it, `TOKEN` or `TOKEN:HF_TOKEN`,
as a bearer or as the password of Basic. So a client of the Hub, which has one header for both, can
show both. Tokens that begin with `mn_` are ours whether known or not: none is ever passed on.
Spec: RFC 6750 (Bearer), RFC 7617 (Basic); X-Forwarded-For as nginx and Squid write it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from mirrornode.errors import ConfigError

OUR_PREFIX: Final = "mn_"
MAX_TOKEN_LETTERS: Final = 4096
MAX_HOPS: Final = 32  # addresses of one X-Forwarded-For that are read, from its end
MAX_FILE_BYTES: Final = 1 << 20

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_ENTRY = re.compile(r"([^\s:]{1,64}):([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Shown:
    """The tokens of one request.

    Attributes:
        gateway: What may be a token of the gateway, "" for nothing of the kind.
        origin: What goes on to the origin when `gateway` is one of ours.
        whole: What goes on when it is not: the bearer as it came.
        is_script: Shown in a way that no page of another site can make a browser use.
    """

    gateway: str = ""
    origin: str = ""
    whole: str = ""
    is_script: bool = False


def shown_by(authorization: str, own_header: str) -> Shown:
    """Return the tokens in `Authorization` and `X-Mirrornode-Token`; what is malformed counts not.

    With a header of its own for the gateway's token, `Authorization` is the origin's.
    """
    kind, _, value = authorization.partition(" ")
    value = value.strip()
    if len(value) > MAX_TOKEN_LETTERS:
        value = ""
    is_bearer = kind.lower() == "bearer"
    if own_header:
        bearer = value if is_bearer else ""
        own = own_header if len(own_header) <= MAX_TOKEN_LETTERS else ""
        return Shown(own, bearer, bearer, is_script=True)
    if not is_bearer:
        value = _password(value) if kind.lower() == "basic" else ""
    gateway, _, origin = value.partition(":")
    # A password is only ever meant for us; a bearer may be the origin's own.
    whole = value if is_bearer else ""
    return Shown(gateway, origin, whole, is_script=is_bearer)


def userinfo_of(authorization: str) -> str:
    """Return `NAME:PASSWORD@` of a client that shows Basic, "" for any other.

    For links that are sent back to it: a client whose URL of us holds these follows a link without
    them as a stranger.
    """
    kind, _, value = authorization.partition(" ")
    if kind.lower() != "basic" or len(value) > MAX_TOKEN_LETTERS:
        return ""
    name, separator, password = _basic(value.strip()).partition(":")
    return f"{quote(name, safe='')}:{quote(password, safe='')}@" if separator else ""


def _password(encoded: str) -> str:
    # Where only one of both is given, it is the token, wherever a client has put it.
    name, _, password = _basic(encoded).partition(":")
    return password or name


def _basic(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def parse_networks(texts: Iterable[str], key: str) -> tuple[Network, ...]:
    """Return the networks that a setting lists, single addresses included.

    Raises:
        ConfigError: One is no network, or has bits set behind its mask.
    """
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip()))
        except ValueError as exc:
            raise ConfigError(
                f'{key}: {exc}; give networks such as "10.0.0.0/8" or "192.168.1.7"', key=key
            ) from exc
    return tuple(found)


def parse_tokens(settings: Sequence[str], token_file: str, home: Path) -> dict[bytes, str]:
    """Return the names of the tokens by their SHA-256.

    Raises:
        ConfigError: An entry is not `NAME:SHA256`, or the file cannot be read.
    """
    entries = [("gateway.tokens", text) for text in settings]
    if token_file:
        key = "gateway.token_file"
        try:
            with (home / Path(token_file).expanduser()).open("rb") as file:
                text = file.read(MAX_FILE_BYTES).decode()
        except (OSError, ValueError, RuntimeError) as exc:
            raise ConfigError(f"{key}: cannot read {token_file}: {exc}", key=key) from exc
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        entries += [(key, line) for line in lines if line]
    found: dict[bytes, str] = {}
    for key, text in entries:
        match = _ENTRY.fullmatch(text)
        if match is None:  # its text is not shown: it may be a token put here by mistake
            raise ConfigError(f"{key}: give NAME:SHA256, the SHA-256 in 64 hex digits", key=key)
        found[bytes.fromhex(match[2])] = match[1]
    return found


def parse_address(text: str | None) -> Address | None:
    """Return an address, with or without a port; None for what is none, such as a Unix socket."""
    text = (text or "").strip()
    if text.startswith("["):
        text = text.partition("]")[0].removeprefix("[")
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_within(address: Address | None, networks: Iterable[Network]) -> bool:
    """Tell whether an address lies in one of the networks."""
    return address is not None and any(address in network for network in networks)


def client_behind(
    peer: Address | None, forwarded_for: Iterable[str], trusted: Sequence[Network]
) -> Address | None:
    """Return the client whom trusted proxies name; None when they name nothing readable.

    Read from the end, which the nearest proxy wrote: what a client itself put at the front counts
    only as far as those proxies are trusted that have seen it.
    """
    if not is_within(peer, trusted):
        return peer
    hops = [hop for value in forwarded_for for hop in value.split(",") if hop.strip()]
    client = None
    for hop in reversed(hops[-MAX_HOPS:]):
        client = parse_address(hop)
        if not is_within(client, trusted):
            return client
    return client
