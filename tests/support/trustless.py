"""A strictly trustless gateway: one block a request, and 406 to anything that wants a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError
from support.models import Model
from support.raw_server import Visit, raw_server


@contextlib.contextmanager
def trustless_server(model: Model) -> Iterator[str]:
    """Serve the blocks of a model; yields the gateway's URL."""
    blocks = {block.cid.multihash: block.data for block in model.blocks}

    def behaviour(visit: Visit) -> None:
        while head := visit.head():
            path, _, query = head.split(" ")[1].removeprefix("/ipfs/").partition("?")
            try:
                cid = Cid.parse(path)
            except ContentError:
                visit.answer(b"not a CID", status="400 Bad Request")
                continue
            block = cid.digest if cid.is_identity else blocks.get(cid.multihash)
            if query != "format=raw":
                visit.answer(b"only blocks", status="406 Not Acceptable")
            elif block is None:
                visit.answer(b"not here", status="404 Not Found")
            else:
                visit.answer(block)

    with raw_server(behaviour) as server:
        yield server.url
