"""Room on this disk: what the node keeps for itself, and freeing it down to its limits.

What goes is chosen by `keep_choice`, least recently used models first. A model is a commit of a
repo of the Hub, or one entry of `<home>/models`. Only files go that the node made in its home,
that no pin and no running work holds, and that are what was recorded. The order is crash-safe: the
catalog stops offering a file and notes it as doomed in one transaction, then the file is moved to
`<home>/trash`, then it is deleted; what a crash leaves of that is finished by `recover`.

Blocking; the daemon's loop over it is `mirror.keep_loop`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.mirror.keep_choice import Held, Limits, choose, excess_bytes
from mirrornode.mirror.keep_survey import is_just_used, look_around
from mirrornode.store.home import MODELS_NAME, TRASH_NAME

if TYPE_CHECKING:
    from mirrornode.mirror.active import ActiveTransfers
    from mirrornode.mirror.keep_survey import Leftover, Model, Survey
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.keeping import ManagedFile

log = logging.getLogger(__name__)

FILES_AT_ONCE = 100  # forgotten in one transaction, while nothing new can begin to use them
MAX_SURVEYS = 8  # each time something was pinned meanwhile; then this round ends
MAX_SWEEPS = 3


@dataclass(slots=True)
class Collected:
    """What a round freed, or would free; all sizes in bytes."""

    is_dry_run: bool
    limits: Limits
    used_bytes: int
    free_bytes: int
    excess_bytes: int
    held_bytes: Mapping[str, int]
    freed: list[Held] = field(default_factory=list)
    freed_files: int = 0
    leftover_files: int = 0
    leftover_bytes: int = 0
    blocks: int = 0

    @property
    def freed_bytes(self) -> int:
        """Of models and leftovers together."""
        return sum(model.size_bytes for model in self.freed) + self.leftover_bytes

    @property
    def short_bytes(self) -> int:
        """What should have gone besides, and is held."""
        return max(0, self.excess_bytes - self.freed_bytes)

    def to_record(self) -> dict[str, Any]:
        """Return what `gc --json` prints."""
        return {
            "dry_run": self.is_dry_run,
            "quota_bytes": self.limits.quota_bytes,
            "low_water_bytes": self.limits.low_water_bytes,
            "keep_free_bytes": self.limits.keep_free_bytes,
            "disk_free_bytes": self.free_bytes,
            "used_bytes": self.used_bytes,
            "used_after_bytes": self.used_bytes - self.freed_bytes,
            "freed_bytes": self.freed_bytes,
            "freed_files": self.freed_files + self.leftover_files,
            "freed": [
                {"name": one.name, "size_bytes": one.size_bytes, "used_at": one.used_at}
                for one in self.freed
            ],
            "leftover_bytes": self.leftover_bytes,
            "inner_blocks": self.blocks,
            "held_bytes": dict(self.held_bytes),
            "short_bytes": self.short_bytes,
        }


class Keeper:
    """Frees room in one home; safe to use from any thread, one round at a time."""

    def __init__(
        self,
        catalog: Catalog,
        active: ActiveTransfers,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
        free_space: Callable[[], int] | None = None,
    ) -> None:
        """Prepare; nothing is freed before `collect`.

        Args:
            clock: Unix time in seconds.
            free_space: What is free on the home's disk, in bytes; looked at there when None.
        """
        self.catalog = catalog
        self.active = active
        self.limits = limits
        self._clock = clock
        self.free_bytes = free_space or (lambda: shutil.disk_usage(catalog.home).free)
        self._round = threading.Lock()  # one round at a time
        self._old_block = catalog.last_block()  # older ones are of nothing that runs
        self._newer_block = self._old_block

    def is_short(self) -> bool:
        """Tell cheaply whether a limit is reached, with what is on its way counted in."""
        limits = self.limits
        if not limits.quota_bytes and not limits.keep_free_bytes:
            return False
        used = self.catalog.managed_bytes() if limits.quota_bytes else 0
        used += self.active.coming_bytes(self.catalog.home)
        return excess_bytes(used, self.free_bytes(), limits, is_due=False) > 0

    def flush_uses(self) -> None:
        """Write down when files were used."""
        self.catalog.note_uses(self.active.uses.take())

    def recover(self) -> None:
        """Finish what a crash interrupted."""
        with self._round:
            self._delete_doomed()
            _empty(self._trash)

    def collect(
        self, *, is_due: bool, keep_free_bytes: int | None = None, is_dry_run: bool = False
    ) -> Collected:
        """Free what the limits ask for, and leftovers that nobody came back for.

        Args:
            is_due: Go down to the low-water mark even if the quota is not reached.
            keep_free_bytes: Instead of the setting.
            is_dry_run: Only tell what would go.
        """
        limits = self.limits
        if keep_free_bytes is not None:
            limits = replace(limits, keep_free_bytes=keep_free_bytes)
        with self._round:
            self.flush_uses()
            if not is_dry_run:
                self._delete_doomed()
            survey = self._look()
            free = self.free_bytes()
            done = Collected(
                is_dry_run=is_dry_run,
                limits=limits,
                used_bytes=survey.used_bytes,
                free_bytes=free,
                excess_bytes=excess_bytes(survey.used_bytes, free, limits, is_due=is_due),
                held_bytes=survey.held_bytes(),
            )
            self._free_leftovers(survey.leftovers, done)
            freed_trees = self._free_models(survey, done)
            if not is_dry_run and (freed_trees or is_due):
                done.blocks = self._sweep(freed_trees)
        if done.freed_bytes and not is_dry_run:
            log.info("room freed bytes=%d models=%d", done.freed_bytes, len(done.freed))
        return done

    def drop_trees(self, multihashes: Iterable[bytes]) -> int:
        """Drop the inner blocks of trees that were forgotten, if nothing needs them any more."""
        with self._round:
            return self._sweep(multihashes)

    # -- private ---------------------------------------------------------------------------------

    @property
    def _trash(self) -> Path:
        return self.catalog.home / TRASH_NAME

    def _look(self) -> Survey:
        return look_around(self.catalog, self.active, self._clock())

    def _free_leftovers(self, leftovers: Sequence[Leftover], done: Collected) -> None:
        for left in leftovers:
            if done.is_dry_run or self._free_leftover(left):
                done.leftover_files += 1
                done.leftover_bytes += left.size_bytes
        if not done.is_dry_run:
            _empty(self._trash)

    def _free_leftover(self, left: Leftover) -> bool:
        """Move away what was left, unless somebody went on with it since we looked."""
        with self.active.temp_pins.guarding() as is_held:
            if is_held(os.fspath(left.path).removesuffix(".part")):
                return False
            if self.catalog.is_recorded(left.path):
                return False  # finished, and let go already
            if not self._to_trash(left.path, left.inode):
                return False
        if left.transfer is not None:
            # Unless it has begun anew by now. What lies in the trash keeps its number to itself.
            self.catalog.close_transfer(left.transfer.root, left.transfer.out, left.inode)
        return True

    def _free_models(self, survey: Survey, done: Collected) -> set[bytes]:
        """Free models until the excess is gone; return the multihashes of their trees."""
        trees: set[bytes] = set()
        for _ in range(MAX_SURVEYS):
            chosen = [
                survey.models[number]
                for number in choose(
                    [model.held for model in survey.models], done.excess_bytes - done.freed_bytes
                )
            ]
            if done.is_dry_run:
                done.freed += (model.held for model in chosen)
                done.freed_files += sum(len(model.files) for model in chosen)
                return trees
            for model in chosen:
                gone = self._free(model, survey.pins_seen, done)
                if gone is None:
                    break
                trees |= gone
            else:
                return trees
            survey = self._look()  # something was pinned: choose again
        return trees

    def _free(self, model: Model, pins_seen: int, done: Collected) -> set[bytes] | None:
        """Free one model; None when something was pinned meanwhile. What went is in `done`."""
        trees: set[bytes] = set()
        size_bytes = files = 0
        for first in range(0, len(model.files), FILES_AT_ONCE):
            batch = model.files[first : first + FILES_AT_ONCE]
            if self._is_in_use(batch):
                break
            gone = self.catalog.forget_managed(batch, pins_seen)
            moved = self._delete_doomed()
            size_bytes += sum(one.stamp.size_bytes for one in batch if one.path in moved)
            files += len(moved)
            if gone is None:
                self._note(model, size_bytes, files, done)
                return None
            trees |= gone
        self._note(model, size_bytes, files, done)
        if model.is_in_models:
            _remove_empty(self.catalog.home / MODELS_NAME, Path(model.place))
        return trees

    def _is_in_use(self, files: Sequence[ManagedFile]) -> bool:
        with self.active.temp_pins.guarding() as is_held:
            return any(self._is_held(file.path, is_held) for file in files)

    def _is_held(self, path: Path, is_held: Callable[[str], bool]) -> bool:
        """Tell whether a file, or the entry of the models folder it lies in, is held or read."""
        key, models = os.fspath(path), self.catalog.home / MODELS_NAME
        keys = [key]
        if path.is_relative_to(models):
            keys.append(os.fspath(models / path.relative_to(models).parts[0]))
        return (
            any(map(is_held, keys))
            or key in self.active.paths()
            or is_just_used(self.active.uses.last(key), self._clock())
        )

    @staticmethod
    def _note(model: Model, size_bytes: int, files: int, done: Collected) -> None:
        if files:
            done.freed.append(replace(model.held, size_bytes=size_bytes))
            done.freed_files += files

    def _delete_doomed(self) -> set[Path]:
        """Delete what the catalog does not offer any more; return what went.

        A file that came into use at the last moment stays doomed until the next round: whoever
        brings it again finds it, and records it.
        """
        moved, settled = set(), []
        for path, inode in self.catalog.doomed():
            # Only the renaming is guarded: who takes hold waits for no disk and no transaction.
            with self.active.temp_pins.guarding() as is_held:
                is_back = self.catalog.is_recorded(path)
                if not is_back and self._is_held(path, is_held):
                    continue
                if not is_back and self._to_trash(path, inode):
                    moved.add(path)
            settled.append(path)
        _empty(self._trash)
        self.catalog.forget_doomed(settled)
        return moved

    def _to_trash(self, path: Path, inode: int) -> bool:
        """Move a file away, if it is the one that was meant; quick, so that it may be guarded."""
        try:
            if path.lstat().st_ino != inode:
                return False
            self._trash.mkdir(mode=0o700, exist_ok=True)
            path.rename(self._trash / secrets.token_hex(8))
        except FileNotFoundError:
            return False
        except OSError as exc:
            if exc.errno == errno.EXDEV:  # the folder is a link to another disk
                with contextlib.suppress(OSError):
                    path.unlink()
                    return True
            log.warning("file not freed reason=%s", exc.strerror)
            return False
        return True

    def _sweep(self, freed_trees: Iterable[bytes]) -> int:
        """Drop inner blocks that nothing needs."""
        gone = 0
        temp_pins = self.active.temp_pins
        trees = self.catalog.closure(freed_trees)
        for _ in range(MAX_SWEEPS):
            held, begun = temp_pins.held()
            roots = {key for key in held if isinstance(key, bytes)} | self.active.roots()
            guard = functools.partial(temp_pins.while_nothing_begins, begun)
            gone += self.catalog.sweep_blocks(roots, trees, self._old_block, guard)
            if temp_pins.held()[1] == begun:
                break
        return gone

    def grow_older(self) -> None:
        """Note that time has passed: blocks that were young at the last call are old now."""
        self._old_block, self._newer_block = self._newer_block, self.catalog.last_block()


def _empty(trash: Path) -> None:
    with contextlib.suppress(FileNotFoundError), os.scandir(trash) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                os.unlink(entry.path)


def _remove_empty(models: Path, place: Path) -> None:
    """Remove what is left of an entry of the models folder: its links and empty folders.

    A file that is not recorded stays, and the folders above it: it is not ours.
    """
    if place.parent != models or place.is_symlink() or not place.is_dir():
        return
    for folder, _, _ in os.walk(place, topdown=False):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            names = list(entries)
            if all(entry.is_symlink() for entry in names):
                for entry in names:
                    os.unlink(entry.path)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
