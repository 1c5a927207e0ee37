"""One capped seed and several takers, as processes: shares are even, takers feed each other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirrornode.client import Client
from support.nodes import Nodes, RunningNode, start

MIB = 1 << 20
WAIT_S = 60.0
MakeFile = Callable[[str, int], Path]


def add(node: RunningNode, path: Path) -> str:
    done = node.run("add", path, "--json")
    assert done.code == 0, done.stderr
    return str(done.record["cid"])


def transfers(node: RunningNode) -> list[dict[str, Any]]:
    """Return the running downloads of a node that have found what they are to bring."""
    found = Client(node.home).status()["transfers"]
    return [transfer for transfer in found if transfer["total_bytes"]]


def served_bytes(node: RunningNode) -> int:
    return int(Client(node.home).status()["served_bytes"])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


def test_seed_when_capped_then_two_takers_share_evenly_whatever_their_transfers(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    seed = nodes.serve("seed", "--upload-limit", "2MB")
    cids = [add(seed, make_file(f"model-{number}.bin", 16 * MIB)) for number in range(3)]
    size = 6 * MIB
    cid = add(seed, make_file("one.bin", size))
    many, one = nodes.serve("many"), nodes.serve("one")
    running = [
        start(many.home, "get", big, "-o", tmp_path / big, "--json", "--peer", seed.address)
        for big in cids
    ]
    wait_for(lambda: len(transfers(many)) == 3)
    single = start(one.home, "get", cid, "-o", tmp_path / "one", "--json", "--peer", seed.address)
    running.append(single)
    wait_for(lambda: bool(transfers(one)))
    before = served_bytes(seed)
    output, errors = single.communicate(timeout=WAIT_S)
    served = served_bytes(seed) - before
    for process in running[:3]:
        process.kill()
        process.communicate()
    assert single.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["size_bytes"] == size
    # Three transfers, six connections, against one and two: a quarter without turns.
    assert 0.34 < size / served < 0.7
    assert Client(seed.home).status()["limits"]["upload"] == 2_000_000


def test_takers_when_the_seed_is_capped_then_they_feed_each_other(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    size = 16 * MIB
    seed = nodes.serve("seed", "--upload-limit", "8MB")
    model = make_file("model.bin", size)
    cid = add(seed, model)
    takers = [nodes.serve(f"taker-{number}", bootstrap=[seed.address]) for number in range(3)]
    running = [
        start(taker.home, "get", cid, "-o", tmp_path / f"{taker.home.name}.bin", "--json")
        for taker in takers
    ]
    from_seed = from_takers = 0
    for taker, process in zip(takers, running, strict=True):
        output, errors = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, errors
        assert (tmp_path / f"{taker.home.name}.bin").read_bytes() == model.read_bytes()
        got = json.loads(output.splitlines()[-1])["bytes_by_source"]
        from_seed += got.pop(f"peer:{seed.ready['peer_id']}", 0)
        from_takers += sum(got.values())
    served = served_bytes(seed)
    assert served >= from_seed
    assert served < 0.8 * len(takers) * size  # all of it without the exchange
    assert from_takers > 0.25 * len(takers) * size
