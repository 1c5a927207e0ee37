"""A folder or file as a tar, written while it is sent; its length is known before.

Written in two walks over the same tree: the first adds up the length and refuses what cannot be
sent, before a byte is; the second writes. Files that lie on this disk come as `FilePart`s, for the
kernel to send. Symlinks are entries of their own, their text as it is.
Format: POSIX.1-2001 (pax). Names that would lead out of the folder are refused.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.content.directory import check_symlink
from mirrornode.content.names import name_from_bytes
from mirrornode.errors import LimitExceeded, MalformedNode
from mirrornode.gateway.ipfs_file import file_pieces
from mirrornode.gateway.ipfs_folder import entries
from mirrornode.gateway.ipfs_reply import FilePart, Piece

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.gateway.ipfs_blocks import LocalBlocks
    from mirrornode.mirror.shelf import OpenFile, Shelf

MAX_DEPTH = 128
MAX_ENTRIES = 250_000
MAX_PATH_BYTES = 4096

_RECORD_BYTES = 512
_END = bytes(2 * _RECORD_BYTES)


@dataclass(frozen=True, slots=True)
class _Member:
    path: str
    cid: Cid
    kind: bytes
    size_bytes: int = 0
    target: str = ""

    @property
    def head(self) -> bytes:
        found = tarfile.TarInfo(self.path + ("/" if self.kind == tarfile.DIRTYPE else ""))
        found.type = self.kind
        found.size = self.size_bytes
        found.mode = 0o755 if self.kind == tarfile.DIRTYPE else 0o644
        found.linkname = self.target
        return found.tobuf(tarfile.PAX_FORMAT)

    @property
    def padding(self) -> int:
        return -self.size_bytes % _RECORD_BYTES


def tar_of(root: Cid, name: str, shelf: Shelf, blocks: LocalBlocks) -> tuple[int, Iterator[Piece]]:
    """Return the length of the tar of a tree in bytes, and its pieces.

    Args:
        name: What the root is called inside.

    Raises:
        BlockNotFound: A directory or the root of a file is not here.
        ContentError: A name or node is refused, or a limit is reached.
    """
    size = len(_END)
    for member in _members(root, name, shelf, blocks):
        size += len(member.head) + member.size_bytes + member.padding
    return size, _pieces(root, name, shelf, blocks)


def _pieces(root: Cid, name: str, shelf: Shelf, blocks: LocalBlocks) -> Iterator[Piece]:
    for member in _members(root, name, shelf, blocks):
        yield member.head
        if member.size_bytes:
            opened = whole_file(member.cid, shelf)
            if opened is not None:
                yield FilePart(opened, 0, member.size_bytes)
            else:
                yield from file_pieces(member.cid, 0, member.size_bytes, blocks)
            yield bytes(member.padding)
    yield _END


def _members(root: Cid, name: str, shelf: Shelf, blocks: LocalBlocks) -> Iterator[_Member]:
    """Yield a tree's entries, each folder before what is in it."""
    count = 0
    stack = [iter([(name, root)])]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            continue
        path, cid = step
        count += 1
        if count > MAX_ENTRIES or len(stack) > MAX_DEPTH or len(path.encode()) > MAX_PATH_BYTES:
            raise LimitExceeded(f"{root}: a folder with too much in it for a tar")
        member = _member(path, cid, shelf, blocks)
        yield member
        if member.kind == tarfile.DIRTYPE:
            stack.append(_below(member, blocks))


def _below(folder: _Member, blocks: LocalBlocks) -> Iterator[tuple[str, Cid]]:
    for entry in entries(blocks.entity(folder.cid), blocks):
        yield f"{folder.path}/{name_from_bytes(entry.name)}", entry.link.cid


def _member(path: str, cid: Cid, shelf: Shelf, blocks: LocalBlocks) -> _Member:
    if (opened := whole_file(cid, shelf)) is not None:
        os.close(opened.descriptor)
        return _Member(path, cid, tarfile.REGTYPE, opened.size_bytes)
    entity = blocks.entity(cid)
    if entity.is_file:
        return _Member(path, cid, tarfile.REGTYPE, entity.size_bytes)
    if entity.is_folder:
        return _Member(path, cid, tarfile.DIRTYPE)
    if entity.is_symlink and entity.message is not None:
        target = check_symlink(entity.message.data or b"")
        return _Member(path, cid, tarfile.SYMTYPE, target=target)
    raise MalformedNode(f"{cid} is neither a file nor a folder")


def whole_file(cid: Cid, shelf: Shelf) -> OpenFile | None:
    """Open a file that lies on this disk with all its bytes; the caller closes it."""
    opened = None if cid.is_identity else shelf.open_file(cid)
    if opened is not None and opened.runs is not None:
        os.close(opened.descriptor)
        return None
    return opened
