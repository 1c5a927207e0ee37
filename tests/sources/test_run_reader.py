"""One run of leaves out of whatever a server makes of `Range`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mirrornode.errors import OriginChanged, SourceGone, SourceRefused
from mirrornode.sources.http_client import Endpoint, HttpConnection
from mirrornode.sources.run_reader import RunReader
from support.models import LEAF, Model, model_of
from support.raw_server import Visit, raw_server

MODEL = model_of(5 * LEAF)


def read(
    behaviour: Callable[[Visit], None], first: int, stop: int, model: Model = MODEL
) -> tuple[bytes, bool]:
    """Read leaves `[first, stop)` and return them and whether the whole file came."""
    file = model.file
    with raw_server(behaviour) as server:
        connection = HttpConnection(Endpoint("http", "127.0.0.1", server.port), "http:x")
        try:
            run = RunReader(connection, "http:x", file, first)
            run.open("/file", {}, stop)
            got = b""
            for leaf in range(first, stop):
                view = memoryview(bytearray(file.map.lengths[leaf]))
                run.read_leaf(view)
                got += bytes(view)
            return got, run.is_whole
        finally:
            connection.abort()


def answering(body: bytes, status: str, headers: str = "") -> Callable[[Visit], None]:
    def behaviour(visit: Visit) -> None:
        while visit.head():
            visit.answer(body, status=status, headers=headers)

    return behaviour


def partial(
    start: int, stop: int, size: object, data: bytes = MODEL.data
) -> Callable[[Visit], None]:
    content_range = f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n"
    return answering(data[start:stop], "206 Partial Content", content_range)


@pytest.mark.parametrize("size", [5 * LEAF, "*"])
def test_run_when_206_then_the_leaves(size: object) -> None:
    got, is_whole = read(partial(LEAF, 3 * LEAF, size), 1, 3)
    assert got == MODEL.data[LEAF : 3 * LEAF]
    assert not is_whole


def test_run_when_200_then_what_lies_before_is_skipped() -> None:
    got, is_whole = read(answering(MODEL.data, "200 OK"), 2, 4)
    assert got == MODEL.data[2 * LEAF : 4 * LEAF]
    assert is_whole


@pytest.mark.parametrize(
    "behaviour",
    [
        partial(0, 2 * LEAF, 5 * LEAF),
        partial(LEAF, 4 * LEAF, 5 * LEAF),
        partial(LEAF, 2 * LEAF, 5 * LEAF),
        answering(b"x" * 2 * LEAF, "206 Partial Content"),
        answering(b"x", "206 Partial Content", "Content-Range: bytes */5\r\n"),
        answering(MODEL.data, "200 OK", "Content-Encoding: gzip\r\n"),
        answering(b"", "204 No Content"),
    ],
    ids=["starts early", "ends late", "ends early", "no range", "bad range", "gzip", "204"],
)
def test_run_when_answer_is_unusable_then_refused(behaviour: Callable[[Visit], None]) -> None:
    with pytest.raises(SourceRefused):
        read(behaviour, 1, 3)


@pytest.mark.parametrize(
    "behaviour",
    [partial(LEAF, 3 * LEAF, 5 * LEAF + 1), answering(MODEL.data + b"x", "200 OK")],
    ids=["206", "200"],
)
def test_run_when_file_has_another_size_then_origin_changed(
    behaviour: Callable[[Visit], None],
) -> None:
    with pytest.raises(OriginChanged):
        read(behaviour, 1, 3)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("3", 3.0), ("0", 0.0), ("", None), ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
     ("Sun, 99 Nov", None), ("\xb2", None), ("-1", None)],
)  # fmt: skip
def test_run_when_overloaded_then_status_and_retry_after(
    retry_after: str, seconds: float | None
) -> None:
    def behaviour(visit: Visit) -> None:
        visit.head()
        visit.send(
            f"HTTP/1.1 503 Down\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n\r\n".encode(
                "latin-1"
            )
        )

    with pytest.raises(SourceRefused) as caught:
        read(behaviour, 0, 1)
    assert (caught.value.status, caught.value.retry_after_s) == (503, seconds)
    assert caught.value.source_id == "http:x"


def test_run_when_body_is_cut_then_source_gone() -> None:
    def then_close(visit: Visit) -> None:
        visit.head()
        visit.send(b"HTTP/1.1 206 X\r\n")
        visit.send(f"Content-Range: bytes 0-{2 * LEAF - 1}/{5 * LEAF}\r\n".encode())
        visit.send(f"Content-Length: {2 * LEAF}\r\n\r\n".encode() + MODEL.data[: LEAF + 10])

    with pytest.raises(SourceGone):
        read(then_close, 0, 2)
