"""`verify`: are the shared files still what they were, every byte of them?

Re-hashes every leaf where it lies, in threads, and looks whether every inner block is kept. A file
that is no longer itself is not served any more; one that only looks different (a new time or inode,
the same bytes) is served again under its new stamp.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mirrornode.buffers import page_aligned
from mirrornode.content.block import MAX_BLOCK_BYTES, Block
from mirrornode.content.cid import DAG_PB, Cid
from mirrornode.content.dagpb import decode_node
from mirrornode.content.leaf_form import leaf_multihash
from mirrornode.errors import BlockNotFound, ContentError, FileChanged, PathRefused, TargetError
from mirrornode.events import AddProgress, Progress
from mirrornode.store.hash_pool import MAX_WORKERS, TICK_S, ByteMeter, Task, run_tasks
from mirrornode.store.hashing import MIB
from mirrornode.store.stamps import CHANGED, MISSING, FileStamp, open_regular

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.records import StoredFile, StoredRoot

SEGMENT_BYTES = 64 * MIB  # one thread's share of a file: large files use every core
MAX_BAD_LEAVES = 100  # named for each file
MAX_PROBLEMS = 1000  # named in a report; more are only counted

CORRUPT = "corrupt"  # the stamp is the old one, the bytes are not
UNREADABLE = "unreadable"
INCOMPLETE = "incomplete"  # a block of the tree itself is gone from the catalog


@dataclass(frozen=True, slots=True)
class VerifyProblem:
    """One file or root that is not what it was; `bad_leaves` names the first wrong leaves."""

    path: str
    cid: str
    reason: str
    bad_leaves: tuple[int, ...] = ()


@dataclass(slots=True)
class VerifyReport:
    """What `verify` found; `restored_files` are served again, `more_problems` were not named."""

    checked_files: int = 0
    checked_bytes: int = 0
    restored_files: int = 0
    more_problems: int = 0
    problems: list[VerifyProblem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is as it was added."""
        return not self.problems

    def add(self, problem: VerifyProblem) -> None:
        """Note a problem, or count it when too many were noted."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)
        else:
            self.more_problems += 1

    def to_record(self) -> dict[str, Any]:
        """Return the report as a JSON-able dict."""
        return {**dataclasses.asdict(self), "ok": self.ok}


def verify_roots(
    catalog: Catalog, target: bytes | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Re-hash the files of one root, or of all, and mark those that changed or are gone.

    Blocks for as long as reading takes: run it in a thread.

    Args:
        target: Multihash of a root, or of a file inside one; None means everything.
        progress: Gets `AddProgress` at most about ten times a second, in the caller's thread; what
            it raises stops the verification.

    Raises:
        TargetError: The target is not shared here.
    """
    roots, files = _select(catalog, target)
    report = VerifyReport()
    _check_files(catalog, list(files.values()), report, progress)
    for root in roots:
        replaced = catalog.replaced_files(root.cid)
        for path in replaced:
            report.add(VerifyProblem(str(path), str(root.cid), CHANGED))
        if not replaced and any(True for _ in _missing_blocks(catalog, root.cid)):
            report.add(VerifyProblem(str(root.path), str(root.cid), INCOMPLETE))
    return report


def _select(
    catalog: Catalog, target: bytes | None
) -> tuple[list[StoredRoot], dict[int, StoredFile]]:
    if target is None:
        return catalog.roots(), {file.file_id: file for file in catalog.all_files()}
    root = catalog.find_root(target)
    if root is not None:
        return [root], {file.file_id: file for file in catalog.root_files(root.cid)}
    one = catalog.find_file(target)
    if one is None:
        raise TargetError("the target is not shared here; `mirrornode ls` lists what is")
    return [], {one.file_id: one}


@dataclass(frozen=True, slots=True)
class _Segment:
    """The outcome of some leaves of one file; `reason` is "" when they were read."""

    file: StoredFile
    stamp: FileStamp
    bad_leaves: tuple[int, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class _Verdict:
    """What is known of one file so far."""

    open_segments: int
    stamps: set[FileStamp] = field(default_factory=set)
    bad_leaves: list[int] = field(default_factory=list)
    reason: str = ""

    def take(self, segment: _Segment) -> None:
        self.open_segments -= 1
        self.stamps.add(segment.stamp)
        self.bad_leaves += segment.bad_leaves
        self.reason = self.reason or segment.reason

    def outcome(self, file: StoredFile) -> str:
        """Return why the file is not itself any more, "" when it is."""
        if self.reason:
            return self.reason
        if self.stamps == {file.stamp}:
            return CORRUPT if self.bad_leaves else ""
        return CHANGED if self.bad_leaves or len(self.stamps) > 1 else ""


def _check_files(
    catalog: Catalog,
    files: list[StoredFile],
    report: VerifyReport,
    progress: Progress | None,
) -> None:
    meter = ByteMeter()
    total_bytes = sum(file.size_bytes for file in files)
    on_tick = _ticker(meter, total_bytes, progress)
    verdicts: dict[int, _Verdict] = {}
    for segment in run_tasks(
        _tasks(catalog, files, verdicts), min(MAX_WORKERS, os.cpu_count() or 1), meter, on_tick
    ):
        verdict = verdicts[segment.file.file_id]
        verdict.take(segment)
        if not verdict.open_segments:
            del verdicts[segment.file.file_id]
            _conclude(catalog, segment.file, verdict, report)
    report.checked_bytes = meter.done_bytes
    if progress is not None:
        progress(AddProgress(total_bytes, total_bytes))


def _ticker(meter: ByteMeter, total_bytes: int, progress: Progress | None) -> Callable[[], None]:
    next_at = 0.0

    def on_tick() -> None:
        nonlocal next_at
        now = time.monotonic()
        if progress is not None and now >= next_at:
            next_at = now + TICK_S
            progress(AddProgress(meter.done_bytes, total_bytes))

    return on_tick


def _tasks(
    catalog: Catalog, files: Iterable[StoredFile], verdicts: dict[int, _Verdict]
) -> Iterator[Task[_Segment]]:
    for file in files:
        leaf_bytes = max(1, file.size_bytes // max(1, file.leaves))
        step = max(1, SEGMENT_BYTES // leaf_bytes)
        starts = range(0, max(1, file.leaves), step)
        verdicts[file.file_id] = _Verdict(len(starts))
        for start in starts:
            yield _segment_task(catalog, file, start, start + step)


def _segment_task(catalog: Catalog, file: StoredFile, start: int, stop: int) -> Task[_Segment]:
    def task(meter: ByteMeter) -> _Segment:
        try:
            descriptor = open_regular(file.path)
        except FileChanged as error:
            return _Segment(file, file.stamp, reason=error.reason)
        except PathRefused:
            return _Segment(file, file.stamp, reason=UNREADABLE)
        try:
            stamp = FileStamp.of(descriptor)
            if stamp.size_bytes != file.size_bytes:
                return _Segment(file, stamp, reason=CHANGED)
            bad = _bad_leaves(descriptor, catalog, file, start, stop, meter)
            changed = FileStamp.of(descriptor) != stamp
            return _Segment(file, stamp, tuple(bad), CHANGED if changed else "")
        except OSError:
            return _Segment(file, file.stamp, reason=UNREADABLE)
        finally:
            os.close(descriptor)

    return task


def _bad_leaves(
    descriptor: int, catalog: Catalog, file: StoredFile, start: int, stop: int, meter: ByteMeter
) -> list[int]:
    leaves = catalog.leaves_of(file, start, stop)
    longest = max((length for _, length, _ in leaves), default=0)
    assert longest <= MAX_BLOCK_BYTES, "no leaf is larger than a block"
    buffer = page_aligned(longest)
    bad: list[int] = []
    for leaf, (offset, length, multihash) in enumerate(leaves, start):
        count = os.preadv(descriptor, [buffer[:length]], offset) if length else 0
        if leaf_multihash(file.leaf_form, multihash[0], buffer[:count]) != multihash:
            bad.append(leaf)
        meter.advance(count)
    return bad


def _conclude(catalog: Catalog, file: StoredFile, verdict: _Verdict, report: VerifyReport) -> None:
    report.checked_files += 1
    reason = verdict.outcome(file)
    if reason:
        bad = tuple(sorted(verdict.bad_leaves)[:MAX_BAD_LEAVES])
        report.add(VerifyProblem(str(file.path), str(file.cid), reason, bad))
        if reason != UNREADABLE:
            catalog.mark_changed(file.path, MISSING if reason == MISSING else CHANGED)
    elif verdict.stamps != {file.stamp} or file.state != "ok":
        catalog.restore_file(file, verdict.stamps.pop())
        report.restored_files += 1


def _missing_blocks(catalog: Catalog, root: Cid) -> Iterator[Cid]:
    """Yield the blocks of a tree that are neither kept nor leaves of a file, in no order."""
    seen: set[bytes] = set()
    stack = [root]
    while stack:
        cid = stack.pop()
        try:
            block = _inner_block(catalog, cid)
            links = decode_node(block.data).links if cid.codec == DAG_PB else ()
        except BlockNotFound:
            if not catalog.known_leaves([cid.multihash]):
                yield cid
            continue
        except ContentError:
            yield cid
            continue
        children = {link.cid.multihash: link.cid for link in links}
        for multihash in seen.intersection(children):
            del children[multihash]
        seen.update(children)
        kept = catalog.has_blocks(list(children))
        rest = [m for m, child in children.items() if m not in kept and not child.is_identity]
        leaves = catalog.known_leaves(rest)
        yield from (children[multihash] for multihash in rest if multihash not in leaves)
        stack += [c for m, c in children.items() if c.codec == DAG_PB and m not in rest]


def _inner_block(catalog: Catalog, cid: Cid) -> Block:
    if cid.is_identity:
        return Block.of_identity(cid)
    found = catalog.get_block(cid.multihash)
    if found is None:
        raise BlockNotFound(cid)
    return Block.verify(cid, found)
