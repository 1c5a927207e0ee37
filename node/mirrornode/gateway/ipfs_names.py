"""What the gateway needs of IPNS and DNSLink: a name resolved to a path. Nothing is done here."""

from __future__ import annotations

from typing import Protocol


class ResolvedName(Protocol):
    """What a name stands for now."""

    @property
    def path(self) -> str:
        """`/ipfs/<cid>`, or a path below it."""

    @property
    def ttl_s(self) -> float:
        """How long that may be believed, in seconds."""

    @property
    def record(self) -> bytes | None:
        """The signed record, None for a name that is not kept by one (DNSLink)."""


class NameResolver(Protocol):
    """Resolves names; belongs to the event loop."""

    async def resolve(self, name_text: str) -> ResolvedName:
        """Return what a name stands for.

        Raises:
            TargetError: It is no name.
            NoProviders: Nothing is known under it.
            MirrorError: Its record is not valid, or it cannot be resolved.
        """
