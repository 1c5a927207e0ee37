"""Every failure is one line on stderr, an exit code, and JSON when asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Run
from cli.fakes import CID, FakeFactory
from mirrornode import errors


def test_failure_when_an_error_of_ours_then_one_line_and_its_code(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.failure = errors.NoProviders("nobody has it;\ntry --mirror URL")
    outcome = run("get", CID)
    assert outcome.code == 10
    assert outcome.out == ""
    assert outcome.err == "error: nobody has it; try --mirror URL\n"


def test_failure_when_json_then_stdout_holds_one_object(run: Run, factory: FakeFactory) -> None:
    factory.fake.failure = errors.CidMismatch(CID)
    outcome = run("get", CID, "--json")
    assert outcome.code == 12
    message = f"bytes do not match {CID}"
    assert outcome.records == [{"error": {"kind": "CidMismatch", "message": message}}]
    assert outcome.err == f"error: {message}\n"


def test_failure_when_files_are_missing_then_json_lists_them(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.failure = errors.Incomplete("1 of 2 files missing", ("a/b",))
    outcome = run("get", CID, "--json")
    assert outcome.code == 3
    assert outcome.records[0]["error"]["missing"] == ["a/b"]
    outcome = run("get", CID)
    assert outcome.code == 3
    assert outcome.err.splitlines() == ["missing: a/b", "error: 1 of 2 files missing"]


def test_failure_when_unexpected_then_one_line_and_how_to_see_more(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.failure = KeyError("x")
    outcome = run("ls")
    assert outcome.code == 1
    assert outcome.err == (
        "error: unexpected KeyError: 'x'; run with MIRRORNODE_DEBUG=1 for a traceback\n"
    )


def test_failure_when_in_a_task_group_then_still_one_line_and_its_code(
    run: Run, factory: FakeFactory
) -> None:
    inner = ExceptionGroup("tasks", [ValueError("x"), errors.CatalogUnusable("damaged")])
    factory.fake.failure = ExceptionGroup("tasks", [inner])
    outcome = run("ls")
    assert (outcome.code, outcome.err) == (1, "error: damaged\n")


def test_failure_when_debugging_then_the_traceback_shows(
    run: Run, factory: FakeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRRORNODE_DEBUG", "1")
    factory.fake.failure = errors.DaemonGone("gone")
    outcome = run("peers")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert outcome.err.endswith("error: gone\n")


@pytest.mark.parametrize("verb", ["get", "add", "verify", "ls"])
def test_interrupt_when_a_verb_runs_then_130_and_one_line(
    run: Run, factory: FakeFactory, verb: str
) -> None:
    factory.fake.failure = KeyboardInterrupt()
    outcome = run(verb, *([CID] if verb in ("get", "add") else []))
    assert outcome.code == 130
    assert outcome.err.startswith("stopped")
    assert len(outcome.err.splitlines()) == 1
    if verb in ("get", "add"):
        assert "the same command goes on" in outcome.err


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["get"], "mirrornode get --help"),
        (["get", CID, "--nonsense"], "mirrornode get --help"),
        (["gett", CID], "mirrornode --help"),
        (["get", CID, "--timeout", "soon"], "mirrornode get --help"),
        (["get", CID, "--timeout", "0"], "mirrornode get --help"),
        (["add"], "mirrornode add --help"),
        (["get", CID, "--peer", "192.0.2.7"], "/ip4/"),
        (["serve", "--gateway", "8090"], "127.0.0.1:8090"),
    ],
)
def test_usage_when_wrong_then_2_and_one_line_with_a_hint(
    run: Run, factory: FakeFactory, argv: list[str], hint: str
) -> None:
    outcome = run(*argv)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert len(outcome.err.splitlines()) == 1
    assert hint in outcome.err
    assert factory.fake.calls == []


def test_usage_when_json_then_the_error_is_json_too(run: Run) -> None:
    outcome = run("get", "--json")
    assert outcome.code == 2
    assert outcome.records[0]["error"]["kind"] == "UsageError"


def test_no_verb_when_run_then_help_on_stderr_and_2(run: Run) -> None:
    outcome = run()
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: mirrornode" in outcome.err


def test_version_when_asked_then_name_and_number(run: Run) -> None:
    outcome = run("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("mirrornode 0.")


def test_settings_file_when_wrong_then_2_and_names_the_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[gatway]\naddress = 'x'\n")
    outcome = run("ls", "--home", str(tmp_path))
    assert outcome.code == 2
    assert "did you mean gateway?" in outcome.err
