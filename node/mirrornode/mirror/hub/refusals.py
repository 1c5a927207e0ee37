"""From an origin's answer to a refusal in the Hub's words. Pure.

Only what carries an `X-Error-Code`, and a 401 (a token that the Hub does not know), is the Hub
speaking. Any other 4xx comes from a proxy or a mirror without that route: such an origin has not
answered, and the next one is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirrornode.errors import HubNotFound, HubRefusal, SourceRefused

if TYPE_CHECKING:
    from mirrornode.sources.hub_origin import HubOrigin
    from mirrornode.wire.hub import Repo

GATED = "GatedRepo"
NO_REPO = "RepoNotFound"
NO_REVISION = "RevisionNotFound"
NO_ENTRY = "EntryNotFound"
MAX_MESSAGE_LETTERS = 300

_NOT_FOUND = (NO_REPO, NO_REVISION, NO_ENTRY)


def check_answered(
    origin: HubOrigin, status: int, code: str, message: str, *, repo: Repo | None, subject: str
) -> None:
    """Return when an origin said yes.

    Args:
        subject: What was asked for, for messages: "org/name@main".

    Raises:
        HubRefusal, HubNotFound: The Hub's no, with its status and code.
        SourceRefused: The answer is not the Hub's; another origin may know better.
    """
    if 200 <= status < 300:
        return
    if not code and status != 401:
        raise SourceRefused(
            f"{origin.origin_id} answered {status} to {subject}",
            source_id=origin.origin_id,
            status=status,
        )
    raise refusal(origin.origin_id, status, code, message, repo=repo, subject=subject)


def refusal(
    origin_id: str, status: int, code: str, message: str, *, repo: Repo | None, subject: str
) -> HubRefusal:
    """Return the Hub's no as an error, with words of our own around the Hub's."""
    host = origin_id.removeprefix("hub:")
    if code == NO_REPO:
        text = f"{host} knows no repo {repo or subject}, or does not show it to this user"
    elif code == NO_REVISION:
        text = f"{host} knows no such revision: {subject}"
    elif code == NO_ENTRY:
        text = f"{host} knows no such entry: {subject}"
    elif code == GATED:
        text = f"{repo or subject} is gated: {host} has not let this user in; ask for access there"
        if said := one_line(message):
            text += f"; it says: {said}"
    else:
        said = one_line(message) or f"status {status}"
        text = f"{host} refused {subject}: {said}"
    kind = HubNotFound if code in _NOT_FOUND else HubRefusal
    return kind(text, status=status, code=code)


def again(refused: HubRefusal) -> HubRefusal:
    """Return the same no anew: one that is kept must not gather the frames of all who raise it."""
    return type(refused)(
        str(refused), status=refused.status, code=refused.code, commit=refused.commit
    )


def is_unknown_token(error: HubRefusal) -> bool:
    """Tell whether the Hub said that it does not know the token at all."""
    return error.status == 401 and not error.code


def one_line(text: str) -> str:
    """Return a foreign text fit for a message: printable ASCII, of bounded length."""
    kept = "".join(letter if " " <= letter <= "~" else " " for letter in text)
    return " ".join(kept.split())[:MAX_MESSAGE_LETTERS]
