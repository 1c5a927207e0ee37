"""The origin's own answers to refs, commits and the like, kept for when it is away.

Only what anybody may see is kept: the question is then asked without the user's token. Where that
is refused, and for everything that depends on who asks, the answer goes through and is not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mirrornode.errors import OriginAway, RemoteProtocolError, SourceError
from mirrornode.mirror.hub.flights import Flights
from mirrornode.mirror.hub.grants import Grants, token_digest
from mirrornode.sources.hub_origin import OriginAnswer
from mirrornode.store.hub_records import KeptAnswer, is_peers_word
from mirrornode.wire.hub import parse_hub_path, without_xet

if TYPE_CHECKING:
    from mirrornode.config import HubConfig
    from mirrornode.sources.hub_origin import HubOrigin, Origins
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.hub_records import HubSight
    from mirrornode.wire.hub import HubRequest, Repo

PATIENCE_S = 8.0  # clients give up after 10 s
STALE_PATIENCE_S = 3.0  # when there is an older answer to give
MAX_TARGET_LETTERS = 2048  # of questions whose answers are kept

_KEPT_KINDS = frozenset({"model-info", "revision", "tree", "refs", "commits"})
_KEPT_HEADERS = ("link", "content-type")
_AWAY = (OriginAway, SourceError, RemoteProtocolError, TimeoutError)


class KeptAnswers:
    """Passes questions on and keeps public answers; belongs to one event loop."""

    def __init__(
        self, catalog: Catalog, origins: Origins, settings: HubConfig, clock: Callable[[], float]
    ) -> None:
        self._catalog = catalog
        self._origins = origins
        self._settings = settings
        self._clock = clock
        self._grants = Grants(catalog, settings, clock)
        self._flights: Flights[OriginAnswer] = Flights("hub-answers")

    def close(self) -> None:
        """Ask nothing more."""
        self._flights.close()

    async def answer(
        self, target: str, token: str, method: str, body: bytes, content_type: str
    ) -> OriginAnswer:
        """Return the origin's answer, or the kept one when it is fresh or no origin answers.

        Raises:
            OriginAway, SourceError, RemoteProtocolError, TimeoutError: Nobody answered and nothing
                is kept.
            HubRefusal: The question cannot be sent at all.
        """
        request = parse_hub_path(target.partition("?")[0])
        repo = request.repo if request is not None else None
        if (
            method != "GET"
            or request is None
            or repo is None
            or request.kind not in _KEPT_KINDS
            or len(target) > MAX_TARGET_LETTERS
        ):
            return await self._ask(target, token, method, body, content_type, PATIENCE_S)
        sight, kept = await asyncio.to_thread(self._look_up, repo, target)
        is_public = sight is not None and not sight.is_private
        if kept is not None and self._is_fresh(kept):
            return _answer_of(kept)
        patience_s = PATIENCE_S if kept is None else STALE_PATIENCE_S
        try:
            if is_public or not token:
                answer = await self._ask_openly(repo, target, patience_s)
                if answer.status < 400 or not token:
                    return answer
            return await self._ask(target, token, method, body, content_type, patience_s)
        except _AWAY:
            if kept is not None:
                return self._stale(kept)
            known = await asyncio.to_thread(self._known_refs, request, repo, sight, token)
            if known is None:
                raise
            return known

    async def _ask(
        self,
        target: str,
        token: str,
        method: str,
        body: bytes,
        content_type: str,
        patience_s: float,
    ) -> OriginAnswer:
        def ask(origin: HubOrigin) -> OriginAnswer:
            answer = origin.ask(target, token, method=method, body=body, content_type=content_type)
            return replace(answer, json=without_xet(answer.json))

        def question() -> OriginAnswer:
            return self._origins.ask_any(ask)[1]

        digest = token_digest(token)
        key = method, target, body, content_type, digest
        return (await self._flights.join(key, digest, question, patience_s)).result()

    async def _ask_openly(self, repo: Repo, target: str, patience_s: float) -> OriginAnswer:
        """Ask without a token and keep a yes."""

        def ask(origin: HubOrigin) -> OriginAnswer:
            answer = origin.ask(target, "")
            return replace(answer, json=without_xet(answer.json))

        def question() -> OriginAnswer:
            asked_at = self._clock()
            kept = self._look_up(repo, target)[1]
            if kept is not None and self._is_fresh(kept):
                return _answer_of(kept)  # it landed since we looked
            origin, answer = self._origins.ask_any(ask)
            if answer.status == 200:
                headers = {
                    name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers
                }
                kept = KeptAnswer(headers, answer.json, origin.origin_id, asked_at)
                self._catalog.put_hub_answer(target, repo, kept)
            else:
                self._catalog.drop_hub_answer(target)  # it is nobody's business any more
            return answer

        key = "open", target
        return (await self._flights.join(key, b"", question, patience_s)).result()

    def _is_fresh(self, kept: KeptAnswer) -> bool:
        return 0 <= self._clock() - kept.seen_at < self._settings.ref_ttl_s

    def _look_up(self, repo: Repo, target: str) -> tuple[HubSight | None, KeptAnswer | None]:
        """Return who may see the repo, and the kept answer unless the repo is private now."""
        sight = self._catalog.hub_sight(repo)
        if sight is not None and sight.is_private:
            return sight, None
        return sight, self._catalog.hub_answer(target)

    def _stale(self, kept: KeptAnswer) -> OriginAnswer:
        seen = datetime.fromtimestamp(kept.seen_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        host = kept.origin_id.removeprefix("hub:")
        return _answer_of(kept, f"stale; {host} said this {seen} and cannot be asked now")

    def _known_refs(
        self, request: HubRequest, repo: Repo, sight: HubSight | None, token: str
    ) -> OriginAnswer | None:
        """Answer `/refs` with the refs that were resolved here, where names may be told."""
        if request.kind != "refs" or sight is None:
            return None
        if sight.is_private and not self._grants.offline(token_digest(token), repo):
            return None
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": ref.commit}
            for name, ref in self._catalog.hub_refs(repo).items()
            if not name.startswith("refs/")
            and not ref.commit.startswith(name)
            and not is_peers_word(ref.vouched_by)
        ]
        if not branches:
            return None
        json: dict[str, Any] = {"branches": branches, "tags": [], "converts": []}
        warning = "stale; only refs that were asked for here are listed, the origin is away"
        return OriginAnswer(200, {"x-hf-warning": warning}, json)


def _answer_of(kept: KeptAnswer, warning: str = "") -> OriginAnswer:
    headers: Mapping[str, str] = kept.headers
    if warning:
        headers = {**headers, "x-hf-warning": warning}
    return OriginAnswer(200, headers, kept.json)
