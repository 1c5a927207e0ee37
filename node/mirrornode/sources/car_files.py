"""CAR files as sources: an index of where each block lies, blocks by CID, and lanes of leaves.

Only the heads of sections are read to make the index; it takes some 200 bytes a block. A lane
reads leaves out of one file like those of any source: the transfer verifies them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.block import Block
from mirrornode.content.car_reader import CarHeader, iter_sections, read_car_header
from mirrornode.content.leaf_form import leaf_block_size, leaf_prefix
from mirrornode.errors import (
    CidMismatch,
    ContentError,
    FileChanged,
    LimitExceeded,
    MalformedCar,
    PathRefused,
    SourceGone,
    SourceRefused,
    TargetError,
)
from mirrornode.events import AddProgress, Event
from mirrornode.store.stamps import open_regular

if TYPE_CHECKING:
    from types import TracebackType

    from mirrornode.content.cid import Cid
    from mirrornode.content.file_map import FileMap
    from mirrornode.sources.ports import FileOfTransfer

MAX_BLOCKS = 1 << 22  # as many leaves as a walk accepts
LANES = 2  # one for each core that can hash; more would only seek
TELL_EVERY_BLOCKS = 1024


class CarFile:
    """One open CAR with its index; a context manager that closes it.

    Attributes:
        header: What it says of itself.
        size_bytes: Of the whole file.
    """

    def __init__(self, path: Path) -> None:
        """Open a CAR and read its header.

        Raises:
            TargetError: There is no such file.
            ContentError: It is no CAR; the message names the file.
            PathRefused: The operating system denies access.
        """
        self.path = path
        self.source_id = f"car:{path}"
        self.max_lanes = LANES
        self.max_batch = 0
        self._places: dict[bytes, int] = {}
        try:
            self._descriptor = open_regular(path)
        except FileChanged as exc:
            raise TargetError(f"{path} is no file") from exc
        try:
            self.size_bytes = os.fstat(self._descriptor).st_size
            self.header: CarHeader = read_car_header(self)
        except ContentError as exc:
            self.close()
            raise type(exc)(f"{path}: {exc}") from exc
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CarFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; lanes have descriptors of their own."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        """See `ByteSource.read_at`."""
        try:
            return os.pread(self._descriptor, size_bytes, offset)
        except OSError as exc:
            raise PathRefused(self.path, "read", os.strerror(exc.errno or 0)) from exc

    def index(self, tell: Callable[[Event], None]) -> None:
        """Note where every block lies; the first of equal ones counts.

        Args:
            tell: Told now and then that nothing is imported yet; what it raises ends the reading.

        Raises:
            ContentError: The file is damaged between its blocks, cut off, or has too many.
        """
        places = self._places
        try:
            for section in iter_sections(self, self.header):
                key = section.cid.multihash
                if key not in places:
                    places[key] = section.offset << 24 | section.size_bytes
                    if len(places) > MAX_BLOCKS:
                        raise LimitExceeded(f"more than {MAX_BLOCKS:,} blocks")
                    if not len(places) % TELL_EVERY_BLOCKS:
                        tell(AddProgress(0, self.size_bytes, str(self.path)))
        except ContentError as exc:
            raise MalformedCar(f"{self.path}: {exc}") from exc

    @property
    def blocks(self) -> int:
        """How many different blocks are inside."""
        return len(self._places)

    def place(self, multihash: bytes) -> tuple[int, int] | None:
        """Return offset and size of a block."""
        found = self._places.get(multihash)
        return None if found is None else (found >> 24, found & 0xFFFFFF)

    def read_block(self, cid: Cid) -> Block | None:
        """Return a verified block, None when it is not inside.

        Raises:
            CidMismatch: It is damaged; the message names the file.
            ContentError: It is of a kind that cannot be verified.
        """
        place = self.place(cid.multihash)
        if place is None:
            return None
        try:
            return Block.verify(cid, self.read_at(*place))
        except CidMismatch as exc:
            raise damaged(cid, self.path) from exc

    def available(self, file_map: FileMap) -> bytearray:
        """Return one byte a leaf of a file, 1 where its block is inside and of the right size."""
        sizes = {
            length: leaf_block_size(file_map.leaf_form, length) for length in set(file_map.lengths)
        }
        found = bytearray(file_map.leaves)
        for leaf, (multihash, length) in enumerate(
            zip(file_map.multihashes, file_map.lengths, strict=True)
        ):
            place = self._places.get(multihash)
            found[leaf] = place is not None and place & 0xFFFFFF == sizes[length]
        return found

    def open_lane(self) -> CarLane:
        """See `Source.open_lane`."""
        return CarLane(self)

    def duplicate(self) -> int:
        """Return a descriptor of the caller's own."""
        try:
            return os.dup(self._descriptor)
        except OSError as exc:
            raise SourceGone("the CAR was closed", source_id=self.source_id) from exc


class CarLane:
    """Reads leaves out of one CAR."""

    def __init__(self, car: CarFile) -> None:
        self._car = car
        self._file: FileOfTransfer | None = None
        self._next = 0
        self._skip_bytes = 0
        self._descriptor: int | None = None
        self._lock = threading.Lock()  # `abort` must not close the file under its reader

    @property
    def received_bytes(self) -> int:
        """See `Lane.received_bytes`; a disk brings whole leaves."""
        return 0

    def begin(self, file: FileOfTransfer, first: int, stop: int, skip_bytes: int = 0) -> None:
        """Note the run; `stop` is only advice here."""
        self._file, self._next, self._skip_bytes = file, first, skip_bytes

    def read_leaf(self, view: memoryview) -> None:
        """Fill `view` from the block of the leaf."""
        assert self._file is not None
        file_map = self._file.map
        place = self._car.place(file_map.multihashes[self._next])
        self._next += 1
        skip_bytes, self._skip_bytes = self._skip_bytes, 0
        length = skip_bytes + len(view)
        if place is None or place[1] != leaf_block_size(file_map.leaf_form, length):
            raise SourceRefused("not in this CAR", source_id=self._car.source_id, status=410)
        start = place[0] + len(leaf_prefix(file_map.leaf_form, length)) + skip_bytes
        with self._lock:
            self._fill(view, start)

    def end(self) -> None:
        """Keep the file open for the next run."""

    def abort(self) -> None:
        """Close the file; waits for a read that is going on."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)

    def _fill(self, view: memoryview, start: int) -> None:
        if self._descriptor is None:
            self._descriptor = self._car.duplicate()
        filled = 0
        while filled < len(view):
            try:
                count = os.preadv(self._descriptor, [view[filled:]], start + filled)
            except OSError as exc:
                raise SourceGone(str(exc), source_id=self._car.source_id) from exc
            if not count:
                raise SourceGone("the CAR became shorter", source_id=self._car.source_id)
            filled += count


def damaged(what: object, *paths: Path) -> CidMismatch:
    """Return the error that says which CAR is damaged."""
    names = ", ".join(map(str, paths))
    return CidMismatch(what, f"{names} is damaged; copy it again from where it was exported")


def find_block(cars: Sequence[CarFile], cid: Cid) -> Block | None:
    """Return a verified block from the first CAR that has it."""
    for car in cars:
        if (block := car.read_block(cid)) is not None:
            return block
    return None
