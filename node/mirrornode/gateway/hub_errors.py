"""What a Hub client is told when something goes wrong: one table from errors to status and code.

Clients decide by `X-Error-Code` which exception to raise, and show `X-Error-Message` to people;
without a code most of them say "check your connection". 502, 503 and 504 they try again; 401, 403
and 404 they believe. So those are only said when they are known to be true; but where no origin can
be asked about a repo that is unheard of here, the Hub's own client is given 404 with that reason.
The table names every class of `mirrornode.errors`; a test proves that none is missing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from aiohttp import web
from multidict import CIMultiDict

from mirrornode import errors
from mirrornode.errors import Blame, MirrorError

log = logging.getLogger(__name__)

MAX_MESSAGE_LETTERS = 800
MAX_RETRY_AFTER_S = 3600

REPO_NOT_FOUND = "RepoNotFound"
ENTRY_NOT_FOUND = "EntryNotFound"
BAD_TOKEN = "Invalid credentials in Authorization header"  # clients compare it letter by letter
GATED_REPO = "GatedRepo"  # the one code of a refusal that clients pass on instead of guessing

ANSWERS: Mapping[type[MirrorError], tuple[int, str]] = {
    errors.MirrorError: (500, ""),
    errors.TargetError: (400, ""),
    errors.ConfigError: (500, ""),
    errors.ContentError: (502, ""),
    errors.CidMismatch: (502, ""),
    errors.MalformedCid: (502, ""),
    errors.MalformedNode: (502, ""),
    errors.UnsafeName: (502, ""),
    errors.MalformedCar: (502, ""),
    errors.HashNotAllowed: (502, ""),
    errors.LimitExceeded: (502, ""),
    errors.StoreError: (500, ""),
    errors.BlockNotFound: (500, ""),
    errors.NotAllHere: (500, ""),
    # The next try finds that it changed, and fetches it.
    errors.FileChanged: (503, ""),
    errors.DiskFull: (507, ""),
    errors.PathRefused: (500, ""),
    errors.HomeLocked: (500, ""),
    errors.NodeEnding: (503, ""),
    errors.Stopped: (500, ""),  # by a person: not to be tried again at once
    errors.CatalogUnusable: (500, ""),
    errors.SourceError: (502, ""),
    errors.SourceGone: (502, ""),
    errors.SourceTooSlow: (504, ""),
    errors.SourceRefused: (502, ""),
    errors.OriginChanged: (502, ""),
    errors.ProtocolError: (500, ""),
    errors.LocalProtocolError: (500, ""),
    errors.RemoteProtocolError: (502, ""),
    errors.NoProviders: (504, ""),
    errors.AccessRefused: (403, GATED_REPO),
    errors.LicenceRefused: (403, GATED_REPO),
    # These bring their own; what stands here is for one that came without.
    errors.HubRefusal: (403, GATED_REPO),
    errors.HubNotFound: (404, REPO_NOT_FOUND),
    # Not 404: that the repo does not exist is not known. `refuse` has the one exception.
    errors.OriginAway: (504, ""),
    errors.NotKnownHere: (504, ""),
    errors.Incomplete: (502, ""),
    errors.DaemonGone: (500, ""),
}

# What the client tells of itself when nobody else does, in 0.24 to 2.4.
_OWN_AGENTS = frozenset(
    {
        "unknown", "huggingface-cli", "hf", "hf_hub", "python", "torch", "tensorflow", "fastai",
        "fastcore", "agent", "origin",
    }
)  # fmt: skip
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


def refuse(exc: MirrorError, *, kind: str = "", agent: str = "") -> web.Response:
    """Return the answer to a request that ended in an error.

    Args:
        kind: Of the request, as in `wire.hub.HubRequest`.
        agent: The client's `User-Agent`.
    """
    status, code = _listed(exc)
    message = str(exc)
    headers: dict[str, str] = {}
    if isinstance(exc, errors.HubRefusal):
        status = exc.status if 400 <= exc.status <= 499 else 502
        code = exc.code or _code_of(exc, status)
        if exc.commit:
            headers["X-Repo-Commit"] = exc.commit
    elif isinstance(exc, errors.SourceRefused) and exc.status == 401:
        # The asker may have the file, and yet its origin does not take the token.
        status, message = 401, BAD_TOKEN
    elif isinstance(exc, errors.SourceRefused) and exc.status == 429:
        status = 429
        wait_s = exc.retry_after_s or 1.0
        headers["Retry-After"] = str(int(min(max(wait_s, 1.0), MAX_RETRY_AFTER_S)))
    elif isinstance(exc, errors.OriginAway):
        # Newer clients show this, and would else show only their guess.
        headers["X-HF-Warning"] = f"origin away; {header_text(str(exc))}"
        # With a code clients give the reason instead of blaming the connection, and look into their
        # own cache first all the same.
        if kind == "revision":  # asked at the start of every snapshot
            code = REPO_NOT_FOUND
        elif kind == "resolve" and isinstance(exc, errors.NotKnownHere) and is_client_alone(agent):
            # Not 504: 0.36 tries that again for half a minute and then looks at no code.
            status, code = 404, REPO_NOT_FOUND
    if status == 401 and not code and BAD_TOKEN in message:
        message = BAD_TOKEN
    if exc.blame is Blame.LOCAL:
        # Its text may name paths of this machine, and the asker may sit at another.
        log.error("hub request failed kind=%s reason=%s", kind, exc)
        message = f"this node failed ({type(exc).__name__}); its log says more"
    return refusal(status, message, code=code, headers=headers)


def is_client_alone(agent: str) -> bool:
    """Tell whether the Hub's client acts for itself, not for a library such as transformers.

    Libraries ask for files that a model need not have, and would take a repo that is not found for
    no model at all, although all that it needs lies in the client's own cache.
    """
    names = {part.strip().partition("/")[0] for part in agent.split(";")}
    return "hf_hub" in names and names <= _OWN_AGENTS


def refusal(
    status: int, message: str, *, code: str = "", headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return an answer that says no, in headers for clients and in JSON for people."""
    text = header_text(message)
    answer = web.json_response({"error": text}, status=status)
    answer.headers["X-Error-Message"] = text
    if code:
        answer.headers["X-Error-Code"] = header_text(code)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    answer.headers["Cache-Control"] = "no-store"
    answer.headers.update(CIMultiDict(headers or {}))
    return answer


def header_text(text: str) -> str:
    """Return a text as one line that any HTTP client can read in a header."""
    line = _UNPRINTABLE.sub(" ", text).strip()
    return line if len(line) <= MAX_MESSAGE_LETTERS else line[:MAX_MESSAGE_LETTERS] + "..."


def _listed(exc: MirrorError) -> tuple[int, str]:
    for cls in type(exc).__mro__:
        if cls in ANSWERS:
            return ANSWERS[cls]
    return ANSWERS[MirrorError]


def _code_of(exc: errors.HubRefusal, status: int) -> str:
    """Return the code for a refusal without one; 401 without one means a bad token to clients."""
    if status == 404:
        return ENTRY_NOT_FOUND if exc.commit else REPO_NOT_FOUND
    return GATED_REPO if status == 403 else ""
