"""Transfers under way, so that others can be served what is verified already.

Every node is a seed from its first leaf on: the peer plane and the tickets look here after the
catalog.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.transfer.session import TransferSession
    from mirrornode.wire.ranges import Run


@dataclass(frozen=True, slots=True)
class PartialFile:
    """A file of which some runs are verified, as of the moment it was asked for."""

    cid: Cid
    path: Path
    size_bytes: int
    runs: tuple[Run, ...]


class ActiveTransfers:
    """The sessions of this node, by the multihash of every file they bring."""

    def __init__(self) -> None:
        self._by_file: dict[bytes, tuple[TransferSession, int]] = {}
        self._by_target: dict[bytes, TransferSession] = {}

    def add(self, session: TransferSession) -> None:
        """Let others see what this session has."""
        self._by_target[session.manifest.target.multihash] = session
        for index, file in enumerate(session.manifest.files):
            self._by_file[file.root.multihash] = (session, index)

    def remove(self, session: TransferSession) -> None:
        """Forget a session that ended."""
        self._by_target.pop(session.manifest.target.multihash, None)
        for file in session.manifest.files:
            self._by_file.pop(file.root.multihash, None)

    def partial(self, multihash: bytes) -> PartialFile | None:
        """Return what is there of a file in transfer, None when it is not in transfer."""
        found = self._by_file.get(multihash)
        if found is None:
            return None
        session, index = found
        output = session.outputs[index]
        path = output.path if output.is_finished else output.part
        runs = tuple(session.board.have_runs(index))
        return PartialFile(output.file.root, path, output.file.map.size_bytes, runs)

    def folder_size(self, multihash: bytes) -> int | None:
        """Return the size of a folder in transfer, None when it is not."""
        session = self._by_target.get(multihash)
        return session.manifest.size_bytes if session is not None else None

    @property
    def sessions(self) -> list[TransferSession]:
        return list(self._by_target.values())
