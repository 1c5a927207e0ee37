"""Models in memory: bytes, their blocks, and the manifest a transfer of them would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirrornode.content.block import Block
from mirrornode.content.cid import Cid
from mirrornode.content.directory import DirEntry, build_directory
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import Recipe
from mirrornode.content.walk import FileMap, TreeEntry, run_walk, walk_tree
from mirrornode.transfer.manifest import Manifest, ManifestFile, make_manifest
from support.blocks import Shelf
from support.shared_files import SMALL_CHUNKS, content

LEAF = 1000  # what SMALL_CHUNKS cuts


@dataclass(frozen=True)
class Model:
    """A target with everything that a source of it needs to know."""

    root: Cid
    files: Mapping[str, bytes]
    blocks: Sequence[Block]
    manifest: Manifest

    @property
    def data(self) -> bytes:
        """The bytes of a single-file model."""
        return self.files[""]

    @property
    def file(self) -> ManifestFile:
        """The largest file."""
        return self.manifest.files[-1]

    def bytes_of(self, file: ManifestFile) -> bytes:
        return self.files[file.path]

    def write(self, folder: Path) -> Path:
        """Write the files below `folder`; a single file is called `model.bin`."""
        for path, data in self.files.items():
            place = folder / (path or "model.bin")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return folder if "" not in self.files else folder / "model.bin"


def model_of(size_bytes: int = 10 * LEAF + 7, recipe: Recipe = SMALL_CHUNKS) -> Model:
    """Return a single file of this size."""
    data = content(size_bytes)
    dag, leaves = import_bytes([data], recipe)
    return _model(dag.root, {"": data}, [*dag.inner, *leaves])


def folder_of(files: Mapping[str, bytes], recipe: Recipe = SMALL_CHUNKS) -> Model:
    """Return a flat folder of these files."""
    blocks: list[Block] = []
    entries = []
    for name, data in files.items():
        dag, leaves = import_bytes([data], recipe)
        blocks += [*dag.inner, *leaves]
        entries.append(DirEntry(name, dag.root, dag.tsize_bytes))
    folder = build_directory(entries, recipe)
    return _model(folder.root, files, [*blocks, *folder.blocks])


def inline_model(data: bytes) -> Model:
    """Return a file whose bytes are all inside its own CID: a tree without a leaf."""
    root = Cid.v1(0x55, bytes([0x00, len(data)]) + data)
    file = FileMap(root, len(data), model_of().file.map.leaf_form, 0x12, inline=[(0, data)])
    entries = [TreeEntry("", "file", root, file, "")]
    return Model(root, {"": data}, [], make_manifest(root, entries))


def _model(root: Cid, files: Mapping[str, bytes], blocks: Sequence[Block]) -> Model:
    entries = run_walk(walk_tree(root), Shelf(blocks).load)
    return Model(root, files, blocks, make_manifest(root, entries))
