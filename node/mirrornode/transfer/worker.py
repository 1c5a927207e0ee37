"""A lane's thread: receive a leaf, hash it, write it, report it; nothing else.

One reused buffer a thread; recv_into, hashing and pwrite release the interpreter lock. A leaf that
does not match its hash ends the source for this transfer: no honest server sends wrong bytes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mirrornode.buffers import page_aligned
from mirrornode.content.block import MAX_BLOCK_BYTES
from mirrornode.content.leaf_form import leaf_multihash
from mirrornode.errors import (
    Blame,
    CidMismatch,
    ContentError,
    MirrorError,
    OriginChanged,
    SourceError,
    SourceRefused,
    StoreError,
)
from mirrornode.sources.asking_chain import LOOP_STATUS
from mirrornode.sources.ports import DIRECT_BYTES, PacedLane, TimedLane

if TYPE_CHECKING:
    from mirrornode.sources.ports import BatchLane, Lane, Pace, Source
    from mirrornode.transfer.board import Board
    from mirrornode.transfer.manifest import Manifest
    from mirrornode.transfer.outputs import OutputFile
    from mirrornode.transfer.run import Run

log = logging.getLogger(__name__)

WRONG_BYTES = "sent wrong bytes"
LACKING_STATUSES = frozenset({404, 410, 416})
PASSING_STATUSES = frozenset({0, 408, 425, 429})  # 0: no answer of the source's own, see the error


class _WrongBeginning(Exception):
    """What an earlier run left of a leaf does not fit to the rest of it."""


@dataclass(slots=True)
class Arriving:
    """A leaf that a lane is receiving: into `view`, which belongs at `offset` of the output.

    Attributes:
        began_at_bytes: The lane's `received_bytes` when the first byte of it was awaited.
        kept: How many bytes of `view` were saved.
    """

    output: OutputFile
    leaf: int
    offset: int
    view: memoryview
    began_at_bytes: int
    kept: int = 0


class LaneWorker(threading.Thread):
    """Runs one lane of one source until the board has no more work for it."""

    def __init__(
        self,
        source: Source,
        board: Board,
        manifest: Manifest,
        outputs: Sequence[OutputFile],
        on_local_failure: Callable[[MirrorError], None],
        pace: Pace | None = None,
    ) -> None:
        """Prepare the thread.

        Args:
            on_local_failure: Called once when this machine's disk fails; ends the transfer.
            pace: How fast to receive, where the source is not this machine; None = no limit.
        """
        super().__init__(name=f"lane-{source.source_id[:24]}", daemon=True)
        self._source = source
        self._board = board
        self._manifest = manifest
        self._outputs = outputs
        self._on_local_failure = on_local_failure
        self._lane: Lane = source.open_lane()
        if pace is not None and isinstance(self._lane, PacedLane):
            self._lane.set_pace(pace)
        self._timed = self._lane if isinstance(self._lane, TimedLane) else None
        self._buffer = memoryview(bytearray(0))
        self.arriving: Arriving | None = None

    @property
    def received_bytes(self) -> int:
        """A number that changes while bytes arrive; see `Lane.received_bytes`."""
        return self._lane.received_bytes

    def abort(self) -> None:
        """Break off whatever the lane waits for; the thread ends at its next step."""
        self._lane.abort()

    def run(self) -> None:
        """Work until there is none. Reports failures to the board instead of raising."""
        source_id = self._source.source_id
        try:
            while (run := self._board.take(source_id, self)) is not None:
                self._work(run)
        except Exception as exc:
            # A task boundary: a bug in a lane must end the transfer with a message, not hang it.
            log.exception("lane failed source=%s", source_id)
            self._on_local_failure(StoreError(f"internal error in a lane: {exc!r}"))
        finally:
            self._lane.abort()

    def _work(self, run: Run) -> None:
        board = self._board
        source_id = self._source.source_id
        try:
            self._fetch(run)
        except _WrongBeginning:
            # Nobody's fault but the crash's: once more, whole.
            self._lane.abort()
            board.end(run)
        except ContentError as exc:
            log.warning("source banned source=%s reason=%s", source_id, exc)
            self._lane.abort()
            board.ban(source_id, WRONG_BYTES)
            board.end(run)
        except SourceRefused as exc:
            self._lane.abort()
            if exc.status in LACKING_STATUSES:
                is_whole = getattr(self._source, "has_whole_files", False)
                board.lacks(run, str(exc), whole_file=is_whole)
                board.end(run)
            elif _may_pass(exc):
                board.end(run, failure=str(exc), retry_after_s=exc.retry_after_s)
            else:
                board.ban(source_id, str(exc))
                board.end(run)
        except SourceError as exc:
            self._lane.abort()
            if exc.transient:
                board.end(run, failure=str(exc))
            elif isinstance(exc, OriginChanged) and len(self._manifest.files) > 1:
                # One file of a folder is another there; the rest may well be right.
                is_whole = getattr(self._source, "has_whole_files", False)
                board.lacks(run, str(exc), whole_file=is_whole)
                board.end(run)
            else:
                board.ban(source_id, str(exc))
                board.end(run)
        except MirrorError as exc:
            self._lane.abort()
            if exc.blame is Blame.SOURCE:
                board.end(run, failure=str(exc))
                return
            board.end(run)
            self._on_local_failure(exc)
        else:
            board.end(run)

    def _fetch(self, run: Run) -> None:
        index, _ = self._manifest.locate(run.pos)
        if run.stop > self._manifest.files[index].stop_leaf:
            self._fetch_batch(run)
            return
        while self._fetch_stretch(run, index):
            pass

    def _fetch_stretch(self, run: Run, index: int) -> bool:
        """Bring leaves with one request; return whether the run wants another one.

        A request ends before a leaf of which an earlier run has left the beginning.
        """
        file, output = self._manifest.files[index], self._outputs[index]
        number = run.pos - file.first_leaf
        stop = output.stretch_stop(number, run.stop - file.first_leaf)
        begun = output.begun.get(number, 0)
        self._lane.begin(file, number, stop, begun)
        self._board.answered(run, self._round_trip_s())
        is_sequential = getattr(self._source, "is_sequential", False)
        if is_sequential and not self._board.set_sequential(run):
            self._lane.abort()
            return False
        goes_on = self._bring_leaf(run, index, begun)
        while (goes_on and (is_sequential or run.pos < file.first_leaf + stop)) or (
            is_sequential and self._board.extend(run)
        ):
            goes_on = self._bring_leaf(run, index)
        self._lane.end()
        return goes_on

    def _fetch_batch(self, run: Run) -> None:
        """Bring small files, each of one leaf, with one request."""
        # Only sources with batches are given runs across files, and their lanes take them.
        lane = cast("BatchLane", self._lane)
        indexes = [self._manifest.locate(leaf)[0] for leaf in range(run.pos, run.stop)]
        lane.begin_batch([self._manifest.files[index] for index in indexes])
        self._board.answered(run, self._round_trip_s())
        for index in indexes:
            if not self._bring_leaf(run, index):
                break
        lane.end()

    def _bring_leaf(self, run: Run, index: int, begun: int = 0) -> bool:
        """Receive, verify, write and report the next leaf; return whether the run goes on.

        Args:
            begun: How much of the leaf an earlier run has left in the output.
        """
        file = self._manifest.files[index]
        file_map = file.map
        output = self._outputs[index]
        number = run.pos - file.first_leaf
        start = file_map.starts[number]
        view = self._view(file_map.lengths[number])
        rest = view[begun:]
        if len(rest) >= DIRECT_BYTES:
            self.arriving = Arriving(output, number, start + begun, rest, self._lane.received_bytes)
        try:
            self._lane.read_leaf(rest)
        finally:
            self.arriving = None
        if begun:
            output.read_into(view[:begun], start)
        # Where only the hash of the whole is known, the session's `check_whole` decides.
        if expected := file_map.multihashes[number]:
            found = leaf_multihash(file_map.leaf_form, file_map.hash_code, view)
            if found != expected:
                if begun:
                    output.begun.pop(number, None)
                    raise _WrongBeginning
                raise CidMismatch(file_map.leaf_cid(number), f"sent by {self._source.source_id}")
        output.write(view, start)
        return self._board.arrived(run)

    def _round_trip_s(self) -> float | None:
        return self._timed.round_trip_s if self._timed is not None else None

    def _view(self, length: int) -> memoryview:
        if length > len(self._buffer):
            # Leaves are at most MAX_BLOCK_BYTES (the walk refuses larger ones).
            assert length <= MAX_BLOCK_BYTES
            self._buffer = page_aligned(max(length, 1 << 20))
        return self._buffer[:length]


def _may_pass(refusal: SourceRefused) -> bool:
    """Tell whether a source that said no may say yes later: overload, and whoever says when."""
    status = refusal.status
    if status == LOOP_STATUS:
        return False
    return status in PASSING_STATUSES or status >= 500 or refusal.retry_after_s is not None
