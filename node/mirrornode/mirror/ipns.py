"""What a name means now: keys of this node, records from the network, domains.

A record is believed by its signature, so anybody may bring one: the DHT and delegated routers are
asked at once and the newest wins, also over what was seen before. What was seen counts for its TTL,
and beyond it, with a note, while nobody can be asked and it has not run out. Publishing is
`mirror.ipns_publish`.

Spec: ipfs/specs `ipns/ipns-record.md`, "Record Verification"; DNSLink.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from mirrornode.errors import (
    LimitExceeded,
    MirrorError,
    NoProviders,
    RemoteProtocolError,
    SourceGone,
    TargetError,
)
from mirrornode.routing.dnslink import is_domain
from mirrornode.store.names import KnownName
from mirrornode.wire.ipns import (
    NANOSECONDS,
    IpnsRecord,
    dht_key,
    name_to_bytes,
    name_to_text,
    read_record,
    verify_record,
)
from mirrornode.wire.ipns_path import Meaning, parse_meaning, parse_name_target

if TYPE_CHECKING:
    from mirrornode.mirror.name_keys import NameKeys
    from mirrornode.routing.dnslink import Link
    from mirrornode.store.names import NameTables

log = logging.getLogger(__name__)

MAX_NAMES: Final = 32  # that point to each other, as in Kubo
LOOKUP_TIMEOUT_S: Final = 10.0  # for one name, all places together
DEFAULT_TTL_S: Final = 60.0  # of a record that does not say: as boxo caches
MAX_TTL_S: Final = 86_400.0  # names are there to move, whatever their owner writes
MAX_LOOKUPS: Final = 16  # under way at a time; more wait


class ValuePort(Protocol):
    """The DHT: `routing.kad.node.Kad`."""

    @property
    def table_size(self) -> int: ...

    async def wait_for_peers(self) -> None:
        """Return as soon as there is somebody to ask."""

    async def get_value(self, key: bytes, *, timeout_s: float = 10.0) -> IpnsRecord | None: ...

    async def put_value(self, key: bytes, value: bytes) -> int: ...


class RecordRouter(Protocol):
    """A delegated router: somebody to ask by HTTP."""

    async def ipns_record(self, name_text: str) -> bytes | None:
        """Return an unverified record of at most 10 KiB, None when there is none.

        Raises:
            SourceError: It cannot be asked.
        """


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a name means.

    Attributes:
        path: `/ipfs/<cid>[/path]`, with the user's path appended.
        ttl_s: How long that may be kept: the least of all names on the way.
        record: The record of the name that was asked for; None for a domain.
        note: What the user should know about it; "" for nothing.
    """

    path: str
    ttl_s: float
    record: bytes | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one name says: a meaning, for how long, and the record that says it."""

    meaning: Meaning
    ttl_s: float
    record: IpnsRecord | None = None
    note: str = ""


class NameResolver:
    """Finds out what names mean. Belongs to one event loop.

    Args:
        catalog: Where names of ours and those seen before are kept.
        keys: Of this node.
        dht: Carries records.
        routers: Asked besides.
        look_up_domain: `routing.dnslink.DnsLinks.look_up`.
        clock: Unix seconds.
    """

    def __init__(
        self,
        catalog: NameTables,
        keys: NameKeys,
        dht: ValuePort,
        *,
        routers: Sequence[RecordRouter] = (),
        look_up_domain: Callable[[str], Awaitable[Link]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._keys = keys
        self._dht = dht
        self._routers = routers
        self._look_up_domain = look_up_domain
        self._clock = clock
        self._flights: dict[tuple[str, bool], asyncio.Task[_Answer]] = {}  # by name and freshness
        self._open_lookups = asyncio.Semaphore(MAX_LOOKUPS)
        self._remembering = asyncio.Lock()  # between comparing with what is known and keeping it

    async def close(self) -> None:
        """End look-ups that nobody waits for any more."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def resolve(self, text: str, *, fresh: bool = False) -> Resolved:
        """Return what `ipns://NAME[/path]`, `/ipns/NAME[/path]` or `NAME[/path]` means.

        Args:
            fresh: Ask, even if what was seen before still counts.

        Raises:
            TargetError: Not a name.
            NoProviders: Nobody reachable knows it.
            SourceGone: The DNS does not answer.
            ContentError: It stands for nothing that can be fetched, or names go round in a circle.
        """
        target = parse_name_target(text)
        name, parts = target.name, target.parts
        ttl_s, record = MAX_TTL_S, None
        notes: list[str] = []
        for step in range(MAX_NAMES):
            answer = await self._look_up(name, fresh=fresh)
            if step == 0 and answer.record is not None:
                record = answer.record.binary
            ttl_s = min(ttl_s, answer.ttl_s)
            notes += [answer.note] if answer.note else []
            parts = (*answer.meaning.parts, *parts)
            name = answer.meaning.head
            if answer.meaning.kind == "ipfs":
                path = Meaning("ipfs", name, parts)
                return Resolved(str(path), ttl_s, record, "; ".join(notes))
        raise LimitExceeded(f"{target.name} leads through more than {MAX_NAMES} names")

    async def get_record(self, name_text: str) -> bytes | None:
        """Return the newest valid record of a name, None when nobody reachable has one.

        Raises:
            TargetError: Not a name that has records.
        """
        name = name_to_text(name_to_bytes(name_text))
        try:
            answer = await self._look_up(name, fresh=False)
        except NoProviders:
            return None
        record = answer.record
        is_valid = record is not None and record.is_valid_at(self._clock())
        return record.binary if record is not None and is_valid else None

    async def put_record(self, name_text: str, binary: bytes) -> int:
        """Take a record that somebody else has signed, and pass it on; return how many keep it.

        Raises:
            TargetError: Not a name that has records.
            RemoteProtocolError: Not to be believed, or older than what is known here.
        """
        name = name_to_bytes(name_text)
        record = verify_record(name, binary, self._clock())
        meaning = _meaning_of(record)
        if not await self._remember(name_to_text(name), meaning, record):
            raise RemoteProtocolError("a record that is older than the one known here")
        return await self._dht.put_value(dht_key(name), binary) if self._dht.table_size else 0

    async def newest(self, name: bytes) -> IpnsRecord | None:
        """Return the newest record that the network or this node has seen of a binary name."""
        text = name_to_text(name)
        found = await self._ask_network(name, text)
        known = await asyncio.to_thread(self._known_record, text)
        candidates = [*found, *([known[0]] if known is not None else [])]
        return max(candidates, key=lambda record: record.rank, default=None)

    # -- one name --------------------------------------------------------------------------------

    async def _look_up(self, name: str, *, fresh: bool) -> _Answer:
        own = await asyncio.to_thread(self._own, name)
        if own is not None:
            return own
        if is_domain(name):
            key = name.lower()
        else:
            try:
                key = name_to_text(name_to_bytes(name))
            except TargetError as exc:
                known = ", ".join(await asyncio.to_thread(self._keys.names))
                raise TargetError(
                    f"{name[:100]!r} is no name: give k51…, a domain, or a key of this node that "
                    f"publishes something (keys: {known})"
                ) from exc
        flight = self._flights.get((key, True)) or self._flights.get((key, fresh))
        if flight is None:
            flight = asyncio.create_task(self._keep_or_ask(key, fresh=fresh))
            self._flights[key, fresh] = flight
            flight.add_done_callback(functools.partial(self._landed, (key, fresh)))
        return await asyncio.shield(flight)

    async def _keep_or_ask(self, key: str, *, fresh: bool) -> _Answer:
        # Looked up inside the flight: who looked before it and came after it would ask once more.
        kept = None if fresh else await asyncio.to_thread(self._kept, key)
        return kept if kept is not None else await self._ask(key)

    def _landed(self, key: tuple[str, bool], flight: asyncio.Task[_Answer]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # whoever waited has got it; perhaps nobody did

    def _own(self, name: str) -> _Answer | None:
        """Return what a name of ours means; blocking."""
        for publication in self._catalog.publications():
            if not publication.is_active:
                continue
            if name == publication.key_name or _is_text_of(name, publication.name):
                # We say what it means: its end matters to others only.
                record = read_record(publication.record)
                return _Answer(_meaning_of(record), _ttl_of(record, self._clock()), record)
        return None

    async def _ask(self, key: str) -> _Answer:
        """Ask for a name, one of up to `MAX_LOOKUPS`."""
        async with self._open_lookups:
            if is_domain(key):
                return await self._ask_dns(key)
            return await self._ask_for_record(key)

    async def _ask_dns(self, domain: str) -> _Answer:
        try:
            link = await self._look_up_domain(domain)
        except SourceGone as exc:
            known = await asyncio.to_thread(self._catalog.known_name, domain)
            if known is None:
                raise
            note = f"{exc}; using what {domain} meant {self._age(known)} ago"
            return _Answer(parse_meaning(known.path), 0.0, note=note)
        meaning = parse_meaning(link.path)
        ttl_s = min(link.ttl_s, MAX_TTL_S)
        known = KnownName(domain, str(meaning), ttl_s, None, self._clock())
        await asyncio.to_thread(self._catalog.put_known_name, known)
        return _Answer(meaning, ttl_s)

    async def _ask_for_record(self, text: str) -> _Answer:
        found = await self._ask_network(name_to_bytes(text), text)
        best = max(found, key=lambda record: record.rank, default=None)
        if best is not None:
            meaning = _meaning_of(best)
            if await self._remember(text, meaning, best):
                return _Answer(meaning, _ttl_of(best, self._clock()), best)
        known = await asyncio.to_thread(self._known_record, text)
        if known is None:
            raise NoProviders(
                f"nobody reachable has a record of {text}; it may have run out: its owner's node "
                "must run, or publish again"
            )
        record, seen = known
        meaning = _meaning_of(record)
        if best is not None:  # some have an older one only
            return _Answer(meaning, _ttl_of(record, self._clock()), record)
        note = f"nobody reachable has a record of {text}; using what it meant {self._age(seen)} ago"
        return _Answer(meaning, 0.0, record, note)

    async def _ask_network(self, name: bytes, text: str) -> list[IpnsRecord]:
        """Return the valid records that the DHT and the routers have."""
        asked = [self._ask_router(router, name, text) for router in self._routers]
        if self._dht.table_size:
            asked.append(self._dht.get_value(dht_key(name), timeout_s=LOOKUP_TIMEOUT_S))
        return [record for record in await asyncio.gather(*asked) if record is not None]

    async def _ask_router(self, router: RecordRouter, name: bytes, text: str) -> IpnsRecord | None:
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                binary = await router.ipns_record(text)
            return verify_record(name, binary, self._clock()) if binary is not None else None
        except (MirrorError, TimeoutError) as exc:
            log.debug("router gave no record name=%s reason=%s", text, exc)
            return None

    # -- what was seen before --------------------------------------------------------------------

    def _kept(self, key: str) -> _Answer | None:
        """Return what was seen, while it counts; blocking."""
        known = self._catalog.known_name(key)
        if known is None:
            return None
        left_s = known.seen_at + known.ttl_s - self._clock()
        if not 0 < left_s <= known.ttl_s:  # or the clock was set back
            return None
        if known.record is None:
            return _Answer(parse_meaning(known.path), left_s)
        valid = self._known_record(key)
        return _Answer(parse_meaning(known.path), left_s, valid[0]) if valid is not None else None

    def _known_record(self, text: str) -> tuple[IpnsRecord, KnownName] | None:
        """Return the record last seen, if it has not run out; blocking."""
        known = self._catalog.known_name(text)
        if known is None or known.record is None:
            return None
        try:
            return verify_record(name_to_bytes(text), known.record, self._clock()), known
        except RemoteProtocolError:
            return None

    async def _remember(self, text: str, meaning: Meaning, record: IpnsRecord) -> bool:
        """Keep a record, unless a newer one is known; return whether it is kept."""
        now = self._clock()
        seen = KnownName(text, str(meaning), _ttl_of(record, now), record.binary, now)
        async with self._remembering:
            known = await asyncio.to_thread(self._known_record, text)
            if known is not None and known[0].rank > record.rank:
                return False
            await asyncio.to_thread(self._catalog.put_known_name, seen)
            return True

    def _age(self, known: KnownName) -> str:
        minutes = max(0.0, self._clock() - known.seen_at) / 60
        return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def _meaning_of(record: IpnsRecord) -> Meaning:
    return parse_meaning(record.value.decode("utf-8", "replace"))


def _ttl_of(record: IpnsRecord, now: float) -> float:
    """Return how many seconds a record may be used without looking for a newer one."""
    ttl_s = record.ttl_ns / NANOSECONDS or DEFAULT_TTL_S
    return max(0.0, min(ttl_s, MAX_TTL_S, record.expires_ns / NANOSECONDS - now))


def _is_text_of(text: str, name: bytes) -> bool:
    try:
        return name_to_bytes(text) == name
    except TargetError:
        return False
