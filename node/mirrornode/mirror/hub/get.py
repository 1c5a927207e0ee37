"""`get hf:…`: a repo, a folder or a file of the Hub, from peers first, into the clients' cache.

Every file goes through the node's shared transfers (`fetch`), so a `get` and a client of the
endpoint that want the same file fetch it once. What fails does not stop the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import HubNotFound, Incomplete, MirrorError, TargetError
from mirrornode.events import Event, GetProgress, Got, Note
from mirrornode.mirror.hub.cache_layout import SnapshotFile, write_snapshot
from mirrornode.mirror.hub.cached import adopt_cached
from mirrornode.mirror.hub.placing import place
from mirrornode.mirror.hub.small_file import SMALL_FILE_BYTES
from mirrornode.transfer.score import Rate
from mirrornode.wire.hub import parse_hub_target

if TYPE_CHECKING:
    from mirrornode.mirror.hub.access import HubAccess
    from mirrornode.mirror.hub.fetch import HubFiles
    from mirrornode.mirror.hub.named import Named
    from mirrornode.mirror.hub.names import HubNames
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import HubFile

LARGE_AT_ONCE = 3  # each uses several connections of each source
SMALL_AT_ONCE = 16
MISSING_SHOWN = 5
PROGRESS_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class HubPorts:
    """The parts of a node that know the Hub."""

    catalog: Catalog
    names: HubNames
    access: HubAccess
    files: HubFiles


@dataclass(frozen=True, slots=True)
class HubGetRequest:
    """What the user asked for.

    Attributes:
        folder: Where the user stands; relative paths start there.
        destination: As given with -o; None for the cache.
        cache: The cache folder of the Hub's clients.
    """

    target: str
    folder: Path
    destination: Path | None
    cache: Path
    token: str


async def get_hub(ports: HubPorts, request: HubGetRequest, emit: Callable[[Event], None]) -> Got:
    """Bring a target and put it where it is asked for.

    Raises:
        TargetError: The target or the destination cannot be.
        HubRefusal, OriginAway, LicenceRefused: Its name does not lead to anything one may have.
        Incomplete: Some files did not come; the others are in their place.
        MirrorError: The only file did not come, for the reason given.
    """
    began = time.monotonic()
    target = parse_hub_target(request.target)
    emit(GetProgress("finding", 0, 0, 0, 0.0))
    named = await ports.names.resolve(target.repo, target.revision, request.token)
    await ports.access.check(named, request.token)
    if named.warning:
        emit(Note(named.warning, "warning"))
    tree = await ports.names.tree(named, request.token)
    wanted = _below(tree, target.path, named)
    is_file = target.path in wanted
    output = _output(request, target.path, is_file=is_file)
    if request.destination is None:
        await asyncio.to_thread(adopt_cached, ports.catalog, request.cache, named, wanted.values())
    bringing = _Bringing(ports.files, named, request.token, wanted, emit)
    paths = await bringing.run()

    def put() -> Path:
        if output is not None:
            for path, source in paths.items():
                place(source, output if is_file else output / path, shares_inode=False)
            return output
        files = [SnapshotFile(path, wanted[path].etag, source) for path, source in paths.items()]
        snapshot = write_snapshot(request.cache, target.repo, target.revision, named.commit, files)
        return snapshot / target.path if target.path else snapshot

    shown = await asyncio.to_thread(put)
    bringing.raise_failures()
    return Got(
        cid=f"hf:{target.repo}@{named.commit}" + (f"/{target.path}" if target.path else ""),
        path=str(shown),
        size_bytes=bringing.size_bytes,
        seconds=round(time.monotonic() - began, 3),
        bytes_by_source=dict(bringing.bytes_by_source),
        resumed_bytes=bringing.resumed_bytes,
        files=len(wanted),
        bad_sources=bringing.bad_sources,
    )


class _Bringing:
    """All files of one `get`, some at a time, small ones first."""

    def __init__(
        self,
        files: HubFiles,
        named: Named,
        token: str,
        wanted: Mapping[str, HubFile],
        emit: Callable[[Event], None],
    ) -> None:
        self._files = files
        self._named = named
        self._token = token
        self._wanted = wanted
        self._emit = emit
        self._here: dict[str, int] = {}
        self._failures: dict[str, MirrorError] = {}
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._small = asyncio.Semaphore(SMALL_AT_ONCE)
        self._rate = Rate()
        self.size_bytes = sum(file.size_bytes for file in wanted.values())
        self.bytes_by_source: Counter[str] = Counter()
        self.bad_sources: dict[str, str] = {}
        self.resumed_bytes = 0

    async def run(self) -> dict[str, Path]:
        """Return where each file lies that is here now."""
        paths: dict[str, Path] = {}

        async def one(path: str, file: HubFile) -> None:
            slots = self._small if file.size_bytes <= SMALL_FILE_BYTES else self._large
            async with slots:
                try:
                    paths[path] = await self._bring(path, file)
                except MirrorError as exc:
                    self._failures[path] = exc

        reporting = asyncio.create_task(self._report())
        try:
            async with asyncio.TaskGroup() as group:
                for path, file in sorted(self._wanted.items(), key=lambda it: it[1].size_bytes):
                    group.create_task(one(path, file))
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
        return paths

    def raise_failures(self) -> None:
        """Raise what a user needs to know of the files that did not come."""
        if not self._failures:
            return
        if len(self._wanted) == 1:
            raise next(iter(self._failures.values()))
        missing = tuple(sorted(self._failures))
        shown = "; ".join(f"{path}: {self._failures[path]}" for path in missing[:MISSING_SHOWN])
        more = f"; and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
        raise Incomplete(
            f"{len(missing)} of {len(self._wanted)} files are missing: {shown}{more}; "
            "what has arrived is kept, the same command goes on from there",
            missing,
        )

    async def _bring(self, path: str, file: HubFile) -> Path:
        def here(count: int) -> None:
            self._here[path] = count

        brought = await self._files.bring(self._named, file, self._token, here)
        self.bytes_by_source.update(brought.bytes_by_source)
        self.bad_sources.update(brought.bad_sources)
        self.resumed_bytes += max(0, file.size_bytes - sum(brought.bytes_by_source.values()))
        return brought.path

    async def _report(self) -> None:
        last_bytes, last_at = 0, time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            done_bytes, now = sum(self._here.values()), time.monotonic()
            self._rate.record(max(0, done_bytes - last_bytes - self.resumed_bytes), now - last_at)
            last_bytes, last_at = done_bytes - self.resumed_bytes, now
            self._emit(
                GetProgress(
                    "transfer",
                    done_bytes,
                    self.size_bytes,
                    self.resumed_bytes,
                    self._rate.bytes_per_s,
                    sum(self._here.get(p) == f.size_bytes for p, f in self._wanted.items()),
                    len(self._wanted),
                )
            )


def _below(tree: Mapping[str, HubFile], path: str, named: Named) -> dict[str, HubFile]:
    """Return the files at or below a path of the repo."""
    wanted = {
        name: file
        for name, file in tree.items()
        if not path or name == path or name.startswith(f"{path}/")
    }
    if not wanted and path:
        raise HubNotFound(
            f"{named.repo} at {named.commit[:12]} has no {path}",
            status=404,
            code="EntryNotFound",
            commit=named.commit,
        )
    return wanted


def _output(request: HubGetRequest, path: str, *, is_file: bool) -> Path | None:
    """Return where a target goes that does not go into the cache."""
    if request.destination is None:
        return None
    output = request.folder / request.destination
    if is_file and output.is_dir():
        output = output / path.rpartition("/")[2]
        if output.is_dir():
            raise TargetError(f"{output} is a folder; choose another place with -o")
    if not is_file and output.exists() and not output.is_dir():
        raise TargetError(
            f"{request.target} is a folder, but {output} is a file; choose another place with -o"
        )
    return output
