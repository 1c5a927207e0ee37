"""Hubs and mirrors of one on this machine: the stand-in itself, a node's endpoint, olah.

All give the same file of the same repo. Mirrors are asked for it once before the rounds, so what is
timed is what the second user of a team sees.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contenders.residents import environment, script
from bench.contenders.web import aria2c_options, free_port
from bench.measure import Command, timed, warm_pages
from bench.network import LOOPBACK
from bench.nodes import COMMAND, Node
from bench.programs import (
    need_program,
    need_rival_python,
    package_version,
    rival_python,
    system_version,
)
from bench.rival_programs.hub_server import COMMIT, REPO
from bench.scene import Contender, Run, Scene
from bench.servers import ServerFailed
from mirrornode import __version__

if TYPE_CHECKING:
    from bench.content import Content
    from bench.network import Room
    from bench.results import Sample

ROOM_PORT = 8300
READY_TIMEOUT_S = 90.0  # olah imports much
FETCHED = "fetched, never verified; no TLS"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients find a hub, and the process behind it."""

    url: str
    pid: int

    def file_url(self, name: str) -> str:
        """Return where a file of the repo is downloaded."""
        return f"{self.url}/{REPO}/resolve/{COMMIT}/{name}"

    def warm_up(self, name: str) -> None:
        """Have the file fetched once, whatever that takes."""
        with urllib.request.urlopen(self.file_url(name)) as answer:
            while answer.read(1 << 20):
                pass


class Olah:
    """olah, a mirror of the Hub in Python; a context manager."""

    def __init__(self, scene: Scene, hub: Endpoint) -> None:
        """Start it.

        Raises:
            Unavailable: It is not installed.
            ServerFailed: It does not start.
        """
        program = need_rival_python("olah").with_name("olah-cli")
        folder, port = scene.place("olah"), free_port()
        netloc = hub.url.removeprefix("http://")
        here = f"{LOOPBACK}:{port}"
        words: list[str | Path] = [program, "--host", LOOPBACK, "--port", str(port)]
        words += ["--hf-scheme", "http", "--hf-netloc", netloc, "--hf-lfs-netloc", netloc]
        words += ["--mirror-scheme", "http", "--mirror-netloc", here, "--mirror-lfs-netloc", here]
        words += ["--repos-path", folder / "repos", "--log-path", folder / "logs"]
        self._log = folder / "olah.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                words, cwd=folder, env=environment(scene), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip
        self.endpoint = Endpoint(f"http://{here}", self._process.pid)
        try:
            self._wait_ready(port)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Endpoint:
        return self.endpoint

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _wait_ready(self, port: int) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                socket.create_connection((LOOPBACK, port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise ServerFailed(f"olah did not start: {self._log.read_text()[-500:]}")


def stand_in(scene: Scene, content: Content, room: Room | None = None) -> Endpoint:
    """Start the stand-in for the Hub, maybe in a room; it stays until the scenario ends."""
    address = f"{room.host}:{ROOM_PORT}" if room else f"{LOOPBACK}:{free_port()}"
    server = scene.enter(
        script(scene, sys.executable, "hub_server", address, content.path, room=room)
    )
    return Endpoint(f"http://{address}", server.pid)


def node(scene: Scene, content: Content, hub: Endpoint) -> tuple[Node, Endpoint]:
    """Start a node whose origin is `hub` and that has the file; it stays as the hub does."""
    # Someone to announce to, so that the node is done with that before the rounds.
    anchor = scene.enter(Node(scene.path("anchor")))
    env = {"MIRRORNODE_ORIGIN": hub.url}
    started = scene.enter(Node(scene.path("hub-node"), bootstrap=[anchor.address], env=env))
    started.wait_connected(anchor)
    endpoint = Endpoint(str(started.ready["gateway"]), started.pid)
    endpoint.warm_up(content.path.name)
    started.wait_idle()
    return started, endpoint


def olah(scene: Scene, content: Content, hub: Endpoint) -> Endpoint:
    """Start olah in front of `hub`, with the file in its cache."""
    endpoint = scene.enter(Olah(scene, hub))
    endpoint.warm_up(content.path.name)
    return endpoint


def curl(
    scene: Scene, content: Content, endpoint: Callable[[], Endpoint], *, name: str
) -> Contender:
    """One plain download, as any tool makes it."""

    def open_() -> Run:
        program, server = need_program("curl"), endpoint()

        def run() -> Sample:
            with scene.fresh() as folder:
                warm_pages(folder, content.size_bytes)
                out = folder / content.path.name
                words: list[str | Path] = [program, "-sfL", "-o", out]
                sample = timed(
                    [Command([*words, server.file_url(content.path.name)])],
                    timeout_s=scene.settings.timeout_s,
                    server_pids=[server.pid],
                )
                content.check(out)
                return sample

        return run

    return Contender(name, lambda: system_version("curl"), FETCHED, open_)


def hf_download(
    scene: Scene, content: Content, endpoint: Callable[[], Endpoint], *, name: str
) -> Contender:
    """The Hub's own client, without Xet."""

    def open_() -> Run:
        program, server = need_rival_python("hub").with_name("hf"), endpoint()
        return lambda: _hf_download(scene, content, program, server, content.size_bytes)

    return Contender(name, _hub_version, FETCHED, open_)


def hf_download_by_new_node(
    scene: Scene, content: Content, hub: Callable[[], Endpoint], room: Room, *, name: str
) -> Contender:
    """The Hub's own client through a node that nobody has asked for the file before."""

    def open_() -> Run:
        program, origin = need_rival_python("hub").with_name("hf"), hub()

        def run() -> Sample:
            env = {"MIRRORNODE_ORIGIN": origin.url}
            with scene.fresh() as folder, Node(folder / "home", host=room.our_host, env=env) as new:
                new.wait_settled()
                endpoint = Endpoint(str(new.ready["gateway"]), new.pid)
                return _hf_download(scene, content, program, endpoint, 2 * content.size_bytes)

        return run

    return Contender(name, _hub_version, FETCHED, open_)


def _hf_download(
    scene: Scene, content: Content, program: Path, server: Endpoint, memory_bytes: int
) -> Sample:
    """Run `hf download` once, after so much memory was warmed for whoever writes."""
    env = environment(scene) | {
        "HF_ENDPOINT": server.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    with scene.fresh() as folder:
        warm_pages(folder, memory_bytes)
        words: list[str | Path] = [program, "download", REPO, content.path.name]
        sample = timed(
            [Command([*words, "--local-dir", folder], env=env)],
            timeout_s=scene.settings.timeout_s,
            server_pids=[server.pid],
        )
        content.check(folder / content.path.name)
        return sample


def _hub_version() -> str:
    return package_version(rival_python("hub"), "huggingface_hub")


def aria2c(scene: Scene, content: Content, hub: Callable[[], Endpoint], *, name: str) -> Contender:
    """16 connections to the Hub, for whoever knows the file's URL."""

    def open_() -> Run:
        program, server = need_program("aria2c"), hub()

        def run() -> Sample:
            with scene.fresh() as folder:
                warm_pages(folder, content.size_bytes)
                words: list[str | Path] = [program, *aria2c_options(folder), "-x16", "-s16"]
                words += ["-k1M", "-o", content.path.name, server.file_url(content.path.name)]
                sample = timed([Command(words)], timeout_s=scene.settings.timeout_s)
                content.check(folder / content.path.name)
                return sample

        return run

    return Contender(name, lambda: system_version("aria2c"), FETCHED, open_)


def get_hf_alone(
    scene: Scene, content: Content, hub: Callable[[], Endpoint], room: Room
) -> Contender:
    """`mirrornode get hf:` by a warm daemon whose only source is the Hub."""

    def open_() -> Run:
        env = {"MIRRORNODE_ORIGIN": hub().url}

        def run() -> Sample:
            with (
                scene.fresh() as folder,
                Node(folder / "home", host=room.our_host, env=env) as taker,
            ):
                taker.wait_settled()
                return _get_hf(scene, content, taker, folder, ())

        return run

    return Contender("mirrornode get hf:", lambda: __version__, "fetched and verified", open_)


def get_hf(
    scene: Scene,
    content: Content,
    seed: Callable[[], tuple[Node, Endpoint]],
    hub: Callable[[], Endpoint],
) -> Contender:
    """`mirrornode get hf:` by a warm daemon that has a peer with the file."""

    def open_() -> Run:
        peer, _ = seed()

        def run() -> Sample:
            with scene.fresh() as folder:
                env = {"MIRRORNODE_ORIGIN": hub().url}
                with Node(folder / "home", bootstrap=[peer.address], env=env) as taker:
                    taker.wait_connected(peer)
                    taker.wait_idle()
                    return _get_hf(scene, content, taker, folder, [peer.pid])

        return run

    return Contender("mirrornode get hf: (peer, TLS)", lambda: __version__,
                     "fetched and verified", open_)  # fmt: skip


def _get_hf(
    scene: Scene, content: Content, taker: Node, folder: Path, server_pids: Sequence[int]
) -> Sample:
    """Run `get hf:` once, through the daemon of `taker`."""
    warm_pages(folder, content.size_bytes)
    words: list[str | Path] = [COMMAND, "get", f"hf:{REPO}", "-o", folder / "out"]
    sample = timed(
        [Command([*words, "--home", taker.home, "--json"])],
        timeout_s=scene.settings.timeout_s,
        client_pids=[taker.pid],
        server_pids=server_pids,
    )
    content.check(folder / "out" / content.path.name)
    return sample
