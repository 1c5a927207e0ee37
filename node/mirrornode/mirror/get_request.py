"""What a `get` is asked for, and the parts of a node that it works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.mirror.recording import Recorder

if TYPE_CHECKING:
    from mirrornode.mirror.active import ActiveTransfers
    from mirrornode.mirror.shelf import Shelf
    from mirrornode.routing.find import Finder
    from mirrornode.sources.bitswap import BitswapSource
    from mirrornode.sources.ports import Pace
    from mirrornode.store.catalog import Catalog


@dataclass(frozen=True, slots=True)
class GetRequest:
    """What the user asked for.

    Attributes:
        folder: Where the user stands; relative paths start there.
        destination: As given with -o; None for a name of its own in `folder`.
        mirrors: URLs of gateways, files, or bases that end in a slash.
        peers: Multiaddrs to dial besides what is found.
        timeout_s: Give up when nothing has arrived for so long.
        download_limit: Bytes a second for this one alone, besides the node's limit; 0 = none.
        weights: How much mirrors are preferred, by URL; 1 where it is absent, 0 = last resort.
        called: What the output is called when there is no destination; "" for the target's name.
        kind: What it is recorded as, see `Download.kind`.
        is_kept: The destination is the node's own, and may be deleted when it is not pinned.
        max_bytes: Refuse what is larger; 0 = no limit.
        insisted: Mirrors that the user named for this one: used even if they were put aside.
    """

    target: str
    folder: Path
    destination: Path | None = None
    mirrors: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    timeout_s: float = 30.0
    download_limit: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    called: str = ""
    kind: str = "get"
    is_kept: bool = False
    max_bytes: int = 0
    insisted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GetPorts:
    """The parts of a node that `get` works with.

    Attributes:
        announce: Wakes the announcer.
        pace: How fast all transfers of the node may receive; None = no limit.
        recorder: Keeps account of all downloads.
        blocks_of: Makes a source of a peer that speaks bitswap; None = such peers are not used.
    """

    catalog: Catalog
    shelf: Shelf
    active: ActiveTransfers
    finder: Finder
    announce: Callable[[], None]
    pace: Pace | None = None
    recorder: Recorder = field(default_factory=Recorder)
    blocks_of: Callable[[str], BitswapSource] | None = None
