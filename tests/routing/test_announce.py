"""The announcer: what, when, how often, and records for newcomers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from contracts.announce_queue import AnnounceQueueContract
from mirrornode.errors import CatalogUnusable
from mirrornode.routing.announce import Announcer, AnnounceSettings
from mirrornode.routing.kad.node import Kad
from mirrornode.routing.kad.rules import LAN_KAD_PROTOCOL
from mirrornode.store.announcements import LARGE_FILE_PRIORITY, ROOT_PRIORITY
from mirrornode.store.public_announcements import PLACE_BITS, SweepState
from mirrornode.wire.kad import KadMessage, MessageType, decode_message, encode_message
from support.dht_room import Room, multihash_of, open_room
from support.memory_queue import MemoryQueue
from support.virtual_time import run_virtual

KEYS = [multihash_of(f"root {number}") for number in range(30)]
HOUR_S = 3600.0
ROOT, LARGE, SMALL = (multihash_of(name) for name in ("folder", "large file", "small file"))
PRIORITIES = {ROOT: ROOT_PRIORITY, LARGE: LARGE_FILE_PRIORITY}


class TestMemoryQueue(AnnounceQueueContract):
    @pytest.fixture
    def queue(self) -> MemoryQueue:
        return MemoryQueue()


@asynccontextmanager
async def _announcing(
    kad: Kad,
    queue: MemoryQueue,
    settings: AnnounceSettings | None = None,
    *,
    is_busy: Callable[[], bool] = lambda: False,
) -> AsyncIterator[Announcer]:
    announcer = Announcer(
        kad,
        queue,
        queue,
        is_busy=is_busy,
        clock=asyncio.get_running_loop().time,
        rng=random.Random(3),
        settings=settings,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(announcer.run())
        try:
            yield announcer
        finally:
            task.cancel()


def _queue(*keys: bytes, priorities: Mapping[bytes, int] | None = None) -> MemoryQueue:
    queue = MemoryQueue(asyncio.get_running_loop().time, priorities=priorities)
    queue.enqueue_announcements(keys)
    return queue


async def _providers(room: Room, asker: int, key: bytes) -> set[str]:
    found = room.kads[asker].find_providers(key, timeout_s=10)
    return {record.peer_id async for record in found}


def test_everything_queued_is_announced_to_all_of_a_small_network() -> None:
    async def scenario() -> None:
        async with open_room(5) as room:
            queue = _queue(*KEYS)
            async with _announcing(room.kads[1], queue):
                await asyncio.sleep(5)
            assert queue.announce_counts() == (30, 0, 30)
            assert [kad.record_count for kad in room.kads] == [30, 0, 30, 30, 30]

    run_virtual(scenario())


def test_announcements_are_repeated_before_records_run_out() -> None:
    async def scenario() -> None:
        async with open_room(3) as room:
            queue = _queue(KEYS[0])
            async with _announcing(room.kads[1], queue, AnnounceSettings(poll_s=900)):
                await asyncio.sleep(10)
                before = room.net.notices
                await asyncio.sleep(19 * HOUR_S)
                assert room.net.notices == before
                await asyncio.sleep(4 * HOUR_S)
                assert room.net.notices == before + 2
                await asyncio.sleep(40 * HOUR_S)
            room.net.kill(room.swarms[1].peer_id)
            assert await _providers(room, 2, KEYS[0]) == {room.swarms[1].peer_id}

    run_virtual(scenario())


def test_announcer_waits_for_a_first_peer_and_answers_meanwhile() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            queue = _queue(KEYS[0])
            async with _announcing(room.kads[0], queue) as announcer:
                await asyncio.sleep(HOUR_S)
                assert queue.due_announcements(0, 9)[0].attempts == 0
                queue.enqueue_announcements([KEYS[1]])
                announcer.wake()
                await asyncio.sleep(1)
                client = await room.start("client", serve=False)
                await asyncio.sleep(1)
                assert len([r async for r in client.find_providers(KEYS[1], timeout_s=5)]) == 1
                assert queue.announce_counts()[2] == 0
                await room.start("server")
                await asyncio.sleep(5)
                assert queue.announce_counts() == (2, 0, 2)

    run_virtual(scenario())


def test_wake_announces_at_once() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            queue = _queue()
            async with _announcing(room.kads[0], queue) as announcer:
                await asyncio.sleep(1)
                queue.enqueue_announcements([KEYS[0]])
                announcer.wake()
                await asyncio.sleep(1)
                assert queue.announce_counts() == (1, 0, 1)

    run_virtual(scenario())


def test_failed_announcements_back_off_and_succeed_later() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            queue = _queue(KEYS[0])
            forgetful = room.net.join("forgetful")

            async def forget(_: str, request: bytes) -> bytes:
                return encode_message(KadMessage(decode_message(request).type))

            forgetful.serve(LAN_KAD_PROTOCOL, forget)
            await forgetful.dial(room.swarms[0].peer_id, room.swarms[0].listen)
            async with _announcing(room.kads[0], queue):
                await asyncio.sleep(600)
                attempts = queue.due_announcements(1e12, 1)[0].attempts
                assert 6 <= attempts <= 10
                Kad(forgetful, clock=asyncio.get_running_loop().time)  # it keeps records now
                await asyncio.sleep(700)
                assert queue.announce_counts() == (1, 0, 1)

    run_virtual(scenario())


def _sent_to(room: Room, number: int) -> list[bytes]:
    """Return the keys a node was sent records of, in order."""
    messages = (decode_message(request) for _, request in room.swarms[number].received)
    return [m.key for m in messages if m.type is MessageType.ADD_PROVIDER]


def test_important_keys_are_announced_first() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            queue = _queue(SMALL, LARGE, ROOT, priorities=PRIORITIES)
            async with _announcing(room.kads[0], queue, AnnounceSettings(batch=1)):
                await asyncio.sleep(5)
            assert _sent_to(room, 1) == [ROOT, LARGE, SMALL]

    run_virtual(scenario())


def test_batch_is_followed_by_a_pause_as_long_as_it_took() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            room.net.latency_s = 1.0
            settings = AnnounceSettings(batch=10)
            async with _announcing(room.kads[0], _queue(*KEYS), settings):
                await asyncio.sleep(12 + 11)  # ten records, the question and its answer; a pause
                assert len(_sent_to(room, 1)) == 10
                await asyncio.sleep(3)
                assert len(_sent_to(room, 1)) > 10

    run_virtual(scenario())


def test_root_that_comes_in_a_pause_is_announced_at_once() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            queue = _queue(*KEYS, priorities=PRIORITIES)
            settings = AnnounceSettings(batch=10, min_rest_s=60)
            async with _announcing(room.kads[0], queue, settings) as announcer:
                await asyncio.sleep(1)
                assert queue.announce_counts() == (30, 20, 10)
                queue.enqueue_announcements([ROOT, SMALL])
                announcer.wake()
                await asyncio.sleep(0.2)
                assert queue.announce_counts() == (32, 21, 11)
                assert _sent_to(room, 1)[-1] == ROOT
                await asyncio.sleep(300)
                assert queue.announce_counts() == (32, 0, 32)

    run_virtual(scenario())


def test_busy_node_announces_what_is_important_at_a_trickle_and_the_rest_later() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            is_busy = True
            large = {multihash_of(f"large {number}"): LARGE_FILE_PRIORITY for number in range(20)}
            queue = _queue(SMALL, *large, ROOT, priorities=PRIORITIES | large)
            async with _announcing(room.kads[0], queue, is_busy=lambda: is_busy):
                await asyncio.sleep(0.9)
                assert len(_sent_to(room, 1)) == 8
                await asyncio.sleep(60)
                assert queue.announce_counts() == (22, 1, 21)
                assert SMALL not in _sent_to(room, 1)
                is_busy = False
                await asyncio.sleep(3)
                assert queue.announce_counts() == (22, 0, 22)

    run_virtual(scenario())


def test_node_that_is_always_busy_announces_everything_in_the_end() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            queue = _queue(*KEYS)
            settings = AnnounceSettings(patience_s=600)
            async with _announcing(room.kads[0], queue, settings, is_busy=lambda: True):
                await asyncio.sleep(500)
                assert queue.announce_counts()[2] == 0
                await asyncio.sleep(200)
                assert queue.announce_counts() == (30, 0, 30)

    run_virtual(scenario())


def test_busy_node_gives_newcomers_what_is_important_first() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            is_busy = False
            queue = _queue(*KEYS, ROOT, LARGE, priorities=PRIORITIES)
            async with _announcing(room.kads[1], queue, is_busy=lambda: is_busy):
                await asyncio.sleep(200)
                is_busy = True
                for name in ("newcomer", "another"):
                    await room.start(name, dial=room.swarms[1])
                await asyncio.sleep(60)
                assert [_sent_to(room, number) for number in (2, 3)] == [[ROOT, LARGE]] * 2
                is_busy = False
                await asyncio.sleep(10)
                assert [kad.record_count for kad in room.kads[2:]] == [32, 32]

    run_virtual(scenario())


class _BusyQueue(MemoryQueue):
    """Fails its first calls, as a catalog does that another process keeps locked."""

    failures = 3

    def mark_announced(self, next_at: Mapping[bytes, float], ok_at: float) -> None:
        if self.failures:
            self.failures -= 1
            raise CatalogUnusable("the catalog is busy")
        super().mark_announced(next_at, ok_at)


def test_announcer_survives_a_busy_catalog() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            queue = _BusyQueue(asyncio.get_running_loop().time)
            queue.enqueue_announcements(KEYS[:4])
            async with _announcing(room.kads[0], queue):
                await asyncio.sleep(120)
            assert queue.announce_counts() == (4, 0, 4)

    run_virtual(scenario())


def test_dropped_roots_are_no_longer_answered_for() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            queue = _queue(*KEYS[:2])
            async with _announcing(room.kads[0], queue) as announcer:
                await asyncio.sleep(1)
                queue.drop_announcements([KEYS[0]])
                announcer.wake()
                await asyncio.sleep(1)
                await room.start("asker")
                await asyncio.sleep(0.5)
                assert await _providers(room, 1, KEYS[0]) == set()
                assert await _providers(room, 1, KEYS[1]) == {room.swarms[0].peer_id}

    run_virtual(scenario())


def test_restarted_node_answers_for_everything_before_it_announces() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            queue = _queue(KEYS[0])
            queue.mark_announced({KEYS[0]: 1e12}, 0)  # not due for ages
            async with _announcing(room.kads[0], queue):
                await asyncio.sleep(1)
                assert await _providers(room, 1, KEYS[0]) == {room.swarms[0].peer_id}

    run_virtual(scenario())


def test_newcomer_of_a_small_network_is_given_all_records() -> None:
    async def scenario() -> None:
        async with open_room(3) as room:
            async with _announcing(room.kads[1], _queue(*KEYS)):
                await asyncio.sleep(5)
                newcomer = await room.start("newcomer")
                await asyncio.sleep(20)
                assert newcomer.record_count == len(KEYS)
            for swarm in room.swarms[:3]:
                room.net.kill(swarm.peer_id)
            assert await _providers(room, 3, KEYS[7]) == {room.swarms[1].peer_id}

    run_virtual(scenario())


def test_newcomer_is_given_records_at_a_bounded_rate() -> None:
    async def scenario() -> None:
        settings = AnnounceSettings(push_batch=5, push_pause_s=10)
        async with open_room(2) as room, _announcing(room.kads[1], _queue(*KEYS), settings):
            await asyncio.sleep(200)
            newcomer = await room.start("newcomer", dial=room.swarms[1])
            await asyncio.sleep(15)
            assert newcomer.record_count == 10
            await asyncio.sleep(60)
            assert newcomer.record_count == len(KEYS)

    run_virtual(scenario())


def test_newcomer_that_leaves_at_once_stops_the_push() -> None:
    async def scenario() -> None:
        async with open_room(2) as room, _announcing(room.kads[1], _queue(*KEYS)):
            await asyncio.sleep(200)
            await room.start("newcomer", dial=room.swarms[1])
            room.net.kill(room.swarms[2].peer_id)
            before = room.net.notices
            await asyncio.sleep(60)
            assert room.net.notices - before <= 1

    run_virtual(scenario())


def test_nobody_answers_and_all_stays_due_without_blame() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            queue = _queue(*KEYS)
            room.swarms[1].faults = "T" * 60
            async with _announcing(room.kads[0], queue) as announcer:
                await asyncio.sleep(60)
                assert announcer.status(queue.announce_counts())["offline"]
                assert [row.attempts for row in queue.due_announcements(0, 99)] == [0] * 30
                room.swarms[1].faults = ""
                await asyncio.sleep(120)
                assert queue.announce_counts() == (30, 0, 30)
                assert not announcer.status(queue.announce_counts())["offline"]

    run_virtual(scenario())


def test_size_of_the_network_is_known_after_a_restart() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            queue = _queue(*KEYS)
            queue.note_sweep("lan", SweepState(servers=10_000, place=3 << PLACE_BITS - 7))
            async with _announcing(room.kads[0], queue) as announcer:
                await asyncio.sleep(1)
                status = announcer.status(queue.announce_counts())
            assert (status["regions"], status["region"]) == (128, 3)
            assert (status["total"], status["due"], status["ok"]) == (30, 30, 0)

    run_virtual(scenario())


def test_newcomers_of_the_public_network_are_given_nothing() -> None:
    async def scenario() -> None:
        async with open_room(2) as room:
            settings = AnnounceSettings(greets_newcomers=False)
            async with _announcing(room.kads[0], _queue(*KEYS), settings):
                await asyncio.sleep(30)
                newcomer = await room.start("newcomer", dial=room.swarms[0])
                await asyncio.sleep(60)
                assert newcomer.record_count == 0

    run_virtual(scenario())


def test_first_peer_that_comes_in_a_pause_is_told_at_once() -> None:
    async def scenario() -> None:
        async with open_room(1) as room:
            queue = _queue(KEYS[0])
            async with _announcing(room.kads[0], queue, AnnounceSettings(min_rest_s=1.0)):
                await asyncio.sleep(0.5)
                await room.start("first", dial=room.swarms[0])
                await asyncio.sleep(2)
                assert queue.announce_counts() == (1, 0, 1)

    run_virtual(scenario())
