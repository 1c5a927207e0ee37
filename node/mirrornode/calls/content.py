"""The calls that share, fetch and check content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mirrornode.calls.caller import Caller, PathLike
from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.events import Added, Got, Progress, from_record, ignore, to_record
from mirrornode.wire.hub import is_hub_target
from mirrornode.wire.ipns_path import is_name_target

if TYPE_CHECKING:
    from mirrornode.daemon import Node

T = TypeVar("T")


class ContentCalls(Caller):
    """Content in and out."""

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

            records = verbs.add(None, fields, progress or ignore)
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
            return await hub_verbs.share_cache(node.sharing, fields, progress or ignore)

        from mirrornode.gateway import hub_verbs

        return dict(self._ask("share_hub_cache", fields, progress, lambda: self._in_node(here)))

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
                    lambda catalog: verbs.verify(catalog, fields, progress or ignore)
                ),
            )
        )

    def _add_here(self, fields: dict[str, Any], progress: Progress | None) -> Any:
        from mirrornode.gateway import verbs

        return self._with_catalog(lambda catalog: verbs.add(catalog, fields, progress or ignore))

    def _get_here(self, fields: dict[str, Any], progress: Progress | None) -> Any:
        from mirrornode.gateway import hub_verbs, verbs
        from mirrornode.mirror.get import get
        from mirrornode.mirror.ipns_parts import get_named

        if is_hub_target(fields["target"]):
            hub_verbs.hub_get_request(fields)  # before anything is started
            return self._in_node(lambda node: hub_verbs.get(node.hub, fields, progress or ignore))
        request = verbs.get_request(fields, self.config)

        async def here(node: Node) -> object:
            if is_name_target(request.target):
                got = await get_named(node.names, node.ports, request, progress or ignore)
            else:
                got = await get(node.ports, request, progress or ignore)
            return to_record(got)

        return self._in_node(here)

    def _verify_here(self, fields: dict[str, Any], progress: Progress | None) -> Any:
        from mirrornode.gateway import hub_verbs

        return self._in_node(lambda node: hub_verbs.verify(node.hub, fields, progress or ignore))


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
