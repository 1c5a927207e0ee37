"""Reading shared files: opened only while they still are the files that were hashed.

What is read here has not been checked against a hash; blocks become `Block` through `Block.verify`,
and runs of file bytes are checked by whoever receives them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mirrornode.content.leaf_form import leaf_prefix, leaf_suffix
from mirrornode.errors import FileChanged, PathRefused
from mirrornode.store.stamps import CHANGED, FileStamp, open_regular

if TYPE_CHECKING:
    from mirrornode.store.records import FileSlice, StoredFile


def open_slice(stored: StoredFile | FileSlice) -> int:
    """Open the file a slice or a whole file lies in; the caller closes the descriptor.

    Raises:
        FileChanged: It changed, shrank or vanished; the caller passes this to `mark_changed`.
        PathRefused: The operating system denies access.
    """
    descriptor = open_regular(stored.path)
    if FileStamp.of(descriptor) != stored.stamp:
        os.close(descriptor)
        raise FileChanged(stored.path, CHANGED)
    return descriptor


def read_leaf(leaf: FileSlice) -> bytes:
    """Return the block of a leaf, built around its file bytes; not verified.

    Raises:
        FileChanged: As `open_slice`, or it shrank while being read.
        PathRefused: The operating system denies access, or the disk failed.
    """
    descriptor = open_slice(leaf)
    try:
        chunk = os.pread(descriptor, leaf.length, leaf.offset)
    except OSError as error:
        raise PathRefused(leaf.path, "read", os.strerror(error.errno or 0)) from error
    finally:
        os.close(descriptor)
    if len(chunk) != leaf.length:
        raise FileChanged(leaf.path, CHANGED)
    return leaf_prefix(leaf.form, leaf.length) + chunk + leaf_suffix(leaf.form, leaf.length)
