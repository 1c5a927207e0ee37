"""What one run of `sync` changed, or would change. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mirrornode.store.history_records import kind_of_source

if TYPE_CHECKING:
    from mirrornode.events import Got

SHOWN_NAMES: Final = 1000  # of each kind of change; the counts are of all


@dataclass(slots=True)
class SyncReport:
    """One run of one target.

    Attributes:
        outcome: See `store.sync`; "ok" of a dry run says that everything could be asked.
        previous: What the last good run brought, as `root`; "" when there was none.
        root: What it is now: `hf:REPO@COMMIT…`, a CID; "" for a pinset.
        size_bytes: Of the whole target.
        fetched_bytes: What came from others.
        missing_bytes: What was not here when the run began; None when nobody could know.
        added, changed, removed: Paths, or targets of a pinset, against the last good run.
        deleted: Paths that were deleted from the output folder.
        unpinned: Targets of pins that were taken back.
    """

    target: str
    from_node: str = ""
    is_dry_run: bool = False
    outcome: str = "running"
    error: str = ""
    reason: str = ""
    started_at: float = 0.0
    seconds: float = 0.0
    previous: str = ""
    root: str = ""
    size_bytes: int = 0
    fetched_bytes: int = 0
    missing_bytes: int | None = None
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    unpinned: list[str] = field(default_factory=list)

    @property
    def changes(self) -> int:
        """How many files, or targets of a pinset, differ from the last good run."""
        return len(self.added) + len(self.changed) + len(self.removed)

    def compare(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Take over what differs between two lists of content by name."""
        self.added += sorted(now.keys() - before.keys())
        self.removed += sorted(before.keys() - now.keys())
        both = now.keys() & before.keys()
        self.changed += sorted(name for name in both if now[name] != before[name])

    def to_record(self) -> dict[str, Any]:
        """Return the report as the command line's JSON contract has it."""
        record: dict[str, Any] = {
            "target": self.target,
            "from_node": self.from_node,
            "dry_run": self.is_dry_run,
            "outcome": self.outcome,
            "error": self.error,
            "reason": self.reason,
            "started_at": self.started_at,
            "seconds": round(self.seconds, 3),
            "previous": self.previous,
            "root": self.root,
            "size_bytes": self.size_bytes,
            "fetched_bytes": self.fetched_bytes,
            "missing_bytes": self.missing_bytes,
        }
        for name in ("added", "changed", "removed", "deleted", "unpinned"):
            names: Sequence[str] = getattr(self, name)
            record[name] = list(names[:SHOWN_NAMES])
            record[f"{name}_count"] = len(names)
        return record


def received_bytes(got: Got) -> int:
    """Return what came from others; what this disk had in other files is not that."""
    received = got.bytes_by_source.items()
    return sum(count for source_id, count in received if kind_of_source(source_id) != "local")
