"""Recipes: every parameter that decides which CID a file or folder gets.

Two recipes are named profiles of IPIP-499; any other combination that Kubo can make is reached by
changing single parameters, so that a CID made elsewhere can be reproduced. A recipe that cannot
exist is refused when it is made, with a `TargetError` that names the contradiction.
Spec: IPIP-499; `ipfs add --help`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from mirrornode.content.block import MAX_BLOCK_BYTES, Block, multihash_of
from mirrornode.content.chunker import BUZHASH, chunker_bytes
from mirrornode.content.cid import (
    BLAKE3,
    DAG_PB,
    IDENTITY,
    MAX_DIGEST_BYTES,
    SHA2_256,
    SHA2_512,
    Cid,
)
from mirrornode.content.hamt import is_fanout
from mirrornode.content.leaf_form import LeafForm, leaf_block_size
from mirrornode.errors import TargetError

Layout: TypeAlias = Literal["balanced", "trickle"]
Estimation: TypeAlias = Literal["block-bytes", "links-bytes"]

MAX_LINKS = 8192  # keeps every inner node well below MAX_BLOCK_BYTES
CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named CID profile, or free parameters under the name `custom`.

    Attributes:
        name: Profile name, or `custom`.
        chunker: `size-N` with N in bytes, or `buzhash` (content-defined; slow in Python).
        max_links: Children of an inner file node, 2..8192.
        raw_leaves: Whether leaves are raw blocks; otherwise dag-pb.
        cid_version: Of inner nodes, directories and dag-pb leaves. Raw leaves are always CIDv1.
        hash_code: Multicodec of the hash function; anything but SHA2-256 needs CIDv1.
        layout: Shape of the file tree.
        inline_limit_bytes: Blocks up to this size become identity CIDs; 0 means none, at most 128.
        hamt_fanout: Buckets of a directory shard, a power of two in 8..1024.
        hamt_threshold_bytes: A directory estimated larger than this is sharded.
        hamt_estimation: `block-bytes` is the serialised size; `links-bytes` names and CIDs only.
    """

    name: str
    chunker: str
    max_links: int
    raw_leaves: bool
    cid_version: int
    hash_code: int = SHA2_256
    layout: Layout = "balanced"
    inline_limit_bytes: int = 0
    hamt_fanout: int = 256
    hamt_threshold_bytes: int = 262_144
    hamt_estimation: Estimation = "block-bytes"

    def __post_init__(self) -> None:
        if self.chunker != BUZHASH:
            largest = leaf_block_size(self.leaf_form, self.chunk_bytes)
            if largest > MAX_BLOCK_BYTES:
                raise TargetError(
                    f"chunker {self.chunker}: blocks may have at most {MAX_BLOCK_BYTES} bytes"
                )
        if not 2 <= self.max_links <= MAX_LINKS:
            raise TargetError(f"max links {self.max_links}: must be 2 to {MAX_LINKS}")
        if self.cid_version not in (0, 1):
            raise TargetError(f"CID version {self.cid_version}: must be 0 or 1")
        if self.hash_code not in (SHA2_256, SHA2_512, BLAKE3):
            raise TargetError(f"hash function 0x{self.hash_code:x}: use sha2-256, sha2-512, blake3")
        if self.cid_version == 0 and self.hash_code != SHA2_256:
            raise TargetError("CID version 0 exists for sha2-256 only; use CID version 1")
        if not 0 <= self.inline_limit_bytes <= MAX_DIGEST_BYTES:
            raise TargetError(f"inline limit {self.inline_limit_bytes}: must be 0 to 128 bytes")
        if not is_fanout(self.hamt_fanout):
            raise TargetError(f"HAMT fanout {self.hamt_fanout}: must be a power of two, 8 to 1024")

    @property
    def chunk_bytes(self) -> int:
        """Bytes of every chunk but the last.

        Raises:
            TargetError: The chunker is not `size-N`.
        """
        return chunker_bytes(self.chunker)

    @property
    def leaf_form(self) -> LeafForm:
        """How chunks are wrapped into leaf blocks."""
        if self.raw_leaves:
            return LeafForm.RAW
        return LeafForm.DAG_PB_OLD if self.layout == "trickle" else LeafForm.DAG_PB

    def block_hash_code(self, block_size: int) -> int:
        """Return the hash function for a block of `block_size` bytes: identity when inlined."""
        if self.inline_limit_bytes and block_size <= self.inline_limit_bytes:
            return IDENTITY
        return self.hash_code

    def leaf_hash_code(self, length: int) -> int:
        """Return the hash function for the leaf of a chunk of `length` bytes."""
        return self.block_hash_code(leaf_block_size(self.leaf_form, length))

    def cid_prefix(self, hash_code: int, codec: int) -> bytes:
        """Return what stands before the multihash in a binary CID of this recipe.

        CIDv0 can say only dag-pb with SHA2-256; raw leaves and inlined blocks are CIDv1 always.
        """
        if self.cid_version == 0 and codec == DAG_PB and hash_code == SHA2_256:
            return b""
        return b"\x01" + bytes((codec,))

    def node_block(self, node: bytes) -> Block:
        """Return a dag-pb block of these bytes, hashed and named by this recipe."""
        hash_code = self.block_hash_code(len(node))
        multihash = multihash_of(hash_code, node)
        version = 1 if self.cid_prefix(hash_code, DAG_PB) else 0
        return Block(Cid(version, DAG_PB, multihash), node)


UNIXFS_V1_2025 = Recipe(
    name="unixfs-v1-2025",
    chunker="size-1048576",
    max_links=1024,
    raw_leaves=True,
    cid_version=1,
)
UNIXFS_V0_2015 = Recipe(
    name="unixfs-v0-2015",
    chunker="size-262144",
    max_links=174,
    raw_leaves=False,
    cid_version=0,
    hamt_estimation="links-bytes",
)
PROFILES: Mapping[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for recipe in (UNIXFS_V1_2025, UNIXFS_V0_2015)}
)


def recipe_from(
    profile: str = UNIXFS_V1_2025.name,
    *,
    chunker: str | None = None,
    raw_leaves: bool | None = None,
    cid_version: int | None = None,
    max_links: int | None = None,
) -> Recipe:
    """Return a profile with single parameters changed.

    As in `ipfs add`, asking for a CID version without saying anything of leaves chooses raw leaves
    for version 1 and dag-pb leaves for version 0. Both kinds are possible in both versions.

    Raises:
        TargetError: No such profile, or a parameter that cannot be.
    """
    base = PROFILES.get(profile)
    if base is None:
        raise TargetError(f"no profile {profile!r}; known are {', '.join(PROFILES)}")
    if raw_leaves is None:
        raw_leaves = base.raw_leaves if cid_version is None else cid_version == 1
    changed = replace(
        base,
        chunker=base.chunker if chunker is None else chunker,
        raw_leaves=raw_leaves,
        cid_version=base.cid_version if cid_version is None else cid_version,
        max_links=base.max_links if max_links is None else max_links,
    )
    return changed if changed == base else replace(changed, name=CUSTOM)
