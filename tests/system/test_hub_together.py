"""Nodes that are asked for the same file of the Hub at the same time, with real processes."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hub_origin import Blob, StandInHub, running_hub
from support.hub_parts import contents_of
from support.nodes import Nodes, RunningNode
from support.waiting import until_sync

MIB = 1 << 20
BIG = "model.safetensors"
SIZE = 12 * MIB + 5
HELD_AFTER = 3 * MIB
PIECE = 64 * 1024


class Reader(threading.Thread):
    """Downloads the file through a node's endpoint, as any client does."""

    def __init__(self, node: RunningNode) -> None:
        super().__init__(daemon=True)
        self._url = f"{node.gateway}/org/name/resolve/main/{BIG}"
        self.received = bytearray()
        self.failure: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with urllib.request.urlopen(self._url, timeout=60) as answer:
                while piece := answer.read(PIECE):
                    self.received += piece
        except Exception as exc:  # for the test to look at
            self.failure = exc

    def result(self) -> bytes:
        self.join(90)
        assert self.failure is None
        return bytes(self.received)


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        hub.add_model("org/name", {"config.json": b"{}", BIG: Blob(SIZE, 1)}, licence="mit")
        yield hub


def start_all(nodes: Nodes, hub: StandInHub, names: tuple[str, ...]) -> list[RunningNode]:
    """Start nodes that are connected to each other, and whose origin is the hub."""
    running: list[RunningNode] = []
    for name in names:
        home = nodes.home(name)
        home.mkdir()
        (home / "config.toml").write_text(f'[[origin]]\nurl = "{hub.url}"\n')
        running.append(nodes.serve(name, bootstrap=[node.address for node in running]))

    def is_connected(node: RunningNode) -> bool:
        return len(node.run("peers", "--json").stdout.splitlines()) >= len(names) - 1

    until_sync(lambda: all(is_connected(node) for node in running))
    return running


def expected(hub: StandInHub) -> bytes:
    return contents_of(hub.repos["model", "org/name"])[BIG]


def test_file_when_all_want_it_at_once_then_the_origin_sends_it_once(
    nodes: Nodes, hub: StandInHub
) -> None:
    one, two, three = start_all(nodes, hub, ("one", "two", "three"))
    hub.hold(after_bytes=HELD_AFTER, match=BIG, times=-1)
    readers = [Reader(one)]
    until_sync(lambda: len(readers[0].received) >= MIB)
    readers += [Reader(two), Reader(three)]
    # They read along while the first still waits for the rest.
    until_sync(lambda: all(len(reader.received) >= MIB for reader in readers))
    hub.heal()
    for reader in readers:
        assert reader.result() == expected(hub)
    # Each for itself would take three copies. The lane that stood still was raced by another, and
    # what the origin pushes into both of them when it goes on is less than one copy.
    assert hub.file_bytes_sent(BIG) < 2 * SIZE


def test_file_when_the_one_that_fetches_dies_then_the_other_goes_on_by_itself(
    nodes: Nodes, hub: StandInHub, tmp_path: Path
) -> None:
    one, two = start_all(nodes, hub, ("one", "two"))
    hub.hold(after_bytes=HELD_AFTER, match=BIG, times=-1)
    first = Reader(one)
    until_sync(lambda: len(first.received) >= MIB)
    second = Reader(two)
    until_sync(lambda: len(second.received) >= MIB)
    one.process.kill()
    hub.heal()
    assert second.result() == expected(hub)
    first.join(90)
    assert first.failure is not None or len(first.received) < SIZE


def test_file_when_both_ask_in_the_same_moment_then_both_get_it(
    nodes: Nodes, hub: StandInHub
) -> None:
    readers = [Reader(node) for node in start_all(nodes, hub, ("one", "two"))]
    for reader in readers:
        assert reader.result() == expected(hub)
    assert hub.file_bytes_sent(BIG) < 2 * SIZE  # what each for itself would take
