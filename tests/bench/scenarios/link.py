"""A long line: 1 Gbit/s, 50 ms there and back, one packet in a hundred lost on the way to us.

`link` and `far_hub` send with the machine's congestion control, `lossy` with Reno, which takes
every loss for a full line, as Cubic does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from bench.contenders import endpoints, mirrornode, web
from bench.contenders.endpoints import Endpoint
from bench.content import Content
from bench.long_room import CONGESTION, Line, LongRoom
from bench.measure import MIB
from bench.scene import Cast, Scenario, Scene

LINE = Line(rate_bytes_per_s=125_000_000, rtt_s=0.050, loss=0.01)
SIZE_BYTES = 256 * MIB
LOSSY_SIZE_BYTES = 64 * MIB
RENO = "reno"  # every kernel has it
WORDS = f"over 1 Gbit/s with {LINE.rtt_s * 1000:.0f} ms and {LINE.loss:.0%} loss"


def _opened(scene: Scene, congestion: str, size_bytes: int) -> tuple[LongRoom, Content]:
    room = scene.enter(LongRoom(LINE, scene.place("line"), congestion))
    return room, scene.file(min(size_bytes, scene.settings.size_bytes))


def _remark(room: LongRoom, congestion: str) -> str:
    tcp = congestion or Path(CONGESTION).read_text(encoding="ascii").strip()
    return f"The line by {room.made_by}. TCP: {tcp}."


def _from_peers(congestion: str, size_bytes: int, *, has_curl: bool) -> Callable[[Scene], Cast]:
    def cast(scene: Scene) -> Cast:
        """The programs that people use over such a line."""
        room, content = _opened(scene, congestion, size_bytes)

        @cache
        def seed(plain: bool) -> mirrornode.Seed:
            return mirrornode.make_seed(scene, content, plain=plain, room=room)

        @cache
        def nginx() -> web.Nginx:
            return scene.enter(web.Nginx(scene.place("nginx"), content.path.parent, room=room))

        curl = (web.curl_file(scene, content, nginx),) if has_curl else ()
        return Cast(
            f"Fetch one file of {content.size_bytes / MIB:,.0f} MiB {WORDS}",
            content,
            (
                mirrornode.warm(scene, content, lambda: [seed(False)], name="mirrornode get (TLS)"),
                mirrornode.warm(
                    scene, content, lambda: [seed(True)], name="mirrornode get (plain)"
                ),
                *curl,
                web.aria2c_file(scene, content, nginx),
            ),
            remark=_remark(room, congestion),
        )

    return cast


def _from_hub(scene: Scene) -> Cast:
    """Clients of a Hub at the other end, with a node on this side and without."""
    room, content = _opened(scene, "", SIZE_BYTES)

    @cache
    def hub() -> Endpoint:
        return endpoints.stand_in(scene, content, room)

    return Cast(
        f"Fetch one file of {content.size_bytes / MIB:,.0f} MiB of a Hub repo {WORDS}",
        content,
        (
            endpoints.get_hf_alone(scene, content, hub, room),
            endpoints.hf_download_by_new_node(
                scene, content, hub, room, name="hf download, new mirrornode serve"
            ),
            endpoints.hf_download(scene, content, hub, name="hf download, stand-in Hub"),
            endpoints.aria2c(scene, content, hub, name="aria2c -x16, stand-in Hub"),
        ),
        remark=_remark(room, "") + " Nobody on this side of the line has the file.",
    )


LINK = Scenario("link", _from_peers("", SIZE_BYTES, has_curl=True))
LOSSY = Scenario("lossy", _from_peers(RENO, LOSSY_SIZE_BYTES, has_curl=False))
FAR_HUB = Scenario("far_hub", _from_hub)
