"""What to answer to a request of the IPFS gateway, out of one shelf.

Decides only: small answers come with their body, files of this disk opened, all else as a
`Stream` that is begun when it is to be sent. Blocking; run in threads. What the shelf does not
hand out to peers is not here for anybody: there is no other way to content in this module.
Spec: trustless gateway; path gateway.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirrornode.content.cid import DAG_PB, RAW, Cid
from mirrornode.errors import (
    BlockNotFound,
    ContentError,
    MirrorError,
    NoProviders,
    TargetError,
)
from mirrornode.gateway import ipfs_request as formats
from mirrornode.gateway.answers import CACHE_FOREVER, Answer, refusal
from mirrornode.gateway.ipfs_blocks import Entity, LocalBlocks
from mirrornode.gateway.ipfs_car import DAG_CBOR_CODEC, car_pieces, car_wanted
from mirrornode.gateway.ipfs_file import file_pieces
from mirrornode.gateway.ipfs_folder import folder_page
from mirrornode.gateway.ipfs_headers import (
    CACHE_LISTING,
    SANDBOX,
    content_disposition,
    content_headers,
    media_type_of,
    short_hash,
    with_query,
)
from mirrornode.gateway.ipfs_page import PAGE_POLICY, PAGE_VERSION, PageFrame, render_page
from mirrornode.gateway.ipfs_path import Place, follow
from mirrornode.gateway.ipfs_reply import Piece, Reply, Stream
from mirrornode.gateway.ipfs_request import TYPES, IpfsRequest, Refused
from mirrornode.gateway.ipfs_tar import tar_of
from mirrornode.wire.ranges import RangeNotSatisfiable, Run, contains, content_range, parse_range

if TYPE_CHECKING:
    from mirrornode.mirror.shelf import OpenFile, Shelf

log = logging.getLogger(__name__)

INDEX_NAME = "index.html"
MAX_CURSOR_LETTERS = 1024
HTML_TYPE = "text/html; charset=utf-8"

_CONDITIONS = frozenset({"if-none-match", "if-range", "range"})

_JSON_CODEC, _CBOR_CODEC, _DAG_JSON_CODEC = 0x0200, 0x51, 0x0129
# Only the format that the block already has: nothing is converted (IPIP-0524).
_CODECS_OF: Mapping[str, tuple[int, ...]] = {
    formats.JSON: (_JSON_CODEC, _DAG_JSON_CODEC),
    formats.CBOR: (_CBOR_CODEC, DAG_CBOR_CODEC),
    formats.DAG_JSON: (_DAG_JSON_CODEC,),
    formats.DAG_CBOR: (DAG_CBOR_CODEC,),
}
_FORMAT_OF_CODEC = {
    _JSON_CODEC: formats.JSON,
    _CBOR_CODEC: formats.CBOR,
    _DAG_JSON_CODEC: formats.DAG_JSON,
    DAG_CBOR_CODEC: formats.DAG_CBOR,
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about once its name is resolved.

    Attributes:
        root: The CID that the path begins with.
        segments: The path below it, that of a name's record included.
        cache: `Cache-Control` of an answer that a name gave, "" for one that never changes.
    """

    root: Cid
    segments: tuple[str, ...]
    cache: str = ""


class IpfsAnswers:
    """Decides answers; thread-safe."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._blocks = LocalBlocks(shelf)

    def answer(self, request: IpfsRequest, target: Target) -> Reply:
        """Return the answer to one request.

        Raises:
            Refused: With the status and reason to answer instead.
        """
        try:
            reply = self._answer(request, target)
        except MirrorError as exc:
            raise refused_for(exc, only_if_cached=request.only_if_cached) from exc
        if request.is_known(reply.headers["ETag"]):
            if isinstance(reply, Answer) and reply.file is not None:
                os.close(reply.file.descriptor)
            return Answer(304, reply.headers)
        return reply

    def _answer(self, request: IpfsRequest, target: Target) -> Reply:
        place = follow(target.root, target.segments, self._blocks)
        format_ = request.format
        if format_ == formats.RECORD:
            raise Refused(400, "a record is asked for by a name: /ipns/NAME?format=ipns-record")
        if format_ == formats.RAW:
            return self._raw(request, target, place)
        if format_ == formats.CAR:
            return self._car(request, target, place)
        if format_ == formats.TAR:
            return self._tar(request, target, place)
        if format_ in _CODECS_OF:
            if place.cid.codec in _CODECS_OF[format_]:
                return self._document(request, target, place, format_)
            if not (request.is_negotiated and place.cid.codec in (RAW, DAG_PB)):
                raise Refused(406, f"{place.cid} is not {format_}, and is not converted here")
            # `Accept: application/json` of a program that wants a file with JSON in it.
        if place.cid.codec in _FORMAT_OF_CODEC:
            return self._document(request, target, place, _FORMAT_OF_CODEC[place.cid.codec])
        return self._unixfs(request, target, place)

    def _raw(self, request: IpfsRequest, target: Target, place: Place) -> Answer:
        block = self._blocks.read(place.cid)
        headers = _headers(request, target, place, f'"{place.cid}.raw"', TYPES[formats.RAW])
        headers["Content-Disposition"] = _attachment(request, f"{place.cid}.bin")
        return _ranged(request, headers, block.data)

    def _document(self, request: IpfsRequest, target: Target, place: Place, format_: str) -> Answer:
        block = self._blocks.read(place.cid)
        headers = _headers(request, target, place, f'"{place.cid}.{format_}"', TYPES[format_])
        suffix = "cbor" if "cbor" in format_ else "json"
        headers["Content-Disposition"] = _attachment(request, f"{place.cid}.{suffix}")
        return _ranged(request, headers, block.data)

    def _car(self, request: IpfsRequest, target: Target, place: Place) -> Stream:
        wanted = car_wanted(request.query, request.type_params)
        if not place.cid.is_identity:
            self._blocks.read(place.cid)  # a root that is missing is a 404, not a cut stream
        tag = short_hash(str(wanted), request.url_path)
        headers = _headers(
            request, target, place, f'W/"{target.root}.car.{tag}"', wanted.media_type
        )
        headers["Content-Disposition"] = _attachment(request, f"{place.cid}.car")
        headers["Accept-Ranges"] = "none"
        return Stream(200, headers, lambda: (None, car_pieces(place, wanted, self._blocks)))

    def _tar(self, request: IpfsRequest, target: Target, place: Place) -> Stream:
        if place.cid.codec not in (RAW, DAG_PB):
            raise Refused(406, f"{place.cid} is neither a file nor a folder")
        name = request.segments[-1] if request.segments else str(place.cid)
        headers = _headers(request, target, place, f'W/"{place.cid}.x-tar"', TYPES[formats.TAR])
        headers["Content-Disposition"] = _attachment(request, f"{name}.tar")
        headers["Accept-Ranges"] = "none"
        return Stream(200, headers, lambda: tar_of(place.cid, name, self._shelf, self._blocks))

    def _unixfs(self, request: IpfsRequest, target: Target, place: Place) -> Reply:
        if not place.cid.is_identity:
            opened = self._shelf.open_file(place.cid)
            if opened is not None:
                return self._opened(request, target, place, opened)
        entity = self._blocks.entity(place.cid)
        if entity.is_folder:
            return self._folder(request, target, place, entity)
        if entity.is_symlink and entity.message is not None:
            headers = _headers(request, target, place, f'"{place.cid}"', "inode/symlink")
            return Answer(200, headers, entity.message.data or b"")
        if not entity.is_file:
            raise Refused(406, f"{place.cid} is no file or folder; ask for its block: ?format=raw")
        return self._from_blocks(request, target, place, entity)

    def _opened(
        self, request: IpfsRequest, target: Target, place: Place, opened: OpenFile
    ) -> Answer:
        answer = Answer(404, {})
        try:
            headers = _file_headers(request, target, place)
            status, run = _run_of(request, headers, opened.size_bytes)
            if opened.runs is None or contains(opened.runs, *run):
                answer = Answer(status, headers, file=opened, run=run)
                return answer
            raise Refused(404, "these bytes are not here yet")
        finally:
            if answer.file is None:
                os.close(opened.descriptor)

    def _from_blocks(
        self, request: IpfsRequest, target: Target, place: Place, entity: Entity
    ) -> Reply:
        headers = _file_headers(request, target, place)
        status, (start, stop) = _run_of(request, headers, entity.size_bytes)
        if entity.message is None:
            return Answer(status, headers, entity.block.data[start:stop])

        def begin() -> tuple[int, Iterator[Piece]]:
            return stop - start, file_pieces(place.cid, start, stop, self._blocks)

        return Stream(status, headers, begin, stop - start)

    def _folder(self, request: IpfsRequest, target: Target, place: Place, entity: Entity) -> Reply:
        if not request.has_slash:
            goal = with_query(f"{request.url_path}/", request.query)
            raise Refused(301, "folders end with a slash", {"Location": goal})
        if (index := self._index(place)) is not None:
            return self._index_page(request, target, place, index)
        after = _cursor_of(request)
        tag = short_hash(PAGE_VERSION, after.hex(), request.url_path)
        etag = f'"DirIndex-{tag}_CID-{place.cid}"'
        headers = _headers(request, target, place, etag, HTML_TYPE, CACHE_LISTING)
        headers["Content-Security-Policy"] = PAGE_POLICY
        headers["Referrer-Policy"] = "no-referrer"

        def begin() -> tuple[int, Iterator[Piece]]:
            stored = self._shelf.find_root(place.cid)
            name = request.segments[-1] if request.segments else stored.name if stored else ""
            size_bytes = stored.size_bytes if stored else None
            frame = PageFrame(
                namespace=request.namespace,
                root=request.root,
                segments=request.segments,
                name=name,
                cid=place.cid,
                size_bytes=size_bytes,
                is_continued=bool(after),
            )
            body = render_page(frame, folder_page(entity, self._blocks, after)).encode()
            return len(body), iter([body])

        return Stream(200, headers, begin)

    def _index(self, place: Place) -> Place | None:
        try:
            index = follow(place.cid, [INDEX_NAME], self._blocks)
        except TargetError:
            return None
        return None if self._blocks.is_folder(index.cid) else index

    def _index_page(
        self, request: IpfsRequest, target: Target, folder: Place, index: Place
    ) -> Reply:
        """Return the index page of a folder, under the folder's own tag."""
        reply = self._unixfs(
            replace(request, has_slash=False, headers=_without_conditions(request.headers)),
            replace(target, segments=(*target.segments, INDEX_NAME)),
            index,
        )
        headers = {
            **reply.headers,
            "ETag": f'"{folder.cid}"',
            "X-Ipfs-Path": request.url_path,
            "X-Ipfs-Roots": ",".join(map(str, folder.roots)),
        }
        return replace(reply, headers=headers)


def refused_for(exc: MirrorError, *, only_if_cached: bool = False) -> Refused:
    """Return how to say that content cannot be answered with."""
    if isinstance(exc, BlockNotFound):
        return Refused(412 if only_if_cached else 404, str(exc))
    if isinstance(exc, (TargetError, NoProviders)):
        return Refused(404, str(exc))
    if isinstance(exc, ContentError):
        return Refused(422, f"this content cannot be read: {exc}")
    log.warning("request failed reason=%s", exc)
    return Refused(500, "this node cannot read its own content now; its log says why")


def answer_of(refused: Refused) -> Answer:
    """Return the answer to a request that is refused."""
    headers = {"X-Content-Type-Options": "nosniff", **refused.headers}
    return refusal(refused.status, refused.reason, headers)


def _headers(
    request: IpfsRequest,
    target: Target,
    place: Place,
    etag: str,
    media_type: str,
    cache: str = CACHE_FOREVER,
) -> dict[str, str]:
    return content_headers(request, place.roots, etag, media_type, cache=target.cache or cache)


def _file_headers(request: IpfsRequest, target: Target, place: Place) -> dict[str, str]:
    name = request.query.get("filename") or (target.segments[-1] if target.segments else "")
    headers = _headers(request, target, place, f'"{place.cid}"', media_type_of(name))
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Security-Policy"] = SANDBOX
    is_download = request.query.get("download") == "true"
    if is_download or "filename" in request.query:
        kind = "attachment" if is_download else "inline"
        headers["Content-Disposition"] = content_disposition(kind, name or str(place.cid))
    return headers


def _attachment(request: IpfsRequest, name: str) -> str:
    return content_disposition("attachment", request.query.get("filename") or name)


def _ranged(request: IpfsRequest, headers: dict[str, str], body: bytes) -> Answer:
    headers["Accept-Ranges"] = "bytes"
    status, (start, stop) = _run_of(request, headers, len(body))
    return Answer(status, headers, body[start:stop])


def _run_of(request: IpfsRequest, headers: dict[str, str], size_bytes: int) -> tuple[int, Run]:
    """Return status and run of an answer, and note the run in its headers.

    Raises:
        Refused: 416, the range lies outside.
    """
    etag = headers["ETag"]
    if request.is_known(etag):
        return 200, (0, size_bytes)  # which becomes a 304
    try:
        run = parse_range(request.range_for(etag), size_bytes)
    except RangeNotSatisfiable as exc:
        limits = {"Content-Range": f"bytes */{size_bytes}"}
        raise Refused(416, "the range lies outside the content", limits) from exc
    if run is None:
        return 200, (0, size_bytes)
    headers["Content-Range"] = content_range(*run, size_bytes)
    return 206, run


def _cursor_of(request: IpfsRequest) -> bytes:
    text = request.query.get("after", "")
    try:
        if len(text) > MAX_CURSOR_LETTERS:
            raise ValueError("too long")
        return bytes.fromhex(text)
    except ValueError as exc:
        raise Refused(400, "there is no such page of this folder") from exc


def _without_conditions(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return request headers that ask for the whole: the page has its folder's tag."""
    return {name: value for name, value in headers.items() if name.lower() not in _CONDITIONS}
