"""A resolver of names that knows what it was told: stands in for IPNS behind the gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

from mirrornode.errors import MirrorError, NoProviders


@dataclass(frozen=True)
class KnownName:
    """What a name stands for; see `ResolvedName`."""

    path: str
    ttl_s: float = 60.0
    record: bytes | None = None


@dataclass
class KnownNames:
    """Names a test has given; a name given an error raises it."""

    names: dict[str, KnownName | MirrorError] = field(default_factory=dict)

    async def resolve(self, name_text: str) -> KnownName:
        known = self.names.get(name_text)
        if known is None:
            raise NoProviders(f"nothing is known under {name_text}")
        if isinstance(known, MirrorError):
            raise known
        return known
