"""What unfinished peers have of a transfer: their have-maps, and when to look at them again. Pure.

Driven by: `mirror.source_feed`. A look costs both sides about half a millisecond, so it is quick
while it brings something and rare when it does not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from mirrornode.wire.ticket import MAX_ROOTS

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.transfer.manifest import Manifest, ManifestFile
    from mirrornode.wire.ranges import Run
    from mirrornode.wire.ticket import Holding

LOOK_FIRST_S: Final = 0.25
LOOK_MAX_S: Final = 2.0
LOOK_GROWTH: Final = 1.5
LOOKS_PER_S: Final = 64  # at all peers together: some 5 % of a core
RUNS_PER_S: Final = 8192  # of one peer: a long have-map is asked for less often


def next_look_s(last_s: float, *, grew: bool, has_more: bool, runs: int, peers: int) -> float:
    """Return the seconds until the next look at a peer.

    Args:
        last_s: What it was before.
        grew: The last look brought something new.
        has_more: It could not ask about all files at once.
        runs: How long its answer was.
        peers: How many peers are looked at.
    """
    wait_s = LOOK_FIRST_S if grew else min(LOOK_MAX_S, max(last_s, LOOK_FIRST_S) * LOOK_GROWTH)
    if grew and has_more:
        wait_s = 0.0
    return max(wait_s, peers / LOOKS_PER_S, runs / RUNS_PER_S)


class HaveMap:
    """Which leaves of a manifest one peer has."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._bits = bytearray(manifest.leaves)
        self.is_whole = False

    @property
    def available(self) -> bytearray | None:
        """One byte a leaf, a copy; None when the peer has them all."""
        return None if self.is_whole else bytearray(self._bits)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known to be there."""
        return not self.is_whole and 1 not in self._bits

    def lacks_of(self, file: ManifestFile) -> bool:
        """Tell whether any leaf of a file is not known to be there."""
        return self._bits.find(0, file.first_leaf, file.stop_leaf) >= 0

    def take(
        self,
        asked: Sequence[Cid],
        holdings: Sequence[Holding],
        files: dict[bytes, list[ManifestFile]],
    ) -> bool:
        """Take over what the peer says of the asked roots; return whether that is any news.

        Args:
            files: The manifest's files by the multihash of their root.
        """
        before = bytes(self._bits)
        by_root: dict[bytes, Holding] = {}
        for holding in holdings:
            by_root[holding.asked.multihash] = holding
            by_root[holding.root.multihash] = holding
        target = by_root.get(self._manifest.target.multihash)
        if target is not None and target.is_complete and target.runs is None:
            self.is_whole = True
            return True
        for multihash in {*by_root, *(cid.multihash for cid in asked)}:
            known = by_root.get(multihash)
            for file in files.get(multihash, ()):
                self._bits[file.first_leaf : file.stop_leaf] = _leaves_of(file, known)
        return before != self._bits


def files_by_root(manifest: Manifest) -> dict[bytes, list[ManifestFile]]:
    """Return the files of a manifest by the multihash of their root; several may be one file."""
    files: dict[bytes, list[ManifestFile]] = {}
    for file in manifest.files:
        files.setdefault(file.root.multihash, []).append(file)
    return files


class WantedFiles:
    """The files that a transfer still lacks leaves of, the biggest first."""

    def __init__(self, manifest: Manifest, is_complete: Callable[[int], bool]) -> None:
        """Begin with all files that have leaves; `is_complete` tells by index, and for ever."""
        sizes = [file.map.size_bytes for file in manifest.files]
        with_leaves = [index for index, file in enumerate(manifest.files) if file.map.leaves]
        self._left = sorted(with_leaves, key=lambda index: sizes[index])
        self._manifest = manifest
        self._is_complete = is_complete

    def roots(self, have: HaveMap, limit: int = MAX_ROOTS) -> list[Cid]:
        """Return what to ask a peer about: what is missing here and not known to be there."""
        manifest = self._manifest
        while self._left and self._is_complete(self._left[-1]):
            self._left.pop()
        roots = {} if manifest.is_single_file else {manifest.target: None}
        for index in reversed(self._left):
            file = manifest.files[index]
            if len(roots) >= limit:
                break
            if have.lacks_of(file) and not self._is_complete(index):
                roots[file.root] = None
        return list(roots)


def _leaves_of(file: ManifestFile, holding: Holding | None) -> bytearray:
    """Return one byte for each leaf of a file, 1 where a holding covers it."""
    leaves = file.map.leaves
    if holding is None or (holding.runs is None and not holding.is_complete):
        return bytearray(leaves)
    if holding.runs is None:
        return bytearray(b"\x01") * leaves
    bits = bytearray(leaves)
    for run in holding.runs:
        first, stop = _leaves_in(file, run)
        bits[first:stop] = b"\x01" * (stop - first)
    return bits


def _leaves_in(file: ManifestFile, run: Run) -> tuple[int, int]:
    """Return the leaves `[first, stop)` that lie in a run from end to end."""
    starts, lengths = file.map.starts, file.map.lengths
    first = bisect_left(starts, run[0])
    stop = bisect_right(starts, run[1])
    while stop > first and starts[stop - 1] + lengths[stop - 1] > run[1]:
        stop -= 1
    return first, max(first, stop)
