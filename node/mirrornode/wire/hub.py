"""Names of the Hugging Face Hub as values: repos, targets, and the paths its clients ask for.

Paths are parsed in their raw, still percent-encoded form, because `feature%2Fx` is one revision and
`feature/x` is not; and by their verb, because a repo id may have one part or two. The files of a
repo are in `hub_tree`, offered from here, too. Facts: the Hub's own routes, as its clients use
them. Nothing here asks or answers anybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from mirrornode.errors import TargetError, UnsafeName
from mirrornode.wire.hub_tree import (
    COMMIT_RE,
    HubFile,
    check_path,
    check_tree,
    decode_file,
    decode_tree,
    is_commit,
    is_etag,
    lfs_pointer,
    lfs_pointer_oid,
    new_git_blob_sha1,
    paths_info_records,
    sibling_records,
    tree_records,
    without_xet,
)

__all__ = [
    "COMMIT_RE",
    "DEFAULT_REVISION",
    "HubFile",
    "HubRequest",
    "HubTarget",
    "SCHEME",
    "Repo",
    "check_path",
    "check_revision",
    "check_tree",
    "decode_file",
    "decode_tree",
    "is_commit",
    "is_etag",
    "is_hub_target",
    "lfs_pointer",
    "lfs_pointer_oid",
    "new_git_blob_sha1",
    "parse_hub_path",
    "parse_hub_target",
    "parse_repo",
    "paths_info_records",
    "sibling_records",
    "tree_records",
    "without_xet",
]

SCHEME = "hf:"
DEFAULT_REVISION = "main"
MAX_NAME_LETTERS = 96  # of each part of a repo id: the client's own rule
MAX_REVISION_BYTES = 255
MAX_RAW_PATH_LETTERS = 16 * 1024  # a path of 4096 bytes, all of them escaped

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)
_NO_REVISION = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|/\.|^[/.-]|[/.]$|^refs$")
_NAMED_REF = re.compile(r"refs/(?:pr/[0-9]{1,10}|convert/[^/@]+)(?=/|$)", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

_PREFIX_OF_TYPE = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_TYPE_OF_PREFIX = {"datasets": "dataset", "spaces": "space"}
_TYPE_OF_API = {"models": "model", **_TYPE_OF_PREFIX}
# First parts of paths that are never a namespace.
_RESERVED = frozenset({"api", "models", "datasets", "spaces", "kernels"})

_FILE_VERBS = frozenset({"resolve", "raw"})
_API_VERBS = {
    "revision": "revision",
    "tree": "tree",
    "paths-info": "paths-info",
    "refs": "refs",
    "commits": "commits",
    "auth-check": "auth-check",
    "xet-read-token": "xet",
    "xet-write-token": "xet",
}
_BARE_KINDS = frozenset({"refs", "auth-check"})  # nothing follows the verb
_API_ALONE = {"whoami-v2": "whoami", "agent-harnesses": "agent-harnesses"}


@dataclass(frozen=True, slots=True)
class Repo:
    """One repo of the Hub.

    Attributes:
        type: "model", "dataset" or "space".
        name: "org/name", or "name" for the few old ones without a namespace.

    Raises:
        TargetError: No repo can be called so.
    """

    type: str
    name: str

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if (
            self.type not in _PREFIX_OF_TYPE
            or len(parts) > 2
            or parts[0] in _RESERVED
            or not all(_is_name(part) for part in parts)
        ):
            raise TargetError(
                f"not a repo of the Hub: {self.type} {self.name[:120]!a}; "
                "a repo is called ORG/NAME, with letters, digits, '-', '_' and '.'"
            )

    @property
    def api_path(self) -> str:
        """Where the Hub's API speaks of this repo; such names need no quoting."""
        return f"/api/{self.type}s/{self.name}"

    @property
    def cache_folder(self) -> str:
        """The folder of this repo in a client's cache."""
        return f"{self.type}s--{self.name.replace('/', '--')}"

    def resolve_path(self, revision: str, path: str) -> str:
        """Return the quoted path of a file's bytes at a revision."""
        return f"/{self}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def __str__(self) -> str:
        return _PREFIX_OF_TYPE[self.type] + self.name


@dataclass(frozen=True, slots=True)
class HubTarget:
    """What a user named with `hf:`; `path` is a file or folder in the repo, "" for all of it."""

    repo: Repo
    revision: str = DEFAULT_REVISION
    path: str = ""

    def __str__(self) -> str:
        revision = ""
        # A one-part name followed by a path would read as ORG/NAME.
        if self.revision != DEFAULT_REVISION or (self.path and "/" not in self.repo.name):
            is_plain = _NAMED_REF.fullmatch(self.revision) and "%" not in self.revision
            revision = "@" + (self.revision if is_plain else quote(self.revision, safe=""))
        return f"hf:{self.repo}{revision}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True, slots=True)
class HubRequest:
    """What a client's path asks for, unquoted.

    Attributes:
        kind: "resolve", "raw", "model-info" (of any type of repo), "revision", "tree",
            "paths-info", "refs", "commits", "auth-check", "xet", "whoami" or "agent-harnesses".
        repo: None for the last two.
        revision: "" where the path names none.
        path: Of a file ("resolve", "raw") or folder ("tree"); else "".
    """

    kind: str
    repo: Repo | None
    revision: str = ""
    path: str = ""


def check_revision(revision: str) -> str:
    """Return a branch, tag, ref or commit if git could have it.

    Raises:
        TargetError: It could not.
    """
    try:
        size = len(revision.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= MAX_REVISION_BYTES or _NO_REVISION.search(revision):
        raise TargetError(f"not a revision: {revision[:120]!a}; give a branch, tag or commit")
    return revision


def parse_repo(text: str) -> Repo:
    """Return the repo whose `str()` this is: "org/name", "datasets/org/name", "spaces/org/name".

    Raises:
        TargetError: None can be called so.
    """
    first, _, rest = text.partition("/")
    if rest and first in _TYPE_OF_PREFIX:
        return Repo(_TYPE_OF_PREFIX[first], rest)
    return Repo("model", text)


def is_hub_target(target: object) -> bool:
    """Tell whether a user's target is one of the Hub, right or wrong."""
    return isinstance(target, str) and target.startswith(SCHEME)


def parse_hub_target(text: str) -> HubTarget:
    """Return the target of `hf:ORG/NAME[@REV][/PATH]`; see `HubTarget.__str__` for the way back.

    `hf:datasets/…`, `hf:spaces/…` and `hf://…` are understood, too. REV is percent-decoded unless
    it is `refs/pr/N` or `refs/convert/X`; PATH is taken as it stands. `hf:NAME` is an old repo
    without a namespace; a path in such a one needs the revision: `hf:gpt2@main/config.json`.

    Raises:
        TargetError: Not such a target; the message says what one looks like.
    """
    rest = text.removeprefix(SCHEME).removeprefix("//") if text.startswith(SCHEME) else ""
    try:
        return _parse_target(rest)
    except (TargetError, UnsafeName, UnicodeError) as exc:
        advice = "give hf:ORG/NAME[@REVISION][/PATH], hf:datasets/ORG/NAME… or hf:spaces/ORG/NAME…"
        raise TargetError(f"not a target: {text[:200]} ({exc}); {advice}") from exc


def parse_hub_path(raw_path: str) -> HubRequest | None:
    """Return what a client of the Hub asks for, None when it is nothing of the Hub's.

    Args:
        raw_path: Still percent-encoded, without the query, starting with `/`.
    """
    if len(raw_path) > MAX_RAW_PATH_LETTERS or _BAD_ESCAPE.search(raw_path):
        return None
    first, *parts = raw_path.removeprefix("/").split("/")
    if not raw_path.startswith("/") or not parts:
        return None
    try:
        if first != "api":
            repo_type = _TYPE_OF_PREFIX.get(first)
            return _by_verb(repo_type or "model", parts if repo_type else [first, *parts])
        if len(parts) == 1 and parts[0] in _API_ALONE:
            return HubRequest(_API_ALONE[parts[0]], None)
        api_type = _TYPE_OF_API.get(parts[0])
        return _by_api_verb(api_type, parts[1:]) if api_type else None
    except UnicodeDecodeError:
        return None


def _parse_target(rest: str) -> HubTarget:
    first, _, tail = rest.partition("/")
    repo_type = _TYPE_OF_PREFIX.get(first, "model")
    if repo_type != "model":
        rest = tail
    # The revision's "@" stands in the first or second part; any later one belongs to the path.
    first, slash, tail = rest.partition("/")
    second = tail.partition("/")[0]
    if "@" in first or "@" in second:
        name, _, after = rest.partition("@")
    else:
        name = f"{first}{slash}{second}"
        path = tail.partition("/")[2]
        return _target(Repo(repo_type, name.removesuffix("/")), DEFAULT_REVISION, path)
    if match := _NAMED_REF.match(after):
        revision, path = match.group(), after[match.end() :].removeprefix("/")
        return _target(Repo(repo_type, name), revision, path)
    quoted, _, path = after.partition("/")
    return _target(Repo(repo_type, name), unquote(quoted, errors="strict"), path)


def _target(repo: Repo, revision: str, path: str) -> HubTarget:
    path = path.removesuffix("/")
    return HubTarget(repo, check_revision(revision), check_path(path) if path else "")


def _by_verb(repo_type: str, parts: list[str]) -> HubRequest | None:
    """Parse `ID/resolve/REV/PATH`; ids of two parts first, those of one are a few old ones."""
    for size in (2, 1):
        if len(parts) <= size or parts[size] not in _FILE_VERBS:
            continue
        repo = _repo(repo_type, parts[:size])
        place = _place(parts[size + 1 :])
        if repo and place and place[1]:
            return HubRequest(parts[size], repo, *place)
    return None


def _by_api_verb(repo_type: str, parts: list[str]) -> HubRequest | None:
    for size in (2, 1):
        if len(parts) <= size or parts[size] not in _API_VERBS:
            continue
        kind = _API_VERBS[parts[size]]
        repo, rest = _repo(repo_type, parts[:size]), parts[size + 1 :]
        if repo and kind in _BARE_KINDS and not rest:
            return HubRequest(kind, repo)
        place = _place(rest) if kind not in _BARE_KINDS else None
        if repo and place and (kind == "tree" or not place[1]):
            return HubRequest(kind, repo, *place)
    info_of = _repo(repo_type, parts) if len(parts) <= 2 else None
    return HubRequest("model-info", info_of) if info_of else None


def _repo(repo_type: str, parts: list[str]) -> Repo | None:
    try:
        return Repo(repo_type, unquote("/".join(parts), errors="strict"))
    except TargetError:
        return None


def _place(parts: list[str]) -> tuple[str, str] | None:
    """Return (revision, path) of the parts after a verb, None when they are not that."""
    if len(parts) >= 3 and parts[0] == "refs" and _NAMED_REF.fullmatch("/".join(parts[:3])):
        # Written without escapes; git has no ref called "refs", so this is not ambiguous.
        revision, rest = "/".join(parts[:3]), parts[3:]
    else:
        revision, rest = "".join(parts[:1]), parts[1:]
    if rest and not rest[-1]:
        rest = rest[:-1]
    try:
        path = unquote("/".join(rest), errors="strict")
        checked = check_revision(unquote(revision, errors="strict"))
        return checked, check_path(path) if path else ""
    except (TargetError, UnsafeName):
        return None


def _is_name(part: str) -> bool:
    return (
        len(part) <= MAX_NAME_LETTERS
        and _NAME.fullmatch(part) is not None
        and "--" not in part
        and ".." not in part
    )
