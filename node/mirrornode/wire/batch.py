"""Many blocks in one request: the body of `POST /mirrornode/blocks` and of its answer.

The request is a row of binary CIDs, each behind its length. The answer is what a CARv1 holds after
its header: sections of length, CID and block, one for each asked CID and in the order asked. It
ends at the first block that is not there, so whoever reads it always knows what comes next.
Format: docs/formats/batch.md. Spec of a section: CARv1, "Data".
"""

from __future__ import annotations

from collections.abc import Sequence

from mirrornode.content.cid import MAX_CID_BYTES, Cid
from mirrornode.content.varint import decode_uvarint, encode_uvarint
from mirrornode.errors import ContentError, RemoteProtocolError

PATH = "/mirrornode/blocks"
MAX_BLOCKS = 500  # in one request: the gain is flat from 100 on
MAX_REQUEST_BYTES = MAX_BLOCKS * (MAX_CID_BYTES + 2)


def encode_request(cids: Sequence[Cid]) -> bytes:
    """Return the request body for at most `MAX_BLOCKS` CIDs."""
    assert len(cids) <= MAX_BLOCKS
    return b"".join(encode_uvarint(len(cid.binary)) + cid.binary for cid in cids)


def decode_request(body: bytes) -> list[Cid]:
    """Return the asked CIDs.

    Raises:
        RemoteProtocolError: Malformed, or more than `MAX_BLOCKS`.
    """
    cids: list[Cid] = []
    offset = 0
    try:
        while offset < len(body):
            length, offset = decode_uvarint(body, offset)
            if length > len(body) - offset or len(cids) == MAX_BLOCKS:
                raise RemoteProtocolError("a batch request is cut off or too long")
            cids.append(Cid.from_bytes(body[offset : offset + length]))
            offset += length
    except ContentError as exc:
        raise RemoteProtocolError(f"a batch request holds no CID: {exc}") from exc
    return cids


def decode_sections(body: bytes, asked: Sequence[Cid]) -> list[bytes]:
    """Return the blocks of an answer: those of the first asked CIDs, up to one that is missing.

    Raises:
        RemoteProtocolError: Cut off, or a block that was not asked for next.
    """
    blocks: list[bytes] = []
    offset = 0
    while offset < len(body):
        if len(blocks) == len(asked):
            raise RemoteProtocolError("sent more blocks than asked")
        cid = asked[len(blocks)].binary
        try:
            length, start = decode_uvarint(body, offset)
        except ContentError as exc:
            raise RemoteProtocolError(f"sent a malformed batch: {exc}") from exc
        stop = start + length
        if stop > len(body) or not body.startswith(cid, start) or length < len(cid):
            raise RemoteProtocolError("sent another block than asked, or a part of one")
        blocks.append(body[start + len(cid) : stop])
        offset = stop
    return blocks
