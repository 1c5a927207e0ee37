"""IPNS records as bytes: made, read, verified and compared; and the texts of their names.

A name is the binary peer id of the key that signs for it. A record says for some time what the
name means; whoever holds a verified one may pass it on. Where records come from is decided in
`routing` and `mirror`. Names of RSA, secp256k1 and ECDSA keys are verified; records are signed with
Ed25519 only.

Spec: ipfs/specs `ipns/ipns-record.md`; boxo `ipns` for what it leaves open (the V1 fields, which of
two equal records wins).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirrornode.content.dagcbor import Value, decode_dagcbor, encode_dagcbor
from mirrornode.errors import ContentError, RemoteProtocolError
from mirrornode.wire.peer_id import peer_id_to_bytes, peer_id_to_cid
from mirrornode.wire.protobuf import encode_bytes_field, encode_varint_field, read_fields
from mirrornode.wire.public_key import is_signed_by, peer_id_of_key

MAX_RECORD_BYTES: Final = 10 * 1024  # spec: larger records are not to be processed
MEDIA_TYPE: Final = "application/vnd.ipfs.ipns-record"
KEY_PREFIX: Final = b"/ipns/"
NANOSECONDS: Final = 1_000_000_000

_VALUE, _SIGNATURE_V1, _VALIDITY_TYPE, _VALIDITY, _SEQUENCE = 1, 2, 3, 4, 5
_TTL, _PUBLIC_KEY, _SIGNATURE_V2, _DATA = 6, 7, 8, 9
_BYTE_FIELDS = (_VALUE, _SIGNATURE_V1, _VALIDITY, _PUBLIC_KEY, _SIGNATURE_V2, _DATA)
_UNTIL = 0  # the only validity type there is: "End Of Life"
_MAX_UINT64 = (1 << 64) - 1
_MAX_FIELDS = 64  # nine are known
_V2_PREFIX = b"ipns-signature:"
_ED25519_PUBLIC = bytes.fromhex("08011220")
_TIME = re.compile(
    rb"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d{2}):(\d{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class IpnsRecord:
    """One record whose fields agree with each other.

    Attributes:
        value: What the name means: `/ipfs/<cid>[/path]` or `/ipns/<name>[/path]`, as signed.
        expires_ns: Unix time in nanoseconds from which on it must not be believed.
        sequence: Counts the changes of the value.
        ttl_ns: How long it may be used before one looks for a newer one; 0 = not said.
        binary: The whole record, as it travels.
    """

    value: bytes
    expires_ns: int
    sequence: int
    ttl_ns: int
    binary: bytes

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """Of two records of one name the one with the greater rank wins, everywhere the same."""
        return self.sequence, self.expires_ns, self.binary

    def is_valid_at(self, now: float) -> bool:
        """Tell whether it may still be believed at a Unix time."""
        return self.expires_ns > now * NANOSECONDS


def name_to_bytes(text: str) -> bytes:
    """Return the name in any of its texts: `k51…`, `bafz…`, `12D3Koo…`, `Qm…`.

    Raises:
        TargetError: Not the text of a name.
    """
    return peer_id_to_bytes(text)


def name_to_text(name: bytes) -> str:
    """Return the canonical text, `k51…`.

    Raises:
        RemoteProtocolError: Not a name.
    """
    return peer_id_to_cid(name)


def dht_key(name: bytes) -> bytes:
    """Return the key that a DHT keeps the record of a name under."""
    return KEY_PREFIX + name


def name_of_seed(seed: bytes) -> bytes:
    """Return the name that an Ed25519 seed signs for."""
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return peer_id_of_key(_ED25519_PUBLIC + key.public_bytes_raw())


def create_record(
    seed: bytes, value: str, *, sequence: int, expires_at: float, ttl_s: float
) -> IpnsRecord:
    """Return a new record, signed, with the old fields as Kubo writes them.

    Args:
        seed: The 32 bytes of an Ed25519 key.
        expires_at: Unix time.
    """
    key = Ed25519PrivateKey.from_private_bytes(seed)
    value_bytes = value.encode()
    expires_ns = round(expires_at * NANOSECONDS)
    validity = _time_text(expires_ns)
    ttl_ns = round(ttl_s * NANOSECONDS)
    document: dict[str, Value] = {
        "Value": value_bytes,
        "Validity": validity,
        "ValidityType": _UNTIL,
        "Sequence": sequence,
        "TTL": ttl_ns,
    }
    encoded = encode_dagcbor(document)
    binary = b"".join(
        (
            encode_bytes_field(_VALUE, value_bytes),
            encode_bytes_field(_SIGNATURE_V1, key.sign(value_bytes + validity + b"0")),
            encode_varint_field(_VALIDITY_TYPE, _UNTIL),
            encode_bytes_field(_VALIDITY, validity),
            encode_varint_field(_SEQUENCE, sequence),
            encode_varint_field(_TTL, ttl_ns),
            encode_bytes_field(_SIGNATURE_V2, key.sign(_V2_PREFIX + encoded)),
            encode_bytes_field(_DATA, encoded),
        )
    )
    return IpnsRecord(value_bytes, expires_ns, sequence, ttl_ns, binary)


def read_record(binary: bytes) -> IpnsRecord:
    """Return a record that was verified before, such as one of our own, whether it has run out.

    Raises:
        RemoteProtocolError: It has no data, or other data than a record.
    """
    return _decode_data(_read(binary).texts.get(_DATA, b""), binary)[0]


def verify_record(name: bytes, binary: bytes, now: float) -> IpnsRecord:
    """Return the record in `binary` if the key of `name` signed it and it has not run out.

    Args:
        now: Unix time.

    Raises:
        RemoteProtocolError: It must not be believed; the message says why.
    """
    if len(binary) > MAX_RECORD_BYTES:
        raise RemoteProtocolError(f"a record of {len(binary)} bytes")
    fields = _read(binary)
    signature, data = fields.texts.get(_SIGNATURE_V2), fields.texts.get(_DATA)
    if not signature or not data:
        raise RemoteProtocolError("a record without signatureV2 and data")
    key = _key_of(name, fields.texts.get(_PUBLIC_KEY, b""))
    record, validity = _decode_data(data, binary)
    if not is_signed_by(key, signature, _V2_PREFIX + data):
        raise RemoteProtocolError("a record that its name did not sign")
    _check_old_fields(fields, record, validity)
    if not record.is_valid_at(now):
        raise RemoteProtocolError("a record that has run out")
    return record


@dataclass(frozen=True, slots=True)
class _Fields:
    """The protobuf fields of a record, by number."""

    texts: dict[int, bytes]
    numbers: dict[int, int]


def _read(binary: bytes) -> _Fields:
    fields = _Fields({}, {})
    for number, value in read_fields(binary, max_fields=_MAX_FIELDS):
        if isinstance(value, bytes) != (number in _BYTE_FIELDS) and number <= _DATA:
            raise RemoteProtocolError(f"field {number} of a record is of the wrong kind")
        if isinstance(value, bytes):
            fields.texts[number] = value  # protobuf: the last one counts
        else:
            fields.numbers[number] = value
    return fields


def _key_of(name: bytes, given: bytes) -> bytes:
    """Return the key of a name: the name itself holds it, or the record gives it."""
    if given:
        if peer_id_of_key(given) != name:
            raise RemoteProtocolError("a record with the key of another name")
        return given
    if name[:1] != b"\x00":
        raise RemoteProtocolError("a record without the key, which its name does not hold")
    return name[2:]


def _decode_data(data: bytes, binary: bytes) -> tuple[IpnsRecord, bytes]:
    """Return what is signed, and its end as it is written there."""
    try:
        document = decode_dagcbor(data)
    except ContentError as exc:
        raise RemoteProtocolError(f"a record whose data is no DAG-CBOR: {exc}") from exc
    if not isinstance(document, dict):
        raise RemoteProtocolError("a record whose data is no map")
    value, validity = document.get("Value"), document.get("Validity")
    if not isinstance(value, bytes) or not isinstance(validity, bytes):
        raise RemoteProtocolError("a record without value or validity")
    if _number(document.get("ValidityType")) != _UNTIL:
        raise RemoteProtocolError("a record of an unknown validity type")
    sequence, ttl_ns = _number(document.get("Sequence")), _number(document.get("TTL"))
    return IpnsRecord(value, _time_of(validity), sequence, ttl_ns, binary), validity


def _check_old_fields(fields: _Fields, record: IpnsRecord, validity: bytes) -> None:
    """Compare the V1 fields, when there are any, with what is signed; old readers go by them."""
    texts, numbers = fields.texts, fields.numbers
    if not texts.get(_VALUE) and not texts.get(_SIGNATURE_V1):
        return
    if (
        texts.get(_VALUE, b"") != record.value
        or texts.get(_VALIDITY, b"") != validity
        or numbers.get(_VALIDITY_TYPE, 0) != _UNTIL
        or numbers.get(_SEQUENCE, 0) != record.sequence
        or numbers.get(_TTL, 0) != record.ttl_ns
    ):
        raise RemoteProtocolError("a record whose old fields say something else")


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_UINT64:
        raise RemoteProtocolError("a record with a number that is none")
    return value


def _time_text(unix_ns: int) -> bytes:
    """Return RFC 3339 in UTC with nanoseconds."""
    seconds, nanoseconds = divmod(unix_ns, NANOSECONDS)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z".encode()


def _time_of(text: bytes) -> int:
    """Return the Unix time in nanoseconds of an RFC 3339 text."""
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError("not RFC 3339")
        moment = datetime.fromisoformat(match[1].decode()).replace(tzinfo=UTC)
        fraction = int((match[2] or b"0").ljust(9, b"0"))
        offset_s = 0
        if match[3]:
            hours, minutes = int(match[4]), int(match[5])
            if hours > 23 or minutes > 59:
                raise ValueError("no such offset")
            offset_s = (hours * 60 + minutes) * (60 if match[3] == b"+" else -60)
    except ValueError as exc:
        raise RemoteProtocolError(f"a record whose end is no time: {exc}") from exc
    whole = moment - _EPOCH
    return (whole.days * 86_400 + whole.seconds - offset_s) * NANOSECONDS + fraction
