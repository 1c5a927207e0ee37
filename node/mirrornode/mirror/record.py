"""A downloaded file becomes a shared file: recorded in place, announced with its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.cid import SHA2_256, Cid
from mirrornode.content.leaf_form import LeafForm
from mirrornode.errors import PathRefused
from mirrornode.store.announcements import sha256_digest
from mirrornode.store.records import FileRecord
from mirrornode.store.stamps import FileStamp

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.transfer.manifest import Manifest
    from mirrornode.transfer.outputs import OutputFile

UNKNOWN_PROFILE = ""  # the tree says how it is cut, not what its maker called that


def record_files(
    catalog: Catalog, outputs: Sequence[OutputFile], *, is_managed: bool = False
) -> None:
    """Record files that just got their final names, so that they are served from now on.

    Args:
        is_managed: The node fetched them for itself, and may delete them.

    Raises:
        StoreError: One of them is gone already, or the catalog cannot be written.
    """
    try:
        records = [_record(output, is_managed) for output in outputs]
    except OSError as exc:
        raise PathRefused(Path(exc.filename or "."), "read", exc.strerror or str(exc)) from exc
    catalog.record_files(records)


def record_root(catalog: Catalog, manifest: Manifest, output: Path, name: str) -> None:
    """Record the whole target and queue its announcements."""
    base = os.fspath(output)
    files = [(f"{base}/{file.path}" if file.path else base, file.root) for file in manifest.files]
    kind = next(entry.kind for entry in manifest.entries if entry.cid == manifest.target)
    announce = dict.fromkeys(
        [manifest.target.multihash, *(file.root.multihash for file in manifest.files)]
    )
    catalog.record_root(
        cid=manifest.target,
        kind=kind,
        name=name,
        path=output,
        size_bytes=manifest.size_bytes,
        profile=UNKNOWN_PROFILE,
        files=files,
        announce=list(announce),
    )


def _record(output: OutputFile, is_managed: bool) -> FileRecord:
    file_map = output.file.map
    return FileRecord(
        path=output.path_text,
        stamp=output.stamp or FileStamp.of(output.path),
        cid=output.file.root,
        leaf_form=file_map.leaf_form,
        multihashes=file_map.multihashes,
        lengths=file_map.lengths,
        starts=file_map.starts,
        profile=UNKNOWN_PROFILE,
        sha256=whole_sha256(output.file.root, file_map.leaf_form, file_map.leaves),
        is_managed=is_managed,
    )


def whole_sha256(root: Cid, form: LeafForm, leaves: int) -> bytes | None:
    """Return the file's SHA-256 where the tree gives it away: a single raw leaf."""
    if leaves == 1 and form is LeafForm.RAW and root.hash_code == SHA2_256:
        return sha256_digest(root.multihash)
    return None
