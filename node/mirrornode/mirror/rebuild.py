"""A whole file from a plain URL when nobody has its tree: fetch, rebuild the DAG, compare the root.

Without inner nodes no byte can be checked on arrival, so nothing is shared or finished before the
whole file has given the asked root under one of the known recipes. The bytes are fetched in order
by one connection; an interrupted fetch goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.buffers import page_aligned
from mirrornode.content.cid import RAW, SHA2_256, Cid
from mirrornode.content.file_dag import build_file_dag
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe
from mirrornode.errors import (
    CidMismatch,
    DiskFull,
    OriginChanged,
    PathRefused,
    RemoteProtocolError,
    SourceError,
    SourceGone,
    SourceRefused,
)
from mirrornode.events import GetProgress, SourceState
from mirrornode.mirror.told import told
from mirrornode.sources.refusal import refusal
from mirrornode.sources.web import WEB_HEADERS, WebConnection
from mirrornode.store.announcements import sha256_multihash
from mirrornode.store.files import profile_key
from mirrornode.store.hashing import FileDigests, hash_file
from mirrornode.store.records import FileRecord
from mirrornode.store.stamps import FileStamp
from mirrornode.transfer.outputs import (
    lock_part,
    make_folder,
    part_text,
    sync_folder,
    write_error,
)
from mirrornode.transfer.score import Rate
from mirrornode.transfer.space import SPARE_BYTES, free_bytes
from mirrornode.wire.ranges import parse_content_range

if TYPE_CHECKING:
    from mirrornode.content.block import Block
    from mirrornode.sources.http_file import HttpFileSource
    from mirrornode.sources.ports import Pace
    from mirrornode.store.catalog import Catalog

PIECE_BYTES = 1 << 20
TRIES_A_SOURCE = 4
WAIT_FIRST_S = 0.5
MAX_REST_S = 60.0  # however long an overloaded server asks to be left alone
PROGRESS_EVERY_S = 0.2

KNOWN_RECIPES: tuple[Recipe, ...] = (
    UNIXFS_V1_2025,
    UNIXFS_V0_2015,
    # What `ipfs add --cid-version=1` made before profiles, and its neighbours.
    replace(UNIXFS_V1_2025, name="custom", chunker="size-262144", max_links=174),
    replace(UNIXFS_V1_2025, name="custom", max_links=174),
    replace(UNIXFS_V0_2015, name="custom", raw_leaves=True),
    replace(UNIXFS_V0_2015, name="custom", cid_version=1),
)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A file that was fetched whole; `resumed_bytes` of it were there from an earlier run."""

    size_bytes: int
    resumed_bytes: int
    bytes_by_source: Mapping[str, int]


async def rebuild(
    catalog: Catalog,
    cid: Cid,
    output: Path,
    sources: Sequence[HttpFileSource],
    emit: Callable[[GetProgress], None],
    pace: Pace | None = None,
    note: Callable[[Sequence[SourceState]], None] | None = None,
) -> Rebuilt:
    """Fetch the file, prove it against `cid`, give it its name and record it.

    Args:
        pace: How fast to receive; None = no limit.
        note: Told at the end, however it ends, what each source did.

    Raises:
        SourceError: No URL delivered the whole.
        CidMismatch: The file there is not the one that `cid` names.
        StoreError: This machine's disk failed.
    """
    fetch = _Fetch(cid, output, sources, emit, pace)
    task = asyncio.create_task(asyncio.to_thread(_fetch_and_prove, catalog, fetch))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        fetch.stop()
        await asyncio.gather(task, return_exceptions=True)
        raise
    finally:
        if note is not None:
            note(fetch.states(0.0))
    return Rebuilt(fetch.position, fetch.resumed_bytes, dict(fetch.bytes_by_source))


def _fetch_and_prove(catalog: Catalog, fetch: _Fetch) -> None:
    while True:
        resumed_bytes = fetch.run()
        try:
            _prove_and_finish(catalog, fetch)
        except CidMismatch:
            if not resumed_bytes:
                raise
            # The start was fetched by an earlier run, maybe of another version: once more, whole.
        else:
            return


@dataclass(slots=True)
class _Asked:
    """What one URL has done; see `SourceState`."""

    received_bytes: int = 0
    busy_s: float = 0.0
    since: float | None = None  # when it was last asked, None when it is left alone
    first_byte_s: float | None = None
    rtt_s: float | None = None
    failures: int = 0
    reason: str = ""

    def answered(self, connection: WebConnection) -> None:
        if self.first_byte_s is None and self.since is not None:
            self.first_byte_s = time.monotonic() - self.since
        self.rtt_s = connection.round_trip_s

    def failed(self, failure: SourceError) -> str:
        self.failures += 1
        self.reason = str(failure)
        return self.reason

    def left(self) -> None:
        if self.since is not None:
            self.busy_s += time.monotonic() - self.since
        self.since = None

    def state(self, source_id: str, rate: float) -> SourceState:
        is_active = self.since is not None
        busy_s = self.busy_s + (time.monotonic() - self.since if self.since is not None else 0.0)
        return SourceState(
            source_id,
            "active" if is_active else "idle",
            self.received_bytes,
            rate if is_active else 0.0,
            self.reason,
            self.first_byte_s,
            self.rtt_s,
            busy_s,
            self.failures,
        )


class _Fetch:
    """Brings one URL's bytes into the part file, in order, from a thread."""

    def __init__(
        self,
        cid: Cid,
        output: Path,
        sources: Sequence[HttpFileSource],
        emit: Callable[[GetProgress], None],
        pace: Pace | None,
    ) -> None:
        self.part = Path(part_text(os.fspath(output), ".whole.part"))
        self.position = 0
        self.resumed_bytes = 0
        self.bytes_by_source: dict[str, int] = {}  # of what this run put into the part
        self.cid = cid
        self.output = output
        self._sources = sources
        self.emit = emit
        self._pace = pace
        self._stopped = threading.Event()
        self._connection: WebConnection | None = None
        self._versions: dict[str, str | None] = {}  # by source: each has tags of its own
        self._rate = Rate()
        self._asked: dict[str, _Asked] = {}

    def stop(self) -> None:
        """End the fetch soon; the part stays."""
        self._stopped.set()
        if self._connection is not None:
            self._connection.abort()

    def go_on(self, _count: int = 0) -> None:
        """Raise when the fetch was stopped; takes what a progress callback gets."""
        if self._stopped.is_set():
            raise SourceGone("stopped")

    def run(self) -> int:
        """Fetch until the end of the file; on failures go on, with the next source in turn.

        Returns:
            How many bytes of it an earlier run had fetched.
        """
        try:
            make_folder(self.part.parent)
            # Without waiting: what is no file, such as a FIFO, is refused below.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self.part, flags, 0o644)
        except OSError as exc:
            raise PathRefused(self.part, "write", exc.strerror or str(exc)) from exc
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PathRefused(self.part, "write", "it is no regular file")
            lock_part(descriptor, self.part)
            self.position = self.resumed_bytes = os.lseek(descriptor, 0, os.SEEK_END)
            self.bytes_by_source.clear()
            self._fetch_from_any(descriptor)
            os.fsync(descriptor)
        except OSError as exc:
            raise write_error(exc, self.part, self.position) from exc
        finally:
            os.close(descriptor)
        return self.resumed_bytes

    def _fetch_from_any(self, descriptor: int) -> None:
        failure: SourceError = SourceGone("stopped")
        reasons: dict[str, str] = {}
        usable = list(self._sources)
        rests: dict[str, float] = {}  # seconds that a source asked to be left alone
        for attempt in range(TRIES_A_SOURCE):
            asked = min((rests.get(source.source_id, 0.0) for source in usable), default=0.0)
            if not usable or self._stopped.wait(max(attempt * WAIT_FIRST_S, asked)):
                break
            for source in tuple(usable):
                self.go_on()
                self._connection = WebConnection(source.source_id, source.moved)
                tally = self._asked.setdefault(source.source_id, _Asked())
                tally.since = time.monotonic()
                if self._pace is not None:
                    self._connection.set_pace(self._pace)
                try:
                    self._fetch(source, self._connection, descriptor)
                    return
                except OriginChanged as exc:
                    # Another file, or another version of it: what is there is of no use.
                    failure, reasons[source.source_id] = exc, tally.failed(exc)
                    self._begin_anew(descriptor)
                except SourceError as exc:
                    failure, reasons[source.source_id] = exc, tally.failed(exc)
                    if isinstance(exc, SourceRefused):
                        rests[source.source_id] = min(exc.retry_after_s or 0.0, MAX_REST_S)
                        if not _is_overload(exc.status):
                            usable.remove(source)
                finally:
                    tally.left()
                    self._connection.abort()
        if not reasons:
            raise failure
        message = f"no URL delivered the file: {told(reasons)}"
        if isinstance(failure, SourceRefused):
            raise SourceRefused(message, status=failure.status) from failure
        raise type(failure)(message) from failure

    def _fetch(self, source: HttpFileSource, connection: WebConnection, descriptor: int) -> None:
        url = source.url
        wanted = {"Range": f"bytes={self.position}-"} if self.position else {}
        response = connection.request(url, {**WEB_HEADERS, **wanted})
        self._asked[source.source_id].answered(connection)
        if response.getheader("Content-Encoding", "identity") not in ("identity", ""):
            raise SourceRefused("compresses the file", source_id=source.source_id)
        version = response.getheader("ETag") or response.getheader("Last-Modified")
        if response.status == 416:
            if response.getheader("Content-Range", "").strip() == f"bytes */{self.position}":
                return  # an earlier run had it all
            raise OriginChanged("has a shorter file now", source_id=source.source_id)
        known = self._versions.get(source.source_id)
        if response.status == 206 and known is not None and version != known:
            raise OriginChanged("has another version of the file now", source_id=source.source_id)
        if response.status == 206:
            try:
                start, _, total = parse_content_range(response.getheader("Content-Range"))
            except RemoteProtocolError as exc:
                raise SourceRefused(str(exc), source_id=source.source_id) from exc
            if start != self.position or total is None:
                raise SourceRefused("sent another range than asked", source_id=source.source_id)
        elif response.status == 200:
            length = response.getheader("Content-Length")
            if length is None or not length.isascii() or not length.isdigit():
                raise SourceRefused("does not tell the size", source_id=source.source_id)
            total = int(length)
            self._begin_anew(descriptor)
        else:
            raise refusal(response, source.source_id)
        self._versions[source.source_id] = version
        self._check_space(total - self.position)
        self._receive(source, connection, descriptor, total)

    def _begin_anew(self, descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        self.position = self.resumed_bytes = 0
        self.bytes_by_source.clear()
        self._versions.clear()

    def _receive(
        self, source: HttpFileSource, connection: WebConnection, descriptor: int, total: int
    ) -> None:
        buffer = page_aligned(PIECE_BYTES)
        last_shown = last_at = time.monotonic()
        while self.position < total:
            self.go_on()
            view = buffer[: min(PIECE_BYTES, total - self.position)]
            connection.read_into(view)
            written = 0
            while written < len(view):
                written += os.pwrite(descriptor, view[written:], self.position + written)
            self.position += len(view)
            credit = self.bytes_by_source.get(source.source_id, 0)
            self.bytes_by_source[source.source_id] = credit + len(view)
            self._asked[source.source_id].received_bytes += len(view)
            now = time.monotonic()
            self._rate.record(len(view), now - last_at)
            last_at = now
            if now - last_shown > PROGRESS_EVERY_S:
                last_shown = now
                rate, done = self._rate.bytes_per_s, self.position
                states = self.states(rate)
                self.emit(
                    GetProgress("transfer", done, total, self.resumed_bytes, rate, sources=states)
                )

    def states(self, rate: float) -> tuple[SourceState, ...]:
        """Return what each source has done; the one at work brings `rate` bytes a second."""
        return tuple(asked.state(source_id, rate) for source_id, asked in self._asked.items())

    def _check_space(self, needed_bytes: int) -> None:
        free = free_bytes(self.part.parent)
        if needed_bytes + SPARE_BYTES > free:
            raise DiskFull(self.part, needed_bytes, free)


def _is_overload(status: int) -> bool:
    return status == 429 or status >= 500


def _prove_and_finish(catalog: Catalog, fetch: _Fetch) -> None:
    """Find the recipe under which the part has the asked root; a part that has none is removed."""
    cid, position = fetch.cid, fetch.position
    fetch.emit(
        GetProgress(
            "finishing", position, position, fetch.resumed_bytes, 0.0, sources=fetch.states(0.0)
        )
    )
    for recipe, digests, root, inner in _candidates(fetch):
        if root == cid or (cid.codec == RAW and cid.hash_code == SHA2_256
                           and digests.sha256 == cid.digest):  # fmt: skip
            _finish(catalog, fetch.output, fetch.part, recipe, digests, root, inner)
            return
    fetch.part.unlink(missing_ok=True)
    raise CidMismatch(cid, "the file at the URL has another root under every known recipe")


def _candidates(fetch: _Fetch) -> Iterator[tuple[Recipe, FileDigests, Cid, Sequence[Block]]]:
    cid = fetch.cid
    recipes = [recipe for recipe in KNOWN_RECIPES if recipe.cid_version == cid.version]
    if cid.codec == RAW:
        recipes = [UNIXFS_V1_2025]  # its SHA-256 is compared, whatever the tree
    for recipe in recipes:
        digests = hash_file(fetch.part, recipe, fetch.go_on)
        dag = build_file_dag(digests.multihashes, digests.lengths, recipe)
        yield recipe, digests, dag.root, dag.inner


def _finish(
    catalog: Catalog,
    output: Path,
    part: Path,
    recipe: Recipe,
    digests: FileDigests,
    root: Cid,
    inner: Sequence[Block],
) -> None:
    try:
        if FileStamp.of(part) != digests.stamp:
            raise PathRefused(part, "finish", "somebody changed it meanwhile")
        os.replace(part, output)
        sync_folder(output.parent)
        stamp = FileStamp.of(output)
        if stamp != digests.stamp:
            os.replace(output, part)
            raise PathRefused(part, "finish", "somebody replaced it meanwhile")
    except OSError as exc:
        raise PathRefused(output, "write", exc.strerror or str(exc)) from exc
    catalog.record_files(
        [
            FileRecord(
                path=output,
                stamp=stamp,
                cid=root,
                leaf_form=recipe.leaf_form,
                multihashes=digests.multihashes,
                lengths=digests.lengths,
                profile=profile_key(recipe),
                sha256=digests.sha256,
                git_sha1=digests.git_sha1,
                blocks=inner,
            )
        ]
    )
    catalog.record_root(
        cid=root,
        kind="file",
        name=output.name,
        path=output,
        size_bytes=stamp.size_bytes,
        profile=profile_key(recipe),
        files=[(output, root)],
        announce=dict.fromkeys([root.multihash, sha256_multihash(digests.sha256)]),
    )
