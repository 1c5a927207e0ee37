"""When an earlier yes or no of an origin to a token still counts. Blocking, short.

Shared by names (those of private repos are shown only to who was let in) and access.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.config import HubConfig
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import Repo

ALLOWED_TTL_S = 600.0
REFUSED_TTL_S = 60.0  # who was just let in by a repo's owner does not wait long


def token_digest(token: str) -> bytes:
    """Return what a token is known by here; anonymous askers have a digest of their own."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Grants:
    """The grants of the catalog with the rules of time."""

    def __init__(self, catalog: Catalog, settings: HubConfig, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._settings = settings
        self._clock = clock

    def fresh(self, digest: bytes, repo: Repo) -> bool | None:
        """Return a verdict that needs no question to the origin, None when there is none."""
        grant = self._catalog.grant(digest, repo)
        if grant is None:
            return None
        age_s = self._clock() - grant.checked_at
        ttl_s = ALLOWED_TTL_S if grant.is_allowed else REFUSED_TTL_S
        return grant.is_allowed if 0 <= age_s < ttl_s else None

    def offline(self, digest: bytes, repo: Repo) -> bool:
        """Tell whether an earlier grant is good enough while the origin cannot be asked."""
        grant = self._catalog.grant(digest, repo)
        if grant is None or not grant.is_allowed:
            return False
        return 0 <= self._clock() - grant.checked_at < self._settings.grant_max_age_s

    def was_refused(self, digest: bytes, repo: Repo) -> bool:
        """Tell whether the origin's last word to this token was no, however long ago."""
        grant = self._catalog.grant(digest, repo)
        return grant is not None and not grant.is_allowed

    def note(self, digest: bytes, repo: Repo, is_allowed: bool) -> None:
        """Keep what the origin said just now."""
        self._catalog.put_grant(digest, repo, is_allowed, self._clock())

    def forget_token(self, digest: bytes) -> None:
        """Withdraw all grants of a token that the origin does not know any more."""
        self._catalog.withdraw_grants(digest, self._clock())
