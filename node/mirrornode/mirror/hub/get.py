"""`get hf:…`: a repo, a folder or a file of the Hub, from peers first, into the clients' cache.

Every file goes through the node's shared transfers (`fetch`), so a `get` and a client of the
endpoint that want the same file fetch it once. Each is put into its place as soon as it is there;
what fails does not stop the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import (
    FileChanged,
    Incomplete,
    MirrorError,
    OriginAway,
    SourceError,
    TargetError,
)
from mirrornode.events import Event, GetProgress, Got, Note, SourceState
from mirrornode.mirror.hub.cached import adopt
from mirrornode.mirror.hub.chosen import chosen_files
from mirrornode.mirror.hub.destination import (
    CacheDestination,
    Destination,
    FolderDestination,
    StoreDestination,
    choose_folder,
)
from mirrornode.mirror.hub.parts import HubParts, admit
from mirrornode.mirror.hub.small_file import SMALL_FILE_BYTES
from mirrornode.mirror.in_thread import in_thread
from mirrornode.wire.hub import parse_hub_target

if TYPE_CHECKING:
    from mirrornode.mirror.hub.named import Named
    from mirrornode.mirror.recording import Recording
    from mirrornode.wire.hub import HubFile, HubTarget

LARGE_AT_ONCE = 3  # each uses several connections of each source
SMALL_AT_ONCE = 16
MISSING_SHOWN = 5
PROGRESS_EVERY_S = 0.2
RATE_MEMORY = 0.8  # what the last rate weighs in the next, `PROGRESS_EVERY_S` later


@dataclass(frozen=True, slots=True)
class HubGetRequest:
    """What the user asked for.

    Attributes:
        folder: Where the user stands; relative paths start there.
        destination: As given with -o; None for the cache.
        is_kept: Into the node's own store instead, and nowhere else.
        max_bytes: Refuse what is larger; 0 = no limit.
        cache: The cache folder of the Hub's clients.
        include: Patterns of paths, see `chosen_files`.
        peers: Multiaddrs of nodes to dial besides those that are found.
        kind: What it is recorded as, see `Download.kind`.
    """

    target: str
    folder: Path
    destination: Path | None
    cache: Path
    token: str = field(default="", repr=False)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    kind: str = "hub"
    is_kept: bool = False
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """One content, and all the paths it has in the repo."""

    file: HubFile
    paths: Sequence[str]


async def get_hub(
    parts: HubParts,
    request: HubGetRequest,
    emit: Callable[[Event], None],
    account: Recording | None = None,
) -> Got:
    """Bring a target and put it where it is asked for.

    Args:
        account: Of the larger download that this is a part of; None for one of its own.

    Raises:
        TargetError: The target or the destination cannot be.
        HubRefusal, OriginAway, LicenceRefused: Its name does not lead to anything one may have.
        Incomplete: Some files did not come; the others are in their place.
        MirrorError: Nothing came, for the reason given.

    Cancelling ends what only this `get` is fetching; the same request goes on from there.
    """
    target = parse_hub_target(request.target)
    own = parts.files.recorder.recording(request.kind, str(target))
    async with contextlib.nullcontext(account) if account is not None else own as recording:

        def tell(event: Event) -> None:
            recording.follow(event)
            emit(event)

        got = await _get(parts, request, target, recording, tell)
        recording.root, recording.size_bytes = got.cid, got.size_bytes
        recording.resumed_bytes = got.resumed_bytes
        return got


async def _get(
    parts: HubParts,
    request: HubGetRequest,
    target: HubTarget,
    recording: Recording,
    emit: Callable[[Event], None],
) -> Got:
    began = time.monotonic()
    emit(GetProgress("finding", 0, 0, 0, 0.0))
    named, tree = await look_up(parts, target, request.token, request.peers)
    if named.warning:
        emit(Note(named.warning, "warning"))
    wanted = chosen_files(tree, named, target.path, request.include, request.exclude)
    size_bytes = sum(file.size_bytes for file in wanted.values())
    if 0 < request.max_bytes < size_bytes:
        raise TargetError(f"{target} has {size_bytes:,} bytes: there is no room for it")
    destination = _destination(parts, request, target, named, is_file=target.path in wanted)
    recording.root = str(replace(target, revision=named.commit))
    recording.size_bytes = sum(file.size_bytes for file in wanted.values())
    recording.out = str(destination.shown)
    bringing = _Bringing(
        parts, named, request.token, _by_content(wanted), destination, recording, emit
    )
    await bringing.run()
    bringing.raise_failures()
    await asyncio.to_thread(destination.finish)
    return Got(
        cid=str(replace(target, revision=named.commit)),
        path=str(destination.shown),
        size_bytes=size_bytes,
        seconds=round(time.monotonic() - began, 3),
        bytes_by_source=dict(bringing.bytes_by_source),
        resumed_bytes=bringing.resumed_bytes,
        files=len(wanted),
        bad_sources=bringing.bad_sources,
    )


async def look_up(
    parts: HubParts,
    target: HubTarget,
    token: str,
    peers: Sequence[str] = (),
    *,
    since: float = 0.0,
) -> tuple[Named, Mapping[str, HubFile]]:
    """Return what the target means and all files of its repo; peers are found meanwhile.

    Args:
        since: See `HubNames.resolve`.

    Raises:
        HubRefusal, OriginAway, LicenceRefused: It does not lead to anything one may have.
    """

    async def ask() -> tuple[Named, Mapping[str, HubFile]]:
        named = await admit(parts, target.repo, target.revision, token, since=since)
        return named, await parts.names.tree(named, token)

    meeting = asyncio.create_task(parts.meet(peers))
    try:
        try:
            found = await ask()
        except OriginAway:
            await meeting
            found = await ask()  # there may be a trusted peer by now
        await meeting
        return found
    finally:
        meeting.cancel()
        await asyncio.gather(meeting, return_exceptions=True)


class _Bringing:
    """All contents of one `get`, some at a time, small ones first."""

    def __init__(
        self,
        parts: HubParts,
        named: Named,
        token: str,
        wanted: Sequence[Wanted],
        destination: Destination,
        recording: Recording,
        emit: Callable[[Event], None],
    ) -> None:
        self._parts = parts
        self._named = named
        self._token = token
        self._wanted = wanted
        self._destination = destination
        self._recording = recording
        self._emit = emit
        self._here: dict[str, int] = {}  # bytes by ETag, of whatever is not in its place yet
        self._done: set[str] = set()
        self._failures: dict[str, MirrorError] = {}
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._small = asyncio.Semaphore(SMALL_AT_ONCE)
        self._fetched: Counter[str] = Counter()  # by source, of contents that are here
        self._resumed: Counter[str] = Counter()  # by ETag
        self.bad_sources: dict[str, str] = {}

    @property
    def content_bytes(self) -> int:
        """Bytes of all contents, each counted once."""
        return sum(wanted.file.size_bytes for wanted in self._wanted)

    @property
    def bytes_by_source(self) -> Mapping[str, int]:
        """What each source sent, of the contents that are here."""
        return self._fetched

    @property
    def resumed_bytes(self) -> int:
        """Bytes that were on this disk before."""
        return self._resumed.total()

    async def run(self) -> None:
        """Bring everything that can be had."""
        reporting = asyncio.create_task(self._report())
        try:
            async with asyncio.TaskGroup() as group:
                for wanted in self._wanted:
                    group.create_task(self._one(wanted))
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)

    def raise_failures(self) -> None:
        """Raise what a user needs to know of the files that did not come."""
        if not self._failures:
            return
        if not self._done:
            raise next(iter(self._failures.values()))
        paths = {
            path: self._failures[wanted.file.etag]
            for wanted in self._wanted
            if wanted.file.etag in self._failures
            for path in wanted.paths
        }
        missing = tuple(sorted(paths))
        shown = "; ".join(f"{path}: {paths[path]}" for path in missing[:MISSING_SHOWN])
        more = f"; and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
        total = sum(len(wanted.paths) for wanted in self._wanted)
        raise Incomplete(
            f"{len(missing)} of {total} files are missing: {shown}{more}; "
            "what has arrived is kept, the same command goes on from there",
            missing,
        )

    async def _one(self, wanted: Wanted) -> None:
        file = wanted.file
        async with self._small if file.size_bytes <= SMALL_FILE_BYTES else self._large:
            try:
                await self._adopt(wanted)
                try:
                    await self._bring(wanted)
                except FileChanged:
                    await self._bring(wanted)  # it got another name between our having and using it
            except MirrorError as exc:
                self._failures[file.etag] = exc
                return
        self._here[file.etag] = file.size_bytes
        self._done.add(file.etag)

    async def _adopt(self, wanted: Wanted) -> None:
        """Make what lies at the destination usable, so that it is not fetched again."""
        file, catalog = wanted.file, self._parts.catalog

        def read(count: int) -> None:
            self._here[file.etag] = self._here.get(file.etag, 0) + count
            self._resumed[file.etag] += count

        for path in self._destination.copies(wanted.paths, file):
            try:
                looked = path.lstat()
            except OSError:
                continue
            if looked.st_size != file.size_bytes:
                continue
            if await in_thread(partial(adopt, catalog, file.etag, path), read):
                return
            self._here[file.etag] = self._resumed[file.etag] = 0

    async def _bring(self, wanted: Wanted) -> None:
        file = wanted.file

        def here(count: int) -> None:
            self._here[file.etag] = count
            if (standing := self._parts.files.on_its_way(file)) is not None:
                self._resumed[file.etag] = standing.resumed_bytes

        try:
            brought = await self._parts.files.bring(
                self._named, file, self._token, here, self._recording
            )
        except SourceError:
            # The Hub's no is the better reason, if that was it.
            named = self._named
            with contextlib.suppress(OriginAway):
                await admit(self._parts, named.repo, named.commit, self._token)
            raise
        fetched = sum(brought.bytes_by_source.values())
        self._resumed[file.etag] = max(0, file.size_bytes - fetched)
        self._fetched.update(brought.bytes_by_source)
        self.bad_sources.update(brought.bad_sources)
        may_move = not brought.is_read
        await asyncio.to_thread(
            self._destination.put, wanted.paths, file, brought.path, may_move=may_move
        )

    # -- progress --------------------------------------------------------------------------------

    async def _report(self) -> None:
        rate = 0.0
        before, since = 0, time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            done, now = sum(self._here.values()), time.monotonic()
            fetched = done - self.resumed_bytes
            rate = rate * RATE_MEMORY + max(0, fetched - before) / (now - since) * (1 - RATE_MEMORY)
            before, since = fetched, now
            self._emit(
                GetProgress(
                    "transfer",
                    done,
                    self.content_bytes,
                    self.resumed_bytes,
                    rate,
                    sum(len(w.paths) for w in self._wanted if w.file.etag in self._done),
                    sum(len(w.paths) for w in self._wanted),
                    self._sources(),
                )
            )

    def _sources(self) -> tuple[SourceState, ...]:
        """Return who delivers now, and who has delivered."""
        states: dict[str, SourceState] = {
            source_id: SourceState(source_id, "idle", count, 0.0)
            for source_id, count in self._fetched.items()
        }
        for wanted in self._wanted:
            if wanted.file.etag in self._done:
                continue
            standing = self._parts.files.on_its_way(wanted.file)
            for state in standing.sources if standing is not None else ():
                other = states.get(state.source_id)
                states[state.source_id] = _joined(state, other) if other is not None else state
        return tuple(states.values())


def _joined(one: SourceState, other: SourceState) -> SourceState:
    """Return what a source does for two files."""
    is_one = one.state == "active" or other.state != "active"
    return SourceState(
        one.source_id,
        one.state if is_one else other.state,
        one.received_bytes + other.received_bytes,
        one.rate_bytes_per_s + other.rate_bytes_per_s,
        one.reason if is_one else other.reason,
    )


def _by_content(wanted: Mapping[str, HubFile]) -> list[Wanted]:
    """Return each content once, small ones first."""
    paths: dict[str, list[str]] = {}
    for path, file in sorted(wanted.items(), key=lambda item: (item[1].size_bytes, item[0])):
        paths.setdefault(file.etag, []).append(path)
    return [Wanted(wanted[group[0]], tuple(group)) for group in paths.values()]


def _destination(
    parts: HubParts, request: HubGetRequest, target: HubTarget, named: Named, *, is_file: bool
) -> Destination:
    if request.is_kept:
        return StoreDestination(parts.catalog, parts.files)
    if request.destination is None:
        return CacheDestination(parts.catalog, request.cache, named, target)
    output = choose_folder(target, request.folder / request.destination, is_file=is_file)
    return FolderDestination(parts.catalog, output, request.cache, target, is_file=is_file)
