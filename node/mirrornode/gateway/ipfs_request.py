"""What a request to the IPFS gateway asks for, as values: path, format and conditions.

The format is the `format` of the query, else the first type of `Accept` that is one of ours, else
none: a file, or a page of a folder. Nothing is looked up here.
Spec: trustless gateway, "Request"; path gateway, "Request"; IPIP-0523 (`format` wins).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

MAX_SEGMENTS = 128
MAX_PATH_BYTES = 4096
MAX_RAW_PATH_LETTERS = 3 * MAX_PATH_BYTES
MAX_ACCEPT_TYPES = 32

RAW, CAR, RECORD, TAR = "raw", "car", "ipns-record", "tar"
JSON, CBOR, DAG_JSON, DAG_CBOR = "json", "cbor", "dag-json", "dag-cbor"

TYPES: Final[Mapping[str, str]] = {
    RAW: "application/vnd.ipld.raw",
    CAR: "application/vnd.ipld.car",
    RECORD: "application/vnd.ipfs.ipns-record",
    TAR: "application/x-tar",
    JSON: "application/json",
    CBOR: "application/cbor",
    DAG_JSON: "application/vnd.ipld.dag-json",
    DAG_CBOR: "application/vnd.ipld.dag-cbor",
}
_FORMATS: Final = {media: name for name, media in TYPES.items()}


class Refused(Exception):
    """The request is answered with an error status; `reason` is one line for people."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class IpfsRequest:
    """One request.

    Attributes:
        namespace: "ipfs" or "ipns".
        root: The CID or name, as it was written.
        segments: The path below it, decoded.
        has_slash: The path ends with one.
        format: "" for none, else one of `TYPES`.
        type_params: Parameters of the format's type in `Accept`.
        is_negotiated: The format came from `Accept`.
        query: Decoded parameters; the first of each.
        headers: Of the request; looked up by name in any case.
    """

    namespace: str
    root: str
    segments: tuple[str, ...]
    has_slash: bool
    format: str
    type_params: Mapping[str, str]
    is_negotiated: bool
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def url_path(self) -> str:
        """The content path, percent-encoded: what `X-Ipfs-Path` and links are made of."""
        parts = [self.namespace, self.root, *self.segments]
        path = "/" + "/".join(quote(part, safe="") for part in parts)
        return path + "/" if self.has_slash else path

    @property
    def only_if_cached(self) -> bool:
        """Whether the client wants an answer only if there is one here."""
        directives = self.headers.get("Cache-Control", "").lower().split(",")
        return any(directive.strip() == "only-if-cached" for directive in directives)

    def is_known(self, etag: str) -> bool:
        """Tell whether `If-None-Match` names what we would send."""
        given = self.headers.get("If-None-Match")
        if given is None:
            return False
        tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
        return "*" in tags or etag.removeprefix("W/") in tags

    def range_for(self, etag: str) -> str | None:
        """Return the `Range` that holds for a representation; of several ranges the first.

        `If-Range` with another tag, or with a date, which we never give out, asks for the whole.
        """
        asked = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if asked is None or (condition is not None and condition.strip() != etag):
            return None
        return asked.partition(",")[0]


def parse_request(
    raw_path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> IpfsRequest:
    """Return what is asked for.

    Args:
        raw_path: Still percent-encoded, without the query, beginning with `/ipfs/` or `/ipns/`.

    Raises:
        Refused: 400 for a path that is none, 406 for a format that does not exist, 414 for one
            that is too long.
    """
    if len(raw_path) > MAX_RAW_PATH_LETTERS:
        raise Refused(414, "the path is too long")
    if headers.get("Service-Worker", "").strip().lower() == "script":
        raise Refused(400, "service workers would see the paths of all other content here")
    _, quoted_namespace, *parts = raw_path.split("/")
    namespace = unquote(quoted_namespace)
    try:
        names = [unquote_to_bytes(part).decode() for part in parts if part]
    except UnicodeDecodeError as exc:
        raise Refused(400, "the path is not UTF-8") from exc
    if not names:
        raise Refused(400, "the path names no content")
    if len(names) - 1 > MAX_SEGMENTS or sum(len(name.encode()) for name in names) > MAX_PATH_BYTES:
        raise Refused(414, "the path is too long")
    if any("\0" in name for name in names):
        raise Refused(400, "the path has NUL in it")
    format_ = query.get("format", "")
    if format_ and format_ not in TYPES:
        raise Refused(406, f"format {format_[:40]!a} is not served here")
    accepted, params = _negotiated(headers.get("Accept", ""))
    return IpfsRequest(
        namespace=namespace,
        root=names[0],
        segments=tuple(names[1:]),
        has_slash=not parts[-1],
        format=format_ or accepted,
        type_params=params if format_ in ("", accepted) else {},
        is_negotiated=bool(accepted) and not format_,
        query=query,
        headers=headers,
    )


def _negotiated(accept: str) -> tuple[str, dict[str, str]]:
    """Return the first format that an `Accept` asks for by name, with its parameters."""
    for part in accept.split(",")[:MAX_ACCEPT_TYPES]:
        media, *fields = part.split(";")
        format_ = _FORMATS.get(media.strip().lower())
        if format_ is None:
            continue
        params = {}
        for field in fields:
            name, _, value = field.partition("=")
            params[name.strip().lower()] = value.strip().strip('"').lower()
        if params.pop("q", "1").rstrip("0.") != "":
            return format_, params
    return "", {}
