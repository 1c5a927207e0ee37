"""`ls hf:`: which repos and revisions are known here, and how much of each lies on this disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mirrornode.errors import TargetError
from mirrornode.mirror.hub.licence import licence_of
from mirrornode.mirror.hub.named import gate_of
from mirrornode.store.stamps import look
from mirrornode.wire.hub import HubTarget, parse_hub_target

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.hub_records import HubListing

ALL = "hf:"


def list_hub(catalog: Catalog, text: str = ALL) -> list[dict[str, Any]]:
    """Return one record a revision, by repo, the last seen first. Blocking.

    Files that changed or vanished do not count as here any more.

    Args:
        text: "hf:" for all; a repo with "@REVISION" for one revision of it, without for all.

    Raises:
        TargetError: It names no repo, or a path in one.
    """
    target = parse_hub_target(text) if text not in (ALL, f"{ALL}//") else None
    if target is not None and target.path:
        raise TargetError(f"{text}: repos are listed whole; leave out /{target.path}")
    is_any_revision = "@" not in text
    _forget_changed(catalog)
    return [
        _record(listing)
        for listing in catalog.hub_revisions()
        if target is None or _is_meant(listing, target, is_any_revision=is_any_revision)
    ]


def _forget_changed(catalog: Catalog) -> None:
    for blob in catalog.hub_blobs():
        state = look(blob.path, blob.stamp)
        if state != "ok":
            catalog.mark_changed(blob.path, state)
            catalog.drop_hub_blob(blob.path)


def _is_meant(listing: HubListing, target: HubTarget, *, is_any_revision: bool) -> bool:
    if listing.repo != target.repo:
        return False
    return is_any_revision or target.revision in (listing.commit, *listing.refs)


def _record(listing: HubListing) -> dict[str, Any]:
    sight, info = listing.sight, listing.info
    return {
        "repo": str(listing.repo),
        "commit": listing.commit,
        "refs": list(listing.refs),
        "files": listing.files,
        "files_here": listing.files_here,
        "size_bytes": listing.size_bytes,
        "bytes_here": listing.bytes_here,
        "licence": licence_of(info),
        "gated": sight.gated if sight is not None else gate_of(info),
        "private": sight.is_private if sight is not None else _is_private(info),
        "vouched_by": listing.vouched_by,
        "seen_at": listing.recorded_at,
    }


def _is_private(info: Mapping[str, Any]) -> bool:
    return info.get("private") is True
