"""`mirrornode sync` as a command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.fakes import IN_STEP, SYNCED, FakeFactory
from mirrornode_cli.main import main


def failed(error: str) -> dict[str, Any]:
    return {**SYNCED, "outcome": "failed", "error": error, "reason": "of that"}


def test_sync_when_it_ran_then_says_what_changed(
    factory: FakeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", "hf:org/name", "--delete", "--from-node", "http://a"], factory) == 0
    name, arguments = factory.fake.calls[-1]
    assert name == "sync"
    assert arguments == {
        "targets": ["hf:org/name"], "from_node": "http://a", "dry_run": False, "delete": True,
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "1 added, 1,500 changed, 1 deleted (3.00 MB, fetched 2.00 MB in 2.50 s)" in out
    assert "  + new.txt" in out
    assert "1,480 more names" in out
    assert "\x1b" not in out


def test_sync_when_dry_then_says_what_would_come(
    factory: FakeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    factory.fake.synced = [{**SYNCED, "dry_run": True}]
    assert main(["sync", "--dry-run"], factory) == 0
    assert "2.00 MB to fetch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reports", "code"),
    [
        ([SYNCED, SYNCED], 0),
        ([SYNCED, failed("OriginAway")], 3),
        ([failed("OriginAway")], 10),
        ([failed("Incomplete")], 3),
        ([failed("OSError")], 1),
        ([failed("AccessRefused"), failed("OriginAway")], 13),
    ],
)
def test_sync_when_runs_fail_then_the_exit_code_says_so(
    factory: FakeFactory, reports: list[dict[str, Any]], code: int
) -> None:
    factory.fake.synced = reports
    assert main(["sync"], factory) == code


def test_sync_when_json_then_one_line_a_target(
    factory: FakeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    factory.fake.synced = [SYNCED, failed("OriginAway")]
    main(["sync", "--json"], factory)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [SYNCED, failed("OriginAway")]


def test_list_when_asked_for_then_shows_last_and_next_runs(
    factory: FakeFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", "--list"], factory) == 0
    out = capsys.readouterr().out
    assert "hf:org/name from http://10.0.0.5:8090" in out
    assert "failed (nobody is there)" in out
    assert main(["sync", "--list", "--json"], factory) == 0
    assert json.loads(capsys.readouterr().out) == IN_STEP
    factory.fake.in_step = []
    assert main(["sync", "--list"], factory) == 0
    assert main(["sync", "--list", "hf:org/name"], factory) == 2
