"""What the user named, as a value: a CID and a path below it.

Accepted: a bare CID, `/ipfs/CID[/path]`, `ipfs://CID[/path]`. Spec: IPFS URI schemes; path gateway.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mirrornode.content.cid import Cid
from mirrornode.content.names import check_name
from mirrornode.errors import ContentError, TargetError


@dataclass(frozen=True, slots=True)
class Target:
    """A root CID and the names to follow below it; `called` is its name of one's own, or ""."""

    cid: Cid
    path: tuple[str, ...] = ()
    called: str = ""

    @property
    def name(self) -> str:
        """What to call the output when the user did not say."""
        return self.called or (self.path[-1] if self.path else str(self.cid))

    def __str__(self) -> str:
        return "/".join([str(self.cid), *self.path])


def parse_target(text: str, called: str = "") -> Target:
    """Return the target a user typed.

    Args:
        called: What its output is to be called; "" for its own name.

    Raises:
        TargetError: Not a target; the message says what one looks like.
    """
    rest = text.strip()
    is_uri = rest.startswith("ipfs://")
    if is_uri:
        rest = unquote(rest.removeprefix("ipfs://"))
    elif rest.startswith("/ipfs/"):
        rest = rest.removeprefix("/ipfs/")
    elif "/" in rest or ":" in rest:
        raise TargetError(
            f"not a target: {text}; give a CID, /ipfs/CID[/path] or ipfs://CID[/path]"
        )
    head, *names = rest.split("/")
    if names and not names[-1]:
        names.pop()
    try:
        return Target(Cid.parse(head), tuple(check_name(name) for name in names), called)
    except ContentError as exc:
        raise TargetError(f"not a target: {text} ({exc})") from exc


def choose_output(target: Target, destination: Path | None, folder: Path, *, is_file: bool) -> Path:
    """Return where the target goes.

    Args:
        destination: What the user gave with -o, None for nothing.
        folder: Where relative paths start.

    Raises:
        TargetError: A folder would have to replace a file.
    """
    if destination is None:
        output = folder / target.name
        if is_file and output.is_dir():
            raise TargetError(f"{output} is a folder; choose another place with -o")
    else:
        output = folder / destination
        if is_file and output.is_dir():
            output = output / target.name
            if output.is_dir():
                raise TargetError(f"{output} is a folder; choose another place with -o")
    if not is_file and (output.exists() or output.is_symlink()) and not output.is_dir():
        raise TargetError(
            f"{target} is a folder, but {output} is a file; choose another place with -o"
        )
    return output
