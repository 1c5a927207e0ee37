"""Requests that wait for a proof: who is kept waiting, who for how long, who not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mirrornode.gateway.hub_waiting import INTERIM, wait_with
from support.planes import LOOPBACK
from support.waiting import until

HUB_CLIENT = "unknown/None; hf_hub/2.4.0; python/3.11"


class Served:
    """One route that waits for `proven`; `left` is set when its client has gone meanwhile."""

    def __init__(self) -> None:
        self.proven = asyncio.Event()
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.deadline_s = 60.0
        self.others_wait_s = 60.0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.set()
        deadline = asyncio.get_running_loop().time() + self.deadline_s
        try:
            is_proven = await wait_with(
                request, self._proof(), deadline, interim_every_s=0.01,
                others_wait_s=self.others_wait_s,
            )  # fmt: skip
        except (ConnectionResetError, asyncio.CancelledError):
            self.left.set()
            raise
        return web.Response(text="proven" if is_proven else "not yet")

    async def _proof(self) -> None:
        await self.proven.wait()

    @asynccontextmanager
    async def ask(
        self, *headers: str, version: str = "1.1"
    ) -> AsyncIterator[tuple[asyncio.StreamReader, Callable[[], None]]]:
        """Send a request as it stands and yield what comes back."""
        app = web.Application()
        app.router.add_get("/", self.answer)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, LOOPBACK, 0).start()
            reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
            lines = [f"GET / HTTP/{version}", "Host: x", *headers, "", ""]
            writer.write("\r\n".join(lines).encode())
            yield reader, writer.close
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        finally:
            await runner.cleanup()


@pytest.fixture
async def served() -> Served:
    return Served()


@pytest.mark.parametrize("agent", [HUB_CLIENT, "aria2/1.36.0", "curl/7.88.1"])
async def test_client_when_it_reads_interim_answers_then_kept_waiting(
    served: Served, agent: str
) -> None:
    served.deadline_s = served.others_wait_s = 0  # however long it takes
    async with served.ask(f"User-Agent: {agent}") as (reader, _):
        for _ in range(3):
            assert await reader.readexactly(len(INTERIM)) == INTERIM
        served.proven.set()
        while (line := await reader.readline()) != b"HTTP/1.1 200 OK\r\n":
            assert line in (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
        assert await reader.readexactly(1) not in (b"H", b"")  # headers, no further answer


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("1.1", ["User-Agent: Go-http-client/1.1"]),
        ("1.1", []),
        ("1.0", [f"User-Agent: {HUB_CLIENT}"]),
        ("1.1", [f"User-Agent: {HUB_CLIENT}", "Via: 1.1 squid"]),
        ("1.1", [f"User-Agent: {HUB_CLIENT}", "X-Forwarded-For: 192.0.2.1"]),
    ],
)
async def test_client_when_it_might_not_read_them_then_one_answer(
    served: Served, version: str, headers: list[str]
) -> None:
    async with served.ask(*headers, version=version) as (reader, _):
        await served.asked.wait()
        # Long enough for several interim answers.
        asyncio.get_running_loop().call_later(0.05, served.proven.set)
        assert (await reader.readline()).startswith(f"HTTP/{version} 200".encode())


@pytest.mark.parametrize(
    ("headers", "is_soon"),
    [
        (["User-Agent: Go-http-client/1.1"], False),
        ([f"User-Agent: {HUB_CLIENT}", "Via: 1.1 squid"], True),
    ],
)
async def test_client_when_it_is_not_kept_waiting_then_told_before_it_gives_up(
    served: Served, headers: list[str], is_soon: bool
) -> None:
    served.deadline_s, served.others_wait_s = (0, 60) if is_soon else (0, 0.05)
    async with served.ask(*headers) as (reader, _):
        assert b"not yet" in await reader.readuntil(b"not yet")


async def test_client_when_it_leaves_then_nothing_waits_for_it(served: Served) -> None:
    async with served.ask(f"User-Agent: {HUB_CLIENT}") as (reader, leave):
        await reader.readexactly(len(INTERIM))
        leave()
        await until(served.left.is_set)
