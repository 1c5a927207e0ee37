"""Four sources on lines of 50 MB/s; then the same four with three that do harm.

Each good source sits in a room of its own, on a line that `tc tbf` narrows for whatever program
sends. Caps inside the programs would not do: nginx limits a connection, not a client, and would
reward whoever opens more. The three others are scripted HTTP servers on loopback that know no
limit of their own: one stops each answer at 99 %, one sends 1 KB/s, one sends zeros.
"""

from __future__ import annotations

import sys
from functools import cache

from bench.contenders import mirrornode, mirrors, torrent, web
from bench.contenders.residents import script
from bench.measure import MIB
from bench.network import LOOPBACK, Room
from bench.results import MB
from bench.scene import Cast, Scenario, Scene

SOURCES = 4
RATE_BYTES_PER_S = 50 * MB
FAULTS = ("stall", "trickle", "lie")
FOUR = "mirrornode get (TLS), 4 peers"
ARIA_FOUR = "nginx x4, aria2c, openssl"


def cast(scene: Scene) -> Cast:
    """mirrornode with and without harm, and two rivals that take from several sources."""
    rooms = [scene.enter(Room()) for _ in range(SOURCES)]
    for room in rooms:
        room.narrow(RATE_BYTES_PER_S)
    content = scene.file(scene.settings.size_bytes)

    @cache
    def seeds() -> list[mirrornode.Seed]:
        return [mirrornode.make_seed(scene, content, room=room) for room in rooms]

    @cache
    def servers() -> list[web.Nginx]:
        folder = content.path.parent
        return [scene.enter(web.Nginx(scene.place("nginx"), folder, room=room)) for room in rooms]

    @cache
    def faulty() -> list[str]:
        addresses = [f"{LOOPBACK}:{web.free_port()}" for _ in FAULTS]
        for fault, address in zip(FAULTS, addresses, strict=True):
            scene.enter(
                script(scene, sys.executable, "faulty_server", address, content.path, fault)
            )
        return [f"http://{address}/{content.path.name}" for address in addresses]

    return Cast(
        f"Fetch one file of {content.size_bytes / MIB:,.0f} MiB "
        f"from {SOURCES} sources of {RATE_BYTES_PER_S / MB:.0f} MB/s each",
        content,
        (
            mirrornode.warm(scene, content, seeds, name=FOUR),
            mirrornode.warm(
                scene,
                content,
                seeds,
                name="mirrornode, 4 peers, 3 harmful mirrors",
                mirrors=faulty,
                compared_with=FOUR,
            ),
            mirrors.aria2c_mirrors(scene, content, servers, name=ARIA_FOUR),
            mirrors.aria2c_metalink(
                scene,
                content,
                servers,
                faulty,
                name="nginx x4, 3 harmful, aria2c Metalink",
                compared_with=ARIA_FOUR,
            ),
            torrent.taking(scene, content, lambda: rooms, name="libtorrent v2, 4 seeds"),
        ),
        remark=(
            f"{SOURCES * RATE_BYTES_PER_S / MB:.0f} MB/s is what the lines carry. The harmful "
            "ones: each answer stalls at 99 %; 1 KB/s; zeros instead of content. Without a "
            "Metalink aria2c has no way to notice the zeros."
        ),
    )


SCENARIO = Scenario("sources", cast)
