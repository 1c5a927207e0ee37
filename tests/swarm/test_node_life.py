"""How a swarm opens and closes, and what it does when peers die or come back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack

import psutil
import pytest

from mirrornode.config import DEFAULT_SWARM_PORT, SwarmConfig
from mirrornode.errors import (
    ConfigError,
    SourceGone,
)
from mirrornode.swarm.identity import Identity
from mirrornode.swarm.node import open_swarm
from swarm.swarms import (
    LOOPBACK,
    Opener,
    gone,
    linked,
    next_peer,
)

PEER_PROGRAM = """
import asyncio, sys
from mirrornode.config import SwarmConfig
from mirrornode.swarm.identity import Identity
from mirrornode.swarm.node import open_swarm

async def main():
    async with open_swarm(SwarmConfig(), Identity.generate(), listen=["/ip4/127.0.0.1/tcp/0"]) as s:
        print(s.addresses()[0], flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def peer_process() -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run a swarm in a process of its own; yield it and its address."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PEER_PROGRAM, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_link_when_peer_process_is_killed_then_gone(opened: Opener) -> None:
    client = await opened()
    async with peer_process() as (process, address):
        peer_id = address.rpartition("/")[2]
        await client.dial(peer_id, [address])
        lost = gone(client)
        process.send_signal(signal.SIGKILL)
        assert await lost == peer_id
        assert client.link(peer_id) is None


async def test_process_when_it_ends_then_no_traceback(opened: Opener) -> None:
    client = await opened()
    async with peer_process() as (process, address):
        await client.dial(address.rpartition("/")[2], [address])
        _, errors = await process.communicate(b"")
        assert (process.returncode, errors) == (0, b"")


async def test_close_when_calls_are_in_flight_then_they_end_and_nothing_is_left() -> None:
    files_before = psutil.Process().num_fds()
    started = asyncio.Event()

    async def hang(peer_id: str, request: bytes) -> bytes:
        started.set()
        await asyncio.Event().wait()
        return b""

    async with AsyncExitStack() as stack:
        swarms = [
            await stack.enter_async_context(
                open_swarm(SwarmConfig(), Identity.generate(), listen=[LOOPBACK])
            )
            for _ in range(2)
        ]
        client, server = swarms
        server.serve("/hang", hang)
        await client.dial(server.peer_id, server.addresses())
        calls: list[Awaitable[bytes]] = [
            asyncio.ensure_future(client.request(server.peer_id, "/hang", b"")) for _ in range(5)
        ]
        await started.wait()
    for call in calls:
        with pytest.raises(SourceGone):
            await call
    with pytest.raises(SourceGone, match="shutting down"):
        await client.request(server.peer_id, "/hang", b"")
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not [each for each in threading.enumerate() if each.name == "mirrornode-swarm"]
    assert psutil.Process().num_fds() == files_before


async def test_bootstrap_when_peer_comes_back_then_connected_again(opened: Opener) -> None:
    identity = Identity.generate()
    async with open_swarm(SwarmConfig(), identity, listen=[LOOPBACK]) as first:
        port = first.addresses()[0].split("/")[4]
        address = f"/dns4/localhost/tcp/{port}/p2p/{identity.peer_id}"
        client = await opened(SwarmConfig(bootstrap=(address,)))
        while client.link(identity.peer_id) is None:
            await next_peer(client, lambda link: True)
        lost, back = gone(client), next_peer(client, lambda link: True)
    assert await lost == identity.peer_id
    async with open_swarm(SwarmConfig(), identity, listen=[f"/ip4/127.0.0.1/tcp/{port}"]):
        assert (await back).peer_id == identity.peer_id


async def test_open_when_bootstrap_is_wrong_then_config_error_and_no_thread() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        async with open_swarm(SwarmConfig(bootstrap=("nonsense",)), Identity.generate()):
            raise AssertionError
    assert not [each for each in threading.enumerate() if each.name == "mirrornode-swarm"]


async def test_open_when_given_port_is_taken_then_config_error_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"/ip4/127.0.0.1/tcp/{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=address) as caught:
            async with open_swarm(SwarmConfig(listen=(address,)), Identity.generate()):
                raise AssertionError
    assert caught.value.key == "swarm.listen"


async def test_open_when_default_port_is_taken_then_another() -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # then somebody else has it, which does as well
            stack.enter_context(socket.create_server(("0.0.0.0", DEFAULT_SWARM_PORT)))
        async with open_swarm(SwarmConfig(), Identity.generate()) as swarm:
            addresses = swarm.addresses()
    assert addresses
    assert not [each for each in addresses if "/0.0.0.0/" in each]
    assert not [each for each in addresses if f"/tcp/{DEFAULT_SWARM_PORT}/" in each]
    assert addresses[-1].startswith("/ip4/127.0.0.1/tcp/")


async def test_open_when_not_listening_then_can_still_dial(opened: Opener) -> None:
    server = await opened()
    async with open_swarm(SwarmConfig(), Identity.generate(), listen=[]) as client:
        assert client.addresses() == []
        await client.dial(server.peer_id, server.addresses())


async def test_open_when_libraries_log_then_the_root_logger_is_left_alone(opened: Opener) -> None:
    before = list(logging.getLogger().handlers)
    await linked(opened)
    assert logging.getLogger().handlers == before
    assert not logging.getLogger("libp2p.stream_muxer").isEnabledFor(logging.ERROR)
