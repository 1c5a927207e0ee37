"""Two hosts on one cable, nothing configured: they find each other by mDNS."""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from pathlib import Path

from support.namespaces import two_hosts
from support.nodes import Nodes, run


def test_get_when_nothing_is_configured_then_found_by_mdns(
    nodes: Nodes, make_file: Callable[[str, int], Path], tmp_path: Path
) -> None:
    with two_hosts() as (one, two):
        seed = nodes.serve("seed", mdns=True, prefix=one.prefix, listen="", peer_plane="")
        model = make_file("model.safetensors", 30_000_001)
        added = seed.run("add", model, "--json")
        assert added.code == 0, added.stderr
        done = run(
            nodes.home("taker"), "get", added.record["cid"], "-o", tmp_path / "out.bin",
            "--json", prefix=two.prefix,
        )  # fmt: skip
        assert done.code == 0, done.stderr
        assert filecmp.cmp(model, tmp_path / "out.bin", shallow=False)
        assert any(one.address in address for address in seed.ready["listen"])
        assert not any("0.0.0.0" in address for address in seed.ready["listen"])
        assert seed.stop() == 0
