"""libtorrent, v2 torrents with pieces of 1 MiB; a session that runs already, as a client does."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.contenders.residents import TESTS, ask, environment, script
from bench.content import Content
from bench.measure import timed, warm_pages
from bench.network import LOOPBACK, Room
from bench.programs import need_rival_python, package_version, rival_python
from bench.results import Sample
from bench.scene import Contender, Run, Scene

NOTE = "fetched, verified and flushed; no TLS"
SEED_PORT = 7000
TAKER_PORT = 7001  # and up
MAKE_TIMEOUT_S = 300.0


def taking(
    scene: Scene,
    content: Content,
    rooms: Callable[[], Sequence[Room | None]],
    *,
    name: str = "libtorrent v2",
    takers: int = 1,
    compared_with: str = "",
) -> Contender:
    """Take from a seed in each room (None: on loopback), by one taker or several at once."""

    def open_() -> Run:
        python = need_rival_python("libtorrent")
        torrent = scene.path("torrent")
        _make(python, content.path, torrent, environment(scene))
        lines = rooms()
        seeds = [
            scene.enter(
                script(
                    scene,
                    python,
                    "torrent_peer",
                    *("seed", torrent, content.path.parent, _address(room)),
                    room=room,
                )
            )
            for room in lines
        ]
        first = lines[0]
        host = first.our_host if first else LOOPBACK

        def run() -> Sample:
            with scene.fresh() as folder, ExitStack() as stack:
                outs = [folder / f"out-{number}" for number in range(takers)]
                sockets = [folder / f"{number}.sock" for number in range(takers)]
                addresses = [f"{host}:{TAKER_PORT + number}" for number in range(takers)]
                daemons = [
                    stack.enter_context(script(scene, python, "torrent_peer", "taker", *words))
                    for words in zip(addresses, sockets, strict=True)
                ]
                warm_pages(folder, takers * content.size_bytes)
                sent_before = first.sent_bytes() if first else 0
                sample = timed(
                    [
                        ask(socket, torrent, out, *map(_address, lines), *addresses)
                        for socket, out in zip(sockets, outs, strict=True)
                    ],
                    timeout_s=scene.settings.timeout_s,
                    client_pids=[daemon.pid for daemon in daemons],
                    server_pids=[seed.pid for seed in seeds],
                )
                if first and len(lines) == 1:
                    sample.seed_bytes = first.sent_bytes() - sent_before
                for out in outs:
                    content.check(out / content.path.name)
                return sample

        return run

    return Contender(name, version, NOTE, open_, takers=takers, compared_with=compared_with)


def version() -> str:
    """Return the version of libtorrent."""
    return package_version(rival_python("libtorrent"), "libtorrent")


def _address(room: Room | None) -> str:
    return f"{room.host if room else LOOPBACK}:{SEED_PORT}"


def _make(python: Path, path: Path, torrent: Path, env: dict[str, str]) -> None:
    subprocess.run(
        [python, "-m", "bench.rival_programs.torrent_peer", "make", path, torrent],
        env=env | {"PYTHONPATH": str(TESTS)},
        check=True,
        capture_output=True,
        timeout=MAKE_TIMEOUT_S,
    )
