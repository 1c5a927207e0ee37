"""What is recorded of a file with content of the Hub, and when one that others made counts.

A file is hashed once; as long as its stamp stays, it counts. What does not match its name is never
used. What an open repo vouches for is recorded as a shared file, from the same reading.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mirrornode.content.file_dag import build_file_dag
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import StoreError
from mirrornode.events import AddProgress
from mirrornode.mirror.hub.placing import is_same_file
from mirrornode.mirror.record import UNKNOWN_PROFILE, whole_sha256
from mirrornode.store.announcements import sha256_multihash
from mirrornode.store.files import profile_key
from mirrornode.store.hashing import BytesRead, FileDigests, hash_file
from mirrornode.store.records import FileRecord
from mirrornode.store.stamps import look

if TYPE_CHECKING:
    from mirrornode.events import Event
    from mirrornode.mirror.hub.bringing import Arrived
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.hub_records import HubBlob
    from mirrornode.store.stamps import FileStamp
    from mirrornode.wire.hub import HubFile

TOLD_EVERY_BYTES = 64 << 20

T = TypeVar("T")


def known_copy(catalog: Catalog, etag: str, path: Path) -> HubBlob | None:
    """Return the record that says that this very file has that content, and is as it was."""
    for blob in catalog.hub_blob(etag):
        if look(blob.path, blob.stamp) != "ok":
            continue
        if blob.path == path or is_same_file(blob.path, path):
            return blob
    return None


def read_copy(etag: str, path: Path, on_bytes: BytesRead) -> FileDigests | None:
    """Hash a file; return its digests if it has the content of that name. Blocking.

    Raises:
        StoreError: It cannot be read, or changed meanwhile.
    """
    digests = hash_file(path, UNIXFS_V1_2025, on_bytes)
    found = digests.sha256 if len(etag) == 64 else digests.git_sha1
    return digests if found is not None and found.hex() == etag else None


def adopt(
    catalog: Catalog, etag: str, path: Path, on_bytes: BytesRead, *, is_managed: bool = False
) -> bool:
    """Record a file as the content of that name if it is; kept to ourselves until it is published.

    Blocking.

    Returns:
        Whether it is.
    """
    if known_copy(catalog, etag, path) is not None:
        return True
    try:
        digests = read_copy(etag, path, on_bytes)
    except StoreError:
        return False
    if digests is None:
        return False
    catalog.put_hub_blob(etag, path, digests.stamp, is_open=False, is_managed=is_managed)
    return True


def publish_copy(
    catalog: Catalog, etag: str, path: Path, digests: FileDigests, *, is_managed: bool
) -> None:
    """Record a file that an open repo vouches for, so that peers find it. Blocking."""
    dag = build_file_dag(digests.multihashes, digests.lengths, UNIXFS_V1_2025)
    share_record(
        catalog,
        FileRecord(
            path=path,
            stamp=digests.stamp,
            cid=dag.root,
            leaf_form=UNIXFS_V1_2025.leaf_form,
            multihashes=digests.multihashes,
            lengths=digests.lengths,
            profile=profile_key(UNIXFS_V1_2025),
            sha256=digests.sha256,
            git_sha1=digests.git_sha1,
            is_managed=is_managed,
            blocks=dag.inner,
        ),
    )
    catalog.put_hub_blob(etag, path, digests.stamp, is_open=True, is_managed=is_managed)


def record_of(file: HubFile, arrived: Arrived, stamp: FileStamp) -> FileRecord:
    """Return what is to be recorded of a file that came and was right."""
    sha256 = bytes.fromhex(file.sha256) if file.sha256 else None
    git_sha1 = None if file.sha256 else bytes.fromhex(file.git_oid)
    file_map = arrived.file_map
    if file_map is not None:
        return FileRecord(
            path=arrived.path,
            stamp=stamp,
            cid=file_map.root,
            leaf_form=file_map.leaf_form,
            multihashes=file_map.multihashes,
            lengths=file_map.lengths,
            starts=file_map.starts,
            profile=UNKNOWN_PROFILE,
            sha256=sha256 or whole_sha256(file_map.root, file_map.leaf_form, file_map.leaves),
            git_sha1=git_sha1,
            is_managed=True,
            blocks=file_map.inner,
        )
    dag = build_file_dag(arrived.digests.multihashes, arrived.digests.lengths, UNIXFS_V1_2025)
    return FileRecord(
        path=arrived.path,
        stamp=stamp,
        cid=dag.root,
        leaf_form=UNIXFS_V1_2025.leaf_form,
        multihashes=arrived.digests.multihashes,
        lengths=arrived.digests.lengths,
        profile=profile_key(UNIXFS_V1_2025),
        sha256=sha256,
        git_sha1=git_sha1,
        is_managed=True,
        blocks=dag.inner,
    )


def share_record(catalog: Catalog, record: FileRecord) -> None:
    """Share a file, and queue its names for announcing. Blocking."""
    catalog.record_files([record])
    keys = [record.cid.multihash]
    if record.sha256 is not None:
        keys.append(sha256_multihash(record.sha256))
    catalog.enqueue_announcements(dict.fromkeys(keys))


def in_steps(total: int, path: str, emit: Callable[[Event], None]) -> BytesRead:
    """Return what counts bytes that were read, and tells them every `TOLD_EVERY_BYTES`."""
    done = last = 0

    def told(count: int) -> None:
        nonlocal done, last
        done += count
        if done - last >= TOLD_EVERY_BYTES:
            last = done
            emit(AddProgress(done, total, path))

    return told
