"""A stand-in for the Hugging Face Hub, enough for `hf download`: one model, a file or a folder.

    hub_server HOST:PORT PATH

Files go out with sendfile (aiohttp's FileResponse without TLS), as from a good mirror. It speaks no
Xet, so that the client takes the plain way.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from bench.rival_programs.resident import say_ready

REPO = "bench/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def build(files: Mapping[str, Path]) -> web.Application:
    """Return the application that serves these files."""
    sums = {name: _sha256(path) for name, path in files.items()}

    async def model(_: web.Request) -> web.Response:
        siblings = [{"rfilename": name} for name in files]
        return web.json_response({"id": REPO, "sha": COMMIT, "siblings": siblings})

    async def tree(_: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "type": "file",
                    "path": name,
                    "size": path.stat().st_size,
                    "oid": sums[name][:40],
                    "lfs": {
                        "oid": sums[name],
                        "size": path.stat().st_size,
                        "pointerSize": 130,
                    },
                }
                for name, path in files.items()
            ]
        )

    async def paths_info(request: web.Request) -> web.Response:
        asked = (await request.post()).getall("paths", [])
        listed = json.loads((await tree(request)).text or "[]")
        return web.json_response([one for one in listed if one["path"] in asked])

    async def resolve(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in files:
            raise web.HTTPNotFound(headers={"X-Error-Code": "EntryNotFound"})
        return web.FileResponse(
            files[name], headers={"ETag": f'"{sums[name]}"', "X-Repo-Commit": COMMIT}
        )

    async def probe(_: web.Request) -> web.Response:
        return web.Response()  # olah looks at start whether its upstream is a Hub

    app = web.Application()
    app.router.add_get(f"/api/models/{REPO}", model)
    app.router.add_get(f"/api/models/{REPO}/revision/{{revision}}", model)
    app.router.add_get(f"/api/models/{REPO}/tree/{{revision}}", tree)
    app.router.add_post(f"/api/models/{REPO}/paths-info/{{revision}}", paths_info)
    app.router.add_get("/datasets/Salesforce/wikitext/{rest:.*}", probe)
    app.router.add_get(f"/{REPO}/resolve/{{revision}}/{{name}}", resolve)
    return app


async def serve(listen: str, files: Mapping[str, Path]) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = web.AppRunner(build(files), access_log=None)
    await runner.setup()
    host, _, port = listen.partition(":")
    await web.TCPSite(runner, host, int(port)).start()
    say_ready()
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Do what the command line says."""
    listen, path = sys.argv[1], Path(sys.argv[2])
    paths = sorted(path.iterdir()) if path.is_dir() else [path]
    asyncio.run(serve(listen, {one.name: one for one in paths}))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    main()
