"""A small file of the Hub, whole and in memory: from a connected peer, else from an origin.

Repos hold dozens of them, and a transfer with lanes and claims would cost more than the bytes. What
a peer or an origin sends is compared with the hash that the Hub names the file by; nothing else is
returned.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.content.cid import Cid
from mirrornode.content.file_map import unhashed_map
from mirrornode.content.walk import run_walk_async, walk_file
from mirrornode.errors import (
    CidMismatch,
    MirrorError,
    OriginAway,
    SourceError,
)
from mirrornode.events import SourceState
from mirrornode.mirror.block_loader import BlockLoader
from mirrornode.sources.peer import PeerSource
from mirrornode.transfer.manifest import ManifestFile
from mirrornode.transfer.outputs import write_error
from mirrornode.transfer.space import check_space
from mirrornode.transfer.worker import WRONG_BYTES
from mirrornode.wire.hub import new_git_blob_sha1

if TYPE_CHECKING:
    from mirrornode.mirror.get_request import GetPorts
    from mirrornode.mirror.recording import Recording
    from mirrornode.sources.hub_origin import HubFileSource
    from mirrornode.wire.hub import HubFile

log = logging.getLogger(__name__)

SMALL_FILE_BYTES = 1 << 20
PEERS_ANSWER_S = 0.5  # connected peers answer within milliseconds
PEERS_ALONE_S = 10.0  # or some seconds when they are busy: waited for where there is no origin
BLOCK_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class SmallFile:
    """The bytes of a file, right by the hash of the Hub, and who sent them."""

    content: bytes
    source_id: str


def hub_cid(file: HubFile) -> Cid:
    """Return the CID under which peers are asked for a file that the Hub names by a hash."""
    if file.sha256:
        return Cid.raw_sha256(bytes.fromhex(file.sha256))
    return Cid.git_blob(bytes.fromhex(file.git_oid))


def is_right(file: HubFile, content: bytes) -> bool:
    """Tell whether `content` is what the Hub calls `file`."""
    if len(content) != file.size_bytes:
        return False
    if file.sha256:
        return hashlib.sha256(content).hexdigest() == file.sha256
    whole = new_git_blob_sha1(len(content))
    whole.update(content)
    return bool(whole.hexdigest() == file.git_oid)


async def bring_small(
    ports: GetPorts,
    file: HubFile,
    origins: Sequence[HubFileSource],
    recording: Recording,
    *,
    asks_peers: bool,
) -> SmallFile:
    """Return a file of at most `SMALL_FILE_BYTES`.

    Args:
        recording: What the sources do is noted there.

    Raises:
        CidMismatch: Only wrong bytes were to be had.
        SourceError, OriginAway: Nobody delivered.
    """
    if not file.size_bytes and is_right(file, b""):
        return SmallFile(b"", "")
    failure: MirrorError = OriginAway(f"no origin or peer can be asked for {file.path}")
    patience_s = PEERS_ANSWER_S if origins else PEERS_ALONE_S
    if asks_peers and (found := await _from_peers(ports, file, recording, patience_s)) is not None:
        return found
    for origin in origins:
        try:
            content = await asyncio.to_thread(_from_origin, origin, file, recording)
        except SourceError as exc:
            failure = exc
            continue
        if is_right(file, content):
            return SmallFile(content, origin.source_id)
        log.warning("origin sent wrong bytes origin=%s etag=%s", origin.source_id, file.etag)
        recording.blame(origin.source_id, WRONG_BYTES)
        failure = CidMismatch(hub_cid(file), f"sent by {origin.source_id}")
    raise failure


async def _from_peers(
    ports: GetPorts, file: HubFile, recording: Recording, patience_s: float
) -> SmallFile | None:
    cid = hub_cid(file)
    for found in await ports.finder.ask_connected([cid], patience_s):
        if not found.ticket.holdings:
            continue
        source = PeerSource(found.peer_id, found.ticket, near_host=found.near_host)
        loader = BlockLoader(ports.shelf.read_block, lambda _: None, BLOCK_TIMEOUT_S)
        loader.add_source(source)
        began = time.monotonic()
        try:
            file_map = await run_walk_async(walk_file(found.ticket.holdings[0].root), loader.load)
        except MirrorError as exc:
            log.info("small file not from peer peer=%s reason=%s", found.peer_id, exc)
            continue
        finally:
            loader.close()
            busy_s = time.monotonic() - began
            recording.note(loader, [replace(state, busy_s=busy_s) for state in loader.states()])
            recording.settle(loader)
        content = file_map.inner_root_bytes
        if content is not None and is_right(file, content):
            return SmallFile(content, source.source_id)
    return None


def _from_origin(origin: HubFileSource, file: HubFile, recording: Recording) -> bytes:
    """Return what the origin sends for a file, unverified. Blocking."""
    began = time.monotonic()
    state = SourceState(origin.source_id, "failed", 0, 0.0, failures=1)
    content = bytearray(file.size_bytes)
    whole = ManifestFile(file.path, hub_cid(file), unhashed_map(hub_cid(file), len(content)), 0)
    lane = origin.open_lane()
    try:
        lane.begin(whole, 0, whole.map.leaves)
        first_byte_s = time.monotonic() - began
        state = replace(state, first_byte_s=first_byte_s, rtt_s=lane.round_trip_s)
        view = memoryview(content)
        for start, length in zip(whole.map.starts, whole.map.lengths, strict=True):
            lane.read_leaf(view[start : start + length])
        lane.end()
        state = replace(state, state="idle", received_bytes=len(content), failures=0)
    except SourceError as exc:
        state = replace(state, reason=str(exc))
        raise
    finally:
        lane.abort()
        part = object()
        recording.note(part, [replace(state, busy_s=time.monotonic() - began)])
        recording.settle(part)
    return bytes(content)


def write_small(path: Path, content: bytes) -> None:
    """Write a verified file so that it is there whole or not at all, also after a power cut."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_space(path, len(content))
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as exc:
        raise write_error(exc, path, len(content)) from exc
