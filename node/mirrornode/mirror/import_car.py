"""`import`: what CAR files hold becomes shared files and kept blocks, as after `get`.

Two passes, so that memory does not grow with the files: the first notes where each block lies, the
second brings every tree by a transfer whose sources are the CARs, and other files here that hold
the same leaves. So a killed import goes on where it was, and every leaf is hashed by the threads
that write it. What is no file or folder is kept as blocks, if it is small.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.content.block import Block
from mirrornode.content.car_names import MAX_NAMES_BYTES, decode_names
from mirrornode.content.cid import DAG_PB, RAW, Cid
from mirrornode.content.dag_links import DAG_CBOR
from mirrornode.content.walking import DEFAULT_LIMITS, read_node
from mirrornode.errors import BlockNotFound, ContentError, TargetError
from mirrornode.events import AddProgress, Event, GetProgress, Note
from mirrornode.mirror.block_loader import is_structure
from mirrornode.mirror.finish import finish_tree
from mirrornode.mirror.import_place import choose_place
from mirrornode.mirror.in_thread import in_thread
from mirrornode.mirror.loose_blocks import keep_loose
from mirrornode.mirror.on_disk import impossible_paths, local_offer, look_at_outputs
from mirrornode.mirror.partial_tree import PartialTree, read_tree
from mirrornode.mirror.record import record_files
from mirrornode.mirror.tree_writer import make_folders
from mirrornode.sources.car_files import CarFile, damaged, find_block
from mirrornode.store.stamps import look
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.manifest import Manifest, make_manifest
from mirrornode.transfer.outputs import OutputFile, lay_out
from mirrornode.transfer.session import Offer, Outcome, TransferSession
from mirrornode.transfer.space import check_space

if TYPE_CHECKING:
    from mirrornode.mirror.active import ActiveTransfers
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.records import StoredRoot

log = logging.getLogger(__name__)

IMPORTED = "imported"  # what loose blocks are pinned as
MAX_CARS = 256  # each is an open file
MAX_ROOTS = 1000
MAX_MISSING = 1000  # paths named of each root; more are only counted
STALLED_S = 60.0  # a disk that gives nothing for so long is broken


@dataclass(frozen=True, slots=True)
class ImportPorts:
    """The parts of a node that `import` works with; `announce` wakes the announcer."""

    catalog: Catalog
    active: ActiveTransfers
    announce: Callable[[], None]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import.

    Attributes:
        paths: CAR files; a DAG may be spread over several.
        folder: Where the user stands; a relative destination starts there.
        destination: As given with -o; None for the models folder of the home.
    """

    paths: Sequence[Path]
    folder: Path
    destination: Path | None = None


@dataclass(frozen=True, slots=True)
class ImportedRoot:
    """What became of one root: field names are the command line's JSON contract.

    Attributes:
        kind: "file", "directory", "symlink", or "blocks" for what is none of these.
        path: Where it lies; "" for blocks, and where nothing of it was there.
        resumed_bytes: So much of it was there before.
        missing: The first of `missing_count` paths that the CARs lack; "." is the root itself.
    """

    cid: str
    name: str
    kind: str
    path: str
    size_bytes: int
    files: int
    resumed_bytes: int = 0
    missing: tuple[str, ...] = ()
    missing_count: int = 0

    def to_record(self) -> dict[str, Any]:
        """Return the fields as a JSON-able dict."""
        return {**dataclasses.asdict(self), "complete": not self.missing_count}


@dataclass(frozen=True, slots=True)
class Imported:
    """What `import` did; `blocks` and `car_bytes` count what the CARs hold."""

    roots: tuple[ImportedRoot, ...]
    blocks: int
    car_bytes: int
    seconds: float

    def to_record(self) -> dict[str, Any]:
        """Return the fields as a JSON-able dict."""
        roots = [root.to_record() for root in self.roots]
        return {**dataclasses.asdict(self), "roots": roots}


async def import_cars(
    ports: ImportPorts, request: ImportRequest, emit: Callable[[Event], None]
) -> Imported:
    """Import CARs; roots that lack blocks are reported, what is there of them is kept.

    Raises:
        TargetError: No such file, or the destination cannot be.
        ContentError: A file is no CAR, or is damaged; the message names it.
        StoreError: This machine's disk failed.

    Cancelling leaves a state that the same request resumes.
    """
    began = time.monotonic()
    if not 0 < len(request.paths) <= MAX_CARS:
        raise TargetError(f"name 1 to {MAX_CARS} CAR files to import")
    with ExitStack() as stack:
        cars = [stack.enter_context(CarFile(path)) for path in dict.fromkeys(request.paths)]
        await in_thread(lambda tell: _index(cars, tell), emit)
        work = _Import(ports, request, cars, emit)
        try:
            roots = await work.run()
        finally:
            ports.announce()
        return Imported(
            roots=tuple(roots),
            blocks=sum(car.blocks for car in cars),
            car_bytes=sum(car.size_bytes for car in cars),
            seconds=round(time.monotonic() - began, 3),
        )


def _index(cars: Sequence[CarFile], tell: Callable[[Event], None]) -> None:
    for car in cars:
        car.index(tell)


@dataclass(slots=True)
class _Found:
    """What there is of one root before anything is written."""

    cid: Cid
    name: str
    tree: PartialTree
    missing: list[str] = field(default_factory=list)


class _Import:
    """One run over open CARs."""

    def __init__(
        self,
        ports: ImportPorts,
        request: ImportRequest,
        cars: Sequence[CarFile],
        emit: Callable[[Event], None],
    ) -> None:
        self._ports = ports
        self._catalog = ports.catalog
        self._request = request
        self._cars = cars
        self._emit = emit
        self._done_bytes = 0  # of the roots before

    async def run(self) -> list[ImportedRoot]:
        """Import every root, one after the other."""
        roots, names = await asyncio.to_thread(self._roots)
        if len(roots) > MAX_ROOTS:
            raise TargetError(f"{len(roots):,} roots; {MAX_ROOTS:,} can be imported at once")
        with self._ports.active.temp_pins.hold(*(root.multihash for root in roots)):
            return [await self._root(root, names, is_only=len(roots) == 1) for root in roots]

    def _roots(self) -> tuple[list[Cid], dict[bytes, str]]:
        """Return the roots that are content, and what they are called."""
        roots: dict[bytes, Cid] = {}
        names: dict[bytes, str] = {}
        for root in (root for car in self._cars for root in car.header.roots):
            told = self._names_in(root)
            if told is None:
                roots.setdefault(root.multihash, root)
            else:
                names |= told
        return list(roots.values()), names

    def _names_in(self, root: Cid) -> dict[bytes, str] | None:
        if root.codec != DAG_CBOR or root.is_identity:
            return None
        places = (car.place(root.multihash) for car in self._cars)
        if not any(place is not None and place[1] <= MAX_NAMES_BYTES for place in places):
            return None
        block = find_block(self._cars, root)
        told = decode_names(block) if block is not None else None
        return None if told is None else {one.root.multihash: one.name for one in told}

    async def _root(self, root: Cid, names: Mapping[bytes, str], *, is_only: bool) -> ImportedRoot:
        name = names.get(root.multihash, str(root))
        if not await asyncio.to_thread(self._is_tree, root):
            kept = await in_thread(
                lambda tell: keep_loose(self._catalog, self._cars, root), self._emit
            )
            # No file and no root needs these blocks: only a pin keeps them from being swept.
            await asyncio.to_thread(self._catalog.pin, root, IMPORTED, size_bytes=kept.size_bytes)
            return _report(root, name, "blocks", "", kept.size_bytes, 0, kept.missing)
        if self._request.destination is None:
            stored = await asyncio.to_thread(self._find_whole, root)
            if stored is not None:
                self._emit(Note(f"{stored.name} is here already, at {stored.path}"))
                return _report(
                    root, stored.name, stored.kind, str(stored.path), stored.size_bytes,
                    stored.files, (), stored.size_bytes,
                )  # fmt: skip
        tree = await asyncio.to_thread(read_tree, root, self._load, self._raw_size)
        if not tree.entries:
            return _report(root, name, "blocks", "", 0, 0, tree.missing)
        return await self._bring(_Found(root, name, tree, list(tree.missing)), is_only=is_only)

    def _is_tree(self, root: Cid) -> bool:
        """Tell whether a root is, or may be, a file or folder."""
        if root.codec not in (RAW, DAG_PB):
            return False
        if root.codec == RAW:
            return True
        try:
            (block,) = self._load([root])
        except BlockNotFound:
            return True
        try:
            read_node(block, DEFAULT_LIMITS)
        except ContentError:
            return False
        return True

    def _find_whole(self, root: Cid) -> StoredRoot | None:
        """Return the root as it is recorded, if all its files still look as they did."""
        stored = self._catalog.find_root(root.multihash)
        if stored is None or stored.state != "ok":
            return None
        files = self._catalog.root_files(root)
        is_whole = all(look(file.path, file.stamp) == "ok" for file in files)
        return stored if is_whole else None

    # -- blocks ----------------------------------------------------------------------------------

    def _load(self, cids: Sequence[Cid]) -> list[Block]:
        """Return structure from the CARs or from this disk; keep what came from the CARs."""
        found: list[Block] = []
        fresh: list[Block] = []
        for cid in cids:
            block = Block.of_identity(cid) if cid.is_identity else find_block(self._cars, cid)
            if block is None:
                kept = self._catalog.get_block(cid.multihash)
                if kept is None:
                    raise BlockNotFound(cid)
                block = Block.verify(cid, kept)
            elif is_structure(block):
                fresh.append(block)
            found.append(block)
        if fresh:
            self._catalog.put_blocks(fresh)
        return found

    def _raw_size(self, cid: Cid) -> int | None:
        for car in self._cars:
            if (place := car.place(cid.multihash)) is not None:
                return place[1]
        leaf = self._catalog.find_leaf(cid.multihash)
        return None if leaf is None else leaf.length

    # -- transfer --------------------------------------------------------------------------------

    async def _bring(self, found: _Found, *, is_only: bool) -> ImportedRoot:
        catalog = self._catalog
        entries = found.tree.entries
        output = await asyncio.to_thread(
            choose_place, catalog, self._request, found.cid, found.name, entries, is_only=is_only
        )
        impossible = await asyncio.to_thread(impossible_paths, output, entries)
        for name, reason in impossible.items():
            self._emit(Note(f"cannot be written here: {name} ({reason})", "warning"))
        found.missing += impossible
        manifest = make_manifest(found.cid, [e for e in entries if e.path not in impossible])
        outputs = lay_out(manifest, output)
        on_disk = await asyncio.to_thread(self._prepare, manifest, output, outputs)
        outcome = await self._transfer(manifest, outputs, on_disk.done, on_disk.size_bytes)
        banned = [
            car.path
            for car in self._cars
            if any(s.source_id == car.source_id and s.state == "banned" for s in outcome.sources)
        ]
        if banned and outcome.unfinished:
            raise damaged(found.cid, *banned)
        for path in banned:
            self._emit(Note(f"{path} is damaged; this disk had what it lacks", "warning"))
        found.missing += [unfinished.file.path for unfinished in outcome.unfinished]
        self._done_bytes += manifest.size_bytes
        if not found.missing:
            await asyncio.to_thread(finish_tree, catalog, manifest, output, found.name, self._emit)
        kind = next((entry.kind for entry in entries if not entry.path), "directory")
        return _report(
            found.cid,
            found.name,
            kind,
            str(output),
            manifest.size_bytes,
            len(manifest.files),
            found.missing,
            on_disk.size_bytes,
        )

    def _prepare(self, manifest: Manifest, output: Path, outputs: Sequence[OutputFile]) -> Any:
        on_disk = look_at_outputs(self._catalog, manifest, outputs)
        check_space(output, sum(item.missing_bytes() for item in outputs))
        if not manifest.is_single_file:
            make_folders(output, manifest.entries)
        return on_disk

    async def _transfer(
        self,
        manifest: Manifest,
        outputs: Sequence[OutputFile],
        done: bytearray,
        resumed_bytes: int,
    ) -> Outcome:
        offers = await asyncio.to_thread(self._offers, manifest, done)
        session = TransferSession(
            manifest,
            outputs,
            done,
            Journal(self._catalog),
            resumed_bytes=resumed_bytes,
            on_progress=self._tell,
            check_whole=lambda output: None,
            on_finished=lambda batch: record_files(
                self._catalog, batch, is_managed=self._request.destination is None
            ),
            hopeless_s=0.0,  # no other source will come
        )

        async def offered() -> AsyncIterator[Offer]:
            for offer in offers:
                yield offer

        self._ports.active.add(session)
        try:
            return await session.run(offered(), STALLED_S)
        finally:
            self._ports.active.remove(session)

    def _offers(self, manifest: Manifest, done: bytearray) -> list[Offer]:
        """Return the CARs as sources, and this disk for what none of them has."""
        offers = []
        lacking = bytearray(done)
        for car in self._cars:
            available = bytearray()
            for file in manifest.files:
                available += car.available(file.map)
            # Also one that has nothing: a transfer ends when all its sources lack the rest.
            offers.append(Offer(car, available, reads_from_start=True, may_grow=False))
            for leaf, is_there in enumerate(available):
                lacking[leaf] |= is_there
        local = local_offer(self._catalog, manifest, lacking)
        return offers if local is None else [*offers, local]

    def _tell(self, event: GetProgress) -> None:
        before = self._done_bytes
        self._emit(AddProgress(before + event.done_bytes, before + event.total_bytes))


def _report(
    root: Cid,
    name: str,
    kind: str,
    path: str,
    size_bytes: int,
    files: int,
    missing: Sequence[str],
    resumed_bytes: int = 0,
) -> ImportedRoot:
    shown = [where or "." for where in missing]
    return ImportedRoot(
        cid=str(root),
        name=name,
        kind=kind,
        path=path,
        size_bytes=size_bytes,
        files=files,
        resumed_bytes=resumed_bytes,
        missing=tuple(shown[:MAX_MISSING]),
        missing_count=len(shown),
    )
