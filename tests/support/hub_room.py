"""Nodes of one process that bring files of a stand-in Hub, without names, access or a gateway."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirrornode.mirror.hub.body import HubBody
from mirrornode.mirror.hub.fetch import HubFiles, open_hub_files
from mirrornode.mirror.hub.named import Named
from mirrornode.sources.hub_origin import HubOrigin, Origins
from mirrornode.wire.hub import HubFile, Repo
from support.hub_origin import StandInHub
from support.room import Peer

PIECE_BYTES = 1 << 16


@dataclass
class HubPeer:
    """A node with its files of the Hub."""

    peer: Peer
    files: HubFiles
    refused: list[tuple[Named, str]]  # what an origin refused, and to which token
    origins: Origins


@asynccontextmanager
async def hub_peer(peer: Peer, *hubs: StandInHub) -> AsyncIterator[HubPeer]:
    """Let a node bring files of these Hubs, the first first, and know what they hold by now."""
    for hub in hubs:
        for (repo_type, name), held in hub.repos.items():
            repo = Repo(repo_type, name)
            peer.catalog.put_hub_sight(
                repo, canonical=repo, is_private=held.private, gated=held.gated, checked_at=1.0
            )
            held_files = [
                hub_file(hub, name, path) for path in held.ref_of["refs/heads/main"].files
            ]
            peer.catalog.put_hub_revision(repo, held.sha, {}, "hub:test")
            peer.catalog.put_hub_tree(repo, held.sha, held_files, "hub:test")
    origins = Origins([HubOrigin(hub.url) for hub in hubs])
    refused: list[tuple[Named, str]] = []

    async def note(named: Named, token: str) -> None:
        refused.append((named, token))

    async with open_hub_files(peer.ports, origins, peer.catalog.home, note) as files:
        yield HubPeer(peer, files, refused, origins)


def named(hub: StandInHub, name: str, **changes: Any) -> Named:
    """Return the newest revision of a model as the names would."""
    held = hub.repos["model", name]
    return Named(
        repo=Repo("model", name),
        commit=held.sha,
        info={},
        gated=changes.get("gated", held.gated),
        is_private=held.private,
        licence="",
        vouched_by="hub:test",
        warning="",
    )


def hub_file(hub: StandInHub, name: str, path: str) -> HubFile:
    """Return a file of the newest revision as a tree would."""
    stored = hub.repos["model", name].ref_of["refs/heads/main"].files[path]
    return HubFile(path, stored.size_bytes, stored.git_oid, stored.sha256 if stored.is_lfs else "")


def place_of(hub: StandInHub, name: str, path: str) -> Path:
    """Return where the stand-in keeps the right content."""
    return hub.repos["model", name].ref_of["refs/heads/main"].files[path].place


async def read_all(body: HubBody) -> bytes:
    """Read a body as a client does, to its end."""
    found = bytearray()
    async with body:
        while len(found) < body.size_bytes:
            stop = await body.wait(len(found))
            found += os.pread(body.descriptor, min(PIECE_BYTES, stop - len(found)), len(found))
    return bytes(found)


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
