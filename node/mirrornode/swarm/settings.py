"""The addresses that a user writes into the settings, checked before anything is opened.

Every refusal names the offending text and its key. Texts that come from peers are read by
`addresses.dialable`, which leaves out what it does not understand instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from mirrornode.errors import ConfigError
from mirrornode.swarm.addresses import TcpAddress


def parse_bootstrap(
    texts: Sequence[str], key: str = "swarm.bootstrap"
) -> dict[str, tuple[str, ...]]:
    """Group bootstrap multiaddrs by peer id; `key` is the setting they come from.

    Raises:
        ConfigError: One is not a TCP multiaddr, or does not end in `/p2p/<peer id>`.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        try:
            address = TcpAddress.parse(text)
        except ValueError as exc:
            raise ConfigError(f"{key} {text!r}: {exc}", key=key) from exc
        if not address.peer_id or not address.port:
            raise ConfigError(
                f"{key} {text!r} must name a port and end in /p2p/<peer id>",
                key=key,
            )
        found[address.peer_id] = (*found.get(address.peer_id, ()), str(address))
    return found


def parse_listen(texts: Sequence[str]) -> tuple[TcpAddress, ...]:
    """Read listen multiaddrs; port 0 means any free one.

    Raises:
        ConfigError: One is not an IP address with a TCP port.
    """
    found: list[TcpAddress] = []
    for text in texts:
        try:
            address = TcpAddress.parse(text)
        except ValueError as exc:
            raise ConfigError(f"cannot listen on {text!r}: {exc}", key="swarm.listen") from exc
        if address.ip is None or address.peer_id:
            raise ConfigError(
                f"cannot listen on {text!r}: an IP address and a port are needed",
                key="swarm.listen",
            )
        found.append(address)
    return tuple(found)
