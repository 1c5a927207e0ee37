"""Verbs from JSON fields, and blocking work that a cancel ends."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from mirrornode.config import Config, MirrorConfig
from mirrornode.errors import TargetError
from mirrornode.events import AddProgress, Event
from mirrornode.gateway.verbs import add, get_request, verify
from mirrornode.mirror.get_request import GetRequest
from mirrornode.mirror.in_thread import in_thread
from mirrornode.store.catalog import open_catalog

CONFIG = Config(mirror=(MirrorConfig("http://nas/"), MirrorConfig("http://far/", weight=0.0)))
CID = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


def ignore(event: Event) -> None:
    """Progress nobody asked for."""


def test_get_request_joins_the_users_mirrors_with_the_configured() -> None:
    fields = {
        "target": CID,
        "dest": "out",
        "folder": "/home/x",
        "mirrors": ["http://mine/m", "http://nas/"],
        "peers": ["/ip4/1.2.3.4/tcp/1/p2p/x"],
        "timeout_s": 5,
        "download_limit": 50_000,
    }
    assert get_request(fields, CONFIG) == GetRequest(
        CID,
        Path("/home/x"),
        Path("out"),
        ("http://mine/m", "http://nas/", "http://far/"),
        ("/ip4/1.2.3.4/tcp/1/p2p/x",),
        5.0,
        50_000,
        {"http://far/": 0.0},  # what the user names has the weight 1
        insisted=frozenset({"http://mine/m", "http://nas/"}),
    )


@pytest.mark.parametrize(
    "fields",
    [{}, {"target": ""}, {"target": 5}, {"target": CID, "dest": 5}, {"target": CID, "mirrors": "x"},
     {"target": CID, "peers": [1]}, {"target": CID, "timeout_s": 0},
     {"target": CID, "timeout_s": "5"}, {"target": CID, "timeout_s": float("nan")},
     {"target": CID, "download_limit": "5MB"}, {"target": CID, "download_limit": 100},
     {"target": CID, "download_limit": -1}, {"target": CID, "mirrors": ["x"] * 100_001}],
)  # fmt: skip
def test_get_request_when_a_field_is_wrong_then_target_error(fields: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        get_request(fields, CONFIG)


@pytest.mark.parametrize(
    "fields",
    [{}, {"paths": []}, {"paths": "x"}, {"paths": ["x"], "raw_leaves": "yes"},
     {"paths": ["x"], "cid_version": "1"}, {"paths": ["x"], "profile": "none"}],
)  # fmt: skip
def test_add_when_a_field_is_wrong_then_target_error(fields: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        add(None, {"only_hash": True, **fields}, ignore)


def test_verify_when_the_target_has_a_path_then_target_error(tmp_path: Path) -> None:
    with open_catalog(tmp_path / "home") as catalog, pytest.raises(TargetError):
        verify(catalog, {"target": f"/ipfs/{CID}/a"}, ignore)


async def test_thread_when_cancelled_then_its_work_ends_at_the_next_report() -> None:
    started = threading.Event()
    reports: list[Event] = []
    ended = threading.Event()

    def work(progress: Any) -> None:
        try:
            while True:
                started.set()
                progress(AddProgress(0, 1))
        finally:
            ended.set()

    task = asyncio.create_task(in_thread(work, reports.append))
    await asyncio.to_thread(started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_thread_returns_and_raises_what_its_work_does() -> None:
    assert await in_thread(lambda progress: 5, ignore) == 5

    def fail(progress: Any) -> None:
        raise TargetError("no")

    with pytest.raises(TargetError):
        await in_thread(fail, ignore)
