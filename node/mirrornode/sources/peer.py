"""A peer's HTTP plane as a source: runs of a file by `Range`, single blocks by `?format=raw`.

The ticket came over libp2p and names address, certificate and bearer. A bearer that expires in a
long transfer is renewed through the `renew` callable, from the lane's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from mirrornode.content.block import MAX_BLOCK_BYTES
from mirrornode.errors import MirrorError, SourceError, SourceGone, SourceRefused
from mirrornode.sources.batch_reader import BatchReader
from mirrornode.sources.http_client import Endpoint, HttpConnection
from mirrornode.sources.run_reader import RunReader
from mirrornode.wire import batch

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.sources.ports import FileOfTransfer
    from mirrornode.wire.ticket import Ticket

LANES: Final = 2  # measured on a LAN: 16 connections to one peer are slower than 2
READ_TIMEOUT_S = 8.0  # a LAN peer that is silent for so long has a problem


class PeerSource:
    """One peer that showed a ticket; safe to use from several threads."""

    def __init__(
        self,
        peer_id: str,
        ticket: Ticket,
        *,
        near_host: str = "",
        renew: Callable[[], Ticket] | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            near_host: The IP address this node already talks to the peer through; tried first.
            renew: Returns a fresh ticket; called from lane threads when the bearer is refused.
        """
        self.peer_id = peer_id
        self.source_id = f"peer:{peer_id}"
        self.max_lanes = LANES
        self.max_batch = min(ticket.batch, batch.MAX_BLOCKS)
        self._renew = renew
        self._lock = threading.Lock()
        self._use(ticket, near_host)

    def _use(self, ticket: Ticket, near_host: str) -> None:
        hosts = dict.fromkeys([near_host] if near_host else [])
        hosts.update(dict.fromkeys(ticket.hosts))
        self._near_host = near_host
        self._ticket = ticket
        self._hosts = list(hosts)

    def open_lane(self) -> PeerLane:
        """Return a lane; it connects at its first run."""
        return PeerLane(self)

    def fetch_blocks(self, cids: Sequence[Cid]) -> list[bytes | None]:
        """Return the unverified bytes of each block, None where the peer answers 404."""
        lane = PeerLane(self)
        try:
            return [lane.fetch_block(cid) for cid in cids]
        finally:
            lane.abort()

    def connect(self) -> HttpConnection:
        """Return a connection to the first host that answers, and prefer that host from now on."""
        with self._lock:
            ticket, hosts = self._ticket, list(self._hosts)
        failure: SourceError = SourceGone("the peer gave no address", source_id=self.source_id)
        for host in hosts:
            endpoint = Endpoint(ticket.scheme, host, ticket.port, pin=ticket.cert_sha256)
            connection = HttpConnection(endpoint, self.source_id, read_timeout_s=READ_TIMEOUT_S)
            try:
                connection.request("/ipfs/bafkqaaa?format=raw", self.headers(), method="HEAD")
            except SourceError as exc:
                failure = exc
                continue
            with self._lock:
                if host in self._hosts:
                    self._hosts.remove(host)
                    self._hosts.insert(0, host)
            return connection
        raise failure

    def headers(self) -> dict[str, str]:
        """Return the headers of every request to this peer."""
        return {"Authorization": f"Bearer {self._ticket.bearer}", "Accept-Encoding": "identity"}

    def renew(self) -> None:
        """Get a fresh ticket, once for all lanes that were refused together."""
        if self._renew is None:
            raise SourceRefused("the ticket has expired", source_id=self.source_id, status=401)
        refused = self._ticket
        with self._lock:
            if self._ticket is refused:
                try:
                    self._use(self._renew(), self._near_host)
                except SourceError:
                    raise
                except MirrorError as exc:
                    raise SourceGone(str(exc), source_id=self.source_id) from exc


class PeerLane:
    """One connection to a peer."""

    def __init__(self, source: PeerSource) -> None:
        self._source = source
        self._connection: HttpConnection | None = None
        self._run: RunReader | BatchReader | None = None

    def begin(self, file: FileOfTransfer, first: int, stop: int) -> None:
        """Ask for the leaves `[first, stop)`; see `Lane.begin`."""
        for attempt in (1, 2):
            connection = self._connection = self._connection or self._source.connect()
            self._run = RunReader(connection, self._source.source_id, file, first)
            try:
                self._run.open(f"/ipfs/{file.root}", self._source.headers(), stop)
                return
            except SourceRefused as exc:
                if exc.status != 401 or attempt == 2:
                    raise
                self._source.renew()

    def begin_batch(self, files: Sequence[FileOfTransfer]) -> None:
        """Ask for the only leaf of each file; see `BatchLane.begin_batch`."""
        for attempt in (1, 2):
            connection = self._connection = self._connection or self._source.connect()
            self._run = BatchReader(connection, self._source.source_id, files)
            try:
                self._run.open(self._source.headers())
                return
            except SourceRefused as exc:
                if exc.status != 401 or attempt == 2:
                    raise
                self._source.renew()

    def read_leaf(self, view: memoryview) -> None:
        assert self._run is not None
        self._run.read_leaf(view)

    def end(self) -> None:
        if self._connection is not None:
            self._connection.finish()

    def abort(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def fetch_block(self, cid: Cid) -> bytes | None:
        """Return the unverified bytes of one block, or None when the peer lacks it."""
        for attempt in (1, 2):
            connection = self._connection = self._connection or self._source.connect()
            response = connection.request(f"/ipfs/{cid}?format=raw", self._source.headers())
            if response.status == 200:
                return connection.read_all(MAX_BLOCK_BYTES)
            if response.status == 404:
                return None
            if response.status != 401 or attempt == 2:
                break
            self._source.renew()
        raise SourceRefused(
            f"the peer answered {response.status}",
            source_id=self._source.source_id,
            status=response.status,
        )
