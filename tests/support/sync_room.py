"""Nodes of one process that sync: with a stand-in Hub, and following each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from mirrornode.config import HubConfig, SyncConfig
from mirrornode.events import Event, Note
from mirrornode.mirror.hub.peer_words import PeerWords
from mirrornode.mirror.sync import Syncing, SyncOrder
from mirrornode.mirror.sync_jobs import read_jobs
from mirrornode.mirror.sync_pinset import PinsetAnswers
from mirrornode.mirror.sync_report import SyncReport
from mirrornode.mirror.sync_run import SyncPorts
from mirrornode.mirror.sync_upstream import SwarmPort, UpstreamPorts
from mirrornode.store.catalog import Catalog
from mirrornode.swarm.peer_ports import PeersPort
from mirrornode.wire import hub_peer, pinset
from mirrornode.wire.pinset import NodeCard
from support.hub_origin import StandInHub
from support.hub_parts import HubNode, hub_node
from support.room import Room


@dataclass
class Clock:
    """Unix time that a test moves."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class SyncNode:
    """A node and its sync."""

    node: HubNode
    syncing: Syncing
    clock: Clock
    notes: list[str] = field(default_factory=list)

    @property
    def catalog(self) -> Catalog:
        return self.node.peer.catalog

    @property
    def address(self) -> str:
        return self.node.peer.address

    def emit(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)

    async def sync(
        self, *targets: str, from_node: str = "", delete: bool = False, dry_run: bool = False
    ) -> SyncReport:
        """Run one target by hand; the report, however it ended."""
        order = SyncOrder(targets, from_node, dry_run, delete)
        (report,) = await self.syncing.run_now(order, self.emit)
        return report

    def pins(self) -> dict[str, str]:
        """Return the names of pins by target."""
        return {pin.target: pin.name for pin in self.catalog.pins(owner="")}


@asynccontextmanager
async def sync_node(
    room: Room, name: str, hub: StandInHub, tables: Sequence[SyncConfig] = ()
) -> AsyncIterator[SyncNode]:
    """Run a node whose origin is this Hub, and which answers those who follow it."""
    async with hub_node(room, name, hub) as node:
        catalog, swarm = node.peer.catalog, node.peer.swarm
        words = PeerWords(catalog, cast("PeersPort", swarm), HubConfig())
        swarm.serve(hub_peer.PROTOCOL, words.answer)
        swarm.serve(pinset.PROTOCOL, PinsetAnswers(catalog).answer)

        def card_of(url: str) -> NodeCard:
            """Stand in for the gateway of the node with the number at the end of the URL."""
            other = list(room.net.nodes.values())[int(url.rpartition("/")[2])]
            return NodeCard(other.peer_id, tuple(other.addresses()))

        upstream = UpstreamPorts(catalog, cast("SwarmPort", swarm), words.ask_node, card_of)
        ports = SyncPorts(node.peer.ports, node.parts, upstream)
        clock = Clock()
        yield SyncNode(node, Syncing(ports, read_jobs(tables), clock=clock), clock)


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
