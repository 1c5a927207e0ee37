"""The bare loop: not a program anybody uses, but the ceiling of what one can be."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from bench.contenders.web import Nginx
from bench.content import Content
from bench.measure import MIB, Command, timed, warm_pages
from bench.programs import RIVAL_PROGRAMS
from bench.results import Sample
from bench.scene import Contender, Run, Scene

CONNECTIONS = "2"  # as many as mirrornode opens to one peer


def loop(scene: Scene, content: Content, server: Callable[[], Nginx]) -> Contender:
    """Receive, hash and write with two connections from nginx."""

    def open_() -> Run:
        url = urlsplit(server().url(content.path.name))
        sums = scene.path("sums")
        with content.path.open("rb") as source, sums.open("wb") as target:
            while block := source.read(MIB):
                target.write(hashlib.sha256(block).digest())

        def run() -> Sample:
            with scene.fresh() as folder:
                out = folder / content.path.name
                warm_pages(folder, content.size_bytes)
                words: list[str | Path] = [sys.executable, "-I", "-S"]
                words += [RIVAL_PROGRAMS / "bare_loop.py", url.netloc, url.path, out, sums]
                sample = timed(
                    [Command([*words, CONNECTIONS])],
                    timeout_s=scene.settings.timeout_s,
                    server_pids=[server().pid],
                )
                content.check(out)
                return sample

        return run

    return Contender(
        "bare loop, nginx",
        platform.python_version,
        "receive, SHA-256, write; nothing else, no TLS",
        open_,
    )
