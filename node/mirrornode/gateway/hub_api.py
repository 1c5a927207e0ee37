"""The API face of the Hub endpoint: what repos, revisions and folders there are, in the Hub's JSON.

What is the same for ever at one commit is answered from what this node knows; what only the origin
knows (accounts, commit titles, security scans) is passed on to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from aiohttp import web

from mirrornode.errors import HubNotFound, HubRefusal, OriginAway
from mirrornode.gateway.hub_asked import Asked, is_true
from mirrornode.gateway.hub_errors import ENTRY_NOT_FOUND, header_text, refusal
from mirrornode.gateway.hub_headers import named_headers
from mirrornode.wire.hub import paths_info_records, sibling_records, tree_records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from mirrornode.gateway.hub_ports import HubPorts
    from mirrornode.mirror.hub.named import Named
    from mirrornode.sources.hub_origin import OriginAnswer

# The Hub's own pages have 1000; llama.cpp reads the first one only.
PAGE_RECORDS = 5000
MAX_PATHS = 10_000
MAX_BODY_BYTES = 4 << 20
KEPT_LISTINGS = 2  # of several pages; a client asks for them one after the other
OUR_CURSOR = "at-"  # so that one of the origin's is not taken for ours

_LINK = re.compile(r'<([^<>]{1,8000})>;\s*rel="?next"?')

Listing = list[dict[str, Any]]


class HubApiFace:
    """Answers API requests that name a repo."""

    def __init__(self, ports: HubPorts) -> None:
        self._ports = ports
        self._listings: OrderedDict[tuple[str, str, str, bool], Listing] = OrderedDict()
        self._answers: Mapping[str, Callable[[Asked], Awaitable[web.Response]]] = {
            "model-info": self._info,
            "revision": self._info,
            "tree": self._tree,
            "paths-info": self._paths_info,
            "auth-check": self._auth_check,
            "refs": self._pass_on,
            "commits": self._pass_on,
        }

    async def answer(self, asked: Asked) -> web.Response:
        """Answer one request of the kinds of the table above.

        Raises:
            MirrorError: It cannot be answered.
            TimeoutError: Not until the deadline.
        """
        async with asyncio.timeout_at(asked.deadline):
            if self._ports.has_licence_rules:
                await self._check_licence(asked)
            return await self._answers[asked.hub.kind](asked)

    async def _check_licence(self, asked: Asked) -> None:
        """Refuse, at the first question already, a repo whose files this node would refuse.

        What is not known of a repo is for the answer itself to tell.
        """
        with contextlib.suppress(HubRefusal, OriginAway):
            named = await self._ports.names.resolve(asked.repo, asked.revision, asked.token)
            self._ports.check_licence(named)

    async def _info(self, asked: Asked) -> web.Response:
        if asked.request.query.keys() - {"blobs"}:
            try:
                return await self._pass_on(asked)
            except OriginAway:
                pass  # what is known answers most of it
        named = await self._named(asked)
        record = {"id": named.repo.name, **named.info, "sha": named.commit}
        wants_blobs = asked.says("blobs")
        if wants_blobs or not isinstance(record.get("siblings"), list):
            files = await self._ports.names.tree(named, asked.token)
            record["siblings"] = sibling_records(files.values(), blobs=wants_blobs)
        return _json(record, named, asked)

    async def _tree(self, asked: Asked) -> web.Response:
        cursor = asked.request.query.get("cursor", "")
        if asked.says("expand") and not cursor.startswith(OUR_CURSOR):
            try:
                return await self._pass_on(asked)
            except OriginAway:
                if cursor:
                    raise
        start, count = _page_of(asked)
        named = await self._named(asked)
        records = await self._listing(named, asked)
        answer = _json(records[start : start + count], named, asked)
        if start + count < len(records):
            path = f"/{quote(asked.hub.path)}" if asked.hub.path else ""
            # At the commit, so that all pages are of one tree.
            query = {**asked.request.query, "cursor": f"{OUR_CURSOR}{start + count}"}
            url = f"{asked.base}{asked.repo.api_path}/tree/{named.commit}{path}?{urlencode(query)}"
            answer.headers["Link"] = f'<{url}>; rel="next"'
        return answer

    async def _listing(self, named: Named, asked: Asked) -> Listing:
        folder, recursive = asked.hub.path, asked.says("recursive")
        key = (str(named.repo), named.commit, folder, recursive)
        if (kept := self._listings.get(key)) is not None:
            return kept
        files = await self._ports.names.tree(named, asked.token)
        records = tree_records(files.values(), folder=folder, recursive=recursive)
        if folder and not records:
            raise HubNotFound(
                f"{folder} is no folder of {named.repo} at {asked.revision}",
                status=404,
                code=ENTRY_NOT_FOUND,
                commit=named.commit,
            )
        if len(records) > PAGE_RECORDS:
            self._listings[key] = records
            while len(self._listings) > KEPT_LISTINGS:
                self._listings.popitem(last=False)
        return records

    async def _paths_info(self, asked: Asked) -> web.Response:
        body = await asked.request.read()
        paths, wants_more = _paths_of(asked.request.content_type, body)
        if wants_more:
            try:
                return await self._pass_on(asked)
            except OriginAway:
                pass  # what is known answers most of it
        named = await self._named(asked)
        files = await self._ports.names.tree(named, asked.token)
        return _json(paths_info_records(files, paths), named, asked)

    async def _auth_check(self, asked: Asked) -> web.Response:
        """Ask for the grant that files would need, which may be one that is remembered."""
        named = await self._ports.names.resolve(asked.repo, asked.revision, asked.token)
        await self._ports.access.check(named, asked.token)
        return _json({}, named, asked)

    async def _pass_on(self, asked: Asked) -> web.Response:
        request = asked.request
        body = await request.read()
        answer = await self._ports.names.pass_through(
            asked.target,
            asked.token,
            method="GET" if request.method == "HEAD" else request.method,
            body=body,
            content_type=request.content_type if body else "",
        )
        return passed_on(answer, asked.base + asked.target.partition("?")[0])

    async def _named(self, asked: Asked) -> Named:
        named = await self._ports.names.resolve(asked.repo, asked.revision, asked.token)
        if named.is_private:  # of a gated repo the origin shows everybody all but the files
            await self._ports.access.check(named, asked.token)
        return named


def passed_on(answer: OriginAnswer, url: str) -> web.Response:
    """Return the origin's answer as ours.

    Args:
        url: Of the request; a link to a next page leads there instead of to the origin, which
            the client would show its token.
    """
    warning = answer.headers.get("x-hf-warning", "")
    headers = {"X-HF-Warning": header_text(warning)} if warning else {}
    if not 200 <= answer.status <= 299:
        message = answer.error_message or f"the origin answered {answer.status}"
        status = answer.status if answer.status >= 400 else 502
        return refusal(status, message, code=answer.error_code, headers=headers)
    response = web.json_response(answer.json, status=answer.status, headers=headers)
    if match := _LINK.search(answer.headers.get("link", "")):
        query = header_text(urlsplit(match[1]).query)
        response.headers["Link"] = f'<{url}?{query}>; rel="next"'
    return response


def _json(value: object, named: Named, asked: Asked) -> web.Response:
    headers = named_headers(named, is_pinned=asked.is_pinned)
    return web.json_response(value, headers=headers)


def _page_of(asked: Asked) -> tuple[int, int]:
    """Return where the asked page of a listing begins, and how many records it has."""
    cursor = asked.request.query.get("cursor", "")
    limit = asked.request.query.get("limit", "")
    start = cursor.removeprefix(OUR_CURSOR) if cursor else "0"
    limit = limit or str(PAGE_RECORDS)
    for text in (start, limit):
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise HubRefusal("this page is not known here; ask for the first", status=400)
    return int(start), max(1, min(int(limit), PAGE_RECORDS))


def _paths_of(content_type: str, body: bytes) -> tuple[Sequence[str], bool]:
    """Return (paths, expand) of a form or a JSON object."""
    paths: object
    try:
        if content_type == "application/json":
            fields = json.loads(body)
            paths, expand = fields["paths"], fields.get("expand")
        else:
            form = parse_qs(body.decode(), max_num_fields=MAX_PATHS + 10)
            paths, expand = form["paths"], form.get("expand", [""])[0]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise HubRefusal("send the paths as a form or as a JSON object", status=400) from exc
    paths = [paths] if isinstance(paths, str) else paths
    if (
        not isinstance(paths, list)
        or len(paths) > MAX_PATHS
        or not all(isinstance(path, str) for path in paths)
    ):
        raise HubRefusal(f"paths is a list of at most {MAX_PATHS} texts", status=400)
    return paths, is_true(expand)
