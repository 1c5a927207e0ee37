"""The bridge between asyncio and trio: results, errors, cancelling both ways, stop, crash."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import trio

from mirrornode.swarm.bridge import BridgeStopped, TrioThread


@pytest.fixture
async def bridge() -> AsyncIterator[TrioThread]:
    thread = TrioThread("test-trio")
    await thread.start()
    yield thread
    await thread.stop()


async def test_call_when_trio_returns_then_result_comes_back(bridge: TrioThread) -> None:
    async def double(value: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * value

    assert await asyncio.gather(*(bridge.call(double, n) for n in range(50))) == [
        2 * n for n in range(50)
    ]


async def test_call_when_trio_raises_then_caller_gets_it(bridge: TrioThread) -> None:
    async def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await bridge.call(fail)


async def test_call_when_cancelled_then_trio_cleans_up_first(bridge: TrioThread) -> None:
    started = asyncio.Event()
    cleaned: list[bool] = []

    async def wait() -> None:
        bridge.post_to_asyncio(started.set)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                cleaned.append(True)

    task = asyncio.create_task(bridge.call(wait))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]


async def test_to_asyncio_when_awaited_then_runs_in_the_loops_thread(bridge: TrioThread) -> None:
    async def where() -> threading.Thread:
        return threading.current_thread()

    async def ask() -> threading.Thread:
        return await bridge.to_asyncio(where)

    assert await bridge.call(ask) is threading.current_thread()


async def test_to_asyncio_when_trio_is_cancelled_then_task_is(bridge: TrioThread) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def ask() -> None:
        await bridge.to_asyncio(wait)

    task = asyncio.create_task(bridge.call(ask))
    await started.wait()
    task.cancel()
    await ended.wait()


async def test_stop_when_calls_are_in_flight_then_they_fail_and_nothing_is_left() -> None:
    bridge = TrioThread()
    await bridge.start()
    started = asyncio.Event()

    async def wait_here() -> None:
        started.set()
        await asyncio.Event().wait()

    async def wait_there() -> None:
        await bridge.to_asyncio(wait_here)

    task = asyncio.create_task(bridge.call(wait_there))
    await started.wait()
    await bridge.stop()
    with pytest.raises(BridgeStopped):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert "mirrornode-trio" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(BridgeStopped):
        await bridge.call(trio.lowlevel.checkpoint)


async def test_stop_when_trio_has_crashed_then_the_crash_surfaces(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bridge = TrioThread()
    await bridge.start()

    async def crash() -> None:
        raise MemoryError("boom")

    bridge.post(lambda: trio.lowlevel.spawn_system_task(crash))
    with pytest.raises(BridgeStopped):
        await bridge.call(trio.sleep_forever)
    with pytest.raises(BridgeStopped) as caught:
        await bridge.stop()
    assert caught.value.__cause__ is not None
    assert "trio thread crashed" in caplog.text
