"""Where an imported root is written: what the user said, else a place of its own in the home.

In the home a folder of the same name may hold another model. It is left alone; but an import that
was cut off is found again, so that it goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.mirror.target import Target, choose_output
from mirrornode.store.home import MODELS_NAME

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.content.walk import TreeEntry
    from mirrornode.mirror.import_car import ImportRequest
    from mirrornode.store.catalog import Catalog

TAIL_LETTERS = 8  # of a CID: tells apart what is called the same


def choose_place(
    catalog: Catalog,
    request: ImportRequest,
    root: Cid,
    name: str,
    entries: Sequence[TreeEntry],
    *,
    is_only: bool,
) -> Path:
    """Return where a root goes. Blocking.

    With a destination: one root goes there as with `get -o`, several go below it.

    Raises:
        TargetError: A folder would have to replace a file.
    """
    is_file = any(not entry.path and entry.kind != "directory" for entry in entries)
    target = Target(root, (name,))
    if request.destination is not None:
        if is_only:
            return choose_output(target, request.destination, request.folder, is_file=is_file)
        folder = request.folder / request.destination
        return choose_output(target, None, folder, is_file=is_file)
    models = catalog.home / MODELS_NAME
    place = models / name
    if os.path.lexists(place) and _is_taken(catalog, place, root, entries):
        place = models / f"{str(root)[-TAIL_LETTERS:]}-{name}"
    return choose_output(target, place, models, is_file=is_file)


def _is_taken(catalog: Catalog, place: Path, root: Cid, entries: Sequence[TreeEntry]) -> bool:
    """Tell whether what lies at a place is recorded as something else than this tree."""
    if any(stored.path == place and stored.cid != root for stored in catalog.roots()):
        return True
    ours = {place / entry.path if entry.path else place: entry.cid for entry in entries}
    return any(
        ours.get(file.path) != file.cid
        for file in catalog.all_files()
        if file.path.is_relative_to(place)
    )
