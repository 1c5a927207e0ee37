"""The end of a download: symlinks, folders on disk, the root recorded, announcements queued."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import PathRefused
from mirrornode.events import Event, Note
from mirrornode.mirror.record import record_root
from mirrornode.mirror.tree_writer import make_symlinks
from mirrornode.transfer.outputs import sync_folder

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.transfer.manifest import Manifest


def finish_tree(
    catalog: Catalog,
    manifest: Manifest,
    output: Path,
    name: str,
    emit: Callable[[Event], None],
) -> None:
    """Make a tree whose files are all in place a shared root. Blocking.

    Raises:
        PathRefused: The disk refuses.
    """
    refused = make_symlinks(output, manifest.entries)
    for path in refused:
        emit(Note(f"symlink not made, it would lead out of the folder: {path}", "warning"))
    try:
        # From the deepest up: a folder is found after a power cut only if its parent is.
        folders = {output.parent}
        for path in {file.path.rpartition("/")[0] for file in manifest.files if file.path}:
            folder = output / path
            while folder not in folders:
                folders.add(folder)
                folder = folder.parent
        for folder in sorted(folders, reverse=True):
            sync_folder(folder)
    except OSError as exc:
        raise PathRefused(output, "sync", exc.strerror or str(exc)) from exc
    record_root(catalog, manifest, output, name)
