"""Any HTTP server that holds whole files: a mirror site, nginx, an object store.

The bytes are checked against the Merkle tree leaf by leaf, so neither ETag nor date matters here;
a wrong size ends the source at once. Servers that ignore `Range` are read in order instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from mirrornode.errors import SourceRefused
from mirrornode.sources.run_reader import RunReader
from mirrornode.sources.web import WEB_HEADERS, Moved, WebConnection, public_url, split_url

if TYPE_CHECKING:
    from mirrornode.sources.ports import FileOfTransfer, Pace

LANES = 16  # far servers limit a connection, not a client; the plan tries how many help
LINK_STATUSES = frozenset({400, 401, 403})  # of a signed link: it has expired, or never was good


class HttpFileSource:
    """One file under `url`, or a tree of files below it when `url` ends with a slash."""

    def __init__(self, url: str) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            TargetError: Not an http or https URL.
        """
        split_url(url)
        self.url = url
        self.source_id = f"http:{public_url(url)}"
        self.max_lanes = LANES
        self.max_batch = 0
        self.is_sequential = False
        self.has_whole_files = True
        self.moved = Moved()

    def open_lane(self) -> HttpFileLane:
        """Return a lane; it connects at its first run."""
        return HttpFileLane(self)

    def url_of(self, path: str) -> str:
        """Return the URL of a file of the transfer."""
        return self.url + quote(path) if self.url.endswith("/") else self.url


class HttpFileLane:
    """One connection to a file server."""

    def __init__(self, source: HttpFileSource) -> None:
        self._source = source
        self._connection = WebConnection(source.source_id, source.moved)
        self._run: RunReader | None = None

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
        self._run = RunReader(self._connection, self._source.source_id, file, first, skip_bytes)
        try:
            self._run.open(self._source.url_of(file.path), WEB_HEADERS, stop)
        except SourceRefused as exc:
            if exc.status not in LINK_STATUSES or (place := self._connection.led_to) is None:
                raise
            # Not the server we were told to use said no, but where it sent us: with a new link a
            # moment ago, so asking at once again would go round in circles. It may get better.
            raise SourceRefused(
                f"leads to {place}, which {exc} to a new link too",
                source_id=self._source.source_id,
            ) from exc
        if self._run.is_whole and file.map.leaves > 1:
            self._source.is_sequential = True

    def read_leaf(self, view: memoryview) -> None:
        assert self._run is not None
        self._run.read_leaf(view)

    def end(self) -> None:
        self._connection.finish()

    def abort(self) -> None:
        self._connection.abort()
