"""Questions asked once, and values kept by weight."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from mirrornode.errors import OriginAway
from mirrornode.mirror.hub.flights import Flights
from mirrornode.mirror.hub.recent import Recent


@pytest.fixture
def flights() -> Iterator[Flights[int]]:
    opened: Flights[int] = Flights("test")
    yield opened
    opened.close()


async def test_join_when_one_is_under_way_then_all_get_its_value(flights: Flights[int]) -> None:
    go, asked = threading.Event(), []

    def question() -> int:
        asked.append(1)
        go.wait(60)
        return 7

    joined = [asyncio.create_task(flights.join("k", b"%d" % n, question, 60)) for n in range(9)]
    await asyncio.sleep(0)
    go.set()
    landed = await asyncio.gather(*joined)
    assert {(one.owner, one.result()) for one in landed} == {(b"0", 7)}
    assert len(asked) == 1
    assert (await flights.join("k", b"z", question, 60)).owner == b"z"


async def test_join_when_it_fails_then_the_error_is_for_all(flights: Flights[int]) -> None:
    def question() -> int:
        raise OriginAway("gone")

    landed = await flights.join("k", b"", question, 60)
    with pytest.raises(OriginAway, match="gone"):
        landed.result()


async def test_join_when_patience_ends_then_the_question_goes_on(flights: Flights[int]) -> None:
    go = threading.Event()

    def question() -> int:
        go.wait(60)
        return 7

    with pytest.raises(TimeoutError):
        await flights.join("k", b"first", question, 0.01)
    second = asyncio.create_task(flights.join("k", b"second", question, 60))
    await asyncio.sleep(0)
    go.set()
    assert (await second).owner == b"first"


def test_recent_when_too_heavy_then_the_longest_unused_goes() -> None:
    recent: Recent[str] = Recent(10)
    recent.put("a", "A", 4)
    recent.put("b", "B", 4)
    assert recent.get("a") == "A"
    recent.put("c", "C", 4)
    assert [recent.get(key) for key in "abc"] == ["A", None, "C"]
    recent.put("a", "huge", 11)
    assert recent.get("a") is None
    recent.drop("c")
    recent.put("d", "D", 10)
    assert recent.get("d") == "D"
