"""A reverse proxy that remembers all that reached a client, file content left out.

It passes the Host header on, so that a server that links to itself links to the proxy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

FILE_TYPES = ("application/octet-stream",)
_OF_ONE_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "upgrade"})


@dataclass
class Recording:
    """What went through.

    Attributes:
        url: Where clients come in.
        texts: Of each answer "METHOD PATH STATUS", its headers, and its body unless it is a file.
        file_bytes: Of the bodies that are files, all together.
    """

    url: str = ""
    texts: list[str] = field(default_factory=list)
    file_bytes: int = 0

    def holding(self, word: str) -> list[str]:
        """Return the answers in which a word occurs, in any case."""
        return [text for text in self.texts if word.lower() in text.lower()]


@asynccontextmanager
async def recording_proxy(target: str) -> AsyncIterator[Recording]:
    """Run a proxy to the server at `target` for the length of the block."""
    recording = Recording()

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _OF_ONE_HOP]
        async with session.request(
            request.method,
            URL(target + request.raw_path, encoded=True),
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as upstream:
            kept = [(k, v) for k, v in upstream.headers.items() if k.lower() not in _OF_ONE_HOP]
            response = web.StreamResponse(status=upstream.status)
            response.headers.extend(kept)
            is_file = upstream.headers.get("Content-Type", "").startswith(FILE_TYPES)
            shown = "\n".join(f"{name}: {value}" for name, value in kept)
            body = b"" if is_file else await upstream.read()
            recording.texts.append(
                f"{request.method} {request.raw_path} {upstream.status}\n{shown}\n\n"
                + body.decode(errors="replace")
            )
            await response.prepare(request)
            if request.method != "HEAD":
                if body:
                    await response.write(body)
                async for piece in upstream.content.iter_any():
                    recording.file_bytes += len(piece)
                    await response.write(piece)
            await response.write_eof()
            return response

    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", answer)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session:
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            recording.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield recording
        finally:
            await runner.cleanup()
