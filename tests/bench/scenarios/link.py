"""A long line: 1 Gbit/s, 50 ms there and back, one packet in a hundred lost."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bench.contenders import mirrornode, web
from bench.measure import MIB
from bench.network import LINK_MTU_BYTES, Room
from bench.scene import Cast, Scenario, Scene

RATE_BYTES_PER_S = 125_000_000
RTT_S = 0.050
LOSS_PERCENT = 1.0
SIZE_BYTES = 256 * MIB
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def cast(scene: Scene) -> Cast:
    """The programs that people use over such a line."""
    room = scene.enter(Room(mtu_bytes=LINK_MTU_BYTES))
    room.make_long(rate_bytes_per_s=RATE_BYTES_PER_S, rtt_s=RTT_S, loss_percent=LOSS_PERCENT)
    content = scene.file(min(SIZE_BYTES, scene.settings.size_bytes))

    @cache
    def seed(plain: bool) -> mirrornode.Seed:
        return mirrornode.make_seed(scene, content, plain=plain, room=room)

    @cache
    def nginx() -> web.Nginx:
        return scene.enter(web.Nginx(scene.place("nginx"), content.path.parent, room=room))

    return Cast(
        f"Fetch one file of {content.size_bytes / MIB:,.0f} MiB over 1 Gbit/s with "
        f"{RTT_S * 1000:.0f} ms and {LOSS_PERCENT:.0f} % loss",
        content,
        (
            mirrornode.warm(scene, content, lambda: [seed(False)], name="mirrornode get (TLS)"),
            mirrornode.warm(scene, content, lambda: [seed(True)], name="mirrornode get (plain)"),
            web.curl_file(scene, content, nginx),
            web.aria2c_file(scene, content, nginx),
        ),
        remark=f"TCP congestion control: {CONGESTION.read_text().strip()}.",
    )


SCENARIO = Scenario("link", cast)
