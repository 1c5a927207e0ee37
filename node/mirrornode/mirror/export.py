"""`export`: a target that is here becomes one CAR file, for a site that no network reaches.

Written is a CARv1: depth first, each block once, file bytes straight from the user's files. Every
block is hashed on its way, so that a file which was changed ends the export instead of spoiling
it. What is here is looked up before the first byte is written. Memory: `local_dag`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.car import encode_header, section_head
from mirrornode.content.car_names import CarName, encode_names
from mirrornode.content.walk import resolve_path, run_walk
from mirrornode.errors import (
    BlockNotFound,
    CidMismatch,
    NotAllHere,
    PathRefused,
    TargetError,
)
from mirrornode.events import AddProgress, Progress
from mirrornode.mirror.block_reader import BlockReader
from mirrornode.mirror.local_dag import LocalBlock, LocalDag
from mirrornode.mirror.target import parse_target
from mirrornode.store.stamps import CHANGED
from mirrornode.transfer.outputs import lock_part, part_text, sync_folder, write_error
from mirrornode.transfer.space import check_space

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.content.cid import Cid
    from mirrornode.store.catalog import Catalog

TELL_EVERY_S = 0.1
MAX_MISSING = 1000  # paths named in a result; more are only counted
MISSING_SHOWN = 5
READER_WAIT_S = 10.0
READER_LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to write, and where to.

    Attributes:
        output: Where the file goes; a FIFO is written to as it is.
        force: Replace a file that is there.
        partial: Write what is here when not all is.
        names: Add the block that tells what the root is called.
    """

    target: str
    output: Path
    force: bool = False
    partial: bool = False
    names: bool = True


@dataclass(frozen=True, slots=True)
class Subject:
    """What a target turned out to be.

    Attributes:
        made: Blocks that were made for this, by multihash: folders of what is kept as files only.
        missing: Paths below the root that are known to be absent already.
    """

    root: Cid
    name: str
    made: Mapping[bytes, bytes] = field(default_factory=dict)
    missing: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: field names are the command line's JSON contract.

    `size_bytes` is that of the CAR; `missing` names the first of `missing_count` absent paths.
    """

    cid: str
    path: str
    name: str
    size_bytes: int
    blocks: int
    seconds: float
    missing: tuple[str, ...] = ()
    missing_count: int = 0

    def to_record(self) -> dict[str, Any]:
        """Return the fields as a JSON-able dict."""
        return {**dataclasses.asdict(self), "complete": not self.missing_count}


def export_car(
    catalog: Catalog, request: ExportRequest, subject: Subject, progress: Progress
) -> Exported:
    """Write a CAR of the subject; blocks until it is on disk. What `progress` raises ends it.

    Raises:
        TargetError: A file is there already.
        NotAllHere: Something is missing, and `partial` is False.
        CidMismatch: A file is not what was added; the message names it.
        DiskFull, PathRefused: The output cannot be written.
    """
    began = time.monotonic()
    is_pipe = _check_output(request)
    survey = _survey(catalog, request, subject)
    last = _names_block(subject) if request.names else None
    roots = [subject.root, last.cid] if last is not None else [subject.root]
    header = encode_header(roots)
    survey.size_bytes += len(header) + (_section_bytes(last) if last is not None else 0)
    copying = _Copying(catalog, subject, header, last, progress, survey, subject.name)
    if is_pipe:
        _write_pipe(request.output, copying.write)
    else:
        check_space(request.output, survey.size_bytes)
        _write_file(request, copying.write, survey.size_bytes)
    return Exported(
        cid=str(subject.root),
        path=str(request.output),
        name=subject.name,
        size_bytes=copying.done_bytes,
        blocks=copying.blocks,
        seconds=round(time.monotonic() - began, 3),
        missing=tuple(survey.missing),
        missing_count=survey.missing_count,
    )


def subject_of(catalog: Catalog, text: str) -> Subject:
    """Return what a CID with or without a path stands for here.

    Raises:
        TargetError: Not a target, or there is no such path below it.
        NotAllHere: A folder on the way is not here.
    """
    target = parse_target(text)
    root = target.cid
    known = catalog.find_root(root.multihash)
    name = known.name if known is not None else ""
    if not target.path:
        return Subject(root, name or str(root))

    def load(cids: Sequence[Cid]) -> list[Block]:
        reader = BlockReader(catalog)
        return [reader.kept(cid) for cid in cids]

    try:
        root = run_walk(resolve_path(root, target.path), load)
    except BlockNotFound as exc:
        raise NotAllHere(_not_here(str(target)), (target.name,)) from exc
    return Subject(root, target.name)


@dataclass(slots=True)
class _Survey:
    """What of a subject is here."""

    size_bytes: int = 0
    absent_blocks: int = 0
    missing: list[str] = field(default_factory=list)
    missing_count: int = 0

    def miss(self, path: str) -> None:
        """Note a path, once in a row."""
        if self.missing and self.missing[-1] == path:
            return
        self.missing_count += 1
        if len(self.missing) < MAX_MISSING:
            self.missing.append(path)


def _survey(catalog: Catalog, request: ExportRequest, subject: Subject) -> _Survey:
    survey = _Survey(missing=list(subject.missing), missing_count=len(subject.missing))
    dag = LocalDag(catalog, subject.made)
    found = 0
    for block in dag.blocks(subject.root):
        if block.is_here:
            found += 1
            head = len(section_head(block.cid, block.size_bytes))
            survey.size_bytes += head + block.size_bytes
        else:
            survey.absent_blocks += 1
            survey.miss(block.path or subject.name)
    if not survey.missing_count:
        return survey
    changed = [path for path, state in dag.changed.items() if state == CHANGED]
    changed += [file.path for file in catalog.root_files(subject.root) if file.state == CHANGED]
    if changed and not request.partial:
        raise CidMismatch(
            subject.root,
            f"{changed[0]} changed since it was added; restore it, or share the new content with "
            "`mirrornode add`",
        )
    if not found:
        raise NotAllHere(_not_here(request.target), tuple(survey.missing))
    if not request.partial:
        names = ", ".join(survey.missing[:MISSING_SHOWN])
        more = survey.missing_count - MISSING_SHOWN
        raise NotAllHere(
            f"not all of {request.target} is here: {names}"
            + (f" and {more} more" if more > 0 else "")
            + f"; fetch it with `mirrornode get {request.target}`, or write what is here with "
            "--partial",
            tuple(survey.missing),
        )
    return survey


def _not_here(target: str) -> str:
    return f"{target} is not here; fetch it first with `mirrornode get {target}`"


def _names_block(subject: Subject) -> Block | None:
    if not subject.name or subject.name == str(subject.root):
        return None
    return encode_names([CarName(subject.root, subject.name)])


def _section_bytes(block: Block) -> int:
    return len(section_head(block.cid, len(block.data))) + len(block.data)


class _Copying:
    """Writes one CAR into a descriptor."""

    def __init__(
        self,
        catalog: Catalog,
        subject: Subject,
        header: bytes,
        last: Block | None,
        progress: Progress,
        survey: _Survey,
        shown: str,
    ) -> None:
        self._catalog = catalog
        self._subject = subject
        self._header = header
        self._last = last
        self._progress = progress
        self._total_bytes = survey.size_bytes
        self._absent = survey.absent_blocks
        self._shown = shown
        self._next_at = 0.0
        self.done_bytes = 0
        self.blocks = 0

    def write(self, descriptor: int) -> None:
        """Write header, blocks and names."""
        self._put(descriptor, [self._header])
        with BlockReader(self._catalog) as reader:
            dag = LocalDag(self._catalog, self._subject.made)
            absent = 0
            for block in dag.blocks(self._subject.root):
                if block.is_here:
                    self._put_block(descriptor, block, reader)
                elif (absent := absent + 1) > self._absent:
                    where = next(iter(dag.changed), self._shown)
                    raise CidMismatch(block.cid, f"{where} changed while it was exported")
        if self._last is not None:
            head = section_head(self._last.cid, len(self._last.data))
            self._put(descriptor, [head, self._last.data])
            self.blocks += 1
        self._progress(AddProgress(self.done_bytes, self.done_bytes, self._shown))

    def _put_block(self, descriptor: int, block: LocalBlock, reader: BlockReader) -> None:
        view = reader.read(block)
        self._put(descriptor, [section_head(block.cid, len(view)), view])
        self.blocks += 1
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + TELL_EVERY_S
            self._progress(AddProgress(self.done_bytes, self._total_bytes, self._shown))

    def _put(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> None:
        size = sum(map(len, pieces))
        written = os.writev(descriptor, pieces)
        if written < size:
            _write_rest(descriptor, pieces, written)
        self.done_bytes += size


def _write_rest(descriptor: int, pieces: Sequence[bytes | memoryview], written: int) -> None:
    """Write what a short write has left over: of pieces in a row, all after `written` bytes."""
    for piece in pieces:
        view = memoryview(piece)[written:]
        written = max(0, written - len(piece))
        while view:
            view = view[os.write(descriptor, view) :]


def _check_output(request: ExportRequest) -> bool:
    """Return whether the output is a FIFO."""
    try:
        found = os.stat(request.output)
    except FileNotFoundError:
        if not request.output.parent.is_dir():
            raise TargetError(f"{request.output.parent} is no folder") from None
        return False
    except OSError as exc:
        raise PathRefused(request.output, "write", exc.strerror or str(exc)) from exc
    if stat.S_ISFIFO(found.st_mode):
        return True
    if not stat.S_ISREG(found.st_mode):
        raise TargetError(f"{request.output} is no file; name the file to write")
    if not request.force:
        raise TargetError(f"{request.output} exists; write over it with --force")
    return False


def _write_pipe(output: Path, write: Callable[[int], None]) -> None:
    try:
        descriptor = _open_pipe(output)
        try:
            os.set_blocking(descriptor, True)
            write(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise PathRefused(output, "write", exc.strerror or str(exc)) from exc


def _open_pipe(output: Path) -> int:
    """Open a FIFO that somebody reads, or is about to: never wait for one who is gone."""
    deadline = time.monotonic() + READER_WAIT_S
    while True:
        try:
            return os.open(output, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            if exc.errno != errno.ENXIO or time.monotonic() > deadline:
                raise
        time.sleep(READER_LOOK_S)


def _write_file(request: ExportRequest, write: Callable[[int], None], size_bytes: int) -> None:
    """Write beside the output and rename when all of it is on disk; nothing else stays behind."""
    output = request.output
    part = Path(part_text(os.fspath(output)))
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(part, flags, 0o644)
    except OSError as exc:
        raise PathRefused(part, "write", exc.strerror or str(exc)) from exc
    try:
        lock_part(descriptor, part)
        try:
            os.ftruncate(descriptor, 0)
            write(descriptor)
            os.fsync(descriptor)
            if not request.force and os.path.lexists(output):
                raise TargetError(f"{output} exists; write over it with --force")
            os.replace(part, output)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        sync_folder(output.parent)
    except OSError as exc:
        raise write_error(exc, output, size_bytes) from exc
    finally:
        os.close(descriptor)
