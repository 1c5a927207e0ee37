"""`add`: share files and folders where they lie.

Reads every file once, builds its tree by the recipe, and records where each leaf lies; files whose
stamp and recipe are known already are not read again. A root is recorded, with its announcements,
only after all its files were, so an interrupted add leaves whole files behind, never half a root.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.directory import DirEntry, build_directory, build_symlink
from mirrornode.content.file_dag import build_file_dag
from mirrornode.content.names import check_name
from mirrornode.content.recipe import UNIXFS_V1_2025, Recipe
from mirrornode.errors import ContentError, TargetError
from mirrornode.events import Added, AddProgress, Note, Progress
from mirrornode.mirror.copying import copy_in
from mirrornode.mirror.scan import Item, Skipped, scan
from mirrornode.store.announcements import sha256_multihash
from mirrornode.store.files import profile_key
from mirrornode.store.hash_pool import TICK_S, ByteMeter, hash_files
from mirrornode.store.home import MODELS_NAME
from mirrornode.store.records import FileRecord

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.cid import Cid
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.hashing import FileDigests

FLUSH_FILES = 256  # files and leaves recorded in one transaction: bounds memory, saves commits
FLUSH_LEAVES = 65_536
MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class AddRequest:
    """What to add, and how.

    Attributes:
        name: Name of the root, and of the entry when wrapped; None means the path's own.
        wrap: Put what is added into a folder of its own, several paths into one.
        only_hash: Tell the CID; write nothing.
        copy: Share a copy under the home's models folder, not the file in place.
        hidden: Take names that begin with a dot along.
    """

    paths: Sequence[Path]
    recipe: Recipe = UNIXFS_V1_2025
    name: str | None = None
    wrap: bool = False
    only_hash: bool = False
    copy: bool = False
    hidden: bool = False


def add_paths(
    catalog: Catalog | None, request: AddRequest, progress: Progress | None = None
) -> Iterator[Added]:
    """Add what a user named and yield each path when it is done; one for all when wrapped.

    Blocks for as long as reading takes: run it in a thread. Nothing happens before the first
    `next`. What `progress` raises, and closing the generator, stops the hashing threads first;
    files recorded until then stay recorded.

    Args:
        catalog: May be None with `only_hash`.
        progress: Gets `AddProgress` at most about ten times a second, in the caller's thread.

    Raises:
        TargetError: A path that does not exist or cannot be added, or options that contradict.
        PathRefused: The operating system denies access.
        FileChanged: A file was written to while it was read.
        DiskFull: No room for the catalog or a copy.
    """
    _check(request)
    home = catalog.home if catalog is not None else None
    skips = [Skipped() for _ in request.paths]
    items = [
        scan(path, skipped, hidden=request.hidden, home=home)
        for path, skipped in zip(request.paths, skips, strict=True)
    ]
    shown = [path.expanduser().absolute() for path in request.paths]
    if request.name is not None and len(items) == 1:
        items = [replace(items[0], name=request.name)]
    report = _Report(sum(item.size_bytes for item in items), progress)
    if request.copy:
        assert home is not None, "a copy needs a home"
        items = [_copied(item, home / MODELS_NAME, request, report) for item in items]
        shown = [item.path for item in items]
    store = None if request.only_hash else catalog
    assert store is not None or request.only_hash, "adding needs a catalog"
    if request.wrap:
        yield _add_wrapped(store, request, items, shown, skips, report)
        return
    for item, path, skipped in zip(items, shown, skips, strict=True):
        started = time.monotonic()
        tree = _Tree(store, request, report)
        entry = tree.build(item)
        root = _Root(entry, item.kind, item.name, path, item.size_bytes)
        yield tree.finish(root, skipped.report(), time.monotonic() - started)


def _check(request: AddRequest) -> None:
    if not request.paths:
        raise TargetError("name at least one file or folder to add")
    if request.copy and request.only_hash:
        raise TargetError("--copy and --only-hash contradict each other: one writes, one does not")
    name = request.name
    if name is None:
        return
    if len(request.paths) > 1 and not request.wrap:
        raise TargetError("--name names one path; add the others on their own, or use --wrap")
    if not name.isprintable() or not 0 < len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES:
        raise TargetError(f"--name {name!a}: use 1 to {MAX_NAME_BYTES} printable bytes")
    if request.wrap or request.copy:
        try:
            check_name(name)
        except ContentError as error:
            raise TargetError(f"--name: {error}") from error


def _add_wrapped(
    store: Catalog | None,
    request: AddRequest,
    items: Sequence[Item],
    shown: Sequence[Path],
    skips: Sequence[Skipped],
    report: _Report,
) -> Added:
    started = time.monotonic()
    tree = _Tree(store, request, report)
    entries = [tree.build(item) for item in items]
    try:
        entry = tree.folder("", entries)
    except ContentError as error:
        raise TargetError(f"cannot wrap these paths together: {error}") from error
    name = request.name or items[0].name
    size_bytes = sum(item.size_bytes for item in items)
    root = _Root(entry, "directory", name, shown[0], size_bytes)
    skipped = tuple(line for one in skips for line in one.report())
    return tree.finish(root, skipped, time.monotonic() - started)


def _copied(item: Item, models: Path, request: AddRequest, report: _Report) -> Item:
    """Copy an item into the models folder, unless its very content is there already."""
    target = models / item.name
    if target.is_symlink() or target.exists():
        there = scan(target, Skipped(), hidden=request.hidden, home=None)
        silent = _Report(0, None)
        same = [_Tree(None, request, silent).build(one).cid for one in (item, there)]
        if same[0] != same[1]:
            raise TargetError(
                f"{target} exists and has other content; choose another name with --name"
            )
    else:
        report.note(f"copying {item.name} into {models}")
        copy_in(item, target)
    return scan(target, Skipped(), hidden=request.hidden, home=None)


class _Report:
    """Turns bytes read into progress events, not more often than people can look."""

    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self.meter = ByteMeter()
        self.known_bytes = 0  # of files that need not be read
        self._total_bytes = total_bytes
        self._progress = progress
        self._next_at = 0.0

    def note(self, text: str) -> None:
        if self._progress is not None:
            self._progress(Note(text))

    def tick(self) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + TICK_S
            self.emit("")

    def emit(self, path: str) -> None:
        if self._progress is not None:
            done = min(self.meter.done_bytes + self.known_bytes, self._total_bytes)
            self._progress(AddProgress(done, self._total_bytes, path))


@dataclass(frozen=True, slots=True)
class _Root:
    """What is recorded of a root besides its tree."""

    entry: DirEntry
    kind: str
    name: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Hashed:
    """The outcome of one file."""

    cid: Cid
    tsize_bytes: int
    leaves: int
    sha256: bytes | None


@dataclass(slots=True)
class _Tree:
    """Builds one root: hashes and records its files, then collects its folders' blocks."""

    store: Catalog | None
    request: AddRequest
    report: _Report
    files: dict[Path, _Hashed] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    files_read: int = 0

    def build(self, item: Item) -> DirEntry:
        """Hash what lies at and below an item and return it as a directory entry."""
        self._hash_below(item)
        return self._entry(item)

    def folder(self, name: str, entries: Iterable[DirEntry]) -> DirEntry:
        """Return a directory over entries; its blocks are kept for `finish`."""
        dag = build_directory(entries, self.request.recipe)
        self.blocks += dag.blocks
        return DirEntry(name, dag.root, dag.tsize_bytes)

    def finish(self, root: _Root, skipped: tuple[str, ...], seconds: float) -> Added:
        """Record the root and return what the user is told."""
        recipe = self.request.recipe
        if self.store is not None:
            self.store.record_root(
                cid=root.entry.cid,
                kind=root.kind,
                name=root.name,
                path=root.path,
                size_bytes=root.size_bytes,
                profile=recipe.name,
                files=[(path, file.cid) for path, file in self.files.items()],
                blocks=self.blocks,
                announce=self._names(root.entry.cid),
            )
        self.report.emit(str(root.path))
        return Added(
            cid=str(root.entry.cid),
            name=root.name,
            path=str(root.path),
            size_bytes=root.size_bytes,
            leaves=sum(file.leaves for file in self.files.values()),
            seconds=seconds,
            profile=recipe.name,
            files=len(self.files),
            files_read=self.files_read,
            skipped=skipped,
        )

    def _hash_below(self, item: Item) -> None:
        recipe = self.request.recipe
        stamps = dict(item.files())
        if self.store is not None:
            for path, known in self.store.known_files(stamps, recipe).items():
                if (
                    known.state == "ok"
                    and known.stamp == stamps[path]
                    and known.tsize_bytes is not None
                ):
                    self.files[path] = _Hashed(
                        known.cid, known.tsize_bytes, known.leaves, known.sha256
                    )
                    self.report.known_bytes += known.size_bytes
        unread = [(p, stamp.size_bytes) for p, stamp in stamps.items() if p not in self.files]
        self.files_read += len(unread)
        batch: list[FileRecord] = []
        batch_leaves = 0
        for path, digests in hash_files(unread, recipe, self.report.meter, self.report.tick):
            record = self._record(path, digests)
            if self.store is None:
                continue
            batch.append(record)
            batch_leaves += len(record.multihashes)
            if len(batch) >= FLUSH_FILES or batch_leaves >= FLUSH_LEAVES:
                self.store.record_files(batch)
                batch, batch_leaves = [], 0
        if self.store is not None and batch:
            self.store.record_files(batch)

    def _record(self, path: Path, digests: FileDigests) -> FileRecord:
        recipe = self.request.recipe
        dag = build_file_dag(digests.multihashes, digests.lengths, recipe)
        self.files[path] = _Hashed(dag.root, dag.tsize_bytes, dag.leaves, digests.sha256)
        return FileRecord(
            path=path,
            stamp=digests.stamp,
            cid=dag.root,
            leaf_form=dag.leaf_form,
            multihashes=digests.multihashes[: dag.leaves],  # an empty trickle file has no leaf
            lengths=digests.lengths[: dag.leaves],
            profile=profile_key(recipe),
            tsize_bytes=dag.tsize_bytes,
            sha256=digests.sha256,
            git_sha1=digests.git_sha1,
            is_managed=self.request.copy,
            blocks=dag.inner,
        )

    def _entry(self, item: Item) -> DirEntry:
        if item.kind == "file":
            file = self.files[item.path]
            return DirEntry(item.name, file.cid, file.tsize_bytes)
        if item.kind == "symlink":
            cid, block, tsize_bytes = build_symlink(item.link_target, self.request.recipe)
            self.blocks.append(block)
            return DirEntry(item.name, cid, tsize_bytes)
        return self.folder(item.name, map(self._entry, item.children))

    def _names(self, root: Cid) -> Iterator[bytes]:
        """Yield every multihash the root and its files are announced under, the root first."""
        yield root.multihash
        for file in self.files.values():
            yield file.cid.multihash
            if file.sha256 is not None:
                yield sha256_multihash(file.sha256)
