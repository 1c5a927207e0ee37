"""Keeps account of every download of this node: live while it runs, in the history when it ended.

Each download is a `Recording` that its use case opens, feeds with what its sources do, and leaves;
how it is left (well, with an error, cancelled) is the outcome. Nothing that goes wrong here may
spoil a download. Who asked is not known here, and with `[log] requests = false` neither what was
asked for nor of whom is shown or saved.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from mirrornode.errors import Incomplete, MirrorError, Stopped, TargetError
from mirrornode.events import GetProgress
from mirrornode.mirror.source_tally import SourceTally, add_all
from mirrornode.store.history_records import Download, HistoryTotals, SourceUse, kind_of_source

if TYPE_CHECKING:
    from types import TracebackType

    from mirrornode.config import Config
    from mirrornode.events import Event, SourceState
    from mirrornode.store.catalog import Catalog

log = logging.getLogger(__name__)

KEEP_DAYS: Final = 90.0


class Recording:
    """One download, from its start to its end; an async context manager, for one use.

    What is set on it while it runs is what its record will say; used from any thread.
    """

    def __init__(self, recorder: Recorder, kind: str, target: str) -> None:
        """Prepare; see `Recorder.recording`."""
        self.kind = kind
        self.target = target
        self.root = ""
        self.out = ""  # where it goes on this disk; shown while it runs, never kept
        self.size_bytes = 0
        self.resumed_bytes = 0
        self.progress: GetProgress | None = None
        self._recorder = recorder
        self._began = time.monotonic()
        self._started_at = time.time()
        self._number = 0
        self._failure: BaseException | None = None
        self._lock = threading.Lock()  # guards the two below
        self._settled: dict[str, SourceTally] = {}
        self._parts: dict[object, Sequence[SourceState]] = {}
        self._opening: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None  # which brings it
        self._is_stopped = False

    # -- what happens ----------------------------------------------------------------------------

    def follow(self, event: Event) -> None:
        """Take over what a progress event tells of the whole; other events are of no interest."""
        if isinstance(event, GetProgress):
            self.progress = event
            self.size_bytes = event.total_bytes or self.size_bytes
            self.resumed_bytes = event.resumed_bytes

    def note(self, part: object, states: Sequence[SourceState]) -> None:
        """Replace what is known of the sources of one part, such as one transfer."""
        with self._lock:
            self._parts[part] = tuple(states)

    def settle(self, part: object) -> None:
        """Make what was noted of a part final, and forget the part."""
        with self._lock:
            add_all(self._settled, self._parts.pop(part, ()))

    def blame(self, source_id: str, reason: str) -> None:
        """Note that a source gave what proved wrong."""
        with self._lock:
            tally = self._settled.setdefault(source_id, SourceTally(source_id))
            tally.sent_wrong, tally.reason = True, reason

    def stop(self) -> None:
        """End it: its block is cancelled, and leaves with `Stopped`. Only in the event loop."""
        if self._task is not None and not self._is_stopped:
            self._is_stopped = True
            self._task.cancel()

    def fail(self, failure: BaseException) -> None:
        """Note why it fails, where the exception does not leave the block."""
        self._failure = failure

    # -- what is known ---------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """Its number in the history; 0 before it has one."""
        return self._number

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def uses(self) -> tuple[SourceUse, ...]:
        """Return what every source did so far."""
        with self._lock:
            tallies = {name: dataclasses.replace(tally) for name, tally in self._settled.items()}
            for states in self._parts.values():
                add_all(tallies, states)
        return tuple(use for tally in tallies.values() if (use := tally.use) is not None)

    def bytes_by_kind(self) -> Counter[str]:
        """Return what came so far by kind of source."""
        found: Counter[str] = Counter()
        with self._lock:
            for source_id, tally in self._settled.items():
                found[kind_of_source(source_id)] += tally.received_bytes
            for states in self._parts.values():
                for state in states:
                    found[kind_of_source(state.source_id)] += state.received_bytes
        return found

    def download(self, failure: BaseException | None = None, *, has_ended: bool) -> Download:
        """Return the record as of now."""
        uses = self.uses()
        if not self._recorder.keeps_requests:
            uses = tuple(dataclasses.replace(use, source_id="", reason="") for use in uses)
        outcome, error, reason = _outcome_of(failure) if has_ended else ("running", "", "")
        is_shown = self._recorder.keeps_requests
        seconds = self.seconds
        return Download(
            id=self._number,
            kind=self.kind,
            target=self.target if is_shown else "",
            started_at=self._started_at,
            root=self.root if is_shown else "",
            ended_at=self._started_at + seconds if has_ended else None,
            seconds=round(seconds, 6),
            size_bytes=self.size_bytes,
            received_bytes=sum(use.received_bytes for use in uses if use.kind != "local"),
            resumed_bytes=self.resumed_bytes,
            outcome=outcome,
            error=error,
            reason=reason if is_shown else "",
            sources=uses,
        )

    def live(self) -> dict[str, Any]:
        """Return what `mirrornode status` shows of it while it runs."""
        progress, is_shown = self.progress, self._recorder.keeps_requests
        return {
            "id": self._number,
            "started_at": self._started_at,
            "kind": self.kind,
            "target": self.target if is_shown else "",
            "out": self.out if is_shown else "",
            "seconds": round(self.seconds, 1),
            "done_bytes": progress.done_bytes if progress is not None else 0,
            "total_bytes": self.size_bytes,
            "rate_bytes_per_s": progress.rate_bytes_per_s if progress is not None else 0.0,
            "sources": [
                {
                    **dataclasses.asdict(state),
                    "source_id": state.source_id if is_shown else "",
                    "reason": state.reason if is_shown else "",
                    "kind": kind_of_source(state.source_id),
                }
                for state in (progress.sources if progress is not None else ())
            ],
        }

    # -- start and end ---------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._recorder.begin(self)
        # The download does not wait for the catalog.
        self._opening = asyncio.create_task(asyncio.to_thread(self._open))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failure = failure or self._failure
        download = self.download(failure, has_ended=True)
        is_one = download.received_bytes > 0 or not isinstance(failure, TargetError)
        self._recorder.end(self, download if is_one else None)
        # A second cancel leaves the writing to its thread.
        await asyncio.shield(asyncio.create_task(self._close(download if is_one else None)))
        if self._is_stopped and isinstance(failure, asyncio.CancelledError):
            assert self._task is not None
            # As `asyncio.timeout` does it: somebody else's cancellation goes on.
            if self._task.uncancel() == 0:
                raise Stopped(
                    "this download was stopped at the node; what came is kept"
                ) from failure

    def _open(self) -> None:
        self._number = self._recorder.save(self.download(has_ended=False))

    async def _close(self, download: Download | None) -> None:
        if self._opening is not None:
            await self._opening
        if download is not None:
            download = dataclasses.replace(download, id=self._number)
        await asyncio.to_thread(self._recorder.keep, self._number, download)


class Recorder:
    """All downloads of a node: those that run, the sums of those that ended, and their history."""

    def __init__(
        self,
        catalog: Catalog | None = None,
        *,
        keeps_requests: bool = True,
        keep_days: float = KEEP_DAYS,
    ) -> None:
        """Begin.

        Args:
            catalog: Where the history is kept; None for none.
            keeps_requests: False: targets, source ids and reasons are neither kept nor shown.
            keep_days: How long; 0 = only while a download runs.
        """
        self.keeps_requests = keeps_requests
        self._catalog = catalog
        self._keep_days = keep_days
        self._lock = threading.Lock()  # guards the six below
        self._running: dict[Recording, None] = {}
        self._received: Counter[str] = Counter()  # by kind of source, of those that ended
        self._asked: Counter[tuple[str, bool]] = Counter()
        self._observers: list[Callable[[Download], None]] = []
        self._source_observers: list[Callable[[Sequence[SourceUse]], None]] = []
        self._start_observers: list[Callable[[], None]] = []

    def recording(self, kind: str, target: str) -> Recording:
        """Return the account of a new download; it begins and ends as a context manager.

        An exception that leaves the block is its outcome. A `TargetError` before anything came
        leaves no record: a typing error is no download.

        Args:
            kind: See `Download.kind`.
            target: As the user named it.
        """
        return Recording(self, kind, target)

    def on_end(self, take: Callable[[Download], None]) -> None:
        """Have `take` called with the record of each download that ends, in the event loop.

        It must be quick and not raise; the record may not have its number yet.
        """
        with self._lock:
            self._observers.append(take)

    def on_sources(self, take: Callable[[Sequence[SourceUse]], None]) -> None:
        """Have `take` called with what the sources of each download that ends did, in the loop.

        They have their names even when those are not to be kept: whoever takes them may keep none
        but those of servers that the configuration names. Their seconds are at most those of the
        download. It must be quick and not raise.
        """
        with self._lock:
            self._source_observers.append(take)

    def on_start(self, take: Callable[[], None]) -> None:
        """Have `take` called whenever a download begins, in the event loop; as `on_end`."""
        with self._lock:
            self._start_observers.append(take)

    def stop(self, number: int) -> bool:
        """End the running download of that number; False when there is none. Only in the loop."""
        found = next((one for one in self.running if number and one.number == number), None)
        if found is not None:
            found.stop()
        return found is not None

    def note_asked(self, face: str, *, is_hit: bool) -> None:
        """Count content that somebody asked a face of this node for; a hit was here already."""
        with self._lock:
            self._asked[face, is_hit] += 1

    @property
    def running(self) -> list[Recording]:
        """The downloads that have not ended, the oldest first."""
        with self._lock:
            return list(self._running)

    @property
    def asked(self) -> Mapping[tuple[str, bool], int]:
        """How often content was asked for, by face and whether it was here already."""
        with self._lock:
            return Counter(self._asked)

    @property
    def hit_ratio(self) -> float | None:
        """The share of hits; None before anything was asked for."""
        asked = self.asked
        total = sum(asked.values())
        return (
            sum(count for (_, is_hit), count in asked.items() if is_hit) / total if total else None
        )

    def received_bytes(self) -> Counter[str]:
        """Return what has come by kind of source, running downloads included; only grows."""
        with self._lock:
            found = Counter(self._received)
            for recording in self._running:
                found.update(recording.bytes_by_kind())
        return found

    def recent(self, seconds: float) -> HistoryTotals:
        """Return the sums of what ended in the last so many seconds; blocking."""
        if self._catalog is None:
            return HistoryTotals()
        return self._catalog.history_totals(time.time() - seconds)

    # -- for recordings --------------------------------------------------------------------------

    def begin(self, recording: Recording) -> None:
        """Take in a download that starts."""
        with self._lock:
            self._running[recording] = None
            observers = list(self._start_observers)
        for take in observers:
            take()

    def end(self, recording: Recording, download: Download | None) -> None:
        """Move a download from those that run to the sums; None when it was none."""
        with self._lock:
            # In one step, or a reader between two would see counters run backwards.
            del self._running[recording]
            self._received.update(recording.bytes_by_kind())
            observers = list(self._observers) if download is not None else []
            source_observers = list(self._source_observers)
        for take in observers:
            assert download is not None
            take(download)
        uses: Sequence[SourceUse] = ()
        if source_observers:
            most_s = recording.seconds  # files that came side by side were added up
            uses = [
                dataclasses.replace(use, seconds=min(use.seconds, most_s))
                for use in recording.uses()
            ]
        for take_sources in source_observers:
            take_sources(uses)

    def save(self, download: Download) -> int:
        """Write a record and return its number, 0 when that is not possible; blocking."""
        if self._catalog is None:
            return 0
        try:
            return self._catalog.save_download(download)
        except MirrorError as exc:
            log.warning("download not recorded reason=%s", exc)
            return 0

    def keep(self, number: int, download: Download | None) -> None:
        """Write how a download ended, or that it was none; blocking."""
        if self._catalog is None:
            return
        if download is not None:
            log.info(
                "download ended kind=%s outcome=%s received_bytes=%d seconds=%.1f",
                download.kind,
                download.outcome,
                download.received_bytes,
                download.seconds,
            )
            self.save(download)
        try:
            if download is None:
                self._catalog.drop_download(number)
            self._catalog.prune_history(time.time(), self._keep_days)
        except MirrorError as exc:
            log.warning("history not pruned reason=%s", exc)


def open_recorder(catalog: Catalog, config: Config) -> Recorder:
    """Return the recorder of a node that starts, with a history that fits its settings.

    The home must be this process's own: what still runs in the history was killed.

    Raises:
        StoreError: The catalog cannot be written.
    """
    catalog.close_interrupted()
    if not config.log.requests:
        catalog.anonymise_history()
    catalog.prune_history(time.time(), config.history.keep_days)
    return Recorder(
        catalog,
        keeps_requests=config.log.requests,
        keep_days=config.history.keep_days,
    )


def _outcome_of(failure: BaseException | None) -> tuple[str, str, str]:
    """Return outcome, name of the error and its words."""
    if failure is None:
        return "ok", "", ""
    if isinstance(failure, asyncio.CancelledError):
        return "cancelled", "", "stopped"
    words = " ".join(str(failure).split())
    outcome = "partial" if isinstance(failure, Incomplete) else "failed"
    return outcome, type(failure).__name__, words
