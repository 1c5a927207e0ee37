"""Decoders of what other IPFS programs send: CAR files, bitswap, names, routers, gateway paths."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import cast

from fuzz.content import CIDS, RAWS
from fuzz.decoder import Decoder, text
from fuzz.messages import ADDRESSES, PEERS
from mirrornode.content.block import Block, multihash_of
from mirrornode.content.car import encode_header, section_head
from mirrornode.content.car_names import CarName, decode_names, encode_names
from mirrornode.content.car_reader import CarHeader, Section, iter_sections, read_car_header
from mirrornode.content.cid import RAW, SHA2_256, Cid
from mirrornode.content.dagcbor import encode_dagcbor
from mirrornode.errors import ContentError, RemoteProtocolError, TargetError
from mirrornode.gateway.ipfs_request import IpfsRequest, Refused, parse_request
from mirrornode.wire import bitswap, ipns
from mirrornode.wire.ipns_path import Meaning, parse_meaning, parse_name_target
from mirrornode.wire.routing_v1 import (
    NDJSON_TYPE,
    AnswerReader,
    RoutingRecord,
    parse_filter,
    record_to_json,
)

SEED = bytes(range(32))
NAME = ipns.name_of_seed(SEED)
NOW = 1_700_000_000.0


class Bytes:
    """A CAR in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        return self._data[offset : offset + size_bytes]


def _blocks() -> list[Block]:
    datas = (b"", b"one", b"2" * 200)
    return [Block(Cid.v1(RAW, multihash_of(SHA2_256, data)), data) for data in datas]


def _cars() -> list[bytes]:
    sections = b"".join(
        section_head(block.cid, len(block.data)) + block.data for block in _blocks()
    )
    first = encode_header(list(CIDS[:2])) + sections
    pragma = bytes((10,)) + encode_dagcbor({"version": 2})
    header = bytes(16) + struct.pack("<QQQ", 51, len(first), 51 + len(first))
    return [first, encode_header([]) + sections, pragma + header + first + b"\x81\x08" + bytes(20)]


def _read_car(data: bytes) -> tuple[CarHeader, list[Section]]:
    source = Bytes(data)
    header = read_car_header(source)
    return header, list(iter_sections(source, header))


def _check_car(data: bytes, value: object) -> None:
    header, sections = cast("tuple[CarHeader, list[Section]]", value)
    offset = header.start
    for section in sections:
        assert offset < section.offset
        offset = section.offset + section.size_bytes
    assert offset <= header.stop <= len(data)


def _names() -> list[bytes]:
    return [encode_names([CarName(CIDS[0], "model.bin"), CarName(CIDS[1], "b")]).data]


def _wants() -> list[bytes]:
    entries = [
        bitswap.Entry(CIDS[0], send_dont_have=True),
        bitswap.Entry(CIDS[5], 7, want=bitswap.WantType.HAVE),
        bitswap.Entry(CIDS[4], is_cancel=True),
    ]
    blocks = [(block.cid, block.data) for block in _blocks()]
    answers = [
        bitswap.encode_answer(
            blocks, protocol, haves=CIDS[:2], dont_haves=CIDS[2:4], pending_bytes=9
        )
        for protocol in (bitswap.BITSWAP_120, bitswap.BITSWAP_100)
    ]
    return [
        bitswap.encode_wantlist(entries, bitswap.BITSWAP_120, is_full=True),
        *(b"".join(parts) for parts in answers),
        b"",
    ]


def _record() -> ipns.IpnsRecord:
    return ipns.create_record(SEED, f"/ipfs/{CIDS[0]}", sequence=5, expires_at=NOW + 100, ttl_s=60)


def _check_record(data: bytes, value: object) -> None:
    """Nobody but the owner of the key may say anything: a broken record means what it meant."""
    record, mine = cast("ipns.IpnsRecord", value), _record()
    assert (record.value, record.sequence) == (mine.value, mine.sequence)
    assert (record.expires_ns, record.ttl_ns) == (mine.expires_ns, mine.ttl_ns)


def _routed() -> list[dict[str, object]]:
    record = RoutingRecord(PEERS[0], ADDRESSES, ("transport-bitswap",))
    return [record_to_json(record), {"Schema": "bitswap", "ID": PEERS[1], "Addrs": None}]


def _read_stream(data: bytes) -> list[RoutingRecord]:
    reader = AnswerReader(NDJSON_TYPE, "Providers")
    half = len(data) // 2
    return [*reader.feed(data[:half]), *reader.feed(data[half:]), *reader.finish()]


def _read_document(data: bytes) -> list[RoutingRecord]:
    reader = AnswerReader("application/json", "Providers")
    return [*reader.feed(data), *reader.finish()]


def _request(data: bytes) -> object:
    """Read a path, a format and a header field, a line each; the HTTP library lets no others in."""
    path, _, rest = text(data).partition("\n")
    if not path.startswith(("/ipfs/", "/ipns/")) or not path.isascii() or not path.isprintable():
        raise Refused(400, "not routed here")
    format_, _, accept = rest.partition("\n")
    query: Mapping[str, str] = {"format": format_} if format_ else {}
    request = parse_request(path, query, {"Accept": accept, "Range": accept})
    request.range_for('"x"')
    return request


def _check_request(data: bytes, value: object) -> None:
    assert isinstance(value, IpfsRequest)
    again = parse_request(value.url_path, {}, {})
    assert (again.root, again.segments) == (value.root, value.segments)


def _check_meaning(data: bytes, value: object) -> None:
    assert isinstance(value, Meaning)
    assert not {"", ".", ".."} & set(value.parts)


IPFS = (
    Decoder("car", _cars, _read_car, (ContentError,), _check_car),
    Decoder(
        "car-names",
        _names,
        lambda data: decode_names(Block(encode_names([]).cid, data)),
    ),
    Decoder("bitswap", _wants, bitswap.decode_message, (RemoteProtocolError,)),
    Decoder(
        "ipns",
        lambda: [_record().binary],
        lambda data: ipns.verify_record(NAME, data, NOW),
        (RemoteProtocolError,),
        _check_record,
    ),
    Decoder(
        "ipns-fields",
        lambda: [_record().binary],
        ipns.read_record,
        (RemoteProtocolError,),
    ),
    Decoder(
        "ipns-name",
        lambda: [b"ipns://" + ipns.name_to_text(NAME).encode() + b"/a%20b", b"/ipns/example.org"],
        lambda data: parse_name_target(text(data)),
        (TargetError,),
        is_text=True,
    ),
    Decoder(
        "ipns-meaning",
        lambda: [f"/ipfs/{CIDS[0]}/a/b".encode(), b"/ipns/example.org"],
        lambda data: parse_meaning(text(data)),
        (ContentError,),
        _check_meaning,
        is_text=True,
    ),
    Decoder(
        "routing-stream",
        lambda: [b"".join(json.dumps(record).encode() + b"\n" for record in _routed())],
        _read_stream,
        (RemoteProtocolError,),
        is_text=True,
    ),
    Decoder(
        "routing",
        lambda: [json.dumps({"Providers": _routed()}).encode(), b'{"Providers": null}'],
        _read_document,
        (RemoteProtocolError,),
        is_text=True,
    ),
    Decoder(
        "routing-filter",
        lambda: [b"tls,!quic-v1,unknown", b""],
        lambda data: parse_filter(text(data), "filter-addrs"),
        (TargetError,),
        is_text=True,
    ),
    Decoder(
        "ipfs-request",
        lambda: [
            f"/ipfs/{RAWS[0]}/a%20b/c".encode(),
            f"/ipfs/{RAWS[0]}/\ncar\n".encode(),
            b"/ipns/example.org\n\napplication/vnd.ipld.car; version=1; order=dfs",
        ],
        _request,
        (Refused,),
        _check_request,
        is_text=True,
    ),
)
