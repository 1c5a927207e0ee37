"""Bitswap with the real Kubo and the real Helia, both ways, both CID versions.

`MIRRORNODE_INTEROP_MIB` sets the size of the file; the default keeps the suite quick.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.bitswap.programs import Helia, Kubo
from support.nodes import Nodes, run

pytestmark = pytest.mark.slow

SIZE_BYTES = int(os.environ.get("MIRRORNODE_INTEROP_MIB", "12")) * (1 << 20) + 12_345

MakeFile = Callable[[str, int], Path]
Program = type[Kubo] | type[Helia]


@pytest.fixture(params=[Kubo, Helia], ids=["kubo", "helia"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Kubo | Helia:
    kind: Program = request.param
    folder = tmp_path / "other"
    folder.mkdir()
    return kind(folder)


def test_their_file_is_fetched_by_us(
    program: Kubo | Helia, nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_file("model.bin", SIZE_BYTES)
    with program.seed(model) as seed:
        done = run(
            nodes.home("taker"), "get", seed.ready["cid"], "-o", tmp_path / "out.bin", "--json",
            "--no-mdns", "--peer", seed.ready["address"],
        )  # fmt: skip
    assert done.code == 0, done.stderr
    assert filecmp.cmp(model, tmp_path / "out.bin", shallow=False)
    peer_id = seed.ready["address"].rpartition("/")[2]
    assert list(done.record["bytes_by_source"]) == [f"bitswap:{peer_id}"]


def test_our_file_is_fetched_by_them(
    program: Kubo | Helia, nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_file("model.bin", SIZE_BYTES)
    ours = nodes.serve("ours")
    cids = []
    for profile in ("unixfs-v0-2015", "unixfs-v1-2025"):
        added = ours.run("add", model, "--json", "--profile", profile)
        assert added.code == 0, added.stderr
        cids.append(str(added.record["cid"]))
    assert cids[0].startswith("Qm")
    assert cids[1].startswith("baf")
    server, taker = program.taker(ours.address)
    with server:
        for cid in cids:
            out = tmp_path / f"{cid}.bin"
            assert taker.fetch(cid, out) == "ok"
            assert filecmp.cmp(model, out, shallow=False)
    served = ours.run("status", "--json").record["served_bytes"]
    assert served >= 2 * SIZE_BYTES
