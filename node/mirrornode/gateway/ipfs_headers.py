"""The headers of the IPFS gateway: caching, names for downloads, and a bound on all together.

Kubo reads at most 2 KiB of headers when it fetches blocks over HTTP. What a client can do without
is left out before that: `Content-Location`, `X-Ipfs-Roots`, `X-Ipfs-Path`, in this order.
Spec: trustless gateway and path gateway, "Response Headers"; RFC 6266.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from mirrornode.gateway.answers import CACHE_FOREVER

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.gateway.ipfs_request import IpfsRequest

MAX_HEADER_BYTES = 1800  # the server itself adds Date, Server, Connection, Transfer-Encoding
MAX_FILE_NAME_BYTES = 255
CACHE_LISTING = "public, max-age=604800, stale-while-revalidate=2678400"

CORS_HEADERS: Mapping[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Range, User-Agent, X-Requested-With",
    "Access-Control-Expose-Headers": (
        "Content-Length, Content-Range, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, "
        "X-Stream-Output"
    ),
}
# All content is served under one origin, which is the Hub endpoint's, too. A page that came from a
# stranger is shown, but may run nothing and belongs to no origin.
SANDBOX = "sandbox"

_EXPENDABLE = ("Content-Location", "X-Ipfs-Roots", "X-Ipfs-Path")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_PLAIN = re.compile(r'[^ -~]|["\\%]')

# The library's own table only: a machine's mime.types must not change what is answered. What a
# model folder is described in is shown as text.
_TYPES = mimetypes.MimeTypes(filenames=())
_TEXTS = frozenset(
    {".cfg", ".conf", ".ini", ".jinja", ".jsonl", ".log", ".md", ".py", ".rst", ".sh", ".toml",
     ".txt", ".yaml", ".yml"}
)  # fmt: skip


def media_type_of(name: str) -> str:
    """Return the type of a file by its name; content is never looked at."""
    lower = name.lower()
    dot = lower.rfind(".")
    if lower[dot:] in _TEXTS and dot >= 0:
        return "text/plain; charset=utf-8"
    found, encoding = _TYPES.guess_type("file" + lower[dot:] if dot >= 0 else "")
    if found is None or encoding is not None:
        return "application/octet-stream"
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


def content_disposition(kind: str, name: str) -> str:
    """Return "inline" or "attachment" with a file name, in plain ASCII and in UTF-8."""
    name = _CONTROL.sub("_", name.replace("/", "_"))
    name = name.encode("utf-8", "replace")[:MAX_FILE_NAME_BYTES].decode("utf-8", "ignore")
    plain = _NOT_PLAIN.sub("_", name)
    given = f'{kind}; filename="{plain}"'
    return given if plain == name else f"{given}; filename*=UTF-8''{quote(name, safe='')}"


def short_hash(*parts: str) -> str:
    """Return a few letters that stand for some texts in an entity tag."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def with_query(url_path: str, query: Mapping[str, str]) -> str:
    """Return a path, percent-encoded already, with parameters behind it."""
    return f"{url_path}?{urlencode(query)}" if query else url_path


def content_headers(
    request: IpfsRequest,
    roots: Sequence[Cid],
    etag: str,
    media_type: str,
    *,
    cache: str = CACHE_FOREVER,
) -> dict[str, str]:
    """Return the headers of a good answer, without its length."""
    headers = {
        "Content-Type": media_type,
        "ETag": etag,
        "Cache-Control": cache,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
        "X-Ipfs-Path": request.url_path,
        "X-Ipfs-Roots": ",".join(map(str, roots)),
    }
    if request.is_negotiated:
        asked = {**request.query, "format": request.format}
        headers["Content-Location"] = with_query(request.url_path, asked)
    return headers


def bounded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers without those that make them too many bytes."""
    kept = dict(headers)
    for name in _EXPENDABLE:
        if sum(len(key) + len(value) + 4 for key, value in kept.items()) <= MAX_HEADER_BYTES:
            break
        kept.pop(name, None)
    return kept
