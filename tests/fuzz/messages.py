"""Decoders of messages between peers."""

from __future__ import annotations

import json
from collections.abc import Callable

from fuzz.content import CIDS
from fuzz.decoder import Decoder, text
from mirrornode.content.car import section_head
from mirrornode.errors import RemoteProtocolError
from mirrornode.swarm.identify import decode_identify, encode_identify
from mirrornode.swarm.identity import Identity
from mirrornode.swarm.mdns import decode_txt, encode_txt
from mirrornode.wire import batch, hub_peer, ticket
from mirrornode.wire.control import decode_line, error_line, result_line, to_exception
from mirrornode.wire.frames import FrameDecoder, encode_frame
from mirrornode.wire.hub import Repo
from mirrornode.wire.hub_tree import HubFile, decode_tree, paths_info_records, tree_records
from mirrornode.wire.kad import (
    Connection,
    KadMessage,
    KadPeer,
    KadRecord,
    MessageType,
    decode_message,
    encode_message,
)
from mirrornode.wire.ranges import parse_have
from mirrornode.wire.yamux import Session, Stream

PEERS = tuple(Identity.from_seed(bytes((n,)) * 32).peer_id for n in range(3))
ADDRESSES = ("/ip4/192.168.1.5/tcp/4101", "/ip6/fd00::1/udp/4101/quic-v1", "/dns4/a.example/tcp/1")
MAX_FRAME_BYTES = 4096
SIZE_BYTES = 1 << 20
VALUE = KadRecord(b"/ipns/x", b"what is signed", "2026-11-23T10:00:00Z")
COMMIT, SHA256 = "ab" * 20, "cd" * 32
NAME = hub_peer.NameQuestion(Repo("model", "org/name"), "main")
ETAGS = hub_peer.EtagQuestion((COMMIT, SHA256))
FILES = (
    HubFile("config.json", 12, COMMIT),
    HubFile("sub dir/model.safetensors", SIZE_BYTES, COMMIT, SHA256),
)


def _kad() -> list[bytes]:
    key = CIDS[0].multihash
    peers = tuple(KadPeer(peer, ADDRESSES, Connection.CONNECTED) for peer in PEERS)
    return [
        encode_message(KadMessage(MessageType.FIND_NODE, key)),
        encode_message(KadMessage(MessageType.GET_PROVIDERS, key, peers, peers[:1])),
        encode_message(KadMessage(MessageType.ADD_PROVIDER, key, (), (KadPeer(PEERS[0]),))),
        encode_message(KadMessage(MessageType.PUT_VALUE, b"/ipns/x", record=VALUE)),
        encode_message(KadMessage(MessageType.PING)),
    ]


def _holdings() -> list[ticket.Holding]:
    return [
        ticket.Holding(CIDS[0], CIDS[0], SIZE_BYTES),
        ticket.Holding(CIDS[1], CIDS[4], SIZE_BYTES, ((0, 5), (10, SIZE_BYTES)), False),
    ]


def _tickets() -> list[bytes]:
    have = tuple(_holdings())
    return [
        ticket.encode_ticket(
            ticket.Ticket("https", 4102, ("127.0.0.1", "fd00::1"), b"\x07" * 32, "b", 9.5, have, 5)
        ),
        ticket.encode_ticket(ticket.Ticket("http", 80, (), b"", "bearer", 3600.0, ())),
    ]


def _words() -> list[bytes]:
    info = {"id": "org/name", "tags": ["license:mit"], "cardData": {"license": "mit"}}
    word = hub_peer.PeerWord(COMMIT, info, FILES, "hub:example.org", 1e9)
    bare = hub_peer.PeerWord(COMMIT, {}, None, "peer:12D3", 1e9)
    return [hub_peer.encode_word(each) for each in (word, bare, None)]


def _trees() -> list[bytes]:
    files = {file.path: file for file in FILES}
    recursive = tree_records(FILES, recursive=True)
    return [
        json.dumps(records).encode()
        for records in (recursive, paths_info_records(files, list(files)), [])
    ]


def _sections() -> list[bytes]:
    blocks = [(CIDS[0], b"\0"), (CIDS[1], b"\1" * 200), (CIDS[2], b"")]
    whole = b"".join(section_head(cid, len(data)) + data for cid, data in blocks)
    return [whole, b""]


def _identifications() -> list[bytes]:
    message = encode_identify(
        public_key=Identity.from_seed(bytes(32)).public_protobuf(),
        agent="mirrornode/1",
        protocols=["/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"],
        addresses=[ADDRESSES[0]],
        observed="/ip4/127.0.0.1/tcp/5",
    )
    return [message, b""]


def _announcements() -> list[bytes]:
    return [encode_txt([f"{ADDRESSES[0]}/p2p/{peer}" for peer in PEERS]), b""]


def _frames(data: bytes) -> list[bytes]:
    """Return the frames of a stream that arrives in three parts."""
    decoder, frames = FrameDecoder(), []
    third = len(data) // 3
    for part in (data[:third], data[third : 2 * third], data[2 * third :]):
        decoder.feed(part)
        while (frame := decoder.next_frame(MAX_FRAME_BYTES)) is not None:
            frames.append(frame)
    return frames


def _connection() -> list[bytes]:
    """Return what a peer sends that opens two streams, uses them, pings and leaves."""
    streams: list[Stream] = []
    peer = _session(is_initiator=True, streams=streams)
    one, two = peer.open(), peer.open()
    one.send(memoryview(bytes(3000)))
    two.send(memoryview(b"short"))
    one.grant(100)
    peer.ping(7)
    one.close()
    two.reset()
    opened = b"".join(peer.taken())
    peer.go_away()
    return [opened, opened + b"".join(peer.taken())]


def _session(*, is_initiator: bool, streams: list[Stream]) -> Session:
    return Session(
        is_initiator=is_initiator,
        on_stream=streams.append,
        on_pong=lambda value: None,
        on_outgoing=lambda: None,
    )


def _yamux(data: bytes) -> tuple[Session, list[Stream]]:
    """Return a connection after it has arrived in three parts, and its streams."""
    streams: list[Stream] = []
    session = _session(is_initiator=False, streams=streams)
    third = len(data) // 3
    for part in (data[:third], data[third : 2 * third], data[2 * third :]):
        session.receive(part)
    return session, streams


def _check_yamux(data: bytes, value: object) -> None:
    assert isinstance(value, tuple)
    session, streams = value
    held_bytes = sum(stream.unread.size for stream in streams)
    assert session.buffered_bytes == held_bytes <= len(data)
    assert all(stream.is_over or stream.stream_id in session.streams for stream in streams)


def _have(data: bytes) -> object:
    return parse_have(_value(data), SIZE_BYTES)


def _tree(data: bytes) -> object:
    return decode_tree(_value(data))


def _value(data: bytes) -> object:
    """Return a value of JSON, for decoders that get values."""
    try:
        return json.loads(text(data))
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError("not JSON") from exc


def _control(data: bytes) -> object:
    record = decode_line(data)
    return to_exception(record["error"]) if "error" in record else record


def _check_kad(data: bytes, value: object) -> None:
    assert isinstance(value, KadMessage)
    if value.record is not None and not value.record.received_at.isascii():
        return  # nobody reads when others received a value; what is no time stays unreadable
    assert decode_message(encode_message(value)) == value


def _check_have(data: bytes, value: object) -> None:
    runs = value if isinstance(value, list) else []
    edges = [edge for run in runs for edge in run]
    assert edges == sorted(set(edges)), "runs overlap or touch"
    assert all(0 <= edge <= SIZE_BYTES for edge in edges)


def _json(
    name: str,
    corpus: Callable[[], list[bytes]],
    decode: Callable[[bytes], object],
    check: Callable[[bytes, object], None] | None = None,
) -> Decoder:
    return Decoder(name, corpus, decode, (RemoteProtocolError,), check, is_text=True)


MESSAGES = (
    Decoder("kad", _kad, decode_message, (RemoteProtocolError,), _check_kad),
    Decoder(
        "frames",
        lambda: [b"".join(map(encode_frame, (b"", b"/multistream/1.0.0\n", bytes(300))))],
        _frames,
        (RemoteProtocolError,),
    ),
    Decoder("yamux", _connection, _yamux, (RemoteProtocolError,), _check_yamux),
    Decoder("identify", _identifications, decode_identify, (RemoteProtocolError,)),
    Decoder("mdns", _announcements, lambda data: decode_txt(data, ()), is_text=True),
    _json(
        "ticket-request",
        lambda: [ticket.encode_request(CIDS), ticket.encode_request(())],
        ticket.decode_request,
    ),
    _json("ticket", _tickets, lambda data: ticket.decode_ticket(data, CIDS)),
    _json(
        "have",
        lambda: [ticket.encode_have(_holdings())],
        lambda data: ticket.decode_have(data, CIDS),
    ),
    _json(
        "have-map",
        lambda: [b"[[0,5],[7,100],[200,1048576]]", b"[]"],
        _have,
        _check_have,
    ),
    Decoder(
        "batch-request",
        lambda: [batch.encode_request(CIDS), b""],
        batch.decode_request,
        (RemoteProtocolError,),
    ),
    Decoder(
        "batch",
        _sections,
        lambda data: batch.decode_sections(data, CIDS[:3]),
        (RemoteProtocolError,),
    ),
    _json(
        "hub-question",
        lambda: [hub_peer.encode_question(NAME), hub_peer.encode_question(ETAGS)],
        hub_peer.decode_question,
    ),
    _json("hub-word", _words, lambda data: hub_peer.decode_word(data, NAME)),
    _json(
        "hub-holdings",
        lambda: [hub_peer.encode_holdings([hub_peer.EtagHolding(SHA256, CIDS[0], SIZE_BYTES)])],
        lambda data: hub_peer.decode_holdings(data, ETAGS),
    ),
    _json("hub-tree", _trees, _tree),
    _json(
        "control",
        lambda: [
            result_line({"cid": str(CIDS[0])}),
            error_line(RemoteProtocolError("they did")),
        ],
        _control,
    ),
)
