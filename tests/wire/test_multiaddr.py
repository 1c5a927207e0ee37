"""Multiaddrs: known answers, round trips, and bounds."""

from __future__ import annotations

import contextlib
import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.wire.multiaddr import (
    MAX_ADDRESS_BYTES,
    multiaddr_to_bytes,
    multiaddr_to_text,
    split_components,
    split_peer_id,
)
from support.fixtures import fixture_json, fixtures_dir

PEER = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS"

# SOURCE: multiformats/multiaddr protocols.csv; the last is of test/multiaddr.feature
KNOWN = {
    "/ip4/127.0.0.1/tcp/4001": "047f000001060fa1",
    "/ip4/192.168.1.5/tcp/8443/tls/http": "04c0a801050620fbc003e003",
    "/dns4/mirror.example.com/tcp/443/tls/http": (
        "36126d6972726f722e6578616d706c652e636f6d0601bbc003e003"
    ),
    "/ip4/1.2.3.4/udp/4001/quic-v1": "040102030491020fa1cd03",
    "/dnsaddr/bootstrap.libp2p.io": "3813626f6f7473747261702e6c69627032702e696f",
    "/ip4/192.0.2.42/tcp/443": "04c000022a0601bb",
}

names = st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){0,3}", fullmatch=True)
ports = st.integers(0, 65535)
hosts = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: f"/ip4/{ip}"),
    st.ip_addresses(v=6).map(lambda ip: f"/ip6/{ip}"),
    st.tuples(st.sampled_from(["dns", "dns4", "dns6", "dnsaddr"]), names).map(
        lambda pair: f"/{pair[0]}/{pair[1]}"
    ),
)
tails = st.sampled_from(
    [
        "",
        "/tls",
        "/ws",
        "/tls/sni/a.example/http",
        "/https",
        f"/p2p/{PEER}",
        "/http/http-path/a%2Fb",
    ]
)
addresses = st.builds(
    lambda host, kind, port, tail: f"{host}/{kind}/{port}{tail}",
    hosts,
    st.sampled_from(["tcp", "udp"]),
    ports,
    tails,
)


@pytest.mark.parametrize(("text", "binary_hex"), KNOWN.items())
def test_multiaddr_known_answers_convert_both_ways(text: str, binary_hex: str) -> None:
    assert multiaddr_to_bytes(text).hex() == binary_hex
    assert multiaddr_to_text(bytes.fromhex(binary_hex)) == text


def test_multiaddr_fixtures_convert_both_ways() -> None:
    vectors = fixture_json("vectors/libp2p_vectors.json")["multiaddr_binary_hex"]
    assert len(vectors) >= 10
    for text, binary_hex in vectors.items():
        assert multiaddr_to_bytes(text).hex() == binary_hex
        assert multiaddr_to_text(bytes.fromhex(binary_hex)) == text


def test_multiaddr_codes_are_those_of_the_protocol_table() -> None:
    path = fixtures_dir() / "multiformats" / "multiaddr-protocols.csv"
    with path.open(newline="") as stream:
        table = {row["name"].strip(" ,"): int(row["code"]) for row in _rows(stream.read())}
    samples = {"ip4": "1.2.3.4", "tcp": "1", "udp": "1", "ip6": "::1", "p2p": PEER, "ipfs": PEER}
    samples |= dict.fromkeys(["dns", "dns4", "dns6", "dnsaddr", "sni", "ip6zone"], "a.b")
    samples |= {"http-path": "a", "certhash": "uEgEA"}
    bare = ["quic", "quic-v1", "tls", "noise", "http", "https", "ws", "wss", "webtransport"]
    bare += ["webrtc", "webrtc-direct", "p2p-circuit"]
    for name in bare:
        assert multiaddr_to_bytes(f"/{name}") == _varint(table[name])
    for name, value in samples.items():
        assert multiaddr_to_bytes(f"/{name}/{value}").startswith(_varint(table[name]))


def _rows(text: str) -> list[dict[str, str]]:
    lines = ["code,size,name", *text.splitlines()[1:]]
    reader = csv.DictReader([line.replace("\t", " ") for line in lines])
    return [{"code": row["code"], "name": row["name"].split()[0]} for row in reader if row["name"]]


def _varint(code: int) -> bytes:
    return bytes((code,)) if code < 128 else bytes((code & 127 | 128, code >> 7))


@given(addresses)
def test_multiaddr_text_survives_its_binary_form(text: str) -> None:
    binary = multiaddr_to_bytes(text)
    canonical = multiaddr_to_text(binary)
    assert multiaddr_to_bytes(canonical) == binary
    assert "".join(f"/{n}/{v}" if v else f"/{n}" for n, v in split_components(text)) == canonical


@given(st.binary(max_size=80))
def test_multiaddr_to_text_of_garbage_is_refused_or_reversible(binary: bytes) -> None:
    try:
        text = multiaddr_to_text(binary)
    except RemoteProtocolError:
        return
    assert multiaddr_to_text(multiaddr_to_bytes(text)) == text


@given(st.text(max_size=60).map(lambda text: "/" + text))
def test_multiaddr_to_bytes_raises_target_errors_only(text: str) -> None:
    with contextlib.suppress(TargetError):
        multiaddr_to_bytes(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "ip4/1.2.3.4",
        "/ip4",
        "/ip4/1.2.3",
        "/ip4/1.2.3.4/tcp",
        "/ip4/1.2.3.4/tcp/65536",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/1.2.3.4/tcp/\u0661",
        "/ip4/1.2.3.4//tcp/1",
        "/ip6/fe80::1%eth0/tcp/1",
        "/onion/aaimaq4ygg2iegci:80",
        "/dns4/",
        "/dns4/a b",
        "/p2p/hello",
        "/tls" * 17,
        "/dns4/" + "a" * 256,
    ],
)
def test_multiaddr_to_bytes_refuses_what_is_none(text: str) -> None:
    with pytest.raises(TargetError):
        multiaddr_to_bytes(text)


@pytest.mark.parametrize(
    "binary_hex",
    [
        "",
        "04",
        "047f0000",
        "ff",
        "047f000001ff01",  # unknown protocol
        "8400",  # uvarint not of minimal length
        "c003" * 17,
        "3500",  # empty name
        "3502ff80",  # not UTF-8
        "a50301ff",  # not a peer id
        "35ffff03" + "61" * 400,
    ],
)
def test_multiaddr_to_text_refuses_what_is_none(binary_hex: str) -> None:
    with pytest.raises(RemoteProtocolError):
        multiaddr_to_text(bytes.fromhex(binary_hex))


def test_multiaddr_to_text_refuses_what_is_too_long() -> None:
    with pytest.raises(RemoteProtocolError):
        multiaddr_to_text(b"\xc0\x03" * MAX_ADDRESS_BYTES)


def test_split_peer_id_takes_the_last_part_off() -> None:
    assert split_peer_id(f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}") == ("/ip4/1.2.3.4/tcp/1", PEER)
    assert split_peer_id(f"/ip4/1.2.3.4/tcp/1/ipfs/{PEER}") == ("/ip4/1.2.3.4/tcp/1", PEER)
    assert split_peer_id("/ip4/1.2.3.4/tcp/1/") == ("/ip4/1.2.3.4/tcp/1", "")
    assert split_peer_id(f"/p2p/{PEER}/p2p-circuit") == (f"/p2p/{PEER}/p2p-circuit", "")
