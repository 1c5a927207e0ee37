"""Decoders of names: addresses, peer ids, targets, paths and header fields."""

from __future__ import annotations

from fuzz.content import CIDS
from fuzz.decoder import Decoder, text
from fuzz.messages import ADDRESSES, COMMIT, PEERS
from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.gateway.credentials import (
    client_behind,
    parse_address,
    parse_networks,
    shown_by,
    userinfo_of,
)
from mirrornode.mirror.target import Target, parse_target
from mirrornode.swarm.addresses import TcpAddress
from mirrornode.wire import ticket
from mirrornode.wire.hub import HubRequest, HubTarget, parse_hub_path, parse_hub_target
from mirrornode.wire.multiaddr import multiaddr_to_bytes, multiaddr_to_text, split_peer_id
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_cid, peer_id_to_text
from mirrornode.wire.ranges import RangeNotSatisfiable, parse_content_range, parse_range

SIZE_BYTES = 1 << 20
SECRET = bytes(32)
MULTIADDRS = (
    *ADDRESSES,
    f"{ADDRESSES[0]}/p2p/{PEERS[0]}",
    "/ip4/192.168.1.5/tcp/8443/tls/http",
    "/dns/gateway.example/tcp/443/tls/sni/other.example/http/http-path/a%2Fb",
    "/ip6/::1/udp/1/quic-v1/webtransport",
)
AUTHORIZATIONS = (
    "Bearer mn_token:hf_token",
    "Bearer hf_token",
    "Basic bWU6bW5fdG9rZW46aGZfdG9rZW4=",
    "basic bWU6",
)
PROXIES = parse_networks(["10.0.0.0/8"], "test")
HUB_PATHS = (
    "/org/name/resolve/main/sub%20dir/model.safetensors",
    f"/datasets/org/data/resolve/{COMMIT}/a.csv",
    "/api/models/org/name/tree/refs%2Fpr%2F1/sub",
    "/api/models/org/name/revision/feature%2Fx",
    "/gpt2/resolve/refs/pr/1/config.json",
    "/api/models/org/name/paths-info/main",
    "/api/whoami-v2",
)
HUB_TARGETS = (
    "hf:org/name",
    "hf:org/name@v1.0/sub dir/file.bin",
    "hf:datasets/org/data@refs/pr/3/a.csv",
    "hf://spaces/org/app@feature%2Fx",
    "hf:gpt2@main/config.json",
)


def _encoded(texts: tuple[str, ...]) -> list[bytes]:
    return [each.encode() for each in texts]


def _check_multiaddr(data: bytes, value: object) -> None:
    assert isinstance(value, str)
    again = multiaddr_to_bytes(value)
    assert multiaddr_to_text(again) == value
    split_peer_id(value)


def _check_multiaddr_text(data: bytes, value: object) -> None:
    assert isinstance(value, bytes)
    _check_multiaddr(data, multiaddr_to_text(value) if value else "")


def _check_peer_id(data: bytes, value: object) -> None:
    assert isinstance(value, str)
    assert peer_id_to_bytes(value) == data
    assert peer_id_to_bytes(peer_id_to_cid(data)) == data


def _check_target(data: bytes, value: object) -> None:
    assert isinstance(value, Target)
    shown = f"/ipfs/{value}"
    assert shown != shown.strip() or parse_target(shown) == value  # what is typed is stripped
    assert not {"", ".", ".."} & set(value.path)


def _check_hub_target(data: bytes, value: object) -> None:
    assert isinstance(value, HubTarget)
    assert parse_hub_target(str(value)) == value


def _check_hub_path(data: bytes, value: object) -> None:
    assert value is None or isinstance(value, HubRequest)
    assert value is None or not {".", ".."} & set(value.path.split("/"))


def _check_shown(data: bytes, value: object) -> None:
    assert isinstance(value, tuple)
    for shown in value[:2]:
        assert ":" not in shown.gateway or not shown.origin
        assert shown.whole in ("", shown.gateway, f"{shown.gateway}:{shown.origin}")


def _check_range(data: bytes, value: object) -> None:
    if isinstance(value, tuple):
        start, stop = value
        assert 0 <= start < stop <= SIZE_BYTES


def _check_content_range(data: bytes, value: object) -> None:
    assert isinstance(value, tuple)
    start, stop, size = value
    assert 0 <= start < stop <= (size or stop)


NAMES = (
    Decoder(
        "authorization",
        lambda: _encoded(AUTHORIZATIONS),
        lambda data: (shown_by(text(data), ""), shown_by("", text(data)), userinfo_of(text(data))),
        (),
        _check_shown,
        is_text=True,
    ),
    Decoder(
        "forwarded-for",
        lambda: _encoded(("192.0.2.1, 10.0.0.2", "[2001:db8::1]:80,10.0.0.3", "::ffff:192.0.2.1")),
        lambda data: client_behind(parse_address("10.0.0.1"), [text(data)], PROXIES),
        is_text=True,
    ),
    Decoder(
        "multiaddr",
        lambda: [multiaddr_to_bytes(each) for each in MULTIADDRS],
        multiaddr_to_text,
        (RemoteProtocolError,),
        _check_multiaddr,
    ),
    Decoder(
        "multiaddr-text",
        lambda: _encoded(MULTIADDRS),
        lambda data: multiaddr_to_bytes(text(data)),
        (TargetError,),
        _check_multiaddr_text,
        is_text=True,
    ),
    Decoder(
        "tcp-address",
        lambda: _encoded((MULTIADDRS[0], MULTIADDRS[2], MULTIADDRS[3])),
        lambda data: TcpAddress.parse(text(data)),
        (ValueError,),
        is_text=True,
    ),
    Decoder(
        "peer-id",
        lambda: [peer_id_to_bytes(peer) for peer in PEERS] + [b"\x12\x20" + bytes(32)],
        peer_id_to_text,
        (RemoteProtocolError,),
        _check_peer_id,
    ),
    Decoder(
        "peer-id-text",
        lambda: _encoded((*PEERS, peer_id_to_cid(peer_id_to_bytes(PEERS[0])))),
        lambda data: peer_id_to_bytes(text(data)),
        (TargetError,),
        is_text=True,
    ),
    Decoder(
        "target",
        lambda: _encoded((str(CIDS[0]), f"/ipfs/{CIDS[5]}/a/b c", f"ipfs://{CIDS[4]}/a%20b")),
        lambda data: parse_target(text(data)),
        (TargetError,),
        _check_target,
        is_text=True,
    ),
    Decoder(
        "hub-target",
        lambda: _encoded(HUB_TARGETS),
        lambda data: parse_hub_target(text(data)),
        (TargetError,),
        _check_hub_target,
        is_text=True,
    ),
    Decoder(
        "hub-path",
        lambda: _encoded(HUB_PATHS),
        lambda data: parse_hub_path(text(data)),
        (),
        _check_hub_path,
        is_text=True,
    ),
    Decoder(
        "range",
        lambda: _encoded(("bytes=0-99", "bytes=500-", "bytes=-7", "bytes=0-0,5-9")),
        lambda data: parse_range(text(data), SIZE_BYTES),
        (RangeNotSatisfiable,),
        _check_range,
        is_text=True,
    ),
    Decoder(
        "content-range",
        lambda: _encoded(("bytes 0-99/1000", "bytes 5-5/*")),
        lambda data: parse_content_range(text(data)),
        (RemoteProtocolError,),
        _check_content_range,
        is_text=True,
    ),
    Decoder(
        "bearer",
        lambda: [ticket.make_bearer(SECRET, PEERS[0], 1e9).encode()],
        lambda data: ticket.check_bearer(SECRET, text(data), 0.0),
        is_text=True,
    ),
)
