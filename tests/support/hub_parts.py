"""Nodes of one process with all that knows the Hub: names, access, files; and caches to share."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mirrornode.config import HubConfig
from mirrornode.events import Event, Note
from mirrornode.mirror.hub.access import HubAccess
from mirrornode.mirror.hub.fetch import open_hub_files
from mirrornode.mirror.hub.get import HubGetRequest
from mirrornode.mirror.hub.names import HubNames
from mirrornode.mirror.hub.parts import HubParts
from mirrornode.sources.hub_origin import HubOrigin, Origins
from support.hub_origin import StandInHub
from support.hub_repos import HeldRepo
from support.room import Peer, Room


@dataclass
class HubNode:
    """A node, and where its user's cache lies."""

    peer: Peer
    parts: HubParts
    cache: Path
    events: list[Event] = field(default_factory=list)

    def request(self, target: str, out: Path | None = None, **more: Any) -> HubGetRequest:
        """Return what a user asks who stands in the parent of the cache."""
        return HubGetRequest(target, self.cache.parent, out, self.cache, **more)

    @property
    def notes(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Note))

    def emit(self, event: Event) -> None:
        self.events.append(event)


@asynccontextmanager
async def hub_node(
    room: Room, name: str, hub: StandInHub, **settings: Any
) -> AsyncIterator[HubNode]:
    """Run a node whose only origin is this Hub; `settings` are those of `[hub]`."""
    config = dataclasses.replace(HubConfig(), **settings)
    async with room.node(name) as peer:
        origins = Origins([HubOrigin(hub.url)])
        names = HubNames(peer.catalog, origins, config)
        access = HubAccess(peer.catalog, origins, names, config)
        try:
            opening = open_hub_files(peer.ports, origins, peer.catalog.home, access.refused)
            async with opening as files:
                parts = HubParts(
                    catalog=peer.catalog,
                    names=names,
                    access=access,
                    files=files,
                    origins=origins,
                    settings=config,
                    site=hub.url,
                    own_name="",
                    announce=peer.ports.announce,
                    meet=functools.partial(peer.ports.finder.meet, patience_s=0.0),
                )
                yield HubNode(peer, parts, room.folder / f"{name}-hf" / "hub")
        finally:
            access.close()
            names.close()


def write_cache(cache: Path, repo: HeldRepo, *, ref: str = "main") -> Path:
    """Put a repo into a cache as a client of the Hub does, and return its snapshot."""
    folder = cache / f"{repo.type}s--{repo.name.replace('/', '--')}"
    commit = repo.find(ref)
    assert commit is not None
    snapshot = folder / "snapshots" / commit.sha
    for path, stored in commit.files.items():
        blob, link = folder / "blobs" / stored.etag, snapshot / path
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(stored.place.read_bytes())
        link.symlink_to(os.path.relpath(blob, link.parent))
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / ref).write_text(commit.sha)
    return snapshot


def blob_of(cache: Path, repo: HeldRepo, path: str) -> Path:
    """Return where a cache keeps a file of the newest revision."""
    stored = repo.ref_of["refs/heads/main"].files[path]
    return cache / f"{repo.type}s--{repo.name.replace('/', '--')}" / "blobs" / stored.etag


def damage(path: Path, *, keep_time: bool = False) -> None:
    """Change one byte in place, as a failing disk (`keep_time`) or a program does."""
    before = path.stat()
    with path.open("r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 0xFF]))
    moved = 0 if keep_time else 1_000_000_000
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + moved))


def contents(folder: Path) -> Mapping[str, bytes]:
    """Return all files below a folder by path, links followed."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def contents_of(repo: HeldRepo) -> Mapping[str, bytes]:
    """Return all files of the newest revision by path."""
    files = repo.ref_of["refs/heads/main"].files
    return {path: files[path].place.read_bytes() for path in sorted(files)}
