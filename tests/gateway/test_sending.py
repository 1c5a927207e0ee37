"""Runs of files through aiohttp: from memory, from disk, from where nobody can tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mirrornode.gateway.sending import COLD_BYTES, SENDFILE_BYTES, send_run
from support.shared_files import content

SIZE = SENDFILE_BYTES + COLD_BYTES + 4097


async def sent(path: Path, start: int, stop: int) -> tuple[bytes, int, int]:
    """Return what arrives of a run, where sending ended, and how often it was checked."""
    ends: list[int] = []
    checks: list[None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(stop - start)})
        await response.prepare(request)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            ends.append(
                await send_run(request, descriptor, start, stop, lambda: checks.append(None))
            )
        finally:
            os.close(descriptor)
        if ends[0] < stop:
            raise ConnectionResetError
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestClient(TestServer(app)) as client, client.get("/") as response:
        got = b""
        try:
            async for piece in response.content.iter_any():
                got += piece
        except aiohttp.ClientPayloadError:
            pass
    return got, ends[0], len(checks)


DATA = (content(1000) * (SIZE // 1000 + 1))[:SIZE]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def path_in_memory(path: Path) -> Iterator[Path]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("needs a file system in memory")
    copy = folder / f"mirrornode-test-{os.getpid()}"
    copy.write_bytes(DATA)
    yield copy
    copy.unlink()


@pytest.mark.parametrize(("start", "stop"), [(0, SIZE), (4095, 4097), (1, SIZE - 1)])
async def test_send_when_in_memory_then_exactly_the_run(path: Path, start: int, stop: int) -> None:
    got, end, _ = await sent(path, start, stop)
    assert end == stop
    assert got == DATA[start:stop]


async def test_send_when_not_in_memory_then_the_same(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    got, _, checks = await sent(path, 0, SIZE)
    assert got == DATA
    assert checks >= SIZE // SENDFILE_BYTES


async def test_send_when_the_file_system_cannot_tell_then_the_same(path_in_memory: Path) -> None:
    # Linux does not say of a tmpfs what of it is in memory: all of it is.
    got, _, _ = await sent(path_in_memory, 5, SIZE)
    assert got == DATA[5:]


@pytest.mark.parametrize("size", [0, 100_000])
async def test_send_when_the_file_ends_early_then_where_it_ends(path: Path, size: int) -> None:
    os.truncate(path, size)
    got, end, _ = await sent(path, 0, SIZE)
    assert (end, got) == (size, DATA[:size])
