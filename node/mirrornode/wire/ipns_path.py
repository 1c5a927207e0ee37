"""Paths that begin with a name: what a user types, and what a name stands for.

Pure text, and cheap to import: the command looks at every target with it. What a name means is
found out by `mirror.ipns`.

Spec: ipfs/specs path gateway, "Path Resolution"; IPFS URI schemes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from mirrornode.content.cid import Cid
from mirrornode.content.names import check_name
from mirrornode.errors import ContentError, MalformedNode, TargetError

MAX_PATH_CHARACTERS: Final = 4096
MAX_PARTS: Final = 128

_SCHEME, _PREFIX = "ipns://", "/ipns/"


@dataclass(frozen=True, slots=True)
class NamedPath:
    """A name and the entries to follow below what it means."""

    name: str
    parts: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """What to call the output when the user did not say."""
        return self.parts[-1] if self.parts else self.name

    def __str__(self) -> str:
        return _PREFIX + "/".join([self.name, *self.parts])


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name stands for: content, or another name."""

    kind: Literal["ipfs", "ipns"]
    head: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(["", self.kind, self.head, *self.parts])


def is_name_target(text: object) -> bool:
    """Tell whether a target is written as one that begins with a name."""
    return isinstance(text, str) and text.strip().startswith((_SCHEME, _PREFIX))


def parse_name_target(text: str) -> NamedPath:
    """Return what `ipns://NAME[/path]`, `/ipns/NAME[/path]` or a bare `NAME[/path]` says.

    Raises:
        TargetError: It is none.
    """
    rest = text.strip()
    if rest.startswith(_SCHEME):
        rest = unquote(rest.removeprefix(_SCHEME))
    rest = rest.removeprefix(_PREFIX)
    try:
        name, *parts = _split(rest)
        return NamedPath(name, tuple(parts))
    except (ContentError, ValueError) as exc:
        raise TargetError(
            f"not a name: {text[:200]!r} ({exc}); give ipns://NAME[/path], where NAME is k51…, a "
            "domain, or what a key of this node is called"
        ) from exc


def parse_meaning(value: str) -> Meaning:
    """Return what the value of a record or a DNSLink says.

    Raises:
        ContentError: Neither `/ipfs/CID[/path]` nor `/ipns/NAME[/path]`.
    """
    _, slash, rest = value.partition("/")
    kind, _, path = rest.partition("/")
    try:
        head, *parts = _split(path)
    except ValueError as exc:
        raise MalformedNode(f"a name stands for {value[:100]!r}: {exc}") from exc
    if slash and kind == "ipfs" and value.startswith("/"):
        return Meaning("ipfs", str(Cid.parse(head)), tuple(parts))
    if slash and kind == "ipns" and value.startswith("/"):
        return Meaning("ipns", head, tuple(parts))
    raise MalformedNode(f"a name stands for {value[:100]!r}, which is no path of IPFS")


def _split(path: str) -> list[str]:
    if len(path) > MAX_PATH_CHARACTERS:
        raise ValueError("it is too long")
    segments = [segment for segment in path.split("/") if segment]
    if not segments:
        raise ValueError("it names nothing")
    if len(segments) > MAX_PARTS:
        raise ValueError("it is too deep")
    return [check_name(segment) for segment in segments]
