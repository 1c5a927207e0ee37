"""What the rest of the node knows of a connected peer. Plain values; needs neither loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerLink:
    """A peer that is connected and has said who it is.

    Attributes:
        peer_id: Proved by the handshake; base58 text.
        address: Multiaddr we are connected through, without `/p2p`. For an inbound link it has
            the peer's ephemeral port and cannot be dialled.
        agent: What the peer calls its software; unproved.
        protocols: What the peer says it answers to.
        outbound: True when we dialled.
        listen_addresses: Multiaddrs the peer says it listens on, without `/p2p`, of any transport.
    """

    peer_id: str
    address: str
    agent: str
    protocols: frozenset[str]
    outbound: bool
    listen_addresses: tuple[str, ...] = ()
