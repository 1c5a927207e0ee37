"""`unshare`: files that were added in place, or fetched, are the user's alone again.

Nothing on disk is touched. The node forgets the files and the trees over them, and announces them
no more; what it told the network before is forgotten there when its records expire.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, TargetError
from mirrornode.mirror.hub.client_env import cache_of
from mirrornode.wire.hub import is_hub_target

if TYPE_CHECKING:
    from mirrornode.mirror.keep import Keeper


@dataclass(frozen=True, slots=True)
class Unshared:
    """What is shared no more."""

    target: str
    paths: tuple[Path, ...]
    files: int
    size_bytes: int


def unshare(keeper: Keeper, target: Cid | Path, shares: Sequence[str]) -> Unshared:
    """Stop sharing a path and all below it, or whatever has a CID; blocking.

    Args:
        target: A path is absolute, its links resolved.
        shares: What the settings share: it would come back.

    Raises:
        TargetError: Nothing of it is shared, or something wants it to be: a setting, a pin, a
            download that runs. Nothing has changed then.
    """
    catalog = keeper.catalog
    places = catalog.paths_of_root(target.multihash) if isinstance(target, Cid) else [target]
    found = [catalog.shared_below(place) for place in places]
    files, roots = sum(one.files for one in found), sum(one.roots for one in found)
    if not files and not roots:
        raise TargetError(f"nothing is shared at {target}; `mirrornode ls` shows what is")
    for place, one in zip(places, found, strict=True):
        if one.pinned:
            raise TargetError(f"{place} is pinned: first `mirrornode unpin {one.pinned}`")
        if one.files and one.managed == one.files:
            raise TargetError(
                f"{place} is the node's own copy: `mirrornode unpin` and `mirrornode gc` free it"
            )
        _check_settings(place, shares)
        running = (Path(path) for path in keeper.active.paths())
        if any(path.is_relative_to(place) for path in running):
            raise TargetError(f"{place} is being downloaded; stop that first")
    keeper.drop_trees(catalog.forget_shared(places))
    return Unshared(
        str(target),
        tuple(places),
        files - sum(one.managed for one in found),
        sum(one.size_bytes for one in found),
    )


def parse_unshare_target(text: str) -> Cid | Path:
    """Return what the user named: a CID as `ls` prints it, else a path.

    Raises:
        TargetError: It is neither.
    """
    if is_hub_target(text):
        raise TargetError(f"{text} is a name of the Hub: give the folder that it lies in")
    if not text:
        raise TargetError("name a path, or a CID that `mirrornode ls` shows")
    if os.sep not in text and not os.path.lexists(text):
        try:
            return Cid.parse(text)
        except ContentError:
            pass
    return Path(os.path.realpath(os.path.expanduser(text)))


def _check_settings(place: Path, shares: Sequence[str]) -> None:
    for share in shares:
        folder = Path(os.path.realpath(cache_of(share) or Path(share).expanduser().absolute()))
        if place.is_relative_to(folder) or folder.is_relative_to(place):
            raise TargetError(
                f"{place} would be shared again: the node shares {share}; take that out of "
                "`share` in its settings, or of its --share, and restart it"
            )
