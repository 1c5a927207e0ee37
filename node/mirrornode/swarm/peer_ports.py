"""What asking connected peers needs of the swarm; `Swarm` fulfils it, tests bring their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class LinkPort(Protocol):
    """A connected peer."""

    @property
    def peer_id(self) -> str: ...
    @property
    def protocols(self) -> frozenset[str]: ...


class RequestPort(Protocol):
    """Asks one peer one question."""

    async def request(
        self,
        peer_id: str,
        protocol: str,
        payload: bytes,
        *,
        timeout_s: float = 10,
        max_response_bytes: int = 4 << 20,
    ) -> bytes: ...


class PeersPort(RequestPort, Protocol):
    """Also tells who is connected."""

    def links(self) -> Sequence[LinkPort]: ...
