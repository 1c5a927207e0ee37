"""The headers of the Hub endpoint's good answers.

Each is here because a client needs it: `X-Repo-Commit` and `ETag` name the snapshot and the blob
in its cache, `Accept-Ranges` lets llama.cpp resume, `Digest` has aria2 check what it put together.
Xet is never named, not even to say no: a client that sees a trace of it asks for nothing else.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

from multidict import CIMultiDict

from mirrornode.gateway.hub_errors import header_text
from mirrornode.store.hub_records import is_peers_word

if TYPE_CHECKING:
    from mirrornode.mirror.hub.named import Named
    from mirrornode.wire.hub import HubFile

CACHE_FOREVER = "public, max-age=31536000, immutable"
CACHE_REF = "public, max-age=10"  # a branch may move; this node itself looks once in `ref_ttl_s`
CACHE_NEVER = "private, no-store"  # what not everybody may see

# Clients since 0.34 refuse larger files over plain HTTP when they are told the size.
MAX_TOLD_BYTES = 50_000_000_000
SIZE_OPTIONAL_SINCE = (1, 31)

# Licences without conditions on use; for any other one the user is told to look.
FREE_LICENCES = frozenset(
    {"apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "cc0-1.0",
     "cc-by-4.0", "unlicense", "wtfpl", "pddl", "odc-by", "afl-3.0", "artistic-2.0", "bsl-1.0"}
)  # fmt: skip

_HUB_VERSION = re.compile(r"\bhf_hub/(\d{1,4})\.(\d{1,4})", re.ASCII)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 ._+()=@-]", re.ASCII)


def named_headers(named: Named, *, is_pinned: bool) -> CIMultiDict[str]:
    """Return what every answer about a commit carries.

    Args:
        is_pinned: The request named the commit itself, so that its answer never changes.
    """
    headers = CIMultiDict({"X-Repo-Commit": named.commit})
    if not named.is_open:  # what a peer says of a commit may turn out wrong, too
        headers["Cache-Control"] = CACHE_NEVER
        headers["Vary"] = "Authorization"
    elif is_pinned:
        headers["Cache-Control"] = CACHE_FOREVER
    else:
        headers["Cache-Control"] = "no-cache" if named.warning else CACHE_REF
    for text in _warnings(named):
        headers.add("X-HF-Warning", header_text(text))
    return headers


def file_headers(named: Named, file: HubFile, *, is_pinned: bool) -> CIMultiDict[str]:
    """Return the headers of a file's bytes, except those on its size."""
    headers = named_headers(named, is_pinned=is_pinned)
    name = file.path.rpartition("/")[2]
    headers["ETag"] = f'"{file.etag}"'
    if file.sha256:
        headers["X-Linked-Etag"] = f'"{file.sha256}"'
        # RFC 3230: of the whole file, also with a part of it.
        headers["Digest"] = f"SHA-256={b64encode(bytes.fromhex(file.sha256)).decode()}"
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Type"] = "application/octet-stream"
    headers["Content-Disposition"] = (
        f"inline; filename*=UTF-8''{quote(name, safe='')}; "
        f'filename="{_NOT_PLAIN.sub("_", name)}";'
    )
    # A page in a repo must not run as one of this machine's.
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return headers


def may_tell_size(size_bytes: int, user_agent: str) -> bool:
    """Tell whether HEAD may name the size; GET always does, and clients then check it."""
    if size_bytes <= MAX_TOLD_BYTES:
        return True
    match = _HUB_VERSION.search(user_agent)
    return match is None or (int(match[1]), int(match[2])) < SIZE_OPTIONAL_SINCE


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Tell whether `If-None-Match` names this content."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or f'"{etag}"' in tags


def _warnings(named: Named) -> list[str]:
    """Return `topic; text` for each thing to know; clients show each topic once."""
    texts = []
    if named.warning:
        texts.append(f"names {named.repo}; {named.warning}")
    elif is_peers_word(named.vouched_by):
        peer = named.vouched_by.removeprefix("peer:")
        texts.append(f"names {named.repo}; {named.repo} is what peer {peer} says, not the Hub")
    if named.licence and not FREE_LICENCES.issuperset(named.licence.lower().split(", ")):
        texts.append(
            f"licence {named.repo}; {named.repo} is under the licence {named.licence}: "
            "see its terms before use"
        )
    return texts
