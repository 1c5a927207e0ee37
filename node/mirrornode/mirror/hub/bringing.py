"""One file of the Hub on its way to this disk: from peers that have it, and from an origin.

Peers are asked first, by the hash the Hub names the file by. When one has it, its tree makes every
leaf verifiable and the origin is one more source in that transfer. When none has it, an origin
alone brings the bytes, which only the hash of the whole can prove; one origin at a time then, so
that a wrong hash has one author. When another node is doing that already, it is read along from
instead, so that the origin sends the file once (`mirror.claims`). Either way nothing is finished,
recorded or announced before the hash of the whole is right.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.file_map import FileMap, unhashed_map
from mirrornode.content.walk import TreeEntry, run_walk_async, walk_file
from mirrornode.errors import (
    CidMismatch,
    MirrorError,
    NoProviders,
    OriginAway,
    SourceError,
    SourceGone,
)
from mirrornode.mirror.block_loader import BlockLoader
from mirrornode.mirror.claims import choose_leader
from mirrornode.mirror.hub.peers_first import TeamRate, peers_first
from mirrornode.mirror.hub.prefix_hash import PrefixHash, WholeDigests
from mirrornode.mirror.hub.small_file import hub_cid
from mirrornode.mirror.on_disk import local_offer
from mirrornode.mirror.source_feed import SourceFeed
from mirrornode.sources.peer import PeerSource
from mirrornode.store.stamps import open_regular
from mirrornode.transfer.journal import Journal
from mirrornode.transfer.manifest import Manifest, make_manifest
from mirrornode.transfer.outputs import OutputFile
from mirrornode.transfer.session import HOPELESS_S, Offer, TransferSession
from mirrornode.transfer.space import check_space
from mirrornode.transfer.worker import WRONG_BYTES
from mirrornode.wire.ticket import ARRIVING_PATH

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.events import GetProgress, SourceState
    from mirrornode.mirror.claims import Claim
    from mirrornode.mirror.get_request import GetPorts
    from mirrornode.mirror.recording import Recording
    from mirrornode.routing.find import Found
    from mirrornode.sources.hub_origin import HubFileSource
    from mirrornode.sources.ports import Source
    from mirrornode.wire.hub import HubFile

log = logging.getLogger(__name__)

PEERS_ANSWER_S = 1.0  # connected peers answer within milliseconds, or are not worth waiting for
DHT_ANSWER_S = 1.5  # what a large file waits for others to be found
DHT_FROM_BYTES = 64 << 20
SETTLE_S = 0.05  # after connected peers have answered, until their answers are looked at
HOLDER_S = 5.0  # the same when one of them has said that it has the file
TREE_TIMEOUT_S = 6.0  # to read the tree of a file from a peer that says it has it
SILENCE_S = 30.0
MAX_ATTEMPTS = 4
OTHERS_SILENCE_S = 8.0  # who delivers alone brings nothing, and somebody else can be asked
ALONE_HOPELESS_S = 0.5  # after the only source has said that it lacks the file


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that came, verified, with what is to be recorded of it.

    `file_map` is the tree it was verified by, None when only the hash of the whole was.
    """

    path: Path
    digests: WholeDigests
    file_map: FileMap | None


class Attempt:
    """One try: a transfer, and whoever reads along. A reader belongs to one attempt for good."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.part = output
        self.session: TransferSession | None = None
        self.failure: MirrorError | None = None
        self.is_verified = False

    def arrived_until(self, offset: int) -> int:
        """Return the end of what has arrived from `offset` on; `offset` when nothing has."""
        return self.session.board.arrived_until(0, offset) if self.session else offset

    def open_part(self) -> int:
        """Open what arrives for reading; the descriptor outlives the renaming at the end."""
        return open_regular(self.part)


class Bringing:
    """Brings one file, in as many attempts as it takes; `run` once."""

    def __init__(
        self,
        ports: GetPorts,
        file: HubFile,
        output: Path,
        origins: Sequence[HubFileSource],
        *,
        attempt: Attempt,
        recording: Recording,
        follow: Callable[[GetProgress], None],
        asks_peers: bool,
        is_read: bool,
        on_mismatch: Callable[[], None],
        shows: bool,
        team: TeamRate,
    ) -> None:
        """Prepare.

        Args:
            team: What all transfers of this node get from peers.
            shows: Others may know that the file is fetched: it is everybody's.
            attempt: The first; readers may be waiting on it already.
            recording: What the sources do is noted there.
            follow: Told how the transfer stands, a few times a second.
            on_mismatch: Called when bytes that may have been passed on were wrong; blocking.
            origins: The file at each origin that may be asked, best first.
            is_read: Somebody reads along from the start, so that the order counts.
            asks_peers: False for what must not be spoken of: the hash of a private file.
        """
        self.file = file
        self.output = output
        self.attempt = attempt
        self.bytes_by_source: dict[str, int] = {}
        self.bad_sources: dict[str, str] = {}
        self.progress: GetProgress | None = None
        self._ports = ports
        self._origins = list(origins)
        self._asks_peers = asks_peers
        self._is_read = is_read
        self._bad_roots: set[Cid] = set()
        self._cid = hub_cid(file)
        self._on_mismatch = on_mismatch
        self._recording = recording
        self._follow = follow
        self._shows = shows
        self._team = team
        self._claim: Claim | None = None
        self._nearby: Sequence[Found] = ()  # what connected peers have said last
        self._left: set[str] = set()  # peers that were read along from, in vain
        self._is_mixed = False  # this attempt has bytes of another node and of an origin

    def close(self) -> None:
        """Let go the nodes that read along: the file is recorded by now, or will not come."""
        if self._claim is not None:
            self._ports.active.claims.end(self._claim)

    async def run(self) -> Arrived:
        """Bring the file to `output`.

        Raises:
            ContentError: Only wrong bytes were to be had.
            SourceError, NoProviders, OriginAway: Nobody delivered.
            StoreError: This machine's disk failed.
        """
        failure: MirrorError = OriginAway(f"no origin or peer can be asked for {self.file.path}")
        for _ in range(MAX_ATTEMPTS):
            attempt = self.attempt
            try:
                arrived = await self._try(attempt)
            except CidMismatch as exc:
                # First what makes a resume start over, then what lets the readers go.
                await asyncio.to_thread(self._on_mismatch)
                attempt.failure = failure = exc
                log.warning("hub file refused etag=%s reason=%s", self.file.etag, exc)
                self.attempt = Attempt(self.output)
                self._is_mixed = False  # what there was of it is thrown away
            else:
                return arrived
            if not self._origins:
                break
        raise failure

    # -- who has it ------------------------------------------------------------------------------

    async def _try(self, attempt: Attempt) -> Arrived:
        if self._shows and self._asks_peers:
            self.close()
            # Before anybody is asked: of two nodes that ask each other, one sees the other's claim.
            self._claim = self._ports.active.claims.begin(self._cid, self.file.size_bytes)
        loader = BlockLoader(
            self._ports.shelf.read_block, self._ports.catalog.put_blocks, TREE_TIMEOUT_S
        )
        feed = SourceFeed(self._ports.finder, self._cid, loader, lambda _: None)
        feeding = asyncio.create_task(feed.run(()) if self._asks_peers else _nothing())
        try:
            file_map = await self._tree_of_peers(feed, loader)
            if file_map is None:
                if (arrived := await self._from_others(attempt)) is not None:
                    return arrived
                if attempt.session is None and feed.named.best() is not None:
                    # Somebody has finished it meanwhile. Not when bytes were passed on already
                    # that no tree has proven: it would mend them behind their readers' backs.
                    file_map = await self._tree_of_peers(feed, loader)
            if file_map is None:
                if not self._origins:
                    raise NoProviders(f"no peer has {self.file.path} and no origin can be asked")
                return await self._from_origin(attempt)
            self.close()
            return await self._from_all(attempt, feed, file_map)
        finally:
            feeding.cancel()
            loader.close()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _tree_of_peers(self, feed: SourceFeed, loader: BlockLoader) -> FileMap | None:
        """Return the tree of the file as peers know it; None when no peer does."""
        refused = set(self._bad_roots)
        for bad_root in refused:
            feed.named.reject(bad_root)
        while self._asks_peers and (root := await self._named_root(feed, refused)) is not None:
            try:
                async with asyncio.timeout(TREE_TIMEOUT_S):
                    file_map = await run_walk_async(walk_file(root), loader.load)
            except (MirrorError, TimeoutError) as exc:
                log.info("tree of a peer not read root=%s reason=%r", root, exc)
            else:
                if file_map.size_bytes == self.file.size_bytes:
                    return file_map
                self._bad_roots.add(root)
            refused.add(root)
            feed.named.reject(root)
        return None

    async def _named_root(self, feed: SourceFeed, refused: Set[Cid]) -> Cid | None:
        """Return what a peer calls the file: connected ones answer soon, a large one may wait."""
        if (root := feed.named.best()) is not None:
            return root
        self._nearby = await self._ports.finder.ask_connected([self._cid], PEERS_ANSWER_S)
        if self._leader() is not None:
            return None
        waits_s = SETTLE_S
        if not self._origins:
            waits_s = SILENCE_S
        elif any(
            holding.root not in refused and holding.root != holding.asked
            for found in self._nearby
            for holding in found.ticket.holdings
        ):
            waits_s = HOLDER_S
        elif self.file.size_bytes >= DHT_FROM_BYTES:
            await feed.named_or_looked(DHT_ANSWER_S)
        try:
            async with asyncio.timeout(waits_s):
                return await feed.named.wait()
        except TimeoutError:
            return None

    # -- transfers -------------------------------------------------------------------------------

    async def _from_all(self, attempt: Attempt, feed: SourceFeed, file_map: FileMap) -> Arrived:
        """Bring the file from peers and the origins together, verified leaf by leaf."""
        root = file_map.root
        manifest = make_manifest(root, [TreeEntry("", "file", root, file_map, "")])
        feed.attach(manifest)
        active = self._ports.active
        try:
            async with self._transfer(attempt, manifest, with_leaves=False) as (session, follower):
                local = await asyncio.to_thread(
                    local_offer, self._ports.catalog, manifest, bytearray(manifest.leaves)
                )
                watching = asyncio.create_task(feed.watch_partial(session.board.is_file_complete))
                active.add(session, self._cid.multihash)
                try:
                    offers = peers_first(local, self._origins, feed, session, self._team)
                    await self._run(session, offers)
                finally:
                    active.remove(session)
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
                digests = await asyncio.to_thread(follower.finish)
        except CidMismatch:
            # The leaves were right and the whole is not: that root is another file's.
            self._bad_roots.add(root)
            raise
        return Arrived(self.output, digests, file_map)

    def _leader(self) -> Found | None:
        """Return the node to read along from, None when this one is to ask an origin."""
        own_id, size_bytes = self._ports.finder.peer_id, self.file.size_bytes
        if self._claim is None:
            return None
        return choose_leader(self._nearby, self._cid, size_bytes, own_id, self._left.__contains__)

    async def _from_others(self, attempt: Attempt) -> Arrived | None:
        """Read along from a node that fetches the file; None when it is for this one to do."""
        while self._claim is not None:
            # Once more: while others were waited for, somebody may have begun.
            self._nearby = await self._ports.finder.ask_connected([self._cid], PEERS_ANSWER_S)
            leader = self._leader()
            if leader is None:
                self._claim.is_fetching = True
                return None
            self.close()
            self._left.add(leader.peer_id)
            self._is_mixed = True
            source = PeerSource(
                leader.peer_id,
                leader.ticket,
                near_host=leader.near_host,
                path=ARRIVING_PATH,
                lanes=1,  # its bytes come in order, from one end of the file
            )
            try:
                return await self._from_alone(attempt, source, OTHERS_SILENCE_S)
            except SourceError as exc:
                log.info("reading along ended peer=%s reason=%s", leader.peer_id, exc)
            self._claim = self._ports.active.claims.begin(self._cid, self.file.size_bytes)
        return None

    async def _from_origin(self, attempt: Attempt) -> Arrived:
        while True:
            origin = self._origins[0]
            try:
                silence_s = SILENCE_S if len(self._origins) == 1 else OTHERS_SILENCE_S
                return await self._from_alone(attempt, origin, silence_s)
            except CidMismatch:
                if not self._is_mixed:
                    self._origins.remove(origin)
                    self.bad_sources[origin.source_id] = WRONG_BYTES
                    self._recording.blame(origin.source_id, WRONG_BYTES)
                raise
            except SourceError as exc:
                if len(self._origins) == 1:
                    raise
                log.info("on to the next origin after=%s reason=%s", origin.source_id, exc)
                self._origins.remove(origin)
                # What it sent is kept, so that the next one is not the author of all.
                self._is_mixed = True

    async def _from_alone(self, attempt: Attempt, source: Source, silence_s: float) -> Arrived:
        """Bring the file from one source; only its whole hash can tell whether it is right."""
        file_map = unhashed_map(self._cid, self.file.size_bytes)
        manifest = make_manifest(self._cid, [TreeEntry("", "file", self._cid, file_map, "")])
        transfer = self._transfer(attempt, manifest, with_leaves=True, hopeless_s=ALONE_HOPELESS_S)
        async with transfer as (session, follower):
            if self._claim is not None:
                self._claim.arrival = attempt
            await self._run(session, _alone(source), silence_s)
            digests = await asyncio.to_thread(follower.finish)
        return Arrived(self.output, digests, None)

    @asynccontextmanager
    async def _transfer(
        self,
        attempt: Attempt,
        manifest: Manifest,
        *,
        with_leaves: bool,
        hopeless_s: float = HOPELESS_S,
    ) -> AsyncIterator[tuple[TransferSession, PrefixHash]]:
        output = OutputFile(manifest.files[0], self.output)
        journal = Journal(self._ports.catalog)
        found = await asyncio.to_thread(_prepare, journal, output)
        resumed_bytes = sum(
            length
            for length, is_there in zip(manifest.files[0].map.lengths, found, strict=True)
            if is_there
        )
        follower = PrefixHash(
            attempt.open_part,
            self.file.size_bytes,
            attempt.arrived_until,
            is_lfs=bool(self.file.sha256),
            with_leaves=with_leaves,
        )

        def check_whole(part: OutputFile) -> None:
            if follower.finish().etag != self.file.etag:
                part.part.unlink(missing_ok=True)
                journal.forget(part)
                raise CidMismatch(self._cid, "what was sent has another hash")

        attempt.part = output.part
        session = TransferSession(
            manifest,
            [output],
            found,
            journal,
            resumed_bytes=resumed_bytes,
            on_progress=lambda event: self._progressed(session, event),
            check_whole=check_whole,
            on_finished=lambda _: None,
            in_order=self._is_read,
            is_followed=True,
            own_id=f"peer:{self._ports.finder.peer_id}",
            hopeless_s=hopeless_s,
            pace=self._ports.pace,
        )
        attempt.session = session
        follower.start()
        try:
            yield session, follower
        finally:
            self._recording.note(session, session.sources)
            self._recording.settle(session)
            follower.stop()

    async def _run(
        self, session: TransferSession, offers: AsyncIterator[Offer], silence_s: float = SILENCE_S
    ) -> None:
        outcome = await session.run(offers, silence_s)
        for state in outcome.sources:
            if state.received_bytes:
                before = self.bytes_by_source.get(state.source_id, 0)
                self.bytes_by_source[state.source_id] = before + state.received_bytes
            if state.state == "banned":
                self.bad_sources[state.source_id] = state.reason
        if outcome.unfinished:
            raise _why_unfinished(self.file, outcome.sources)

    def _progressed(self, session: TransferSession, event: GetProgress) -> None:
        self.progress = event
        self._recording.note(session, event.sources)
        self._follow(event)


def _prepare(journal: Journal, output: OutputFile) -> bytearray:
    """Find what is there of the part, and create it: a reader may open it from now on. Blocking."""
    found = journal.resume(output)
    check_space(output.path, output.missing_bytes())
    output.open()
    return found.done


async def _alone(origin: Source) -> AsyncIterator[Offer]:
    yield Offer(origin, reads_from_start=True)


def _why_unfinished(file: HubFile, sources: Sequence[SourceState]) -> MirrorError:
    why = "; ".join(f"{state.source_id}: {state.reason or state.state}" for state in sources[:4])
    return SourceGone(f"{file.path} did not come: {why or 'no source'}")


async def _nothing() -> None:
    """Stand in for asking peers."""
