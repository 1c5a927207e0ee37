"""Tickets and bearers: round trips, and no malformed field gets through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.block import multihash_of
from mirrornode.content.cid import DAG_PB, SHA2_256, SHA2_512, Cid
from mirrornode.errors import RemoteProtocolError
from mirrornode.wire.ranges import MAX_HAVE_RUNS
from mirrornode.wire.ticket import (
    MAX_ANSWER_BYTES,
    MAX_HOSTS,
    MAX_REQUEST_BYTES,
    MAX_ROOTS,
    Holding,
    Ticket,
    check_bearer,
    decode_have,
    decode_request,
    decode_ticket,
    encode_have,
    encode_request,
    encode_ticket,
    make_bearer,
)

SECRET = b"s" * 32
ROOT = Cid.v1(DAG_PB, multihash_of(SHA2_256, b"root"))
ALIAS = Cid.raw_sha256(b"a" * 32)


def ticket(**changes: Any) -> Ticket:
    fields: dict[str, Any] = {
        "scheme": "https",
        "port": 4102,
        "hosts": ("192.168.1.5", "fe80::1"),
        "cert_sha256": b"c" * 32,
        "bearer": "token",
        "life_s": 60.0,
        "holdings": (
            Holding(ROOT, ROOT, 100, ((0, 10), (20, 100))),
            Holding(ALIAS, ROOT, 100, None, is_complete=False),
        ),
        "batch": 500,
    }
    return Ticket(**{**fields, **changes})


@pytest.mark.parametrize(
    "given_ticket",
    [ticket(), ticket(scheme="http", cert_sha256=b""), ticket(holdings=(), hosts=())],
)
def test_ticket_round_trip(given_ticket: Ticket) -> None:
    assert decode_ticket(encode_ticket(given_ticket), [ROOT, ALIAS]) == given_ticket
    have = encode_have(given_ticket.holdings)
    assert decode_have(have, [ROOT, ALIAS]) == given_ticket.holdings


def test_request_round_trip_at_its_largest() -> None:
    roots = [Cid.v1(DAG_PB, multihash_of(SHA2_512, b"%d" % n)) for n in range(MAX_ROOTS)]
    data = encode_request(roots)
    assert len(data) <= MAX_REQUEST_BYTES
    assert decode_request(data) == roots


def test_ticket_when_many_files_are_in_pieces_then_answer_keeps_its_limit() -> None:
    runs = tuple((n * 2**40, n * 2**40 + 2**39) for n in range(MAX_HAVE_RUNS))
    size = 2**53
    roots = [Cid.v1(DAG_PB, multihash_of(SHA2_256, b"%d" % n)) for n in range(MAX_ROOTS)]
    holdings = tuple(Holding(root, root, size, runs) for root in roots)
    data = encode_ticket(ticket(holdings=holdings))
    assert len(data) <= MAX_ANSWER_BYTES
    decoded = decode_ticket(data, roots)
    assert decoded.holdings[0].runs == runs
    assert decoded.holdings[-1].runs == ()  # not complete: it must not look like it
    assert len(decoded.holdings) == MAX_ROOTS


def changed(**fields: Any) -> bytes:
    record = json.loads(encode_ticket(ticket()))
    record.update(fields)
    return json.dumps({k: v for k, v in record.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"x" * (MAX_ANSWER_BYTES + 1),
        changed(v=2),
        changed(v=...),
        changed(scheme="ftp"),
        changed(scheme="http"),
        changed(port=0),
        changed(port=65536),
        changed(port="4102"),
        changed(port=True),
        changed(hosts="10.0.0.1"),
        changed(hosts=["10.0.0.1"] * (MAX_HOSTS + 1)),
        changed(hosts=[5]),
        changed(hosts=["peer.example.com"]),
        changed(hosts=["10.0.0.1/x"]),
        changed(cert_sha256="zz"),
        changed(cert_sha256="00"),
        changed(cert_sha256=...),
        changed(bearer=""),
        changed(bearer="x" * 513),
        changed(bearer="é"),
        changed(bearer=5),
        changed(life_s=0),
        changed(life_s=True),
        changed(life_s=float("nan")),
        changed(life_s=1e9),
        changed(batch=-1),
        changed(batch="500"),
        changed(have={}),
        changed(have=[{}] * 3),
        changed(have=["x"]),
        changed(have=[{"cid": "nonsense", "size": 1}]),
        changed(have=[{"cid": "b" * 300, "size": 1}]),
        changed(have=[{"cid": str(Cid.raw_sha256(b"z" * 32)), "size": 1}]),
        changed(have=[{"cid": str(ROOT)}]),
        changed(have=[{"cid": str(ROOT), "size": -1}]),
        changed(have=[{"cid": str(ROOT), "size": True}]),
        changed(have=[{"cid": str(ROOT), "size": 5, "root": 7}]),
        changed(have=[{"cid": str(ROOT), "size": 5, "runs": [[0, 6]]}]),
        changed(have=[{"cid": str(ROOT), "size": 5, "runs": None}]),
    ],
    ids=lambda data: data[:40].decode(errors="replace"),
)
def test_ticket_when_malformed_then_remote_protocol_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_ticket(data, [ROOT, ALIAS])


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"v":1}',
        b'{"v":1,"roots":{}}',
        b'{"v":1,"roots":[1]}',
        b'{"v":1,"roots":["x"]}',
        json.dumps({"v": 1, "roots": [str(ROOT)] * (MAX_ROOTS + 1)}).encode(),
        b'{"v":1,"roots":[]}' + b" " * MAX_REQUEST_BYTES,
    ],
    ids=lambda data: data[:40].decode(),
)
def test_request_when_malformed_then_remote_protocol_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(data)


@given(st.binary(max_size=200))
def test_messages_when_garbage_then_remote_protocol_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_request(data)
    with pytest.raises(RemoteProtocolError):
        decode_ticket(data, [ROOT])


def test_bearer_is_good_for_its_peer_until_it_expires() -> None:
    bearer = make_bearer(SECRET, "12D3KooPeer", 1000.0)
    assert check_bearer(SECRET, bearer, 999.0) == "12D3KooPeer"
    assert check_bearer(SECRET, bearer, 1000.0) == "12D3KooPeer"
    assert check_bearer(SECRET, bearer, 1001.5) is None


@pytest.mark.parametrize("separator", [".", " "])
def test_bearer_when_anything_is_changed_then_refused(separator: str) -> None:
    bearer = make_bearer(SECRET, "12D3KooPeer", 1000.0)
    peer, expires, signature = bearer.rsplit(".", 2)
    for forged in (
        f"12D3KooOther.{expires}.{signature}",
        f"{peer}.99999999999.{signature}",
        f"{peer}.{expires}.{signature[:-1]}",
        f"{peer}{separator}{expires}{separator}{signature}x",
        make_bearer(b"other" * 8, "12D3KooPeer", 1000.0),
    ):
        assert check_bearer(SECRET, forged, 0.0) is None


@given(st.text(max_size=80))
def test_bearer_when_garbage_then_refused(text: str) -> None:
    assert check_bearer(SECRET, text, 0.0) is None


def test_bearer_when_header_holds_raw_bytes_then_refused() -> None:
    # What an HTTP server makes of a header that is not UTF-8.
    assert check_bearer(SECRET, "a.9.\udcff", 0.0) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"v":1}', b'{"v":2,"have":[]}', b'{"v":1,"have":[{}]}', b'{"v":1,"have":7}'],
)
def test_have_when_malformed_then_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_have(body, [ROOT])
