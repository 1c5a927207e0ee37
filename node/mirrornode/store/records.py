"""What the catalog tells about files, roots, announcements and transfers: plain records, no SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.cid import Cid
    from mirrornode.content.leaf_form import LeafForm
    from mirrornode.store.stamps import FileStamp


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Where the file bytes of one leaf lie: `[offset, offset + length)` of `path`."""

    path: Path
    offset: int
    length: int
    form: LeafForm
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file that is shared in place.

    Attributes:
        sha256: Of the whole file; None when it was recorded without (see `set_file_digests`).
        git_sha1: What git calls the file; None for large files and where it was not computed.
        state: "ok", "changed" or "missing", as of the last look.
        tsize_bytes: Size of the whole tree, None when it was recorded without.
        is_managed: The node made the file (a copy or a download) and may delete it.
        file_id: Key of the row; changes when the file is recorded again.
    """

    path: Path
    size_bytes: int
    stamp: FileStamp
    cid: Cid
    sha256: bytes | None
    git_sha1: bytes | None
    state: str
    leaf_form: LeafForm
    leaves: int
    tsize_bytes: int | None
    is_managed: bool
    file_id: int


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file to be recorded: what `record_files` takes.

    Attributes:
        multihashes: Of the leaves, in file order.
        lengths: File bytes of each leaf.
        starts: Offsets of the leaves; None when they follow each other without a gap.
        profile: Names the recipe; a path is kept once for each. "" when it is not known.
        blocks: Inner nodes to keep with it, so that a file is never there without its tree.
    """

    path: Path | str
    stamp: FileStamp
    cid: Cid
    leaf_form: LeafForm
    multihashes: Sequence[bytes]
    lengths: Sequence[int]
    profile: str
    starts: Sequence[int] | None = None
    tsize_bytes: int | None = None
    sha256: bytes | None = None
    git_sha1: bytes | None = None
    is_managed: bool = False
    blocks: Sequence[Block] = ()


@dataclass(frozen=True, slots=True)
class StoredRoot:
    """Something the user added or downloaded, under the name they know it by.

    `state` is "ok", "changed", "missing" or "partial" (some files of a folder), as of the last
    look; `added_at` is Unix time in seconds.
    """

    cid: Cid
    kind: str
    name: str
    path: Path
    size_bytes: int
    files: int
    profile: str
    added_at: float
    state: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """One multihash to tell the world about; times are Unix seconds.

    `priority` is one of those in `store.announcements`.
    """

    multihash: bytes
    priority: int
    attempts: int
    last_ok_at: float | None


@dataclass(frozen=True, slots=True)
class TransferRecord:
    """An unfinished download.

    Attributes:
        id: Key of the row.
        part: The file that the bytes are written to.
        part_inode: Its inode when the bits were saved; another inode means another file.
        part_mtime_ns: Its time then; another time means that it was written to since.
        leaf_bits: Which leaves of `part` are verified and synced, as the transfer packs them.
    """

    id: int
    root: Cid
    out: Path
    part: Path
    part_inode: int
    part_mtime_ns: int
    leaf_bits: bytes
    updated_at: float


@dataclass(frozen=True, slots=True)
class MirrorUse:
    """One `get` or measurement that used a mirror.

    Attributes:
        mirror: Its key, see `mirror.mirror_score.mirror_key`.
        at: Unix seconds.
        size_bytes: Content it delivered.
        seconds: How long it was at that.
        first_byte_s: From a request to the head of its answer; None when that was not measured.
        outcome: "ok", "failed" (not reachable, broke off, refused), or "wrong" (wrong bytes).
    """

    mirror: str
    at: float
    size_bytes: int
    seconds: float
    first_byte_s: float | None
    outcome: str
