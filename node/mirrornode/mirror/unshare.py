"""`unshare`: files that were added in place, or fetched, are the user's alone again.

Nothing on disk is touched. The node forgets the files and the trees over them, and announces them
no more; what it told the network before is forgotten there when its records expire.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, TargetError
from mirrornode.mirror.hub.client_env import cache_of
from mirrornode.wire.hub import is_hub_target

if TYPE_CHECKING:
    from mirrornode.mirror.keep import Keeper
    from mirrornode.store.sharing import Shared


@dataclass(frozen=True, slots=True)
class Unshared:
    """What is shared no more."""

    target: str
    paths: tuple[Path, ...]
    files: int
    size_bytes: int


def unshare(keeper: Keeper, target: Cid | Path, shares: Sequence[str]) -> Unshared:
    """Stop sharing a path and all below it, or all files of whatever has a CID; blocking.

    Args:
        target: A path is absolute; it, and what was added or fetched, may lead through links.
        shares: What the settings share: it would come back.

    Raises:
        TargetError: Nothing of it is shared, or something wants it to be: a setting, a pin, a
            download that runs. Nothing has changed then.
    """
    catalog, active = keeper.catalog, keeper.active
    folders = [(share, _real(cache_of(share) or Path(share).expanduser())) for share in shares]
    running = {_real(path) for path in active.paths()}
    place, multihash = "", b""
    if isinstance(target, Path):
        place = _real(target)
    else:
        multihash = target.multihash

    def check(shared: Shared) -> None:
        if not shared.keys and not shared.roots and not shared.managed:
            raise TargetError(f"nothing is shared at {target}; `mirrornode ls` shows what is")
        if shared.pinned:
            raise TargetError(
                f"a pin holds some of {target}: first `mirrornode unpin {shared.pinned}`"
            )
        if shared.managed and not shared.keys:
            raise TargetError(
                f"{target} is the node's own copy: `mirrornode unpin` and `mirrornode gc` free it"
            )
        paths = set(map(os.fsdecode, shared.keys))
        for share, folder in folders:
            if any(_is_below(path, folder) for path in (*paths, place)):
                raise TargetError(
                    f"{target} would be shared again: the node shares {share}; take that out of "
                    "`share` in its settings, or of its --share, and restart it"
                )
        if multihash in active.roots() or any(
            path in paths or (place and _is_below(path, place)) for path in running
        ):
            raise TargetError(f"{target} is being downloaded; stop that first")

    if isinstance(target, Path):
        done, trees = catalog.forget_shared(_forms_of(target, catalog.root_paths()), check)
    else:
        done, trees = catalog.forget_shared(multihash, check)
    keeper.drop_trees(trees)
    paths = (target,) if isinstance(target, Path) else done.places
    return Unshared(str(target), paths, len(done.keys), done.size_bytes)


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
    return Path(os.path.abspath(os.path.expanduser(text)))


def _forms_of(place: Path, named: Iterable[Path]) -> list[Path]:
    """Return a path, where its links lead, and what was named elsewhere and leads below there.

    `add` notes its files where they really are, and what the user named by that name; `get` notes
    both as they were named.
    """
    real = _real(place)
    forms = {place: None, Path(real): None}
    forms |= {path: None for path in named if _is_below(_real(path), real)}
    return list(forms)


def _real(path: Path | str) -> str:
    return os.path.realpath(path)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.removesuffix("/") + "/")
