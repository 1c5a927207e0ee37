"""What the Hub endpoint stands on, for its own tests: names, access and files out of held repos.

`FakeHub` holds the repos of the stand-in Hub without its network; a `PartialBody` is a file that
arrives when the test says so.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from mirrornode.errors import HubNotFound, HubRefusal, MirrorError, OriginAway
from mirrornode.gateway.hub_ports import Body, HubPorts
from mirrornode.mirror.hub.named import Named
from mirrornode.sources.hub_origin import OriginAnswer
from mirrornode.store.stamps import FileStamp
from mirrornode.wire.hub import HubFile, Repo, without_xet
from support.hub_repos import Content, HeldRepo


@dataclass
class FakeHub:
    """Names, access and files of some repos.

    Attributes:
        granted: Tokens that may see gated and private repos.
        answers: What is passed through, by target; anything else is `OriginAway`.
        passed: Each (target, token, method, body, content type) that was passed through.
        fault: Raised by `resolve`.
        warning, vouched_by, licence: Of every resolved revision.
        bodies: Files that are opened as these; others are complete.
        opened: Paths in the order they were opened.
        patience: Set to let `resolve` go on; None for at once.
    """

    folder: Path
    repos: dict[tuple[str, str], HeldRepo] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)
    answers: dict[str, OriginAnswer] = field(default_factory=dict)
    passed: list[tuple[str, str, str, bytes, str]] = field(default_factory=list)
    fault: BaseException | None = None
    warning: str = ""
    vouched_by: str = "hub:hub.example"
    bodies: dict[str, PartialBody] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    refused_licences: set[str] = field(default_factory=set)
    refusal: MirrorError | None = None
    patience: asyncio.Event | None = None

    def add(
        self, name: str, files: Mapping[str, Content], *, type: str = "model", gated: str = "",
        private: bool = False, licence: str = "",
    ) -> HeldRepo:  # fmt: skip
        """Add a repo with one commit."""
        held = HeldRepo(type, name, self.folder, gated, private, licence)
        held.commit(files)
        self.repos[type, name] = held
        return held

    def ports(self) -> HubPorts:
        """Return all of it for an endpoint."""
        return HubPorts(self, self, self, self.check_licence)

    async def resolve(self, repo: Repo, revision: str, token: str) -> Named:
        if self.patience is not None:
            await self.patience.wait()
        if self.fault is not None:
            raise self.fault
        held = self.repos.get((repo.type, repo.name))
        if held is None:
            raise HubNotFound(f"no repo {repo}", status=404 if token else 401, code="RepoNotFound")
        commit = held.find(revision)
        if commit is None:
            raise HubNotFound(f"no revision {revision}", status=404, code="RevisionNotFound")
        info = without_xet(held.info(commit, blobs=False, with_xet=False))
        assert isinstance(info, dict)
        return Named(
            repo, commit.sha, info, held.gated, held.private, held.licence, self.vouched_by,
            self.warning,
        )  # fmt: skip

    async def tree(self, named: Named, token: str) -> Mapping[str, HubFile]:
        commit = self.repos[named.repo.type, named.repo.name].commits[named.commit]
        return {
            path: HubFile(
                path, stored.size_bytes, stored.git_oid, stored.sha256 if stored.is_lfs else ""
            )
            for path, stored in commit.files.items()
        }

    async def pass_through(
        self, target: str, token: str, *, method: str, body: bytes, content_type: str
    ) -> OriginAnswer:
        self.passed.append((target, token, method, body, content_type))
        if target not in self.answers:
            raise OriginAway("the origin hub.example cannot be reached")
        return self.answers[target]

    async def check(self, named: Named, token: str) -> None:
        if not named.needs_grant or token in self.granted:
            return
        code = "RepoNotFound" if named.is_private else "GatedRepo"
        status = (404 if named.is_private else 403) if token else 401
        raise HubRefusal(f"access to {named.repo} is restricted", status=status, code=code)

    def check_licence(self, named: Named) -> None:
        if self.refusal is not None and named.licence in self.refused_licences:
            raise self.refusal

    async def open(self, named: Named, file: HubFile, token: str) -> Body:
        self.opened.append(file.path)
        if file.path in self.bodies:
            return self.bodies[file.path]
        commit = self.repos[named.repo.type, named.repo.name].commits[named.commit]
        return CompleteBody(commit.files[file.path].place)


class CompleteBody:
    """A file that is here."""

    def __init__(self, path: Path) -> None:
        self.complete: Path | None = path
        self.stamp: FileStamp | None = FileStamp.of(path)
        self.size_bytes = path.stat().st_size
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.restarts_ranges = False

    async def wait(self, start: int) -> int:
        return self.size_bytes

    async def prove(self) -> None:
        """It was."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.descriptor)


class PartialBody:
    """A file that arrives as the test says; `users` counts who reads it now."""

    def __init__(self, path: Path, data: bytes, *, restarts_ranges: bool = False) -> None:
        self._data = data
        path.write_bytes(b"")
        self.complete: Path | None = None
        self.stamp: FileStamp | None = None
        self.size_bytes = len(data)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.restarts_ranges = restarts_ranges
        self.users = 0
        self.waiting = 0
        self._here = 0
        self._fault: MirrorError | None = None
        self._changed = asyncio.Condition()

    async def arrive(self, end: int) -> None:
        """Have all bytes before `end`."""
        os.pwrite(self.descriptor, self._data[self._here : end], self._here)
        async with self._changed:
            self._here = end
            self._changed.notify_all()

    async def fail(self, fault: MirrorError) -> None:
        """Let the transfer fail."""
        async with self._changed:
            self._fault = fault
            self._changed.notify_all()

    async def wait(self, start: int) -> int:
        self.waiting += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self._here > start or self._fault is not None)
        finally:
            self.waiting -= 1
        if self._here > start:
            return self._here
        assert self._fault is not None
        raise self._fault

    async def prove(self) -> None:
        while await self.wait(self.size_bytes - 1) < self.size_bytes:
            pass

    async def __aenter__(self) -> Self:
        self.users += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.users -= 1

    def close(self) -> None:
        os.close(self.descriptor)
