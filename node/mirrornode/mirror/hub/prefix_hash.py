"""The hash of a whole file, computed while the file is still arriving.

A thread follows the part file from its start as far as there are no gaps. So the last byte of a
file of any size is checked a moment after it came, and nobody waits for a second pass.
"""

from __future__ import annotations

import hashlib
import os
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from mirrornode.buffers import page_aligned
from mirrornode.content.leaf_form import leaf_multihash
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import MirrorError, StoreError
from mirrornode.wire.hub import new_git_blob_sha1

PIECE_BYTES = UNIXFS_V1_2025.chunk_bytes
LOOK_AGAIN_S = 0.02


@dataclass(slots=True)
class WholeDigests:
    """What was found of a file: its hash as the Hub names it, and its leaves.

    `multihashes` and `lengths` are those of the default recipe; empty when nobody asked for them.
    """

    etag: str
    multihashes: list[bytes] = field(default_factory=list)
    lengths: array[int] = field(default_factory=lambda: array("Q"))


class PrefixHash:
    """Follows one file; `finish` gives the digests once all of it is there."""

    def __init__(
        self,
        open_part: Callable[[], int],
        size_bytes: int,
        arrived_until: Callable[[int], int],
        *,
        is_lfs: bool,
        with_leaves: bool,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            open_part: Returns a descriptor of its own to read the part from; called in the thread.
            arrived_until: Given an offset, the end of what has arrived without gap from there on.
            is_lfs: The Hub names the file by its SHA-256; else by the SHA-1 of its git blob.
            with_leaves: Hash the leaves of the default recipe as well.
        """
        self._open_part = open_part
        self._size_bytes = size_bytes
        self._arrived_until = arrived_until
        self._with_leaves = with_leaves
        self._whole = hashlib.sha256() if is_lfs else new_git_blob_sha1(size_bytes)
        self._digests = WholeDigests("")
        self._failure: MirrorError | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prefix-hash", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether `finish` would have to wait."""
        return self._thread.is_alive()

    def finish(self) -> WholeDigests:
        """Wait for the end of the file and return its digests; all of it must have arrived.

        Raises:
            StoreError: The part cannot be read, or `stop` was called.
        """
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        if not self._digests.etag:
            raise StoreError("stopped before the file was hashed")
        return self._digests

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            descriptor = self._open_part()
            try:
                if self._follow(descriptor):
                    self._digests.etag = self._whole.hexdigest()
            finally:
                os.close(descriptor)
        except MirrorError as exc:
            self._failure = exc
        except OSError as exc:
            self._failure = StoreError(f"cannot read what was fetched: {exc.strerror or exc}")

    def _follow(self, descriptor: int) -> bool:
        buffer = page_aligned(PIECE_BYTES)
        position = 0
        while position < self._size_bytes:
            wanted = min(PIECE_BYTES, self._size_bytes - position)
            while self._arrived_until(position) < position + wanted:
                if self._stopped.wait(LOOK_AGAIN_S):
                    return False
            view = buffer[:wanted]
            if os.preadv(descriptor, [view], position) != wanted:
                raise StoreError("what was fetched is shorter than it was")
            self._whole.update(view)
            if self._with_leaves:
                form, code = UNIXFS_V1_2025.leaf_form, UNIXFS_V1_2025.leaf_hash_code(wanted)
                self._digests.multihashes.append(leaf_multihash(form, code, view))
                self._digests.lengths.append(wanted)
            position += wanted
        return not self._stopped.is_set() or position == self._size_bytes
