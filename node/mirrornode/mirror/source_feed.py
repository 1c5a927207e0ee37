"""Where a `get` takes its sources from: found peers and gateways, and the user's mirrors.

Peers come with a ticket that says what they have; other IPFS nodes are asked for blocks, by
bitswap, and may lack some; a mirror is asked once whether it is an IPFS gateway and is a plain file
server otherwise. Gateways that delegated routers name are strangers: few are taken, they are asked
for the content of this `get` alone, and may not lead elsewhere. Block sources go to the loader at
once, offers for the transfer wait until its manifest is known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.errors import MirrorError, SourceGone, SourceTooSlow
from mirrornode.events import GetProgress, Note
from mirrornode.mirror.have import (
    LOOK_FIRST_S,
    HaveMap,
    WantedFiles,
    files_by_root,
    next_look_s,
)
from mirrornode.mirror.mirror_score import is_base
from mirrornode.mirror.named_roots import NamedRoots
from mirrornode.routing.find import ASK_TIMEOUT_S, Finder, Found, FoundBlocks, split_peer
from mirrornode.sources.http_file import HttpFileSource
from mirrornode.sources.peer import PeerSource
from mirrornode.sources.trustless_gateway import GatewaySource
from mirrornode.sources.web import public_url
from mirrornode.transfer.session import Offer
from mirrornode.wire.ticket import MAX_ROOTS

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.mirror.block_loader import BlockLoader
    from mirrornode.mirror.mirror_choice import MirrorChoice
    from mirrornode.sources.bitswap import BitswapSource
    from mirrornode.sources.ports import Source
    from mirrornode.transfer.manifest import Manifest, ManifestFile
    from mirrornode.wire.ticket import Ticket

log = logging.getLogger(__name__)

PROBE_AGAIN_S = 5.0  # between two looks at a mirror that did not answer
WATCHERS = 8  # threads that ask unfinished peers what they have by now
ADMIT_S = 0.5  # between two looks whether another mirror should join
MAX_FOUND_GATEWAYS = 8  # that routers may bring into one `get`
LOOKS_AT_ONCE = 2  # at found gateways; each holds a thread
LOOK_S = 5.0  # for a found gateway to show that it is one
REST_S = 4.0  # before a peer that failed is asked again


@dataclass(slots=True, eq=False)
class _Peer:
    """A peer that was found; `have` is None until there is a manifest."""

    source: PeerSource
    found: Found
    have: HaveMap | None = None


class SourceFeed:
    """Collects the sources of one `get`."""

    def __init__(
        self,
        finder: Finder,
        target: Cid,
        loader: BlockLoader,
        note: Callable[[Note], None],
        blocks_of: Callable[[str], BitswapSource] | None = None,
        *,
        probe_again_s: float = PROBE_AGAIN_S,
    ) -> None:
        self._finder = finder
        self._target = target
        self._loader = loader
        self._note = note
        self._probe_again_s = probe_again_s
        self._blocks_of = blocks_of
        self._block_peers: dict[str, BitswapSource] = {}
        self._choices: list[MirrorChoice] = []
        self._latest = GetProgress("finding", 0, 0, 0, 0.0)
        self._loop = asyncio.get_running_loop()
        self._peers: dict[str, _Peer] = {}
        self._peers_changed = asyncio.Event()
        self._files: dict[bytes, list[ManifestFile]] = {}
        self._web: list[Source] = []
        self._gateways: set[str] = set()  # URLs that routers named and that are or were looked at
        self._looking = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._manifest: Manifest | None = None
        self._offers: asyncio.Queue[Offer] = asyncio.Queue()
        self.file_urls: list[HttpFileSource] = []
        self.named = NamedRoots()
        self.looked = asyncio.Event()  # the first round of finding is over

    async def run(self, peers: Sequence[str], mirrors: MirrorChoice | None = None) -> None:
        """Find peers and look at mirrors until cancelled; may run several times at once.

        Raises:
            TargetError: One of `peers` or of the mirrors is not an address.
        """
        # What is no address is refused before anything is started: out of the group below it
        # would come wrapped into another exception.
        for url in mirrors.urls if mirrors is not None else ():
            source = HttpFileSource(url)
            if not is_base(url):
                self.file_urls.append(source)
        for address in peers:
            split_peer(address)
        async with (
            asyncio.TaskGroup() as group,
            aclosing(
                self._finder.find(
                    [self._target],
                    peers,
                    lambda url: self._add_gateway(url, group),
                    self.looked.set,
                )
            ) as finding,
        ):
            if mirrors is not None:
                self._choices.append(mirrors)
                group.create_task(self._admit_mirrors(mirrors, group))
            async for found in finding:
                if isinstance(found, FoundBlocks):
                    self._add_block_peer(found.peer_id)
                else:
                    self._add_peer(found)

    async def named_or_looked(self, timeout_s: float) -> None:
        """Wait until a root is named, or nobody more is expected to turn up at once."""
        waiting = {
            asyncio.create_task(self.named.wait()),
            asyncio.create_task(self.looked.wait()),
        }
        try:
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def note_progress(self, progress: GetProgress) -> None:
        """Learn how the transfer is doing; called with each of its events."""
        self._latest = progress
        for choice in self._choices:
            choice.take(progress.sources, self._loop.time())

    def attach(self, manifest: Manifest) -> None:
        """Begin to offer sources for the leaves of `manifest`, those known already included."""
        self._manifest = manifest
        self._files = files_by_root(manifest)
        self._finder.look_again(self._target, manifest.target)
        for peer in self._peers.values():
            self._offer_peer(peer, manifest)
        for source in self._block_peers.values():
            self._offer_block_peer(source)
        for web in self._web:
            self._offer_web(web)

    async def offers(self) -> AsyncIterator[Offer]:
        """Yield sources for the transfer as they turn up; never ends."""
        while True:
            yield await self._offers.get()

    async def watch_partial(self, is_complete: Callable[[int], bool]) -> None:
        """Keep asking peers that lacked something what they have by now, until cancelled.

        Args:
            is_complete: Tells by index whether a file of the manifest has all its leaves here.
        """
        assert self._manifest is not None
        wanted = WantedFiles(self._manifest, is_complete)
        pool = ThreadPoolExecutor(WATCHERS, "have")
        watching: dict[_Peer, asyncio.Task[None]] = {}
        try:
            while True:
                for peer in self._peers.values():
                    if peer not in watching:
                        watching[peer] = asyncio.create_task(self._watch_peer(peer, wanted, pool))
                self._peers_changed.clear()
                await self._peers_changed.wait()
        finally:
            for task in watching.values():
                task.cancel()
            await asyncio.gather(*watching.values(), return_exceptions=True)
            pool.shutdown(wait=False, cancel_futures=True)

    async def _watch_peer(self, peer: _Peer, wanted: WantedFiles, pool: ThreadPoolExecutor) -> None:
        have, peer_id, lane = peer.have, peer.found.peer_id, peer.source.open_lane()
        assert have is not None
        look_s = 0.0 if have.is_empty else LOOK_FIRST_S
        try:
            while not have.is_whole and self._peers[peer_id] is peer:
                await asyncio.sleep(look_s)
                roots = wanted.roots(have)
                grew, runs = False, 0
                if roots:
                    try:
                        holdings = await self._loop.run_in_executor(
                            pool, peer.source.ask_have, roots, lane
                        )
                    except MirrorError as exc:
                        log.debug("peer not asked again peer=%s reason=%s", peer_id, exc)
                        look_s = REST_S
                        continue
                    grew = have.take(roots, holdings, self._files)
                    runs = sum(len(holding.runs or ()) for holding in holdings)
                if grew:
                    self._offers.put_nowait(Offer(peer.source, have.available))
                look_s = next_look_s(
                    look_s,
                    grew=grew,
                    has_more=len(roots) == MAX_ROOTS,
                    runs=runs,
                    peers=len(self._peers),
                )
        except Exception:
            # A task boundary: what is known of the peer stands, it is only not asked again.
            log.exception("watching a peer failed peer=%s", peer_id)
        finally:
            lane.abort()

    def _add_peer(self, found: Found) -> None:
        for holding in found.ticket.holdings:
            if holding.asked == self._target and holding.root != holding.asked:
                self.named.add(holding.root, f"peer:{found.peer_id}")
        known = self._peers.get(found.peer_id)
        if known is not None:
            # Back again, maybe at another port: lanes that are still at work go on there.
            source = known.source
            source.replace_ticket(found.ticket, found.near_host)
        else:
            source = PeerSource(
                found.peer_id,
                found.ticket,
                near_host=found.near_host,
                round_trip_s=found.round_trip_s,
                renew=lambda: self._renew(found.peer_id),
            )
        peer = self._peers[found.peer_id] = _Peer(source, found)
        self._loader.add_source(source)
        if self._manifest is not None:
            self._offer_peer(peer, self._manifest, is_back=known is not None)

    def _add_block_peer(self, peer_id: str) -> None:
        if self._blocks_of is None:
            return  # this `get` needs to be told what a peer has, as only a ticket does
        source = self._block_peers.get(peer_id)
        if source is None:
            source = self._block_peers[peer_id] = self._blocks_of(peer_id)
        self._loader.add_source(source)
        if self._manifest is not None:
            self._offer_block_peer(source)

    def _offer_block_peer(self, source: BitswapSource) -> None:
        if source.source_id not in self._loader.bad_sources:
            self._offers.put_nowait(Offer(source))

    def _offer_peer(self, peer: _Peer, manifest: Manifest, *, is_back: bool = False) -> None:
        peer.have = HaveMap(manifest)
        peer.have.take([self._target], peer.found.ticket.holdings, self._files)
        # Whoever sent a wrong block of the structure is not asked for the content either.
        if peer.source.source_id not in self._loader.bad_sources:
            self._offers.put_nowait(Offer(peer.source, peer.have.available, is_back=is_back))
        self._peers_changed.set()

    def _renew(self, peer_id: str) -> Ticket:
        """Get a new ticket; called from a lane's thread."""
        asked = self._finder.ask(peer_id, [self._target])
        try:
            future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        except RuntimeError as exc:
            asked.close()
            raise SourceGone("this node is stopping", source_id=f"peer:{peer_id}") from exc
        try:
            return future.result(ASK_TIMEOUT_S + 1).ticket
        except (TimeoutError, CancelledError) as exc:
            future.cancel()
            raise SourceTooSlow("no new ticket in time", source_id=f"peer:{peer_id}") from exc

    async def _admit_mirrors(self, choice: MirrorChoice, group: asyncio.TaskGroup) -> None:
        """Look at the first mirrors, and at others when those do not do."""
        for url in choice.first(self._loop.time()):
            group.create_task(self._look_at_mirror(url, choice))
        while choice.has_reserve:
            await asyncio.sleep(ADMIT_S)
            latest = self._latest
            waits = self._loader.is_waiting or latest.phase == "transfer"
            for url in choice.more(
                latest.rate_bytes_per_s, latest.done_bytes, waits=waits, now=self._loop.time()
            ):
                log.info("mirror joins mirror=%s", public_url(url))
                group.create_task(self._look_at_mirror(url, choice))

    async def _look_at_mirror(self, url: str, choice: MirrorChoice) -> None:
        if is_base(url):
            gateway = GatewaySource(url)
            if await self._is_gateway(gateway, url, choice):
                choice.looked_at(url, gateway.source_id)
                self._web.append(gateway)
                self._loader.add_source(gateway)
                self._offer_web(gateway)
                return
            source = HttpFileSource(url if url.endswith("/") else url + "/")
        else:
            source = next(source for source in self.file_urls if source.url == url)
        choice.looked_at(url, source.source_id)
        self._web.append(source)
        self._offer_web(source)

    def _add_gateway(self, url: str, group: asyncio.TaskGroup) -> None:
        """Take a gateway that a router named, unless it is known or there are enough."""
        known = {source.url for source in self._web if isinstance(source, GatewaySource)}
        if url in known | self._gateways or len(self._gateways) == MAX_FOUND_GATEWAYS:
            return
        self._gateways.add(url)
        group.create_task(self._look_at_gateway(url))

    async def _look_at_gateway(self, url: str) -> None:
        gateway = GatewaySource(url, max_redirects=0)
        async with self._looking:
            looking = self._loop.run_in_executor(None, gateway.is_gateway)
            try:
                await asyncio.wait([looking], timeout=LOOK_S)
                gateway.abort_fetches()  # if it is still silent
                is_gateway = await looking
            except MirrorError as exc:
                log.info("found gateway not used gateway=%s reason=%s", public_url(url), exc)
                self._gateways.discard(url)  # it may be named again when it is back
                return
            finally:
                gateway.abort_fetches()
        if is_gateway:
            self._web.append(gateway)
            self._loader.add_source(gateway)
            self._offer_web(gateway)

    async def _is_gateway(self, gateway: GatewaySource, url: str, choice: MirrorChoice) -> bool:
        """Ask until there is an answer: a mirror that is away now may come back."""
        reason = ""
        while True:
            try:
                is_gateway = await asyncio.to_thread(gateway.is_gateway)
            except MirrorError as exc:
                if str(exc) != reason:
                    reason = str(exc)
                    self._note(Note(f"mirror {public_url(gateway.url)} {reason}", "warning"))
                choice.failed(url)
                self._loader.note_failure(gateway.source_id, reason)
                await asyncio.sleep(self._probe_again_s)
            else:
                return is_gateway

    def _offer_web(self, source: Source) -> None:
        if self._manifest is None or source.source_id in self._loader.bad_sources:
            return
        if isinstance(source, HttpFileSource) and not _fits(source, self._manifest):
            is_base = source.url.endswith("/")
            advice = (
                "is a folder, the target is one file; give the URL of the file"
                if is_base
                else "names one file, the target is a folder; give a base URL that ends in /"
            )
            shown = source.source_id.removeprefix("http:")
            self._note(Note(f"mirror {shown} {advice}", "warning"))
            return
        self._offers.put_nowait(Offer(source, reads_from_start=True))


def _fits(source: HttpFileSource, manifest: Manifest) -> bool:
    """Tell whether a file server can be asked at all: one URL for one file, a base for a folder."""
    return manifest.is_single_file != source.url.endswith("/")
