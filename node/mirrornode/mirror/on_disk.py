"""What of a target is on this disk already: finished files, parts of an earlier run, equal blocks
in other files. All of it is used before the network is asked, none of it unverified.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.sources.local import LocalSource
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.session import Offer

if TYPE_CHECKING:
    from mirrornode.content.walk import TreeEntry
    from mirrornode.store.catalog import Catalog
    from mirrornode.transfer.manifest import Manifest
    from mirrornode.transfer.outputs import OutputFile

LEAVES_A_LOOKUP = 4096


@dataclass(frozen=True, slots=True)
class OnDisk:
    """The state of the outputs before a transfer.

    Attributes:
        done: One byte a leaf of the manifest, 1 where the outputs hold it.
        size_bytes: Bytes of those leaves.
    """

    done: bytearray
    size_bytes: int


def look_at_outputs(catalog: Catalog, manifest: Manifest, outputs: Sequence[OutputFile]) -> OnDisk:
    """Find finished files and parts; marks the outputs that need nothing more. Blocking."""
    journal = Journal(catalog)
    done = bytearray(manifest.leaves)
    size_bytes = 0
    is_there: dict[str, bool] = {}  # by folder: in one that is yet to be made, nothing can lie
    for output in outputs:
        file = output.file
        folder = output.path_text.rpartition("/")[0]
        if folder not in is_there:
            is_there[folder] = os.path.isdir(folder)
        if not is_there[folder] and all(file.map.lengths):
            continue
        found = journal.resume(output)
        output.is_finished = found.is_final
        output.begun = found.begun
        done[file.first_leaf : file.stop_leaf] = found.done
        size_bytes += sum(
            length
            for length, is_there in zip(file.map.lengths, found.done, strict=True)
            if is_there
        )
    return OnDisk(done, size_bytes)


def impossible_paths(output: Path, entries: Sequence[TreeEntry]) -> dict[str, str]:
    """Return which paths of a tree this disk cannot have, and why. Blocking.

    Such as names that are too long for it, or have characters it does not allow: everything else
    of the tree can be had.
    """
    impossible = {}
    base = os.fspath(output)
    for entry in entries:
        if not entry.path:
            continue
        try:
            os.lstat(f"{base}/{entry.path}")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # what can be said of these is said when they are made
        except (OSError, ValueError) as exc:
            impossible[entry.path] = getattr(exc, "strerror", None) or str(exc)
    return impossible


def local_offer(catalog: Catalog, manifest: Manifest, done: bytearray) -> Offer | None:
    """Return this disk as a source for leaves that other files hold, None if there are none."""
    missing = [
        (file.first_leaf + number, multihash)
        for file in manifest.files
        for number, multihash in enumerate(file.map.multihashes)
        if not done[file.first_leaf + number]
    ]
    slices = {}
    available = bytearray(manifest.leaves)
    for at in range(0, len(missing), LEAVES_A_LOOKUP):
        part = missing[at : at + LEAVES_A_LOOKUP]
        found = catalog.find_leaves([multihash for _, multihash in part])
        for leaf, multihash in part:
            if multihash in found:
                slices[multihash] = found[multihash]
                available[leaf] = 1
    if not slices:
        return None
    return Offer(
        LocalSource(slices), available, reads_from_start=True, may_grow=False, spares_others=True
    )
