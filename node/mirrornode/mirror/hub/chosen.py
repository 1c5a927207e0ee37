"""Which files of a repo are meant: at or below a path, by the patterns of `hf download`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mirrornode.errors import HubNotFound

if TYPE_CHECKING:
    from mirrornode.mirror.hub.named import Named
    from mirrornode.wire.hub import HubFile


def chosen_files(
    tree: Mapping[str, HubFile],
    named: Named,
    path: str,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> dict[str, HubFile]:
    """Return the files that a user means, by path.

    Args:
        path: A file or folder of the repo; "" for all of it.
        include: Shell patterns of whole paths, of which one must match; none: all match. A pattern
            that ends in a slash stands for what is below.
        exclude: Patterns of which none may match.

    Raises:
        HubNotFound: There is no such path, or the patterns leave nothing.
    """
    below = {
        name: file
        for name, file in tree.items()
        if not path or name == path or name.startswith(f"{path}/")
    }
    if path and not below:
        raise _no_entry(named, f"has no {path}")
    wanted = {
        name: file
        for name, file in below.items()
        if (not include or matches(name, include)) and not matches(name, exclude)
    }
    if below and not wanted:
        raise _no_entry(named, "has no file that the patterns leave")
    return wanted


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether one of the patterns matches a whole path."""
    return any(
        fnmatchcase(name, f"{pattern}*" if pattern.endswith("/") else pattern)
        for pattern in patterns
    )


def _no_entry(named: Named, what: str) -> HubNotFound:
    return HubNotFound(
        f"{named.repo} at {named.commit[:12]} {what}",
        status=404,
        code="EntryNotFound",
        commit=named.commit,
    )
