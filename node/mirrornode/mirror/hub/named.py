"""A revision that was resolved, and what an origin's JSON says of who may see it.

Pure. Where the JSON is silent or strange, the repo counts as less open, never as more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mirrornode.errors import TargetError
from mirrornode.store.hub_records import is_peers_word
from mirrornode.wire.hub import Repo

GATES = ("auto", "manual")


@dataclass(frozen=True, slots=True)
class Named:
    """A commit of a repo, ready to be looked into.

    Attributes:
        repo: As it was asked for; a renamed repo keeps its old name here.
        info: The origin's model-info JSON, without xet.
        gated: "", "auto" or "manual".
        licence: What it is called, "" when the repo says nothing.
        vouched_by: "hub:HOST" or "peer:ID".
        warning: For `X-HF-Warning`; "" when there is nothing to warn of.
    """

    repo: Repo
    commit: str
    info: Mapping[str, Any]
    gated: str
    is_private: bool
    licence: str
    vouched_by: str
    warning: str = ""

    @property
    def needs_grant(self) -> bool:
        """True when content goes only to who was let in by the origin."""
        return self.is_private or bool(self.gated)

    @property
    def is_open(self) -> bool:
        """True when an origin said that the repo is neither gated nor private: it may be shared.

        A peer's word is not enough for that: it could open what only private repos hold.
        """
        return not self.needs_grant and not is_peers_word(self.vouched_by)


def gate_of(info: Mapping[str, Any]) -> str:
    """Return "", "auto" or "manual"; a value nobody knows counts as "manual"."""
    gated = info.get("gated", False)
    if gated is False or gated is None:
        return ""
    return gated if gated in GATES else "manual"


def is_private(info: Mapping[str, Any], *, was_anonymous: bool) -> bool:
    """Tell whether a repo is private; when the origin does not say, who could ask decides."""
    private = info.get("private")
    return private is not False and not (private is None and was_anonymous)


def canonical_repo(repo: Repo, info: Mapping[str, Any]) -> Repo:
    """Return what the origin calls a repo now; the asked name when it says nothing usable."""
    name = info.get("id")
    try:
        return Repo(repo.type, name) if isinstance(name, str) else repo
    except TargetError:
        return repo
