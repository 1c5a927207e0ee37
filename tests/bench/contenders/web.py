"""nginx serves a folder; curl and aria2c fetch from it, `openssl dgst` checks afterwards.

Neither program checks content while it fetches, so the check is a second step of the timed work.
coreutils' sha256sum is several times slower than openssl and would flatter everybody else.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.content import Content
from bench.measure import Command, timed, warm_pages
from bench.network import LOOPBACK, Room
from bench.programs import need_program, system_version
from bench.results import Sample
from bench.scene import Contender, Run, Scene
from bench.servers import ServerFailed

NOTE = "fetched, then SHA-256; no TLS"
PORT = 8200  # the namespace is the bench's own; elsewhere a free one is taken
READY_TIMEOUT_S = 10.0
NGINX_CONFIG = """
{user}
daemon off;
master_process off;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    server {{ listen {host}:{port}; root {root}; }}
}}
"""


class Nginx:
    """nginx with one process; a context manager."""

    def __init__(self, scratch: Path, root: Path, *, room: Room | None = None) -> None:
        """Start it.

        Raises:
            Unavailable: It is not installed.
            ServerFailed: It does not start.
        """
        nginx = need_program("nginx")
        self._host = room.host if room else LOOPBACK
        self._port = PORT if room else free_port()
        self._log = scratch / "nginx.log"
        config = scratch / "nginx.conf"
        # Root's nginx gives its folders to nobody, whom a user namespace does not have.
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(
            NGINX_CONFIG.format(
                user=user, scratch=scratch, host=self._host, port=self._port, root=root
            )
        )
        words: list[str | Path] = [nginx, "-p", scratch, "-c", config, "-e", self._log]
        self._process = subprocess.Popen(
            room.inside(words) if room else words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Nginx:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def url(self, name: str) -> str:
        """Return the URL of a file under the root."""
        return f"http://{self._host}:{self._port}/{name}"

    def _wait_ready(self) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            try:
                socket.create_connection((self._host, self._port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise ServerFailed(f"nginx did not start: {self._log.read_text()[-500:]}")


def curl_file(scene: Scene, content: Content, server: Callable[[], Nginx]) -> Contender:
    """curl, one connection."""

    def open_() -> Run:
        curl, openssl = need_program("curl"), need_program("openssl")
        nginx = server()

        def run() -> Sample:
            with scene.fresh() as folder:
                out = folder / content.path.name
                fetch: list[str | Path] = [curl, "-sf", "-o", out, nginx.url(content.path.name)]
                return fetch_and_hash(
                    scene, content, Command(fetch), [openssl, "dgst", "-sha256", out], out, [nginx]
                )

        return run

    return Contender("nginx, curl, openssl", lambda: system_version("curl"), NOTE, open_)


def aria2c_file(
    scene: Scene,
    content: Content,
    server: Callable[[], Nginx],
    options: Sequence[str] = ("-x16", "-s16", "-k1M"),
) -> Contender:
    """aria2c, 16 connections."""

    def open_() -> Run:
        aria2c, openssl = need_program("aria2c"), need_program("openssl")
        nginx = server()

        def run() -> Sample:
            with scene.fresh() as folder:
                name = content.path.name
                out = folder / name
                fetch = [aria2c, *aria2c_options(folder), *options, "-o", name, nginx.url(name)]
                return fetch_and_hash(
                    scene, content, Command(fetch), [openssl, "dgst", "-sha256", out], out, [nginx]
                )

        return run

    return Contender(
        f"nginx, aria2c {options[0]}, openssl", lambda: system_version("aria2c"), NOTE, open_
    )


def curl_folder(scene: Scene, content: Content, server: Callable[[], Nginx]) -> Contender:
    """curl with a list of all files, 16 transfers at a time."""

    def open_() -> Run:
        curl, openssl = need_program("curl"), need_program("openssl")
        nginx = server()
        config = scene.path("curl-list")
        config.write_text(
            "".join(
                f'url = "{nginx.url(f"{content.path.name}/{name}")}"\noutput = "{name}"\n'
                for name in content.names
            )
        )

        def run() -> Sample:
            with scene.fresh() as folder:
                fetch: list[str | Path] = [curl, "-sf", "-Z", "--parallel-max", "16", "-K", config]
                return fetch_and_hash(
                    scene,
                    content,
                    Command(fetch, cwd=folder),
                    [openssl, "dgst", "-sha256", *content.names],
                    folder,
                    [nginx],
                )

        return run

    return Contender("nginx, curl -Z -K, openssl", lambda: system_version("curl"), NOTE, open_)


def aria2c_folder(scene: Scene, content: Content, server: Callable[[], Nginx]) -> Contender:
    """aria2c with a list of all files, 16 at a time."""

    def open_() -> Run:
        aria2c, openssl = need_program("aria2c"), need_program("openssl")
        nginx = server()
        urls = scene.path("aria2-list")
        urls.write_text(
            "".join(f"{nginx.url(f'{content.path.name}/{name}')}\n" for name in content.names)
        )

        def run() -> Sample:
            with scene.fresh() as folder:
                fetch = [aria2c, *aria2c_options(folder), "-j16", "-i", urls]
                return fetch_and_hash(
                    scene,
                    content,
                    Command(fetch),
                    [openssl, "dgst", "-sha256", *content.names],
                    folder,
                    [nginx],
                )

        return run

    return Contender(
        "nginx, aria2c -j16 -i, openssl", lambda: system_version("aria2c"), NOTE, open_
    )


def aria2c_options(folder: Path) -> list[str | Path]:
    """Return what every use of aria2c needs: quiet, no settings of the user, no preallocation."""
    return ["--no-conf", "-q", "--file-allocation=none", "-d", folder]


def fetch_and_hash(
    scene: Scene,
    content: Content,
    fetch: Command,
    hash_words: Sequence[str | Path],
    out: Path,
    servers: Sequence[Nginx],
) -> Sample:
    """Time a fetch and a SHA-256 of what it brought, then check it."""
    folder = out if content.names else out.parent
    warm_pages(folder, content.size_bytes)
    sample = timed(
        [fetch],
        [Command(hash_words, cwd=folder)],
        timeout_s=scene.settings.timeout_s,
        server_pids=[server.pid for server in servers],
    )
    content.check(out)
    return sample


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
