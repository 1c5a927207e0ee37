"""Answers to other peers' DHT requests.

Pure: takes a decoded message of an authenticated peer and the time, changes the stores of provider
records and values, and returns the answer. A value that is not kept gets no answer.

Driven by: `routing.kad.node`. Spec: libp2p kad-dht, "RPC messages"; where go-libp2p differs (no
answer to ADD_PROVIDER) go-libp2p is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mirrornode.errors import RemoteProtocolError
from mirrornode.routing.kad.keys import kad_id
from mirrornode.routing.kad.table import K, RoutingTable
from mirrornode.wire.kad import Connection, KadMessage, KadPeer, MessageType
from mirrornode.wire.peer_id import peer_id_to_text

if TYPE_CHECKING:
    from mirrornode.routing.kad.addresses import AddressBook, AddressFilter
    from mirrornode.routing.kad.records import ProviderStore
    from mirrornode.routing.kad.values import ValueStore

MAX_CONTENT_KEY_BYTES = 80  # go: multihashes of provider records are 1..80 bytes
MAX_PROVIDERS_SENT = 100


class KadServer:
    """Answers from a routing table, an address book and a record store.

    Args:
        peer_id: Ours.
        table: Whom we know.
        book: Where they are.
        records: What others provide.
        values: What others gave us to keep.
        address_filter: What may be told over which link.
        own_addresses: Our multiaddrs at present, without /p2p.
        is_connected: Whether a peer is linked at present.
    """

    def __init__(
        self,
        peer_id: str,
        *,
        table: RoutingTable,
        book: AddressBook,
        records: ProviderStore,
        values: ValueStore,
        address_filter: AddressFilter,
        own_addresses: Callable[[], Sequence[str]],
        is_connected: Callable[[str], bool],
    ) -> None:
        self._peer_id = peer_id
        self._table = table
        self._book = book
        self._records = records
        self._values = values
        self._filter = address_filter
        self._own_addresses = own_addresses
        self._is_connected = is_connected
        self.own_keys: set[bytes] = set()  # multihashes we provide ourselves

    def answer(
        self, asker: str, link_address: str, message: KadMessage, now: float
    ) -> KadMessage | None:
        """Return the answer to send, or None for none.

        Args:
            asker: The authenticated peer id.
            link_address: The address the asker is connected through.
            message: Its request.
            now: Monotonic seconds.

        Raises:
            RemoteProtocolError: A request that makes no sense; close without an answer.
        """
        kind = message.type
        if kind is MessageType.PING:
            return KadMessage(MessageType.PING)
        if not message.key:
            raise RemoteProtocolError(f"{kind.name} without a key")
        if kind is MessageType.FIND_NODE:
            return KadMessage(kind, closer_peers=self._nodes(message.key, asker, link_address))
        if kind is MessageType.GET_VALUE:
            closer = self._closer(message.key, asker, link_address)
            return KadMessage(kind, message.key, closer, record=self._values.get(message.key, now))
        if kind is MessageType.PUT_VALUE:
            return self._keep_value(asker, message, now)
        if len(message.key) > MAX_CONTENT_KEY_BYTES:
            raise RemoteProtocolError(f"a content key of {len(message.key)} bytes")
        if kind is MessageType.ADD_PROVIDER:
            self._keep(asker, link_address, message, now)
            return None
        return KadMessage(
            kind,
            message.key,
            self._closer(message.key, asker, link_address),
            self._providers(message.key, link_address, now),
        )

    def _keep(self, asker: str, link_address: str, message: KadMessage, now: float) -> None:
        for peer in message.provider_peers:
            if peer.peer_id != asker:
                continue  # spec: only the provider itself may say so
            addresses = self._filter.select(peer.addresses, link_address)
            if addresses:
                self._book.add(asker, addresses)
                self._records.add(message.key, asker, addresses, now)

    def _keep_value(self, asker: str, message: KadMessage, now: float) -> KadMessage:
        """Keep a value and say so by sending it back, as go does."""
        record = message.record
        if record is None or record.key != message.key:
            raise RemoteProtocolError("PUT_VALUE without a record of its key")
        self._values.put(record.key, record.value, asker, now)
        return message

    def _providers(self, key: bytes, link_address: str, now: float) -> tuple[KadPeer, ...]:
        providers = [
            KadPeer(
                record.peer_id,
                tuple(self._filter.select(record.addresses, link_address)),
                self._connection(record.peer_id),
            )
            for record in self._records.get(key, now)[:MAX_PROVIDERS_SENT]
        ]
        if key in self.own_keys:
            own = self._filter.select(self._own_addresses(), link_address)
            providers.insert(0, KadPeer(self._peer_id, tuple(own), Connection.CONNECTED))
        return tuple(providers)

    def _nodes(self, key: bytes, asker: str, link_address: str) -> tuple[KadPeer, ...]:
        nodes = self._closer(key, asker, link_address)
        try:
            target = peer_id_to_text(key)
        except RemoteProtocolError:
            return nodes  # walking towards a content key
        if target == asker or any(peer.peer_id == target for peer in nodes):
            return nodes
        if target == self._peer_id:  # go takes a server into its table by this very answer
            own = self._filter.select(self._own_addresses(), link_address)
            entry = KadPeer(target, tuple(own), Connection.CONNECTED)
        else:
            entry = self._entry(target, link_address)  # found even when it is a client
        return (entry, *nodes[: K - 1]) if entry.addresses else nodes

    def _closer(self, key: bytes, asker: str, link_address: str) -> tuple[KadPeer, ...]:
        nearest = self._table.closest(kad_id(key), K, exclude=(asker, self._peer_id))
        entries = (self._entry(peer_id, link_address) for peer_id in nearest)
        return tuple(entry for entry in entries if entry.addresses)

    def _entry(self, peer_id: str, link_address: str) -> KadPeer:
        addresses = self._filter.select(self._book.get(peer_id), link_address)
        return KadPeer(peer_id, tuple(addresses), self._connection(peer_id))

    def _connection(self, peer_id: str) -> Connection:
        return Connection.CONNECTED if self._is_connected(peer_id) else Connection.NOT_CONNECTED
