"""The kad codec: bytes of go-libp2p's encoding, round trips, hostile input."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.kad import (
    MAX_ADDRESSES,
    MAX_CLOSER_PEERS,
    MAX_KEY_BYTES,
    MAX_PROVIDER_PEERS,
    MAX_VALUE_BYTES,
    Connection,
    KadMessage,
    KadPeer,
    KadRecord,
    MessageType,
    bounded_addresses,
    decode_message,
    encode_message,
)
from mirrornode.wire.protobuf import encode_bytes_field, encode_varint_field
from support.virtual_swarm import make_peer_id

PEER = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS"
PEER_HEX = "0024080112209e3b433cbd31c2b8a6ebbdca998bd0f4c2141c9c9af5422e976051b1e63af14d"
MULTIHASH = bytes.fromhex("1220e536c7f88d731f374dccb568aff6f56e838a19382e488039b1ca8ad2599e82fe")

# SOURCE: field numbers of go-libp2p-kad-dht pb/dht.proto, laid out by the protobuf encoding guide:
# type=2, key, providerPeers[0]{id, addrs /ip4/127.0.0.1/tcp/4001, connection=1}
ADD_PROVIDER_HEX = (
    "0802" + "1222" + MULTIHASH.hex() + "4a34" + "0a26" + PEER_HEX + "1208047f000001060fa1" + "1801"
)

peers = st.builds(
    KadPeer,
    st.integers(0, 50).map(lambda n: make_peer_id(str(n))),
    st.lists(
        st.integers(1, 65535).map(lambda port: f"/ip4/10.1.2.3/tcp/{port}"), max_size=5, unique=True
    ).map(tuple),
    st.sampled_from(Connection),
)
records = st.builds(
    KadRecord,
    st.binary(max_size=MAX_KEY_BYTES),
    st.binary(max_size=500),
    st.sampled_from(["", "2026-11-23T09:00:00.123456Z"]),
)
messages = st.builds(
    KadMessage,
    st.sampled_from(MessageType),
    st.binary(max_size=MAX_KEY_BYTES),
    st.lists(peers, max_size=20).map(tuple),
    st.lists(peers, max_size=20).map(tuple),
    st.none() | records,
)


def test_encode_message_writes_the_bytes_of_the_schema() -> None:
    peer = KadPeer(PEER, ("/ip4/127.0.0.1/tcp/4001",), Connection.CONNECTED)
    message = KadMessage(MessageType.ADD_PROVIDER, MULTIHASH, provider_peers=(peer,))
    assert encode_message(message).hex() == ADD_PROVIDER_HEX
    assert decode_message(bytes.fromhex(ADD_PROVIDER_HEX)) == message


def test_encode_message_of_a_value_writes_the_bytes_of_the_schema() -> None:
    # SOURCE: as above: type=0, key, record{key=1, value=2, timeReceived=5}
    message = KadMessage(MessageType.PUT_VALUE, b"k", record=KadRecord(b"k", b"vv", "t"))
    assert encode_message(message).hex() == "0800" + "12016b" + "1a0a" + "0a016b12027676" + "2a0174"
    assert decode_message(encode_message(message)) == message


def test_decode_message_when_a_value_is_too_long_then_refused() -> None:
    long = encode_bytes_field(3, encode_bytes_field(2, bytes(MAX_VALUE_BYTES + 1)))
    with pytest.raises(RemoteProtocolError):
        decode_message(long)


@given(messages)
def test_message_survives_its_bytes(message: KadMessage) -> None:
    assert decode_message(encode_message(message)) == message


@given(st.binary(max_size=300))
def test_decode_message_of_garbage_raises_remote_protocol_errors_only(binary: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_message(binary)


@given(messages, st.data())
def test_decode_message_of_damaged_bytes_raises_remote_protocol_errors_only(
    message: KadMessage, data: st.DataObject
) -> None:
    binary = bytearray(encode_message(message))
    position = data.draw(st.integers(0, len(binary) - 1))
    binary[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RemoteProtocolError):
        decode_message(bytes(binary[: data.draw(st.integers(0, len(binary)))]))


def test_decode_message_skips_unknown_fields_and_records() -> None:
    extra = encode_bytes_field(3, b"\x0a\x01k") + encode_varint_field(10, (1 << 64) - 1)
    extra += b"\x7d\0\0\0\0" + b"\x79" + bytes(8)  # fixed32 and fixed64
    assert decode_message(bytes.fromhex(ADD_PROVIDER_HEX) + extra).key == MULTIHASH


def test_decode_message_leaves_out_addresses_of_unknown_transports() -> None:
    entry = encode_bytes_field(1, bytes.fromhex(PEER_HEX))
    entry += encode_bytes_field(2, b"\x89\x06\x01\x61") + encode_bytes_field(2, b"\x04\x0a\0\0\1")
    message = decode_message(b"\x08\x04" + encode_bytes_field(8, entry))
    assert message.closer_peers == (KadPeer(PEER, ("/ip4/10.0.0.1",)),)


def test_decode_message_takes_the_peer_part_off_addresses() -> None:
    own = bytes.fromhex("047f000001060fa1a50326" + PEER_HEX)
    other = bytes.fromhex("047f000001060fa2a50322") + MULTIHASH
    entry = encode_bytes_field(2, own) + encode_bytes_field(2, other)
    entry += encode_bytes_field(1, bytes.fromhex(PEER_HEX))
    message = decode_message(b"\x08\x04" + encode_bytes_field(9, entry))
    assert message.provider_peers[0].addresses == ("/ip4/127.0.0.1/tcp/4001",)


def test_decode_message_reads_a_bounded_number_of_peers() -> None:
    entries = [
        KadPeer(make_peer_id(str(number)), ("/ip4/10.0.0.1/tcp/1",)) for number in range(700)
    ]
    one = [encode_message(KadMessage(MessageType.FIND_NODE, b"", (p,)))[2:] for p in entries]
    many = decode_message(b"\x08\x04" + b"".join(one))
    assert len(many.closer_peers) == MAX_CLOSER_PEERS
    one = [encode_message(KadMessage(MessageType.FIND_NODE, b"", (), (p,)))[2:] for p in entries]
    assert len(decode_message(b"\x08\x04" + b"".join(one)).provider_peers) == MAX_PROVIDER_PEERS


@pytest.mark.parametrize(
    "binary",
    [
        b"\x08\x06",  # type 6
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # type -1
        b"\x10\x05",  # key as a number
        b"\x12\x05abc",  # cut
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # length above 64 bits
        encode_bytes_field(2, b"k" * (MAX_KEY_BYTES + 1)),
        encode_bytes_field(8, b""),  # a peer without an id
        encode_bytes_field(8, encode_bytes_field(1, b"nobody")),
        encode_bytes_field(8, encode_bytes_field(2, b"") * 257),
        b"\x0b",  # a group
        b"\x00\x00",  # field 0
        b"\x08\x04" * 9000,
    ],
)
def test_decode_message_refuses_what_is_broken(binary: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_message(binary)


def test_bounded_addresses_keeps_the_first_that_fit() -> None:
    assert bounded_addresses(["/ip4/10.0.0.1/tcp/1", "nonsense", "/ip4/10.0.0.1/tcp/1"]) == (
        "/ip4/10.0.0.1/tcp/1",
    )
    assert len(bounded_addresses(f"/ip4/10.0.0.1/tcp/{n}" for n in range(500))) == MAX_ADDRESSES
    long = [
        f"/dns4/{'a' * 250}/tls/sni/{'b' * 250}/http/http-path/{n}{'c' * 400}" for n in range(9)
    ]
    assert 0 < len(bounded_addresses(long)) < 10
