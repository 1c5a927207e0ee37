"""Files of Hub trees with made-up, reproducible hashes."""

from __future__ import annotations

import hashlib

from mirrornode.wire.hub import HubFile, lfs_pointer_oid


def small_file(path: str, size_bytes: int, content: str) -> HubFile:
    """Return a file outside LFS; `content` only stands for its bytes."""
    return HubFile(path, size_bytes, hashlib.sha1(content.encode()).hexdigest())


def lfs_file(path: str, size_bytes: int, content: str) -> HubFile:
    """Return a file in LFS; `content` only stands for its bytes."""
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    return HubFile(path, size_bytes, lfs_pointer_oid(sha256, size_bytes), sha256)


def large_tree(files: int) -> list[HubFile]:
    """Return many files in folders of a thousand, every tenth in LFS."""
    return [
        (small_file if number % 10 else lfs_file)(
            f"part-{number // 1000:03}/sample-{number:06}.json", number, str(number)
        )
        for number in range(files)
    ]
