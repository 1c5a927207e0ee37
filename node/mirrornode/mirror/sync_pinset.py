"""Tells nodes that follow this one what it keeps pinned.

Only the user's pins are told, only what open repos of the Hub hold or what is recorded here whole;
never why it is pinned, nor what is held for others. Format: docs/formats/pinset.md.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mirrornode.errors import RemoteProtocolError
from mirrornode.store.hub_records import is_peers_word
from mirrornode.store.pins import HUB
from mirrornode.wire import pinset
from mirrornode.wire.pinset import PinnedThere, PinPage

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.pins import Pin

MAX_ANSWERING = 2


class PinsetAnswers:
    """Answers questions for the pinset; belongs to one event loop.

    Driven by: `Swarm.serve(pinset.PROTOCOL, answers.answer, …)`.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def answer(self, peer_id: str, request: bytes) -> bytes | None:
        """Answer one question of a peer; a malformed one gets none."""
        try:
            after = pinset.decode_question(request)
        except RemoteProtocolError:
            return None
        return await asyncio.to_thread(self._page, after)

    def _page(self, after: int) -> bytes:
        found: list[PinnedThere] = []
        for pin in self._catalog.pins(owner=""):
            if pin.id <= after:
                continue
            if len(found) == pinset.MAX_PAGE:
                return pinset.encode_page(PinPage(found, has_more=True))
            if (told := self._told(pin)) is not None:
                found.append(told)
        return pinset.encode_page(PinPage(found, has_more=False))

    def _told(self, pin: Pin) -> PinnedThere | None:
        """Return what others may know of a pin."""
        if pin.kind != HUB or pin.repo is None:
            return PinnedThere(pin.id, pin.target, pin.size_bytes) if self._is_here(pin) else None
        sight = self._catalog.hub_sight(pin.repo)
        if sight is None or not sight.is_open or not self._catalog.is_pin_whole(pin):
            return None
        refs = {
            name: ref.seen_at
            for name, ref in self._catalog.hub_refs(pin.repo).items()
            if ref.commit == pin.commit and not is_peers_word(ref.vouched_by)
        }
        return PinnedThere(pin.id, pin.target, pin.size_bytes, refs)

    def _is_here(self, pin: Pin) -> bool:
        if pin.cid is None:
            return False
        root = self._catalog.find_root(pin.cid.multihash)
        if root is not None:
            return root.state == "ok"
        return self._catalog.find_file(pin.cid.multihash) is not None
