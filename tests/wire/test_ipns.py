"""IPNS records: the vectors of the spec, real ones, our own, and what must not be believed."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mirrornode.content.dagcbor import Value, encode_dagcbor
from mirrornode.errors import RemoteProtocolError, TargetError
from mirrornode.wire.ipns import (
    MAX_RECORD_BYTES,
    NANOSECONDS,
    create_record,
    dht_key,
    name_of_seed,
    name_to_bytes,
    name_to_text,
    verify_record,
)
from mirrornode.wire.protobuf import encode_bytes_field, encode_varint_field
from mirrornode.wire.public_key import KeyType, peer_id_of_key
from support.fixtures import fixture_json, fixtures_dir

NOW = 1_700_000_000.0
SEED = bytes(range(32))
NAME = name_of_seed(SEED)
VALUE = "/ipfs/bafkqaddwgevxmmraojswg33smq"
DOCUMENT: dict[str, Value] = {
    "Value": VALUE.encode(),
    "Validity": b"2123-08-14T12:17:03.694052Z",
    "ValidityType": 0,
    "Sequence": 3,
    "TTL": 60 * NANOSECONDS,
}

# SOURCE: ipfs/specs src/ipns/ipns-record.md, "Test Vectors" (as in ipfs/gateway-conformance)
SPEC_VECTORS = {
    "k51qzi5uqu5dm4tm0wt8srkg9h9suud4wuiwjimndrkydqm81cqtlb5ak6p7ku_v1": None,
    "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w_v1-v2": VALUE,
    "k51qzi5uqu5dlmit2tuwdvnx4sbnyqgmvbxftl0eo3f33wwtb9gr7yozae9kpw_v1-v2-broken-v1-value": None,
    "k51qzi5uqu5diamp7qnnvs1p1gzmku3eijkeijs3418j23j077zrkok63xdm8c_v1-v2-broken-signature-v2": (
        None
    ),
    "k51qzi5uqu5dilgf7gorsh9vcqqq4myo6jd4zmqkuy9pxyxi5fua3uf7axph4y_v1-v2-broken-signature-v1": (
        "/ipfs/bafkqahtwgevxmmrao5uxi2bamjzg623fnyqhg2lhnzqxi5lsmuqhmmi"
    ),
    "k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f_v2": (
        "/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi"
    ),
}


def _signed(document: Value, *, ahead: bytes = b"", seed: bytes = SEED) -> bytes:
    """Return a record without old fields around any document."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = encode_dagcbor(document)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(b"ipns-signature:" + data)
    return ahead + encode_bytes_field(8, signature) + encode_bytes_field(9, data)


@pytest.mark.parametrize("stem", SPEC_VECTORS)
def test_verify_of_the_specs_vectors_is_as_the_spec_says(stem: str) -> None:
    binary = (fixtures_dir() / "ipns/ipns_records" / f"{stem}.ipns-record").read_bytes()
    name = name_to_bytes(stem.partition("_")[0])
    expected = SPEC_VECTORS[stem]
    if expected is None:
        with pytest.raises(RemoteProtocolError):
            verify_record(name, binary, NOW)
    else:
        assert verify_record(name, binary, NOW).value == expected.encode()


def test_verify_of_all_real_records_gives_what_they_hold() -> None:
    for vector in fixture_json("vectors/ipns_vectors.json")["records"]:
        name, binary = name_to_bytes(vector["name"]), bytes.fromhex(vector["hex"])
        if vector["expected"].startswith("invalid"):
            with pytest.raises(RemoteProtocolError):
                verify_record(name, binary, NOW)
            continue
        record = verify_record(name, binary, NOW)
        assert record.value == vector["cbor"]["Value"].encode()
        assert (record.sequence, record.ttl_ns) == (
            vector["cbor"]["Sequence"],
            vector["cbor"]["TTL"],
        )
        assert record.binary == binary


def test_create_then_verify_gives_the_same_record() -> None:
    record = create_record(SEED, VALUE, sequence=7, expires_at=NOW + 10.25, ttl_s=300)
    assert verify_record(NAME, record.binary, NOW) == record
    assert record.sequence == 7
    assert record.ttl_ns == 300 * NANOSECONDS
    assert record.expires_ns == round((NOW + 10.25) * NANOSECONDS)
    assert len(record.binary) < 400


def test_verify_at_its_end_then_it_has_run_out() -> None:
    record = create_record(SEED, VALUE, sequence=0, expires_at=NOW, ttl_s=0)
    assert verify_record(NAME, record.binary, NOW - 0.001).value == VALUE.encode()
    with pytest.raises(RemoteProtocolError, match="run out"):
        verify_record(NAME, record.binary, NOW)


def test_verify_under_another_name_then_refused() -> None:
    record = create_record(SEED, VALUE, sequence=0, expires_at=NOW + 9, ttl_s=0)
    with pytest.raises(RemoteProtocolError, match="did not sign"):
        verify_record(name_of_seed(bytes(32)), record.binary, NOW)


def test_verify_when_any_byte_is_changed_then_refused_or_says_the_same() -> None:
    record = create_record(SEED, VALUE, sequence=1, expires_at=NOW + 9, ttl_s=60)
    believed = 0
    for offset in range(len(record.binary)):
        forged = bytearray(record.binary)
        forged[offset] ^= 0x04
        try:
            found = verify_record(NAME, bytes(forged), NOW)
        except RemoteProtocolError:
            continue
        believed += 1  # in signatureV1, which nobody checks
        assert found.rank[:2] == record.rank[:2]
        assert found.value == record.value
    assert believed == 64


@pytest.mark.parametrize(
    "change",
    [{"Value": VALUE}, {"Value": None}, {"Validity": "2123-08-14T12:17:03Z"}, {"TTL": -1},
     {"Validity": b"2123-02-30T12:17:03Z"}, {"Validity": b"tomorrow"}, {"Validity": b""},
     {"Validity": b"2123-08-14T12:17:03"}, {"Validity": b"2123-08-14T12:17:61Z"},
     {"ValidityType": 1}, {"ValidityType": False}, {"Sequence": -1}, {"Sequence": 1.0},
     {"Sequence": True}, {"TTL": "1"}],
)  # fmt: skip
def test_verify_when_a_signed_field_is_wrong_then_refused(change: dict[str, Value]) -> None:
    with pytest.raises(RemoteProtocolError):
        verify_record(NAME, _signed({**DOCUMENT, **change}), NOW)


@pytest.mark.parametrize("missing", DOCUMENT)
def test_verify_when_a_signed_field_is_missing_then_refused(missing: str) -> None:
    document = {key: value for key, value in DOCUMENT.items() if key != missing}
    with pytest.raises(RemoteProtocolError):
        verify_record(NAME, _signed(document), NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"2030-01-01T00:00:00Z", 1893456000), (b"2030-01-01T02:00:00+02:00", 1893456000),
     (b"2029-12-31T22:30:00.000000000-01:30", 1893456000)],
)  # fmt: skip
def test_verify_reads_the_end_in_any_zone(text: bytes, seconds: int) -> None:
    record = verify_record(NAME, _signed({**DOCUMENT, "Validity": text}), NOW)
    assert record.expires_ns == seconds * NANOSECONDS


def test_verify_allows_fields_that_applications_add() -> None:
    assert verify_record(NAME, _signed({**DOCUMENT, "_model": "x"}), NOW).sequence == 3


@pytest.mark.parametrize(
    "document", [[], None, "x", {}, {"Value": [[[[]]]]}, b"\x00" * 100], ids=repr
)
def test_verify_when_data_is_something_else_then_refused(document: Value) -> None:
    with pytest.raises(RemoteProtocolError):
        verify_record(NAME, _signed(document), NOW)


@pytest.mark.parametrize(
    "binary",
    [b"", b"\xff" * 40, b"\x0a", encode_varint_field(8, 5) + encode_varint_field(9, 5),
     encode_bytes_field(5, b"") + _signed(DOCUMENT), _signed(DOCUMENT) + b"\x18\x00" * 100,
     encode_bytes_field(8, b"x" * 64) + encode_bytes_field(9, b"\x9f" * 50)],
)  # fmt: skip
def test_verify_of_garbage_then_refused(binary: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        verify_record(NAME, binary, NOW)


def test_verify_of_a_record_above_10_kib_then_refused() -> None:
    long = _signed({**DOCUMENT, "Value": b"/ipfs/" + b"x" * MAX_RECORD_BYTES})
    with pytest.raises(RemoteProtocolError, match="bytes"):
        verify_record(NAME, long, NOW)


@pytest.mark.parametrize(
    "ahead",
    [encode_bytes_field(1, b"/ipfs/else"), encode_bytes_field(2, b"signature"),
     encode_bytes_field(1, VALUE.encode()),
     encode_bytes_field(1, VALUE.encode()) + encode_bytes_field(4, b"2123-08-14T12:17:03.694052Z")
     + encode_varint_field(5, 4) + encode_varint_field(6, 60 * NANOSECONDS)],
)  # fmt: skip
def test_verify_when_old_fields_differ_then_refused(ahead: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="old fields"):
        verify_record(NAME, _signed(DOCUMENT, ahead=ahead), NOW)


def test_newer_is_by_sequence_then_end_then_bytes() -> None:
    def record(sequence: int, end: float, value: str = VALUE) -> tuple[int, int, bytes]:
        made = create_record(SEED, value, sequence=sequence, expires_at=NOW + end, ttl_s=1)
        return verify_record(NAME, made.binary, NOW).rank

    assert record(2, 1) > record(1, 100)
    assert record(2, 2) > record(2, 1)
    assert record(2, 1) == record(2, 1)
    assert record(2, 1) != record(2, 1, "/ipfs/bafkqaaa")


@pytest.mark.parametrize("kind", [KeyType.RSA, KeyType.SECP256K1, KeyType.ECDSA])
def test_verify_of_names_of_other_keys(kind: KeyType) -> None:
    data = encode_dagcbor(DOCUMENT)
    signed = b"ipns-signature:" + data
    if kind is KeyType.RSA:
        private = rsa.generate_private_key(65537, 2048)
        signature = private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        raw = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        curve = ec.SECP256K1() if kind is KeyType.SECP256K1 else ec.SECP256R1()
        key = ec.generate_private_key(curve)
        signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
        if kind is KeyType.SECP256K1:
            raw = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        else:
            raw = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = encode_varint_field(1, kind) + encode_bytes_field(2, raw)
    name = peer_id_of_key(public)
    bare = encode_bytes_field(8, signature) + encode_bytes_field(9, data)
    whole = encode_bytes_field(7, public) + bare
    assert verify_record(name, whole, NOW).sequence == 3
    if kind is KeyType.SECP256K1:
        assert verify_record(name, bare, NOW).sequence == 3  # the name holds the key
    else:
        with pytest.raises(RemoteProtocolError, match="without the key"):
            verify_record(name, bare, NOW)
    forged = signature[:-1] + bytes([signature[-1] ^ 1])
    with pytest.raises(RemoteProtocolError, match="did not sign"):
        verify_record(name, whole.replace(signature, forged), NOW)
    with pytest.raises(RemoteProtocolError, match="another name"):
        verify_record(NAME, whole, NOW)


@pytest.mark.parametrize(
    "public",
    [b"\x08\x01\x12\x01x", b"\x08\x09\x12\x20" + bytes(32), b"\x08\x00\x12\x04abcd",
     b"\x08\x02\x12\x21" + b"\x09" * 33, b"\x08\x03\x12\x04abcd", b"\x12\x01x\x12"],
)  # fmt: skip
def test_verify_when_the_key_is_none_then_refused(public: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        verify_record(peer_id_of_key(public), _signed(DOCUMENT), NOW)


def test_verify_when_the_rsa_key_is_short_then_refused() -> None:
    key = rsa.generate_private_key(65537, 1024)
    raw = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = encode_varint_field(1, KeyType.RSA) + encode_bytes_field(2, raw)
    binary = encode_bytes_field(7, public) + _signed(DOCUMENT)
    with pytest.raises(RemoteProtocolError, match="1024 bits"):
        verify_record(peer_id_of_key(public), binary, NOW)


def test_names_have_many_texts_and_one_of_them_is_ours() -> None:
    # SOURCE: libp2p peer-ids.md, "String representation"
    name = name_to_bytes("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
    text = name_to_text(name)
    assert text.startswith("k51qzi5uqu5d")
    assert name_to_bytes(text) == name
    rsa_name = name_to_bytes("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
    assert name_to_bytes("bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe") == rsa_name
    assert dht_key(name) == b"/ipns/" + name


@pytest.mark.parametrize("text", ["", "models", "k51", "bafkqaaa", "k51qzi5uqu5d" + "0" * 200])
def test_name_when_it_is_none_then_target_error(text: str) -> None:
    with pytest.raises(TargetError):
        name_to_bytes(text)


def test_verify_of_a_record_that_is_cut_off_then_refused() -> None:
    record = create_record(SEED, VALUE, sequence=0, expires_at=NOW + 9, ttl_s=0)
    for length in range(len(record.binary)):
        with pytest.raises(RemoteProtocolError):
            verify_record(NAME, record.binary[:length], NOW)
