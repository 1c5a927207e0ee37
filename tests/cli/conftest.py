"""Runs the command in this process with a fake client, in a home of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.fakes import FakeFactory
from mirrornode_cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What one run of the command left behind."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON lines of stdout; fails when anything else is there."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Outcome]


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeFactory:
    monkeypatch.setenv("MIRRORNODE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MIRRORNODE_DEBUG", raising=False)
    return FakeFactory()


@pytest.fixture
def run(factory: FakeFactory, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*argv: str) -> Outcome:
        code = main(argv, factory)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run_command
