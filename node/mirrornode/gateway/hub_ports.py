"""What the Hub endpoint needs from the layers below: names, access, files, rules on licences.

Only the shapes; the real ones are in `mirror.hub`, the tests bring some of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from mirrornode.mirror.hub.named import Named
    from mirrornode.sources.hub_origin import OriginAnswer
    from mirrornode.store.stamps import FileStamp
    from mirrornode.wire.hub import HubFile, Repo


class Names(Protocol):
    """Knows what names stand for; raises `HubRefusal` and `OriginAway`."""

    async def resolve(self, repo: Repo, revision: str, token: str) -> Named:
        """Return the commit a revision stands for now."""

    async def tree(self, named: Named, token: str) -> Mapping[str, HubFile]:
        """Return all files of a commit by their paths."""

    async def pass_through(
        self, target: str, token: str, *, method: str, body: bytes, content_type: str
    ) -> OriginAnswer:
        """Return the origin's answer to what only it can answer."""


class Access(Protocol):
    """Knows who may have what."""

    async def check(self, named: Named, token: str) -> None:
        """Raise `HubRefusal` unless the bearer of `token` may have the files of this repo."""


class Body(Protocol):
    """One file, readable while it arrives; ends its part in the transfer when left."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def complete(self) -> Path | None:
        """Where the whole verified file lies, None while it arrives."""

    @property
    def stamp(self) -> FileStamp | None:
        """What a complete file's status must still be while it is sent."""

    @property
    def descriptor(self) -> int: ...
    @property
    def restarts_ranges(self) -> bool:
        """Whether who asks for the rest of the file must be given all of it."""

    async def wait(self, start: int) -> int:
        """Return the end of what may be sent from `start` on, which is more than `start`.

        Raises:
            MirrorError: The transfer failed.
        """

    async def prove(self) -> None:
        """Wait until all of the file is here and its hash is right; before any `wait`.

        Raises:
            MirrorError: The transfer failed.
        """

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Files(Protocol):
    """Has or fetches files."""

    async def open(self, named: Named, file: HubFile, token: str) -> Body:
        """Open a file for an asker who may have it; the first one starts its transfer."""


@dataclass(frozen=True, slots=True)
class HubPorts:
    """All of it.

    Attributes:
        check_licence: Raises `LicenceRefused` when the files of this repo are not for this node.
        has_licence_rules: Whether it ever does.
        note_sent: Told the bytes of files as they go out.
    """

    names: Names
    access: Access
    files: Files
    check_licence: Callable[[Named], None]
    has_licence_rules: bool = True
    note_sent: Callable[[int], None] = lambda _: None
