"""Blocks for a walk: verified, from whoever has them, without waiting for the slow and the dead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from mirrornode.content.block import Block
from mirrornode.content.cid import Cid
from mirrornode.errors import NoProviders, SourceGone, SourceRefused
from mirrornode.mirror.block_loader import BlockLoader
from support.models import model_of
from support.waiting import until

MODEL = model_of(40_000)
BLOCKS = {block.cid: block.data for block in MODEL.blocks}
CIDS = [block.cid for block in MODEL.blocks]
PATIENT_S = 60.0
AT_ONCE_S = 0.05


class FakeBlocks:
    """A block source whose behaviour is a word: right, wrong, lacking, gone, refused, busy,
    stalled (until aborted)."""

    def __init__(self, name: str, word: str = "right", then: str = "") -> None:
        self.source_id = f"fake:{name}"
        self.calls: list[int] = []
        self.word = word
        self._then = then or word
        self._aborted = threading.Event()

    def fetch_blocks(self, cids: Sequence[Cid]) -> list[bytes | None]:
        word, self.word = self.word, self._then
        self.calls.append(len(cids))
        if word == "stalled":
            self._aborted.wait()
        if word in ("gone", "stalled"):
            raise SourceGone("gone", source_id=self.source_id)
        if word in ("refused", "busy"):
            raise SourceRefused("no", status=503 if word == "busy" else 403)
        if word == "lacking":
            return [None] * len(cids)
        return [BLOCKS[cid] if word == "right" else b"x" + BLOCKS[cid][1:] for cid in cids]

    def abort_fetches(self) -> None:
        self._aborted.set()

    @property
    def is_aborted(self) -> bool:
        return self._aborted.is_set()


@asynccontextmanager
async def loader_with(
    *sources: FakeBlocks,
    local: Callable[[Cid], bytes | None] = lambda cid: None,
    timeout_s: float = PATIENT_S,
) -> AsyncIterator[tuple[BlockLoader, list[Block]]]:
    kept: list[Block] = []
    loader = BlockLoader(local, kept.extend, timeout_s)
    for source in sources:
        loader.add_source(source)
    try:
        yield loader, kept
    finally:
        loader.close()


def right(blocks: Sequence[Block], cids: Sequence[Cid] = CIDS) -> bool:
    return [(block.cid, block.data) for block in blocks] == [(cid, BLOCKS[cid]) for cid in cids]


async def test_blocks_come_in_the_order_asked_and_structure_is_kept() -> None:
    async with loader_with(FakeBlocks("a")) as (loader, kept):
        asked = [*reversed(CIDS), CIDS[0]]
        assert right(await loader.load(asked), asked)
        assert loader.bytes_by_source == {"fake:a": sum(map(len, BLOCKS.values()))}
        # Leaves are kept as files, not a second time.
        assert {block.cid for block in kept} == {block.cid for block in MODEL.file.map.inner}


async def test_blocks_on_this_disk_are_used_unless_damaged() -> None:
    def local(cid: Cid) -> bytes | None:
        if cid == CIDS[0]:
            return b"damaged"
        return BLOCKS[cid] if cid in CIDS[1:5] else None

    source = FakeBlocks("a")
    async with loader_with(source, local=local) as (loader, _):
        assert right(await loader.load(CIDS[:5]), CIDS[:5])
    assert source.calls == [1]


async def test_source_when_it_lies_then_dropped_named_and_never_taken_again() -> None:
    liar = FakeBlocks("liar", "wrong")
    async with loader_with(liar, FakeBlocks("honest")) as (loader, _):
        assert right(await loader.load(CIDS))
        assert loader.bad_sources == {"fake:liar": "sent wrong bytes"}
        loader.add_source(liar)
        calls = len(liar.calls)
        await loader.load(CIDS[:1])
        assert len(liar.calls) == calls


@pytest.mark.parametrize("word", ["gone", "busy"])
async def test_source_when_it_fails_for_a_while_then_asked_again(word: str) -> None:
    async with loader_with(FakeBlocks("a", word, then="right")) as (loader, _):
        assert right(await loader.load(CIDS[:1]), CIDS[:1])


async def test_source_when_it_refuses_then_dropped_but_not_called_bad() -> None:
    refusing = FakeBlocks("a", "refused")
    async with loader_with(refusing, FakeBlocks("b")) as (loader, _):
        await loader.load(CIDS[:1])
        await loader.load(CIDS[1:2])
        assert refusing.calls == [1]
        assert loader.bad_sources == {}


async def test_source_when_it_failed_then_asked_last_from_then_on() -> None:
    dead = FakeBlocks("dead", "gone")
    async with loader_with(dead, FakeBlocks("b")) as (loader, _):
        for cid in CIDS[:5]:
            await loader.load([cid])
        assert len(dead.calls) == 1


async def test_source_when_it_stalls_then_the_next_is_asked_meanwhile() -> None:
    stalled = FakeBlocks("stalled", "stalled")
    async with loader_with(stalled, FakeBlocks("b")) as (loader, _):
        assert right(await loader.load(CIDS))
        assert stalled.is_aborted  # its threads are not waited for
        calls = len(stalled.calls)
        assert right(await loader.load(CIDS))
        assert len(stalled.calls) == calls  # it is the last to be asked from now on


async def test_source_when_it_comes_late_then_waited_for() -> None:
    async with loader_with(FakeBlocks("lacking", "lacking")) as (loader, _):
        loading = asyncio.create_task(loader.load(CIDS[:2]))
        await until(lambda: loader.is_waiting)
        loader.add_source(FakeBlocks("late"))
        assert right(await loading, CIDS[:2])
        assert not loader.is_waiting


@pytest.mark.parametrize("words", [(), ("lacking",), ("gone", "lacking"), ("wrong",)])
async def test_blocks_when_nobody_has_them_then_no_providers_in_time(
    words: tuple[str, ...],
) -> None:
    sources = [FakeBlocks(word, word) for word in words]
    async with loader_with(*sources, timeout_s=AT_ONCE_S) as (loader, _):
        with pytest.raises(NoProviders):
            await loader.load(CIDS[:1])


async def test_blocks_when_the_only_source_stalls_then_no_providers_in_time() -> None:
    async with loader_with(FakeBlocks("a", "stalled"), timeout_s=AT_ONCE_S) as (loader, _):
        with pytest.raises(NoProviders):
            await loader.load(CIDS[:1])


async def test_load_when_cancelled_then_its_threads_end() -> None:
    stalled = FakeBlocks("a", "stalled")
    async with loader_with(stalled) as (loader, _):
        loading = asyncio.create_task(loader.load(CIDS))
        await until(lambda: bool(stalled.calls))
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert stalled.is_aborted


async def test_source_with_a_bug_is_not_hidden() -> None:
    class Broken(FakeBlocks):
        def fetch_blocks(self, cids: Sequence[Cid]) -> list[bytes | None]:
            raise ZeroDivisionError

    async with loader_with(Broken("a")) as (loader, _):
        with pytest.raises(ZeroDivisionError):
            await loader.load(CIDS[:1])


class RestingBlocks(FakeBlocks):
    """Overloaded: asks to be left alone for a minute."""

    def fetch_blocks(self, cids: Sequence[Cid]) -> list[bytes | None]:
        self.calls.append(len(cids))
        raise SourceRefused("answered 429", status=429, retry_after_s=60.0)


async def test_source_when_it_asks_for_rest_then_left_alone_and_named_in_the_end() -> None:
    resting, lacking = RestingBlocks("resting"), FakeBlocks("other", "lacking")
    async with loader_with(resting, lacking, timeout_s=AT_ONCE_S) as (loader, _):
        for _ in range(2):
            with pytest.raises(NoProviders) as caught:
                await loader.load(CIDS[:1])
            assert "fake:resting answered 429; fake:other does not have it" in str(caught.value)
    assert len(resting.calls) == 1
    assert len(lacking.calls) > 1
