"""What a transfer needs of a source: lanes that bring leaves, and single blocks.

Every source is blocking and used from threads: sockets, hashing and writing release the
interpreter lock, an event loop in the data path costs a third of the speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.content.walk import FileMap


DIRECT_BYTES = 64 * 1024  # leaves of this size or more are received straight into their place


class FileOfTransfer(Protocol):
    """The file that a run of leaves belongs to."""

    @property
    def path(self) -> str: ...
    @property
    def root(self) -> Cid: ...
    @property
    def map(self) -> FileMap: ...


class Lane(Protocol):
    """One connection's worth of work; used by one thread, but `abort` may come from any."""

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        """Ask for the leaves `[first, stop)` of `file`.

        Args:
            skip_bytes: So much of the first leaf is here already, less than all of it: the view
                of the first `read_leaf` is for the rest.

        Raises:
            SourceError: With its blame and whether a retry may help.
        """

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` with the file bytes of the next leaf of the run, unverified.

        Raises:
            SourceError: The source stalled, left or sent less.
        """

    @property
    def received_bytes(self) -> int:
        """A number that changes while bytes arrive: the sign of life of a slow line.

        While a leaf of `DIRECT_BYTES` or more is read, it grows by no more than lies in the view.
        """

    def end(self) -> None:
        """The caller wants no more of this run: keep the connection if that is cheap."""

    def abort(self) -> None:
        """Break whatever is going on, at once; the lane may be used again."""


class Source(Protocol):
    """Whoever yields the leaves of a transfer's files."""

    @property
    def source_id(self) -> str:
        """`<kind>:<id>`, the name users see."""

    @property
    def max_lanes(self) -> int: ...

    @property
    def max_batch(self) -> int:
        """How many small files a lane takes in one request; 0 when its lanes are no `BatchLane`."""

    def open_lane(self) -> Lane: ...


class Pace(Protocol):
    """How fast bytes may be received; shared by lanes, used from their threads."""

    @property
    def piece_bytes(self) -> int:
        """How many bytes to receive at most between two waits."""

    def wait(self, size_bytes: int, is_broken_off: Callable[[], bool]) -> None:
        """Wait as long as `size_bytes` that have arrived are worth, or until it is broken off."""


@runtime_checkable
class PacedLane(Protocol):
    """A lane that receives over a network, and can be told how fast."""

    def set_pace(self, pace: Pace) -> None:
        """Receive no faster than this from now on; called before the first run."""


@runtime_checkable
class TimedLane(Protocol):
    """A lane over a network that knows how far away its other end is."""

    @property
    def round_trip_s(self) -> float | None:
        """The shortest round trip of its connection, None where that is not known."""


@runtime_checkable
class FarOrNear(Protocol):
    """A source on the LAN or anywhere, which may know where before the first lane has asked."""

    @property
    def near_lanes(self) -> int:
        """At most so many lanes as long as it is not known to be far."""

    @property
    def round_trip_s(self) -> float | None:
        """The shortest round trip of its connections, None where that is not known."""


class BatchLane(Lane, Protocol):
    """A lane that can bring small files of one leaf each, many in one request."""

    def begin_batch(self, files: Sequence[FileOfTransfer]) -> None:
        """Ask for the only leaf of each file, in this order; read them with `read_leaf`.

        Raises:
            SourceError: As `begin`.
        """


class SequentialSource(Protocol):
    """A source that may find out that its server ignores ranges."""

    @property
    def is_sequential(self) -> bool: ...


class WholeFileSource(Protocol):
    """A source that has a file wholly or not at all: one 404 speaks for every leaf of the file."""

    @property
    def has_whole_files(self) -> bool: ...


class BlockSource(Protocol):
    """Whoever yields single blocks by CID: inner nodes, folders."""

    @property
    def source_id(self) -> str: ...

    def fetch_blocks(self, cids: Sequence[Cid]) -> list[bytes | None]:
        """Return the unverified bytes of each block, None where this source lacks it.

        Raises:
            SourceError: The source itself failed, or `abort_fetches` was called.
        """

    def abort_fetches(self) -> None:
        """Break off every `fetch_blocks` that is going on; comes from any thread."""
