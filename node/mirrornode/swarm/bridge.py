"""A trio event loop in its own thread, called from asyncio and calling back.

py-libp2p needs trio, aiohttp needs asyncio; this is the only place where the two meet. A call
costs 50-90 µs, so whole messages cross, never small reads. Cancelling works both ways and the
caller of `call` does not get on before the trio side has cleaned up. trio in a thread that is not
the main one never sees signals, which is what we want: asyncio owns them.

It knows nothing of libp2p.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import trio

STOP_TIMEOUT_S = 5.0  # trio ends within milliseconds; past this something is wedged
_TASK_END_TIMEOUT_S = 1.0  # how long cancelled asyncio calls of the trio side may take to end

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class BridgeStopped(Exception):
    """The trio thread has ended, on purpose or by a crash (then `__cause__` is the crash)."""


class TrioThread:
    """One trio run in one thread, bound to the asyncio loop that started it.

    Driven by: `start`, then any number of `call` and `post`, then `stop`, all from that loop;
    `to_asyncio` and `post_to_asyncio` from trio tasks.
    """

    def __init__(self, name: str = "mirrornode-trio") -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._ended: asyncio.Future[None]
        self._crash: BaseException | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Start the thread and wait until trio runs in it."""
        assert self._thread is None, "a TrioThread starts once"
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        ready: asyncio.Future[None] = self._loop.create_future()

        async def main() -> None:
            self._token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as self._nursery:
                self._to_loop(_settle, ready, None, None)
                await trio.sleep_forever()

        def run() -> None:
            try:
                trio.run(main)
            except BaseException as exc:  # the thread's boundary: kept, logged, raised by `stop`
                self._crash = exc
                log.exception("trio thread crashed name=%s", self._name)
            self._to_loop(_settle, ready, None, self._crash)
            self._to_loop(_settle, self._ended, None, None)

        self._thread = threading.Thread(target=run, name=self._name, daemon=True)
        self._thread.start()
        await ready

    async def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Await `function(*args)` in trio and return its result.

        Cancelling the caller cancels the trio task and waits until it has ended.

        Raises:
            BridgeStopped: The thread has ended, or ended before there was a result.
        """
        reply: asyncio.Future[T] = self._loop.create_future()
        reply.add_done_callback(_mark_retrieved)
        scope = trio.CancelScope()

        async def task() -> None:
            result: T | None = None
            failure: BaseException | None = BridgeStopped("the trio thread is stopping")
            try:
                with scope:
                    result = await function(*args)
                    failure = None
            except Exception as exc:  # crosses the thread boundary and is raised at the caller
                failure = exc
            finally:  # also runs when the whole nursery is cancelled
                self._to_loop(_settle, reply, result, failure)

        self._in_trio(lambda: self._nursery.start_soon(task), reply)
        try:
            return await asyncio.shield(reply)
        except asyncio.CancelledError:
            if not reply.done():
                with contextlib.suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(scope.cancel)
                ends: list[asyncio.Future[Any]] = [reply, self._ended]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            raise

    async def start_background(self, function: Callable[..., Awaitable[object]]) -> None:
        """Start a trio task that lasts until `stop`; return when it calls `task_status.started`.

        What it raises before that is raised here; what it raises later is a crash.
        """
        await self.call(self._nursery.start, function)

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Call a plain function in the trio thread soon; dropped when trio has ended."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)

    async def to_asyncio(
        self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """From trio: await `function(*args)` in asyncio and return its result.

        Cancelling the trio task cancels the asyncio task, without waiting for it; `stop` does.
        """
        done = trio.Event()
        task: asyncio.Task[T] | None = None
        is_cancelled = False

        def create() -> None:
            nonlocal task
            if is_cancelled:
                return
            task = self._loop.create_task(function(*args, **kwargs))
            self._tasks.add(task)
            task.add_done_callback(finished)

        def finished(ended: asyncio.Task[T]) -> None:
            self._tasks.discard(ended)
            if not ended.cancelled():
                ended.exception()  # retrieved here; raised below where somebody waits
            self.post(done.set)

        def cancel() -> None:
            nonlocal is_cancelled
            is_cancelled = True
            if task is not None:
                task.cancel()

        self._to_loop(create)
        try:
            await done.wait()
        except trio.Cancelled:
            self._to_loop(cancel)
            raise
        assert task is not None
        try:
            return task.result()
        except asyncio.CancelledError as exc:
            raise BridgeStopped("the asyncio task was cancelled") from exc

    def post_to_asyncio(self, function: Callable[..., object], *args: object) -> None:
        """From trio: call a plain function in the asyncio loop soon, in the order of the posts."""
        self._to_loop(function, *args)

    async def stop(self) -> None:
        """Cancel everything in trio, end the thread, and end what it left in asyncio.

        Raises:
            BridgeStopped: Trio had crashed; the crash is the cause.
        """
        if self._thread is None:
            return
        self.post(lambda: self._nursery.cancel_scope.cancel())
        await asyncio.wait([self._ended], timeout=STOP_TIMEOUT_S)
        if not self._ended.done():
            log.error("trio thread did not end name=%s", self._name)
            return
        self._thread.join(STOP_TIMEOUT_S)
        self._thread = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_TASK_END_TIMEOUT_S)
        if self._crash is not None:
            raise BridgeStopped("the trio thread crashed") from self._crash

    def _in_trio(self, function: Callable[[], object], reply: asyncio.Future[Any]) -> None:
        """Run `function` in trio; when trio has ended or is ending, fail `reply`."""

        def run() -> None:
            try:
                function()
            except RuntimeError:  # the nursery is closed
                self._to_loop(_settle, reply, None, BridgeStopped("the trio thread is stopping"))

        try:
            if self._thread is None:
                raise trio.RunFinishedError
            self._token.run_sync_soon(run)
        except trio.RunFinishedError:
            stopped = BridgeStopped("the trio thread has ended")
            stopped.__cause__ = self._crash
            reply.set_exception(stopped)

    def _to_loop(self, function: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(function, *args)


def _settle(future: asyncio.Future[T], result: T, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)


def _mark_retrieved(future: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging a failure whose caller was cancelled meanwhile."""
    if not future.cancelled():
        future.exception()
