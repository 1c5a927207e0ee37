"""`mirrornode doctor`: the report, the exit code, settings that cannot be read."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import Run
from cli.fakes import FakeFactory
from mirrornode_cli.commands.doctor import report_lines

FINE = {"check": "home", "level": "ok", "text": "is fine", "next_step": ""}
SO_SO = {"check": "mdns", "level": "warning", "text": "is so so", "next_step": "do this"}
BAD = {"check": "port 8090", "level": "problem", "text": "is\nbad", "next_step": "do that"}


def test_report_lines_are_aligned_and_say_what_to_do() -> None:
    assert report_lines([FINE, SO_SO, BAD]) == [
        "ok       home       is fine",
        "warning  mdns       is so so",
        "                    -> do this",
        "problem  port 8090  is bad",
        "                    -> do that",
        "1 problem, 1 warning",
    ]
    assert report_lines([FINE])[-1] == "all is well"


def test_doctor_when_there_are_only_warnings_then_0(run: Run, factory: FakeFactory) -> None:
    factory.fake.findings = [FINE, SO_SO]
    outcome = run("doctor", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.records == [
        {"ok": True, "problems": 0, "warnings": 1, "findings": [FINE, SO_SO]}
    ]


def test_doctor_when_there_is_a_problem_then_1(run: Run, factory: FakeFactory) -> None:
    factory.fake.findings = [BAD]
    outcome = run("doctor")
    assert (outcome.code, outcome.err) == (1, "")
    assert "-> do that" in outcome.out


def test_doctor_when_the_settings_are_wrong_then_a_problem_and_the_rest_is_checked(
    run: Run, factory: FakeFactory, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text("[gatway]\n")
    factory.fake.findings = [FINE]
    outcome = run("doctor", "--json")
    assert outcome.code == 1
    [record] = outcome.records
    assert [finding["check"] for finding in record["findings"]] == ["settings", "home"]
    assert "gatway" in record["findings"][0]["text"]
    assert factory.configs[-1].home == home
