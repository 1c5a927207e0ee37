"""Many small files in one answer: however it is cut, and whatever is wrong with it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from mirrornode.content.car import section_head
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe
from mirrornode.errors import SourceGone, SourceRefused
from mirrornode.sources.batch_reader import BatchReader
from mirrornode.sources.http_client import Endpoint, HttpConnection
from mirrornode.sources.ports import DIRECT_BYTES
from mirrornode.transfer.manifest import ManifestFile
from support.models import Model, folder_of
from support.raw_server import Visit, raw_server
from support.shared_files import content

FILES = {
    "a": content(3),
    "b": content(DIRECT_BYTES - 1),
    "c": content(DIRECT_BYTES),
    "d": content(3 * DIRECT_BYTES + 11),
    "e": content(2),
}


def folder(recipe: Recipe = UNIXFS_V1_2025) -> Model:
    return folder_of(FILES, recipe)


def files_of(model: Model) -> list[ManifestFile]:
    """By name: a small one stands behind the large ones."""
    return sorted(model.manifest.files, key=lambda file: file.path)


def sections(model: Model, count: int = len(FILES)) -> bytes:
    blocks = {block.cid: block.data for block in model.blocks}
    body = b""
    for file in files_of(model)[:count]:
        cid = file.map.leaf_cid(0)
        body += section_head(cid, len(blocks[cid])) + blocks[cid]
    return body


def chunked(body: bytes, size: int, end: bytes = b"0\r\n\r\n") -> Callable[[Visit], None]:
    """Answer with `body` in chunks of `size` bytes."""

    def behaviour(visit: Visit) -> None:
        while visit.head():
            visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            visit.send(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end)
            if end != b"0\r\n\r\n":
                visit.sock.shutdown(socket.SHUT_WR)
                visit.hang()
                return

    return behaviour


@dataclass
class Taken:
    """What a reader gave, and how much the connection had counted when each leaf was there."""

    leaves: list[bytes] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)


@contextmanager
def reading(behaviour: Callable[[Visit], None]) -> Iterator[HttpConnection]:
    with raw_server(behaviour) as server:
        connection = HttpConnection(Endpoint("http", "127.0.0.1", server.port), "peer:x")
        try:
            yield connection
        finally:
            connection.abort()


def take(connection: HttpConnection, model: Model, into: Taken) -> None:
    files = files_of(model)
    reader = BatchReader(connection, "peer:x", files)
    reader.open({})
    for file in files:
        view = memoryview(bytearray(file.map.size_bytes))
        reader.read_leaf(view)
        into.leaves.append(bytes(view))
        into.counted.append(connection.received_bytes)


@pytest.mark.parametrize("recipe", [UNIXFS_V1_2025, UNIXFS_V0_2015], ids=["raw", "dag-pb"])
@pytest.mark.parametrize("size", [1 << 30, DIRECT_BYTES + 1, 4096, 37, 7])
def test_batch_when_it_comes_in_chunks_of_any_size_then_every_leaf(
    recipe: Recipe, size: int
) -> None:
    model, taken = folder(recipe), Taken()
    with reading(chunked(sections(model), size)) as connection:
        take(connection, model, taken)
        connection.finish()
        assert connection.is_open  # nothing is left over: the next request can follow
    assert taken.leaves == list(FILES.values())


def test_batch_when_a_leaf_is_large_then_no_byte_behind_it_is_counted() -> None:
    model, taken = folder(), Taken()
    body = sections(model)
    with reading(chunked(body, 1 << 30)) as connection:
        take(connection, model, taken)
    end_of_large = len(body) - len(FILES["e"]) - 38
    reader_bytes = 8192
    assert taken.counted[3] <= end_of_large + reader_bytes


@pytest.mark.parametrize("count", [0, 1, 3])
def test_batch_when_it_ends_between_two_files_then_the_next_is_lacking(count: int) -> None:
    model, taken = folder(), Taken()
    with (
        reading(chunked(sections(model, count), 1 << 30)) as connection,
        pytest.raises(SourceRefused) as refused,
    ):
        take(connection, model, taken)
    assert refused.value.status == 404
    assert taken.leaves == list(FILES.values())[:count]


@pytest.mark.parametrize("missing", [1, 100, 3 * DIRECT_BYTES])
@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"", b"ff\r\n"], ids=["well", "cut", "in a chunk"])
def test_batch_when_it_ends_inside_a_file_then_gone(missing: int, end: bytes) -> None:
    model, taken = folder(), Taken()
    body = sections(model, 4)[:-missing]
    with reading(chunked(body, 1 << 30, end)) as connection, pytest.raises(SourceGone):
        take(connection, model, taken)
    assert taken.leaves == list(FILES.values())[:3]


@pytest.mark.parametrize("size", [1 << 30, 7])
def test_batch_when_another_block_comes_then_refused(size: int) -> None:
    model, taken = folder(), Taken()
    body = sections(model)
    at = len(sections(model, 2)) + 20
    wrong = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    with reading(chunked(wrong, size)) as connection, pytest.raises(SourceRefused, match="another"):
        take(connection, model, taken)
    assert taken.leaves == list(FILES.values())[:2]


def test_batch_when_the_rate_is_limited_then_read_in_pieces_that_are_waited_for() -> None:
    waited: list[int] = []

    class Limit:
        piece_bytes = 1000

        def wait(self, size_bytes: int, is_broken_off: Callable[[], bool]) -> None:
            assert not is_broken_off()
            waited.append(size_bytes)

    model, taken = folder(), Taken()
    body = sections(model)
    with reading(chunked(body, 1 << 30)) as connection:
        connection.pace = Limit()
        take(connection, model, taken)
    assert taken.leaves == list(FILES.values())
    assert max(waited) <= 1000
    assert sum(waited) == len(body)
