"""A peer as a source: its real plane over TLS, expired tickets, dead hosts, batches."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.source import fetch
from mirrornode.content.block import Block
from mirrornode.content.cid import Cid
from mirrornode.errors import (
    NoProviders,
    SourceError,
    SourceGone,
    SourceRefused,
)
from mirrornode.sources.peer import PeerLane, PeerSource
from mirrornode.store.catalog import Catalog
from mirrornode.wire.ticket import Ticket
from support.models import LEAF, folder_of
from support.planes import Shared, open_plane, shelf_of
from support.raw_server import Visit, raw_server
from support.shared_files import SMALL_CHUNKS, content, overwrite, record

DEAD = "127.0.0.9"  # loopback, and nobody listens there


def never() -> Ticket:
    raise AssertionError("no ticket has expired")


def peer(ticket: Ticket, renew: Callable[[], Ticket] | None = never, near: str = "") -> PeerSource:
    return PeerSource("12D3KooPeer", ticket, near_host=near, renew=renew)


def read_first(source: PeerSource, shared: Shared) -> bytes:
    lane = source.open_lane()
    try:
        return fetch(lane, shared.model.file, 0, 2)
    finally:
        lane.abort()


async def test_blocks_come_and_lacking_ones_are_none(shared: Shared, tmp_path: Path) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        source = peer(await plane.ticket())
        inner = shared.model.file.map.inner[0]
        asked = [inner.cid, Cid.raw_sha256(b"z" * 32), shared.model.file.map.leaf_cid(3)]
        found = await asyncio.to_thread(source.fetch_blocks, asked)
    assert found[1] is None
    assert found[0] == inner.data
    assert found[2] is not None
    assert Block.verify(asked[2], found[2])


async def test_hosts_when_the_first_are_dead_then_the_next_is_used_and_preferred(
    shared: Shared, tmp_path: Path
) -> None:
    hosts = [f"/ip4/{host}/tcp/1" for host in (DEAD, "127.0.0.8", "127.0.0.1")]
    async with open_plane(
        shelf_of(shared.catalog), tmp_path / "plane", hosts=lambda: hosts
    ) as plane:
        source = peer(await plane.ticket(), near="127.0.0.7")
        assert source.hosts()[0] == "127.0.0.7"
        got = await asyncio.to_thread(read_first, source, shared)
    assert got == shared.model.data[: 2 * LEAF]
    assert source.hosts() == ["127.0.0.1", "127.0.0.7", DEAD, "127.0.0.8"]


async def test_hosts_when_all_are_dead_or_none_is_given_then_source_gone(
    shared: Shared, tmp_path: Path
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        ticket = await plane.ticket()
    for hosts in ((DEAD,), ()):
        with pytest.raises(SourceGone):
            await asyncio.to_thread(
                read_first, peer(dataclasses.replace(ticket, hosts=hosts)), shared
            )


async def test_pin_when_another_certificate_answers_then_refused(
    shared: Shared, tmp_path: Path
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        ticket = dataclasses.replace(await plane.ticket(), cert_sha256=b"p" * 32)
        with pytest.raises(SourceRefused):
            await asyncio.to_thread(read_first, peer(ticket, lambda: ticket), shared)


async def test_pin_when_another_node_listens_where_the_peer_was_then_a_new_ticket_is_asked_for(
    shared: Shared, tmp_path: Path
) -> None:
    async with (
        open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane,
        open_plane(shelf_of(shared.catalog), tmp_path / "other") as other,
    ):
        good = await plane.ticket()
        old = dataclasses.replace(good, port=(await other.ticket()).port)
        got = await asyncio.to_thread(read_first, peer(old, lambda: good), shared)
        assert got == shared.model.data[: 2 * LEAF]
        with pytest.raises(SourceRefused) as caught:
            await asyncio.to_thread(read_first, peer(old, None), shared)
        assert caught.value.status == 0  # it may pass

        def renew() -> Ticket:
            raise SourceGone("not connected")

        with pytest.raises(SourceGone):
            await asyncio.to_thread(read_first, peer(old, renew), shared)


async def test_bearer_when_it_has_expired_then_renewed_once_for_all_lanes(
    shared: Shared, tmp_path: Path
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        good = await plane.ticket()
        renewals: list[int] = []

        def renew() -> Ticket:
            renewals.append(1)
            return good

        source = peer(dataclasses.replace(good, bearer="expired"), renew)
        lanes = 4
        barrier = threading.Barrier(lanes)
        got: list[bytes] = []

        def work() -> None:
            barrier.wait()
            got.append(read_first(source, shared))

        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(lanes)))
        assert got == [shared.model.data[: 2 * LEAF]] * lanes
        assert len(renewals) == 1
        expired = peer(dataclasses.replace(good, bearer="expired"), renew)
        asked = [shared.model.file.map.leaf_cid(0)]
        assert await asyncio.to_thread(expired.fetch_blocks, asked) != [None]


async def test_bearer_when_it_is_refused_again_then_source_refused(
    shared: Shared, tmp_path: Path
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        bad = dataclasses.replace(await plane.ticket(), bearer="forged")
        for renew in (lambda: dataclasses.replace(bad), None):
            with pytest.raises(SourceRefused) as caught:
                await asyncio.to_thread(read_first, peer(bad, renew), shared)
            assert caught.value.status == 401


@pytest.mark.parametrize("failure", [NoProviders("nobody"), SourceGone("left")])
async def test_bearer_when_no_new_ticket_is_to_be_had_then_source_gone(
    shared: Shared, tmp_path: Path, failure: Exception
) -> None:
    def renew() -> Ticket:
        raise failure

    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        bad = dataclasses.replace(await plane.ticket(), bearer="forged")
        with pytest.raises(SourceGone):
            await asyncio.to_thread(read_first, peer(bad, renew), shared)


async def test_file_when_it_changed_at_the_peer_then_lacking(
    shared: Shared, tmp_path: Path
) -> None:
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        overwrite(shared.path, b"x" * shared.path.stat().st_size)
        with pytest.raises(SourceRefused) as caught:
            await asyncio.to_thread(read_first, peer(await plane.ticket()), shared)
        assert caught.value.status == 404


def test_abort_wakes_a_lane_that_still_looks_for_a_host() -> None:
    with raw_server(Visit.hang) as server:
        ticket = Ticket("http", server.port, ("127.0.0.1", DEAD), b"", "token", 60.0, ())
        source = peer(ticket)
        failures: list[SourceError] = []

        def work() -> None:
            try:
                source.fetch_blocks([Cid.raw_sha256(b"z" * 32)])
            except SourceError as exc:
                failures.append(exc)

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            source.abort_fetches()
            thread.join(0.01)
        assert [type(failure) for failure in failures] == [SourceGone]


# -- batches -------------------------------------------------------------------------------------

FILES = {f"{n}.json": content(100 + n) for n in range(5)}


def share_folder(catalog: Catalog, folder: Path) -> None:
    for name in FILES:
        record(catalog, folder / name, SMALL_CHUNKS)


def read_batch(source: PeerSource, count: int) -> tuple[list[bytes], SourceError | None]:
    files = folder_of(FILES).manifest.files[:count]
    lane = source.open_lane()
    got: list[bytes] = []
    try:
        lane.begin_batch(files)
        for file in files:
            view = memoryview(bytearray(file.map.size_bytes))
            lane.read_leaf(view)
            got.append(bytes(view))
        lane.end()
    except SourceError as exc:
        return got, exc
    finally:
        lane.abort()
    return got, None


async def test_batch_brings_small_files_in_order(shared: Shared, tmp_path: Path) -> None:
    folder = folder_of(FILES).write(tmp_path / "folder")
    share_folder(shared.catalog, folder)
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        source = peer(await plane.ticket())
        got, failure = await asyncio.to_thread(read_batch, source, len(FILES))
    assert failure is None
    assert got == list(FILES.values())
    assert source.max_batch > 0


async def test_batch_when_a_file_is_missing_then_the_rest_is_called_lacking(
    shared: Shared, tmp_path: Path
) -> None:
    folder = folder_of(FILES).write(tmp_path / "folder")
    share_folder(shared.catalog, folder)
    os.unlink(folder / "2.json")
    async with open_plane(shelf_of(shared.catalog), tmp_path / "plane") as plane:
        got, failure = await asyncio.to_thread(read_batch, peer(await plane.ticket()), 5)
    assert got == [FILES["0.json"], FILES["1.json"]]
    assert isinstance(failure, SourceRefused)
    assert failure.status == 404


@pytest.mark.parametrize("body", [b"", b"5\r\nhe"])
def test_batch_when_the_connection_breaks_then_gone_and_not_lacking(body: bytes) -> None:
    def breaking(visit: Visit) -> None:
        visit.head()
        visit.answer()
        visit.head()
        visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    with raw_server(breaking) as server:
        ticket = Ticket("http", server.port, ("127.0.0.1",), b"", "token", 60.0, (), 500)
        got, failure = read_batch(peer(ticket), 3)
    assert got == []
    assert isinstance(failure, SourceGone)


def canned(visit: Visit) -> None:
    """Answer every request with the same short block."""
    while visit.head():
        visit.answer(b"block")


def plain_ticket(port: int) -> Ticket:
    return Ticket("http", port, ("127.0.0.1",), b"", "token", 60.0, (), 0)


def test_connection_of_fetched_blocks_is_left_to_the_next_and_others_need_no_probe() -> None:
    cid = Cid.raw_sha256(b"b" * 32)
    with raw_server(canned) as server:
        source = peer(plain_ticket(server.port))
        assert source.round_trip_s is None
        assert source.fetch_blocks([cid]) == [b"block"]
        first, second = source.open_lane(), source.open_lane()
        assert isinstance(first, PeerLane)
        assert isinstance(second, PeerLane)
        assert first.fetch_block(cid) == b"block"
        assert server.connections == 1
        assert second.fetch_block(cid) == b"block"
        assert server.connections == 2
        assert [request.split()[0] for request in server.requests] == ["HEAD", "GET", "GET", "GET"]
        if sys.platform == "linux":
            assert source.round_trip_s is not None
        first.abort()
        second.abort()


def test_connections_that_were_kept_are_closed_when_the_fetches_are_broken_off() -> None:
    cid, left = Cid.raw_sha256(b"b" * 32), threading.Event()

    def until_left(visit: Visit) -> None:
        canned(visit)
        left.set()

    with raw_server(until_left) as server:
        source = peer(plain_ticket(server.port))
        source.fetch_blocks([cid])
        source.abort_fetches()
        assert left.wait(20)
        assert source.fetch_blocks([cid]) == [b"block"]
        assert server.connections == 2
        source.abort_fetches()


def test_connection_of_another_ticket_is_not_used_again() -> None:
    cid = Cid.raw_sha256(b"b" * 32)
    with raw_server(canned) as before, raw_server(canned) as after:
        source = peer(plain_ticket(before.port))
        source.fetch_blocks([cid])
        source.replace_ticket(plain_ticket(after.port), "")
        assert source.fetch_blocks([cid]) == [b"block"]
        assert (before.connections, after.connections) == (1, 1)
        source.abort_fetches()


def test_round_trip_when_a_shorter_one_is_known_then_a_busy_line_does_not_make_the_peer_far() -> (
    None
):
    source = PeerSource("12D3KooPeer", plain_ticket(1), round_trip_s=0.002)
    source.prefer("127.0.0.1", 0.08)
    assert source.round_trip_s == 0.002
    source.prefer("127.0.0.1", 0.001)
    assert source.round_trip_s == 0.001
