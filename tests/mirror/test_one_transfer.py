"""Gets of one target at once: the blocks travel once, whoever leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirrornode.content.recipe import Recipe
from mirrornode.errors import TargetError
from mirrornode.events import Event, GetProgress, Got, Note
from mirrornode.mirror.get import get
from mirrornode.mirror.get_request import GetRequest
from mirrornode.mirror.shared_get import SharedGets
from support.paced_server import PacedServer, paced_server
from support.room import Peer, Room
from support.shared_files import content, write
from support.waiting import until

LEAF_BYTES = 20_000
DATA = content(60 * LEAF_BYTES)
RECIPE = Recipe("custom", f"size-{LEAF_BYTES}", 16, raw_leaves=True, cid_version=1)
RATE = 1.5e6
MARGIN = len(DATA) // 2  # copies of last leaves, broken runs; another copy of all would be twice


@dataclass
class Scene:
    """A node, a seed that knows the structure only, and a mirror that counts what it sends."""

    taker: Peer
    cid: str
    server: PacedServer
    folder: Path
    seed: str

    def start(
        self, name: str, events: list[Event] | None = None, **options: Any
    ) -> asyncio.Task[Got]:
        request = GetRequest(
            self.cid,
            self.folder,
            self.folder / name,
            **{
                "peers": (self.seed,),
                "mirrors": (self.server.url,),
                "timeout_s": 20.0,
                **options,
            },
        )
        tell = (events if events is not None else []).append
        return asyncio.create_task(get(self.taker.ports, request, tell))

    async def until_sent(self, part: float) -> None:
        await until(lambda: self.server.sent_bytes >= part * len(DATA))

    async def until_sessions(self, count: int) -> None:
        await until(lambda: len(self.taker.ports.active.sessions) == count)

    def assert_right(self, *names: str) -> None:
        for name in names:
            assert (self.folder / name).read_bytes() == DATA
        assert not list(self.folder.glob("*.part"))
        assert self.server.sent_bytes <= len(DATA) + MARGIN


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    room = Room(folder / "homes")
    model = write(folder / "model.bin", DATA)
    async with room.node("seed") as seed, room.node("taker") as taker:
        cid = seed.share(model, RECIPE)
        model.rename(folder / "away")
        with paced_server(folder / "away", RATE) as server:
            (folder / "out").mkdir()
            yield Scene(taker, cid, server, folder / "out", seed.address)


async def cancelled(task: asyncio.Task[Got]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_two_places_get_what_travels_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = at.start("one")
        await at.until_sent(0.2)
        second = at.start("two")
        one, two = await asyncio.gather(first, second)
        at.assert_right("one", "two")
    assert set(one.bytes_by_source) >= {f"http:{at.server.url}"}
    # What the first brought last it may not have passed on before it left.
    assert two.bytes_by_source["local:transfer-1"] >= 0.9 * len(DATA)
    assert at.server.sent_bytes <= len(DATA) + MARGIN


async def test_three_places_at_the_same_moment(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await asyncio.gather(*(at.start(name) for name in ("one", "two", "three")))
        at.assert_right("one", "two", "three")


@pytest.mark.parametrize("leaves", ["one", "two"])
async def test_two_places_when_one_is_cancelled_then_the_other_goes_on(
    tmp_path: Path, leaves: str
) -> None:
    async with scene(tmp_path) as at:
        tasks = {"one": at.start("one")}
        await at.until_sent(0.1)
        tasks["two"] = at.start("two")
        await at.until_sessions(2)
        await at.until_sent(0.4)
        await cancelled(tasks.pop(leaves))
        ((name, task),) = tasks.items()
        await task
        assert (at.folder / name).read_bytes() == DATA
        assert at.server.sent_bytes <= len(DATA) + MARGIN
        assert at.taker.ports.active.sessions == []


async def test_second_place_lends_the_source_that_the_first_one_lacks(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = at.start("one", mirrors=())
        await at.until_sessions(1)
        second = at.start("two")
        await asyncio.gather(first, second)
        at.assert_right("one", "two")


async def test_same_place_is_one_transfer_that_both_watch(tmp_path: Path) -> None:
    seen: list[list[Event]] = [[], []]
    async with scene(tmp_path) as at:
        first = at.start("one", seen[0])
        await at.until_sent(0.2)
        second = at.start("one", seen[1])
        one, two = await asyncio.gather(first, second)
        at.assert_right("one")
    assert one == two
    assert any(isinstance(event, Note) and "already" in event.text for event in seen[1])
    for events in seen:
        assert any(isinstance(event, GetProgress) and event.done_bytes for event in events)


async def test_same_place_when_one_caller_leaves_then_the_other_gets_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        first = at.start("one")
        await at.until_sent(0.2)
        second = at.start("one")
        await asyncio.sleep(0)
        await cancelled(first)
        await second
        at.assert_right("one")


async def test_same_place_when_all_leave_then_it_ends_and_the_next_one_resumes(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as at:
        tasks = [at.start("one"), at.start("one")]
        await at.until_sent(0.3)
        await cancelled(tasks[0])
        await at.until_sessions(1)
        await cancelled(tasks[1])
        assert at.taker.ports.active.sessions == []
        got = await at.start("one")
        at.assert_right("one")
    assert got.resumed_bytes > 0


class SlowToEnd:
    """Work that takes its time when it is cancelled."""

    def __init__(self, name: str) -> None:
        self.got = Got(name, "", 0, 0.0)
        self.may_end = asyncio.Event()
        self.is_ended = False

    async def run(self) -> Got:
        if self.got.cid == "second":
            return self.got
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()
            self.is_ended = True
        return self.got

    async def find_more(self, peers: Sequence[str], mirrors: Sequence[str]) -> None:
        await asyncio.Event().wait()


async def test_same_place_when_the_work_is_ending_then_the_next_one_waits_for_that() -> None:
    gets = SharedGets()
    works = [SlowToEnd("first"), SlowToEnd("second")]

    def ask(work: SlowToEnd) -> asyncio.Task[Got]:
        asked = gets.run(
            "cid", Path("/x"), lambda tell: work, lambda event: None, peers=(), mirrors=()
        )
        return asyncio.create_task(asked)

    first = ask(works[0])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    second = ask(works[1])
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()
    works[0].may_end.set()
    assert (await second).cid == "second"
    assert works[0].is_ended


async def test_same_place_when_a_caller_names_nonsense_then_only_that_one_fails(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as at:
        first = at.start("one")
        await at.until_sent(0.1)
        with pytest.raises(TargetError):
            await at.start("one", mirrors=("ftp://x/",))
        await first
        at.assert_right("one")
