"""Files of the Hub on a node's disk: from an origin, from peers, from both, and wrong ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from mirrornode.content.cid import Cid
from mirrornode.errors import CidMismatch, SourceGone, StoreError
from mirrornode.mirror.hub import bringing
from mirrornode.mirror.hub.body import HELD_BACK_BYTES
from mirrornode.mirror.hub.bringing import SETTLE_S
from mirrornode.mirror.hub.small_file import hub_cid
from mirrornode.routing.find import DhtPort, Finder, Found, FoundBlocks, SwarmPort
from support.hub_origin import ALICE, Blob, StandInHub, running_hub
from support.hub_parts import damage
from support.hub_repos import Content
from support.hub_room import HubPeer, hub_file, hub_peer, named, place_of, read_all, sha256_of
from support.room import Room
from support.waiting import until

MIB = 1 << 20
NAME = "org/model"
BIG = "model.safetensors"
SMALL = "config.json"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_model(NAME, {BIG: Blob(9 * MIB + 5, 1), SMALL: b'{"a": 1}', "empty": b""})
        yield hub


@asynccontextmanager
async def nodes(folder: Path, *names: str, hub: StandInHub) -> AsyncIterator[list[HubPeer]]:
    room = Room(folder)
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(room.node(name)) for name in names]
        for peer in peers[1:]:
            await peer.swarm.dial(peers[0].swarm.peer_id, peers[0].swarm.addresses())
        yield [await stack.enter_async_context(hub_peer(peer, hub)) for peer in peers]


@pytest.mark.parametrize("path", [BIG, SMALL, "empty"])
async def test_file_comes_from_the_origin_once_and_is_kept(
    tmp_path: Path, hub: StandInHub, path: str
) -> None:
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        revision, file = named(hub, NAME), hub_file(hub, NAME, path)
        bodies = await asyncio.gather(*(one.files.open(revision, file, "") for _ in range(4)))
        right = place_of(hub, NAME, path).read_bytes()
        assert set(await asyncio.gather(*map(read_all, bodies))) == {right}
        assert hub.file_bytes_sent(path) == len(right)
        await one.files.bring(revision, file, "", lambda _: None)  # nothing to read: nothing waits
        hub.stop()
        kept = await one.files.open(revision, file, "")
        assert kept.complete is not None
        assert await read_all(kept) == right


async def test_what_arrived_is_shared_and_announced(tmp_path: Path, hub: StandInHub) -> None:
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        file = hub_file(hub, NAME, BIG)
        await read_all(await one.files.open(named(hub, NAME), file, ""))
        stored = one.peer.catalog.find_file(hub_cid(file).multihash)
        assert stored is not None
        assert stored.cid.multihash != hub_cid(file).multihash
        total, _, _ = one.peer.catalog.announce_counts()
        assert total == 2  # its root, and its SHA-256
        assert one.peer.announced


@pytest.mark.parametrize("path", [BIG, SMALL])
async def test_peer_has_it_and_the_origin_sends_nothing(
    tmp_path: Path, hub: StandInHub, path: str
) -> None:
    async with nodes(tmp_path, "one", "two", hub=hub) as (one, two):
        revision, file = named(hub, NAME), hub_file(hub, NAME, path)
        await one.files.bring(revision, file, "", lambda _: None)
        hub.stop()
        brought = await two.files.bring(revision, file, "", lambda _: None)
        assert brought.path.read_bytes() == place_of(hub, NAME, path).read_bytes()
        assert set(brought.bytes_by_source) == {one.peer.source_id}
        assert hub.file_bytes_sent(path) == file.size_bytes


class LateFinder(Finder):
    """One whose search is slower than its question to connected peers, as on a busy machine."""

    def __init__(self, swarm: SwarmPort, dht: DhtPort) -> None:
        super().__init__(swarm, dht)
        self.may_search = asyncio.Event()

    async def ask_connected(self, roots: Sequence[Cid], timeout_s: float) -> list[Found]:
        found = await super().ask_connected(roots, timeout_s)
        asyncio.get_running_loop().call_later(4 * SETTLE_S, self.may_search.set)
        return found

    async def find(
        self,
        roots: Sequence[Cid],
        peers: Sequence[str] = (),
        on_gateway: Callable[[str], None] | None = None,
        on_looked: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Found | FoundBlocks, None]:
        await self.may_search.wait()
        async for found in super().find(roots, peers, on_gateway, on_looked):
            yield found


async def test_large_file_when_the_first_search_is_over_then_nobody_is_waited_for(
    tmp_path: Path, hub: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringing, "DHT_FROM_BYTES", 1)
    monkeypatch.setattr(bringing, "DHT_ANSWER_S", 3600.0)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        file = hub_file(hub, NAME, BIG)
        await one.files.bring(named(hub, NAME), file, "", lambda _: None)
        assert hub.file_bytes_sent(BIG) == file.size_bytes


async def test_peer_said_that_it_has_it_and_the_search_is_late_then_waited_for(
    tmp_path: Path, hub: StandInHub
) -> None:
    room = Room(tmp_path)
    async with room.node("one") as first, room.node("two") as second:
        await second.swarm.dial(first.swarm.peer_id, first.swarm.addresses())
        finder = LateFinder(cast("SwarmPort", second.swarm), second.dht)
        late = replace(second, ports=replace(second.ports, finder=finder))
        async with hub_peer(first, hub) as one, hub_peer(late, hub) as two:
            revision, file = named(hub, NAME), hub_file(hub, NAME, BIG)
            await one.files.bring(revision, file, "", lambda _: None)
            brought = await two.files.bring(revision, file, "", lambda _: None)
            assert set(brought.bytes_by_source) == {first.source_id}
            assert hub.file_bytes_sent(BIG) == file.size_bytes


async def test_private_file_is_neither_shared_nor_asked_of_peers(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.add_model("org/secret", {BIG: Blob(3 * MIB, 7)}, private=True)
    async with nodes(tmp_path, "one", "two", hub=hub) as (one, two):
        revision, file = named(hub, "org/secret"), hub_file(hub, "org/secret", BIG)
        await one.files.bring(revision, file, ALICE, lambda _: None)
        catalog = one.peer.catalog
        assert catalog.find_file(hub_cid(file).multihash) is None
        assert catalog.announce_counts()[0] == 0
        assert one.peer.shelf.holdings([hub_cid(file)]) == ()
        await two.files.bring(revision, file, ALICE, lambda _: None)
        assert hub.file_bytes_sent(BIG) == 2 * file.size_bytes
        assert hub.tokens_seen_by(hub.cdn_host) == set()


async def test_private_file_is_shared_once_an_open_repo_has_it(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.add_model("org/secret", {BIG: Blob(3 * MIB, 7)}, private=True)
    hub.add_model("org/open", {BIG: Blob(3 * MIB, 7)})
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        file = hub_file(hub, "org/secret", BIG)
        await one.files.bring(named(hub, "org/secret"), file, ALICE, lambda _: None)
        await one.files.bring(named(hub, "org/open"), file, "", lambda _: None)
        await until(lambda: bool(one.peer.announced[1:]))
        assert one.peer.shelf.holdings([hub_cid(file)]) != ()
        assert hub.file_bytes_sent(BIG) == file.size_bytes


@pytest.mark.parametrize("path", [BIG, SMALL])
async def test_wrong_bytes_of_the_right_size_never_look_complete(
    tmp_path: Path, hub: StandInHub, path: str
) -> None:
    hub.corrupt(match=path, at=3)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        revision, file = named(hub, NAME), hub_file(hub, NAME, path)
        body = await one.files.open(revision, file, "")
        assert not body.restarts_ranges
        with pytest.raises(CidMismatch):
            await read_all(body)
        assert not list((one.peer.catalog.home / "hub").rglob(file.etag))
        hub.heal()
        if path == BIG:
            # Clients that ask on and on do not have all of it fetched each time; a person may.
            hub.log.clear()
            with pytest.raises(CidMismatch):
                await one.files.open(revision, file, "")
            assert hub.file_bytes_sent(path) == 0
            await one.files.bring(revision, file, "", lambda _: None)
        again = await one.files.open(revision, file, "")
        # Whoever holds a wrong beginning must not be helped to complete it.
        assert again.restarts_ranges == (path == BIG)
        assert await read_all(again) == place_of(hub, NAME, path).read_bytes()


async def test_second_origin_mends_what_the_first_sent_wrong(tmp_path: Path) -> None:
    files = {BIG: Blob(5 * MIB, 3)}
    with running_hub() as liar, running_hub() as honest:
        liar.add_model(NAME, files)
        honest.add_model(NAME, files)
        liar.corrupt(match=BIG, at=4 * MIB)
        async with Room(tmp_path).node("one") as peer, hub_peer(peer, liar, honest) as one:
            file = hub_file(liar, NAME, BIG)
            brought = await one.files.bring(named(liar, NAME), file, "", lambda _: None)
            assert sha256_of(brought.path) == file.sha256
            assert "wrong bytes" in " ".join(brought.bad_sources.values())
            assert all(honest.host in source for source in brought.bytes_by_source)


@pytest.mark.parametrize(("path", "status"), [(BIG, 404), (BIG, 508), (SMALL, 508)])
async def test_second_origin_delivers_what_the_first_does_not(
    tmp_path: Path, path: str, status: int
) -> None:
    files: dict[str, Content] = {BIG: Blob(5 * MIB, 3), SMALL: b"{}"}
    with running_hub() as lame, running_hub() as sound:
        lame.add_model(NAME, files)
        sound.add_model(NAME, files)
        lame.refuse(status, match=path)
        async with Room(tmp_path).node("one") as peer, hub_peer(peer, lame, sound) as one:
            file = hub_file(lame, NAME, path)
            brought = await one.files.bring(named(lame, NAME), file, "", lambda _: None)
            assert brought.path.read_bytes() == place_of(lame, NAME, path).read_bytes()
            assert all(sound.host in source for source in brought.bytes_by_source)


async def test_cut_connections_are_resumed_without_fetching_twice(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.cut(after_bytes=MIB, match=BIG, times=5)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        file = hub_file(hub, NAME, BIG)
        brought = await one.files.bring(named(hub, NAME), file, "", lambda _: None)
        assert sha256_of(brought.path) == file.sha256
        assert hub.file_bytes_sent(BIG) < file.size_bytes + 6 * MIB


async def test_reader_gets_the_beginning_while_the_rest_is_held(
    tmp_path: Path, hub: StandInHub
) -> None:
    released = hub.hold(after_bytes=2 * MIB, match=BIG)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        file = hub_file(hub, NAME, BIG)
        async with await one.files.open(named(hub, NAME), file, "") as body:
            async with asyncio.timeout(10):
                assert await body.wait(0) > 0
            assert body.complete is None
        released.set()
        await one.files.bring(named(hub, NAME), file, "", lambda _: None)


async def test_last_portion_is_held_back_until_the_whole_is_right(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.corrupt(match=BIG, at=9 * MIB)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        file = hub_file(hub, NAME, BIG)
        async with await one.files.open(named(hub, NAME), file, "") as body:
            stops = [0]

            async def read_on() -> None:
                while True:
                    stops.append(await body.wait(stops[-1]))

            with pytest.raises(CidMismatch):
                await read_on()
            assert stops[-1] <= file.size_bytes - HELD_BACK_BYTES


async def test_client_that_leaves_does_not_stop_the_transfer(
    tmp_path: Path, hub: StandInHub
) -> None:
    released = hub.hold(after_bytes=2 * MIB, match=BIG)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        revision, file = named(hub, NAME), hub_file(hub, NAME, BIG)
        async with await one.files.open(revision, file, "") as body:
            await body.wait(0)
        released.set()
        catalog = one.peer.catalog
        await until(lambda: bool(catalog.hub_blob(file.etag)))


async def test_nobody_delivers_and_the_reader_is_told(tmp_path: Path, hub: StandInHub) -> None:
    hub.refuse(404, match=BIG)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        body = await one.files.open(named(hub, NAME), hub_file(hub, NAME, BIG), "")
        with pytest.raises(SourceGone, match="404"):
            await read_all(body)


@pytest.mark.parametrize("mode", ["direct", "redirect"])
async def test_refusal_counts_as_one_when_it_is_the_origins_own(
    tmp_path: Path, hub: StandInHub, mode: str
) -> None:
    hub.mode = mode
    hub.refuse(403, match="/repos/" if mode == "redirect" else BIG)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        revision, file = named(hub, NAME), hub_file(hub, NAME, BIG)
        with pytest.raises(SourceGone):
            await one.files.bring(revision, file, ALICE, lambda _: None)
        # Of an open repo a large file is asked for without a token.
        assert one.refused == ([(revision, "")] if mode == "direct" else [])


async def test_restart_goes_on_where_the_node_was(tmp_path: Path, hub: StandInHub) -> None:
    hub.hold(after_bytes=5 * MIB, match=BIG, times=-1)
    revision, file = named(hub, NAME), hub_file(hub, NAME, BIG)
    async with (
        nodes(tmp_path, "one", hub=hub) as (one,),
        await one.files.open(revision, file, "") as body,
    ):
        await body.wait(3 * MIB)
    hub.heal()
    before = hub.file_bytes_sent(BIG)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        brought = await one.files.bring(revision, file, "", lambda _: None)
        assert sha256_of(brought.path) == file.sha256
    assert hub.file_bytes_sent(BIG) - before < file.size_bytes - 2 * MIB


@pytest.mark.parametrize("path", [BIG, SMALL])
@pytest.mark.parametrize("harm", ["flipped", "unrecorded", "cut", "gone", "link", "folder"])
async def test_kept_file_that_was_damaged_is_fetched_anew(
    tmp_path: Path, hub: StandInHub, path: str, harm: str
) -> None:
    right = place_of(hub, NAME, path)
    async with nodes(tmp_path, "one", "two", hub=hub) as (one, two):
        revision, file = named(hub, NAME), hub_file(hub, NAME, path)
        kept = (await one.files.bring(revision, file, "", lambda _: None)).path
        if harm in ("flipped", "unrecorded"):
            damage(kept)
            if harm == "unrecorded":
                one.peer.catalog.drop_hub_blob(kept)
        elif harm == "cut":
            os.truncate(kept, file.size_bytes // 2)
        else:
            kept.unlink()
            if harm == "link":
                kept.symlink_to(right)
            elif harm == "folder":
                kept.mkdir()
        if harm == "folder":
            # Not ours to remove: said, not served.
            with pytest.raises(StoreError):
                await one.files.bring(revision, file, "", lambda _: None)
            kept.rmdir()
        assert await read_all(await one.files.open(revision, file, "")) == right.read_bytes()
        again = await one.files.bring(revision, file, "", lambda _: None)
        assert (again.path.read_bytes(), again.path.is_symlink()) == (right.read_bytes(), False)
        # And it is shared as before.
        before = hub.file_bytes_sent(path)
        other = await two.files.bring(revision, file, "", lambda _: None)
        assert other.path.read_bytes() == right.read_bytes()
        assert hub.file_bytes_sent(path) == before


async def test_kept_file_that_is_found_damaged_when_it_is_to_be_shared_is_fetched_anew(
    tmp_path: Path, hub: StandInHub
) -> None:
    hub.add_model("org/secret", {BIG: Blob(3 * MIB, 7)}, private=True)
    hub.add_model("org/open", {BIG: Blob(3 * MIB, 7)})
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        file = hub_file(hub, "org/secret", BIG)
        kept = await one.files.bring(named(hub, "org/secret"), file, ALICE, lambda _: None)
        damage(kept.path, keep_time=True)
        brought = await one.files.bring(named(hub, "org/open"), file, "", lambda _: None)
        assert sha256_of(brought.path) == file.sha256


@pytest.mark.parametrize("path", [BIG, SMALL])
async def test_kept_file_that_was_altered_with_its_stamp_kept_never_looks_complete(
    tmp_path: Path, hub: StandInHub, path: str
) -> None:
    right = place_of(hub, NAME, path).read_bytes()
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        revision, file = named(hub, NAME), hub_file(hub, NAME, path)
        kept = (await one.files.bring(revision, file, "", lambda _: None)).path
        damage(kept, keep_time=True)
        body = await one.files.open(revision, file, "")
        if path == BIG:
            with pytest.raises(CidMismatch):
                await read_all(body)
            body = await one.files.open(revision, file, "")
            assert body.restarts_ranges
        assert await read_all(body) == right
        damage(kept, keep_time=True)
        brought = await one.files.bring(revision, file, "", lambda _: None)
        assert brought.path.read_bytes() == right


@pytest.mark.parametrize("path", [BIG, SMALL])
async def test_kept_file_with_another_link_is_read_once_and_stays_shared(
    tmp_path: Path, hub: StandInHub, path: str
) -> None:
    right = place_of(hub, NAME, path).read_bytes()
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        revision, file = named(hub, NAME), hub_file(hub, NAME, path)
        kept = (await one.files.bring(revision, file, "", lambda _: None)).path
        assert (await one.files.open(revision, file, "")).complete == kept
        (tmp_path / "link").hardlink_to(kept)
        kept.chmod(0o600)
        body = await one.files.open(revision, file, "")
        assert await read_all(body) == right
        if path == BIG:
            assert body.complete is None
            await body.prove()
        assert (await one.files.open(revision, file, "")).complete == kept
        stored = one.peer.catalog.find_file(hub_cid(file).multihash)
        assert stored is not None
        assert stored.state == "ok"
        assert hub.file_bytes_sent(path) == file.size_bytes


# -- what is recorded ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [BIG, SMALL])
async def test_file_for_a_client_is_a_download_of_its_own_and_then_a_hit(
    tmp_path: Path, hub: StandInHub, path: str
) -> None:
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        revision, file = named(hub, NAME), hub_file(hub, NAME, path)
        await read_all(await one.files.open(revision, file, ""))
        await until(lambda: not one.files.recorder.running)
        await until(lambda: one.peer.catalog.downloads()[0].outcome == "ok")
        await read_all(await one.files.open(revision, file, ""))
        (found,) = one.peer.catalog.downloads()
        assert found.kind == "gateway"
        assert found.target == f"hf:{NAME}@{revision.commit}/{path}"
        assert (found.size_bytes, found.received_bytes) == (file.size_bytes, file.size_bytes)
        (use,) = found.sources
        assert (use.kind, use.outcome) == ("hub", "ok")
        assert use.first_byte_s is not None
        assert use.seconds > 0
        assert one.files.recorder.asked == {("hub", False): 1, ("hub", True): 1}


@pytest.mark.parametrize("path", [BIG, SMALL])
async def test_origin_that_sent_wrong_bytes_is_recorded_as_such(
    tmp_path: Path, hub: StandInHub, path: str
) -> None:
    hub.corrupt(match=path)
    async with nodes(tmp_path, "one", hub=hub) as (one,):
        file = hub_file(hub, NAME, path)
        with pytest.raises(CidMismatch):
            await one.files.bring(named(hub, NAME), file, "", lambda _: None)
        await until(lambda: one.peer.catalog.downloads()[0].outcome == "failed")
        (found,) = one.peer.catalog.downloads()
    assert (found.kind, found.error) == ("hub", "CidMismatch")
    assert {use.outcome for use in found.sources} == {"wrong"}
