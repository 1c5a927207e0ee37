"""What is kept in step, by the settings: targets with their schedules, and how they stand."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.errors import ConfigError, TargetError
from mirrornode.mirror.sync_schedule import Schedule, is_overdue, next_run, parse_schedule
from mirrornode.mirror.sync_target import SyncTarget, check_node, parse_sync_target
from mirrornode.store.sync import RUNNING, SyncState

if TYPE_CHECKING:
    from mirrornode.config import Config, SyncConfig
    from mirrornode.store.catalog import Catalog

MAX_JOBS = 1000
BY_HAND = Schedule(0.0)


@dataclass(frozen=True, slots=True)
class Job:
    """One target as it is to be kept; `out` is None for the node's own store."""

    target: SyncTarget
    from_node: str = ""
    schedule: Schedule = BY_HAND
    deletes: bool = False
    out: Path | None = None


def read_jobs(tables: Sequence[SyncConfig]) -> list[Job]:
    """Return the jobs that `[[sync]]` tables mean.

    Raises:
        ConfigError: One makes no sense, or two are the same.
    """
    if len(tables) > MAX_JOBS:
        raise ConfigError(f"at most {MAX_JOBS} [[sync]] tables can be kept", key="sync")
    jobs: dict[tuple[str, str], Job] = {}
    for table in tables:
        try:
            job = _job_of(table)
        except (TargetError, ValueError, RuntimeError) as exc:
            raise ConfigError(f'[[sync]] target = "{table.target}": {exc}', key="sync") from exc
        if jobs.setdefault((job.target.text, job.from_node), job) is not job:
            raise ConfigError(f'[[sync]] names "{table.target}" twice', key="sync.target")
    return list(jobs.values())


def records_of(catalog: Catalog, config: Config) -> list[dict[str, Any]]:
    """Return what `sync --list` shows where no node runs; blocking."""
    catalog.close_interrupted_syncs()
    found = {(state.target, state.from_node): state for state in catalog.sync_states()}
    return job_records(read_jobs(config.sync), found, time.time())


@dataclass(frozen=True, slots=True)
class SyncNumber:
    """How a target of the settings stands, for the metrics; times are Unix seconds.

    Attributes:
        label: What it is called there, another for each; "" where no names are kept.
        ok_at: When a run last ended well; None for never.
        failures: In a row.
    """

    label: str
    ok_at: float | None
    failures: int
    is_running: bool
    is_overdue: bool


def sync_numbers(catalog: Catalog, config: Config) -> list[SyncNumber]:
    """Return how the targets of the settings stand; those run by hand are not counted. Blocking.

    Raises:
        ConfigError: A `[[sync]]` table makes no sense.
        StoreError: The catalog cannot be read.
    """
    found = {(state.target, state.from_node): state for state in catalog.sync_states()}
    numbers, labels, now = [], {""}, time.time()
    for position, job in enumerate(read_jobs(config.sync), 1):
        state = found.get((job.target.text, job.from_node)) or SyncState(
            job.target.text, outcome=""
        )
        label = _label(catalog, job.target, position) if config.log.requests else ""
        if label in labels and label:
            label = f"{label}#{position}"
        labels.add(label)
        is_late = is_overdue(job.schedule, state, now)
        is_running = state.outcome == RUNNING
        numbers.append(SyncNumber(label, state.ok_at, state.failures, is_running, is_late))
    return numbers


def _label(catalog: Catalog, target: SyncTarget, position: int) -> str:
    """Return a name for whoever may read the metrics: no path, no address, no repo that is not
    known to be open.
    """
    if target.cid is not None:
        return target.text
    if target.hub is not None:
        sight = catalog.hub_sight(target.hub.repo)
        return target.text if sight is not None and sight.is_open else f"hub-{position}"
    return f"{'pins' if target.node else 'folder'}-{position}"


def _job_of(table: SyncConfig) -> Job:
    target = parse_sync_target(table.target)
    node = check_node(table.from_node) if table.from_node else ""
    out = Path(table.out).expanduser() if table.out else None
    if node and (target.node or target.folder is not None):
        raise TargetError("from_node is for targets of the Hub and CIDs")
    if out is not None and (target.node or target.folder is not None):
        raise TargetError("out is for targets of the Hub and CIDs")
    if out is not None and not out.is_absolute():
        raise TargetError(f'out = "{out}" must be an absolute path')
    schedule = parse_schedule(table.every, table.window)
    return Job(target, node, schedule, table.delete, out)


def job_records(
    jobs: Sequence[Job], found: dict[tuple[str, str], SyncState], now: float
) -> list[dict[str, Any]]:
    """Return what `sync --list` shows: jobs, then targets that ran by hand.

    Args:
        found: All states by target and node; emptied.
    """
    records = []
    for job in jobs:
        state = found.pop((job.target.text, job.from_node), None)
        due, is_late = next_run(job.schedule, state, now), is_overdue(job.schedule, state, now)
        records.append({**_record(job, state, due), "is_overdue": is_late})
    by_hand = (_record(Job(SyncTarget(one.target), one.from_node), one, None)
               for one in found.values())  # fmt: skip
    return [*records, *by_hand]


def _record(job: Job, state: SyncState | None, due: float | None) -> dict[str, Any]:
    last = dataclasses.asdict(state) if state is not None else {}
    return {
        "target": job.target.text,
        "from_node": job.from_node,
        "every_s": job.schedule.every_s,
        "out": str(job.out) if job.out is not None else "",
        "delete": job.deletes,
        "outcome": last.get("outcome", ""),
        "reason": last.get("reason", ""),
        "started_at": last.get("started_at"),
        "ended_at": last.get("ended_at"),
        "ok_at": last.get("ok_at"),
        "failures": last.get("failures", 0),
        "root": last.get("root", ""),
        "size_bytes": last.get("size_bytes", 0),
        "fetched_bytes": last.get("fetched_bytes", 0),
        "changes": last.get("changes", 0),
        "next_at": due,
        "is_overdue": False,
    }
