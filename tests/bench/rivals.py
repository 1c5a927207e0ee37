"""The other programs: nginx serves a folder; aria2c and curl fetch; openssl checks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

NGINX_CONFIG = """
{user}
daemon off;
worker_processes 1;
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
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def program(name: str) -> str | None:
    """Return the path of a program, or None when it is not installed."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


class Nginx:
    """nginx on a free loopback port; a context manager."""

    def __init__(self, scratch: Path, root: Path) -> None:
        scratch.mkdir()
        self.port = _free_port()
        config = scratch / "nginx.conf"
        # Started by root, its worker would run as nobody, who may not enter our folder.
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(
            NGINX_CONFIG.format(user=user, scratch=scratch, port=self.port, root=root)
        )
        nginx = program("nginx")
        assert nginx is not None
        self._process = subprocess.Popen(
            [nginx, "-p", scratch, "-c", config, "-e", scratch / "nginx.log"],
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
        """The process id of the master; the worker is its child."""
        return self._process.pid

    def url(self, name: str) -> str:
        """Return the URL of a file under the root."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("nginx did not start")


def aria2c(url: str, folder: Path, name: str) -> list[str | Path]:
    """Return the command that fetches one file with 16 connections."""
    options = ["-x16", "-s16", "-k1M", "-q", "--file-allocation=none"]
    return ["aria2c", *options, "-d", folder, "-o", name, url]


def aria2c_many(list_file: Path, folder: Path) -> list[str | Path]:
    """Return the command that fetches the listed files, 16 at a time."""
    return ["aria2c", "-j16", "-q", "--file-allocation=none", "-i", list_file, "-d", folder]


def curl(url: str, path: Path) -> list[str | Path]:
    """Return the command that fetches one file."""
    return ["curl", "-sf", "-o", path, url]


def curl_many(config: Path) -> list[str | Path]:
    """Return the command that fetches the files of a config, 16 at a time."""
    return ["curl", "-sf", "-Z", "--parallel-max", "16", "-K", config]


def openssl_sha256(*paths: str | Path) -> list[str | Path]:
    """Return the command that hashes files; coreutils' sha256sum is several times slower."""
    return ["openssl", "dgst", "-sha256", *paths]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
