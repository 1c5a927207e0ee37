"""mirrornode itself: `get` through a warm daemon, and as a cold command without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.content import Content
from bench.measure import Command, timed, warm_pages
from bench.network import LOOPBACK, Room
from bench.nodes import COMMAND, Node
from bench.results import Sample
from bench.scene import Contender, Run, Scene
from mirrornode import __version__

NOTE = "fetched and verified"


@dataclass(frozen=True, slots=True)
class Seed:
    """A node at rest that shares the content."""

    node: Node
    cid: str


def make_seed(
    scene: Scene, content: Content, *, plain: bool = False, room: Room | None = None
) -> Seed:
    """Start a node that shares the content; it stays until the scenario ends."""
    # Someone to announce to, so that the seed is done with that before the rounds.
    host, room_host = (room.our_host, room.host) if room else (LOOPBACK, LOOPBACK)
    anchor = scene.enter(Node(scene.path("anchor"), host=host))
    node = scene.enter(
        Node(
            scene.path("seed"),
            plain=plain,
            bootstrap=[anchor.address],
            host=room_host,
            room=room,
        )
    )
    node.wait_connected(anchor)
    seed = Seed(node, node.add(content.path))
    node.wait_idle()
    return seed


def warm(
    scene: Scene,
    content: Content,
    seeds: Callable[[], Sequence[Seed]],
    *,
    name: str,
    host: str = LOOPBACK,
    mirrors: Callable[[], Sequence[str]] = tuple,
    compared_with: str = "",
) -> Contender:
    """`get` through a daemon that runs already and knows the seeds.

    A daemon that has the content would answer from its disk: each run gets a new one.
    """

    def open_() -> Run:
        opened, urls = seeds(), mirrors()

        def run() -> Sample:
            with scene.fresh() as folder:
                addresses = [seed.node.address for seed in opened]
                with Node(folder / "home", bootstrap=addresses, host=host) as node:
                    node.wait_connected(*(seed.node for seed in opened))
                    for seed in opened:
                        seed.node.wait_idle()
                    node.wait_idle()
                    out = folder / content.path.name
                    warm_pages(folder, content.size_bytes)
                    sample = timed(
                        [get_command(opened[0].cid, out, node.home, mirrors=urls)],
                        timeout_s=scene.settings.timeout_s,
                        client_pids=[node.pid],
                        server_pids=[seed.node.pid for seed in opened],
                    )
                content.check(out)
                return sample

        return run

    return Contender(name, lambda: __version__, NOTE, open_, compared_with=compared_with)


def cold(
    scene: Scene, content: Content, seeds: Callable[[], Sequence[Seed]], *, name: str
) -> Contender:
    """`get` without a daemon: the command makes a node, a key and a home first."""

    def open_() -> Run:
        opened = seeds()

        def run() -> Sample:
            with scene.fresh() as folder:
                for seed in opened:
                    seed.node.wait_idle()
                out = folder / content.path.name
                warm_pages(folder, content.size_bytes)
                peers = [seed.node.address for seed in opened]
                sample = timed(
                    [get_command(opened[0].cid, out, folder / "home", peers=peers)],
                    timeout_s=scene.settings.timeout_s,
                    server_pids=[seed.node.pid for seed in opened],
                )
                content.check(out)
                return sample

        return run

    return Contender(name, lambda: __version__, "the same, and a node is made for it", open_)


def crowd(
    scene: Scene,
    content: Content,
    seed: Callable[[], Seed],
    room: Callable[[], Room],
    *,
    takers: int,
    name: str,
    compared_with: str = "",
) -> Contender:
    """Several warm daemons that fetch at the same moment from one seed on a narrow line."""

    def open_() -> Run:
        opened, line = seed(), room()

        def run() -> Sample:
            with scene.fresh() as folder, ExitStack() as stack:
                nodes = [
                    stack.enter_context(
                        Node(
                            folder / f"home-{number}",
                            bootstrap=[opened.node.address],
                            host=line.our_host,
                        )
                    )
                    for number in range(takers)
                ]
                for node in nodes:
                    node.wait_connected(opened.node)
                for node in (*nodes, opened.node):
                    node.wait_idle()
                outs = [folder / f"out-{number}" for number in range(takers)]
                warm_pages(folder, takers * content.size_bytes)
                sent_before = line.sent_bytes()
                sample = timed(
                    [
                        get_command(opened.cid, out, node.home)
                        for node, out in zip(nodes, outs, strict=True)
                    ],
                    timeout_s=scene.settings.timeout_s,
                    client_pids=[node.pid for node in nodes],
                    server_pids=[opened.node.pid],
                )
                sample.seed_bytes = line.sent_bytes() - sent_before
                for out in outs:
                    content.check(out)
                return sample

        return run

    return Contender(
        name, lambda: __version__, NOTE, open_, takers=takers, compared_with=compared_with
    )


def get_command(
    cid: str,
    out: Path,
    home: Path,
    *,
    peers: Sequence[str] = (),
    mirrors: Sequence[str] = (),
) -> Command:
    """Return `mirrornode get`; a home with a running daemon makes it ask that daemon."""
    words: list[str | Path] = [COMMAND, "get", cid, "-o", out, "--json", "--home", home]
    if peers:
        words.append("--no-mdns")
    for address in peers:
        words += ["--peer", address]
    for url in mirrors:
        words += ["--mirror", url]
    return Command(words)
