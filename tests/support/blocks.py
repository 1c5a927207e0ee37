"""Blocks in memory for tests: a shelf that walks can be driven from, generators, a CAR reader."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from mirrornode.content.block import Block, multihash_of
from mirrornode.content.cid import DAG_PB, RAW, SHA2_256, Cid
from mirrornode.content.dagpb import Link, encode_node
from mirrornode.content.leaf_form import leaf_prefix
from mirrornode.content.unixfs import Kind, UnixFs, encode_unixfs
from mirrornode.content.varint import decode_uvarint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mirrornode.content.walk import FileMap


class Shelf:
    """A block store in memory that verifies what it hands out and remembers what was asked."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._blocks: dict[bytes, bytes] = {}
        self.requests: list[list[Cid]] = []
        self.add(blocks)

    def add(self, blocks: Iterable[Block]) -> None:
        self._blocks.update((block.cid.multihash, block.data) for block in blocks)

    def put(self, data: bytes, codec: int = DAG_PB) -> Cid:
        cid = Cid.v1(codec, multihash_of(SHA2_256, data))
        self.add([Block(cid, data)])
        return cid

    def put_node(self, links: Sequence[Link], message: UnixFs) -> Cid:
        return self.put(encode_node(links, encode_unixfs(message)))

    def put_file_node(
        self, links: Sequence[Link], blocksizes: list[int], filesize: int | None = -1
    ) -> Cid:
        """Put an inner file node; its filesize is the sum unless another is given."""
        total = sum(blocksizes) if filesize == -1 else filesize
        return self.put_node(links, UnixFs(Kind.FILE, filesize=total, blocksizes=blocksizes))

    def load(self, cids: Sequence[Cid]) -> list[Block]:
        self.requests.append(list(cids))
        return [Block.verify(cid, self._blocks[cid.multihash]) for cid in cids]

    async def load_async(self, cids: Sequence[Cid]) -> list[Block]:
        return self.load(cids)

    @property
    def asked(self) -> set[bytes]:
        """Multihashes of everything that was ever asked for."""
        return {cid.multihash for batch in self.requests for cid in batch}


def read_file(shelf: Shelf, file: FileMap) -> bytes:
    """Put a file together from its map and verified leaves, checking that they tile it."""
    pieces = list(file.inline)
    for index in range(file.leaves):
        (block,) = shelf.load([file.leaf_cid(index)])
        length = file.lengths[index]
        skip = len(leaf_prefix(file.leaf_form, length))
        pieces.append((file.starts[index], block.data[skip : skip + length]))
    content = b""
    for offset, data in sorted(pieces):
        assert offset == len(content), "a gap or an overlap in the map"
        content += data
    assert len(content) == file.size_bytes
    return content


def raw_link(data: bytes, name: bytes = b"") -> Link:
    """A link to a raw block of these bytes."""
    return Link(Cid.v1(RAW, multihash_of(SHA2_256, data)).binary, name, len(data))


def chacha20_pieces(seed: str, size: int, piece: int = 1 << 20) -> Iterator[bytes]:
    """Keystream of ChaCha20 with key sha256(seed) and zero nonce, as Kubo's tests generate it."""
    key = hashlib.sha256(seed.encode()).digest()
    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
    zeros = bytes(piece)
    for start in range(0, size, piece):
        yield stream.update(zeros[: min(piece, size - start)])


def read_car(path: Path) -> list[Block]:
    """The blocks of a CARv1 file, each verified."""
    return car_blocks(path.read_bytes())


def car_blocks(data: bytes) -> list[Block]:
    """The blocks of a CARv1, each verified."""
    size, offset = decode_uvarint(data)
    offset += size
    blocks = []
    while offset < len(data):
        size, offset = decode_uvarint(data, offset)
        section = data[offset : offset + size]
        offset += size
        cid_size = _cid_size(section)
        cid = Cid.from_bytes(section[:cid_size])
        blocks.append(Block.verify(cid, section[cid_size:]))
    return blocks


def _cid_size(section: bytes) -> int:
    if section[:2] == b"\x12\x20":
        return 34
    _, offset = decode_uvarint(section)
    _, offset = decode_uvarint(section, offset)
    _, offset = decode_uvarint(section, offset)
    size, offset = decode_uvarint(section, offset)
    return offset + size
