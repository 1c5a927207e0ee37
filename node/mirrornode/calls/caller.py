"""How a call reaches the node of its home: over the control socket, or, without a daemon, here."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mirrornode.config import Config, load_config
from mirrornode.errors import DaemonGone, RemoteProtocolError
from mirrornode.events import Progress, from_record, ignore
from mirrornode.wire.control import MAX_LINE_BYTES, decode_line, socket_path, to_exception

if TYPE_CHECKING:
    from mirrornode.daemon import Node

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 24 * 3600.0  # a verb may take long; progress lines come much more often

PathLike = str | os.PathLike[str]
T = TypeVar("T")


class Caller:
    """One home, and the ways to have a verb done there."""

    def __init__(self, home: PathLike | None = None, *, config: Config | None = None) -> None:
        self.config = config or load_config(Path(home) if home is not None else None)

    # -- with a daemon ---------------------------------------------------------------------------

    def _ask(
        self,
        verb: str,
        fields: dict[str, Any],
        progress: Progress | None,
        here: Callable[[], Any],
    ) -> Any:
        """Run a verb in the daemon; in this process when there is none, or when it goes away."""
        sock = self._connect()
        if sock is None:
            return here()
        try:
            return converse(sock, verb, fields, progress or ignore)
        except DaemonGone:
            # It stopped under way. All verbs can be run again: add is incremental, get resumes.
            return here()

    def _connect(self) -> socket.socket | None:
        path = socket_path(self.config.home)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_TIMEOUT_S)
        try:
            if path.lstat().st_uid != os.getuid():
                raise PermissionError(f"{path} belongs to someone else")
            sock.connect(str(path))
        except OSError:
            sock.close()
            return None
        sock.settimeout(ANSWER_TIMEOUT_S)
        return sock

    # -- without one -----------------------------------------------------------------------------

    def _with_catalog(self, work: Callable[[Any], T]) -> T:
        from mirrornode.store.catalog import open_catalog
        from mirrornode.store.home import lock_home

        with lock_home(self.config.home), open_catalog(self.config.home) as catalog:
            return work(catalog)

    def _in_node(self, work: Callable[[Node], Awaitable[object]]) -> Any:
        """Run work in a node that lives as long as that."""
        from mirrornode.daemon import open_node

        async def run() -> object:
            async with open_node(self.config, is_short_lived=True) as node:
                return await work(node)

        return asyncio.run(run())


def converse(sock: socket.socket, verb: str, fields: dict[str, Any], progress: Progress) -> Any:
    """Send one request over the control socket and return its result.

    Raises:
        DaemonGone: The connection ended before the outcome.
        MirrorError: Whatever the verb raised in the daemon.
    """
    connection = http.client.HTTPConnection("localhost")
    connection.sock = sock
    try:
        body = json.dumps(fields).encode()
        connection.request("POST", f"/v1/{verb}", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RemoteProtocolError(f"the daemon answered {response.status} to {verb}")
        while line := response.readline(MAX_LINE_BYTES):
            record = decode_line(line)
            if "result" in record:
                return record["result"]
            if "error" in record:
                raise to_exception(record["error"])
            progress(from_record(record))
    except (OSError, http.client.HTTPException) as exc:
        raise DaemonGone("the daemon stopped before it was done") from exc
    finally:
        connection.close()
    raise DaemonGone("the daemon stopped before it was done")
