"""What can be kept in step, as a value: a repo of the Hub, a CID, a pinset, a folder. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import TargetError
from mirrornode.mirror.target import parse_target
from mirrornode.wire.hub import HubTarget, is_hub_target, parse_hub_target

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid

PINS_SCHEME = "pins:"
PIN_PREFIX = "sync:"  # of the names of pins that `sync` makes
MAX_TARGET_CHARS = 2048

_GLOB = re.compile(r"[*?\[]")
_NODE = re.compile(r"(/(ip4|ip6|dns|dns4|dns6)/[!-~]+/p2p/[A-Za-z0-9]+|https?://[!-~]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class SyncTarget:
    """One target; exactly one of `hub`, `cid`, `node` and `folder` says what it is.

    Attributes:
        text: As it is named in reports and states.
        hub: Of a target with patterns, the folder that they are looked for in.
        patterns: Of whole paths in the repo, of which one must match; none: all do.
        node: Whose pinset is followed: a multiaddr or URL.
        folder: On this machine; what lies there is shared in place.
    """

    text: str
    hub: HubTarget | None = None
    patterns: tuple[str, ...] = ()
    cid: Cid | None = None
    node: str = ""
    folder: Path | None = None

    @property
    def pin_name(self) -> str:
        """What the pins of this target are called."""
        return PIN_PREFIX + self.text


def parse_sync_target(text: str) -> SyncTarget:
    """Return the target that a user named.

    Raises:
        TargetError: It is none; the message says what one looks like.
    """
    text = text.strip()
    if len(text) > MAX_TARGET_CHARS or not text.isprintable():
        raise TargetError("not a target: too long, or with characters that cannot be")
    if text.startswith(PINS_SCHEME):
        return SyncTarget(text, node=check_node(text.removeprefix(PINS_SCHEME)))
    if is_hub_target(text):
        hub = parse_hub_target(text)
        if not _GLOB.search(hub.path):
            return SyncTarget(str(hub), hub)
        parts = hub.path.split("/")
        fixed = next(count for count, part in enumerate(parts) if _GLOB.search(part))
        below = HubTarget(hub.repo, hub.revision, "/".join(parts[:fixed]))
        return SyncTarget(str(hub), below, (hub.path,))
    if text.startswith(("/", "~")) and not text.startswith("/ipfs/"):
        try:
            folder = Path(text).expanduser()
        except RuntimeError as exc:
            raise TargetError(f"not a folder: {text} ({exc})") from exc
        return SyncTarget(str(folder), folder=folder)
    try:
        target = parse_target(text)
    except TargetError as exc:
        raise TargetError(
            f"not a target: {text[:200]}; give hf:ORG/NAME[@REV][/PATH or pattern], a CID, "
            "pins:NODE or the absolute path of a folder"
        ) from exc
    if target.path:
        raise TargetError("sync takes a CID without a path")
    return SyncTarget(str(target.cid), cid=target.cid)


def check_node(text: str) -> str:
    """Return how a node to follow is named.

    Raises:
        TargetError: Neither a multiaddr with `/p2p/` nor a URL.
    """
    if not _NODE.fullmatch(text) or len(text) > MAX_TARGET_CHARS:
        raise TargetError(
            f"not a node to follow: {text[:200]!r}; give its multiaddr, such as "
            "/ip4/192.168.1.5/tcp/4101/p2p/12D3Koo…, or the URL of its gateway"
        )
    return text
