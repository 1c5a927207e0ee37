"""The parts of a node that know the Hub, and the one door to the content of a repo."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirrornode.errors import HubRefusal
from mirrornode.mirror.hub.licence import check_licence
from mirrornode.mirror.hub.refusals import GATED, NO_REPO, is_unknown_token

if TYPE_CHECKING:
    from mirrornode.config import HubConfig
    from mirrornode.mirror.hub.access import HubAccess
    from mirrornode.mirror.hub.fetch import HubFiles
    from mirrornode.mirror.hub.named import Named
    from mirrornode.mirror.hub.names import HubNames
    from mirrornode.sources.hub_origin import Origins
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import Repo


@dataclass(frozen=True, slots=True)
class HubParts:
    """What the use cases of the Hub work with.

    Attributes:
        site: URL of the first origin, for people.
        own_name: What this node calls itself when it asks origins, see `sources.asking_chain`.
        announce: Wakes the announcer.
        meet: Connects to nodes at these multiaddrs, and gives a node that was started just now a
            moment to find others.
    """

    catalog: Catalog
    names: HubNames
    access: HubAccess
    files: HubFiles
    origins: Origins
    settings: HubConfig
    site: str
    own_name: str
    announce: Callable[[], None]
    meet: Callable[[Sequence[str]], Coroutine[Any, Any, None]]


async def admit(
    parts: HubParts, repo: Repo, revision: str, token: str, *, since: float = 0.0
) -> Named:
    """Return what a name means, if this token may have its content under this node's policy.

    Args:
        since: See `HubNames.resolve`.

    Raises:
        HubNotFound, HubRefusal: The Hub's no; the message says what the user can do.
        OriginAway: No origin answers, and what is known here is not enough.
        LicenceRefused: The policy of this node says no.
    """
    try:
        named = await parts.names.resolve(repo, revision, token, since=since)
        await parts.access.check(named, token)
        check_licence(parts.settings, named)
    except HubRefusal as exc:
        raise _with_advice(exc, repo, token, parts.site) from exc
    return named


def _with_advice(refused: HubRefusal, repo: Repo, token: str, site: str) -> HubRefusal:
    """Return the same no, with what the user can do about it."""
    if refused.code == GATED:
        advice = f"accept its terms at {site}/{repo}"
        if token:
            advice += " with the account of this token (HF_TOKEN, or `hf auth login`)"
        else:
            advice += ", then set HF_TOKEN or run `hf auth login`"
    elif refused.code == NO_REPO and not token:
        advice = "check the name; for a private repo set HF_TOKEN or run `hf auth login`"
    elif is_unknown_token(refused) and token:
        advice = "check HF_TOKEN, or run `hf auth login` again"
    else:
        return refused
    return type(refused)(
        f"{refused}; {advice}", status=refused.status, code=refused.code, commit=refused.commit
    )
