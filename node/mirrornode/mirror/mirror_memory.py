"""What a `get` asks the catalog about mirrors before it begins, and tells it when it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mirrornode.errors import MirrorError
from mirrornode.mirror.mirror_choice import MirrorChoice
from mirrornode.mirror.mirror_score import mirror_key
from mirrornode.sources.web import split_url
from mirrornode.store.alert_records import ASIDE, TRIAL

if TYPE_CHECKING:
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
