"""The one tree of errors: what went wrong, who is to blame, and whether a retry can help.

    MirrorError
    ├── TargetError          what the user named cannot be (a bad CID, a folder for a file)
    ├── ConfigError          a setting is unknown, contradictory or dangerous
    ├── ContentError         bytes that are not what their name promises
    │   ├── CidMismatch          the hash differs
    │   ├── MalformedCid         not a CID at all
    │   ├── MalformedNode        not valid dag-pb or UnixFS
    │   ├── UnsafeName           a directory entry that would leave its folder
    │   ├── MalformedCar         not a CAR, or one that is cut off
    │   ├── HashNotAllowed       unknown hash function, codec, or digest length
    │   └── LimitExceeded        deeper, wider or larger than we accept
    ├── StoreError           this machine's disk and catalog
    │   ├── BlockNotFound
    │   ├── NotAllHere           a part of the target is not kept here
    │   ├── FileChanged          a referenced file is not what was added
    │   ├── DiskFull
    │   ├── PathRefused          the operating system denies access
    │   ├── HomeLocked           another process owns this home
    │   └── CatalogUnusable      damaged, or written by a newer version
    ├── SourceError          a peer, gateway or mirror failed us
    │   ├── SourceGone           left, reset, not reachable
    │   ├── SourceTooSlow        stalled
    │   ├── SourceRefused        answered no
    │   └── OriginChanged        the file behind a URL changed under way
    ├── ProtocolError
    │   ├── LocalProtocolError   we broke the rules (a bug here)
    │   └── RemoteProtocolError  they did
    ├── NoProviders          nobody reachable has it
    ├── HubRefusal           the Hub, or we in its stead, said no: status and X-Error-Code
    │   └── HubNotFound          no such repo, revision or file
    ├── OriginAway           no configured origin can be asked, and what is known here is not enough
    │   └── NotKnownHere         the repo or revision is not known at all, or not to this user
    ├── AccessRefused        policy, token or licence says no
    │   └── LicenceRefused
    ├── Incomplete           some files of a folder are missing
    ├── Stopped              somebody who may has ended this download
    └── DaemonGone           the daemon stopped while we waited for it

Transfers evict by `blame` and retry by `transient`; nobody parses messages. HTTP statuses live in
`gateway.errors`, exit codes in `mirrornode_cli.exit_codes`.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import ClassVar


class Blame(Enum):
    """Whose fault an error is: decides who is evicted and who is told."""

    USER = "user"
    LOCAL = "local"
    SOURCE = "source"
    NOBODY = "nobody"


class MirrorError(Exception):
    """Base of every error this package raises on purpose; `str()` is one clear line for people."""

    blame: ClassVar[Blame] = Blame.NOBODY
    transient: ClassVar[bool] = False


class TargetError(MirrorError):
    """What the user asked for cannot be: the message says what to type instead."""

    blame = Blame.USER


class ConfigError(MirrorError):
    """A setting is wrong; `key` names it and `origin` says where it came from (file, env, flag)."""

    blame = Blame.USER

    def __init__(self, message: str, *, key: str = "", origin: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.origin = origin


class ContentError(MirrorError):
    """Bytes that are not what their name promises."""

    blame = Blame.SOURCE


class CidMismatch(ContentError):
    """The bytes do not hash to the CID they came under."""

    def __init__(self, cid: object, detail: str = "") -> None:
        super().__init__(f"bytes do not match {cid}" + (f": {detail}" if detail else ""))
        self.cid = cid


class MalformedCid(ContentError):
    """The text or bytes are not a CID."""


class MalformedNode(ContentError):
    """A block is not valid dag-pb or UnixFS."""


class UnsafeName(MalformedNode):
    """A directory entry is named so that writing it could leave the target folder."""


class MalformedCar(ContentError):
    """A file is not a CAR, or is cut off or damaged between its blocks."""


class HashNotAllowed(ContentError):
    """A hash function, codec or digest length that we do not accept."""


class LimitExceeded(ContentError):
    """A DAG that is deeper, wider or larger than we accept."""


class StoreError(MirrorError):
    """This machine's disk or catalog failed."""

    blame = Blame.LOCAL


class BlockNotFound(StoreError):
    """The block is not kept here."""

    def __init__(self, cid: object) -> None:
        super().__init__(f"block {cid} is not here")
        self.cid = cid


class NotAllHere(StoreError):
    """A part of the target is not kept here; `missing` lists the first paths."""

    def __init__(self, message: str, missing: tuple[str, ...]) -> None:
        super().__init__(message)
        self.missing = missing


class FileChanged(StoreError):
    """A file that was added in place has changed, shrunk or vanished since."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason} since it was added; run `mirrornode add` on it again")
        self.path = path
        self.reason = reason


class DiskFull(StoreError):
    """The target's file system has no room."""

    def __init__(self, path: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"not enough space for {path}: {needed_bytes:,} bytes needed, {free_bytes:,} free; "
            "free some space or choose another place with -o"
        )
        self.path = path
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class PathRefused(StoreError):
    """The operating system denies access to a path; `action` is the verb, e.g. "read"."""

    def __init__(self, path: Path, action: str, reason: str) -> None:
        super().__init__(f"cannot {action} {path}: {reason}")
        self.path = path
        self.action = action
        self.reason = reason


class HomeLocked(StoreError):
    """Another process owns this home and does not answer on its control socket."""

    def __init__(self, home: Path, owner_pid: int | None = None) -> None:
        owner = f" by process {owner_pid}" if owner_pid else ""
        super().__init__(
            f"{home} is in use{owner}; stop that process or choose another home with --home"
        )
        self.home = home
        self.owner_pid = owner_pid


class CatalogUnusable(StoreError):
    """The catalog is damaged or was written by a newer version."""


class SourceError(MirrorError):
    """A peer, gateway or mirror failed; `source_id` names it when known."""

    blame = Blame.SOURCE

    def __init__(self, message: str, *, source_id: str = "") -> None:
        super().__init__(message)
        self.source_id = source_id


class SourceGone(SourceError):
    """The source left, reset the connection or cannot be reached."""

    transient = True


class SourceTooSlow(SourceError):
    """The source stalled past its deadline."""

    transient = True


class SourceRefused(SourceError):
    """The source answered no (`status` is its HTTP status, 0 when none)."""

    def __init__(
        self,
        message: str,
        *,
        source_id: str = "",
        status: int = 0,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, source_id=source_id)
        self.status = status
        self.retry_after_s = retry_after_s


class OriginChanged(SourceError):
    """The file behind a URL is not the one the transfer began with."""


class ProtocolError(MirrorError):
    """A protocol rule was broken."""


class LocalProtocolError(ProtocolError):
    """This side broke the rule: a bug here."""

    blame = Blame.LOCAL


class RemoteProtocolError(ProtocolError):
    """The other side broke the rule."""

    blame = Blame.SOURCE


class NoProviders(MirrorError):
    """Nobody reachable has the target; the message says what to try next."""

    transient = True


class AccessRefused(MirrorError):
    """Policy, token or grant says no."""


class LicenceRefused(AccessRefused):
    """The licence policy of this node forbids the target."""


class HubRefusal(MirrorError):
    """What a Hub client is told when it cannot have something.

    Attributes:
        status: HTTP status, 401, 403 or 404 mostly.
        code: `X-Error-Code`, for example "RepoNotFound", "EntryNotFound", "GatedRepo"; or "".
        commit: For a missing entry, the commit that was looked at; else "".
    """

    blame = Blame.USER

    def __init__(self, message: str, *, status: int, code: str = "", commit: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.commit = commit


class HubNotFound(HubRefusal):
    """There is no such repo, revision or file, or none that this asker may know of."""


class OriginAway(MirrorError):
    """No configured origin can be asked now, and what is known here does not answer it."""

    transient = True


class NotKnownHere(OriginAway):
    """No origin can be asked, and the repo or revision is not known here, or not to this user."""


class Incomplete(MirrorError):
    """Some files of a folder could not be had; `missing` lists their paths."""

    transient = True

    def __init__(self, message: str, missing: tuple[str, ...]) -> None:
        super().__init__(message)
        self.missing = missing


class NodeEnding(MirrorError):
    """The node was asked to stop and begins nothing new."""

    blame = Blame.LOCAL
    transient = True


class Stopped(MirrorError):
    """A download was ended from outside, by who may do that; what came is kept for the next."""

    blame = Blame.USER


class DaemonGone(MirrorError):
    """The daemon went away while it worked for us; the work can be resumed."""

    blame = Blame.LOCAL
    transient = True
