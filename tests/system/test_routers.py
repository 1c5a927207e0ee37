"""`get` with nothing but a router's URL, between whole nodes.

No mDNS, no bootstrap peer, no mirror: what arrives was found by `[routing] delegated`.
"""

from __future__ import annotations

import random
from pathlib import Path

from support.nodes import nodes_in, run

SIZE_BYTES = 3 * 1024 * 1024 + 5


def made_up_file(folder: Path) -> Path:
    path = folder / "model.bin"
    path.write_bytes(random.Random(4).randbytes(SIZE_BYTES))
    return path


def home_with_router(folder: Path, url: str) -> Path:
    """Return a home whose settings name one router."""
    home = folder / "taker"
    home.mkdir()
    (home / "config.toml").write_text(f'[routing]\ndelegated = ["{url}"]\n')
    return home


def test_get_when_only_a_router_is_known_then_from_the_peer_it_names(tmp_path: Path) -> None:
    path = made_up_file(tmp_path)
    with nodes_in(tmp_path) as nodes:
        seed = nodes.serve("seed")
        cid = seed.run("add", "--json", path).record["cid"]
        router = nodes.serve("router", bootstrap=[seed.address])
        home = home_with_router(tmp_path, router.gateway)
        got = run(home, "get", cid, "-o", tmp_path / "got", "--json", "--no-mdns")
    assert got.code == 0, got.stderr
    assert (tmp_path / "got").read_bytes() == path.read_bytes()
    assert list(got.record["bytes_by_source"]) == [f"peer:{seed.ready['peer_id']}"]
