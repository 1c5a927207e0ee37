"""Writing CARv1: the header, and what stands before each block.

A CAR is a header that names roots, then sections of length, CID and block until the end.
Spec: ipld/specs, transport/car/carv1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mirrornode.content.dagcbor import encode_dagcbor
from mirrornode.content.varint import encode_uvarint

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid

CAR_TYPE = "application/vnd.ipld.car"


def encode_header(roots: Sequence[Cid]) -> bytes:
    """Return the header of a CARv1, its length included."""
    header = encode_dagcbor({"roots": list(roots), "version": 1})
    return encode_uvarint(len(header)) + header


def section_head(cid: Cid, size_bytes: int) -> bytes:
    """Return what stands before a block of `size_bytes` bytes."""
    return encode_uvarint(len(cid.binary) + size_bytes) + cid.binary
