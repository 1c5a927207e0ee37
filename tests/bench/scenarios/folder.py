"""A folder of 10,000 files of 20 KiB: what a file costs, where bytes cost next to nothing."""

from __future__ import annotations

from functools import cache

from bench.contenders import hub, mirrornode, web
from bench.scene import Cast, Scenario, Scene

FILES = 10_000
FILE_BYTES = 20 * 1024


def cast(scene: Scene) -> Cast:
    """Programs that take many files with one command."""
    content = scene.folder(FILES, FILE_BYTES)

    @cache
    def seed(plain: bool) -> mirrornode.Seed:
        return mirrornode.make_seed(scene, content, plain=plain)

    @cache
    def nginx() -> web.Nginx:
        return scene.enter(web.Nginx(scene.place("nginx"), content.path.parent))

    return Cast(
        f"Fetch a folder of {FILES:,} files of {FILE_BYTES // 1024} KiB from one source",
        content,
        (
            mirrornode.warm(scene, content, lambda: [seed(False)], name="mirrornode get (TLS)"),
            mirrornode.warm(scene, content, lambda: [seed(True)], name="mirrornode get (plain)"),
            hub.download(scene, content),
            web.curl_folder(scene, content, nginx),
            web.aria2c_folder(scene, content, nginx),
        ),
        remark="curl and aria2c are given the list of all URLs; mirrornode is given one CID.",
    )


SCENARIO = Scenario("folder", cast)
