"""`/healthz` and `/readyz`: what supervisors ask, such as systemd, containers and Kubernetes.

Healthy is a node whose event loop runs and whose catalog answers: one that is not needs a restart.
Ready is one that may be sent work: all listeners open, the catalog writable, the shared folders
looked after, not about to end. Both answer "ok", or 503 with a reason on each line.

Nobody's questions can pile up: however many ask, one look at the catalog is under way.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.errors import MirrorError
from mirrornode.gateway.door import RETRY_AFTER_S

if TYPE_CHECKING:
    from mirrornode.gateway.door import Door
    from mirrornode.store.catalog import Catalog

PATHS = ("/healthz", "/readyz")
PATIENCE_S = 5.0  # a catalog that takes longer to read one row, or for a commit, is of no use


class HealthRoutes:
    """Answers whether a node lives, and whether it may be sent work."""

    def __init__(
        self, door: Door, catalog: Catalog | None, *, patience_s: float = PATIENCE_S
    ) -> None:
        """Prepare.

        Args:
            catalog: None where there is none to look at.
        """
        self._door = door
        self._read = _Look(lambda: _read_trouble(catalog), patience_s)
        self._write = _Look(lambda: _write_trouble(catalog), patience_s)

    def add_to(self, app: web.Application) -> None:
        """Register the routes on an application."""
        app.router.add_get(PATHS[0], self.healthz, allow_head=True)
        app.router.add_get(PATHS[1], self.readyz, allow_head=True)

    async def healthz(self, request: web.Request) -> web.Response:
        """Answer whether the node lives."""
        trouble = await self._read.result()
        return _answer([trouble] if trouble else [])

    async def readyz(self, request: web.Request) -> web.Response:
        """Answer whether the node may be sent work."""
        reasons = self._door.why_not_ready()
        if trouble := await self._write.result():
            reasons.append(trouble)
        return _answer(reasons)


class _Look:
    """A blocking question in a thread of its own, asked once however many wait for it.

    A daemon thread: one that hangs on a dead disk must not keep the process from ending.
    """

    def __init__(self, question: Callable[[], str], patience_s: float) -> None:
        self._question = question
        self._patience_s = patience_s
        self._answer: asyncio.Future[str] | None = None

    async def result(self) -> str:
        """Return what is wrong, "" when nothing is."""
        if self._answer is None or self._answer.done():
            self._answer = self._ask()
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.shield(self._answer)
        except TimeoutError:
            return f"the catalog has not answered for {self._patience_s:g} s: look at its disk"

    def _ask(self) -> asyncio.Future[str]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def put(text: str) -> None:
            if not answer.done():
                answer.set_result(text)

        def work() -> None:
            try:
                text = self._question()
            except (MirrorError, OSError) as exc:
                text = f"the catalog does not work: {exc}"
            try:
                loop.call_soon_threadsafe(put, text)
            except RuntimeError:
                return  # the loop has ended meanwhile

        threading.Thread(target=work, name="health", daemon=True).start()
        return answer


def _read_trouble(catalog: Catalog | None) -> str:
    if catalog is not None:
        catalog.check_readable()
    return ""


def _write_trouble(catalog: Catalog | None) -> str:
    if catalog is None:
        return ""
    disk = os.statvfs(catalog.home)
    if disk.f_flag & os.ST_RDONLY:
        return "the disk of the node's home is mounted read-only"
    if not disk.f_bavail:
        return "the disk of the node's home is full"
    catalog.check_writable()
    return ""


def _answer(reasons: list[str]) -> web.Response:
    if not reasons:
        return web.Response(text="ok\n")
    text = "".join(f"{' '.join(reason.split())}\n" for reason in reasons)
    return web.Response(status=503, text=text, headers={"Retry-After": str(RETRY_AFTER_S)})
