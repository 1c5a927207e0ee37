"""Who may have the content of a repo: whoever the origin let in, and nobody else.

An open repo is anybody's. For any other, the origin is asked whether this very token may have a
file; a yes is good for ten minutes, a no for one. While no origin can be asked, only an earlier yes
counts, up to `grant_max_age_s`: offline never means open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mirrornode.errors import (
    HubRefusal,
    OriginAway,
    RemoteProtocolError,
    SourceError,
    SourceRefused,
)
from mirrornode.mirror.hub.flights import Flights
from mirrornode.mirror.hub.grants import Grants, token_digest
from mirrornode.mirror.hub.refusals import (
    GATED,
    NO_REPO,
    is_unknown_token,
    refusal,
)

if TYPE_CHECKING:
    from mirrornode.config import HubConfig
    from mirrornode.mirror.hub.named import Named
    from mirrornode.mirror.hub.names import HubNames
    from mirrornode.sources.hub_origin import HubOrigin, Origins
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import HubFile

PATIENCE_S = 8.0  # clients give up after 10 s

# What the Hub shows of a gated repo to everybody: no proof that the content may be had.
_SHOWN_TO_ALL = ("readme", "license", "licence", ".gitattributes", "notice")


class HubAccess:
    """Asks for grants and remembers them; belongs to one event loop. Close it when done."""

    def __init__(
        self,
        catalog: Catalog,
        origins: Origins,
        names: HubNames,
        settings: HubConfig,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            clock: Unix time in seconds.
        """
        self._origins = origins
        self._names = names
        self._grants = Grants(catalog, settings, clock)
        self._flights: Flights[bool] = Flights("hub-access")

    def close(self) -> None:
        """Ask nothing more."""
        self._flights.close()

    async def check(self, named: Named, token: str) -> None:
        """Return when this token may have the content of a repo.

        Args:
            named: As `HubNames.resolve` gave it to this token.

        Raises:
            HubRefusal, HubNotFound: It may not: `GatedRepo` 401 or 403; `RepoNotFound` 401 or 404
                for a private repo. As the origin said, or would say.
        """
        if not named.needs_grant:
            return
        digest = token_digest(token)
        verdict = await asyncio.to_thread(self._grants.fresh, digest, named.repo)
        if verdict is None:
            try:
                await self._ask(named, token, digest)
                return
            except (OriginAway, SourceError, RemoteProtocolError, TimeoutError):
                verdict = await asyncio.to_thread(self._grants.offline, digest, named.repo)
        if not verdict:
            raise _refusal(named, token)

    async def refused(self, named: Named, token: str) -> None:
        """Take it in at once that the origin has just refused content to this token.

        A grant is withdrawn. A repo that was open may be so no longer: the origin is asked, and
        what it says counts from then on, offline too.
        """
        if not named.needs_grant:
            await self._names.look_again(named.repo, named.commit, token)
            return
        digest = token_digest(token)
        await asyncio.to_thread(self._grants.note, digest, named.repo, is_allowed=False)

    async def _ask(self, named: Named, token: str, digest: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            tree = await self._names.tree(named, token)
        path = proving_path(tree.values())

        def question() -> bool:
            # Again: the question before this one may have landed since we looked.
            if self._grants.fresh(digest, named.repo):
                return True
            return self._ask_origin(named, token, digest, path)

        key = named.repo, digest
        (await self._flights.join(key, digest, question, PATIENCE_S)).result()

    def _ask_origin(self, named: Named, token: str, digest: bytes, path: str) -> bool:
        """Return True when the origin lets this token in, and write its word down either way."""

        def question(origin: HubOrigin) -> bool:
            return _is_let_in(origin, named, token, path)

        try:
            self._origins.ask_any(question)
        except HubRefusal as exc:
            if is_unknown_token(exc) and token:
                self._grants.forget_token(digest)
            self._grants.note(digest, named.repo, is_allowed=False)
            raise
        self._grants.note(digest, named.repo, is_allowed=True)
        return True


def proving_path(files: Iterable[HubFile]) -> str:
    """Return a file whose HEAD shows whether a token was let in; "" when there is none."""
    best: HubFile | None = None
    for file in files:
        name = file.path.rpartition("/")[2].lower()
        if name.startswith(_SHOWN_TO_ALL):
            continue
        if best is None or (bool(file.sha256), file.size_bytes) > (
            bool(best.sha256),
            best.size_bytes,
        ):
            best = file
    return best.path if best is not None else ""


def _is_let_in(origin: HubOrigin, named: Named, token: str, path: str) -> bool:
    """Return True when an origin lets the token in.

    Raises:
        HubRefusal: It does not.
        SourceError: It gave no answer to that.
    """
    if path:
        head = origin.head(named.repo, named.commit, path, token)
        if head.status == 200 and head.commit == named.commit:
            return True
        _raise_if_shut(origin, named, head.status, head.error_code, head.error_message)
    answer = origin.ask(f"{named.repo.api_path}/auth-check", token)
    if answer.status == 200:
        return True
    _raise_if_shut(origin, named, answer.status, answer.error_code, answer.error_message)
    raise SourceRefused(
        f"{origin.origin_id} does not say who may have {named.repo}", source_id=origin.origin_id
    )


def _raise_if_shut(origin: HubOrigin, named: Named, status: int, code: str, message: str) -> None:
    """Raise for a clear no. A 401 or 403 is one even without a code: better shut than open."""
    if status in (401, 403) or (status == 404 and code == NO_REPO):
        raise refusal(
            origin.origin_id, status, code, message, repo=named.repo, subject=str(named.repo)
        )


def _refusal(named: Named, token: str) -> HubRefusal:
    """Return the no that the origin would give."""
    host = named.vouched_by
    if named.is_private:
        return refusal(
            host, 404 if token else 401, NO_REPO, "", repo=named.repo, subject=str(named.repo)
        )
    return refusal(host, 403 if token else 401, GATED, "", repo=named.repo, subject=str(named.repo))
