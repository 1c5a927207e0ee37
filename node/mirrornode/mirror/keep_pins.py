"""`pin` and `unpin`: what is named is kept; what is not here is fetched first.

A CID is fetched into `<home>/models/<CID>`, files of the Hub into the node's store of them. What is
here already, in a folder of the user's as well, is pinned as it lies: a pin keeps the node from
deleting its own copies, it cannot keep the user from deleting his.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.errors import TargetError
from mirrornode.events import Event, Note
from mirrornode.mirror.get import get
from mirrornode.mirror.get_request import GetRequest
from mirrornode.mirror.hub.get import HubGetRequest, get_hub
from mirrornode.mirror.target import parse_target
from mirrornode.store.home import MODELS_NAME
from mirrornode.store.pins import HUB, Pin
from mirrornode.store.stamps import look
from mirrornode.wire.hub import DEFAULT_REVISION, is_commit, is_hub_target, parse_hub_target

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.mirror.get_request import GetPorts
    from mirrornode.mirror.hub.parts import HubParts
    from mirrornode.store.catalog import Catalog

Emit = Callable[[Event], None]

MAX_REPLICAS = 32
MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class PinRequest:
    """What is to be kept.

    Attributes:
        target: A CID, or `hf:ORG/NAME[@REV][/PATH]`.
        owner: Peer it is kept for; "" for the user.
        mirrors, peers: Where else it may be fetched, as for `get`.
        max_bytes: Refuse what is larger; 0 = no limit.
    """

    target: str
    name: str = ""
    replicas: int = 0
    owner: str = ""
    token: str = ""
    mirrors: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    timeout_s: float = 30.0
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Pinned:
    """A pin, and what making it took: `fetched_bytes` came from others."""

    pin: Pin
    was_here: bool
    fetched_bytes: int


class Pinning:
    """Makes and takes back pins; belongs to one event loop."""

    def __init__(self, ports: GetPorts, hub: HubParts) -> None:
        self._ports = ports
        self._hub = hub

    async def pin(self, request: PinRequest, emit: Emit) -> Pinned:
        """Keep a target, which is fetched unless all of it is here.

        Raises:
            TargetError: It is no target, or larger than allowed.
            MirrorError: It is not here and did not come; nothing is pinned then.
        """
        if not 0 <= request.replicas <= MAX_REPLICAS:
            raise TargetError(f"give a number of replicas from 0 to {MAX_REPLICAS}")
        if len(request.name) > MAX_NAME_CHARS or not request.name.isprintable():
            raise TargetError(f"a pin's name has at most {MAX_NAME_CHARS} printable characters")
        if is_hub_target(request.target):
            return await self._pin_hub(request, emit)
        return await self._pin_cid(request, emit)

    async def _pin_cid(self, request: PinRequest, emit: Emit) -> Pinned:
        target = parse_target(request.target)
        if target.path:
            raise TargetError("pin takes a CID without a path, or hf:ORG/NAME[@REV][/PATH]")
        cid, catalog = target.cid, self._ports.catalog
        place = catalog.home / MODELS_NAME / str(cid)
        with self._ports.active.temp_pins.hold(str(place), cid.multihash):
            size = await asyncio.to_thread(size_here, catalog, cid)
            was_here = size is not None
            fetched = 0
            if size is None:
                emit(Note(f"{cid} is not here: fetching it first"))
                await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
                wanted = GetRequest(
                    str(cid),
                    place.parent,
                    place,
                    mirrors=request.mirrors,
                    peers=request.peers,
                    timeout_s=request.timeout_s,
                    kind="pin",
                    is_kept=True,
                    max_bytes=request.max_bytes,
                )
                got = await get(self._ports, wanted, emit)
                size, fetched = got.size_bytes, sum(got.bytes_by_source.values())
            pin = await asyncio.to_thread(
                catalog.pin,
                cid,
                request.name,
                owner=request.owner,
                size_bytes=size,
                replicas=request.replicas,
            )
        return Pinned(pin, was_here, fetched)

    async def _pin_hub(self, request: PinRequest, emit: Emit) -> Pinned:
        wanted = HubGetRequest(
            request.target,
            Path("/"),
            None,
            Path("/"),
            token=request.token,
            peers=request.peers,
            kind="pin",
            is_kept=True,
            max_bytes=request.max_bytes,
        )
        emit(Note(f"{request.target}: fetching what is not here first"))
        got = await get_hub(self._hub, wanted, emit)
        target = parse_hub_target(got.cid)
        fetched = sum(got.bytes_by_source.values())
        pin = await asyncio.to_thread(
            self._ports.catalog.pin_hub,
            target.repo,
            target.revision,
            target.path,
            request.name,
            owner=request.owner,
            size_bytes=got.size_bytes,
            replicas=request.replicas,
        )
        return Pinned(pin, not fetched, fetched)


def size_here(catalog: Catalog, cid: Cid) -> int | None:
    """Return the size of what is here whole and unchanged under a CID; else None. Blocking."""
    file = catalog.find_file(cid.multihash)
    if file is not None and look(file.path, file.stamp) == "ok":
        return file.size_bytes
    root = catalog.find_root(cid.multihash)
    if root is None or root.state != "ok":
        return None
    files = catalog.root_files(cid)
    is_whole = all(look(file.path, file.stamp) == "ok" for file in files)
    return root.size_bytes if is_whole else None


def pins_of(catalog: Catalog, text: str, name: str | None = None) -> list[Pin]:
    """Return the user's pins of a target; of a repo of the Hub without a revision, of all commits.

    Raises:
        TargetError: It is no target.
    """
    found = [pin for pin in catalog.pins(owner="") if name is None or pin.name == name]
    if not is_hub_target(text):
        multihash = parse_target(text).cid.multihash
        return [pin for pin in found if pin.cid is not None and pin.cid.multihash == multihash]
    target = parse_hub_target(text)
    found = [
        pin for pin in found if (pin.kind, pin.repo, pin.path) == (HUB, target.repo, target.path)
    ]
    if target.revision == DEFAULT_REVISION:
        return found
    commit = target.revision
    if not is_commit(commit):
        ref = catalog.hub_ref(target.repo, commit)
        commit = "" if ref is None else ref.commit
    return [pin for pin in found if pin.commit == commit]


def unpin(catalog: Catalog, text: str, name: str | None = None) -> list[Pin]:
    """Take back the user's pins of a target and return them. Blocking.

    Raises:
        TargetError: It is no target, or not pinned.
    """
    found = pins_of(catalog, text, name)
    if not found:
        called = f" under the name {name!r}" if name is not None else ""
        raise TargetError(f"{text} is not pinned{called}; see `mirrornode pin --list`")
    for pin in found:
        catalog.unpin(pin.target, pin.name)
    return found
