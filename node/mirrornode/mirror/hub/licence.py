"""The licences of a repo, and whether this node's policy lets it through.

Names come from the model card and the tags as the origin tells them; nobody checks that they are
true. Patterns are those of the shell, without regard to case: `cc-by-nc*`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mirrornode.errors import LicenceRefused

if TYPE_CHECKING:
    from mirrornode.config import HubConfig
    from mirrornode.mirror.hub.named import Named

UNSTATED = "unknown"  # what the Hub itself calls it; the name to allow or deny
MAX_NAMES = 16
MAX_NAME_LETTERS = 100

_OTHER = "other"
_TAG = "license:"


def licence_names(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the repo's licences are called, in lower case, the card's word first.

    A card with `license: other` has a `license_name` besides. Empty when nothing is stated.
    """
    card = info.get("cardData")
    card = card if isinstance(card, Mapping) else {}
    tags = info.get("tags")
    tagged = (
        tag.removeprefix(_TAG)
        for tag in (tags if isinstance(tags, list) else ())
        if isinstance(tag, str) and tag.startswith(_TAG)
    )
    stated = [*_texts(card.get("license_name")), *_texts(card.get("license")), *tagged]
    names = dict.fromkeys(_clean(name) for name in stated)
    return tuple(name for name in names if name and name != UNSTATED)[:MAX_NAMES]


def licence_of(info: Mapping[str, Any]) -> str:
    """Return the licences for people: "mit", "llama3", "mit, apache-2.0"; "" when none is stated.

    "other" is left out where the licence has a name of its own.
    """
    names = licence_names(info)
    own = [name for name in names if name != _OTHER]
    return ", ".join(own or names)


def check_licence(policy: HubConfig, named: Named) -> None:
    """Let a repo through, or not, as `[hub] licence_deny` and `licence_allow` say.

    One denied name refuses; with a list of allowed ones, one of the repo's must be on it. A repo
    that states nothing is called "unknown".

    Raises:
        LicenceRefused: Names the licence, the repo and the setting.
    """
    names = licence_names(named.info) or (UNSTATED,)
    shown = licence_of(named.info) or "not stated"
    for name in names:
        if _matches(name, policy.licence_deny):
            raise LicenceRefused(
                f"{named.repo} is not served here: its licence ({shown}) is denied by"
                f" `[hub] licence_deny` of this node, as {name!a}"
            )
    if policy.licence_allow and not any(_matches(name, policy.licence_allow) for name in names):
        raise LicenceRefused(
            f"{named.repo} is not served here: its licence ({shown}) is not among"
            " `[hub] licence_allow` of this node"
        )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _clean(name: str) -> str:
    """Return a name fit for messages and headers: one line of ASCII."""
    kept = "".join(letter if " " < letter < "\x7f" else "-" for letter in name.strip())
    return kept.lower()[:MAX_NAME_LETTERS]
