"""Transfers under way, so that others can be served what is verified already.

Every node is a seed from its first leaf on: the peer plane and the tickets look here after the
catalog.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.mirror.claims import Claims
from mirrornode.mirror.shared_get import SharedGets
from mirrornode.mirror.temp_pins import TempPins
from mirrornode.mirror.uses import Uses

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.mirror.one_transfer import SharedOffers
    from mirrornode.transfer.session import TransferSession
    from mirrornode.wire.ranges import Run

QUIET_S = 3.0  # after the last served request, before background work goes on


@dataclass(frozen=True, slots=True)
class PartialFile:
    """A file of which some runs are verified, as of the moment it was asked for."""

    cid: Cid
    path: Path
    size_bytes: int
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """A session that brings the same target, and began before."""

    session: TransferSession
    offers: SharedOffers


class ActiveTransfers:
    """The sessions of this node, by the multihash of every file they bring."""

    def __init__(self) -> None:
        self.gets = SharedGets()
        self.claims = Claims()
        self.temp_pins = TempPins()
        self.uses = Uses()
        # Lists: one target may be fetched to two places at once.
        self._by_file: dict[bytes, list[tuple[TransferSession, int]]] = {}
        self._named: dict[TransferSession, list[bytes]] = {}  # the keys of `_by_file`
        self._sessions: list[TransferSession] = []
        self._running: list[Ahead] = []
        self._served_at = -QUIET_S

    def add(self, session: TransferSession, also_known_as: bytes | None = None) -> None:
        """Let others see what this session has.

        Args:
            also_known_as: Multihash of the first file's whole content, by which it is asked for.
        """
        self._sessions.append(session)
        named = self._named[session] = [file.root.multihash for file in session.manifest.files]
        for index, multihash in enumerate(named):
            self._by_file.setdefault(multihash, []).append((session, index))
        if also_known_as is not None:
            named.append(also_known_as)
            self._by_file.setdefault(also_known_as, []).append((session, 0))

    def remove(self, session: TransferSession) -> None:
        """Forget a session that ended."""
        self._sessions.remove(session)
        self._running = [run for run in self._running if run.session is not session]
        for multihash in self._named.pop(session):
            found = self._by_file[multihash]
            found.remove(next(each for each in found if each[0] is session))
            if not found:
                del self._by_file[multihash]

    def start(self, session: TransferSession, offers: SharedOffers) -> None:
        """Add a session that shares its blocks with others of the same target."""
        self._running.append(Ahead(session, offers))
        self.add(session)

    def ahead_of(self, session: TransferSession) -> Ahead | None:
        """Return the first session of the same target, None when that is `session`."""
        first = next((run for run in self._running if _same_leaves(run.session, session)), None)
        return None if first is None or first.session is session else first

    def is_running(self, session: TransferSession) -> bool:
        return session in self._sessions

    def partial(self, multihash: bytes) -> PartialFile | None:
        """Return what is there of a file in transfer, None when it is not in transfer."""
        found = self._by_file.get(multihash)
        if found is None:
            return None
        session, index = found[0]
        output = session.outputs[index]
        path = output.path if output.is_finished else output.part
        runs = tuple(session.board.have_runs(index))
        return PartialFile(output.file.root, path, output.file.map.size_bytes, runs)

    def folder_size(self, multihash: bytes) -> int | None:
        """Return the size of a folder in transfer, None when it is not."""
        for session in self.sessions:
            if session.manifest.target.multihash == multihash:
                return session.manifest.size_bytes
        return None

    def note_served(self) -> None:
        """Note that bytes go out to somebody now; called from any thread."""
        self._served_at = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for bytes: what can be done later should be."""
        return bool(self._sessions) or time.monotonic() - self._served_at < QUIET_S

    def paths(self) -> frozenset[str]:
        """Return where the running transfers write, parts and finished files."""
        outputs = [output for session in self.sessions for output in session.outputs]
        return frozenset(
            os.fspath(path) for output in outputs for path in (output.path, output.part)
        )

    def roots(self) -> set[bytes]:
        """Return the multihashes of what the running transfers bring."""
        return {session.manifest.target.multihash for session in self.sessions}

    def coming_bytes(self, folder: Path) -> int:
        """Return the size of the files that transfers are writing below `folder`."""
        return sum(
            output.file.map.size_bytes
            for session in self.sessions
            for output in session.outputs
            if not output.is_finished and output.path.is_relative_to(folder)
        )

    @property
    def sessions(self) -> list[TransferSession]:
        return list(self._sessions)


def _same_leaves(one: TransferSession, other: TransferSession) -> bool:
    """Tell whether two sessions bring the same files; each may leave out what its disk refuses."""
    left, right = one.manifest, other.manifest
    return (left.target, left.leaves, len(left.files)) == (
        right.target,
        right.leaves,
        len(right.files),
    )
