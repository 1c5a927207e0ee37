"""What a `get` asks the catalog about mirrors before it begins, and tells it when it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mirrornode.errors import MirrorError
from mirrornode.mirror.mirror_choice import MirrorChoice
from mirrornode.mirror.mirror_score import mirror_key
from mirrornode.sources.web import split_url

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog

log = logging.getLogger(__name__)


def choose_mirrors(
    catalog: Catalog, urls: Sequence[str], weights: Mapping[str, float]
) -> MirrorChoice:
    """Return the choice among `urls` by how they did before; blocking.

    Raises:
        TargetError: One of them is no URL.
    """
    for url in urls:
        split_url(url)  # refuses what is none
    history = catalog.mirror_uses({mirror_key(url) for url in urls})
    return MirrorChoice.of(urls, weights, history, time.time())


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
