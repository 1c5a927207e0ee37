"""The fixture that opens whole swarms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from mirrornode.config import SwarmConfig
from mirrornode.swarm.identity import Identity
from mirrornode.swarm.node import Swarm, open_swarm
from swarm.swarms import (
    LOOPBACK,
    Opener,
)


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    """Open swarms on loopback that close at the end of the test."""
    async with AsyncExitStack() as stack:

        async def open_one(config: SwarmConfig | None = None) -> Swarm:
            context = open_swarm(config or SwarmConfig(), Identity.generate(), listen=[LOOPBACK])
            return await stack.enter_async_context(context)

        yield open_one
