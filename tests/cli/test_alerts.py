"""`mirrornode alerts` as people and scripts see it."""

from __future__ import annotations

import pytest

from cli.conftest import Run
from cli.fakes import ALERT, TOLD, FakeFactory
from mirrornode_cli.commands.alerts import NOTHING

FAILED = {**TOLD, "is_taken": False, "answer": "answered 404 \x1b[2J"}


def test_alerts_with_json_is_one_object_a_line(run: Run, factory: FakeFactory) -> None:
    assert run("alerts", "--json").records == [ALERT]
    assert factory.fake.calls == [("alerts", {})]


def test_alerts_when_some_stand_then_a_line_each_without_escapes(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.wrong = [ALERT, {**ALERT, "text": "evil \x1b]0;x\x07", "severity": "critical"}]
    outcome = run("alerts")
    assert outcome.code == 0
    one, two = outcome.out.splitlines()
    assert one.startswith("warning   20")
    assert one.endswith("mirror http://mirror.example/ is slow")
    assert two.startswith("critical  20")
    assert "\x1b" not in outcome.out


def test_alerts_when_none_stands_then_says_so(run: Run, factory: FakeFactory) -> None:
    factory.fake.wrong = []
    outcome = run("alerts")
    assert (outcome.code, outcome.out) == (0, "")
    assert NOTHING in outcome.err


@pytest.mark.parametrize(
    ("told", "code"), [([TOLD], 0), ([TOLD, FAILED], 3), ([FAILED], 10)], ids=["all", "one", "none"]
)
def test_alerts_test_shows_what_each_webhook_answered(
    run: Run, factory: FakeFactory, told: list[dict[str, object]], code: int
) -> None:
    factory.fake.told = told
    outcome = run("alerts", "test")
    assert outcome.code == code
    assert len(outcome.out.splitlines()) == len(told)
    assert "slack hooks.example: answered" in outcome.out
    assert "\x1b" not in outcome.out
    assert run("alerts", "test", "--json").records == told


def test_alerts_when_asked_for_something_else_then_2(run: Run, factory: FakeFactory) -> None:
    outcome = run("alerts", "silence")
    assert outcome.code == 2
    assert "only test is known" in outcome.err
    assert factory.fake.calls == []


def test_status_shows_alerts(run: Run, factory: FakeFactory) -> None:
    factory.fake.state = {**factory.fake.state, "alerts": [ALERT]}
    assert f"ALERT      {ALERT['text']}" in run("status").out.splitlines()
