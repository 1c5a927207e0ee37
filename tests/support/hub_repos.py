"""What the stand-in Hub holds: repos with commits, branches, tags and pull requests.

Kept apart from the code under test on purpose: ids, oids and JSON are made here anew.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt", ".ckpt", ".onnx", ".parquet", ".msgpack")
MIB = 1 << 20


@dataclass(frozen=True)
class Blob:
    """Bytes to be made up: equal arguments are equal bytes; written to disk once."""

    size_bytes: int
    seed: int = 0

    def write(self, path: Path) -> None:
        pattern = bytearray(random.Random(self.seed).randbytes(min(MIB, self.size_bytes)))
        with path.open("wb") as out:
            for start in range(0, self.size_bytes, MIB):
                part = pattern[: self.size_bytes - start]
                if len(part) >= 8:
                    part[:8] = start.to_bytes(8, "big")  # no two pieces are alike
                out.write(part)


Content = bytes | Blob


@dataclass(frozen=True)
class Stored:
    """One content, on disk under `place`."""

    place: Path
    size_bytes: int
    sha256: str
    git_oid: str
    is_lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.git_oid

    @property
    def pointer(self) -> bytes:
        return (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.sha256}\nsize {self.size_bytes}\n"
        ).encode()


@dataclass(frozen=True)
class Commit:
    sha: str
    title: str
    files: Mapping[str, Stored]
    parent: Commit | None


@dataclass
class HeldRepo:
    """One repo; change it between requests as a user of the Hub would.

    `ref_of` maps "refs/heads/main", "refs/tags/v1" and so on to commits.
    """

    type: str
    name: str
    folder: Path
    gated: str = ""
    private: bool = False
    licence: str = ""
    last_modified: str = "2026-01-02T03:04:05.000Z"
    ref_of: dict[str, Commit] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        """The commit that main is at."""
        return self.ref_of["refs/heads/main"].sha

    def commit(
        self, files: Mapping[str, Content | None], *, ref: str = "main", title: str = ""
    ) -> str:
        """Add, change or (None) remove files and return the new commit."""
        full = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
        parent = self.ref_of.get(full) or self.ref_of.get("refs/heads/main")
        held = dict(parent.files) if parent else {}
        for path, content in files.items():
            if content is None:
                del held[path]
            else:
                held[path] = store(self.folder, path, content)
        title = title or f"Upload {len(files)} files"
        text = f"{self.name} {len(self.commits)} {title} " + " ".join(
            f"{path}={stored.etag}" for path, stored in held.items()
        )
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = self.ref_of[full] = Commit(sha, title, held, parent)
        return sha

    def tag(self, name: str, sha: str = "") -> None:
        self.ref_of[f"refs/tags/{name}"] = self.commits[sha or self.sha]

    def find(self, revision: str) -> Commit | None:
        """Return what a branch, tag, ref, commit or short commit stands for."""
        for full in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if full in self.ref_of:
                return self.ref_of[full]
        if 7 <= len(revision) <= 40:
            matches = [commit for sha, commit in self.commits.items() if sha.startswith(revision)]
            return matches[0] if len(matches) == 1 else None
        return None

    def info(self, commit: Commit, *, blobs: bool, with_xet: bool) -> dict[str, Any]:
        """Return the JSON of model info."""
        siblings: list[dict[str, Any]] = []
        for path, stored in commit.files.items():
            sibling: dict[str, Any] = {"rfilename": path}
            if blobs:
                sibling |= {"size": stored.size_bytes, "blobId": stored.git_oid}
                if stored.is_lfs:
                    sibling["lfs"] = _lfs(stored, "sha256")
            siblings.append(sibling)
        info = {
            "_id": hashlib.sha1(self.name.encode()).hexdigest()[:24],
            "id": self.name,
            f"{self.type}Id": self.name,
            "author": self.name.partition("/")[0],
            "sha": commit.sha,
            "lastModified": self.last_modified,
            "createdAt": "2025-01-02T03:04:05.000Z",
            "private": self.private,
            "gated": self.gated or False,
            "disabled": False,
            "downloads": 12,
            "likes": 3,
            "tags": [f"license:{self.licence}"] if self.licence else [],
            "cardData": {"license": self.licence} if self.licence else {},
            "siblings": siblings,
            "usedStorage": sum(stored.size_bytes for stored in commit.files.values()),
        }
        if with_xet:
            info["xetEnabled"] = True
        return info

    def records(
        self, commit: Commit, folder: str, *, recursive: bool, expand: bool, with_xet: bool
    ) -> list[dict[str, Any]] | None:
        """Return the JSON of a tree, None when there is no such folder."""
        prefix = f"{folder}/" if folder else ""
        folders: set[str] = set()
        shown: list[dict[str, Any]] = []
        is_there = not folder
        for path, stored in sorted(commit.files.items()):
            if not path.startswith(prefix):
                continue
            is_there = True
            names = path.removeprefix(prefix).split("/")
            for depth in range(1, len(names)):
                if recursive or depth == 1:
                    folders.add(prefix + "/".join(names[:depth]))
            if recursive or len(names) == 1:
                shown.append(self.file_record(path, stored, expand=expand, with_xet=with_xet))
        records = [folder_record(path) for path in sorted(folders)]
        return [*records, *shown] if is_there else None

    def file_record(
        self, path: str, stored: Stored, *, expand: bool, with_xet: bool
    ) -> dict[str, Any]:
        record: dict[str, Any] = {
            "type": "file",
            "oid": stored.git_oid,
            "size": stored.size_bytes,
            "path": path,
        }
        if stored.is_lfs:
            record["lfs"] = _lfs(stored, "oid")
            if with_xet:
                record["xetHash"] = stored.sha256[::-1]
        if expand:
            record["lastCommit"] = {
                "id": self.sha,
                "title": "x",
                "date": "2026-01-02T03:04:05.000Z",
            }
            record["securityFileStatus"] = {
                "status": "safe",
                "avScan": {"status": "safe"},
                "pickleImportScan": None,
            }
        return record


def folder_record(path: str) -> dict[str, Any]:
    oid = hashlib.sha1(path.encode()).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def store(folder: Path, path: str, content: Content) -> Stored:
    """Write a content to disk, once, and return its hashes."""
    key = hashlib.sha256(repr(content).encode()).hexdigest()
    place = folder / key
    if not place.exists():
        if isinstance(content, Blob):
            content.write(place)
        else:
            place.write_bytes(content)
    size = place.stat().st_size
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size)
    with place.open("rb") as opened:
        while piece := opened.read(MIB):
            sha256.update(piece)
            git.update(piece)
    is_lfs = isinstance(content, Blob) or (path.endswith(LFS_SUFFIXES) and size > 0)
    stored = Stored(place, size, sha256.hexdigest(), git.hexdigest(), is_lfs)
    if not is_lfs:
        return stored
    pointer = stored.pointer
    oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    return Stored(place, size, stored.sha256, oid, is_lfs)


def _lfs(stored: Stored, hash_key: str) -> dict[str, Any]:
    return {
        hash_key: stored.sha256,
        "size": stored.size_bytes,
        "pointerSize": len(stored.pointer),
    }
