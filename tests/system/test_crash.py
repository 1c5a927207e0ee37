"""Downloads that are killed at any moment: the right file, and next to nothing fetched twice.

The large run (2 GiB, 200 kills) is `python -m bench.kills`.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from pathlib import Path

from support.kills import kill_over_and_over
from support.nodes import Nodes, run
from support.paced_server import paced_server

MIB = 1 << 20
# What the source sent and the killed process had not yet read from its sockets is lost: some 10 ms
# of the rate, more when other work kept that process waiting. Starting anew loses 5 times as much.
MAX_LOST_BYTES = 2 * MIB
RATE = 16e6  # bytes a second
MakeFile = Callable[[str, int], Path]


def known_and_away(nodes: Nodes, model: Path, name: str) -> tuple[str, Path]:
    """Let a home know the tree of a file that is not there any more; return CID and file."""
    added = run(nodes.home(name), "add", model, "--json")
    assert added.code == 0, added.stderr
    away = model.with_suffix(".away")
    model.rename(away)
    return str(added.record["cid"]), away


def test_get_when_killed_at_any_moment_then_right_and_next_to_nothing_comes_twice(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    size = 96 * MIB + 12_345
    cid, model = known_and_away(nodes, make_file("model.bin", size), "taker")
    with paced_server(model, RATE) as server:
        fate = kill_over_and_over(
            nodes.home("taker"),
            ("get", cid, "-o", tmp_path / "out.bin", "--json", "--no-mdns", "--mirror", server.url),
            server,
            size_bytes=size,
            kills=8,
            seed=20_260_101,
        )
    assert fate.last.code == 0, fate.last.stderr
    assert filecmp.cmp(model, tmp_path / "out.bin", shallow=False)
    assert fate.kills >= 7
    print(f"killed {fate.kills} times, fetched twice {fate.twice(size):.2%}")  # noqa: T201  # the figure is the point
    assert fate.sent_bytes - size <= fate.kills * MAX_LOST_BYTES
    assert not list(tmp_path.glob("out.bin.part*"))


def test_get_when_its_daemon_is_killed_then_the_command_goes_on_and_so_does_the_next_daemon(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    size = 40 * MIB
    cid, model = known_and_away(nodes, make_file("model.bin", size), "taker")

    def serve() -> Callable[[], None]:
        return nodes.serve("taker").kill

    with paced_server(model, RATE) as server:
        fate = kill_over_and_over(
            nodes.home("taker"),
            ("get", cid, "-o", tmp_path / "out.bin", "--json", "--mirror", server.url, "--no-mdns"),
            server,
            size_bytes=size,
            kills=2,
            seed=7,
            before_each=serve,
        )
    assert fate.last.code == 0, fate.last.stderr
    assert filecmp.cmp(model, tmp_path / "out.bin", shallow=False)
    print(f"killed {fate.kills} daemons, fetched twice {fate.twice(size):.2%}")  # noqa: T201  # the figure is the point
    both = 2 * fate.kills  # the daemon, and the command that goes on after it
    assert fate.sent_bytes - size <= both * MAX_LOST_BYTES
