"""Room is freed while real downloads are in the middle, and nothing of theirs goes."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from mirrornode.content.cid import Cid
from mirrornode.mirror.get import get
from mirrornode.mirror.get_request import GetRequest
from mirrornode.mirror.hub.parts import HubParts
from mirrornode.mirror.keep_pins import Pinning, PinRequest
from support.kept_files import GB, KeptHome, assert_consistent
from support.models import LEAF
from support.room import Peer, Room
from support.shared_files import content, write
from support.waiting import until

MODELS = 1000
DOWNLOADS = 20
SEED = 20_261_124
PATIENT_S = 120.0


class Gate:
    """A pace that lets each lane receive a leaf and a half, and no more before it is opened."""

    piece_bytes = LEAF // 2
    free_pieces = 3

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._lock = threading.Lock()
        self._passed = Counter[int]()
        self.waiting = 0  # lanes that have come to it

    def open(self) -> None:
        """Let everybody go on."""
        self._opened.set()

    def wait(self, size_bytes: int, is_broken_off: Callable[[], bool]) -> None:
        """See `Pace.wait`."""
        with self._lock:
            lane = threading.get_ident()
            self._passed[lane] += 1
            is_free = self._passed[lane] <= self.free_pieces
            self.waiting += not is_free
        while not is_free and not is_broken_off() and not self._opened.wait(0.005):
            pass


async def download(taker: Peer, gate: Gate, cid: str, seed: Peer, *, is_pinned: bool) -> Path:
    """Bring a file into the node's own store, as `pin` or a sync does."""
    ports = replace(taker.ports, pace=gate)
    place = taker.catalog.home / "models" / cid
    peers = (seed.address,)
    if is_pinned:
        pinning = Pinning(ports, cast("HubParts", None))
        await pinning.pin(PinRequest(cid, peers=peers, timeout_s=PATIENT_S), lambda event: None)
    else:
        wanted = GetRequest(
            cid, place.parent, place, peers=peers, timeout_s=PATIENT_S, is_kept=True
        )
        await get(ports, wanted, lambda event: None)
    return place


async def test_gc_when_twenty_downloads_are_in_the_middle_then_none_of_them_loses_anything(
    tmp_path: Path,
) -> None:
    chance = random.Random(SEED)
    nodes = Room(tmp_path)
    async with nodes.node("seed") as seed, nodes.node("taker") as taker:
        room, active, gate = KeptHome(taker.catalog), taker.ports.active, Gate()
        room.active, room.now = active, time.time()
        roots = [room.model(f"m{number}", GB, chance.randint(0, 999)) for number in range(MODELS)]
        pinned = chance.sample(range(MODELS), 100)
        for number in pinned:
            room.catalog.pin(roots[number])
        users = [room.model(f"u{number}", GB, managed=False, home=False) for number in range(20)]
        files = [content(8 * LEAF + number) for number in range(DOWNLOADS)]
        cids = [seed.share(write(tmp_path / "shared" / f"{number}", data))
                for number, data in enumerate(files)]  # fmt: skip
        running = [
            asyncio.create_task(download(taker, gate, cid, seed, is_pinned=number % 2 == 0))
            for number, cid in enumerate(cids)
        ]
        keeper = room.keeper(quota_bytes=900 * GB, low_water=0.5)

        def are_in_the_middle() -> bool:
            parts = list((room.catalog.home / "models").glob("*.part"))
            return len(active.sessions) == len(parts) == DOWNLOADS and gate.waiting >= DOWNLOADS

        await until(are_in_the_middle)
        done = await asyncio.to_thread(keeper.collect, is_due=True)
        assert are_in_the_middle()
        assert done.short_bytes == 0
        assert room.catalog.managed_bytes() <= 450 * GB
        gate.open()
        # Files get their names and are recorded while rounds go on.
        while not all(task.done() for task in running):
            await asyncio.to_thread(keeper.collect, is_due=True)
        places = await asyncio.gather(*running)
        await asyncio.to_thread(keeper.collect, is_due=True)
        for place, cid, data in zip(places, cids, files, strict=True):
            assert place.read_bytes() == data
            assert room.catalog.find_file(Cid.parse(cid).multihash) is not None
        assert room.catalog.managed_bytes() <= 450 * GB
        left = {path.name for path in (room.catalog.home / "models").iterdir()}
        assert {f"m{number}" for number in pinned} | set(cids) <= left
        assert all(room.catalog.find_root(root.multihash) for root in users)
        assert_consistent(room.catalog)
