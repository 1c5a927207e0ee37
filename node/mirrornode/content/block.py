"""A block: bytes together with the CID they hash to, and the one place where that is checked.

Nothing unverified becomes a `Block` except through `Block.verify`; the constructor is for bytes
that were hashed here. Files are hashed leaf by leaf in `leaf_form`, without building blocks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mirrornode.content.cid import (
    BLAKE3,
    IDENTITY,
    MAX_DIGEST_BYTES,
    SHA2_256,
    SHA2_512,
    Cid,
    split_multihash,
)
from mirrornode.content.varint import encode_uvarint
from mirrornode.errors import CidMismatch, HashNotAllowed, LimitExceeded

MIB = 1024 * 1024
MAX_BLOCK_BYTES = 2 * MIB  # UnixFS and bitswap: what every implementation must be able to take

Buffer: TypeAlias = bytes | bytearray | memoryview

_DIGEST_BYTES = {SHA2_256: 32, SHA2_512: 64, BLAKE3: 32}
_SHA2_256_PREFIX = b"\x12\x20"


class RunningHash(Protocol):
    """The part of a hashlib object that we use."""

    def update(self, data: Buffer, /) -> object:
        """Feed more bytes; releases the GIL for large ones."""

    def digest(self) -> bytes:
        """Return the digest of what was fed so far."""


def new_hash(code: int) -> RunningHash:
    """Return a fresh running hash for a multicodec hash code.

    Raises:
        HashNotAllowed: Not SHA2-256, SHA2-512 or BLAKE3. Identity has no running form.
    """
    if code == SHA2_256:
        return hashlib.sha256(usedforsecurity=False)
    if code == SHA2_512:
        return hashlib.sha512(usedforsecurity=False)
    if code == BLAKE3:
        from blake3 import blake3  # rare, and a compiled extension: loaded when asked for

        return blake3()
    raise HashNotAllowed(f"hash function {_hash_name(code)} is not accepted")


def multihash_prefix(code: int) -> bytes:
    """Return what stands before the digest in a multihash made with `code`.

    Raises:
        HashNotAllowed: As `new_hash`.
    """
    if code not in _DIGEST_BYTES:
        raise HashNotAllowed(f"hash function {_hash_name(code)} is not accepted")
    return encode_uvarint(code) + encode_uvarint(_DIGEST_BYTES[code])


def multihash_of(code: int, data: Buffer) -> bytes:
    """Return the binary multihash of `data`.

    Raises:
        HashNotAllowed: The hash function is not accepted, or identity of more than 128 bytes.
    """
    if code == IDENTITY:
        if len(data) > MAX_DIGEST_BYTES:
            raise HashNotAllowed(f"{len(data)} bytes do not fit into an identity CID")
        return encode_uvarint(IDENTITY) + encode_uvarint(len(data)) + bytes(data)
    running = new_hash(code)
    running.update(data)
    return multihash_prefix(code) + running.digest()


def check_verifiable(cid: Cid) -> None:
    """Raise `HashNotAllowed` unless a block of this CID could be verified here."""
    if cid.multihash.startswith(_SHA2_256_PREFIX) or cid.is_identity:
        return
    code, digest = split_multihash(cid.multihash)
    if _DIGEST_BYTES.get(code) != len(digest):
        raise HashNotAllowed(
            f"{cid}: {_hash_name(code)} with {len(digest) * 8} bits is not accepted"
        )


@dataclass(frozen=True, slots=True)
class Block:
    """Verified bytes and their CID. Construct it directly only for bytes hashed in this process."""

    cid: Cid
    data: bytes

    @classmethod
    def verify(cls, cid: Cid, data: bytes) -> Block:
        """Return the block if `data` is what `cid` names.

        Raises:
            CidMismatch: The hash differs. Blames the source.
            LimitExceeded: More than `MAX_BLOCK_BYTES`.
            HashNotAllowed: A hash function or digest length that we do not check.
        """
        if len(data) > MAX_BLOCK_BYTES:
            raise LimitExceeded(
                f"block {cid} has {len(data)} bytes; the limit is {MAX_BLOCK_BYTES}"
            )
        check_verifiable(cid)
        if cid.is_identity:
            if cid.digest != data:
                raise CidMismatch(cid)
        elif multihash_of(cid.hash_code, data) != cid.multihash:
            raise CidMismatch(cid)
        return cls(cid, bytes(data))

    @classmethod
    def of_identity(cls, cid: Cid) -> Block:
        """Return the block that an identity CID carries inside itself."""
        assert cid.is_identity, "only an identity CID carries its block"
        return cls(cid, cid.digest)


def _hash_name(code: int) -> str:
    """Name a hash function for an error message; 0x… when the multicodec table has none."""
    from multiformats import multicodec

    try:
        return str(multicodec.get(code=code).name)
    except LookupError:
        return f"0x{code:x}"
