"""What one source did, summed over the parts of a download: its transfers, its tree, its files.

Pure. A part tells of a source by `SourceState`s; here they become one `SourceUse`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.store.history_records import SourceUse, kind_of_source
from mirrornode.transfer.worker import WRONG_BYTES

if TYPE_CHECKING:
    from mirrornode.events import SourceState


@dataclass(slots=True)
class SourceTally:
    """The sum so far; see `SourceUse` for what is the same there."""

    source_id: str
    received_bytes: int = 0
    seconds: float = 0.0
    first_byte_s: float | None = None
    rtt_s: float | None = None
    failures: int = 0
    reason: str = ""
    has_failed: bool = False  # was given up, or refused, in one of the parts
    sent_wrong: bool = False

    def add(self, state: SourceState) -> None:
        """Add what the source did in one part."""
        self.received_bytes += state.received_bytes
        self.seconds += state.busy_s
        if self.first_byte_s is None:
            self.first_byte_s = state.first_byte_s
        if state.rtt_s is not None:
            self.rtt_s = state.rtt_s if self.rtt_s is None else min(self.rtt_s, state.rtt_s)
        self.failures += state.failures
        self.reason = state.reason or self.reason
        if state.state == "banned" and state.reason == WRONG_BYTES:
            self.sent_wrong = True
        elif state.state in ("failed", "banned"):
            self.has_failed = True

    @property
    def use(self) -> SourceUse | None:
        """Return the record; None for a source that was never needed."""
        outcome = "ok"
        if self.sent_wrong:
            outcome = "wrong"
        elif self.has_failed or (self.failures and not self.received_bytes):
            outcome = "failed"
        elif not self.received_bytes:
            if not self.reason:
                return None
            outcome = "lacked"
        return SourceUse(
            source_id=self.source_id,
            kind=kind_of_source(self.source_id),
            received_bytes=self.received_bytes,
            seconds=self.seconds,
            first_byte_s=self.first_byte_s,
            rtt_s=self.rtt_s,
            failures=self.failures,
            outcome=outcome,
            reason=self.reason,
        )


def add_all(tallies: dict[str, SourceTally], states: Iterable[SourceState]) -> None:
    """Add the states of one part to the tallies by source id."""
    for state in states:
        tally = tallies.get(state.source_id)
        if tally is None:
            tally = tallies[state.source_id] = SourceTally(state.source_id)
        tally.add(state)
