"""What the DHT needs from a swarm, so that it can be tested without one.

`mirrornode.swarm.node.Swarm` has these methods; so has the virtual swarm of the tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

Responder = Callable[[str, bytes], Awaitable[bytes | None]]
"""Takes `(peer id, request)` and returns the answer, or None to close without one."""


class Link(Protocol):
    """A connected and identified peer."""

    @property
    def peer_id(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def protocols(self) -> frozenset[str]: ...
    @property
    def outbound(self) -> bool: ...
    @property
    def listen_addresses(self) -> tuple[str, ...]:
        """The multiaddrs the peer says (identify) it may be dialled at."""
        ...


class SwarmPort(Protocol):
    """Connections to peers, and messages over them.

    More than four methods because it is the seam to libp2p as a whole; every part below uses a
    few of them.
    """

    @property
    def peer_id(self) -> str: ...

    def addresses(self) -> list[str]:
        """Return our dialable multiaddrs, each ending in /p2p/<our id>."""
        ...

    async def dial(
        self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10
    ) -> None: ...

    async def request(
        self,
        peer_id: str,
        protocol: str,
        payload: bytes,
        *,
        ahead: Sequence[bytes] = (),
        timeout_s: float = 10,
        max_response_bytes: int = 4 << 20,
    ) -> bytes:
        """Return the answer to `payload`; `ahead` are messages without answers sent before it."""
        ...

    def serve(
        self,
        protocol: str,
        responder: Responder,
        *,
        max_request_bytes: int = 64 << 10,
        max_concurrent: int = 64,
    ) -> None: ...

    async def disconnect(self, peer_id: str) -> None: ...

    def links(self) -> Sequence[Link]: ...

    def link(self, peer_id: str) -> Link | None: ...

    def on_peer(self, callback: Callable[[Link], None]) -> Callable[[], None]: ...

    def on_peer_gone(self, callback: Callable[[str], None]) -> Callable[[], None]: ...
