"""Generated files and folders, and the CIDs that this project gives them.

What js cannot be asked: names with a backslash, or white space at an end, mean something else in
its paths. It decides whether a folder is sharded before the folders inside have CIDs, and so does
not count those; Kubo does. Folders in folders are therefore asked for with thresholds far away.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mirrornode.content.directory import DirEntry, build_directory
from mirrornode.content.file_dag import import_bytes
from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Layout, Recipe

FAR_THRESHOLD = 262_144
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. +%#&'~äöü中🦊é"


@dataclass(frozen=True)
class GeneratedFile:
    """A file at a path below the root; its bytes are SHAKE-128 of its seed."""

    path: str
    seed: str
    size: int

    @property
    def content(self) -> bytes:
        return hashlib.shake_128(self.seed.encode()).digest(self.size)


@dataclass(frozen=True)
class Case:
    """One tree under one recipe; a file with an empty path is the root itself."""

    recipe: Recipe
    files: tuple[GeneratedFile, ...]
    folders: tuple[str, ...]

    @property
    def is_file(self) -> bool:
        """Whether the root is a file."""
        return bool(self.files) and not self.files[0].path

    def cid(self) -> str:
        """Return what this project calls it."""
        if self.is_file:
            return str(import_bytes([self.files[0].content], self.recipe)[0].root)
        return str(self._folder("", "").cid)

    def question(self) -> dict[str, Any]:
        """Return the case as the js program takes it."""
        return {
            "options": _options(self.recipe),
            "files": [vars(file) for file in self.files],
            "folders": list(self.folders),
        }

    def _folder(self, path: str, name: str) -> DirEntry:
        start = f"{path}/" if path else ""
        entries = []
        for file in self.files:
            rest = file.path[len(start) :]
            if file.path.startswith(start) and "/" not in rest:
                dag, _ = import_bytes([file.content], self.recipe)
                entries.append(DirEntry(rest, dag.root, dag.tsize_bytes))
        for folder in self.folders:
            rest = folder[len(start) :]
            if folder.startswith(start) and rest and "/" not in rest:
                entries.append(self._folder(folder, rest))
        made = build_directory(entries, self.recipe)
        return DirEntry(name, made.root, made.tsize_bytes)


def generate(seed: int, count: int) -> Iterator[Case]:
    """Yield cases; the same for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        yield _case(rng, f"{seed}-{number}", number)


def _case(rng: random.Random, seed: str, number: int) -> Case:
    recipe = _recipe(rng)
    if rng.random() < 0.35:
        return Case(recipe, (GeneratedFile("", seed, _size(rng, recipe, number)),), ())
    folders = _folders(rng)
    if folders and recipe.name == "custom":
        recipe = replace(recipe, hamt_threshold_bytes=FAR_THRESHOLD)
    # Some folders are wide: past a small threshold often, past the real one now and then.
    width = rng.choice((0, 1, 3, 8, 20, 60)) if number % 500 else 4500
    places = ["", *folders]
    files: dict[str, GeneratedFile] = {}
    taken = set(folders)
    for index in range(width):
        place = rng.choice(places)
        path = "/".join(filter(None, (place, _name(rng, long=width > 1000))))
        if path not in taken:
            taken.add(path)
            size = rng.randrange(50) if width > 20 else _size(rng, recipe, number)
            files[path] = GeneratedFile(path, f"{seed}-{index}", size)
    if not files and not folders:
        folders = ["empty"]
    return Case(recipe, tuple(files.values()), tuple(folders))


def _recipe(rng: random.Random) -> Recipe:
    base = rng.choice((UNIXFS_V1_2025, UNIXFS_V0_2015))
    if rng.random() < 0.25:
        return base
    layout: Layout = "trickle" if rng.random() < 0.15 else "balanced"
    return replace(
        base,
        name="custom",
        chunker=f"size-{rng.choice((1, 7, 64, 100, 256, 1000, 4096))}",
        max_links=rng.choice((2, 3, 5, 11, 174, 1024)),
        raw_leaves=rng.random() < 0.5,
        cid_version=rng.choice((0, 1)),
        layout=layout,
        hamt_threshold_bytes=rng.choice((60, 500, 2000, FAR_THRESHOLD)),
        hamt_estimation=rng.choice(("block-bytes", "links-bytes")),
        hamt_fanout=256 if rng.random() < 0.7 else rng.choice((8, 16, 32, 64, 128, 512, 1024)),
    )


def _size(rng: random.Random, recipe: Recipe, number: int) -> int:
    """Return a size: often at the edge of a chunk or of a full node."""
    chunk, links = recipe.chunk_bytes, recipe.max_links
    if chunk >= 262_144:
        if number % 25:
            return rng.choice((0, 1, rng.randrange(5000)))
        return max(0, chunk * rng.choice((1, 2, 3)) + rng.choice((-1, 0, 1)))
    leaves = rng.choice((0, 1, 2, links, links + 1, links * links, links * links + 1))
    leaves = min(leaves, 3000 if not number % 50 else 40)
    return max(0, leaves * chunk + rng.choice((-1, 0, 1, rng.randrange(chunk))))


def _folders(rng: random.Random) -> list[str]:
    folders: list[str] = []
    for _ in range(rng.choice((0, 0, 1, 2, 5))):
        above = rng.choice(["", *folders])
        path = "/".join(filter(None, (above, _name(rng))))
        if path not in folders and path.count("/") < 4:
            folders.append(path)
    return folders


def _name(rng: random.Random, *, long: bool = False) -> str:
    length = rng.randrange(20, 40) if long else rng.choice((1, 2, 5, 12, 30))
    name = "".join(rng.choice(LETTERS) for _ in range(length)).strip()
    return name if name not in ("", ".", "..") else "x"


def _options(recipe: Recipe) -> dict[str, Any]:
    if recipe.name != "custom":
        return {"profile": recipe.name}
    options: dict[str, Any] = {
        "chunk": recipe.chunk_bytes,
        "links": recipe.max_links,
        "layout": recipe.layout,
        "rawLeaves": recipe.raw_leaves,
        "cidVersion": recipe.cid_version,
        "shardSplitThresholdBytes": recipe.hamt_threshold_bytes,
        "shardSplitStrategy": recipe.hamt_estimation,
        "shardFanoutBits": recipe.hamt_fanout.bit_length() - 1,
    }
    if recipe.layout == "trickle":
        options |= {"leafType": "raw", "reduceSingleLeafToSelf": False}
    return options
