"""`hf download` from a stand-in server on this machine; it checks sizes, never content."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.contenders.residents import environment, script
from bench.contenders.web import free_port
from bench.content import Content
from bench.measure import Command, timed, warm_pages
from bench.network import LOOPBACK
from bench.programs import need_rival_python, package_version, rival_python
from bench.results import Sample
from bench.rival_programs.hub_server import REPO
from bench.scene import Contender, Run, Scene

NOTE = "fetched, never verified; no TLS"


def download(scene: Scene, content: Content) -> Contender:
    """Fetch the file, or all files of the folder."""

    def open_() -> Run:
        python = need_rival_python("hub")
        address = f"{LOOPBACK}:{free_port()}"
        server = scene.enter(script(scene, sys.executable, "hub_server", address, content.path))
        env = environment(scene) | {
            "HF_ENDPOINT": f"http://{address}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        names = [] if content.names else [content.path.name]

        def run() -> Sample:
            with scene.fresh() as folder:
                warm_pages(folder, content.size_bytes)
                words: list[str | Path] = [python.with_name("hf"), "download", REPO, *names]
                words += ["--local-dir", folder]
                sample = timed(
                    [Command(words, env=env)],
                    timeout_s=scene.settings.timeout_s,
                    server_pids=[server.pid],
                )
                content.check(folder if content.names else folder / content.path.name)
                return sample

        return run

    return Contender("hf download", _version, NOTE, open_)


def _version() -> str:
    return package_version(rival_python("hub"), "huggingface_hub")
