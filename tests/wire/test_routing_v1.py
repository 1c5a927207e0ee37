"""Records and filters of Delegated Routing V1: written, read, and read from liars."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_cid
from mirrornode.wire.routing_v1 import (
    MAX_ADDRESSES,
    MAX_ANSWER_BYTES,
    MAX_FILTER_NAMES,
    MAX_LINE_BYTES,
    MAX_NAME_CHARS,
    MAX_RECORDS,
    NDJSON_TYPE,
    AnswerReader,
    Filters,
    RoutingRecord,
    parse_filter,
    record_from_json,
    record_to_json,
)

PEER = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS"
OTHER = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
TCP = "/ip4/10.0.0.1/tcp/4001"
QUIC = "/ip4/10.0.0.1/udp/4001/quic-v1"
TLS = "/dns4/a.example.com/tcp/443/tls/http"
RELAY = f"/ip4/10.0.0.2/tcp/4001/p2p/{OTHER}/p2p-circuit"
ALL = (TCP, QUIC, TLS, RELAY)
BITSWAP = "transport-bitswap"
GATEWAY = "transport-ipfs-gateway-http"


def record(
    addresses: tuple[str, ...] = ALL, protocols: tuple[str, ...] = (BITSWAP,)
) -> RoutingRecord:
    return RoutingRecord(PEER, addresses, protocols)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        # SOURCE: IPIP-0484, and boxo routing/http/filters: the table of its tests, restated.
        ("", ALL),
        ("tcp", (TCP, TLS, RELAY)),
        ("TCP", (TCP, TLS, RELAY)),
        ("tls,quic-v1", (QUIC, TLS)),
        ("!p2p-circuit", (TCP, QUIC, TLS)),
        ("tcp,!p2p-circuit", (TCP, TLS)),
        ("tcp,!p2p-circuit,!tls", (TCP,)),
        ("!tcp,!udp", None),
        ("webrtc", None),
        ("unknown", None),  # its addresses are known, and none of them was asked for
        ("unknown,udp", (QUIC,)),
        (" tls , ,", (TLS,)),
    ],
)
def test_filter_addrs_then_single_addresses_are_left_out(
    wanted: str, kept: tuple[str, ...] | None
) -> None:
    filtered = Filters(addresses=parse_filter(wanted, "filter-addrs")).apply(record())
    assert (filtered.addresses if filtered else None) == kept


@pytest.mark.parametrize(
    ("wanted", "is_kept"), [("", True), ("tcp", False), ("unknown", True), ("!tcp,unknown", True)]
)
def test_filter_addrs_when_no_address_is_known_then_only_unknown_keeps_it(
    wanted: str, is_kept: bool
) -> None:
    filters = Filters(addresses=parse_filter(wanted, "filter-addrs"))
    assert (filters.apply(record(addresses=())) is not None) == is_kept


@pytest.mark.parametrize(
    ("wanted", "protocols", "is_kept"),
    [
        ("", (), True),
        (BITSWAP, (BITSWAP, GATEWAY), True),
        ("Transport-BITSWAP", (BITSWAP,), True),
        (BITSWAP, (GATEWAY,), False),
        (BITSWAP, (), False),
        ("unknown", (), True),
        ("unknown", (BITSWAP,), False),
        (f"unknown,{BITSWAP},{GATEWAY}", (GATEWAY,), True),  # what Kubo and Helia send
    ],
)
def test_filter_protocols_then_a_peer_is_kept_whole_or_not(
    wanted: str, protocols: tuple[str, ...], is_kept: bool
) -> None:
    found = record(protocols=protocols)
    filters = Filters(protocols=parse_filter(wanted, "filter-protocols"))
    assert filters.apply(found) == (found if is_kept else None)


def test_filter_when_names_are_too_long_or_too_many_then_refused() -> None:
    parse_filter("!" + "x" * MAX_NAME_CHARS, "filter-addrs")
    with pytest.raises(TargetError, match="63 characters"):
        parse_filter("x" * (MAX_NAME_CHARS + 1), "filter-addrs")
    with pytest.raises(TargetError, match="more than 32"):
        parse_filter(",".join(f"n{n}" for n in range(MAX_FILTER_NAMES + 1)), "filter-addrs")


def test_record_when_written_and_read_then_the_same() -> None:
    value = record_to_json(record())
    # SOURCE: http-routing-v1.md, "Peer Schema".
    assert value == {
        "Schema": "peer",
        "ID": PEER,
        "Addrs": list(ALL),
        "Protocols": ["transport-bitswap"],
    }
    assert record_from_json(json.loads(json.dumps(value))) == record()


def test_record_when_read_then_ids_and_addresses_become_canonical() -> None:
    value = {
        "Schema": "peer",
        "ID": peer_id_to_cid(peer_id_to_bytes(PEER)),
        "Addrs": [f"{TCP}/p2p/{OTHER}", TCP, TCP, "/unknown/1", "nonsense"],
        "Protocols": ["Transport-Bitswap"],
        "Extra": {"anything": [1]},
    }
    assert record_from_json(value) == RoutingRecord(PEER, (TCP,), ("transport-bitswap",))


@pytest.mark.parametrize(
    ("schema", "protocol"),
    [("bitswap", BITSWAP), ("graphsync-filecoinv1", "transport-graphsync-filecoinv1")],
)
def test_record_of_an_old_schema_then_read_as_a_peer(schema: str, protocol: str) -> None:
    value = {"Schema": schema, "Protocol": protocol, "ID": PEER, "Addrs": [TCP]}
    assert record_from_json(value) == RoutingRecord(PEER, (TCP,), (protocol,))


def test_record_of_an_unknown_schema_then_none() -> None:
    assert record_from_json({"Schema": "announcement", "CID": 5}) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "peer",
        {},
        {"Schema": 5},
        {"Schema": "peer"},
        {"Schema": "peer", "ID": "nobody"},
        {"Schema": "peer", "ID": PEER, "Addrs": "x"},
        {"Schema": "peer", "ID": PEER, "Addrs": [5]},
        {"Schema": "peer", "ID": PEER, "Protocols": {}},
    ],
)
def test_record_when_malformed_then_refused(value: object) -> None:
    with pytest.raises(RemoteProtocolError):
        record_from_json(value)


def test_record_when_it_has_too_many_addresses_then_the_first_are_taken() -> None:
    addresses = [f"/ip4/10.0.0.1/tcp/{port}" for port in range(1, 1000)]
    found = record_from_json({"Schema": "peer", "ID": PEER, "Addrs": addresses})
    assert found is not None
    assert len(found.addresses) == MAX_ADDRESSES


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def test_stream_when_it_comes_in_small_pieces_then_each_record_as_it_ends() -> None:
    reader = AnswerReader(f"{NDJSON_TYPE}; charset=utf-8", "Providers")
    body = line(record_to_json(record())) + b"\n" + line({"Schema": "new"})
    got = [found for at in range(len(body)) for found in reader.feed(body[at : at + 1])]
    assert got == [record()]
    assert list(reader.finish()) == []


def test_stream_when_its_last_line_has_no_end_then_read_all_the_same() -> None:
    reader = AnswerReader(NDJSON_TYPE, "Providers")
    assert list(reader.feed(line(record_to_json(record()))[:-1])) == []
    assert list(reader.finish()) == [record()]


def test_stream_when_a_line_does_not_end_then_refused_within_bounds() -> None:
    reader = AnswerReader(NDJSON_TYPE, "Providers")
    for _ in range(MAX_LINE_BYTES // 1024):
        assert list(reader.feed(b" " * 1024)) == []
    with pytest.raises(RemoteProtocolError, match="line"):
        list(reader.feed(b" "))


def test_stream_when_it_never_ends_then_done_after_so_many_records() -> None:
    reader = AnswerReader(NDJSON_TYPE, "Providers")
    one = line(record_to_json(record()))
    got = list(reader.feed(one * (3 * MAX_RECORDS)))
    assert (len(got), reader.is_done) == (MAX_RECORDS, True)


@pytest.mark.parametrize(
    "body",
    [b'{"Providers":[]}', b'{"Providers":null}', b"{}", b"[]"],
)
def test_document_when_it_lists_nothing_then_nothing(body: bytes) -> None:
    reader = AnswerReader("application/json", "Providers")
    assert list(reader.feed(body)) == []
    assert list(reader.finish()) == []


def test_document_when_it_lists_records_then_they_are_read_at_its_end() -> None:
    reader = AnswerReader("application/json", "Peers")
    body = json.dumps({"Peers": [record_to_json(record()), {"Schema": "x"}]}).encode()
    assert list(reader.feed(body[:50])) == []
    assert list(reader.feed(body[50:])) == []
    assert list(reader.finish()) == [record()]


@pytest.mark.parametrize("body", [b"", b"x", b'"x"', b'{"Peers":5}', b"[" * 100_000, b"\xff"])
def test_document_when_it_is_no_answer_then_refused(body: bytes) -> None:
    reader = AnswerReader("application/json", "Peers")
    list(reader.feed(body))
    with pytest.raises(RemoteProtocolError):
        list(reader.finish())


def test_document_when_it_is_too_long_then_refused() -> None:
    reader = AnswerReader("text/html", "Peers")
    with pytest.raises(RemoteProtocolError, match="more than"):
        list(reader.feed(b" " * (MAX_ANSWER_BYTES + 1)))
