"""Sharing one file: `mirrornode add` beside the hash that it cannot do without."""

from __future__ import annotations

from pathlib import Path

from bench.content import Content
from bench.measure import MIB, Command, timed
from bench.nodes import COMMAND
from bench.programs import need_program, system_version
from bench.results import Sample
from bench.scene import Cast, Contender, Run, Scenario, Scene
from mirrornode import __version__


def cast(scene: Scene) -> Cast:
    """One file that lies in memory already."""
    content = scene.file(scene.settings.size_bytes)
    return Cast(
        f"Share one file of {content.size_bytes / MIB:,.0f} MiB",
        content,
        (_add(scene, content), _openssl(scene, content)),
    )


def _add(scene: Scene, content: Content) -> Contender:
    def run() -> Sample:
        with scene.fresh() as folder:
            words: list[str | Path] = [COMMAND, "add", content.path, "--json"]
            words += ["--home", folder / "home"]
            return timed([Command(words)], timeout_s=scene.settings.timeout_s)

    return Contender("mirrornode add", lambda: __version__, "hash, CID, catalog", lambda: run)


def _openssl(scene: Scene, content: Content) -> Contender:
    def open_() -> Run:
        words: list[str | Path] = [need_program("openssl"), "dgst", "-sha256", content.path]
        return lambda: timed([Command(words)], timeout_s=scene.settings.timeout_s)

    return Contender(
        "openssl dgst -sha256", lambda: system_version("openssl"), "one hash, one core", open_
    )


SCENARIO = Scenario("share", cast)
