"""A gateway over a folder that was added, and what tests ask it with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yarl

from mirrornode.content.block import Block, multihash_of
from mirrornode.content.cid import DAG_PB, SHA2_256, Cid
from mirrornode.content.dagpb import Link, encode_node
from mirrornode.content.directory import DirEntry, build_directory
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import Recipe
from mirrornode.content.unixfs import Kind, UnixFs, encode_unixfs
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.store.catalog import Catalog, open_catalog
from support.planes import open_gateway, shelf_of
from support.shared_files import SMALL_CHUNKS, write


@dataclass(frozen=True)
class Reply:
    """An answer that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Site:
    """A running gateway and the catalog behind it."""

    url: str
    catalog: Catalog
    http: aiohttp.ClientSession

    async def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        base: str = "",
    ) -> Reply:
        """Ask for a path that is percent-encoded already; redirects are not followed.

        Args:
            base: URL of another server.
        """
        url = yarl.URL((base or self.url) + path, encoded=True)
        async with self.http.request(method, url, headers=headers, allow_redirects=False) as answer:
            return Reply(answer.status, answer.headers, await answer.read())


@asynccontextmanager
async def open_site(home: Path) -> AsyncIterator[Site]:
    """Serve the gateway of a new catalog on loopback."""
    with open_catalog(home) as catalog:
        async with (
            open_gateway(shelf_of(catalog)) as url,
            aiohttp.ClientSession(auto_decompress=False) as http,
        ):
            yield Site(url, catalog, http)


def add_folder(
    catalog: Catalog, folder: Path, files: Mapping[str, bytes], recipe: Recipe = SMALL_CHUNKS
) -> str:
    """Write files, share their folder in place, and return its CID."""
    for name, data in files.items():
        write(folder / name, data)
    (added,) = add_paths(catalog, AddRequest([folder], recipe=recipe))
    return added.cid


def keep_file(
    catalog: Catalog, data: bytes, recipe: Recipe = SMALL_CHUNKS, *, without: int | None = None
) -> Cid:
    """Keep a file as blocks only, maybe without one leaf; nothing of it lies on the disk."""
    dag, leaves = import_bytes([data], recipe)
    kept = [leaf for index, leaf in enumerate(leaves) if index != without]
    catalog.put_blocks([*dag.inner, *kept])
    return dag.root


def keep_folder(
    catalog: Catalog, entries: Sequence[tuple[str, Cid, int]], recipe: Recipe = SMALL_CHUNKS
) -> Cid:
    """Keep a folder of (name, CID, size); sharded when the recipe says so."""
    dag = build_directory([DirEntry(*entry) for entry in entries], recipe)
    catalog.put_blocks(dag.blocks)
    return dag.root


def keep_block(catalog: Catalog, data: bytes, codec: int = DAG_PB) -> Cid:
    """Keep any block."""
    cid = Cid.v1(codec, multihash_of(SHA2_256, data))
    catalog.put_blocks([Block(cid, data)])
    return cid


def keep_hostile_folder(catalog: Catalog, links: Sequence[tuple[bytes, Cid]]) -> Cid:
    """Keep a basic directory with whatever names; ours would not make it."""
    node = [Link(cid.binary, name, 1) for name, cid in links]
    return keep_block(catalog, encode_node(node, encode_unixfs(UnixFs(Kind.DIRECTORY))))
