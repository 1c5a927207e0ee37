"""What the catalog remembers of mirrors: asked before a `get`, told after it, shown on the page."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mirrornode.errors import MirrorError
from mirrornode.mirror.mirror_choice import MirrorChoice
from mirrornode.mirror.mirror_score import mirror_key, score_of
from mirrornode.sources.web import public_url, split_url
from mirrornode.store.alert_records import ASIDE, TRIAL

if TYPE_CHECKING:
    from mirrornode.config import MirrorConfig
    from mirrornode.store.catalog import Catalog

log = logging.getLogger(__name__)


def choose_mirrors(
    catalog: Catalog,
    urls: Sequence[str],
    weights: Mapping[str, float],
    insisted: Collection[str] = (),
) -> MirrorChoice:
    """Return the choice among `urls` by how they did before; blocking.

    Args:
        insisted: Those that the user named for this one: used even if they were put aside.

    Raises:
        TargetError: One of them is no URL.
    """
    for url in urls:
        split_url(url)  # refuses what is none
    history = catalog.mirror_uses({mirror_key(url) for url in urls})
    states = {one.server: one.state for one in catalog.standings()}
    stand = {url: states.get(mirror_key(url), "") for url in urls if url not in insisted}
    return MirrorChoice.of(
        urls,
        weights,
        history,
        time.time(),
        aside={url for url, state in stand.items() if state == ASIDE},
        on_trial={url for url, state in stand.items() if state == TRIAL},
    )


def remember_mirrors(catalog: Catalog, choices: Iterable[MirrorChoice], spent_s: float) -> None:
    """Add to the history of mirrors how they did in a `get` of `spent_s`; blocking."""
    try:
        now = time.time()
        uses = [use for choice in choices for use in choice.uses(spent_s, now)]
        if uses:
            catalog.note_mirror_uses(uses)
    except MirrorError as exc:
        # It must not hide how the `get` itself ended.
        log.warning("mirrors not remembered reason=%s", exc)


def known_mirrors(
    catalog: Catalog, mirrors: Sequence[MirrorConfig], now: float
) -> list[dict[str, Any]]:
    """Return how each mirror did, without asking it anything; blocking.

    Args:
        now: Unix seconds.

    Returns:
        Records named as those of `measure_mirrors`; "recent" has its uses, the newest first.
    """
    history = catalog.mirror_uses({mirror_key(mirror.url) for mirror in mirrors})
    standings = standing_records(catalog)
    found = []
    for mirror in mirrors:
        uses = history[mirror_key(mirror.url)]
        score = score_of(uses, now)
        found.append(
            {
                "url": public_url(mirror.url),
                "region": mirror.region,
                "weight": mirror.weight,
                "known_rate_bytes_per_s": score.rate_bytes_per_s,
                "first_byte_s": score.first_byte_s,
                "success": score.good / score.uses if score.uses else None,
                "uses": score.uses,
                "score": score.worth(mirror.weight),
                "standing": standings.get(mirror_key(mirror.url)),
                "recent": [
                    {
                        "at": use.at,
                        "outcome": use.outcome,
                        "rate_bytes_per_s": (
                            use.size_bytes / use.seconds if use.seconds > 0 else None
                        ),
                    }
                    for use in uses
                ],
            }
        )
    return found


def standing_records(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """Return which mirrors and origins are put aside or on trial, by name; blocking.

    Returns:
        "state", "rule", "why" (a sentence), and "since" in Unix seconds: when it went wrong.
    """
    began = {(alert.rule, alert.key): alert.since for alert in catalog.alerts()}
    return {
        one.server: {
            "state": one.state,
            "rule": one.rule,
            "why": one.text,
            # A rest begins anew with each knock that is not answered; the alert lasts.
            "since": min(one.changed_at, began.get((one.rule, one.server), one.changed_at)),
        }
        for one in catalog.standings()
        if one.state in (ASIDE, TRIAL)
    }
