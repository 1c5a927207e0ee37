"""Real lanes and the real session against servers that fail in every way but one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mirrornode.errors import SourceGone, SourceRefused
from mirrornode.sources.http_file import LANES, HttpFileSource
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.transfer.lanes import FIRST_LANES
from mirrornode.transfer.session import Offer
from mirrornode.transfer.worker import WRONG_BYTES
from support.faulty_server import FaultyServer, faulty_server
from support.models import LEAF, folder_of, model_of
from support.scripted_source import ScriptedSource
from support.shared_files import content
from support.transfers import PATIENT_S, Transfer
from support.waiting import until

MODEL = model_of(60 * LEAF + 7)
FILES = {"m.bin": MODEL.data}
AT_ONCE_S = 0.3
RETRY_EVERY_S = 0.05


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "home") as catalog:
        yield catalog


@pytest.fixture
def transfer(catalog: Catalog, tmp_path: Path) -> Transfer:
    return Transfer(catalog, tmp_path, MODEL, retry_every_s=RETRY_EVERY_S)


def source_of(server: FaultyServer) -> HttpFileSource:
    return HttpFileSource(f"{server.url}/m.bin")


@pytest.mark.parametrize(
    "word",
    ["whole", "chunked", "no-length", "http10", "drop", "etag", "star", "short", "continues",
     "longer", "late"],
)  # fmt: skip
async def test_odd_server_delivers_all_the_same(transfer: Transfer, word: str) -> None:
    with faulty_server(FILES, after=word) as server:
        source = source_of(server)
        outcome = await transfer.run(source)
    transfer.check()
    (state,) = outcome.sources
    assert (state.state, state.received_bytes) == ("idle", len(MODEL.data))
    assert state.reason == "" or word in ("whole", "longer")


@pytest.mark.parametrize("word", ["rst", "cut", "gzip", "503", "500", "408", "429", "bad-range"])
async def test_server_when_it_fails_once_then_asked_again(transfer: Transfer, word: str) -> None:
    with faulty_server(FILES, word) as server:
        await transfer.run(source_of(server))
    transfer.check()


@pytest.mark.parametrize(
    "words", [["stall"], ["silent"], ["trickle"], ["stall", "silent", "trickle"]]
)
async def test_servers_when_they_go_quiet_then_another_brings_their_leaves(
    catalog: Catalog, tmp_path: Path, words: list[str]
) -> None:
    transfer = Transfer(catalog, tmp_path, MODEL)
    with contextlib.ExitStack() as stack:
        quiet = [stack.enter_context(faulty_server(FILES, after=word)) for word in words]
        good = stack.enter_context(faulty_server(FILES))
        await transfer.run(*map(source_of, [*quiet, good]))
        # Each leaf once and a few twice, not the same ones over and over.
        assert len(good.requests) < 3 * MODEL.file.map.leaves
    transfer.check()


@pytest.mark.parametrize(
    ("word", "state", "reason"),
    [
        ("wrong", "banned", WRONG_BYTES),
        ("other", "banned", WRONG_BYTES),
        ("size", "banned", f"has a file of {len(MODEL.data) + 4} bytes, not {len(MODEL.data)}"),
        ("403", "banned", "answered 403 No"),
        ("401", "banned", "answered 401 No"),
        ("404", "", "answered 404 No"),
        ("gzip", "", "compresses what must stay as it is (gzip)"),
        ("503:9", "", "answered 503 No and asks to wait 9 s"),
        ("loop", "", "sends too many redirects"),
        ("nowhere", "", "redirects to nowhere"),
        ("file", "", "redirects to what is no web address (file:)"),
        ("long-head", "", "does not speak HTTP as it should (got more than 65536 bytes when "
         "reading header line)"),
        ("bad-range", "", "sent the range 0-100 instead of"),
        ("move:http://no-such-host.invalid/x", "", "cannot be found: no-such-host.invalid"),
        ("move:http://127.0.0.1:1/x", "", "refuses connections"),
    ],
)  # fmt: skip
async def test_server_when_it_is_hopeless_then_said_in_words_and_another_brings_all(
    transfer: Transfer, word: str, state: str, reason: str
) -> None:
    with faulty_server(FILES, after=word) as bad, faulty_server(FILES) as good:
        source = source_of(bad)
        await transfer.run(source, then=source_of(good))
        transfer.check()
        found = transfer.state_of(source)
    assert found.reason.startswith(reason)
    assert found.state == state or not state
    assert found.received_bytes == 0 or word == "wrong"


async def test_liar_is_not_asked_again_when_it_is_offered_again(transfer: Transfer) -> None:
    with faulty_server(FILES, after="other") as bad:
        liar = source_of(bad)

        outcome = await transfer.run(liar, then=liar, timeout_s=AT_ONCE_S)
        asked = len(bad.requests)
        assert outcome.sources[0].state == "banned"
        assert asked <= LANES


# -- signed links --------------------------------------------------------------------------------


async def test_link_when_it_expires_under_many_lanes_then_resolved_anew_and_no_failure(
    transfer: Transfer,
) -> None:
    # Short answers: one lane alone cannot bring the file with a single link.
    with faulty_server(FILES, after="link", link_uses=1, link_serves="short") as server:
        source = source_of(server)
        outcome = await transfer.run(source)
        links = len(server.links)
    transfer.check()
    assert outcome.sources[0].reason == ""
    assert links > 1


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "410", "503"])
async def test_link_when_it_expires_then_whatever_it_answers_the_url_is_asked(
    transfer: Transfer, status: str
) -> None:
    with faulty_server(FILES, after="link", link_uses=1, expired=status) as server:
        source = source_of(server)
        lane = source.open_lane()
        for _ in range(3):
            view = memoryview(bytearray(LEAF))
            lane.begin(MODEL.file, 3, 4)
            lane.read_leaf(view)
            assert bytes(view) == MODEL.data[3 * LEAF : 4 * LEAF]
            lane.end()
        lane.abort()
        assert len(server.links) == 3


async def test_link_when_it_is_always_expired_then_a_failure_and_no_loop(
    transfer: Transfer,
) -> None:
    with (
        faulty_server(FILES, after="link", link_uses=0) as server,
        faulty_server(FILES) as good,
    ):
        source = source_of(server)
        with pytest.raises(SourceRefused, match=r"leads to 127\.0\.0\.1, which answered 403"):
            source.open_lane().begin(MODEL.file, 0, 1)
        assert len(server.requests) == 2
        await transfer.run(source, then=source_of(good))
        transfer.check()
        assert transfer.state_of(source).state != "banned"


async def test_link_when_its_host_is_gone_then_the_url_leads_elsewhere(transfer: Transfer) -> None:
    with faulty_server(FILES) as second, faulty_server(FILES) as first:
        words = [f"move:{first.url}/m.bin", f"move:{second.url}/m.bin"]
        with faulty_server(FILES, *words) as mirror:
            lane = source_of(mirror).open_lane()
            lane.begin(MODEL.file, 0, 1)
            lane.abort()
            first.after = "rst"
            lane.begin(MODEL.file, 0, 2)
            with pytest.raises(SourceGone, match=r"sent less|broke the connection"):
                lane.read_leaf(memoryview(bytearray(2 * LEAF)))
            lane.begin(MODEL.file, 0, 2)
            lane.read_leaf(memoryview(bytearray(LEAF)))
            lane.abort()
            assert len(mirror.requests) == 2
            assert len(second.requests) == 1


# -- overload, absence, return -------------------------------------------------------------------


@pytest.mark.parametrize("word", ["429:30", "503:30", "429@30", "503@30", "403:30"])
async def test_server_when_it_asks_for_rest_then_all_its_lanes_rest_and_others_go_on(
    transfer: Transfer, word: str
) -> None:
    with faulty_server(FILES, after=word) as busy, faulty_server(FILES) as good:
        source = source_of(busy)
        await transfer.run(source, then=source_of(good))
        transfer.check()
        assert len(busy.requests) <= LANES
        assert transfer.state_of(source).reason.endswith("asks to wait 30 s")


async def test_server_when_it_has_rested_then_it_delivers(transfer: Transfer) -> None:
    with faulty_server(FILES, "429:1") as server:
        outcome = await transfer.run(source_of(server))
    transfer.check()
    assert outcome.sources[0].received_bytes == len(MODEL.data)


async def test_server_when_it_lacks_the_file_then_asked_once_a_lane(transfer: Transfer) -> None:
    with faulty_server({}) as empty:
        outcome = await transfer.run(source_of(empty), timeout_s=AT_ONCE_S)
        assert len(empty.requests) <= LANES
    (state,) = outcome.sources
    assert (state.state, state.reason) == ("idle", "answered 404 Not Found")


async def test_folder_when_a_mirror_lacks_one_file_then_it_brings_the_rest(
    catalog: Catalog, tmp_path: Path
) -> None:
    files = {"a.bin": content(30 * LEAF), "b.bin": content(20 * LEAF + 1)}
    transfer = Transfer(catalog, tmp_path, folder_of(files))
    with (
        faulty_server({"b.bin": files["b.bin"]}) as half,
        faulty_server({"a.bin": files["a.bin"]}) as rest,
    ):
        sources = [HttpFileSource(f"{server.url}/") for server in (half, rest)]
        await transfer.run(*sources)
        transfer.check()
        assert half.paths().count("/a.bin") <= LANES


async def test_server_when_it_was_given_up_then_tried_again_and_comes_back(
    transfer: Transfer,
) -> None:
    with faulty_server(FILES, after="500") as server:
        source = source_of(server)
        running = asyncio.create_task(transfer.run(source))
        await until(lambda: bool(server.requests) and transfer.state_of(source).state == "failed")
        assert not running.done()
        server.after = "ok"
        await running
    transfer.check()


async def test_server_when_it_stays_away_then_being_tried_again_is_no_sign_of_life(
    transfer: Transfer,
) -> None:
    with faulty_server(FILES, after="500") as server:
        outcome = await transfer.run(source_of(server), timeout_s=3.0)
    assert outcome.unfinished
    assert outcome.sources[0].reason == "answered 500 No"


async def test_source_when_it_was_given_up_and_is_offered_again_then_admitted_at_once(
    catalog: Catalog, tmp_path: Path
) -> None:
    transfer = Transfer(catalog, tmp_path, MODEL)
    lanes = FIRST_LANES
    gone = ScriptedSource("peer", MODEL, "W" * 1000, lanes=lanes)
    back = ScriptedSource("peer", MODEL)
    has_returned = asyncio.Event()

    async def offers() -> AsyncIterator[Offer]:
        yield Offer(gone)
        await has_returned.wait()
        yield Offer(back)
        await asyncio.Event().wait()

    running = asyncio.create_task(transfer.session.run(offers(), PATIENT_S))
    await asyncio.to_thread(gone.waiting.wait)
    await until(lambda: gone.waits == lanes)
    gone.release()
    await until(lambda: transfer.state_of(gone).state == "failed")
    has_returned.set()
    await running
    transfer.check()
    assert back.sent
