"""The script API: `Client` for plain programs, `AsyncClient` for asyncio ones.

Both ask the daemon of their home over its control socket, and do the work in this process when
none runs. Every call raises only `MirrorError`s.

    from mirrornode import Client

    client = Client()
    added = client.add(["model.safetensors"])[0]
    got = client.get(added.cid, "copy.safetensors", progress=print)
    print(got.path, got.bytes_by_source)
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mirrornode.client_alerts import AlertCalls
from mirrornode.client_cars import CarCalls
from mirrornode.client_keep import KeepCalls
from mirrornode.client_names import NameCalls
from mirrornode.client_sync import SyncCalls
from mirrornode.config import Config, load_config
from mirrornode.errors import DaemonGone, RemoteProtocolError, TargetError
from mirrornode.events import Added, Event, Got, Progress, from_record, to_record
from mirrornode.version import __version__
from mirrornode.wire.control import MAX_LINE_BYTES, decode_line, socket_path, to_exception
from mirrornode.wire.hub import is_hub_target
from mirrornode.wire.ipns_path import is_name_target

if TYPE_CHECKING:
    from mirrornode.daemon import Node

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 24 * 3600.0  # a verb may take long; progress lines come much more often

PathLike = str | os.PathLike[str]
T = TypeVar("T")


class Client(NameCalls, CarCalls, KeepCalls, SyncCalls, AlertCalls):
    """The verbs of one home, blocking.

    Args:
        home: The node's home; None for `$MIRRORNODE_HOME` or the user's data directory.
        config: Settings already loaded; overrides `home`.

    Raises:
        ConfigError: The home's `config.toml` or the environment is wrong.
    """

    def __init__(self, home: PathLike | None = None, *, config: Config | None = None) -> None:
        self.config = config or load_config(Path(home) if home is not None else None)

    def add(
        self,
        paths: Sequence[PathLike],
        *,
        name: str | None = None,
        profile: str = "unixfs-v1-2025",
        chunker: str | None = None,
        raw_leaves: bool | None = None,
        cid_version: int | None = None,
        max_links: int | None = None,
        wrap: bool = False,
        only_hash: bool = False,
        copy: bool = False,
        hidden: bool = False,
        progress: Progress | None = None,
    ) -> list[Added]:
        """Share files or folders in place and return one record for each path.

        Args:
            progress: Gets `AddProgress` and `Added` events; other options as on the command line.

        Raises:
            TargetError: A path that does not exist, or options that contradict each other.
            PathRefused: The operating system denies access.
            FileChanged: A file was written to while it was read.
            HomeLocked: Another process owns the home and does not answer.
        """
        fields = {
            "paths": [str(Path(path).expanduser().absolute()) for path in paths],
            "name": name,
            "profile": profile,
            "chunker": chunker,
            "raw_leaves": raw_leaves,
            "cid_version": cid_version,
            "max_links": max_links,
            "wrap": wrap,
            "only_hash": only_hash,
            "copy": copy,
            "hidden": hidden,
        }
        if only_hash:
            from mirrornode.gateway import verbs

            records = verbs.add(None, fields, progress or _ignore)
        else:
            records = self._ask("add", fields, progress, lambda: self._add_here(fields, progress))
        return [_as(Added, record) for record in records]

    def get(
        self,
        target: str,
        dest: PathLike | None = None,
        *,
        mirrors: Sequence[str] = (),
        peers: Sequence[str] = (),
        timeout_s: float = 30.0,
        download_limit: int = 0,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        token: str | None = None,
        hub_cache: PathLike | None = None,
        progress: Progress | None = None,
    ) -> Got:
        """Fetch and verify a target; what was fetched is shared from then on.

        Args:
            target: A CID, `/ipfs/CID[/path]`, `ipfs://CID[/path]`, `ipns://NAME[/path]`,
                `/ipns/NAME[/path]` or `hf:ORG/NAME[@REV][/PATH]`.
            dest: File or folder to write; None for the target's name in the current folder, and
                for the cache of the Hub's clients with `hf:`.
            mirrors: URLs of gateways, of the file, or of a base folder (ending in a slash).
            peers: Multiaddrs of nodes to dial besides those that are found.
            timeout_s: Give up when nothing has arrived for so long.
            download_limit: Bytes a second for this call, besides the node's limit; 0 = none.
            include: With `hf:`, patterns of the paths that are wanted, as for `hf download`.
            exclude: With `hf:`, patterns of those that are not.
            token: For `hf:`; None for what the Hub's clients would use, "" for none.
            hub_cache: For `hf:`; None for where the Hub's clients keep it.
            progress: Gets `GetProgress` about five times a second, and `Note`s.

        Raises:
            TargetError: The target or destination cannot be.
            HubRefusal, OriginAway, LicenceRefused: A repo of the Hub cannot be had.
            NoProviders: Nobody reachable has it.
            Incomplete: Some files of a folder are missing.
            ContentError: Only wrong bytes were to be had.
            StoreError: This machine's disk failed.

        Interrupting leaves a state that the same call resumes.
        """
        fields = {
            "target": target,
            "dest": str(dest) if dest is not None else None,
            "folder": str(Path.cwd()),
            "mirrors": list(mirrors),
            "peers": list(peers),
            "timeout_s": timeout_s,
            "download_limit": download_limit,
        }
        if is_hub_target(fields["target"]):
            fields |= {"include": list(include), "exclude": list(exclude)}
            fields |= _hub_fields(token, hub_cache)
        elif include or exclude:
            raise TargetError("include and exclude choose among the files of hf:ORG/NAME")
        record = self._ask("get", fields, progress, lambda: self._get_here(fields, progress))
        return _as(Got, record)

    def share_hub_cache(
        self, path: PathLike | None = None, *, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Share what the Hub's clients have fetched, in place, and return what became of it.

        Args:
            path: A cache folder; None for the one the Hub's clients use.
            progress: Gets `AddProgress` events.

        Raises:
            TargetError: There is no such cache.
        """
        fields = _hub_fields("", path)

        async def here(node: Node) -> object:
            return await hub_verbs.share_cache(node.sharing, fields, progress or _ignore)

        from mirrornode.gateway import hub_verbs

        return dict(self._ask("share_hub_cache", fields, progress, lambda: self._in_node(here)))

    def ls_hub(self, target: str = "hf:") -> list[dict[str, Any]]:
        """Return which revisions of repos of the Hub are known, and how much of each is here.

        Args:
            target: "hf:" for all, or `hf:ORG/NAME[@REV]`.

        Raises:
            TargetError: It names no repo.
        """
        from mirrornode.gateway import hub_verbs

        fields = {"target": target}
        return list(
            self._ask(
                "ls",
                fields,
                None,
                lambda: self._with_catalog(lambda c: hub_verbs.list_repos(c, fields)),
            )
        )

    def ls(self) -> list[dict[str, Any]]:
        """Return what is shared, with each item's state as of now."""
        from mirrornode.gateway import verbs

        return list(self._ask("ls", {}, None, lambda: self._with_catalog(verbs.list_roots)))

    def status(self) -> dict[str, Any]:
        """Return how the node of this home is; `running` is False without a daemon."""
        return dict(self._ask("status", {}, None, self._status_here))

    def history(
        self, *, since_s: float | None = None, failed: bool = False, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return downloads, the newest first: what, from whom, how fast, and how it ended.

        Args:
            since_s: Only what runs or ended in the last so many seconds; None for all.
            failed: Only what failed, wholly or in part.

        Raises:
            TargetError: An option makes no sense.
        """
        from mirrornode.gateway.history_verbs import history_when_stopped

        fields = {"since_s": since_s, "failed": failed, "limit": limit}
        records = self._ask(
            "history",
            fields,
            None,
            lambda: self._with_catalog(lambda catalog: history_when_stopped(catalog, fields)),
        )
        return list(records)

    def doctor(self) -> list[dict[str, Any]]:
        """Check what a node of this home needs and return one record per finding.

        Each has `check`, `level` ("ok", "warning", "problem"), `text` and `next_step`. Makes and
        changes nothing, raises nothing, and takes seconds at most.
        """
        from mirrornode.mirror.doctor_checks import diagnose

        def ask(verb: str) -> Any:
            sock = self._connect()
            return None if sock is None else _converse(sock, verb, {}, _ignore)

        return [finding.to_record() for finding in diagnose(self.config, ask)]

    def peers(self) -> list[dict[str, Any]]:
        """Return the peers the daemon is connected to.

        Raises:
            DaemonGone: No daemon runs for this home.
        """

        def no_daemon() -> list[dict[str, Any]]:
            raise DaemonGone("no node runs for this home; start one with `mirrornode serve`")

        return list(self._ask("peers", {}, None, no_daemon))

    def mirrors(
        self,
        urls: Sequence[str] = (),
        *,
        sample: str | None = None,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Measure mirrors and return one record each, the best first.

        What is found counts for the choice of mirrors in the next `get`.

        Args:
            urls: Gateways, files, or bases; empty for those of the configuration.
            sample: What to fetch a few megabytes of: a CID from gateways, a path from bases.
            progress: Gets a `Note` for each mirror.

        Raises:
            TargetError: No mirror, or one that is not a URL.
        """
        from mirrornode.gateway import verbs

        fields = {"urls": list(urls), "sample": sample}
        records = self._ask(
            "mirrors",
            fields,
            progress,
            lambda: self._with_catalog(
                lambda catalog: verbs.mirrors(catalog, fields, self.config, progress or _ignore)
            ),
        )
        return list(records)

    def verify(
        self,
        target: str | None = None,
        *,
        token: str | None = None,
        hub_cache: PathLike | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Re-hash what is shared, one target or all, and return what was found.

        With `hf:ORG/NAME[@REV][/PATH]`, all copies of that on this machine, those in the cache of
        the Hub's clients included; what is damaged there is replaced.

        Args:
            token, hub_cache: As for `get`.

        Raises:
            TargetError: The target is not shared here.
            HubRefusal, OriginAway, LicenceRefused: What the repo holds cannot be told.
        """
        from mirrornode.gateway import verbs

        fields: dict[str, Any] = {"target": target}
        if is_hub_target(fields["target"]):
            fields |= _hub_fields(token, hub_cache)
            return dict(
                self._ask("verify", fields, progress, lambda: self._verify_here(fields, progress))
            )
        return dict(
            self._ask(
                "verify",
                fields,
                progress,
                lambda: self._with_catalog(
                    lambda catalog: verbs.verify(catalog, fields, progress or _ignore)
                ),
            )
        )

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
            return _converse(sock, verb, fields, progress or _ignore)
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

    def _add_here(self, fields: dict[str, Any], progress: Progress | None) -> Any:
        from mirrornode.gateway import verbs

        return self._with_catalog(lambda catalog: verbs.add(catalog, fields, progress or _ignore))

    def _status_here(self) -> dict[str, Any]:
        def totals(catalog: Any) -> dict[str, Any]:
            files, size_bytes = catalog.file_totals()
            return {
                "running": False,
                "version": __version__,
                "home": str(self.config.home),
                "roots": len(catalog.roots()),
                "files": files,
                "size_bytes": size_bytes,
            }

        return self._with_catalog(totals)

    def _get_here(self, fields: dict[str, Any], progress: Progress | None) -> Any:
        from mirrornode.gateway import hub_verbs, verbs
        from mirrornode.mirror.get import get
        from mirrornode.mirror.ipns_parts import get_named

        if is_hub_target(fields["target"]):
            hub_verbs.hub_get_request(fields)  # before anything is started
            return self._in_node(lambda node: hub_verbs.get(node.hub, fields, progress or _ignore))
        request = verbs.get_request(fields, self.config)

        async def here(node: Node) -> object:
            if is_name_target(request.target):
                got = await get_named(node.names, node.ports, request, progress or _ignore)
            else:
                got = await get(node.ports, request, progress or _ignore)
            return to_record(got)

        return self._in_node(here)

    def _verify_here(self, fields: dict[str, Any], progress: Progress | None) -> Any:
        from mirrornode.gateway import hub_verbs

        return self._in_node(lambda node: hub_verbs.verify(node.hub, fields, progress or _ignore))

    def _in_node(self, work: Callable[[Node], Awaitable[object]]) -> Any:
        """Run work in a node that lives as long as that."""
        from mirrornode.daemon import open_node

        async def run() -> object:
            async with open_node(self.config, is_short_lived=True) as node:
                return await work(node)

        return asyncio.run(run())


class AsyncClient:
    """The verbs of one home for asyncio; each call runs in a thread of its own.

    Cancelling a call leaves its thread to end by itself at its next progress report.
    """

    def __init__(self, home: PathLike | None = None, *, config: Config | None = None) -> None:
        """As `Client`."""
        self._client = Client(home, config=config)

    async def add(
        self, paths: Sequence[PathLike], *, progress: Progress | None = None, **options: Any
    ) -> list[Added]:
        """As `Client.add`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.add(paths, progress=told, **options), progress
        )

    async def get(
        self,
        target: str,
        dest: PathLike | None = None,
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> Got:
        """As `Client.get`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.get(target, dest, progress=told, **options), progress
        )

    async def export(
        self, target: str, output: PathLike, *, progress: Progress | None = None, **options: Any
    ) -> dict[str, Any]:
        """As `Client.export`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.export(target, output, progress=told, **options), progress
        )

    async def import_cars(
        self,
        paths: Sequence[PathLike],
        dest: PathLike | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """As `Client.import_cars`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.import_cars(paths, dest, progress=told), progress
        )

    async def share_hub_cache(
        self, path: PathLike | None = None, *, progress: Progress | None = None
    ) -> dict[str, Any]:
        """As `Client.share_hub_cache`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.share_hub_cache(path, progress=told), progress
        )

    async def ls(self) -> list[dict[str, Any]]:
        """As `Client.ls`."""
        return await asyncio.to_thread(self._client.ls)

    async def ls_hub(self, target: str = "hf:") -> list[dict[str, Any]]:
        """As `Client.ls_hub`."""
        return await asyncio.to_thread(self._client.ls_hub, target)

    async def status(self) -> dict[str, Any]:
        """As `Client.status`."""
        return await asyncio.to_thread(self._client.status)

    async def publish(
        self, target: str, *, progress: Progress | None = None, **options: Any
    ) -> dict[str, Any]:
        """As `Client.publish`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.publish(target, progress=told, **options), progress
        )

    async def publications(self) -> list[dict[str, Any]]:
        """As `Client.publications`."""
        return await asyncio.to_thread(self._client.publications)

    async def unpublish(self, key: str) -> dict[str, Any]:
        """As `Client.unpublish`."""
        return await asyncio.to_thread(self._client.unpublish, key)

    async def history(self, **options: Any) -> list[dict[str, Any]]:
        """As `Client.history`."""
        return await asyncio.to_thread(lambda: self._client.history(**options))

    async def peers(self) -> list[dict[str, Any]]:
        """As `Client.peers`."""
        return await asyncio.to_thread(self._client.peers)

    async def mirrors(
        self, urls: Sequence[str] = (), *, progress: Progress | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """As `Client.mirrors`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.mirrors(urls, progress=told, **options), progress
        )

    async def verify(
        self, target: str | None = None, *, progress: Progress | None = None, **options: Any
    ) -> dict[str, Any]:
        """As `Client.verify`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.verify(target, progress=told, **options), progress
        )


async def _in_thread(work: Callable[[Progress], T], progress: Progress | None) -> T:
    """Run a blocking call; its events go to the event loop, a cancel ends it at its next event."""
    from mirrornode.mirror.in_thread import in_thread

    loop = asyncio.get_running_loop()

    def tell(event: Event) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress, event)

    return await in_thread(work, tell)


def _converse(sock: socket.socket, verb: str, fields: dict[str, Any], progress: Progress) -> Any:
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


def _hub_fields(token: str | None, cache: PathLike | None) -> dict[str, Any]:
    """Return what the Hub's clients on this machine would use, where nothing else was said."""
    from mirrornode.mirror.hub.client_env import hub_cache, hub_token

    return {
        "token": hub_token() if token is None else token,
        "hub_cache": str(hub_cache() if cache is None else Path(cache).expanduser().absolute()),
    }


def _as(kind: type[T], record: Any) -> T:
    event = from_record(record)
    if not isinstance(event, kind):
        raise RemoteProtocolError(f"expected {kind.__name__}, got {type(event).__name__}")
    return event


def _ignore(event: Event) -> None:
    """Progress nobody asked for."""
