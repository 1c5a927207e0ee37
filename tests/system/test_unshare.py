"""`unshare` with real processes: who asks afterwards gets nothing, and `add` brings it back."""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from pathlib import Path

from support.nodes import Nodes, run

MIB = 1 << 20


def test_unshare_when_done_then_a_peer_gets_nothing_until_it_is_added_again(
    nodes: Nodes, make_file: Callable[[str, int], Path], tmp_path: Path
) -> None:
    large = make_file("model/large.bin", 3 * MIB + 7)
    make_file("model/small.json", 100)
    node = nodes.serve("a")
    cid = node.run("add", large.parent, "--json").record["cid"]

    def fetch(name: str) -> int:
        out = tmp_path / "out" / name
        words = ("get", cid, "-o", out, "--peer", node.address, "--no-mdns", "--timeout", "4")
        return run(nodes.home(name), *words).code

    assert fetch("before") == 0
    done = node.run("unshare", large.parent, "--json")
    assert (done.code, done.record["files"]) == (0, 2)
    assert node.run("ls", "--json").stdout == ""
    assert fetch("between") == 10
    assert node.run("unshare", cid).code == 2
    assert node.run("add", large.parent, "--json").record["cid"] == cid
    assert fetch("after") == 0
    assert filecmp.cmp(large, tmp_path / "out" / "after" / "large.bin", shallow=False)
