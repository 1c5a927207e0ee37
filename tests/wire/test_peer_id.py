"""Peer ids: known answers, both text forms, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_cid, peer_id_to_text
from support.fixtures import fixture_json

# SOURCE: ipfs/specs src/routing/kad-dht.md; libp2p/specs peer-ids/peer-ids.md
TEXT = "12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS"
CID_BASE32 = "bafzaajaiaejcbhr3im6l2mocxctoxpoktgf5b5gccqojzgxviixjoycrwhtdv4kn"
CID_BASE36 = "k51qzi5uqu5dk4kbd5bpmklj30q0q8n3091bncahugkx18e84p1od2rk25olsd"
BINARY = bytes.fromhex(
    "0024080112209e3b433cbd31c2b8a6ebbdca998bd0f4c2141c9c9af5422e976051b1e63af14d"
)

peer_ids = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda digest: b"\x12\x20" + digest),
    st.binary(min_size=1, max_size=42).map(lambda key: bytes((0, len(key))) + key),
)


@pytest.mark.parametrize("text", [TEXT, CID_BASE32, CID_BASE36])
def test_peer_id_to_bytes_reads_every_text_form(text: str) -> None:
    assert peer_id_to_bytes(text) == BINARY


def test_peer_id_to_text_writes_base58() -> None:
    assert peer_id_to_text(BINARY) == TEXT
    assert peer_id_to_cid(BINARY) == CID_BASE36


def test_peer_ids_of_the_fixtures_convert_both_ways() -> None:
    for vector in fixture_json("vectors/libp2p_vectors.json")["peer_ids"]:
        binary = bytes.fromhex(vector["binary_hex"])
        assert peer_id_to_text(binary) == vector["b58"]
        assert peer_id_to_cid(binary) == vector["cid_b36"]
        for form in ("b58", "cid_b32", "cid_b36"):
            assert peer_id_to_bytes(vector[form]) == binary


@given(peer_ids)
def test_peer_id_survives_its_text_forms(binary: bytes) -> None:
    assert peer_id_to_bytes(peer_id_to_text(binary)) == binary
    assert peer_id_to_bytes(peer_id_to_cid(binary)) == binary


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12D3KooW",
        "Qm0OIl",
        "bafkqaaa",
        "k0",
        "x" * 50,
        "1" * 500,
        TEXT + "1",
        CID_BASE32.upper(),
    ],
)
def test_peer_id_to_bytes_refuses_what_is_none(text: str) -> None:
    with pytest.raises(TargetError):
        peer_id_to_bytes(text)


@given(st.text(max_size=90))
def test_peer_id_to_bytes_raises_target_errors_only(text: str) -> None:
    with contextlib.suppress(TargetError):
        peer_id_to_text(peer_id_to_bytes(text))


@pytest.mark.parametrize("binary", [b"", b"\x00\x00", b"\x12\x20", b"\x12\x20" + b"x" * 31])
def test_peer_id_to_text_refuses_what_is_none(binary: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        peer_id_to_text(binary)
