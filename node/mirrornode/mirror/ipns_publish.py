"""Publishing names: signing what they mean, giving that to the network, and giving it again.

A record runs out, and whoever keeps it forgets it after two days; so as long as the node runs,
every name is signed and put again each few hours, sooner while few peers keep it. The sequence goes
up by one when the value changes, also from what another node has published with the same key. The
last record is in the catalog before anybody is told, so a restart never goes back.

Spec: ipfs/specs `ipns/ipns-record.md`, "Record Creation"; Kubo `Ipns.RepublishPeriod`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mirrornode.errors import MirrorError, TargetError
from mirrornode.store.names import Publication
from mirrornode.wire.ipns import (
    NANOSECONDS,
    IpnsRecord,
    create_record,
    dht_key,
    name_to_bytes,
    name_to_text,
    read_record,
)

if TYPE_CHECKING:
    from mirrornode.mirror.ipns import NameResolver, ValuePort
    from mirrornode.mirror.name_keys import NameKeys
    from mirrornode.store.names import NameTables
    from mirrornode.swarm.identity import Identity

log = logging.getLogger(__name__)

DEFAULT_LIFETIME_S: Final = 48 * 3600.0
DEFAULT_TTL_S: Final = 300.0
MIN_LIFETIME_S: Final = 60.0
MAX_LIFETIME_S: Final = 366 * 86_400.0
REPUBLISH_S: Final = 4 * 3600.0
MIN_REPUBLISH_S: Final = 30.0  # of names with a very short life
FIRST_RETRY_S: Final = 30.0  # doubled up to REPUBLISH_S while too few peers keep it
POLL_S: Final = 15.0
ENOUGH_PEERS: Final = 20  # Kademlia's k


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What the user wants a name to mean.

    Attributes:
        path: `/ipfs/<cid>[/path]`.
        target: As typed, for lists.
        key_name: The key that signs; made when there is none.
    """

    path: str
    target: str
    key_name: str
    lifetime_s: float = DEFAULT_LIFETIME_S
    ttl_s: float = DEFAULT_TTL_S


@dataclass(frozen=True, slots=True)
class Published:
    """A name that means something from now on; `is_new_key` when its key was made for it."""

    publication: Publication
    is_new_key: bool

    def to_record(self) -> dict[str, Any]:
        """Return what the user is told."""
        return {**publication_record(self.publication), "new_key": self.is_new_key}


class NamePublisher:
    """The names of one node. Belongs to one event loop.

    Args:
        catalog: Where records and sequences are kept.
        keys: What signs.
        dht: Whom records are given to.
        resolver: Knows what others have published with the same key.
        clock: Unix seconds.
    """

    def __init__(
        self,
        catalog: NameTables,
        keys: NameKeys,
        dht: ValuePort,
        resolver: NameResolver,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._keys = keys
        self._dht = dht
        self._resolver = resolver
        self._clock = clock
        self._signing = asyncio.Lock()  # from reading the last record to keeping the next one
        self._retries: Counter[str] = Counter()  # by key, since enough peers kept it
        self._told: set[str] = set()  # keys of what peers got from this process

    async def publish(self, request: PublishRequest) -> Published:
        """Let a name mean something else from now on.

        Returns:
            The name as published; `kept_by` is 0 when nobody could be told yet.

        Raises:
            TargetError: The key cannot be called so, or a time makes no sense.
            StoreError: The key or the catalog cannot be used.
        """
        _check_times(request)
        identity, is_new = await asyncio.to_thread(self._keys.open, request.key_name)
        name = name_to_bytes(identity.peer_id)
        async with self._signing:
            known = await asyncio.to_thread(self._catalog.publication, request.key_name)
            last = read_record(known.record) if known is not None else None
            if not is_new:  # another node may have used this key, or this one before a loss
                found = await self._resolver.newest(name)
                last = max(filter(None, (last, found)), key=lambda r: r.rank, default=None)
            now = self._clock()
            record = _next_record(identity, request, last, now)
            publication = Publication(
                key_name=request.key_name,
                name=name,
                target=request.target,
                record=record.binary,
                lifetime_s=request.lifetime_s,
                is_active=True,
                changed_at=now,
                published_at=None,
                kept_by=0,
            )
            await asyncio.to_thread(self._catalog.put_publication, publication)
            self._retries.pop(request.key_name, None)
            return Published(await self._tell(publication), is_new)

    async def stop(self, key_name: str) -> Publication:
        """Give a name to the network no more; what peers keep of it runs out by itself.

        Raises:
            TargetError: It is not published.
        """
        async with self._signing:
            if not await asyncio.to_thread(self._catalog.stop_publication, key_name):
                raise TargetError(f"nothing is published with a key called {key_name[:80]!r}")
            stopped = await asyncio.to_thread(self._catalog.publication, key_name)
        assert stopped is not None, "a publication is never removed"
        return stopped

    async def run(self) -> None:
        """Publish again what is due, until cancelled."""
        while True:
            await self._dht.wait_for_peers()
            try:
                await self.republish_due()
            except MirrorError as exc:
                log.warning("names not published again reason=%s", exc)
            await asyncio.sleep(POLL_S)

    async def republish_due(self) -> int:
        """Publish again what is due now; return how many names that were."""
        if not self._dht.table_size:
            return 0
        done = 0
        for publication in await asyncio.to_thread(self._catalog.publications):
            if not publication.is_active or not self._is_due(publication):
                continue
            async with self._signing:
                current = await asyncio.to_thread(self._catalog.publication, publication.key_name)
                if current == publication:  # else the user was faster
                    await self._republish(publication)
                    done += 1
        return done

    def _is_due(self, publication: Publication) -> bool:
        if publication.published_at is None or publication.key_name not in self._told:
            return True  # new, or this node was away for who knows how long
        age_s = abs(self._clock() - publication.published_at)  # a clock may have been set back
        period_s = min(REPUBLISH_S, max(publication.lifetime_s / 3, MIN_REPUBLISH_S))
        if publication.kept_by < min(ENOUGH_PEERS, self._dht.table_size):
            doublings = min(self._retries[publication.key_name], 16)
            period_s = min(period_s, FIRST_RETRY_S * 2**doublings)
        return age_s >= period_s

    async def _republish(self, publication: Publication) -> None:
        identity = await asyncio.to_thread(self._keys.find, publication.key_name)
        if identity is None or name_to_bytes(identity.peer_id) != publication.name:
            log.error("name not published again, its key is gone key=%s", publication.key_name)
            await asyncio.to_thread(self._catalog.stop_publication, publication.key_name)
            return
        last = read_record(publication.record)
        end = self._clock() + publication.lifetime_s
        record = create_record(
            identity.private_seed,
            last.value.decode(),
            sequence=last.sequence,
            expires_at=end,
            ttl_s=last.ttl_ns / NANOSECONDS,
        )
        if record.rank > last.rank:
            publication = replace(publication, record=record.binary)
            await asyncio.to_thread(self._catalog.put_publication, publication)
        wanted = min(ENOUGH_PEERS, self._dht.table_size)  # who refuses may be out of it by then
        if (await self._tell(publication)).kept_by < wanted:
            self._retries[publication.key_name] += 1
        else:
            self._retries.pop(publication.key_name, None)

    async def _tell(self, publication: Publication) -> Publication:
        """Give a record to the network and note how that went."""
        if not self._dht.table_size:
            return publication
        try:
            kept_by = await self._dht.put_value(dht_key(publication.name), publication.record)
        except MirrorError as exc:
            kept_by = 0
            log.warning("name not published key=%s reason=%s", publication.key_name, exc)
        self._told.add(publication.key_name)
        told = replace(publication, published_at=self._clock(), kept_by=kept_by)
        await asyncio.to_thread(self._catalog.mark_published, told.key_name, self._clock(), kept_by)
        return told


def list_publications(catalog: NameTables) -> list[dict[str, Any]]:
    """Return what `publish --list` and `status` show; blocking."""
    return [publication_record(each) for each in catalog.publications() if each.is_active]


def publication_record(publication: Publication) -> dict[str, Any]:
    """Return one name of ours as the user sees it; times are Unix seconds."""
    record = read_record(publication.record)
    return {
        "key": publication.key_name,
        "name": name_to_text(publication.name),
        "path": record.value.decode("utf-8", "replace"),
        "target": publication.target,
        "sequence": record.sequence,
        "ttl_s": record.ttl_ns / NANOSECONDS,
        "lifetime_s": publication.lifetime_s,
        "changed_at": publication.changed_at,
        "expires_at": record.expires_ns / NANOSECONDS,
        "published_at": publication.published_at,
        "kept_by": publication.kept_by,
    }


def _next_record(
    identity: Identity, request: PublishRequest, last: IpnsRecord | None, now: float
) -> IpnsRecord:
    """Sign what is asked for so that it is newer than the last record."""

    def signed(sequence: int) -> IpnsRecord:
        return create_record(
            identity.private_seed,
            request.path,
            sequence=sequence,
            expires_at=now + request.lifetime_s,
            ttl_s=request.ttl_s,
        )

    if last is None:
        return signed(0)
    if last.value == request.path.encode():
        again = signed(last.sequence)
        if again.rank > last.rank:
            return again
    return signed(last.sequence + 1)


def _check_times(request: PublishRequest) -> None:
    if not MIN_LIFETIME_S <= request.lifetime_s <= MAX_LIFETIME_S:
        raise TargetError(
            f"a lifetime of {request.lifetime_s:g} s: give between one minute and 366 days"
        )
    if not 0 <= request.ttl_s <= request.lifetime_s:
        raise TargetError(f"a TTL of {request.ttl_s:g} s: give no more than the lifetime")
