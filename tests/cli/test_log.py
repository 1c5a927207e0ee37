"""The library's log stays off the terminal unless it is wanted."""

from __future__ import annotations

import logging

import pytest

from mirrornode_cli.log import quiet_log, service_log

LOG = logging.getLogger("mirrornode.test")


@pytest.fixture(autouse=True)
def not_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIRRORNODE_DEBUG", raising=False)


def test_log_when_a_verb_runs_then_stderr_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_log():
        LOG.warning("peer gone")
    assert capsys.readouterr().err == ""


def test_log_when_a_service_runs_then_warnings_show(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_log(), service_log():
        LOG.info("hidden")
        LOG.warning("peer gone")
    err = capsys.readouterr().err
    assert err.endswith("WARNING mirrornode.test: peer gone\n")
    assert "hidden" not in err


def test_log_when_debugging_then_everything_shows_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRRORNODE_DEBUG", "1")
    with quiet_log(), service_log():
        LOG.debug("detail")
    assert capsys.readouterr().err.count("detail") == 1


def test_log_when_over_then_nothing_is_left_behind() -> None:
    before = list(logging.getLogger().handlers)
    with quiet_log(), service_log():
        pass
    assert logging.getLogger().handlers == before
    assert logging.getLogger("mirrornode").level == logging.NOTSET
