"""`mirrornode history`: options, the table, and what other machines may not do to the terminal."""

from __future__ import annotations

import pytest

from cli.conftest import Run
from cli.fakes import CID, DOWNLOAD, FakeFactory
from mirrornode_cli.commands.history import NOTHING, seconds_of

FAILED = {
    **DOWNLOAD,
    "outcome": "failed",
    "target": "hf:org/\x1b[2Jname",
    "error": "SourceGone",
    "reason": "http:x \x1b]0;evil\x07 answered 503",
    "rate_bytes_per_s": None,
    "sources": [],
}


def test_history_with_json_is_one_object_a_line(run: Run, factory: FakeFactory) -> None:
    outcome = run("history", "--since", "1d", "--failed", "--limit", "5", "--json")
    assert outcome.code == 0
    assert outcome.records == [DOWNLOAD]
    assert factory.fake.calls == [("history", {"since_s": 86_400.0, "failed": True, "limit": 5})]


def test_history_shows_what_came_from_whom(run: Run) -> None:
    outcome = run("history")
    assert outcome.code == 0
    head, row = outcome.out.splitlines()
    assert head.split()[:3] == ["WHEN", "KIND", "OUTCOME"]
    for cell in ("get", "ok", "2.00 MB", "4.00 s", "500 kB/s", CID):
        assert cell in row
    assert "2 peer 1.60 MB, 1 hub 400 kB" in row


def test_history_when_one_failed_then_its_reason_and_no_escapes(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.past = [FAILED]
    out = run("history").out
    assert "SourceGone: http:x" in out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_history_when_names_are_not_kept_then_dashes(run: Run, factory: FakeFactory) -> None:
    factory.fake.past = [{**FAILED, "target": "", "reason": ""}]
    assert run("history").out.splitlines()[-1].split() == ["SourceGone"]


def test_history_when_there_is_none_then_says_so(run: Run, factory: FakeFactory) -> None:
    factory.fake.past = []
    outcome = run("history")
    assert (outcome.code, outcome.out) == (0, "")
    assert NOTHING in outcome.err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5h", 5400), ("2W", 1_209_600), (" 3 d ", 259_200)]
)
def test_since_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["1", "d", "0d", "-1d", "1y", "9999999w", "1d2h"])
def test_since_when_it_is_no_time_then_a_usage_error(run: Run, text: str) -> None:
    outcome = run("history", "--since", text)
    assert outcome.code == 2
    assert "--since" in outcome.err


def test_status_shows_the_last_hour_and_day_and_who_delivers(run: Run) -> None:
    lines = run("status").out.splitlines()
    assert "last hour  no downloads" in lines
    expected = "5 downloads; 1 failed; 8.00 MB (peer 75.0%, hub 25.0%) at 2.00 MB/s"
    assert f"last day   {expected}" in lines
    assert "hits       75% of what HTTP clients asked for" in lines
    assert "  from     peer …efghijkl: 40 B, 10 B/s, 0.4 ms away" in lines
