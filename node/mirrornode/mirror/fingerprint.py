"""Whole-file hashes of downloaded files, computed when nothing else is going on.

A download verifies leaf by leaf and out of order, which does not give the SHA-256 of the whole.
That hash is the file's name on the Hub and is announced, so it is computed once, later, from disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from mirrornode.errors import FileChanged, StoreError
from mirrornode.store.slices import open_slice
from mirrornode.store.stamps import FileStamp

if TYPE_CHECKING:
    from mirrornode.mirror.active import ActiveTransfers
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.records import StoredFile

log = logging.getLogger(__name__)

LOOK_EVERY_S = 20.0  # a freshly fetched file is wanted by people first
FILES_A_LOOK = 64


async def fingerprint_files(
    catalog: Catalog,
    active: ActiveTransfers,
    announce: Callable[[], None],
    *,
    look_every_s: float = LOOK_EVERY_S,
) -> None:
    """Hash files that lack a whole-file SHA-256, until cancelled."""
    last = 0
    while True:
        await asyncio.sleep(look_every_s)
        if active.is_busy:
            continue
        # From where the last look ended: files that cannot be read must not hide the others.
        files = await asyncio.to_thread(catalog.files_without_sha256, FILES_A_LOOK, after_id=last)
        if not files:
            last = 0
        for stored in files:
            if active.is_busy:
                break
            last = stored.file_id
            try:
                await asyncio.to_thread(_fingerprint, catalog, stored)
            except (StoreError, OSError) as exc:
                # One bad disk or file must not end the daemon.
                log.warning("file not hashed path=%s reason=%s", stored.path, exc)
            announce()


def _fingerprint(catalog: Catalog, stored: StoredFile) -> None:
    try:
        descriptor = open_slice(stored)
    except FileChanged as exc:
        catalog.mark_changed(exc.path, exc.reason)
        return
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        if FileStamp.of(file.fileno()) != stored.stamp:
            return
    catalog.set_file_digests(stored.path, digest, stored.git_sha1)
