"""Content in the cache of the Hub's clients: taken as ours only after it was hashed.

A blob is hashed once; as long as its stamp stays, it counts. What does not match its name is
reported and never used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import StoreError
from mirrornode.mirror.hub.cache_layout import blob_path
from mirrornode.store.hashing import BytesRead, hash_file
from mirrornode.store.stamps import look

if TYPE_CHECKING:
    from mirrornode.mirror.hub.named import Named
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import HubFile

log = logging.getLogger(__name__)


def adopt_cached(catalog: Catalog, cache: Path, named: Named, files: Iterable[HubFile]) -> None:
    """Make what a cache holds of a repo usable for the node, so that it is not fetched. Blocking.

    Content that is damaged is left where it is: it is replaced when the right one has come.
    """
    for file in files:
        blob = blob_path(cache, named.repo, file.etag)
        try:
            size_bytes = blob.stat().st_size
        except OSError:
            continue
        if size_bytes == file.size_bytes:
            adopt(catalog, file.etag, blob.resolve(), lambda _: None)


def adopt(catalog: Catalog, etag: str, path: Path, on_bytes: BytesRead) -> bool:
    """Record a file as the content of that name if it is; kept to ourselves until it is published.

    Returns:
        Whether it is.
    """
    for known in catalog.hub_blob(etag):
        if known.path == path and look(path, known.stamp) == "ok":
            return True
    if not path.is_file():
        return False
    try:
        digests = hash_file(path, UNIXFS_V1_2025, on_bytes)
    except StoreError as exc:
        log.info("cached content not read reason=%s", exc)
        return False
    found = digests.sha256 if len(etag) == 64 else digests.git_sha1
    if found is None or found.hex() != etag:
        return False
    catalog.put_hub_blob(etag, path, digests.stamp, is_open=False, is_managed=False)
    return True
