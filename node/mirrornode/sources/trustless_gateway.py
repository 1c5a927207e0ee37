"""Any IPFS gateway as a source: `Range` on the file where it serves files, else block by block.

A gateway that deserialises (Kubo's default) answers ranges of a file CID; a strictly trustless one
answers only `?format=raw`, one block a request. Which it is shows at the first run.
Spec: trustless gateway; path gateway, "Range".
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mirrornode.content.block import MAX_BLOCK_BYTES
from mirrornode.content.leaf_form import leaf_block_size, leaf_prefix, leaf_suffix
from mirrornode.errors import CidMismatch, SourceRefused
from mirrornode.sources.refusal import refusal
from mirrornode.sources.run_reader import RunReader
from mirrornode.sources.web import (
    MAX_REDIRECTS,
    WEB_HEADERS,
    Moved,
    WebConnection,
    public_url,
)

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.sources.ports import FileOfTransfer, Pace

LANES = 4
RAW_HEADERS = {**WEB_HEADERS, "Accept": "application/vnd.ipld.raw"}
PROBE = "/ipfs/bafkqaaa?format=raw"  # the empty identity block: every gateway has it
NOT_DESERIALISING = frozenset({400, 403, 405, 406, 415, 501})


class GatewaySource:
    """A gateway at `url`; safe to use from several threads."""

    def __init__(self, url: str, *, max_redirects: int = MAX_REDIRECTS) -> None:
        """Prepare; nothing is connected yet.

        Args:
            max_redirects: How many are followed; 0 for a gateway that a stranger named, which must
                not lead anywhere else.
        """
        self.url = url.rstrip("/")
        self._max_redirects = max_redirects
        self.source_id = f"gateway:{public_url(self.url)}"
        self.max_lanes = LANES
        self.max_batch = 0
        self.is_sequential = False
        self.serves_files = True
        self.moved = Moved()
        self._lock = threading.Lock()
        self._fetching: set[WebConnection] = set()

    def is_gateway(self) -> bool:
        """Ask the server whether it is an IPFS gateway at all.

        Raises:
            SourceError: It cannot be reached.
        """
        with self._fetch() as connection:
            try:
                response = connection.request(self.url + PROBE, RAW_HEADERS)
                return response.status == 200 and not connection.read_all(64)
            except SourceRefused:
                return False

    def open_lane(self) -> GatewayLane:
        """Return a lane; it connects at its first run."""
        return GatewayLane(self)

    def fetch_blocks(self, cids: Sequence[Cid]) -> list[bytes | None]:
        """Return the unverified bytes of each block, None where the gateway lacks it."""
        with self._fetch() as connection:
            return [self._fetch_block(connection, cid) for cid in cids]

    def abort_fetches(self) -> None:
        """Break off every `fetch_blocks` and `is_gateway` that is going on."""
        with self._lock:
            fetching = list(self._fetching)
        for connection in fetching:
            connection.abort()

    def connection(self) -> WebConnection:
        """Return a connection of its own for one user."""
        return WebConnection(self.source_id, self.moved, max_redirects=self._max_redirects)

    @contextmanager
    def _fetch(self) -> Iterator[WebConnection]:
        """Yield a connection that `abort_fetches` reaches."""
        connection = self.connection()
        with self._lock:
            self._fetching.add(connection)
        try:
            yield connection
        finally:
            connection.abort()
            with self._lock:
                self._fetching.discard(connection)

    def _fetch_block(self, connection: WebConnection, cid: Cid) -> bytes | None:
        response = connection.request(f"{self.url}/ipfs/{cid}?format=raw", RAW_HEADERS)
        if response.status == 200:
            return connection.read_all(MAX_BLOCK_BYTES)
        if response.status in (404, 410):
            return None
        raise refusal(response, self.source_id)


class GatewayLane:
    """One connection to a gateway."""

    def __init__(self, source: GatewaySource) -> None:
        self._source = source
        self._connection = source.connection()
        self._run: RunReader | None = None
        self._file: FileOfTransfer | None = None
        self._next = 0
        self._skip_bytes = 0

    def set_pace(self, pace: Pace) -> None:
        """See `PacedLane.set_pace`."""
        self._connection.set_pace(pace)

    @property
    def received_bytes(self) -> int:
        """See `Lane.received_bytes`."""
        return self._connection.received_bytes

    @property
    def round_trip_s(self) -> float | None:
        """See `TimedLane.round_trip_s`."""
        return self._connection.round_trip_s

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        """Ask for the leaves `[first, stop)`; see `Lane.begin`."""
        source = self._source
        self._file, self._next, self._run = file, first, None
        self._skip_bytes = skip_bytes
        if not source.serves_files:
            return
        run = RunReader(self._connection, source.source_id, file, first, skip_bytes)
        try:
            run.open(f"{source.url}/ipfs/{file.root}", WEB_HEADERS, stop)
        except SourceRefused as exc:
            if exc.status not in NOT_DESERIALISING:
                raise
            source.serves_files = False
            return
        self._run = run
        if run.is_whole and file.map.leaves > 1:
            source.is_sequential = True

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` with the next leaf, out of the run or as a block of its own."""
        if self._run is not None:
            self._run.read_leaf(view)
            return
        assert self._file is not None
        file_map, source = self._file.map, self._source
        cid = file_map.leaf_cid(self._next)
        self._next += 1
        connection = self._connection
        response = connection.request(f"{source.url}/ipfs/{cid}?format=raw", RAW_HEADERS)
        if response.status != 200:
            raise refusal(response, source.source_id)
        skip_bytes, self._skip_bytes = self._skip_bytes, 0
        form, length = file_map.leaf_form, skip_bytes + len(view)
        size = response.getheader("Content-Length")
        if size is not None and size != str(leaf_block_size(form, length)):
            raise SourceRefused("sent a block of a wrong size", source_id=source.source_id)
        for fixed in (leaf_prefix(form, length), None, leaf_suffix(form, length)):
            if fixed is None:
                connection.read_into(memoryview(bytearray(skip_bytes)))  # a block comes whole
                connection.read_into(view)
            elif fixed:
                got = bytearray(len(fixed))
                connection.read_into(memoryview(got))
                if got != fixed:
                    raise CidMismatch(cid, "not the wrapping of a leaf")

    def end(self) -> None:
        self._connection.finish()

    def abort(self) -> None:
        self._connection.abort()
