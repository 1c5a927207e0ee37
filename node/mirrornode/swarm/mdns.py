"""Finds peers on the local network and lets them find us: libp2p's mDNS, over zeroconf.

We announce a service `_p2p._udp.local.` under a random name with one TXT attribute `dnsaddr=…`
per address, and browse for the same; Kubo and every libp2p node do so, too. What is found is
only reported; whether to dial is the caller's. Answers come from anybody on the network: they are
bounded, and addresses that do not lie on the local network are left out.

Runs in asyncio, knows neither libp2p nor trio. Without a usable network it warns once and keeps
trying when the interfaces change.
Spec: libp2p discovery/mdns.md. Kubo reads only the TXT record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import string
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

from zeroconf import DNSQuestionType, IPVersion, ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mirrornode.swarm.addresses import InterfaceAddress, TcpAddress, interface_addresses

SERVICE = "_p2p._udp.local."
MAX_TXT_STRING = 255  # DNS: one length byte
MAX_TXT_BYTES = 4096
MAX_ANNOUNCED = 16
MAX_STRINGS = 64  # of one answer
MAX_ADDRESSES = 16  # of one peer
MAX_INSTANCES = 256  # peers that are remembered at a time
ASK_TIMEOUT_S = 2.0
CHECK_S = 10.0  # how often our own addresses are compared with what is announced
REPEAT_S = 30.0  # how often what is known is reported again: a dial may have failed
CLOSE_TIMEOUT_S = 0.8

_PREFIX = b"dnsaddr="
_NAME_LETTERS = string.ascii_lowercase + string.digits
_NAME_LENGTH = 40  # the spec: 32 to 63

OnFound = Callable[[str, list[str]], None]

log = logging.getLogger(__name__)


class Announced(Protocol):
    """Whose addresses are announced: a `Swarm`."""

    peer_id: str

    def addresses(self) -> list[str]: ...


@contextlib.asynccontextmanager
async def open_mdns(swarm: Announced, on_found: OnFound) -> AsyncIterator[None]:
    """Announce `swarm` and report peers for as long as the context lasts.

    Args:
        swarm: Asked for its addresses now and every `CHECK_S`; a change is announced.
        on_found: Called in the asyncio loop with a peer id and its multiaddrs (with `/p2p`), when
            a peer appears, when its answer changes and every `REPEAT_S`. Never with our own id.
    """
    task = asyncio.create_task(_Discovery(swarm, on_found).run(), name="mdns")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (failure := task.exception()):
            log.error("mdns ended early error=%r", failure)


def encode_txt(addresses: Iterable[str]) -> bytes:
    """Return the TXT record: one string per address, each with its length before it.

    Addresses too long for a string and those past `MAX_ANNOUNCED` are left out; loopback ones
    are, too, unless there is nothing else.
    """
    parsed = [TcpAddress.parse(text) for text in addresses]
    others = [each for each in parsed if each.ip is None or not each.ip.is_loopback]
    strings = [_PREFIX + str(each).encode() for each in (others or parsed)[:MAX_ANNOUNCED]]
    return b"".join(bytes((len(s),)) + s for s in strings if len(s) <= MAX_TXT_STRING)


def decode_txt(txt: bytes, interfaces: Sequence[InterfaceAddress]) -> dict[str, list[str]]:
    """Return the dialable local multiaddrs of a TXT record by peer id; never raises.

    Args:
        txt: From anybody on the network.
        interfaces: Ours; a public address counts as local when it is in one of their networks.
    """
    found: dict[str, list[str]] = {}
    position = 0
    for _ in range(MAX_STRINGS):
        if position >= min(len(txt), MAX_TXT_BYTES):
            break
        start = position + 1
        position = start + txt[position]
        text = txt[start:position]
        if not text.startswith(_PREFIX):
            continue
        try:
            address = TcpAddress.parse(text[len(_PREFIX) :].decode("ascii"))
        except ValueError:
            continue
        if address.peer_id and address.port and _is_local(address, interfaces):
            known = found.setdefault(address.peer_id, [])
            if len(known) < MAX_ADDRESSES:
                known.append(str(address))
    return found


def _is_local(address: TcpAddress, interfaces: Sequence[InterfaceAddress]) -> bool:
    ip = address.ip
    if ip is None or ip.is_unspecified or ip.is_multicast:
        return False
    if ip.version == 6 and ip.is_link_local:
        return False  # means nothing without a zone
    return not ip.is_global or any(each.is_neighbour(ip) for each in interfaces)


class _Discovery:
    """One announcement and one browser, renewed whenever our addresses change."""

    def __init__(self, swarm: Announced, on_found: OnFound) -> None:
        self._swarm = swarm
        self._on_found = on_found
        self._name = "".join(secrets.choice(_NAME_LETTERS) for _ in range(_NAME_LENGTH))
        self._instances: dict[str, dict[str, list[str]]] = {}  # instance name to its answer
        self._asking: set[asyncio.Task[None]] = set()
        self._has_warned = False

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            addresses = self._swarm.addresses()
            try:
                await self._run_with(addresses)
            except (OSError, ZeroconfError) as exc:
                if not self._has_warned:
                    log.warning("mdns is not possible here, going on without error=%r", exc)
                    self._has_warned = True
                await self._until_changed(addresses)

    async def _run_with(self, addresses: list[str]) -> None:
        """Announce `addresses` and browse until they are no longer ours."""
        zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only)
        browser = AsyncServiceBrowser(
            zeroconf.zeroconf,
            SERVICE,
            handlers=[self._on_change],
            question_type=DNSQuestionType.QM,
        )
        try:
            if addresses:
                # The name is random: probing for others that have it would only cost 0.5 s.
                await zeroconf.async_register_service(
                    self._service(addresses), cooperating_responders=True
                )
            async with asyncio.TaskGroup() as tasks:
                repeat = tasks.create_task(self._repeat())
                await self._until_changed(addresses)
                repeat.cancel()
        finally:
            for task in self._asking:
                task.cancel()
            with contextlib.suppress(TimeoutError, OSError, ZeroconfError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await browser.async_cancel()
                    await zeroconf.async_close()

    def _service(self, addresses: list[str]) -> ServiceInfo:
        parsed = [TcpAddress.parse(text) for text in addresses]
        return ServiceInfo(
            SERVICE,
            f"{self._name}.{SERVICE}",
            port=parsed[0].port,
            properties=encode_txt(addresses),
            server=f"{self._name}.local.",
            parsed_addresses=[each.host for each in parsed if each.kind == "ip4"],
        )

    async def _until_changed(self, addresses: list[str]) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            if self._swarm.addresses() != addresses:
                return

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(REPEAT_S)
            for answer in list(self._instances.values()):
                self._report(answer)

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """Called by zeroconf in the loop when an instance appears, changes or says goodbye."""
        if state_change is ServiceStateChange.Removed:
            self._instances.pop(name, None)
        elif not name.startswith(self._name) and len(self._asking) < MAX_INSTANCES:
            task = asyncio.ensure_future(self._ask(zeroconf, service_type, name))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        """Get an instance's TXT record, which is often in the packet that announced it."""
        try:
            record = AsyncServiceInfo(service_type, name)
            record.load_from_cache(zeroconf)
            if not record.text:
                await record.async_request(zeroconf, ASK_TIMEOUT_S * 1000)
        except (OSError, ZeroconfError) as exc:
            log.debug("mdns answer not read error=%r", exc)
            return
        answer = decode_txt(record.text or b"", interface_addresses())
        answer.pop(self._swarm.peer_id, None)
        if answer and (name in self._instances or len(self._instances) < MAX_INSTANCES):
            self._instances[name] = answer
            self._report(answer)

    def _report(self, answer: dict[str, list[str]]) -> None:
        for peer_id, addresses in answer.items():
            try:
                self._on_found(peer_id, list(addresses))
            except Exception:  # the caller's bug must not end discovery
                log.exception("mdns callback failed")
