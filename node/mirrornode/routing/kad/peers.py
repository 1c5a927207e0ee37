"""Asking one peer: dial it if need be, send a message, judge the answer.

Keeps the routing table true while doing so: who answers is in, who fails is out and is left alone
for a while, so that lookups do not knock at the same dead door again and again.

Driven by: `routing.kad.node`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from mirrornode.errors import MirrorError, RemoteProtocolError, SourceGone
from mirrornode.routing.kad.dialled import DialledLinks
from mirrornode.wire.kad import KadMessage, decode_message, encode_message

if TYPE_CHECKING:
    from mirrornode.routing.kad.addresses import AddressBook
    from mirrornode.routing.kad.ports import Link, SwarmPort
    from mirrornode.routing.kad.rules import DhtRules
    from mirrornode.routing.kad.settings import KadSettings

log = logging.getLogger(__name__)

MAX_SHUNNED_PEERS = 4096


class KadPeers:
    """Sends messages to peers of one DHT.

    Args:
        swarm: Carries the messages.
        rules: Of the DHT.
        book: Where peers without a link are dialled.
        settings: Timeouts and bounds.
        clock: Monotonic seconds.
        alive: Told the link of each peer that answered.
        failed: Told the id of each peer that did not.
    """

    def __init__(
        self,
        swarm: SwarmPort,
        rules: DhtRules,
        *,
        book: AddressBook,
        settings: KadSettings,
        clock: Callable[[], float],
        alive: Callable[[Link], None],
        failed: Callable[[str], None],
    ) -> None:
        self._swarm = swarm
        self._rules = rules
        self._book = book
        self._settings = settings
        self._clock = clock
        self._alive = alive
        self._failed = failed
        self._shunned_until: OrderedDict[str, float] = OrderedDict()
        self._dialled = DialledLinks(rules.max_dialled)
        self.answers = 0  # sensible ones so far; when it stands still, the network is away
        self._open_requests = asyncio.Semaphore(settings.max_open_requests)

    async def ask(
        self,
        peer_id: str,
        message: KadMessage,
        *,
        ahead: Sequence[bytes] = (),
        is_no_allowed: bool = False,
    ) -> KadMessage | None:
        """Return the peer's answer, or None when it gave no sensible one.

        Args:
            ahead: Encoded messages without answers that are sent before, on the same stream.
            is_no_allowed: To close without an answer is a refusal, and nothing against the peer.
        """
        try:
            async with self._open_requests:
                with self._dialled.using(peer_id):
                    await self.connect(peer_id)
                    response = await self._swarm.request(
                        peer_id,
                        self._rules.protocol,
                        encode_message(message),
                        ahead=ahead,
                        timeout_s=self._settings.request_timeout_s,
                        max_response_bytes=self._settings.max_response_bytes,
                    )
            answer = decode_message(response)
            if answer.type is not message.type:
                raise RemoteProtocolError(f"answered {message.type.name} by {answer.type.name}")
        except MirrorError as exc:
            if not is_no_allowed:
                self._note_failure(peer_id, exc)
            return None
        self._note_success(peer_id)
        return answer

    async def reach(self, peer_id: str) -> Link | None:
        """Return the link to a peer, dialling it when there is none; None when that fails."""
        try:
            async with self._open_requests:
                with self._dialled.using(peer_id):
                    return await self.connect(peer_id)
        except MirrorError as exc:
            self._note_failure(peer_id, exc)
            return None

    async def connect(self, peer_id: str) -> Link:
        """Return the link to a peer, dialling it when there is none.

        Raises:
            SourceGone: Unknown, unreachable, or it failed a moment ago.
        """
        if self.is_shunned(peer_id):
            raise SourceGone("peer failed a moment ago", source_id=peer_id)
        link = self._swarm.link(peer_id)
        if link is None:
            addresses = self._book.get(peer_id)
            if not addresses:
                raise SourceGone("peer has no known address", source_id=peer_id)
            await self._swarm.dial(peer_id, addresses, timeout_s=self._settings.dial_timeout_s)
            self._dialled.add(peer_id)
            await self._end_excess_links()
            link = self._swarm.link(peer_id)
        if link is None:
            raise SourceGone("peer left at once", source_id=peer_id)
        return link

    def is_shunned(self, peer_id: str) -> bool:
        """Return whether the peer failed so lately that it is not asked."""
        return self._shunned_until.get(peer_id, 0.0) > self._clock()

    def forgive(self, peer_id: str) -> None:
        """Ask the peer again from now on: it has shown up."""
        self._shunned_until.pop(peer_id, None)

    def link_ended(self, peer_id: str) -> None:
        """Note that a peer has no link any more."""
        self._dialled.forget(peer_id)

    async def _end_excess_links(self) -> None:
        for peer_id in (excess := self._dialled.take_excess()):
            try:
                with suppress(MirrorError):
                    await self._swarm.disconnect(peer_id)
            except BaseException:  # cancelled: they are still there
                for left in excess[excess.index(peer_id) :]:
                    self._dialled.add(left)
                raise

    def _note_success(self, peer_id: str) -> None:
        self.answers += 1
        self.forgive(peer_id)
        link = self._swarm.link(peer_id)
        if link is not None:
            self._alive(link)

    def _note_failure(self, peer_id: str, error: MirrorError) -> None:
        log.debug("dht query failed network=%s peer=%s reason=%s", self._rules.name, peer_id, error)
        if not self.is_shunned(peer_id):
            self._shunned_until[peer_id] = self._clock() + self._settings.retry_s
            self._shunned_until.move_to_end(peer_id)
            while len(self._shunned_until) > MAX_SHUNNED_PEERS:
                self._shunned_until.popitem(last=False)
        self._failed(peer_id)
