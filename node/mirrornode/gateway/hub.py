"""The Hub endpoint: what `HF_ENDPOINT` points to, as a part of the gateway.

Reads a request, has the right face answer it, and turns whatever goes wrong into an answer that
the clients of the Hub understand. Read only: uploads stay with the Hub.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from mirrornode.errors import MirrorError
from mirrornode.gateway.access import ACCESS
from mirrornode.gateway.credentials import userinfo_of
from mirrornode.gateway.hub_api import MAX_BODY_BYTES, HubApiFace, passed_on
from mirrornode.gateway.hub_asked import Asked
from mirrornode.gateway.hub_errors import refusal, refuse
from mirrornode.gateway.hub_files import HubFileFace
from mirrornode.sources.asking_chain import (
    HEADER,
    LOOP_STATUS,
    asked_through,
    chain_of,
    leads_back,
)
from mirrornode.wire.hub import parse_hub_path

if TYPE_CHECKING:
    from mirrornode.gateway.hub_ports import HubPorts

# Clients wait 10 s for a head. What is found later is kept and answers their next try.
ANSWER_TIMEOUT_S = 8.0

_FILE_KINDS = frozenset({"resolve", "raw"})
_NOT_SERVED = frozenset({"xet", "agent-harnesses"})


class HubEndpoint:
    """All routes of the Hub that a client reads from."""

    def __init__(
        self,
        ports: HubPorts,
        own_name: str,
        *,
        prefix: str = "",
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """Prepare.

        Args:
            own_name: What this node calls itself when it asks origins, see `asking_chain`.
            prefix: Path below which the endpoint lies, such as "/hub"; "" for none.
            answer_timeout_s: After which an answer is begun, whatever it is.
        """
        self._names = ports.names
        self._own_name = own_name
        self._files = HubFileFace(ports)
        self._api = HubApiFace(ports)
        self.prefix = prefix
        self._answer_timeout_s = answer_timeout_s

    def add_to(self, app: web.Application) -> None:
        """Take every path below the prefix that no other route has."""
        app.router.add_route("*", self.prefix + "/{path:.*}", self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        chain = chain_of(request.headers.get(HEADER, ""))
        if leads_back(chain, self._own_name):
            message = "this question came from this node: it is an origin of its own origins"
            return refusal(LOOP_STATUS, message)
        with asked_through(chain):
            return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        deadline = asyncio.get_running_loop().time() + self._answer_timeout_s
        raw_path, _, query = request.raw_path.partition("?")
        # Not by the router, which decodes: a revision may hold an escaped slash.
        path = raw_path.removeprefix(self.prefix)
        hub = parse_hub_path(path)
        kind = hub.kind if hub is not None else ""
        allowed = ("POST",) if kind == "paths-info" else ("GET", "HEAD")
        if request.method not in allowed:
            message = "this node only reads: send uploads and changes to the Hub itself"
            return refusal(405, message, headers={"Allow": ", ".join(allowed)})
        if hub is None or kind in _NOT_SERVED:
            return refusal(404, "this node serves nothing under this path")
        target = f"{path}?{query}" if query else path
        userinfo = userinfo_of(request.headers.get("Authorization", ""))
        base = f"{request.scheme}://{userinfo}{request.host}{self.prefix}"
        token = request.app[ACCESS].origin_token(request)
        try:
            if hub.repo is None:
                async with asyncio.timeout_at(deadline):
                    return passed_on(
                        await self._names.pass_through(
                            target, token, method="GET", body=b"", content_type=""
                        ),
                        base + path,
                    )
            asked = Asked(request, hub, hub.repo, target, base, token, deadline)
            if kind in _FILE_KINDS:
                return await self._files.answer(asked)
            return await self._api.answer(asked)
        except MirrorError as exc:
            return refuse(exc, kind=kind, agent=request.headers.get("User-Agent", ""))
        except TimeoutError:
            message = f"no answer within {self._answer_timeout_s:g} s; it is still being looked for"
            return refusal(504, message)
        except web.HTTPRequestEntityTooLarge:
            return refusal(413, f"at most {MAX_BODY_BYTES} bytes of paths are read")
