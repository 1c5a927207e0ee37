"""A body between two states of its file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from mirrornode.errors import SourceGone
from mirrornode.mirror.hub.body import HELD_BACK_BYTES, HubBody
from mirrornode.mirror.hub.bringing import Attempt
from support.waiting import until

SIZE = HELD_BACK_BYTES + 1000


class _AllButVerified(Attempt):
    """A transfer whose every byte has arrived, and whose part has its last name already."""

    def __init__(self, output: Path) -> None:
        super().__init__(output)
        self.part = output.with_name("renamed.part")
        self.looks = 0

    def arrived_until(self, offset: int) -> int:
        self.looks += 1
        return SIZE


async def _never() -> Attempt:
    raise AssertionError("nobody asked for the proof")


async def test_prove_when_bytes_were_wrong_then_waits_for_the_right_ones(tmp_path: Path) -> None:
    wrong, right = Attempt(tmp_path / "blob"), Attempt(tmp_path / "blob")
    wrong.failure = SourceGone("wrong bytes")
    (tmp_path / "blob").write_bytes(os.urandom(SIZE))
    fetched = asyncio.Event()

    async def proof() -> Attempt:
        await fetched.wait()
        right.is_verified = True
        return right

    async with HubBody.of_attempt(wrong, SIZE, proof, restarts_ranges=True) as body:
        proving = asyncio.create_task(body.prove())
        await asyncio.sleep(0)
        assert not proving.done()
        fetched.set()
        await proving
        assert await body.wait(5) == SIZE
        assert body.descriptor >= 0


async def test_wait_when_the_part_was_just_renamed_then_until_it_is_verified(
    tmp_path: Path,
) -> None:
    # Seen with two clients of one small file: the second came between rename and the last word.
    attempt = _AllButVerified(tmp_path / "blob")
    (tmp_path / "blob").write_bytes(os.urandom(SIZE))
    body = HubBody.of_attempt(attempt, SIZE, _never, restarts_ranges=False)
    async with body:
        waiting = asyncio.create_task(body.wait(0))
        await until(lambda: attempt.looks == 2)
        assert not waiting.done()
        attempt.is_verified = True
        assert await waiting == SIZE
        assert body.descriptor >= 0
