"""One request to the Hub endpoint, read; and what both its faces do with it first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.wire.hub import DEFAULT_REVISION, HubRequest, is_commit

if TYPE_CHECKING:
    from aiohttp import web

    from mirrornode.wire.hub import Repo

_TRUE = frozenset({"true", "1"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for.

    Attributes:
        repo: Of `hub`, which for these requests has one.
        target: Path and query, as the origin would be asked.
        base: Where this endpoint is for the client: scheme, host and prefix.
        token: The bearer it shows, "" for none. Never logged.
        deadline: Loop time at which the answer must have begun, whatever it is.
    """

    request: web.Request
    hub: HubRequest
    repo: Repo
    target: str
    base: str
    token: str
    deadline: float

    @property
    def revision(self) -> str:
        return self.hub.revision or DEFAULT_REVISION

    @property
    def is_pinned(self) -> bool:
        """Whether the answer is the same for ever."""
        return is_commit(self.revision)

    def says(self, name: str) -> bool:
        """Tell whether a field of the query is true; older clients write `True`."""
        return is_true(self.request.query.get(name))


def is_true(value: object) -> bool:
    """Tell whether a field of a query, form or JSON object says yes."""
    return value is True or (isinstance(value, str) and value.lower() in _TRUE)
