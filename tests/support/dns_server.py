"""A DNS server on loopback that answers TXT questions from a table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from dns.asyncresolver import Resolver


@dataclass
class Zone:
    """TXT records by name; a name that is absent does not exist."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    ttl_s: int = 60
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    is_silent: bool = False
    is_cut: bool = False  # UDP answers say that they are cut off
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def resolver(self) -> Resolver:
        """Return a resolver that asks this server alone."""
        resolver = Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self.port
        return resolver

    def answer(self, wire: bytes, *, by_udp: bool) -> bytes:
        """Return the answer to one question."""
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text().rstrip(".")
        self.asked.append(name)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        response.set_rcode(self.rcode)
        if self.is_cut and by_udp:
            response.flags |= dns.flags.TC
            return response.to_wire()
        if (texts := self.texts.get(name)) is None:
            if self.rcode == dns.rcode.NOERROR:
                response.set_rcode(dns.rcode.NXDOMAIN)
        elif texts:
            rrset = dns.rrset.from_text_list(query.question[0].name, self.ttl_s, "IN", "TXT", texts)
            response.answer.append(rrset)
        return response.to_wire()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # In Python 3.11 the class of the transport does not say that it is one.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self._zone.is_silent:
            self._transport.sendto(self._zone.answer(data, by_udp=True), addr)


@asynccontextmanager
async def dns_server(zone: Zone) -> AsyncIterator[Zone]:
    """Answer from `zone`, over UDP and TCP, for the length of the block."""

    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        response = zone.answer(wire, by_udp=False)
        writer.write(len(response).to_bytes(2, "big") + response)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(over_tcp, "127.0.0.1", 0)
    zone.port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Udp(zone), local_addr=("127.0.0.1", zone.port)
    )
    try:
        yield zone
    finally:
        transport.close()
        server.close()
        await server.wait_closed()
