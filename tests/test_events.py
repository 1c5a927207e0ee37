"""Events cross the control socket as one JSON line and come out as the same objects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrornode.errors import RemoteProtocolError
from mirrornode.events import (
    Added,
    AddProgress,
    Event,
    GetProgress,
    Got,
    Note,
    SourceState,
    from_record,
    to_line,
    to_record,
)

STATE = SourceState("peer:x", "banned", 5, 1.5, "sent wrong bytes")
EVENTS: list[Event] = [
    Note("hello\nworld", "warning"),
    AddProgress(1, 2, "/data/\udcff name"),
    Added("bafy", "n", "/p", 3, 1, 0.5, "custom", 2, 1, ("skipped",)),
    STATE,
    GetProgress("transfer", 1, 2, 0, 3.5, 1, 2, (STATE, STATE)),
    Got("bafy", "/p", 3, 0.1, {"peer:x": 3}, 1, True, 2, {"peer:y": "why"}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_event_when_sent_then_same_object_arrives(event: Event) -> None:
    line = to_line(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert from_record(json.loads(line)) == event


def test_all_kinds_are_tested() -> None:
    # By name: a dataclass with slots leaves its first draft among the subclasses.
    names = {kind.__name__ for kind in Event.__subclasses__()}
    assert {type(event).__name__ for event in EVENTS} == names
    assert len({event.kind for event in EVENTS}) == len(EVENTS)


def test_record_names_its_kind() -> None:
    assert to_record(Note("x")) == {"event": "note", "text": "x", "level": "info"}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"event": "unknown"},
        {"event": ["note"]},
        {"event": "note"},
        {"event": "note", "text": "x", "more": 1},
        {"event": "get_progress", "sources": 5},
        {"event": "get_progress", "sources": [5]},
        {"event": "added", "skipped": None},
    ],
)
def test_record_when_malformed_then_remote_protocol_error(record: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        from_record(record)
