"""The node that a target is followed at: its pinset, and what it says of repos of the Hub.

Who is followed stands in for the origin: its word for names, trees and the openness of a repo is
written down like an origin's, marked `hub:node/ID`, and passed on. That is why it must be named by
the user, and why it is not believed of a repo that an origin called gated or private. Content is
checked by hash, as from anybody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mirrornode.errors import (
    HubNotFound,
    MirrorError,
    RemoteProtocolError,
    SourceGone,
    SourceTooSlow,
)
from mirrornode.routing.find import split_peer
from mirrornode.store.hub_records import NODE_PREFIX
from mirrornode.swarm.peer_ports import RequestPort
from mirrornode.wire import pinset
from mirrornode.wire.hub import is_commit
from mirrornode.wire.pinset import MAX_PINS, NodeCard, PinnedThere

if TYPE_CHECKING:
    from mirrornode.mirror.hub.peer_words import HeardWord
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import Repo

log = logging.getLogger(__name__)

DIAL_S = 15.0
ANSWER_S = 30.0
REDIAL_S = 1.0  # between two looks whether the node is still connected
MAX_REDIAL_S = 8.0  # the same while it cannot be reached


class SwarmPort(RequestPort, Protocol):
    """What following a node needs of the swarm."""

    async def dial(
        self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10.0
    ) -> None: ...


class AskNode(Protocol):
    """Asks one node what a revision is, see `PeerWords.ask_node`."""

    async def __call__(self, peer_id: str, repo: Repo, revision: str) -> HeardWord | None: ...


@dataclass(frozen=True, slots=True)
class UpstreamPorts:
    """What following needs; `fetch_card` is `sources.node_card.fetch_card`."""

    catalog: Catalog
    swarm: SwarmPort
    ask_node: AskNode
    fetch_card: Callable[[str], NodeCard]


class Upstream:
    """A node that is followed, connected; made by `reach`."""

    def __init__(
        self, ports: UpstreamPorts, peer_id: str, addresses: Sequence[str], url: str = ""
    ) -> None:
        self._ports = ports
        self._url = url  # of its gateway, if that is how it is named
        self.peer_id = peer_id
        self.addresses = tuple(addresses)  # multiaddrs with /p2p/
        self._last: tuple[Repo, str, HeardWord] | None = None  # by commit

    @asynccontextmanager
    async def kept(self, look_s: float = REDIAL_S) -> AsyncIterator[None]:
        """Connect to the node again whenever it is gone, for the length of the block.

        Nobody else may know where it is: one that restarts in mid-transfer is met again, and gives
        a new ticket, as soon as it is back.

        Args:
            look_s: Between two looks whether it is connected.
        """
        keeping = asyncio.create_task(self._keep(look_s))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self, look_s: float) -> None:
        pause_s = look_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                # Returns at once while it is connected.
                await self._ports.swarm.dial(self.peer_id, self.addresses, timeout_s=DIAL_S)
                pause_s = look_s
            except MirrorError as exc:
                log.info("followed node not reached again reason=%s", exc)
                pause_s = min(MAX_REDIAL_S, 2 * pause_s)
                with suppress(MirrorError):
                    await self._look_where_it_is()

    async def _look_where_it_is(self) -> None:
        if self._url:
            card = await asyncio.to_thread(self._ports.fetch_card, self._url)
            if card.peer_id == self.peer_id:
                self.addresses = card.addresses

    async def pins(self) -> list[PinnedThere]:
        """Return what the node keeps pinned, as far as it tells.

        Raises:
            SourceError, RemoteProtocolError: It failed, or said what cannot be.
        """
        found: list[PinnedThere] = []
        while True:
            after = found[-1].number if found else 0
            answer = await self._ports.swarm.request(
                self.peer_id,
                pinset.PROTOCOL,
                pinset.encode_question(after),
                timeout_s=ANSWER_S,
                max_response_bytes=pinset.MAX_ANSWER_BYTES,
            )
            page = pinset.decode_page(answer, after)
            found += page.pins
            if not page.has_more:
                return found
            if len(found) >= MAX_PINS:
                raise RemoteProtocolError(f"a pinset of more than {MAX_PINS:,} pins")

    async def learn(self, repo: Repo, revision: str) -> HeardWord:
        """Write down a commit with its files as the node says them, but not what the ref means.

        Raises:
            HubNotFound: It does not tell of that revision, or an origin called the repo not open.
            SourceError, RemoteProtocolError: It failed, or said what cannot be.
        """
        if self._last is not None and self._last[:2] == (repo, revision):
            return self._last[2]  # many pins of one commit follow each other
        try:
            heard = await self._ports.ask_node(self.peer_id, repo, revision)
        except TimeoutError:
            raise SourceTooSlow(
                f"did not tell of {repo} in time", source_id=f"peer:{self.peer_id}"
            ) from None
        if heard is None or heard.word.files is None:
            raise HubNotFound(
                f"{self._name} does not tell of {repo}@{revision}: it has not synced it, or the "
                "repo is not open",
                status=404,
            )
        await asyncio.to_thread(self._record, repo, heard)
        self._last = repo, heard.word.commit, heard
        return heard

    def point(self, repo: Repo, ref: str, heard: HeardWord) -> None:
        """Write down which commit a ref means; only once its content is here. Blocking."""
        if not is_commit(ref):
            seen_at = min(heard.word.recorded_at, time.time())
            self._ports.catalog.put_hub_ref(
                repo, ref, heard.word.commit, self._vouched_by, seen_at=seen_at
            )

    @property
    def _vouched_by(self) -> str:
        return f"{NODE_PREFIX}{self.peer_id}"

    @property
    def _name(self) -> str:
        return f"node …{self.peer_id[-8:]}"

    def _record(self, repo: Repo, heard: HeardWord) -> None:
        catalog, word, now = self._ports.catalog, heard.word, time.time()
        assert word.files is not None
        names = (repo, *catalog.hub_former_names(repo))
        sights = [sight for name in names if (sight := catalog.hub_sight(name)) is not None]
        if not all(sight.is_open for sight in sights):
            raise HubNotFound(
                f"{repo} is not open by the word of its origin; what {self._name} says of it is "
                "not taken",
                status=404,
            )
        # Nodes tell of open repos only, so that it does is its word for that; of this name alone,
        # or one that is renamed could open what another is called.
        catalog.put_hub_sight(repo, canonical=repo, is_private=False, gated="", checked_at=now)
        recorded_at = min(word.recorded_at, now)
        info = {"id": repo.name, "gated": False, "private": False, **word.info, "sha": word.commit}
        catalog.put_hub_revision(repo, word.commit, info, self._vouched_by, recorded_at=recorded_at)
        catalog.put_hub_tree(repo, word.commit, word.files, self._vouched_by)


async def reach(ports: UpstreamPorts, node: str) -> Upstream:
    """Connect to a node that is to be followed.

    Args:
        node: Its multiaddr with `/p2p/`, or the URL of its gateway.

    Raises:
        SourceError: It cannot be reached, or is no node.
        TargetError: No such address.
    """
    if node.startswith("/"):
        peer_id, _ = split_peer(node)
        addresses: tuple[str, ...] = (node,)
    else:
        card = await asyncio.to_thread(ports.fetch_card, node)
        peer_id, addresses = card.peer_id, card.addresses
    try:
        await ports.swarm.dial(peer_id, addresses, timeout_s=DIAL_S)
    except SourceGone as exc:
        raise SourceGone(
            f"the node to follow cannot be reached at {node}: {exc}", source_id=f"peer:{peer_id}"
        ) from exc
    return Upstream(ports, peer_id, addresses, "" if node.startswith("/") else node)
