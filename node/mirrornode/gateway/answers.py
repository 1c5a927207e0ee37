"""What to answer to `GET|HEAD /ipfs/{cid}`: one block by `?format=raw`, or a file by `Range`.

The two requests that peers and gateways have in common, decided once for both faces: the gateway
(aiohttp) and the peer plane (threads). This module reads small blocks and opens files; sending is
the face's business.
Spec: trustless gateway, "Raw"; path gateway, "Range"; RFC 9110.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, FileChanged
from mirrornode.mirror.shelf import is_folder
from mirrornode.store.stamps import CHANGED
from mirrornode.wire.ranges import RangeNotSatisfiable, Run, contains, content_range, parse_range

if TYPE_CHECKING:
    from mirrornode.mirror.shelf import OpenFile, Shelf

PIECE_BYTES = 1 << 20  # read in one go
WRITE_BYTES = 512 * 1024  # encrypted in one go: stays in the processor's cache
MAX_CID_CHARS = 512
CACHE_FOREVER = "public, max-age=29030400, immutable"  # as gateways write it
RAW_TYPE = "application/vnd.ipld.raw"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and either a body or the run of an open file.

    `headers` never hold Content-Length: `size_bytes` is it. Whoever sends the answer closes `file`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    file: OpenFile | None = None
    run: Run = (0, 0)

    @property
    def size_bytes(self) -> int:
        return len(self.body) if self.file is None else self.run[1] - self.run[0]


class ContentAnswers:
    """Decides answers out of one shelf. Blocking, thread-safe."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def get(self, cid_text: str, format_: str, headers: Mapping[str, str]) -> Answer:
        """Return the answer to one request.

        Args:
            format_: The `format` of the query, "" for none.
            headers: Of the request; looked up by name.
        """
        if len(cid_text) > MAX_CID_CHARS:
            return refusal(400, "the CID is too long")
        try:
            cid = Cid.parse(cid_text)
        except ContentError as exc:
            return refusal(400, f"not a CID: {exc}")
        if not format_ and RAW_TYPE in headers.get("Accept", ""):
            format_ = "raw"
        if format_ == "raw":
            return self._block(cid, headers)
        if format_:
            return refusal(406, f"format {format_[:40]} is not served here, raw is")
        return self._file(cid, headers)

    def check_unchanged(self, opened: OpenFile) -> None:
        """Look before each piece that the file still is the one that was hashed.

        Raises:
            ConnectionResetError: It is not. The head of the answer has promised more, so only
                cutting the connection tells the other side.
        """
        self._shelf.note_served()
        if not opened.is_unchanged():
            self.withdraw(opened)
            raise ConnectionResetError("the file changed while it was sent")

    def withdraw(self, opened: OpenFile) -> None:
        """Take a file that changed out of everything this node offers."""
        self._shelf.withdraw(FileChanged(opened.path, CHANGED))

    def _block(self, cid: Cid, request: Mapping[str, str]) -> Answer:
        block = self._shelf.read_block(cid)
        if block is None:
            return refusal(404, f"block {cid} is not here")
        etag = f'"{cid}.raw"'
        headers = {
            **_common_headers(cid, etag),
            "Content-Type": RAW_TYPE,
            "Content-Disposition": f'attachment; filename="{cid}.bin"',
            "X-Ipfs-Roots": str(cid),
        }
        return Answer(304, headers) if _is_known(request, etag) else Answer(200, headers, block)

    def _file(self, cid: Cid, request: Mapping[str, str]) -> Answer:
        opened = self._shelf.open_file(cid)
        if opened is None:
            block = self._shelf.read_block(cid)
            if block is None or not is_folder(cid, block):
                # Of a file, inner nodes may be here without its bytes: it changed, or is in pieces.
                return refusal(404, f"{cid} is not here")
            return refusal(406, f"{cid} is a folder; ask for its block with ?format=raw")
        answer = _of_file(cid, opened, request)
        if answer.file is None:
            os.close(opened.descriptor)
        return answer


def _of_file(cid: Cid, opened: OpenFile, request: Mapping[str, str]) -> Answer:
    etag = f'"{cid}"'
    headers = {
        **_common_headers(cid, etag),
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
    }
    size = opened.size_bytes
    if _is_known(request, etag):
        return Answer(304, headers)
    try:
        run = parse_range(request.get("Range"), size)
    except RangeNotSatisfiable:
        return refusal(416, "the range lies outside the file", {"Content-Range": f"bytes */{size}"})
    start, stop = run or (0, size)
    if opened.runs is not None and not contains(opened.runs, start, stop):
        return refusal(404, "these bytes are not here yet")
    if run is None:
        return Answer(200, headers, file=opened, run=(start, stop))
    headers["Content-Range"] = content_range(start, stop, size)
    return Answer(206, headers, file=opened, run=(start, stop))


def refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that says no, in plain text."""
    plain = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    return Answer(status, plain, f"{reason}\n".encode())


def _common_headers(cid: Cid, etag: str) -> dict[str, str]:
    return {
        "ETag": etag,
        "Cache-Control": CACHE_FOREVER,
        "X-Ipfs-Path": f"/ipfs/{cid}",
        "X-Content-Type-Options": "nosniff",
    }


def _is_known(request: Mapping[str, str], etag: str) -> bool:
    """Tell whether `If-None-Match` names what we would send."""
    given = request.get("If-None-Match")
    if given is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return "*" in tags or etag in tags
