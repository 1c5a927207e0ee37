"""Homes full of files that the node keeps for itself: as large as a test says, made of holes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mirrornode.content.cid import Cid
from mirrornode.content.leaf_form import LeafForm
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.keep import Keeper
from mirrornode.mirror.keep_choice import Limits
from mirrornode.store.catalog import Catalog
from mirrornode.store.stamps import FileStamp

GB = 10**9
PLENTY = 1 << 60
FILES = ("weights.bin", "config.json")


class KeptHome:
    """A catalog and its files; times are days since some day, later ones are nearer to now."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.active = ActiveTransfers()
        self.now = 20_000.0 * 86_400
        self.free_bytes = PLENTY

    def keeper(self, **limits: float) -> Keeper:
        return Keeper(
            self.catalog,
            self.active,
            Limits(**limits),  # type: ignore[arg-type]  # sizes are ints in every call
            clock=lambda: self.now,
            free_space=lambda: self.free_bytes,
        )

    def model(
        self, name: str, size_bytes: int, day: int = 0, *, managed: bool = True, home: bool = True
    ) -> Cid:
        """Make a model of two files, and return its CID."""
        folder = (self.catalog.home if home else self.catalog.home.parent) / "models" / name
        sizes = (size_bytes - 1, 1)
        files = []
        for file, size in zip(FILES, sizes, strict=True):
            files.append(self._file(folder / file, size, day, f"{name}/{file}", managed))
        root = made_up(name)
        self.catalog.record_root(
            cid=root,
            kind="directory",
            name=name,
            path=folder,
            size_bytes=size_bytes,
            profile="",
            files=list(zip((folder / file for file in FILES), files, strict=True)),
            announce=[root.multihash, *(file.multihash for file in files)],
        )
        return root

    def blob(self, name: str, size_bytes: int, day: int = 0) -> str:
        """Make a file of the Hub in the node's store and return its ETag."""
        etag = hashlib.sha256(name.encode()).hexdigest()
        path = self.catalog.home / "hub" / etag[:2] / etag
        self.write(path, size_bytes, day)
        self.catalog.put_hub_blob(etag, path, FileStamp.of(path), is_open=True, is_managed=True)
        return etag

    def write(self, path: Path, size_bytes: int, day: int) -> None:
        """Make a file of holes that was written on that day."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size_bytes)
        at = day * 86_400
        os.utime(path, (at, at))

    def _file(self, path: Path, size_bytes: int, day: int, name: str, managed: bool) -> Cid:
        self.write(path, size_bytes, day)
        root = made_up(name)
        leaf = made_up(f"leaf of {name}").multihash
        self.catalog.record_file(
            path,
            FileStamp.of(path),
            root,
            size_bytes,
            LeafForm.RAW,
            [leaf],
            [size_bytes],
            managed=managed,
        )
        return root


def made_up(name: str) -> Cid:
    """Return the CID of a content that nobody has."""
    return Cid.raw_sha256(hashlib.sha256(name.encode()).digest())


def assert_consistent(catalog: Catalog) -> None:
    """Fail unless the catalog and the node's folders tell the same, and nothing is half gone."""
    home = catalog.home
    recorded = {file.path for file in catalog.all_files()} | {
        blob.path for blob in catalog.hub_blobs()
    }
    on_disk = {
        path
        for folder in ("hub", "models")
        for path in (home / folder).rglob("*")
        if path.is_file()
    }
    assert {path for path in recorded if path.is_relative_to(home)} == on_disk
    assert all(path.exists() for path in recorded)
    assert catalog.doomed() == []
    assert not list((home / "trash").glob("*"))
    for root in catalog.roots():
        assert (root.state == "ok") == (len(catalog.root_files(root.cid)) == root.files)
