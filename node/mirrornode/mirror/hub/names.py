"""What a client means by a repo and a revision: asked of the origin, remembered, never turned back.

A ref is asked for again after `ref_ttl_s`, by one question however many wait. When no origin
answers, the last answer is given with a warning. A commit never changes; who may see its repo does,
so that is asked for again, too. Names of a private repo are given only to a token which the origin
has shown them to. Peers are asked last, and only those the user trusts.

Content, and who may have it, is not here: `access`, `fetch`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from mirrornode.errors import (
    HubRefusal,
    MirrorError,
    NotKnownHere,
    OriginAway,
    RemoteProtocolError,
    SourceError,
)
from mirrornode.mirror.hub.flights import Flights
from mirrornode.mirror.hub.grants import REFUSED_TTL_S, Grants, token_digest
from mirrornode.mirror.hub.kept_answers import KeptAnswers
from mirrornode.mirror.hub.name_book import Known, NameBook
from mirrornode.mirror.hub.recent import Recent
from mirrornode.mirror.hub.refusals import NO_REPO, again, refusal
from mirrornode.store.hub_records import PEER_PREFIX, is_peers_word
from mirrornode.wire.hub import HubFile

if TYPE_CHECKING:
    from mirrornode.config import HubConfig
    from mirrornode.mirror.hub.named import Named
    from mirrornode.mirror.hub.peer_words import HeardWord
    from mirrornode.sources.hub_origin import OriginAnswer, Origins
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import Repo

log = logging.getLogger(__name__)

SIGHT_TTL_S = 600.0  # how long a repo counts as open, for who asks by commit
PATIENCE_S = 8.0  # clients give up after 10 s
STALE_PATIENCE_S = 3.0  # when there is an older answer to give
TREE_PATIENCE_S = 60.0  # 50,000 files are 50 pages; the gateway has a patience of its own
MAX_REASON_LETTERS = 400  # an origin may be a node that tells of its own origins
MAX_REFUSALS = 4096  # remembered answers of "no"

AskPeers: TypeAlias = "Callable[[Repo, str], Awaitable[HeardWord | None]]"
Tree: TypeAlias = dict[str, HubFile]

_AWAY = (OriginAway, SourceError, RemoteProtocolError, TimeoutError)
_OPEN = b""  # scope of questions whose answers anybody may see


class HubNames:
    """Resolves names; one a node, used by many requests of one event loop. Close it when done."""

    def __init__(
        self,
        catalog: Catalog,
        origins: Origins,
        settings: HubConfig,
        *,
        clock: Callable[[], float] = time.time,
        ask_peers: AskPeers | None = None,
    ) -> None:
        """Prepare.

        Args:
            clock: Unix time in seconds.
            ask_peers: Asks trusted peers about a repo and a revision, see `peer_words`.
        """
        self._origins = origins
        self._settings = settings
        self._clock = clock
        self._ask_peers = ask_peers
        self._grants = Grants(catalog, settings, clock)
        self._book = NameBook(catalog, origins, self._grants, clock)
        self._catalog = catalog
        self._names: Flights[Named] = Flights("hub-names")
        self._trees: Flights[Tree] = Flights("hub-trees")
        self._kept = KeptAnswers(catalog, origins, settings, clock)
        self._refusals: Recent[tuple[HubRefusal, float]] = Recent(MAX_REFUSALS)

    def close(self) -> None:
        """Ask nothing more; questions under way end by their own timeouts."""
        self._names.close()
        self._trees.close()
        self._kept.close()

    async def resolve(self, repo: Repo, revision: str, token: str, *, since: float = 0.0) -> Named:
        """Return which commit a name means, and what the origin says of it.

        Args:
            since: A ref is asked for again unless it was after this moment, Unix seconds.

        Raises:
            HubNotFound, HubRefusal: As the Hub says it to this token, with its status and code.
            NotKnownHere: No origin answers within `PATIENCE_S`, and nothing is known here that
                may be told to this token.
        """
        digest = token_digest(token)
        known = await asyncio.to_thread(self._fresh, repo, revision, digest)
        if isinstance(known, HubRefusal):
            raise known
        if known is not None and self._is_fresh(known, since):
            return known.named(repo)
        patience_s = PATIENCE_S if known is None else STALE_PATIENCE_S
        is_open = known is not None and known.sight is not None and not known.sight.is_private
        try:
            return await self._ask(repo, revision, token, digest, is_open, patience_s, since)
        except _AWAY as exc:
            return await self._without_origin(repo, revision, digest, _reason(exc))

    async def tree(self, named: Named, token: str) -> Mapping[str, HubFile]:
        """Return all files of a commit by path; complete, or nothing.

        Args:
            named: As `resolve` gave it to this token.

        Raises:
            HubRefusal, HubNotFound: As the Hub says it to this token.
            OriginAway: The tree is not known here and no origin answers.
        """
        kept = await asyncio.to_thread(self._book.tree, named)
        if kept is not None and not is_peers_word(kept[1]):
            return kept[0]
        digest = token_digest(token)
        scope = digest if named.is_private else _OPEN

        def question() -> Tree:
            landed = self._book.tree(named)  # since we looked
            if landed is not None and not is_peers_word(landed[1]):
                return landed[0]
            return self._book.ask_tree(named, token, digest)

        try:
            key = named.repo, named.commit, scope
            landed = await self._trees.join(key, digest, question, TREE_PATIENCE_S)
            if isinstance(landed.error, HubRefusal) and landed.owner != digest:
                key = named.repo, named.commit, digest
                landed = await self._trees.join(key, digest, question, TREE_PATIENCE_S)
            return landed.result()
        except _AWAY as exc:
            if kept is not None and self._trusts(kept[1]):
                return kept[0]
            if not named.needs_grant and (
                known := await self._peers_word(named.repo, named.commit)
            ):
                kept = await asyncio.to_thread(self._book.tree, known.named(named.repo))
                if kept is not None:
                    return kept[0]
            raise OriginAway(
                f"the files of {named.repo} at {named.commit[:12]} are not known here and "
                f"{self._origin_names()} cannot be asked ({_reason(exc)})"
            ) from exc

    async def look_again(self, repo: Repo, revision: str, token: str) -> None:
        """Ask the origins who may see a repo, however lately they said it, and write it down.

        Without an answer all stays as it was.
        """
        digest = token_digest(token)

        def question() -> Named:
            return self._book.ask_revision(repo, revision, token, digest)

        key = repo, revision, digest, "again"
        with contextlib.suppress(MirrorError, TimeoutError):
            (await self._names.join(key, digest, question, PATIENCE_S)).result()

    async def pass_through(
        self,
        target: str,
        token: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        content_type: str = "",
    ) -> OriginAnswer:
        """Return the origin's own answer to a question that is not answered from names here.

        Answers to GET about repos that are not private are kept: given again within the TTL of
        refs, and with `x-hf-warning` among the headers when no origin answers.

        Args:
            target: Path and query as the client sent them.

        Raises:
            OriginAway: No origin answers and nothing is kept.
        """
        try:
            return await self._kept.answer(target, token, method, body, content_type)
        except _AWAY as exc:
            raise OriginAway(
                f"{self._origin_names()} cannot be asked ({_reason(exc)}) and no answer to this "
                "question is kept here"
            ) from exc

    async def reconsider_openness(self, repo: Repo) -> int:
        """Share no more those files of a repo that no open repo vouches for; return how many.

        Done by itself whenever the origin says that a repo is not open.
        """
        return await asyncio.to_thread(self._catalog.reconsider_openness, repo)

    def _fresh(self, repo: Repo, revision: str, digest: bytes) -> Known | HubRefusal | None:
        """Return what may be told to this token while the origin can be asked, or its last no."""
        refused = self._refusals.get((repo, revision, digest))
        if refused is not None:
            age_s = self._clock() - refused[1]
            if 0 <= age_s < min(REFUSED_TTL_S, self._settings.ref_ttl_s):
                return again(refused[0])
        known = self._book.look_up(repo, revision)
        if known is None or is_peers_word(known.vouched_by):
            return None
        if known.sight is not None and known.sight.is_private:
            return known if self._grants.fresh(digest, repo) else None
        return known

    def _is_fresh(self, known: Known, since: float) -> bool:
        if not known.is_fixed and known.seen_at < since:
            return False
        ttl_s = SIGHT_TTL_S if known.is_fixed else self._settings.ref_ttl_s
        return 0 <= self._clock() - known.seen_at < ttl_s

    async def _ask(
        self,
        repo: Repo,
        revision: str,
        token: str,
        digest: bytes,
        is_open: bool,
        patience_s: float,
        since: float,
    ) -> Named:
        def question() -> Named:
            # Again: the question before this one may have landed since we looked.
            known = self._fresh(repo, revision, digest)
            if isinstance(known, HubRefusal):
                raise known
            if known is not None and self._is_fresh(known, since):
                return known.named(repo)
            try:
                return self._book.ask_revision(repo, revision, token, digest)
            except HubRefusal as exc:
                self._refusals.put((repo, revision, digest), (again(exc), self._clock()))
                raise

        key = repo, revision, _OPEN if is_open else digest
        landed = await self._names.join(key, digest, question, patience_s)
        if landed.owner != digest:
            # Another token's question: its no is not ours, nor what only it may see.
            named = landed.value
            if isinstance(landed.error, HubRefusal) or (named is not None and named.is_private):
                landed = await self._names.join(
                    (repo, revision, digest), digest, question, patience_s
                )
        return landed.result()

    async def _without_origin(self, repo: Repo, revision: str, digest: bytes, reason: str) -> Named:
        found = await asyncio.to_thread(self._stale, repo, revision, digest)
        if isinstance(found, HubRefusal):
            raise found
        if found is not None and not is_peers_word(found.vouched_by):
            return found.named(repo, self._warning(repo, revision, found, reason))
        word = await self._peers_word(repo, revision)
        known = word if word is not None else found
        if known is not None:
            return known.named(repo, self._warning(repo, revision, known, reason))
        raise NotKnownHere(
            f"{repo}@{revision} is not known here, or not to this user, and {self._origin_names()} "
            f"cannot be asked ({reason}); it is served again once the origin answers"
        )

    def _stale(self, repo: Repo, revision: str, digest: bytes) -> Known | HubRefusal | None:
        """Return what may be told to this token while no origin can be asked."""
        known = self._book.look_up(repo, revision)
        if known is not None and known.sight is not None and known.sight.is_private:
            if self._grants.offline(digest, repo):
                return known
            known = None
        if known is not None and (
            not is_peers_word(known.vouched_by) or self._trusts(known.vouched_by)
        ):
            return known
        if (refused := self._refusals.get((repo, revision, digest))) is not None:
            return again(refused[0])
        sight = self._book.sight(repo)
        if sight is not None and sight.is_private and self._grants.was_refused(digest, repo):
            status = 401 if digest == token_digest("") else 404
            return refusal("hub:the Hub", status, NO_REPO, "", repo=repo, subject=str(repo))
        return None

    async def _peers_word(self, repo: Repo, revision: str) -> Known | None:
        """Return what a trusted peer says, unless the origin said that the repo is not open."""
        if self._ask_peers is None or not (
            self._settings.trust_peers or self._settings.trusted_peers
        ):
            return None
        sight = await asyncio.to_thread(self._book.sight, repo)
        if sight is not None and not sight.is_open:
            return None
        heard = await self._ask_peers(repo, revision)
        if heard is None or not self._trusts(f"{PEER_PREFIX}{heard.peer_id}"):
            return None
        return await asyncio.to_thread(self._book.record_peers_word, repo, revision, heard)

    def _trusts(self, vouched_by: str) -> bool:
        return not is_peers_word(vouched_by) or (
            self._settings.trust_peers
            or vouched_by.removeprefix(PEER_PREFIX) in self._settings.trusted_peers
        )

    def _warning(self, repo: Repo, revision: str, known: Known, reason: str) -> str:
        if known.is_fixed and not is_peers_word(known.vouched_by):
            return ""  # a commit is what it was
        seen = datetime.fromtimestamp(known.seen_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        if is_peers_word(known.vouched_by):
            return (
                f"unconfirmed: {repo}@{revision} is what {known.vouched_by} says,"
                f" {self._origin_names()} cannot be asked ({reason})"
            )
        return (
            f"stale: {repo}@{revision} is as of {seen}, {self._origin_names()} cannot be asked"
            f" ({reason})"
        )

    def _origin_names(self) -> str:
        names = [origin.origin_id.removeprefix("hub:") for origin in self._origins.in_order()]
        return " and ".join(names) or "no origin is configured, so that none"


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    text = "".join(letter if " " <= letter <= "~" else " " for letter in str(exc))
    return text[:MAX_REASON_LETTERS] or type(exc).__name__
