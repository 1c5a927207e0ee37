"""A network of swarms in memory: links, requests and scripted faults, in virtual time.

Stands in for `mirrornode.swarm.node.Swarm` behind `routing.kad.ports.SwarmPort`. Use it inside
`virtual_time.run_virtual`: every hop takes `latency_s` of virtual time.

Faults of a node are a script, one letter a request it receives: `r` answers, `T` lets the asker
wait till its timeout, `E` resets, `G` answers garbage; after the script it answers.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mirrornode.errors import RemoteProtocolError, SourceGone, SourceRefused, SourceTooSlow
from mirrornode.routing.kad.ports import Link, Responder
from mirrornode.wire.peer_id import peer_id_to_text

GARBAGE = b"\xff\xff\xff\xff\xff"


def make_peer_id(name: str) -> str:
    """Return the Ed25519 peer id of a made-up key."""
    return peer_id_to_text(b"\x00\x24\x08\x01\x12\x20" + hashlib.sha256(name.encode()).digest())


@dataclass(frozen=True, slots=True)
class VirtualLink:
    """The `PeerLink` of the virtual network."""

    peer_id: str
    address: str
    protocols: frozenset[str]
    outbound: bool
    listen_addresses: tuple[str, ...] = ()


class VirtualNet:
    """All nodes of a test, by peer id and by address."""

    def __init__(self, *, latency_s: float = 0.001) -> None:
        self.latency_s = latency_s
        self.nodes: dict[str, VirtualSwarm] = {}
        self.requests = 0
        self.notices = 0
        self.dials = 0

    def join(self, name: str, *, addresses: Sequence[str] | None = None) -> VirtualSwarm:
        """Add a node; its address is `/ip4/10.0.x.y/tcp/4101` unless given."""
        number = len(self.nodes) + 1
        if addresses is None:
            addresses = [f"/ip4/10.0.{number // 250}.{number % 250 + 1}/tcp/4101"]
        swarm = VirtualSwarm(self, make_peer_id(name), list(addresses))
        self.nodes[swarm.peer_id] = swarm
        return swarm

    def kill(self, peer_id: str, *, blackhole: bool = False) -> None:
        """Take a node off the net; dialling it is refused, or runs into the timeout."""
        node = self.nodes[peer_id]
        node.is_up = False
        node.is_blackhole = blackhole
        for other in list(node.linked):
            node.unlink(other)


class VirtualSwarm:
    """One node's swarm."""

    def __init__(self, net: VirtualNet, peer_id: str, addresses: list[str]) -> None:
        self._net = net
        self._peer_id = peer_id
        self.listen = addresses
        self.is_up = True
        self.is_blackhole = False
        self.faults = ""
        self.received: list[tuple[str, bytes]] = []
        self.seen: list[tuple[str, bytes]] = []  # protocol and message: requests and own answers
        self.linked: dict[str, VirtualLink] = {}
        self._responders: dict[str, Responder] = {}
        self._max_request_bytes: dict[str, int] = {}
        self._peer_callbacks: list[Callable[[Link], None]] = []
        self._gone_callbacks: list[Callable[[str], None]] = []

    @property
    def peer_id(self) -> str:
        return self._peer_id

    @property
    def spoken(self) -> set[str]:
        """The protocols that are answered."""
        return set(self._responders)

    def addresses(self) -> list[str]:
        return [f"{address}/p2p/{self._peer_id}" for address in self.listen]

    async def dial(self, peer_id: str, addresses: Sequence[str], *, timeout_s: float = 10) -> None:
        if peer_id in self.linked:
            return
        self._net.dials += 1
        await asyncio.sleep(self._net.latency_s)
        other = self._net.nodes.get(peer_id)
        bare = [address.removesuffix(f"/p2p/{peer_id}") for address in addresses]
        meeting = [a for a in bare if other is not None and a in other.listen]
        if (
            not self.is_up
            or other is None
            or not meeting
            or (not other.is_up and not other.is_blackhole)
        ):
            raise SourceGone("connection refused", source_id=peer_id)
        if other.is_blackhole:
            await asyncio.sleep(timeout_s)
            raise SourceTooSlow("dial timed out", source_id=peer_id)
        if peer_id not in self.linked:
            self.link_to(other, meeting[0])

    async def request(
        self,
        peer_id: str,
        protocol: str,
        payload: bytes,
        *,
        ahead: Sequence[bytes] = (),
        timeout_s: float = 10,
        max_response_bytes: int = 4 << 20,
    ) -> bytes:
        for message in ahead:
            self._net.notices += 1
            await self._deliver(peer_id, protocol, message, timeout_s)
        self._net.requests += 1
        response = await self._deliver(peer_id, protocol, payload, timeout_s)
        if response is None:
            raise SourceGone("closed without an answer", source_id=peer_id)
        if len(response) > max_response_bytes:
            raise RemoteProtocolError("answer is too long")
        await asyncio.sleep(self._net.latency_s)
        return response

    def serve(
        self,
        protocol: str,
        responder: Responder,
        *,
        max_request_bytes: int = 64 << 10,
        max_concurrent: int = 64,
    ) -> None:
        self._responders[protocol] = responder
        self._max_request_bytes[protocol] = max_request_bytes

    def links(self) -> list[VirtualLink]:
        return list(self.linked.values())

    def link(self, peer_id: str) -> VirtualLink | None:
        return self.linked.get(peer_id)

    def round_trip_s(self, peer_id: str) -> float | None:
        return None  # nobody pings

    def on_peer(self, callback: Callable[[Link], None]) -> Callable[[], None]:
        self._peer_callbacks.append(callback)
        return lambda: self._peer_callbacks.remove(callback)

    def on_peer_gone(self, callback: Callable[[str], None]) -> Callable[[], None]:
        self._gone_callbacks.append(callback)
        return lambda: self._gone_callbacks.remove(callback)

    async def disconnect(self, peer_id: str) -> None:
        if peer_id in self.linked:
            self.unlink(peer_id)

    def unlink(self, peer_id: str) -> None:
        """Cut the link to a peer, on both sides."""
        for near, far in ((self, self._net.nodes[peer_id]), (self._net.nodes[peer_id], self)):
            if near.linked.pop(far.peer_id, None) is not None:
                for callback in tuple(near._gone_callbacks):
                    callback(far.peer_id)

    def link_to(self, other: VirtualSwarm, address: str) -> None:
        """Link both sides, or tell both that their link has changed."""
        near_ip = self.listen[0].rsplit("/tcp/", 1)[0]
        for near, far, far_address, outbound in (
            (self, other, address, True),
            (other, self, f"{near_ip}/tcp/55555", False),
        ):
            near.linked[far.peer_id] = VirtualLink(
                far.peer_id,
                far_address,
                frozenset(far._responders),
                outbound,
                tuple(far.listen),
            )
        for near, far in ((self, other), (other, self)):
            for callback in tuple(near._peer_callbacks):
                callback(near.linked[far.peer_id])

    async def _deliver(
        self, peer_id: str, protocol: str, payload: bytes, timeout_s: float
    ) -> bytes | None:
        if peer_id not in self.linked:
            raise SourceGone("not connected", source_id=peer_id)
        await asyncio.sleep(self._net.latency_s)
        other = self._net.nodes[peer_id]
        fault, other.faults = other.faults[:1] or "r", other.faults[1:]
        other.received.append((self._peer_id, payload))
        if fault == "T":
            await asyncio.sleep(timeout_s)
            raise SourceTooSlow("no answer", source_id=peer_id)
        if fault == "E" or peer_id not in self.linked:
            raise SourceGone("reset", source_id=peer_id)
        if fault == "G":
            return GARBAGE
        responder = other._responders.get(protocol)
        if responder is None:
            raise SourceRefused(f"does not speak {protocol}", source_id=peer_id)
        if len(payload) > other._max_request_bytes[protocol]:
            raise SourceGone("request is too long", source_id=peer_id)
        response = await responder(self._peer_id, payload)
        other.seen.append((protocol, payload))
        if response is not None:
            other.seen.append((protocol, response))
        return response
