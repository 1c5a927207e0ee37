"""One file of a repo, read from the Hub by ranges: a `Source` for transfers.

Large files come after a redirect to a signed URL on another host, which gets no token; the URL is
remembered and renewed when it expires. Files that the Hub keeps in Xet come through the same plain
route. The bytes are not verified here. Connections outlive a run, so that a thousand small files
do not cost a thousand handshakes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mirrornode.sources.run_reader import RunReader
from mirrornode.sources.web import WEB_HEADERS, Moved, WebConnection, split_url

if TYPE_CHECKING:
    import http.client

    from mirrornode.sources.idle import Idle
    from mirrornode.sources.ports import FileOfTransfer, Pace

LANES = 16  # a CDN limits a connection, not a client


class HubFileSource:
    """One file at one commit; its signed URLs and whoever's token it has stay its own.

    Attributes:
        was_refused: The origin itself, not a place it led to, answered 401 or 403.
    """

    def __init__(
        self, source_id: str, url: str, private: Mapping[str, str], idle: Idle[WebConnection]
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            url: The file's resolve route, quoted, without a login.
            private: Headers for the host of `url` alone.
            idle: Connections shared with the other files of the origin.
        """
        self.source_id = source_id
        self.url = url
        self.max_lanes = LANES
        self.max_batch = 0
        self.is_sequential = False
        self.was_refused = False
        self.moved = Moved()
        self._private = private
        self._idle = idle

    def open_lane(self) -> HubFileLane:
        """Return a lane; it connects at its first run."""
        return HubFileLane(self)

    def borrow(self) -> WebConnection:
        """Return a connection, one that goes where the file is if there is such."""
        place = split_url(self.moved.place(self.url))[0]

        def fits(connection: WebConnection) -> bool:
            return connection.endpoint == place

        connection = self._idle.take(fits)
        if connection is None:
            return WebConnection(self.source_id, self.moved)
        connection.moved = self.moved
        return connection

    def give_back(self, connection: WebConnection) -> None:
        """Let another run have a connection; its response was finished."""
        connection.moved = Moved()
        self._idle.give(connection)

    def ask(
        self, connection: WebConnection, url: str, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send a GET with what only the origin may see."""
        response = connection.request(url, headers, private=self._private)
        if response.status in (401, 403) and connection.led_to is None:
            self.was_refused = True
        return response


class HubFileLane:
    """Runs of one file, each over a connection borrowed for its length."""

    def __init__(self, source: HubFileSource) -> None:
        self._source = source
        self._lock = threading.Lock()  # `abort` must not hit a connection that was given back
        self._connection: WebConnection | None = None
        self._run: RunReader | None = None
        self._received_bytes = 0
        self._pace: Pace | None = None

    @property
    def received_bytes(self) -> int:
        """See `Lane.received_bytes`."""
        if (connection := self._connection) is not None:
            self._received_bytes = connection.received_bytes
        return self._received_bytes

    @property
    def round_trip_s(self) -> float | None:
        """See `TimedLane.round_trip_s`."""
        connection = self._connection
        return connection.round_trip_s if connection is not None else None

    def set_pace(self, pace: Pace) -> None:
        """See `PacedLane.set_pace`."""
        self._pace = pace

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        """Ask for the leaves `[first, stop)`; see `Lane.begin`.

        Raises:
            SourceError: A 429 carries the seconds that the server wants to be left alone.
        """
        source = self._source
        with self._lock:
            if self._connection is None:
                self._connection = source.borrow()
            connection = self._connection
        if self._pace is not None:
            connection.set_pace(self._pace)
        self._run = RunReader(_Asked(source, connection), source.source_id, file, first, skip_bytes)
        self._run.open(source.url, WEB_HEADERS, stop)
        if self._run.is_whole and file.map.leaves > 1:
            source.is_sequential = True

    def read_leaf(self, view: memoryview) -> None:
        assert self._run is not None
        self._run.read_leaf(view)

    def end(self) -> None:
        """See `Lane.end`; the connection goes back to those that wait."""
        if (connection := self._connection) is None:
            return
        connection.finish()
        with self._lock:
            self._connection = None
        self._source.give_back(connection)

    def abort(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.abort()


class _Asked:
    """The connection as a run reads it: its requests show the source's token."""

    def __init__(self, source: HubFileSource, connection: WebConnection) -> None:
        self._source = source
        self._connection = connection
        self.read_into = connection.read_into

    def request(self, url: str, headers: Mapping[str, str], /) -> http.client.HTTPResponse:
        return self._source.ask(self._connection, url, headers)
