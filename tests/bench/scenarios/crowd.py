"""One seed on a line of 50 MB/s and eight takers at once: do they help each other?"""

from __future__ import annotations

from functools import cache

from bench.contenders import mirrornode, torrent
from bench.measure import MIB
from bench.network import Room
from bench.results import MB
from bench.scene import Cast, Contender, Scenario, Scene

TAKERS = 8
RATE_BYTES_PER_S = 50 * MB
SIZE_BYTES = 512 * MIB


def cast(scene: Scene) -> Cast:
    """One taker alone, then eight, of each program that lets takers share."""
    room = scene.enter(Room())
    room.narrow(RATE_BYTES_PER_S)
    content = scene.file(min(SIZE_BYTES, scene.settings.size_bytes))

    @cache
    def seed() -> mirrornode.Seed:
        return mirrornode.make_seed(scene, content, room=room)

    def ours(takers: int, name: str, compared_with: str = "") -> Contender:
        return mirrornode.crowd(
            scene,
            content,
            seed,
            lambda: room,
            takers=takers,
            name=name,
            compared_with=compared_with,
        )

    alone, torrent_alone = "mirrornode (TLS), 1 taker", "libtorrent v2, 1 taker"
    return Cast(
        f"Fetch one file of {content.size_bytes / MIB:,.0f} MiB "
        f"from one seed of {RATE_BYTES_PER_S / MB:.0f} MB/s, alone and {TAKERS} at once",
        content,
        (
            ours(1, alone),
            ours(TAKERS, f"mirrornode (TLS), {TAKERS} takers", alone),
            torrent.taking(scene, content, lambda: [room], name=torrent_alone),
            torrent.taking(
                scene,
                content,
                lambda: [room],
                name=f"libtorrent v2, {TAKERS} takers",
                takers=TAKERS,
                compared_with=torrent_alone,
            ),
        ),
        remark=(
            "The time is that of the last taker, the rate what it reached; all takers have started "
            "and know the seed. seed: what the seed's line carried, over the file's size."
        ),
    )


SCENARIO = Scenario("crowd", cast)
