"""The bootstrap program as processes: meeting through it, stopping, restarting, refusing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mirrornode.config import SwarmConfig
from mirrornode.content.cid import Cid
from mirrornode.routing.announce import Announcer
from mirrornode.routing.kad.node import Kad
from mirrornode.routing.kad.settings import KadSettings
from mirrornode.store.home import lock_home
from mirrornode.swarm.identity import load_or_create_identity
from mirrornode.swarm.node import Swarm, open_swarm
from mirrornode_bootstrap.main import main
from support.dht_room import multihash_of
from support.memory_queue import MemoryQueue
from support.waiting import until

LISTEN = "/ip4/127.0.0.1/tcp/0"
SOURCES = [str(Path(__file__).resolve().parents[2] / name) for name in ("node", "bootstrap")]


class Program:
    """A running bootstrap process and what its READY line said."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready
        self.listen: str = ready["listen"][0]

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; returns its exit code, fails when it goes on."""
        self.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def _program(home: Path, *flags: str, listen: str = LISTEN) -> AsyncIterator[Program]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(SOURCES),
        "MIRRORNODE_HOME": str(home / "unused"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mirrornode_bootstrap.main",
        *("--home", str(home), "--listen", listen, "--no-mdns", "--json", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = await process.stdout.readline()
        yield Program(process, json.loads(line))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _node(folder: Path, name: str, bootstrap: str) -> AsyncIterator[tuple[Swarm, Kad]]:
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        identity = load_or_create_identity(folder / f"{name}.key")
        config = SwarmConfig(listen=(LISTEN,), bootstrap=(bootstrap,))
        swarm = await stack.enter_async_context(open_swarm(config, identity))
        kad = Kad(swarm, settings=KadSettings(first_refresh_s=0.2))
        task = group.create_task(kad.run())
        stack.callback(task.cancel)
        yield swarm, kad


async def _until_found(kad: Kad, key: bytes, peer_id: str) -> None:
    while True:
        async for record in kad.find_providers(key, timeout_s=10):
            if record.peer_id == peer_id:
                return
        await asyncio.sleep(0.05)


async def test_nodes_meet_through_the_program_and_find_by_it(tmp_path: Path) -> None:
    key = multihash_of("model")
    async with asyncio.timeout(60), _program(tmp_path / "home") as program:
        assert program.ready["home"] == str(tmp_path / "home")
        assert program.listen.endswith(f"/p2p/{program.ready['peer_id']}")
        async with _node(tmp_path, "b", program.listen) as (_, asker):
            async with _node(tmp_path, "a", program.listen) as (swarm, provider):
                await until(lambda: min(provider.table_size, asker.table_size) == 2)
                assert await provider.provide(key) == 2
            async with _node(tmp_path, "c", program.listen) as (_, newcomer):
                await newcomer.wait_for_peers()
                await _until_found(newcomer, key, swarm.peer_id)
        assert await program.stop() == 0


async def test_program_with_http_tells_who_has_what_and_where_peers_are(tmp_path: Path) -> None:
    root = Cid.raw_sha256(b"r" * 32)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        program = await stack.enter_async_context(
            _program(tmp_path / "home", "--http", "127.0.0.1:0")
        )
        swarm, kad = await stack.enter_async_context(_node(tmp_path, "a", program.listen))
        await kad.wait_for_peers()
        await kad.provide(root.multihash)
        session = await stack.enter_async_context(aiohttp.ClientSession(program.ready["http"]))

        async def ask(path: str) -> Any:
            async with session.get(f"/routing/v1/{path}") as answer:
                assert answer.status == 200
                return await answer.json()

        addresses = [address.rpartition("/p2p/")[0] for address in swarm.addresses()]
        record = {"Schema": "peer", "ID": swarm.peer_id, "Addrs": addresses, "Protocols": []}
        assert await ask(f"providers/{root}") == {"Providers": [record]}
        assert await ask(f"peers/{swarm.peer_id}") == {"Peers": [record]}
        assert (await ask(f"peers/{program.ready['peer_id']}"))["Peers"][0]["Protocols"] == []
        closest = await ask(f"dht/closest/peers/{root}")
        assert [peer["ID"] for peer in closest["Peers"]] == [swarm.peer_id]
        assert await program.stop() == 0


async def test_restarted_program_keeps_its_identity_and_gets_the_records_back(
    tmp_path: Path,
) -> None:
    key = multihash_of("model")
    async with asyncio.timeout(90), AsyncExitStack() as stack:
        async with _program(tmp_path / "home") as program:
            swarm, kad = await stack.enter_async_context(_node(tmp_path, "a", program.listen))
            queue = MemoryQueue()
            queue.enqueue_announcements([key])
            group = await stack.enter_async_context(asyncio.TaskGroup())
            announcing = group.create_task(Announcer(kad, queue, queue).run())
            stack.callback(announcing.cancel)
            await until(lambda: queue.announce_counts()[2] == 1)
            assert await program.stop(signal.SIGINT) == 0
        address, _ = program.listen.rsplit("/p2p/", 1)
        async with _program(tmp_path / "home", listen=address) as again:
            assert again.listen == program.listen
            async with _node(tmp_path, "b", again.listen) as (_, asker):
                await _until_found(asker, key, swarm.peer_id)
            assert await again.stop() == 0


def test_main_on_a_home_in_use_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock_home(tmp_path):
        assert main(["--home", str(tmp_path), "--listen", LISTEN]) == 11
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--listen", "nonsense"],
        ["--bootstrap", "/ip4/127.0.0.1/tcp/1"],
        ["--bootstrap", "@/nowhere/peers.txt"],
        ["--listen", LISTEN, "--http", "8091"],
    ],
)
def test_main_refuses_wrong_settings(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path), "--no-mdns", *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1


async def test_program_reads_a_peer_list_that_names_itself_too(tmp_path: Path) -> None:
    async with asyncio.timeout(60), _program(tmp_path / "one") as one:
        own_id = load_or_create_identity(tmp_path / "two.key").peer_id
        (tmp_path / "two").mkdir(mode=0o700)
        (tmp_path / "two.key").rename(tmp_path / "two" / "identity.key")
        peers = tmp_path / "peers.txt"
        peers.write_text(f"# servers\n\n{one.listen}\n/ip4/127.0.0.1/tcp/1/p2p/{own_id}\n")
        async with (
            _program(tmp_path / "two", "--bootstrap", f"@{peers}") as two,
            _node(tmp_path, "a", one.listen) as (_, kad),
        ):
            assert two.ready["peer_id"] == own_id
            await until(lambda: kad.table_size == 2)  # meets the second through the first
