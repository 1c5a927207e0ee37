"""One file from one source on loopback: what the programs cost, not what a network does."""

from __future__ import annotations

from functools import cache

from bench.contenders import bare, helia, hub, kubo, mirrornode, torrent, web
from bench.measure import MIB
from bench.scene import Cast, Scenario, Scene


def cast(scene: Scene) -> Cast:
    """Everybody against everybody."""
    content = scene.file(scene.settings.size_bytes)

    @cache
    def seed(plain: bool) -> mirrornode.Seed:
        return mirrornode.make_seed(scene, content, plain=plain)

    @cache
    def nginx() -> web.Nginx:
        return scene.enter(web.Nginx(scene.place("nginx"), content.path.parent))

    return Cast(
        f"Fetch one file of {content.size_bytes / MIB:,.0f} MiB from one source",
        content,
        (
            mirrornode.warm(scene, content, lambda: [seed(False)], name="mirrornode get (TLS)"),
            mirrornode.warm(scene, content, lambda: [seed(True)], name="mirrornode get (plain)"),
            mirrornode.cold(scene, content, lambda: [seed(False)], name="mirrornode cold (TLS)"),
            mirrornode.cold(scene, content, lambda: [seed(True)], name="mirrornode cold (plain)"),
            bare.loop(scene, content, nginx),
            web.curl_file(scene, content, nginx),
            web.aria2c_file(scene, content, nginx),
            torrent.taking(scene, content, lambda: [None]),
            kubo.bitswap(scene, content),
            helia.bitswap(scene, content),
            hub.download(scene, content),
        ),
        remark=(
            "mirrornode, libtorrent, Kubo and Helia are asked through a daemon that runs already; "
            '"cold" is mirrornode without one. aria2c runs with -x16 -s16 -k1M.'
        ),
    )


SCENARIO = Scenario("single", cast)
