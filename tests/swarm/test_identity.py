"""The key file: known answers, creation, modes, damage."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from mirrornode.errors import PathRefused, StoreError
from mirrornode.swarm.identity import Identity, load_or_create_identity
from mirrornode.swarm.peer_id import normal_peer_id, peer_id_bytes, peer_id_of_public_key
from support.fixtures import fixtures_dir

# SOURCE: libp2p/specs peer-ids/peer-ids.md, test vectors
PRIVATE = bytes.fromhex(
    "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
    "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
)
PUBLIC = bytes.fromhex("080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")


def test_from_protobuf_when_known_key_then_public_half_and_peer_id_follow() -> None:
    identity = Identity.from_protobuf(PRIVATE)
    assert identity.public_protobuf() == PUBLIC
    assert identity.to_protobuf() == PRIVATE
    assert identity.peer_id == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    assert identity.private_seed.hex() not in repr(identity)


def test_from_protobuf_when_public_half_is_anothers_then_refused() -> None:
    with pytest.raises(ValueError, match="public half"):
        Identity.from_protobuf(PRIVATE[:-1] + b"\x00")


def test_peer_ids_when_in_the_vectors_then_all_forms_agree() -> None:
    vectors = json.loads((fixtures_dir() / "vectors" / "libp2p_vectors.json").read_text())
    for vector in vectors["peer_ids"]:
        for form in ("b58", "cid_b32", "cid_b36"):
            assert normal_peer_id(vector[form]) == vector["b58"]
            assert peer_id_bytes(vector[form]).hex() == vector["binary_hex"]
    for certificate in vectors["tls_certificates"]:
        if key := certificate.get("host_public_key_pb_hex"):
            assert peer_id_of_public_key(bytes.fromhex(key)) == certificate["peer_id"]
    encoded = bytes.fromhex(vectors["keys_pb_hex"]["ED25519 private key"])
    public = bytes.fromhex(vectors["keys_pb_hex"]["ED25519 public key"])
    assert Identity.from_protobuf(encoded).public_protobuf() == public


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12D3KooW",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbd0",  # 0 is not base58
        "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",  # a CID, not of a key
        "k51é",
        "1" * 400,
    ],
)
def test_normal_peer_id_when_not_one_then_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a peer id"):
        normal_peer_id(text)


def test_load_when_absent_then_creates_once_and_keeps(tmp_path: Path) -> None:
    path = tmp_path / "home" / "identity.key"
    first = load_or_create_identity(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("CAESQ")  # the form of Kubo's Identity.PrivKey
    assert load_or_create_identity(path) == first
    assert [each.name for each in path.parent.iterdir()] == ["identity.key"]


def test_load_when_file_is_open_to_others_then_closes_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "identity.key"
    path.write_text(base64.b64encode(PRIVATE).decode())
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert load_or_create_identity(path).to_protobuf() == PRIVATE
    assert path.stat().st_mode & 0o777 == 0o600
    assert "open to others" in caplog.text


@pytest.mark.parametrize(
    "content", [b"", b"nonsense!", base64.b64encode(PRIVATE[:-1]), PRIVATE, b"A" * 5000]
)
def test_load_when_damaged_then_error_and_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"identity\.key is damaged"):
        load_or_create_identity(path)
    assert path.read_bytes() == content


def test_load_when_path_is_a_directory_then_path_refused(tmp_path: Path) -> None:
    with pytest.raises(PathRefused):
        load_or_create_identity(tmp_path)


def test_import_when_identity_only_then_neither_libp2p_nor_trio() -> None:
    code = (
        "import sys, mirrornode.swarm.identity, mirrornode.swarm.node, mirrornode.swarm.mdns;"
        "sys.exit(bool({'libp2p', 'trio', 'multiaddr'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
