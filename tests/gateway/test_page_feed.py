"""The feed of the page by itself: who is told what, and how often the node is looked at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mirrornode.errors import CatalogUnusable
from mirrornode.gateway import page_feed
from mirrornode.gateway.page_feed import PageFeed, Tab, TooManyTabs
from mirrornode.gateway.page_view import Glance, Survey
from support.waiting import until


class FakeLook:
    """A node that counts how often it is looked at."""

    def __init__(self) -> None:
        self.running: list[dict[str, Any]] = []
        self.in_rate = 0.0
        self.disk: dict[str, Any] = {"free_bytes": 1}
        self.failure: Exception | None = None
        self.glances = 0
        self.surveys = 0

    def transfers(self) -> Sequence[dict[str, Any]]:
        return self.running

    async def glance(self, elapsed_s: float) -> Glance:
        self.glances += 1
        if isinstance(self.failure, ZeroDivisionError):
            raise self.failure
        return Glance(self.running, (), self.in_rate, 0.0)

    async def survey(self) -> Survey:
        self.surveys += 1
        if isinstance(self.failure, CatalogUnusable):
            raise self.failure
        return Survey(disk=self.disk)


@asynccontextmanager
async def running(look: FakeLook) -> AsyncIterator[PageFeed]:
    feed = PageFeed(look)
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def changes(tab: Tab) -> dict[str, Any]:
    """Return the sections of the next event."""
    event = (await tab.next()).decode()
    kind, text = event.removesuffix("\n\n").split("\ndata: ")
    assert kind == "event: change"
    found: dict[str, Any] = json.loads(text)
    return found


async def told(tab: Tab, name: str) -> Any:
    """Return a section as it is told next."""
    while name not in (found := await changes(tab)):
        pass
    return found[name]


def download(target: str) -> dict[str, Any]:
    return {"id": 1, "target": target, "out": "", "sources": []}


async def test_feed_without_tabs_looks_at_nothing() -> None:
    look = FakeLook()
    async with running(look) as feed:
        feed.stir(is_survey_old=True)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (look.glances, look.surveys) == (0, 0)


async def test_feed_tells_only_sections_that_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_feed, "SNAPSHOT_S", 0.01)
    monkeypatch.setattr(page_feed, "START_GAP_S", 0.01)
    look = FakeLook()
    async with running(look) as feed:
        with feed.tab(is_owner=False) as tab:
            await told(tab, "disk")
            seen = look.glances
            await until(lambda: look.glances > seen + 3)
            look.in_rate = 7.0
            assert await changes(tab) == {"rates": {"in": 7, "out": 0}}


async def test_feed_takes_one_look_for_all_tabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_feed, "SNAPSHOT_S", 1000.0)
    look = FakeLook()
    async with running(look) as feed:
        with feed.tab(is_owner=False) as first, feed.tab(is_owner=True) as second:
            assert "rates" in await changes(first)
            assert "rates" in await changes(second)
            look.running = [download("bafyx")]
            feed.stir()
            for tab in (first, second):
                assert (await told(tab, "transfers"))["total"] == 1
            assert look.glances == 1


async def test_tab_that_comes_later_is_told_what_holds() -> None:
    look = FakeLook()
    async with running(look) as feed:
        with feed.tab(is_owner=False) as first:
            await told(first, "disk")
            with feed.tab(is_owner=False) as second:
                assert {"disk", "rates", "transfers", "links"} <= (await changes(second)).keys()


async def test_slow_tab_is_told_the_latest_only() -> None:
    tab = Tab(is_owner=False)
    for number in range(1000):
        tab.put({"rates": b"%d" % number})
    assert await tab.next() == b'event: change\ndata: {"rates":999}\n\n'


async def test_tabs_are_bounded() -> None:
    feed = PageFeed(FakeLook())
    opened = [feed.tab(is_owner=False) for _ in range(page_feed.MAX_TABS)]
    for one in opened:
        one.__enter__()
    with pytest.raises(TooManyTabs), feed.tab(is_owner=False):
        raise AssertionError("one too many was let in")
    opened[0].__exit__(None, None, None)
    with feed.tab(is_owner=False):
        assert feed.tabs == page_feed.MAX_TABS


async def test_storm_of_starts_does_not_bring_a_storm_of_surveys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_feed, "SNAPSHOT_S", 1000.0)
    monkeypatch.setattr(page_feed, "START_GAP_S", 0.001)
    look = FakeLook()
    async with running(look) as feed:
        with feed.tab(is_owner=False) as tab:
            await until(lambda: look.surveys == 1)
            for number in range(30):
                look.running = [download(str(number))]
                feed.stir(is_survey_old=True)
                await told(tab, "transfers")
            assert look.surveys == 1
            assert look.glances == 1


async def test_catalog_that_fails_leaves_the_rest_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_feed, "SNAPSHOT_S", 0.01)
    monkeypatch.setattr(page_feed, "START_GAP_S", 0.01)
    look = FakeLook()
    look.failure = CatalogUnusable("the disk is gone")
    async with running(look) as feed:
        with feed.tab(is_owner=False) as tab:
            assert "rates" in await changes(tab)
            await until(lambda: look.surveys > 0)
            look.in_rate = 3.0
            assert (await told(tab, "rates"))["in"] == 3


async def test_bug_in_the_page_does_not_end_its_feed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page_feed, "AFTER_CRASH_S", 0.01)
    look = FakeLook()
    look.failure = ZeroDivisionError("a bug")
    async with running(look) as feed:
        with feed.tab(is_owner=False) as tab:
            await until(lambda: look.glances > 0)
            look.failure = None
            assert "rates" in await changes(tab)
    assert "page crashed" in caplog.text


async def test_owners_alone_see_what_is_for_owners() -> None:
    look = FakeLook()
    async with running(look) as feed:
        feed.show_owners("jobs", [{"id": 1}])
        with feed.tab(is_owner=True) as owner, feed.tab(is_owner=False) as reader:
            assert (await changes(owner))["jobs"] == [{"id": 1}]
            assert "jobs" not in await changes(reader)


async def test_tabs_end_when_the_node_does() -> None:
    feed = PageFeed(FakeLook())
    task = asyncio.create_task(feed.run())
    with feed.tab(is_owner=False) as tab:
        assert await tab.next()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await tab.next() == b""
