"""aria2c with several mirrors of one file: as plain URLs, or as a Metalink with piece hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from bench.contenders.web import NOTE, Nginx, aria2c_options, fetch_and_hash
from bench.content import Content
from bench.measure import MIB, Command, timed, warm_pages
from bench.programs import need_program, system_version
from bench.results import Sample
from bench.scene import Contender, Run, Scene

# One connection a mirror is what suits aria2c best here; it gives up a mirror that sends nothing
# for 5 s, or too little.
PATIENCE = ("--timeout=5", "--connect-timeout=5", "--lowest-speed-limit=10K", "--retry-wait=1")


def aria2c_mirrors(
    scene: Scene, content: Content, servers: Callable[[], Sequence[Nginx]], *, name: str
) -> Contender:
    """Plain URLs: nothing is verified on the way, so openssl checks in the end."""

    def open_() -> Run:
        aria2c, openssl = need_program("aria2c"), need_program("openssl")
        opened = servers()
        urls = [server.url(content.path.name) for server in opened]
        split = ["-x1", f"-s{len(urls)}", "-k1M"]

        def run() -> Sample:
            with scene.fresh() as folder:
                out = folder / content.path.name
                options = [*aria2c_options(folder), *split, *PATIENCE, "-o", out.name]
                return fetch_and_hash(
                    scene,
                    content,
                    Command([aria2c, *options, *urls]),
                    [openssl, "dgst", "-sha256", out],
                    out,
                    opened,
                )

        return run

    return Contender(name, lambda: system_version("aria2c"), NOTE, open_)


def aria2c_metalink(
    scene: Scene,
    content: Content,
    servers: Callable[[], Sequence[Nginx]],
    faulty: Callable[[], Sequence[str]],
    *,
    name: str,
    compared_with: str,
) -> Contender:
    """A Metalink that holds the SHA-256 of each MiB, and names faulty mirrors beside the good."""

    def open_() -> Run:
        aria2c = need_program("aria2c")
        opened = servers()
        urls = [server.url(content.path.name) for server in opened] + list(faulty())
        metalink = scene.path("metalink").with_suffix(".meta4")
        metalink.write_text(_metalink(content, urls))
        split = ["-x1", f"-s{len(urls)}", "-k1M"]

        def run() -> Sample:
            with scene.fresh() as folder:
                out = folder / content.path.name
                words = [aria2c, *aria2c_options(folder), *split, *PATIENCE, "-M", metalink]
                warm_pages(folder, content.size_bytes)
                sample = timed(
                    [Command(words)],
                    timeout_s=scene.settings.timeout_s,
                    server_pids=[server.pid for server in opened],
                )
                content.check(out)
                return sample

        return run

    return Contender(
        name,
        lambda: system_version("aria2c"),
        "fetched, and verified by the Metalink's hashes; no TLS",
        open_,
        compared_with=compared_with,
    )


def _metalink(content: Content, urls: Sequence[str]) -> str:
    """Return a Metalink document. Spec: RFC 5854, sections 4.2.13 (pieces) and 4.2.16 (url)."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink">\n'
        f'<file name="{escape(content.path.name)}"><size>{content.size_bytes}</size>\n'
        f'<pieces length="{MIB}" type="sha-256">\n'
        + "".join(f"<hash>{one}</hash>\n" for one in _piece_sums(content.path))
        + "</pieces>\n"
        + "".join(f'<url priority="1">{escape(url)}</url>\n' for url in urls)
        + "</file></metalink>\n"
    )


def _piece_sums(path: Path) -> list[str]:
    with path.open("rb") as stream:
        return [hashlib.sha256(piece).hexdigest() for piece in iter(lambda: stream.read(MIB), b"")]
