"""Names and access of one node, over a stand-in Hub, with a clock that only the test moves."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirrornode.config import HubConfig
from mirrornode.errors import HubRefusal
from mirrornode.mirror.hub.access import HubAccess
from mirrornode.mirror.hub.names import AskPeers, HubNames
from mirrornode.sources.hub_origin import HubOrigin, Origins
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.wire.hub import Repo
from support.hub_origin import StandInHub

START = 1_700_000_000.0
LONG_ENOUGH_S = 120.0  # for an origin that was away to be asked again


@dataclass
class Clock:
    """Unix time and any other clock of a test."""

    now: float = START

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Office:
    """What serves the names of one node."""

    catalog: Catalog
    names: HubNames
    access: HubAccess
    clock: Clock

    async def sees(self, repo: Repo, token: str, revision: str = "main") -> str:
        """Return the commit, or "STATUS CODE" of the refusal of names or content."""
        try:
            named = await self.names.resolve(repo, revision, token)
            await self.access.check(named, token)
        except HubRefusal as exc:
            return f"{exc.status} {exc.code}".strip()
        return named.commit


@contextlib.contextmanager
def office_of(
    home: Path,
    *hubs: StandInHub,
    clock: Clock | None = None,
    ask_peers: AskPeers | None = None,
    **settings: Any,
) -> Iterator[Office]:
    """Open the names of a node whose origins are these hubs; `settings` are those of `[hub]`."""
    clock = clock or Clock()
    config = dataclasses.replace(HubConfig(), **settings)
    with open_catalog(home) as catalog:
        origins = Origins([HubOrigin(hub.url) for hub in hubs], clock=clock)
        names = HubNames(catalog, origins, config, clock=clock, ask_peers=ask_peers)
        access = HubAccess(catalog, origins, names, config, clock=clock)
        try:
            yield Office(catalog, names, access, clock)
        finally:
            access.close()
            names.close()
