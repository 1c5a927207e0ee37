"""Pins, room and copies with real processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.nodes import Nodes, RunningNode, run
from support.waiting import until_sync

MIB = 1 << 20
MakeFile = Callable[[str, int], Path]


def add(node: RunningNode, path: Path, *options: str) -> str:
    done = node.run("add", path, "--json", *options)
    assert done.code == 0, done.stderr
    return str(done.record["cid"])


def configure(nodes: Nodes, name: str, text: str) -> None:
    home = nodes.home(name)
    home.mkdir()
    (home / "config.toml").write_text(text)


def test_pin_and_gc_when_room_is_short_then_only_unpinned_copies_go(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    configure(nodes, "taker", '[storage]\nquota = "9MiB"\nlow_water = 0.3\n')
    seed = nodes.serve("seed")
    models = [make_file(f"m{number}.bin", 2 * MIB) for number in range(3)]
    cids = [add(seed, path) for path in models]
    taker = nodes.serve("taker", bootstrap=[seed.address])
    pinned = taker.run("pin", cids[0], "--name", "mine", "--json")
    assert pinned.code == 0, pinned.stderr
    assert (pinned.record["was_here"], pinned.record["fetched_bytes"] >= 2 * MIB) == (False, True)
    for cid in cids[1:]:
        assert taker.run("pin", cid).code == 0
        assert taker.run("unpin", cid).code == 0
    shown = make_file("shown.bin", MIB)
    own = add(taker, shown)
    out = tmp_path / "out.bin"
    assert taker.run("get", cids[1], "-o", out).code == 0
    told = taker.run("gc", "--dry-run", "--json").record
    assert told["used_bytes"] == 6 * MIB
    # The copies may have been used a moment ago, by `get` and by being fetched: then they wait.
    until_sync(lambda: taker.run("gc", "--json").record["used_after_bytes"] < 3 * MIB)
    listed = {record["target"] for record in _records(taker.run("pin", "--list", "--json").stdout)}
    assert listed == {cids[0]}
    assert [path.name for path in (taker.home / "models").iterdir()] == [cids[0]]
    assert (out.exists(), shown.exists()) == (True, True)
    states = {
        record["cid"]: record["state"] for record in _records(taker.run("ls", "--json").stdout)
    }
    assert states[own] == states[cids[0]] == states[cids[1]] == "ok"
    assert taker.run("verify").code == 0
    taker.stop()
    again = run(taker.home, "gc", "--keep-free", "1000TB", "--json")  # without a daemon
    assert again.code == 0, again.stderr
    assert again.record["held_bytes"] == {"pinned": 2 * MIB}
    assert again.record["short_bytes"] > 0


def test_pin_when_replicas_then_kept_elsewhere_and_repaired_when_one_is_gone(
    nodes: Nodes, make_file: MakeFile
) -> None:
    configure(nodes, "asker", "[storage]\nreplica_away_s = 1\n")
    for name in ("one", "two"):
        configure(nodes, name, "[storage]\naccept_pins = true\n")
    asker = nodes.serve("asker")
    cid = add(asker, make_file("model.bin", 3 * MIB))
    holders = {
        str(node.ready["peer_id"]): node
        for node in (nodes.serve(name, bootstrap=[asker.address]) for name in ("one", "two"))
    }

    def kept_by() -> list[str]:
        record = asker.run("pin", cid, "--replicas", "1", "--json").record  # looks after copies
        return [one["peer_id"] for one in record["holders"] if one["state"] == "kept"]

    until_sync(lambda: len(kept_by()) > 0)
    first = kept_by()[0]
    held = _records(holders[first].run("pin", "--list", "--json").stdout)
    assert [(one["owner"], one["target"]) for one in held] == [(asker.ready["peer_id"], cid)]
    holders[first].kill()
    (second,) = set(holders) - {first}
    until_sync(lambda: second in kept_by())
    assert holders[second].run("ls", "--json").record["cid"] == cid


def _records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]
