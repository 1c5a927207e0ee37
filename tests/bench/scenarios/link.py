"""A long line: 1 Gbit/s, 50 ms there and back, one packet in a hundred lost on the way to us."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bench.contenders import mirrornode, web
from bench.long_room import Line, LongRoom
from bench.measure import MIB
from bench.scene import Cast, Scenario, Scene

LINE = Line(rate_bytes_per_s=125_000_000, rtt_s=0.050, loss=0.01)
SIZE_BYTES = 256 * MIB
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def cast(scene: Scene) -> Cast:
    """The programs that people use over such a line."""
    room = scene.enter(LongRoom(LINE, scene.place("line")))
    content = scene.file(min(SIZE_BYTES, scene.settings.size_bytes))

    @cache
    def seed(plain: bool) -> mirrornode.Seed:
        return mirrornode.make_seed(scene, content, plain=plain, room=room)

    @cache
    def nginx() -> web.Nginx:
        return scene.enter(web.Nginx(scene.place("nginx"), content.path.parent, room=room))

    return Cast(
        f"Fetch one file of {content.size_bytes / MIB:,.0f} MiB over 1 Gbit/s with "
        f"{LINE.rtt_s * 1000:.0f} ms and {LINE.loss:.0%} loss",
        content,
        (
            mirrornode.warm(scene, content, lambda: [seed(False)], name="mirrornode get (TLS)"),
            mirrornode.warm(scene, content, lambda: [seed(True)], name="mirrornode get (plain)"),
            web.curl_file(scene, content, nginx),
            web.aria2c_file(scene, content, nginx),
        ),
        remark=f"The line by {room.made_by}. TCP: {CONGESTION.read_text().strip()}.",
    )


SCENARIO = Scenario("link", cast)
