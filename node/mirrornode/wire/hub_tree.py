"""The files of a Hub repo at one commit: what the Hub's JSON says of them, and how we say it.

Reads the answers of `/tree`, writes those of `/tree`, `/paths-info` and the `siblings` of model
info. Nothing about Xet is ever written: a client that sees a trace of it asks for nothing else.
Who may see a tree, and where it comes from, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirrornode.content.names import check_name
from mirrornode.errors import RemoteProtocolError, UnsafeName

if TYPE_CHECKING:
    from hashlib import _Hash

MAX_FILE_BYTES = 1 << 53  # what a JSON number holds exactly
MAX_PATH_BYTES = 4096  # PATH_MAX of the systems we write to
MAX_JSON_DEPTH = 64  # of answers passed on; model cards nest a dozen levels at most

COMMIT_RE = re.compile(r"[0-9a-f]{40}", re.ASCII)

_SHA256_RE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_XET_KEYS = frozenset({"xethash", "xet_hash", "xetenabled", "xet_enabled", "xet"})


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a tree.

    Attributes:
        path: Names joined by `/`.
        size_bytes: Of the content, not of an LFS pointer.
        git_oid: 40 hex: SHA-1 of the git blob, which for LFS files is the pointer.
        sha256: 64 hex of the content; LFS files only, else empty.
    """

    path: str
    size_bytes: int
    git_oid: str
    sha256: str = ""

    @property
    def etag(self) -> str:
        """The name of the content: ETag without quotes, and the blob's name in client caches."""
        return self.sha256 or self.git_oid


def is_commit(text: str) -> bool:
    """Tell whether a revision is a full commit hash, which never changes its meaning."""
    return COMMIT_RE.fullmatch(text) is not None


def is_etag(text: str) -> bool:
    """Tell whether a text may be a `HubFile.etag`: 40 or 64 lower-case hex digits."""
    return is_commit(text) or _SHA256_RE.fullmatch(text) is not None


def check_path(path: object) -> str:
    """Return the path of a file or folder of a repo if it is fit for disks and URLs.

    Raises:
        UnsafeName: Absolute, `..`, empty parts, NUL, a backslash, too long, or not UTF-8.
    """
    if not isinstance(path, str) or len(path) > MAX_PATH_BYTES:
        raise UnsafeName("a path that is no text, or too long")
    for name in path.split("/"):
        check_name(name)
    if "\\" in path or len(path.encode()) > MAX_PATH_BYTES:
        raise UnsafeName(f"path {path[:80]!a} cannot be written everywhere")
    return path


def check_tree(files: Sequence[HubFile]) -> None:
    """See that the files can lie side by side in one folder.

    Raises:
        RemoteProtocolError: Two have one path, or one is a folder of another.
    """
    paths = {file.path for file in files}
    if len(paths) != len(files):
        raise RemoteProtocolError("a tree that names a file twice")
    if not paths.isdisjoint(_folders(paths)):
        raise RemoteProtocolError("a tree with a file that is a folder, too")


def decode_file(path: object, size: object, oid: object, sha256: object) -> HubFile:
    """Return a file made of untrusted values; `sha256` is "" for one outside LFS.

    Raises:
        RemoteProtocolError: Any of them is not what it should be.
    """
    try:
        checked = check_path(path)
    except UnsafeName as exc:
        raise RemoteProtocolError(f"a tree with an unsafe path: {exc}") from exc
    if type(size) is not int or not 0 <= size < MAX_FILE_BYTES:
        raise RemoteProtocolError(f"a file without a usable size: {checked[:80]!a}")
    if not isinstance(oid, str) or not is_commit(oid):
        raise RemoteProtocolError(f"a file without a usable oid: {checked[:80]!a}")
    if not isinstance(sha256, str) or (sha256 and not _SHA256_RE.fullmatch(sha256)):
        raise RemoteProtocolError(f"a file without a usable SHA-256: {checked[:80]!a}")
    return HubFile(checked, size, oid, sha256)


def decode_tree(records: object) -> list[HubFile]:
    """Return the files of one page of a `/tree` or `/paths-info` answer, folders left out.

    Raises:
        RemoteProtocolError: Not such an answer, or it names what cannot be written.
    """
    if not isinstance(records, list):
        raise RemoteProtocolError("a tree that is no list")
    files = []
    for record in records:
        if not isinstance(record, dict) or not isinstance(record.get("type"), str):
            raise RemoteProtocolError("a tree entry that is none")
        if record["type"] == "file":
            files.append(_decode_record(record))
    check_tree(files)
    return files


def tree_records(
    files: Iterable[HubFile], *, folder: str = "", recursive: bool = False
) -> list[dict[str, Any]]:
    """Return what the Hub answers to `/tree` for a folder: its folders, then its files, by path.

    Empty when there is no such folder. A folder's oid is of our own making: the git tree that the
    Hub names there is not known here, and clients only show it.
    """
    prefix = f"{folder}/" if folder else ""
    inside = [file for file in files if file.path.startswith(prefix)]
    folders = _files_by_folder(inside, below=prefix)
    shown = [file for file in inside if recursive or "/" not in file.path[len(prefix) :]]
    return [
        *(
            _folder_record(path, folders[path])
            for path in sorted(folders)
            if recursive or "/" not in path[len(prefix) :]
        ),
        *(_file_record(file) for file in sorted(shown, key=lambda file: file.path)),
    ]


def paths_info_records(files: Mapping[str, HubFile], paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the Hub answers to `/paths-info`: unknown paths are simply left out."""
    folders: dict[str, list[HubFile]] | None = None
    records = []
    for path in dict.fromkeys(path.rstrip("/") for path in paths):
        if path in files:
            records.append(_file_record(files[path]))
            continue
        if folders is None:
            folders = _files_by_folder(files.values(), below="")
        if path in folders:
            records.append(_folder_record(path, folders[path]))
    return records


def sibling_records(files: Iterable[HubFile], *, blobs: bool) -> list[dict[str, Any]]:
    """Return the `siblings` of model info, with sizes and hashes when `blobs` is asked for."""
    records = []
    for file in files:
        record: dict[str, Any] = {"rfilename": file.path}
        if blobs:
            record |= {"size": file.size_bytes, "blobId": file.git_oid}
            if file.sha256:
                record["lfs"] = _lfs(file, "sha256")
        records.append(record)
    return records


def without_xet(value: object) -> object:
    """Return a deep copy of a JSON value in which nothing mentions Xet.

    Raises:
        RemoteProtocolError: Nested deeper than `MAX_JSON_DEPTH`.
    """
    return _without_xet(value, MAX_JSON_DEPTH)


def lfs_pointer(sha256: str, size_bytes: int) -> bytes:
    """Return the pointer file that git holds in place of an LFS file. Spec: git-lfs, v1."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size_bytes}\n"
    ).encode()


def lfs_pointer_oid(sha256: str, size_bytes: int) -> str:
    """Return the git oid of an LFS file's pointer, as `/tree` names it."""
    pointer = lfs_pointer(sha256, size_bytes)
    sha1 = new_git_blob_sha1(len(pointer))
    sha1.update(pointer)
    return sha1.hexdigest()


def new_git_blob_sha1(size_bytes: int) -> _Hash:
    """Return a SHA-1 that becomes the git oid once it has seen the `size_bytes` of the content."""
    return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)


def _decode_record(record: Mapping[str, Any]) -> HubFile:
    lfs = record.get("lfs")
    if lfs is None:
        return decode_file(record.get("path"), record.get("size"), record.get("oid"), "")
    if not isinstance(lfs, dict) or not lfs.get("oid") or lfs.get("size") != record.get("size"):
        raise RemoteProtocolError("an LFS file without a usable hash and size")
    return decode_file(record.get("path"), record.get("size"), record.get("oid"), lfs["oid"])


def _folders(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _files_by_folder(files: Iterable[HubFile], *, below: str) -> dict[str, list[HubFile]]:
    """Return all files under each folder whose path starts with `below`."""
    found: dict[str, list[HubFile]] = {}
    for file in files:
        folder = file.path.rpartition("/")[0]
        while len(folder) > len(below):
            found.setdefault(folder, []).append(file)
            folder = folder.rpartition("/")[0]
    return found


def _folder_record(path: str, files: Sequence[HubFile]) -> dict[str, Any]:
    sha1 = hashlib.sha1(f"folder {path}\0".encode(), usedforsecurity=False)
    for file in sorted(files, key=lambda file: file.path):
        sha1.update(f"{file.path}\0{file.git_oid}\0".encode())
    return {"type": "directory", "oid": sha1.hexdigest(), "size": 0, "path": path}


def _file_record(file: HubFile) -> dict[str, Any]:
    record: dict[str, Any] = {
        "type": "file",
        "oid": file.git_oid,
        "size": file.size_bytes,
        "path": file.path,
    }
    if file.sha256:
        record["lfs"] = _lfs(file, "oid")
    return record


def _lfs(file: HubFile, hash_key: str) -> dict[str, Any]:
    return {
        hash_key: file.sha256,
        "size": file.size_bytes,
        "pointerSize": len(lfs_pointer(file.sha256, file.size_bytes)),
    }


def _without_xet(value: object, depth: int) -> object:
    if depth < 0:
        raise RemoteProtocolError("an answer that is nested too deeply")
    if isinstance(value, dict):
        return {
            key: _without_xet(item, depth - 1)
            for key, item in value.items()
            if not (isinstance(key, str) and key.lower() in _XET_KEYS)
        }
    if isinstance(value, list):
        return [_without_xet(item, depth - 1) for item in value]
    return value
