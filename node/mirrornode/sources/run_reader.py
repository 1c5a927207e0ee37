"""One run of leaves as the body of one HTTP answer, whatever the server makes of `Range`.

206 with the asked range is the rule. A 200 with the whole file is accepted too: bytes before the
run are read and dropped, and `is_whole` tells the source that it can only be read in order. A
server may also send less than was asked for (RFC 9110, 15.3.7): the rest is asked for then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from mirrornode.buffers import page_aligned
from mirrornode.errors import OriginChanged, RemoteProtocolError, SourceRefused
from mirrornode.sources.refusal import refusal
from mirrornode.wire.ranges import parse_content_range, range_header

if TYPE_CHECKING:
    import http.client

    from mirrornode.sources.ports import FileOfTransfer

SKIP_BYTES = 1 << 20  # size of the buffer that unwanted bytes are read into


class Connection(Protocol):
    """What a run is read through: a connection to one host, or one that follows redirects."""

    def request(self, target: str, headers: Mapping[str, str], /) -> http.client.HTTPResponse: ...
    def read_into(self, view: memoryview) -> None: ...


class RunReader:
    """Reads the leaves from `first` on out of one response."""

    def __init__(
        self,
        connection: Connection,
        source_id: str,
        file: FileOfTransfer,
        first: int,
        skip_bytes: int = 0,
    ) -> None:
        self._connection = connection
        self._source_id = source_id
        self._file = file
        self._next = first
        self._skip_bytes = skip_bytes  # of the first leaf only
        self._position = 0
        self._answer_end = 0  # where this answer's body ends in the file
        self._stop = first
        self._target = ""
        self._headers: Mapping[str, str] = {}
        self.is_whole = False

    def open(self, target: str, headers: Mapping[str, str], stop: int) -> None:
        """Ask for the leaves up to `stop` and check the head of the answer.

        Raises:
            SourceRefused: Any status but 200 and 206, a compressed body, or another range.
            OriginChanged: The file there has another size.
        """
        self._target, self._headers, self._stop = target, headers, stop
        file_map = self._file.map
        start = file_map.starts[self._next] + self._skip_bytes
        end = file_map.starts[stop - 1] + file_map.lengths[stop - 1]
        request = {**headers, "Range": range_header(start, end)}
        response = self._connection.request(target, request)
        if response.status not in (200, 206):
            raise refusal(response, self._source_id)
        encoding = response.getheader("Content-Encoding", "").strip().lower()
        if encoding not in ("identity", ""):
            raise SourceRefused(
                f"compresses what must stay as it is ({encoding[:20]})", source_id=self._source_id
            )
        if response.status == 206:
            self._check_range(response.getheader("Content-Range"), start, end)
            self._position = start
            return
        length = response.getheader("Content-Length")
        if length is not None and length != str(file_map.size_bytes):
            raise self._changed(length[:20])
        self.is_whole = True
        self._position, self._answer_end = 0, file_map.size_bytes

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` with the next leaf's file bytes."""
        start = self._file.map.starts[self._next] + self._skip_bytes
        if start + len(view) > self._answer_end and self._next < self._stop:
            self.open(self._target, self._headers, self._stop)
        if self._position < start:
            self._skip(start - self._position)
        self._connection.read_into(view)
        self._position = start + len(view)
        self._next += 1
        self._skip_bytes = 0

    def _skip(self, count: int) -> None:
        scratch = page_aligned(min(count, SKIP_BYTES))
        while count:
            part = min(count, len(scratch))
            self._connection.read_into(scratch[:part])
            count -= part

    def _check_range(self, header: str | None, start: int, end: int) -> None:
        try:
            got_start, got_end, size = parse_content_range(header)
        except RemoteProtocolError as exc:
            raise SourceRefused(
                f"sent a malformed Content-Range ({exc})", source_id=self._source_id
            ) from exc
        if size is not None and size != self._file.map.size_bytes:
            raise self._changed(str(size))
        file_map = self._file.map
        first_leaf_end = file_map.starts[self._next] + file_map.lengths[self._next]
        if got_start != start or not first_leaf_end <= got_end <= end:
            raise SourceRefused(
                f"sent the range {got_start}-{got_end} instead of {start}-{end}",
                source_id=self._source_id,
            )
        self._answer_end = got_end

    def _changed(self, size: str) -> OriginChanged:
        return OriginChanged(
            f"has a file of {size} bytes, not {self._file.map.size_bytes}",
            source_id=self._source_id,
        )
