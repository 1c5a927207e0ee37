"""What a running verb tells its user: progress and outcome as plain, JSON-able records.

Users read events, not logs. An event crosses the control socket as one JSON line and is the same
object on both sides. This module does no I/O.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mirrornode.errors import RemoteProtocolError


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events; `kind` is the record's name on the wire."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Note(Event):
    """One line for people: a phase began, a source was dropped. `level` is "info" or "warning"."""

    kind: ClassVar[str] = "note"
    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class AddProgress(Event):
    """`done_bytes` of `total_bytes` hashed so far, over all paths of the call."""

    kind: ClassVar[str] = "add_progress"
    done_bytes: int
    total_bytes: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class Added(Event):
    """One path of `add` is done; field names are the command line's JSON contract."""

    kind: ClassVar[str] = "added"
    cid: str
    name: str
    path: str
    size_bytes: int
    leaves: int
    seconds: float
    profile: str
    files: int = 1
    files_read: int = 1
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceState(Event):
    """One source of a transfer as the user sees it; rates in bytes a second.

    Attributes:
        first_byte_s: From the first request to the head of its answer, connecting included.
        rtt_s: The shortest round trip of its connections; None where it was not measured.
        busy_s: How long it was asked for anything at all.
        failures: How often it broke off, refused or fell silent.
    """

    kind: ClassVar[str] = "source"
    source_id: str
    state: str  # "active" | "idle" | "failed" | "banned"
    received_bytes: int
    rate_bytes_per_s: float
    reason: str = ""
    first_byte_s: float | None = None
    rtt_s: float | None = None
    busy_s: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class GetProgress(Event):
    """Verified bytes of a `get`; `resumed_bytes` of them were there before this run."""

    kind: ClassVar[str] = "get_progress"
    phase: str  # "finding" | "structure" | "transfer" | "finishing"
    done_bytes: int
    total_bytes: int
    resumed_bytes: int
    rate_bytes_per_s: float
    files_done: int = 0
    files_total: int = 1
    sources: tuple[SourceState, ...] = ()


@dataclass(frozen=True, slots=True)
class Got(Event):
    """`get` is done; field names are the command line's JSON contract."""

    kind: ClassVar[str] = "got"
    cid: str
    path: str
    size_bytes: int
    seconds: float
    bytes_by_source: Mapping[str, int] = field(default_factory=dict)
    resumed_bytes: int = 0
    verified: bool = True
    files: int = 1
    bad_sources: Mapping[str, str] = field(default_factory=dict)


Progress = Callable[[Event], None]
"""Takes each event as it happens; must return quickly and not raise."""


def ignore(event: Event) -> None:
    """Progress nobody asked for."""


_KINDS: dict[str, type[Event]] = {
    cls.kind: cls for cls in (Note, AddProgress, Added, SourceState, GetProgress, Got)
}


def to_record(event: Event) -> dict[str, Any]:
    """Return the event as a JSON-able dict with its kind under "event"."""
    return {"event": event.kind, **dataclasses.asdict(event)}


def from_record(record: Mapping[str, Any]) -> Event:
    """Return the event of a record made by `to_record`.

    Raises:
        RemoteProtocolError: An unknown kind or wrong fields.
    """
    fields = dict(record)
    cls = _KINDS.get(str(fields.pop("event", "")))
    if cls is None:
        raise RemoteProtocolError(f"unknown event {record.get('event')!r}")
    try:
        if cls is GetProgress:
            fields["sources"] = tuple(SourceState(**s) for s in fields.get("sources", ()))
        if cls is Added:
            fields["skipped"] = tuple(fields.get("skipped", ()))
        return cls(**fields)
    except TypeError as exc:
        raise RemoteProtocolError(f"event {cls.kind} has wrong fields: {exc}") from exc


def to_line(event: Event) -> bytes:
    """Return the event as one JSON line, newline included."""
    return json.dumps(to_record(event), separators=(",", ":")).encode() + b"\n"
