"""What the catalog tells about the Hub: plain records, no SQL. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.wire.hub import Repo

if TYPE_CHECKING:
    from mirrornode.store.stamps import FileStamp
    from mirrornode.wire.hub import HubFile

PEER_PREFIX = "peer:"
# A node that this one was told to follow is its origin of names: what it says counts as one's word.
NODE_PREFIX = "hub:node/"


def is_peers_word(vouched_by: str) -> bool:
    """Tell whether only a peer, and no origin, vouched for a name."""
    return vouched_by.startswith(PEER_PREFIX)


def is_followed_nodes_word(vouched_by: str) -> bool:
    """Tell whether a node that this one follows vouched for a name, in the place of an origin."""
    return vouched_by.startswith(NODE_PREFIX)


def repo_key(repo: Repo) -> str:
    """Return what a repo is kept under."""
    return f"{repo.type}:{repo.name}"


def repo_of_key(key: str) -> Repo:
    """Return the repo of a `repo_key`."""
    return Repo(*key.split(":", 1))


@dataclass(frozen=True, slots=True)
class HubSight:
    """Who may see a repo, as an origin said last.

    Attributes:
        canonical: The repo's name today; differs from the asked one after a rename.
        gated: "", "auto" or "manual".
    """

    canonical: Repo
    is_private: bool
    gated: str
    checked_at: float

    @property
    def is_open(self) -> bool:
        """True when anybody may have names and content."""
        return not self.is_private and not self.gated


@dataclass(frozen=True, slots=True)
class HubRef:
    """What a branch, tag or short hash pointed to when somebody looked.

    Attributes:
        seen_at: When the question was asked.
        vouched_by: "hub:HOST" or "peer:ID".
    """

    commit: str
    seen_at: float
    vouched_by: str


@dataclass(frozen=True, slots=True)
class HubRevision:
    """One commit of a repo.

    Attributes:
        info: The model-info JSON, without xet.
        files: None when the tree is not known.
        vouched_by: Who said the info.
        tree_vouched_by: Who said the tree; "" when it is not known.
    """

    repo: Repo
    commit: str
    info: Mapping[str, Any]
    files: tuple[HubFile, ...] | None
    vouched_by: str
    recorded_at: float
    tree_vouched_by: str = ""


@dataclass(frozen=True, slots=True)
class HubListing:
    """One commit of a repo as `ls` shows it: sums instead of files.

    `files_here` and `bytes_here` count the files of which a verified copy is recorded; all four
    numbers are None when the tree is not known. `refs` are the names that point here.
    """

    repo: Repo
    commit: str
    refs: tuple[str, ...]
    info: Mapping[str, Any]
    sight: HubSight | None
    vouched_by: str
    recorded_at: float
    files: int | None
    size_bytes: int | None
    files_here: int | None
    bytes_here: int | None


@dataclass(frozen=True, slots=True)
class HubBlob:
    """A verified file on this disk, by the name of its content.

    Attributes:
        etag: 64 hex (SHA-256) or 40 hex (git oid).
        is_open: An open repo vouches for it, so that it may be shared.
        is_managed: The node made the file and may delete it.
    """

    etag: str
    path: Path
    stamp: FileStamp
    is_open: bool
    is_managed: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """What an origin said when a token asked for the content of a repo."""

    is_allowed: bool
    checked_at: float


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An origin's answer to a GET, kept word for word.

    `headers` are the few that matter, by lower-case name; `json` is the body without xet.
    """

    headers: Mapping[str, str]
    json: object
    origin_id: str
    seen_at: float
