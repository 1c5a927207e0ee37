"""A peer's HTTP plane as a source: runs of a file by `Range`, single blocks by `?format=raw`.

The ticket came over libp2p and names address, certificate and bearer. A bearer that expires in a
long transfer is renewed through the `renew` callable, from the lane's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from mirrornode.content.block import MAX_BLOCK_BYTES
from mirrornode.errors import MirrorError, SourceError, SourceGone, SourceRefused
from mirrornode.sources.batch_reader import BatchReader
from mirrornode.sources.http_client import Endpoint, HttpConnection, WrongCertificate
from mirrornode.sources.idle import Idle
from mirrornode.sources.refusal import refusal
from mirrornode.sources.run_reader import RunReader
from mirrornode.wire import batch
from mirrornode.wire.ticket import HAVE_PATH, MAX_ANSWER_BYTES, decode_have, encode_request

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.sources.ports import FileOfTransfer, Pace
    from mirrornode.wire.ticket import Holding, Ticket

T = TypeVar("T")

LANES: Final = 16  # at most
NEAR_LANES: Final = 4  # on a LAN: measured there, 16 connections are slower than 2
CONTENT_PATH: Final = "/ipfs/"
PROBE: Final = "/ipfs/bafkqaaa?format=raw"  # the empty identity block: every node has it
MAX_FETCH_BATCH = 64  # inner nodes and folders in one answer, which is kept in memory whole
MAX_FETCH_BYTES = 32 << 20
READ_TIMEOUT_S = 8.0  # a LAN peer that is silent for so long has a problem


class PeerSource:
    """One peer that showed a ticket; safe to use from several threads."""

    def __init__(
        self,
        peer_id: str,
        ticket: Ticket,
        *,
        near_host: str = "",
        round_trip_s: float | None = None,
        renew: Callable[[], Ticket] | None = None,
        path: str = CONTENT_PATH,
        lanes: int = LANES,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            path: Below which files are asked for by their root.
            near_host: The IP address this node already talks to the peer through; tried first.
            round_trip_s: The shortest to the peer so far. What connections find out later may be
                the queue of a busy line.
            renew: Returns a fresh ticket; called from lane threads when the bearer is refused.
        """
        self.peer_id = peer_id
        self.source_id = f"peer:{peer_id}"
        self.max_lanes = lanes
        self.near_lanes = min(lanes, NEAR_LANES)
        self.max_batch = min(ticket.batch, batch.MAX_BLOCKS)
        self.path = path
        self._renew = renew
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._fetching: set[PeerLane] = set()
        self._spares: Idle[tuple[Ticket, HttpConnection]] = Idle()
        self._answered: set[str] = set()  # hosts at which the peer was met
        self.round_trip_s = round_trip_s
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
        with self._lock:
            self._fetching.add(lane)
        try:
            if len(cids) < 2 or self.max_batch < 2:
                return [lane.fetch_block(cid) for cid in cids]
            return self._fetch_batches(lane, cids)
        finally:
            self._put_away(lane)

    def _fetch_batches(self, lane: PeerLane, cids: Sequence[Cid]) -> list[bytes | None]:
        """Fetch with few requests; an answer ends at the first block that the peer lacks."""
        most = min(self.max_batch, MAX_FETCH_BATCH)
        found: list[bytes | None] = []
        while len(found) < len(cids):
            asked = cids[len(found) : len(found) + most]
            body = lane.post(batch.PATH, batch.encode_request(asked), MAX_FETCH_BYTES)
            blocks = batch.decode_sections(body, asked)
            found += blocks
            if len(blocks) < len(asked):
                found.append(None)
        return found

    def abort_fetches(self) -> None:
        """Break off every `fetch_blocks` that is going on, and keep no connection for the next."""
        with self._lock:
            fetching, self._fetching = self._fetching, set()
        for lane in fetching:
            lane.abort()
        for _, connection in self._spares.take_all():
            connection.close()

    def _put_away(self, lane: PeerLane) -> None:
        """Leave a lane's connection to the next one: on a long line each costs four round trips."""
        ticket, connection = self._ticket, lane.give_up()
        with self._lock:
            is_wanted = lane in self._fetching
            self._fetching.discard(lane)
            if connection is not None and is_wanted:
                self._spares.give((ticket, connection))
                return
        if connection is not None:
            connection.close()

    def take_spare(self, ticket: Ticket) -> HttpConnection | None:
        """Return an open connection that was made with this ticket, for the caller alone."""
        spare = self._spares.take(lambda kept: kept[0] is ticket)
        return spare[1] if spare is not None else None

    def replace_ticket(self, ticket: Ticket, near_host: str) -> None:
        """Use another ticket from now on: the peer has come back, maybe at another port."""
        with self._lock:
            self._use(ticket, near_host)

    def ask_have(self, roots: Sequence[Cid], lane: PeerLane) -> tuple[Holding, ...]:
        """Return what the peer has by now of `roots`, at most `MAX_ROOTS`, asked over `lane`.

        Raises:
            SourceError: The peer failed.
            RemoteProtocolError: Its answer is malformed.
        """
        return decode_have(lane.post(HAVE_PATH, encode_request(roots), MAX_ANSWER_BYTES), roots)

    @property
    def ticket(self) -> Ticket:
        """The ticket in use."""
        return self._ticket

    def hosts(self) -> list[str]:
        """Return where the peer may be reached, the host that answered last first."""
        with self._lock:
            return list(self._hosts)

    def is_known(self, host: str) -> bool:
        """Tell whether the peer was met at this host."""
        return host in self._answered

    def prefer(self, host: str, round_trip_s: float | None) -> None:
        """Try this host first from now on: the peer is there."""
        with self._lock:
            self._answered.add(host)
            if round_trip_s is not None:
                self.round_trip_s = min(round_trip_s, self.round_trip_s or round_trip_s)
            if host in self._hosts:
                self._hosts.remove(host)
                self._hosts.insert(0, host)

    def renew(self, refused: Ticket, refusal: SourceRefused) -> None:
        """Replace a ticket that does not do, once for all lanes that were refused together.

        Raises:
            SourceError: The peer gives no other; `refusal` when it cannot be asked for one.
        """
        if self._renew is None:
            raise refusal
        with self._renewing:
            if self._ticket is not refused:
                return
            try:
                fresh = self._renew()
            except SourceError:
                raise
            except MirrorError as exc:
                raise SourceGone(str(exc), source_id=self.source_id) from exc
            with self._lock:
                self._use(fresh, self._near_host)


class PeerLane:
    """One connection to a peer."""

    def __init__(self, source: PeerSource) -> None:
        self._source = source
        self._connection: HttpConnection | None = None
        self._run: RunReader | BatchReader | None = None
        self._pace: Pace | None = None
        self._aborts = 0

    def set_pace(self, pace: Pace) -> None:
        """See `PacedLane.set_pace`."""
        self._pace = pace

    @property
    def received_bytes(self) -> int:
        """See `Lane.received_bytes`."""
        connection = self._connection
        return connection.received_bytes if connection is not None else 0

    @property
    def round_trip_s(self) -> float | None:
        """See `TimedLane.round_trip_s`."""
        connection = self._connection
        return connection.round_trip_s if connection is not None else None

    def give_up(self) -> HttpConnection | None:
        """Return the open connection, which is the lane's no more; None when there is none."""
        connection, self._connection = self._connection, None
        if connection is None:
            return None
        connection.finish()
        return connection if connection.is_open else None

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        """Ask for the leaves `[first, stop)`; see `Lane.begin`."""

        def ask(connection: HttpConnection, headers: Mapping[str, str]) -> RunReader:
            run = RunReader(connection, self._source.source_id, file, first, skip_bytes)
            run.open(f"{self._source.path}{file.root}", headers, stop)
            return run

        self._run = self._with_ticket(ask)

    def begin_batch(self, files: Sequence[FileOfTransfer]) -> None:
        """Ask for the only leaf of each file; see `BatchLane.begin_batch`."""

        def ask(connection: HttpConnection, headers: Mapping[str, str]) -> BatchReader:
            run = BatchReader(connection, self._source.source_id, files)
            run.open(headers)
            return run

        self._run = self._with_ticket(ask)

    def read_leaf(self, view: memoryview) -> None:
        assert self._run is not None
        self._run.read_leaf(view)

    def end(self) -> None:
        if self._connection is not None:
            self._connection.finish()

    def abort(self) -> None:
        # The connection stays: only the thread that uses it may close it.
        self._aborts += 1
        if (connection := self._connection) is not None:
            connection.abort()

    def fetch_block(self, cid: Cid) -> bytes | None:
        """Return the unverified bytes of one block, or None when the peer lacks it."""

        def ask(connection: HttpConnection, headers: Mapping[str, str]) -> bytes | None:
            response = connection.request(f"/ipfs/{cid}?format=raw", headers)
            if response.status == 200:
                return connection.read_all(MAX_BLOCK_BYTES)
            if response.status == 404:
                return None
            raise refusal(response, self._source.source_id)

        return self._with_ticket(ask)

    def post(self, path: str, body: bytes, limit_bytes: int) -> bytes:
        """Return the answer to a small request, read whole."""

        def ask(connection: HttpConnection, headers: Mapping[str, str]) -> bytes:
            response = connection.request(path, headers, method="POST", body=body)
            if response.status == 200:
                return connection.read_all(limit_bytes)
            raise SourceRefused(
                f"the peer answered {response.status}",
                source_id=self._source.source_id,
                status=response.status,
            )

        return self._with_ticket(ask)

    def _with_ticket(self, ask: Callable[[HttpConnection, Mapping[str, str]], T]) -> T:
        """Ask over the connection; once more with a new ticket when this one does not do."""
        ticket = self._source.ticket
        try:
            return ask(self._connect(ticket), _headers(ticket))
        except WrongCertificate as exc:
            # The peer may have come back elsewhere, and another node listens where it was.
            self._source.renew(ticket, exc)
        except SourceRefused as exc:
            if exc.status != 401:
                raise
            self._source.renew(ticket, exc)
        ticket = self._source.ticket
        return ask(self._connect(ticket), _headers(ticket))

    def _connect(self, ticket: Ticket) -> HttpConnection:
        """Return the open connection, or one to the first host that answers."""
        source, aborts = self._source, self._aborts
        if self._connection is not None and self._connection.is_open:
            return self._connection
        if (spare := source.take_spare(ticket)) is not None:
            spare.pace = self._pace
            self._connection = spare
            if self._aborts != aborts:
                raise SourceGone("broken off", source_id=source.source_id)
            return spare
        failure: SourceError = SourceGone("gave no address", source_id=source.source_id)
        for host in source.hosts():
            endpoint = Endpoint(ticket.scheme, host, ticket.port, pin=ticket.cert_sha256)
            connection = HttpConnection(endpoint, source.source_id, read_timeout_s=READ_TIMEOUT_S)
            connection.pace = self._pace
            self._connection = connection
            if self._aborts != aborts:
                raise SourceGone("broken off", source_id=source.source_id)
            try:
                connection.connect()
                if not (endpoint.pin or source.is_known(host)):
                    connection.request(PROBE, _headers(ticket), method="HEAD")  # is it the peer?
            except SourceError as exc:
                failure = exc
                continue
            source.prefer(host, connection.round_trip_s)
            return connection
        raise failure


def _headers(ticket: Ticket) -> dict[str, str]:
    return {"Authorization": f"Bearer {ticket.bearer}", "Accept-Encoding": "identity"}
