"""Messages of the Kademlia DHT, as bytes and as values.

Encodes and decodes one protobuf message, without its length prefix. Strict about what is broken
(only `RemoteProtocolError` comes out of garbage), forgiving about what is merely unknown: unknown
fields and addresses of unknown transports are left out. Which record to believe is decided in
`routing.kad`; what is in a value (a record of IPNS) is `wire.ipns`.

Spec: libp2p kad-dht, "RPC messages"; go-libp2p-kad-dht `pb/dht.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.wire.multiaddr import multiaddr_to_bytes, multiaddr_to_text, split_peer_id
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_text
from mirrornode.wire.protobuf import encode_bytes_field, encode_varint_field, read_fields

MAX_KEY_BYTES = 128  # go accepts multihashes of 1..80 bytes; names of values are a little longer
MAX_VALUE_BYTES = 10 * 1024  # of a record: IPNS allows no more
MAX_TIME_CHARACTERS = 64  # RFC 3339 with nanoseconds has 35
MAX_CLOSER_PEERS = 64  # servers send k = 20; the rest of a longer list is not read
MAX_PROVIDER_PEERS = 512
MAX_ADDRESSES = 20  # per peer, written and read
MAX_PEER_ADDRESS_BYTES = 8 * 1024  # per peer: go cuts there too
USUAL_PEER_BYTES = 512  # entries up to here are remembered: every answer names the same peers
MAX_PEER_FIELDS = 256  # of one peer entry; bounds what a hostile answer costs to read


class MessageType(IntEnum):
    """What a message asks for; the answer carries the same type."""

    PUT_VALUE = 0
    GET_VALUE = 1
    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


class Connection(IntEnum):
    """How the sender of a peer entry stands with that peer."""

    NOT_CONNECTED = 0
    CONNECTED = 1
    CAN_CONNECT = 2
    CANNOT_CONNECT = 3


@dataclass(frozen=True, slots=True)
class KadPeer:
    """A peer as a message names it; addresses are multiaddrs without /p2p."""

    peer_id: str
    addresses: tuple[str, ...] = ()
    connection: Connection = Connection.NOT_CONNECTED


@dataclass(frozen=True, slots=True)
class KadRecord:
    """A value that the DHT keeps; `received_at` is RFC 3339, told by who kept it."""

    key: bytes
    value: bytes
    received_at: str = ""


@dataclass(frozen=True, slots=True)
class KadMessage:
    """One request or answer.

    `key` is a multihash for provider records, a binary peer id (or any bytes) for FIND_NODE, and
    `/ipns/` and a name for values.
    """

    type: MessageType
    key: bytes = b""
    closer_peers: tuple[KadPeer, ...] = ()
    provider_peers: tuple[KadPeer, ...] = ()
    record: KadRecord | None = None


_TYPE, _KEY, _RECORD, _CLOSER, _PROVIDERS = 1, 2, 3, 8, 9
_RECORD_KEY, _RECORD_VALUE, _RECORD_TIME = 1, 2, 5
_PEER_ID, _PEER_ADDRESS, _PEER_CONNECTION = 1, 2, 3


def encode_message(message: KadMessage) -> bytes:
    """Return the protobuf bytes of `message`; peers beyond the limits above are left out."""
    parts = [encode_varint_field(_TYPE, message.type)]
    if message.key:
        parts.append(encode_bytes_field(_KEY, message.key))
    if message.record is not None:
        parts.append(encode_bytes_field(_RECORD, _encode_record(message.record)))
    parts += (
        encode_bytes_field(_CLOSER, _encode_peer(peer))
        for peer in message.closer_peers[:MAX_CLOSER_PEERS]
    )
    parts += (
        encode_bytes_field(_PROVIDERS, _encode_peer(peer))
        for peer in message.provider_peers[:MAX_PROVIDER_PEERS]
    )
    return b"".join(parts)


def decode_message(binary: bytes) -> KadMessage:
    """Return the message in `binary`.

    Raises:
        RemoteProtocolError: Not a kad message within bounds.
    """
    message_type = MessageType.PUT_VALUE  # proto3: an absent field is zero
    key = b""
    closer: list[KadPeer] = []
    providers: list[KadPeer] = []
    record: KadRecord | None = None
    for number, value in read_fields(binary):
        if number == _TYPE:
            message_type = _message_type(value)
        elif number == _KEY:
            key = _as_bytes(value)
            if len(key) > MAX_KEY_BYTES:
                raise RemoteProtocolError(f"kad key of {len(key)} bytes")
        elif number == _RECORD:
            record = _decode_record(_as_bytes(value))
        elif number == _CLOSER and len(closer) < MAX_CLOSER_PEERS:
            closer.append(_decode_entry(_as_bytes(value)))
        elif number == _PROVIDERS and len(providers) < MAX_PROVIDER_PEERS:
            providers.append(_decode_entry(_as_bytes(value)))
    return KadMessage(message_type, key, tuple(closer), tuple(providers), record)


def bounded_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the first addresses that fit into one peer entry, each once."""
    kept: dict[str, None] = {}
    size_bytes = 0
    for address in addresses:
        if address in kept:
            continue
        try:
            size_bytes += len(multiaddr_to_bytes(address))
        except TargetError:
            continue
        if size_bytes > MAX_PEER_ADDRESS_BYTES:
            break
        kept[address] = None
        if len(kept) == MAX_ADDRESSES:
            break
    return tuple(kept)


def _encode_record(record: KadRecord) -> bytes:
    return (
        encode_bytes_field(_RECORD_KEY, record.key)
        + encode_bytes_field(_RECORD_VALUE, record.value)
        + (
            encode_bytes_field(_RECORD_TIME, record.received_at.encode())
            if record.received_at
            else b""
        )
    )


def _decode_record(binary: bytes) -> KadRecord:
    key = value = received_at = b""
    for number, content in read_fields(binary, max_fields=MAX_PEER_FIELDS):
        if number == _RECORD_KEY:
            key = _as_bytes(content)
        elif number == _RECORD_VALUE:
            value = _as_bytes(content)
        elif number == _RECORD_TIME:
            received_at = _as_bytes(content)
    if len(key) > MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
        raise RemoteProtocolError(f"a record of {len(key)} and {len(value)} bytes")
    return KadRecord(key, value, received_at[:MAX_TIME_CHARACTERS].decode("ascii", "replace"))


@lru_cache(maxsize=2048)
def _encode_peer(peer: KadPeer) -> bytes:
    parts = [encode_bytes_field(_PEER_ID, peer_id_to_bytes(peer.peer_id))]
    parts += (
        encode_bytes_field(_PEER_ADDRESS, multiaddr_to_bytes(address))
        for address in bounded_addresses(peer.addresses)
    )
    if peer.connection:
        parts.append(encode_varint_field(_PEER_CONNECTION, peer.connection))
    return b"".join(parts)


def _decode_entry(binary: bytes) -> KadPeer:
    return _decode_usual_peer(binary) if len(binary) <= USUAL_PEER_BYTES else _decode_peer(binary)


@lru_cache(maxsize=4096)
def _decode_usual_peer(binary: bytes) -> KadPeer:
    return _decode_peer(binary)


def _decode_peer(binary: bytes) -> KadPeer:
    peer_id = ""
    addresses: list[str] = []
    connection = Connection.NOT_CONNECTED
    left_bytes = MAX_PEER_ADDRESS_BYTES
    for number, value in read_fields(binary, max_fields=MAX_PEER_FIELDS):
        if number == _PEER_ID:
            peer_id = peer_id_to_text(_as_bytes(value))
        elif number == _PEER_ADDRESS:
            encoded = _as_bytes(value)
            left_bytes -= len(encoded)
            if left_bytes < 0 or len(addresses) == MAX_ADDRESSES:
                continue
            try:
                addresses.append(multiaddr_to_text(encoded))
            except RemoteProtocolError:
                continue  # most likely a transport we do not know; the other addresses may do
        elif number == _PEER_CONNECTION and value in list(Connection):
            connection = Connection(value)
    if not peer_id:
        raise RemoteProtocolError("kad peer without an id")
    bare = (split_peer_id(address) for address in addresses)  # some senders append /p2p/<id>
    return KadPeer(
        peer_id, tuple(address for address, owner in bare if owner in ("", peer_id)), connection
    )


def _message_type(value: int | bytes) -> MessageType:
    try:
        return MessageType(value)  # type: ignore[arg-type]  # bytes raise ValueError too
    except ValueError:
        raise RemoteProtocolError(f"unknown kad message type {value!r:.40}") from None


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise RemoteProtocolError("a number where bytes belong")
    return value
