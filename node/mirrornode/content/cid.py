"""Content identifiers: the name of a block, as bytes inside and as text at the edges.

A `Cid` is its binary parts; text is made and read by the `multiformats` library, which is imported
on first use (60 ms) and whose result is cached. Base32, the text nearly every CID has, goes the
short way: microseconds instead of 100, which counts in a folder of ten thousand files. Holding a
`Cid` says nothing about its block: `block.Block.verify` does. A CID may carry a hash function we
cannot check (a directory may link to one); fetching it is refused there.
Spec: multiformats/cid; limits of boxo `verifcid` and bitswap.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from mirrornode.content.varint import decode_uvarint, encode_uvarint
from mirrornode.errors import HashNotAllowed, MalformedCid

RAW = 0x55
DAG_PB = 0x70
GIT_RAW = 0x78  # a git object; here only the name of a small file on the Hub

IDENTITY = 0x00
SHA1 = 0x11  # of git objects only: no block is checked by it
SHA2_256 = 0x12
SHA2_512 = 0x13
BLAKE3 = 0x1E

MAX_CID_BYTES = 168  # boxo bitswap: longer CIDs are dropped by every Kubo
MIN_DIGEST_BYTES = 20  # boxo verifcid: shorter digests can be forged
MAX_DIGEST_BYTES = 128  # boxo verifcid and IPIP-512, which holds identity digests to it
MAX_CID_TEXT = 1 + 8 * MAX_CID_BYTES  # base2 is the longest multibase

_V0_TEXT_LENGTH = 46
_V0_PREFIX = b"\x12\x20"
_GIT_SHA1_PREFIX = b"\x11\x14"
_V0_BYTES = 34
_V1_BYTES = 36  # with a one-byte codec and SHA2-256: nearly every CID there is


@dataclass(frozen=True, slots=True)
class Cid:
    """One content identifier; equal when version, codec and multihash are.

    Attributes:
        version: 0 or 1; 0 is always dag-pb with SHA2-256.
        codec: Multicodec of the block, e.g. `RAW` or `DAG_PB`.
        multihash: uvarint hash code, uvarint digest length, digest. The key of every block store.
    """

    version: int
    codec: int
    multihash: bytes
    _text: str = field(default="", init=False, compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read a CID from text in any multibase, or a CIDv0 (`Qm…`).

        Raises:
            MalformedCid: Not a CID.
            HashNotAllowed: A digest shorter or longer than we accept.
        """
        if not text or len(text) > MAX_CID_TEXT:
            raise MalformedCid(f"not a CID: {len(text)} characters")
        if len(text) == _V0_TEXT_LENGTH and text.startswith("Qm"):
            return cls.from_bytes(_decode_multibase("z" + text, text))
        data = _decode_multibase(text, text)
        if data[:1] == _V0_PREFIX[:1]:
            raise MalformedCid(f"not a CID: {text[:80]!r} is a CIDv0 in a multibase")
        try:
            return cls.from_bytes(data)
        except MalformedCid as error:
            raise MalformedCid(f"not a CID: {text[:80]!r}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Read a binary CID that fills `data` exactly.

        Raises:
            MalformedCid: Not a CID, or bytes follow it.
            HashNotAllowed: A digest shorter or longer than we accept.
        """
        if len(data) == _V0_BYTES and data.startswith(_V0_PREFIX):
            return cls(0, DAG_PB, bytes(data))
        if len(data) == _V1_BYTES and data[2:4] == _V0_PREFIX and data[0] == 1 and data[1] < 0x80:
            return cls(1, data[1], bytes(data[2:]))
        if len(data) > MAX_CID_BYTES:
            raise MalformedCid(f"{len(data)} bytes; the limit of a CID is {MAX_CID_BYTES}")
        version, offset = decode_uvarint(data, error=MalformedCid)
        if version != 1:
            raise MalformedCid(f"CID version {version} does not exist")
        codec, offset = decode_uvarint(data, offset, error=MalformedCid)
        multihash = bytes(data[offset:])
        check_multihash(multihash)
        return cls(1, codec, multihash)

    @classmethod
    def v1(cls, codec: int, multihash: bytes) -> Cid:
        """Return the CIDv1 of a multihash.

        Raises:
            MalformedCid: `multihash` is not one.
            HashNotAllowed: Its digest is shorter or longer than we accept.
        """
        check_multihash(multihash)
        return cls(1, codec, multihash)

    @classmethod
    def raw_sha256(cls, digest: bytes) -> Cid:
        """Return the CIDv1 of a raw block whose SHA2-256 is `digest` (32 bytes)."""
        assert len(digest) == 32, "a SHA2-256 digest has 32 bytes"
        return cls(1, RAW, _V0_PREFIX + digest)

    @classmethod
    def git_blob(cls, sha1: bytes) -> Cid:
        """Return the CIDv1 of a git blob: how peers are asked for a file by its git-sha1.

        It names a file, and is never the CID of a block we take: SHA-1 is not accepted for those.
        """
        assert len(sha1) == 20, "a SHA-1 digest has 20 bytes"
        return cls(1, GIT_RAW, _GIT_SHA1_PREFIX + sha1)

    @property
    def binary(self) -> bytes:
        """The CID as bytes."""
        if self.version == 0:
            return self.multihash
        return b"\x01" + encode_uvarint(self.codec) + self.multihash

    @property
    def hash_code(self) -> int:
        """The multicodec of the hash function, e.g. `SHA2_256`."""
        first = self.multihash[0]
        return first if first < 0x80 else decode_uvarint(self.multihash)[0]

    @property
    def digest(self) -> bytes:
        """The hash value alone; for an identity CID the block itself."""
        if self.multihash.startswith(_V0_PREFIX):
            return self.multihash[2:]
        return split_multihash(self.multihash)[1]

    @property
    def is_identity(self) -> bool:
        """Whether the CID carries its block inside itself."""
        return self.multihash[0] == IDENTITY

    def __str__(self) -> str:
        """Canonical text: base58btc for version 0, base32 for version 1."""
        if not self._text:
            object.__setattr__(self, "_text", self._encode())
        return self._text

    def _encode(self) -> str:
        if self.version == 1:
            return "b" + _base32(self.binary)
        from multiformats import multibase

        return str(multibase.encode(self.multihash, "base58btc"))[1:]


def split_cid(data: bytes) -> tuple[int, int, bytes]:
    """Split a binary CID known to be well formed into version, codec and multihash."""
    if len(data) == _V0_BYTES and data.startswith(_V0_PREFIX):
        return 0, DAG_PB, data
    if data[1] < 0x80:
        return 1, data[1], data[2:]
    codec, offset = decode_uvarint(data, 1)
    return 1, codec, data[offset:]


def split_multihash(multihash: bytes) -> tuple[int, bytes]:
    """Split a multihash into hash code and digest.

    Raises:
        MalformedCid: Truncated, or bytes follow the digest.
        HashNotAllowed: The digest is shorter or longer than we accept.
    """
    code, offset = decode_uvarint(multihash, error=MalformedCid)
    length, offset = decode_uvarint(multihash, offset, error=MalformedCid)
    digest = multihash[offset:]
    if len(digest) != length:
        raise MalformedCid(f"a digest of {length} bytes is announced, {len(digest)} follow")
    if length > MAX_DIGEST_BYTES:
        raise HashNotAllowed(f"a digest of {length} bytes; the limit is {MAX_DIGEST_BYTES}")
    if length < MIN_DIGEST_BYTES and code != IDENTITY:
        raise HashNotAllowed(f"a digest of {length} bytes; at least {MIN_DIGEST_BYTES} are needed")
    return code, digest


def check_multihash(multihash: bytes) -> None:
    """Raise what `split_multihash` raises unless `multihash` is well formed."""
    if len(multihash) == _V0_BYTES and multihash.startswith(_V0_PREFIX):
        return
    split_multihash(multihash)


def _base32(data: bytes) -> str:
    """Return lower-case base32 without padding (RFC 4648, multibase `b`)."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def _decode_base32(digits: str) -> bytes | None:
    """Return the bytes of lower-case base32 in canonical form, None for anything else."""
    try:
        data = base64.b32decode(digits.upper() + "=" * (-len(digits) % 8))
    except ValueError:
        return None
    return data if _base32(data) == digits else None


def _decode_multibase(encoded: str, shown: str) -> bytes:
    if encoded.startswith("b") and (data := _decode_base32(encoded[1:])) is not None:
        return data
    from multiformats import multibase

    try:
        return bytes(multibase.decode(encoded))
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise MalformedCid(f"not a CID: {shown[:80]!r}") from error
