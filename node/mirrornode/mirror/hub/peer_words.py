"""Names of the Hub from peers: answering for open repos, and asking those whom the user trusts.

A commit hash does not prove the files that a peer lists under it, so a peer's word is asked for
only when no origin can be asked, believed only of trusted peers, and marked as theirs. Only what an
origin told is passed on; nobody is told anything of a repo that is gated or private.
Spec: docs/formats/hub.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from mirrornode.errors import MirrorError, RemoteProtocolError
from mirrornode.mirror.hub.recent import Recent
from mirrornode.store.announcements import sha256_multihash
from mirrornode.store.hub_records import is_peers_word
from mirrornode.wire import hub_peer
from mirrornode.wire.hub import is_commit
from mirrornode.wire.hub_peer import EtagHolding, EtagQuestion, NameQuestion, PeerWord, TreePages

if TYPE_CHECKING:
    from mirrornode.config import HubConfig
    from mirrornode.store.catalog import Catalog
    from mirrornode.swarm.peer_ports import PeersPort
    from mirrornode.wire.hub import Repo

log = logging.getLogger(__name__)

MAX_ASKED = 8  # peers; each answer may have `MAX_ANSWER_BYTES`
MAX_ANSWERING = 4  # questions answered at a time: a large tree takes a second to read and write
FIRST_ANSWER_S = 3.0
WHOLE_ANSWER_S = 30.0
ASK_AGAIN_S = 30.0  # what peers said, and that they said nothing, is good for so long
MAX_HEARD_FILES = 100_000

_SHA1_MULTIHASH = b"\x11\x14"


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A whole word and who said it."""

    peer_id: str
    word: PeerWord


class PeerWords:
    """Answers peers and asks them; belongs to one event loop.

    Driven by: `Swarm.serve(hub_peer.PROTOCOL, words.answer, max_concurrent=MAX_ANSWERING,
    max_request_bytes=hub_peer.MAX_QUESTION_BYTES)`, and `HubNames(ask_peers=words.ask)`.
    """

    def __init__(
        self,
        catalog: Catalog,
        swarm: PeersPort,
        settings: HubConfig,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            clock: Unix time in seconds.
        """
        self._catalog = catalog
        self._swarm = swarm
        self._settings = settings
        self._clock = clock
        self._heard: Recent[tuple[float, HeardWord | None]] = Recent(MAX_HEARD_FILES)
        self._locks: WeakValueDictionary[tuple[Repo, str], asyncio.Lock] = WeakValueDictionary()

    async def answer(self, peer_id: str, request: bytes) -> bytes | None:
        """Answer one question of a peer; a malformed one gets none."""
        try:
            question = hub_peer.decode_question(request)
        except RemoteProtocolError:
            return None
        return await asyncio.to_thread(self._answer, question)

    async def ask(self, repo: Repo, revision: str) -> HeardWord | None:
        """Return what connected peers that are trusted say of a revision, the latest word.

        Those who wait for the same question share its answer, which stays good for `ASK_AGAIN_S`.
        """
        key = repo, revision
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            heard = self._heard.get(key)
            if heard is not None and 0 <= self._clock() - heard[0] < ASK_AGAIN_S:
                return heard[1]
            trusted = self._trusted()
            if not trusted:
                return None  # not remembered: one may be connected a moment later
            word = await self._ask(NameQuestion(repo, revision), trusted)
            files = word.word.files if word is not None else None
            self._heard.put(key, (self._clock(), word), len(files or ()) + 1)
            return word

    async def ask_node(self, peer_id: str, repo: Repo, revision: str) -> HeardWord | None:
        """Return what one connected node says of a revision, with its files; None for nothing.

        Whether it is believed is the caller's business.

        Raises:
            SourceError, RemoteProtocolError: It failed, or said what cannot be.
        """
        question = NameQuestion(repo, revision)
        async with asyncio.timeout(WHOLE_ANSWER_S):
            word = await self._page(peer_id, question, WHOLE_ANSWER_S)
            if word is None or is_peers_word(word.vouched_by):
                return None
            return await self._whole(HeardWord(peer_id, word), question)

    def _answer(self, question: NameQuestion | EtagQuestion) -> bytes:
        if isinstance(question, EtagQuestion):
            return hub_peer.encode_holdings(self._holdings(question))
        return hub_peer.encode_word(self._word(question), question.start)

    def _holdings(self, question: EtagQuestion) -> list[EtagHolding]:
        """Return shared files only: what gated and private repos hold is not among them."""
        found = []
        for etag in dict.fromkeys(question.etags):
            digest = bytes.fromhex(etag)
            is_sha256 = len(digest) == 32
            file = self._catalog.find_file(
                sha256_multihash(digest) if is_sha256 else _SHA1_MULTIHASH + digest
            )
            if file is not None:
                found.append(EtagHolding(etag, file.cid, file.size_bytes))
        return found

    def _word(self, question: NameQuestion) -> PeerWord | None:
        sight = self._catalog.hub_sight(question.repo)
        if sight is None or not sight.is_open:
            return None
        commit, seen_at = question.revision, None
        if not is_commit(commit):
            ref = self._catalog.hub_ref(question.repo, question.revision)
            if ref is None or is_peers_word(ref.vouched_by):
                return None
            commit, seen_at = ref.commit, ref.seen_at
        known = self._catalog.hub_revision(question.repo, commit)
        if known is None or is_peers_word(known.vouched_by):
            return None
        return PeerWord(
            commit,
            known.info,
            None if is_peers_word(known.tree_vouched_by) else known.files,
            known.vouched_by,
            known.recorded_at if seen_at is None else seen_at,
        )

    def _trusted(self) -> list[str]:
        """Return the connected peers that may be asked."""
        return [
            link.peer_id
            for link in self._swarm.links()
            if hub_peer.PROTOCOL in link.protocols and self._is_trusted(link.peer_id)
        ][:MAX_ASKED]

    async def _ask(self, question: NameQuestion, asked: Sequence[str]) -> HeardWord | None:
        answers = await asyncio.gather(*(self._first_page(peer, question) for peer in asked))
        heard = [answer for answer in answers if answer is not None]
        # A word with files is worth more than a later one without.
        heard.sort(key=lambda one: (one.word.files is None, -one.word.recorded_at))
        for first in heard:
            try:
                async with asyncio.timeout(WHOLE_ANSWER_S):
                    return await self._whole(first, question)
            except (MirrorError, TimeoutError) as exc:
                log.info("peer's word not taken peer=%s reason=%s", first.peer_id, exc)
        return None

    async def _first_page(self, peer_id: str, question: NameQuestion) -> HeardWord | None:
        try:
            word = await self._page(peer_id, question, FIRST_ANSWER_S)
        except MirrorError as exc:
            log.debug("peer gave no word peer=%s reason=%s", peer_id, exc)
            return None
        if word is None or is_peers_word(word.vouched_by):
            return None  # hearsay of hearsay
        return HeardWord(peer_id, word)

    async def _whole(self, first: HeardWord, question: NameQuestion) -> HeardWord:
        """Return the word with all files.

        Raises:
            SourceError, RemoteProtocolError: The peer failed, or its pages do not fit together.
        """
        pages = TreePages(question)
        following = pages.add(first.word)
        while following is not None:
            word = await self._page(first.peer_id, following, WHOLE_ANSWER_S)
            if word is None:
                raise RemoteProtocolError("a peer that forgot its word between two pages")
            following = pages.add(word)
        return HeardWord(first.peer_id, pages.word())

    async def _page(
        self, peer_id: str, question: NameQuestion, timeout_s: float
    ) -> PeerWord | None:
        answer = await self._swarm.request(
            peer_id,
            hub_peer.PROTOCOL,
            hub_peer.encode_question(question),
            timeout_s=timeout_s,
            max_response_bytes=hub_peer.MAX_ANSWER_BYTES,
        )
        return hub_peer.decode_word(answer, question)

    def _is_trusted(self, peer_id: str) -> bool:
        return self._settings.trust_peers or peer_id in self._settings.trusted_peers
