"""aria2, which many use to fetch from the Hub: one file by many ranges at the same time.

It takes a segment out of a stream and leaves it, so that it never sees a cut at the file's end;
what it has put together it checks by the `Digest` that it was told.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from support.hub_origin import StandInHub, running_hub
from support.hub_repos import Blob
from support.hub_room import place_of, sha256_of
from support.nodes import Nodes
from support.waiting import until

ARIA2 = shutil.which("aria2c")
SIZE = 12 << 20
FILE = "model.safetensors"
GARBLED = 32  # aria2's exit code for a wrong checksum

pytestmark = pytest.mark.skipif(ARIA2 is None, reason="aria2c is not installed")


def _endpoint(nodes: Nodes, *hubs: StandInHub) -> str:
    home = nodes.home("node")
    home.mkdir()
    origins = "".join(f'[[origin]]\nurl = "{hub.url}"\n' for hub in hubs)
    (home / "config.toml").write_text(origins)
    return nodes.serve("node").gateway


async def _fetch(endpoint: str, out: Path) -> int:
    """Fetch the file in up to eight ranges and return aria2's exit code."""
    out.parent.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        str(ARIA2), "--no-conf", "--quiet", "-x8", "-s8", "-k1M",
        f"-d{out.parent}", f"-o{out.name}", f"{endpoint}/org/name/resolve/main/{FILE}",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_aria2_when_the_file_is_not_here_yet_then_all_of_it(
    nodes: Nodes, tmp_path: Path
) -> None:
    with running_hub() as hub:
        hub.add_model("org/name", {FILE: Blob(SIZE, 1)})
        # Ranges are asked for while the origin has sent next to nothing.
        pause = hub.hold(after_bytes=1000, match=FILE, times=-1)
        endpoint = await asyncio.to_thread(_endpoint, nodes, hub)
        out = tmp_path / "out" / FILE
        fetching = asyncio.create_task(_fetch(endpoint, out))
        await until(lambda: hub.file_bytes_sent(FILE) > 0)
        pause.set()
        assert await fetching == 0
        assert sha256_of(out) == sha256_of(place_of(hub, "org/name", FILE))
        assert not out.with_name(f"{FILE}.aria2").exists()


async def test_aria2_when_the_first_origin_sends_garbage_then_never_taken_for_the_file(
    nodes: Nodes, tmp_path: Path
) -> None:
    with running_hub() as wrong, running_hub() as right:
        for hub in (wrong, right):
            hub.add_model("org/name", {FILE: Blob(SIZE, 1)})
        wrong.corrupt(match=FILE, at=5)
        endpoint = await asyncio.to_thread(_endpoint, nodes, wrong, right)
        out = tmp_path / "out" / FILE
        # A segment of the wrong beginning may be in what it puts together: it finds out, and says
        # so; asked again it fetches that file anew.
        codes = [await _fetch(endpoint, out)]
        while codes[-1] == GARBLED and len(codes) < 3:
            assert out.with_name(f"{FILE}.aria2").exists()
            codes.append(await _fetch(endpoint, out))
        if codes[-1] == 0:
            assert sha256_of(out) == sha256_of(place_of(right, "org/name", FILE))
        else:
            assert out.with_name(f"{FILE}.aria2").exists()
