"""What lies in the home: models with their sizes, last uses and holders, and leftovers. Looks only.

Leftovers are files of the node's own folders that nothing records: parts that nobody came back
for, and finished files whose record a crash or a change undid.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.mirror.keep_choice import CHANGED, IN_USE, LINKED, PINNED, Held
from mirrornode.store.home import HUB_NAME, MODELS_NAME
from mirrornode.store.stamps import FileStamp

if TYPE_CHECKING:
    from mirrornode.mirror.active import ActiveTransfers
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.keeping import ManagedFile
    from mirrornode.store.records import TransferRecord

STALE_S = 24 * 3600.0  # an unfinished download that nobody touched for so long is a leftover
JUST_USED_S = 10.0  # between being told where a file lies and opening it

_SHELF = re.compile(r"[0-9a-f]{2}")
_BLOB = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})(?:\.part)?")


@dataclass(slots=True)
class Model:
    """A model, or the part of it that one thing holds.

    Attributes:
        place: What temp pins call it: its path below `<home>/models`, else "REPO@COMMIT".
    """

    place: str
    name: str
    is_in_models: bool
    held_by: str
    files: list[ManagedFile] = field(default_factory=list)
    size_bytes: int = 0
    used_at: float = 0.0

    @property
    def held(self) -> Held:
        """What the choice needs to know."""
        return Held(self.name, self.size_bytes, self.used_at, self.held_by)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file of ours that nothing records, or the part of a download that was given up."""

    path: Path
    size_bytes: int
    inode: int
    transfer: TransferRecord | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """The home at one moment; `used_bytes` is all that the node keeps there for itself."""

    models: Sequence[Model]
    leftovers: Sequence[Leftover]
    used_bytes: int
    pins_seen: int

    def held_bytes(self) -> Mapping[str, int]:
        """Return how much is held, by what."""
        held: Counter[str] = Counter()
        for model in self.models:
            if model.held_by:
                held[model.held_by] += model.size_bytes
        return held


def look_around(catalog: Catalog, active: ActiveTransfers, now: float) -> Survey:
    """Look at every file that the node may delete (one stat each). Blocking.

    Args:
        now: Unix seconds.
    """
    look = _Look(catalog, active, now)
    managed = catalog.managed_files()
    for file in managed.files:
        look.add(file)
    models = look.models()
    leftovers, waiting_bytes = look.leftovers({file.path for file in managed.files})
    used = sum(model.size_bytes for model in models if model.held_by != LINKED)
    used += sum(left.size_bytes for left in leftovers) + waiting_bytes
    used += active.coming_bytes(catalog.home)
    return Survey(models, leftovers, used, managed.pins_seen)


def is_just_used(used_at: float, now: float) -> bool:
    """Tell whether somebody may be about to open what was used then."""
    return 0 <= now - used_at < JUST_USED_S


class _Look:
    def __init__(self, catalog: Catalog, active: ActiveTransfers, now: float) -> None:
        self._catalog = catalog
        self._uses = active.uses
        self._now = now
        self._held = active.temp_pins.held()[0] | active.paths()
        self._hub = catalog.home / HUB_NAME
        self._models = catalog.home / MODELS_NAME
        self._real = {
            os.path.realpath(self._hub): self._hub,
            os.path.realpath(self._models): self._models,
        }
        self._parents: dict[Path, bool] = {}
        self._found: dict[tuple[str, str], Model] = {}
        self._busy: set[str] = set()

    def add(self, file: ManagedFile) -> None:
        """Count one managed file."""
        try:
            looked = file.path.lstat()
        except OSError:
            return  # gone: there is nothing to free
        if not stat.S_ISREG(looked.st_mode) or not self._is_ours(file.path.parent):
            return
        key = os.fspath(file.path)
        place, name, is_in_models = self._place(file)
        used_at = max(file.used_at, self._uses.last(key), looked.st_mtime)
        if file.is_pinned:
            held_by = PINNED
        elif looked.st_nlink > 1:
            held_by = LINKED
        elif FileStamp.of(looked) != file.stamp:
            held_by = CHANGED
        else:
            held_by = ""
        last = self._uses.last(key)
        if is_just_used(last, self._now) or key in self._held or place in self._held:
            self._busy.add(place)
        model = self._found.setdefault((place, held_by), Model(place, name, is_in_models, held_by))
        model.files.append(file)
        model.size_bytes += looked.st_size
        model.used_at = max(model.used_at, used_at)

    def models(self) -> list[Model]:
        """Return what was counted; a model of which a file is in use is in use."""
        last: dict[str, float] = {}
        for model in self._found.values():
            last[model.place] = max(last.get(model.place, 0.0), model.used_at)
        for model in self._found.values():
            model.used_at = last[model.place]
            if not model.held_by and model.place in self._busy:
                model.held_by = IN_USE
        return list(self._found.values())

    def leftovers(self, managed: set[Path]) -> tuple[list[Leftover], int]:
        """Return what nothing records, and the size of what may still be gone on with."""
        found = {}
        waiting_bytes = 0
        for path in self._unrecorded(managed):
            try:
                looked = path.lstat()
            except OSError:
                continue
            if not stat.S_ISREG(looked.st_mode) or self._is_held(path):
                continue
            if self._now - looked.st_mtime < STALE_S:
                waiting_bytes += looked.st_size
                continue
            found[path] = Leftover(path, looked.st_size, looked.st_ino)
        for transfer in self._catalog.transfers():
            part = transfer.part
            if self._now - transfer.updated_at < STALE_S or self._is_held(part):
                found.pop(part, None)
                continue
            if not self._is_ours(part.parent) or self._catalog.is_recorded(part):
                continue
            try:
                looked = part.lstat()
            except OSError:
                continue
            if looked.st_ino == transfer.part_inode:
                found[part] = Leftover(part, looked.st_size, looked.st_ino, transfer)
        return list(found.values()), waiting_bytes

    def _unrecorded(self, managed: set[Path]) -> Iterator[Path]:
        for shelf in _names(self._hub):
            folder = self._hub / shelf
            if not _SHELF.fullmatch(shelf) or folder.is_symlink():
                continue
            for name in _names(folder):
                path = folder / name
                if (
                    _BLOB.fullmatch(name)
                    and path not in managed
                    and not self._catalog.is_recorded(path)
                ):
                    yield path

    def _is_held(self, path: Path) -> bool:
        key = os.fspath(path)
        return key in self._held or key.removesuffix(".part") in self._held

    def _is_ours(self, folder: Path) -> bool:
        """Tell whether a folder lies in the node's store, also when its links are followed."""
        known = self._parents.get(folder)
        if known is None:
            real = os.path.realpath(folder)
            known = self._parents[folder] = any(
                folder.is_relative_to(named) and (real == root or real.startswith(root + os.sep))
                for root, named in self._real.items()
            )
        return known

    def _place(self, file: ManagedFile) -> tuple[str, str, bool]:
        """Return which model a file belongs to, and that model's name for people."""
        if file.path.is_relative_to(self._models):
            entry = file.path.relative_to(self._models).parts[0]
            return os.fspath(self._models / entry), entry, True
        if file.revision:
            repo, _, commit = file.revision.rpartition("@")
            return file.revision, f"{repo}@{commit[:12]}", False
        return os.fspath(file.path), file.path.name, False


def _names(folder: Path) -> list[str]:
    """Return what lies in a folder; nothing when it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []
