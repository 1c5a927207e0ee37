"""Keeps targets in step: the jobs of the settings, when each is due, and one run at a time.

Runs follow one another, whoever asked for them, so two never overlap; the lock of the home keeps
other processes out. A run on schedule ends when its window closes and goes on when that opens; one
that was asked for by hand runs at once. How each ended is in the catalog, and in the history.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mirrornode.errors import Incomplete, MirrorError, TargetError
from mirrornode.events import Event, Note, ignore
from mirrornode.mirror.hub.client_env import hub_token
from mirrornode.mirror.hub.peer_words import PeerWords
from mirrornode.mirror.sync_jobs import Job, job_records, read_jobs
from mirrornode.mirror.sync_pinset import MAX_ANSWERING, PinsetAnswers
from mirrornode.mirror.sync_report import SyncReport
from mirrornode.mirror.sync_run import KIND, SyncPorts, SyncRequest, run_target
from mirrornode.mirror.sync_schedule import next_run
from mirrornode.mirror.sync_target import PINS_SCHEME, check_node, parse_sync_target
from mirrornode.mirror.sync_upstream import UpstreamPorts
from mirrornode.sources.node_card import fetch_card
from mirrornode.store import sync as states
from mirrornode.store.sync import SyncState
from mirrornode.wire import pinset

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.mirror.get_request import GetPorts
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.mirror.sync_target import SyncTarget
    from mirrornode.swarm.node import Swarm

log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often it is looked whether something is due

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class SyncOrder:
    """What the user asked for by hand.

    Attributes:
        targets: As typed; none: all jobs of the settings, or with `from_node` that node's pinset.
        deletes: Besides the jobs of which the settings say so.
        token: For targets of the Hub.
    """

    targets: tuple[str, ...] = ()
    from_node: str = ""
    is_dry_run: bool = False
    deletes: bool = False
    token: str = ""


class Syncing:
    """The sync of one node; belongs to one event loop."""

    def __init__(
        self,
        ports: SyncPorts,
        jobs: Sequence[Job],
        *,
        clock: Callable[[], float] = time.time,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare.

        Args:
            clock: Unix time in seconds.
            is_ending: Whether the node takes no new work.
        """
        self._ports = ports
        self._jobs = list(jobs)
        self._clock = clock
        self._is_ending = is_ending
        self._catalog = ports.ports.catalog
        self._lock = asyncio.Lock()  # one run at a time

    async def run(self) -> None:
        """Run what is due, until cancelled."""
        while True:
            try:
                await self.run_due()
            except (MirrorError, OSError) as exc:
                log.warning("sync failed, goes on reason=%s", exc)
            await asyncio.sleep(LOOK_S)

    async def run_due(self) -> list[SyncReport]:
        """Run every job that is due now, and return what became of them."""
        reports = []
        for job in self._jobs:
            if self._is_ending():
                break
            async with self._lock:
                state = await asyncio.to_thread(self._state, job)
                now = self._clock()
                due = next_run(job.schedule, state, now)
                if due is None or due > now:
                    continue
                request = self._request(job, token=await asyncio.to_thread(hub_token))
                window = job.schedule.window
                closes_at = window.closes_at(now) if window is not None else None
                report = await self._run(request, ignore, closes_at, stopped_as=states.PAUSED)
            reports.append(report)
        return reports

    async def run_now(self, order: SyncOrder, emit: Emit) -> list[SyncReport]:
        """Run what the user asked for, one after the other, whatever the hour.

        Raises:
            TargetError: There is nothing to run, or something is no target.
        """
        jobs = self._jobs_of(order)
        reports = []
        for job in jobs:
            if self._lock.locked():
                emit(Note("waiting for another run of sync to end"))
            async with self._lock:
                request = replace(
                    self._request(job, token=order.token),
                    is_dry_run=order.is_dry_run,
                    deletes=job.deletes or order.deletes,
                )
                reports.append(await self._run(request, emit))
        return reports

    def records(self) -> list[dict[str, Any]]:
        """Return what `sync --list` shows: jobs, then targets that ran by hand. Blocking."""
        found = {(state.target, state.from_node): state for state in self._catalog.sync_states()}
        return job_records(self._jobs, found, self._clock())

    def configured(self) -> list[dict[str, Any]]:
        """Return the records of the settings' jobs alone. Blocking."""
        return self.records()[: len(self._jobs)]

    # -- one run ---------------------------------------------------------------------------------

    async def _run(
        self,
        request: SyncRequest,
        emit: Emit,
        closes_at: float | None = None,
        *,
        stopped_as: str = states.CANCELLED,
    ) -> SyncReport:
        """Run one target and write down how it ended; its failures are in the report.

        Args:
            closes_at: When it has to pause, Unix seconds; None for never.
            stopped_as: The outcome when it is cancelled: a schedule goes on after a restart.
        """
        began = self._clock()
        before = await asyncio.to_thread(
            self._catalog.sync_state, request.target.text, request.from_node
        )
        report = SyncReport(
            request.target.text,
            request.from_node,
            request.is_dry_run,
            started_at=began,
            previous=before.root if before is not None else "",
        )
        request = replace(request, previous=report.previous, since=began)
        if request.is_dry_run:
            # Nothing happens, so nothing is written down either; nor is it a download.
            await self._attempt(request, report, emit, None)
        else:
            await self._save(report, before)
            try:
                await self._attempt(request, report, emit, closes_at)
            finally:
                if report.outcome == states.RUNNING:
                    report.outcome, report.reason = stopped_as, "stopped"
                saving = asyncio.create_task(self._save(report, before))
                await asyncio.shield(saving)
        log.info(
            "sync ended outcome=%s changes=%d fetched_bytes=%d",
            report.outcome,
            report.changes,
            report.fetched_bytes,
        )
        return report

    async def _attempt(
        self, request: SyncRequest, report: SyncReport, emit: Emit, closes_at: float | None
    ) -> None:
        recorder = self._ports.ports.recorder
        began = time.monotonic()
        left_s = None if closes_at is None else max(0.0, closes_at - self._clock())
        recording = recorder.recording(KIND, report.target)
        try:
            async with asyncio.timeout(left_s) as window:
                # A dry run is a look: it gets an account that nobody begins.
                opened = contextlib.nullcontext() if request.is_dry_run else recording
                async with opened:
                    await run_target(self._ports, request, report, recording, emit)
                    recording.root, recording.size_bytes = report.root, report.size_bytes
            report.outcome = states.OK
        except MirrorError as exc:
            is_partial = isinstance(exc, Incomplete)
            report.outcome = states.PARTIAL if is_partial else states.FAILED
            report.error, report.reason = type(exc).__name__, " ".join(str(exc).split())
        except TimeoutError as exc:
            if window.expired():
                report.outcome, report.reason = states.PAUSED, "its window closed"
            else:
                report.outcome, report.error, report.reason = states.FAILED, "OSError", str(exc)
        except OSError as exc:
            report.outcome, report.error, report.reason = states.FAILED, "OSError", str(exc)
        except Exception as exc:
            # The boundary of a run: the next target, and the node, go on.
            log.exception("sync crashed")
            report.outcome, report.error = states.FAILED, type(exc).__name__
            report.reason = f"internal error: {exc!r}; the node's log has the details"
        finally:
            report.seconds = time.monotonic() - began

    async def _save(self, report: SyncReport, before: SyncState | None) -> None:
        old = before or SyncState(report.target, report.from_node)
        is_over, is_ok = report.outcome != states.RUNNING, report.outcome == states.OK
        ended_at = self._clock()
        state = dataclasses.replace(
            old,
            outcome=report.outcome,
            started_at=report.started_at,
            ended_at=ended_at if is_over else None,
            reason=report.reason,
        )
        if is_over:
            state = dataclasses.replace(
                state,
                failures=0 if is_ok else old.failures + (report.outcome != states.PAUSED),
                fetched_bytes=report.fetched_bytes,
                changes=report.changes,
            )
        if is_ok:
            state = dataclasses.replace(
                state, ok_at=ended_at, root=report.root, size_bytes=report.size_bytes
            )
        await asyncio.to_thread(self._catalog.put_sync_state, state)

    # -- jobs ------------------------------------------------------------------------------------

    def _state(self, job: Job) -> SyncState | None:
        return self._catalog.sync_state(job.target.text, job.from_node)

    def _request(self, job: Job, *, token: str) -> SyncRequest:
        return SyncRequest(job.target, job.from_node, job.out, job.deletes, token=token)

    def _jobs_of(self, order: SyncOrder) -> list[Job]:
        node = check_node(order.from_node) if order.from_node else ""
        if not order.targets and node:
            return [self._job(parse_sync_target(PINS_SCHEME + node), "")]
        if not order.targets:
            if not self._jobs:
                raise TargetError(
                    "nothing is set up to be synced: name a TARGET, or write [[sync]] tables into "
                    "config.toml"
                )
            return self._jobs
        targets = [parse_sync_target(text) for text in order.targets]
        for target in targets:
            if node and (target.node or target.folder is not None):
                raise TargetError(f"{target.text} does not come from another node: no --from-node")
        return [self._job(target, node) for target in targets]

    def _job(self, target: SyncTarget, node: str) -> Job:
        """Return the job of the settings for a target, or one without a schedule."""
        for job in self._jobs:
            if job.target.text == target.text and node in ("", job.from_node):
                return job
        return Job(target, node)


def open_syncing(
    ports: GetPorts,
    hub: HubParts,
    swarm: Swarm,
    config: Config,
    is_ending: Callable[[], bool] = lambda: False,
) -> Syncing:
    """Return the sync of a node that starts, and tell others from now on what is pinned here.

    The home must be this process's own: a run that is not over was killed.

    Raises:
        ConfigError: A `[[sync]]` table makes no sense.
    """
    catalog = ports.catalog
    jobs = read_jobs(config.sync)
    catalog.close_interrupted_syncs()
    answers = PinsetAnswers(catalog)
    swarm.serve(
        pinset.PROTOCOL,
        answers.answer,
        max_request_bytes=pinset.MAX_QUESTION_BYTES,
        max_concurrent=MAX_ANSWERING,
    )
    words = PeerWords(catalog, swarm, config.hub)
    upstream = UpstreamPorts(catalog, swarm, words.ask_node, fetch_card)
    mirrors = tuple(mirror.url for mirror in config.mirror)
    return Syncing(SyncPorts(ports, hub, upstream, mirrors), jobs, is_ending=is_ending)
