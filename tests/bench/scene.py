"""What scenarios are made of: the scratch folder, contenders to be opened, and their one run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.content import Content, make_file, make_folder
from bench.results import Sample

T = TypeVar("T")
Run = Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose."""

    size_bytes: int
    timeout_s: float
    """What one run of one contender may take."""


class Scene:
    """The folder and the servers of one scenario; all of it goes when the scenario ends."""

    def __init__(self, scratch: Path, settings: Settings, stack: ExitStack) -> None:
        self.scratch = scratch
        self.settings = settings
        self._stack = stack
        self._numbers: dict[str, int] = {}

    def enter(self, thing: AbstractContextManager[T]) -> T:
        """Keep a server until the scenario ends."""
        return self._stack.enter_context(thing)

    def file(self, size_bytes: int) -> Content:
        """Make the one file of the scenario."""
        return make_file(self.place("content") / "big.bin", size_bytes)

    def folder(self, files: int, file_bytes: int) -> Content:
        """Make the one folder of the scenario."""
        return make_folder(self.place("content") / "small", files, file_bytes)

    def place(self, purpose: str) -> Path:
        """Return a new folder that stays until the scenario ends."""
        path = self.path(purpose)
        path.mkdir()
        return path

    def path(self, purpose: str) -> Path:
        """Return a path that nobody uses."""
        number = self._numbers[purpose] = self._numbers.get(purpose, 0) + 1
        return self.scratch / f"{purpose}-{number}"

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """Give a folder for one run."""
        path = self.place("run")
        try:
            yield path
        finally:
            shutil.rmtree(path)


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a scenario's work.

    `open` starts what it needs and returns its run; it raises `Unavailable` when it cannot take
    part on this machine.
    """

    name: str
    version: Callable[[], str]
    note: str
    open: Callable[[], Run]
    takers: int = 1
    compared_with: str = ""


@dataclass(frozen=True, slots=True)
class Cast:
    """A scenario set up: what is moved, and who takes part."""

    title: str
    content: Content
    contenders: tuple[Contender, ...]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something to measure; `cast` makes the content and may raise `Unavailable`."""

    name: str
    cast: Callable[[Scene], Cast]
