"""A repo of the Hub as something to export: its files that are here, in folders made for it.

Only open repos: what gated and private ones hold goes to nobody but who was let in, and a file on
a stick asks nobody for a token. Nothing is asked of an origin; what a name means must be known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mirrornode.content.directory import DirEntry, build_directory
from mirrornode.content.recipe import UNIXFS_V1_2025
from mirrornode.errors import AccessRefused, NotAllHere
from mirrornode.mirror.export import Subject
from mirrornode.store.announcements import sha256_multihash
from mirrornode.wire.hub import parse_hub_target
from mirrornode.wire.hub_tree import is_commit

if TYPE_CHECKING:
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import HubTarget
    from mirrornode.wire.hub_tree import HubFile

_SHA1_MULTIHASH = b"\x11\x14"  # of a git object: code and length


def subject_of_hub(catalog: Catalog, text: str) -> Subject:
    """Return what a target of the Hub stands for here, as far as it is here.

    Raises:
        TargetError: Not a target.
        AccessRefused: The repo is gated or private, or who may see it is not known.
        NotAllHere: The revision or its files are not known here.
    """
    target = parse_hub_target(text)
    sight = catalog.hub_sight(target.repo)
    if sight is None or not sight.is_open:
        raise AccessRefused(
            f"{target.repo} is not known as an open repo here; only those are exported by name"
        )
    commit = target.revision
    if not is_commit(commit):
        ref = catalog.hub_ref(target.repo, target.revision)
        commit = ref.commit if ref is not None else ""
    known = catalog.hub_revision(target.repo, commit) if commit else None
    if known is None or known.files is None:
        raise _not_here(target)
    wanted = {
        file.path: file
        for file in known.files
        if not target.path or file.path == target.path or file.path.startswith(f"{target.path}/")
    }
    if not wanted:
        raise _not_here(target)
    found, missing = _find(catalog, wanted)
    if not found:
        raise _not_here(target)
    if target.path in found:
        return Subject(found[target.path].cid, target.path.rpartition("/")[2])
    made: dict[bytes, bytes] = {}
    skip = len(target.path) + 1 if target.path else 0
    root = _folder({path[skip:]: entry for path, entry in found.items()}, made)
    name = (target.path or target.repo.name).rpartition("/")[2]
    return Subject(root.cid, name, made, [path[skip:] for path in missing])


def _not_here(target: HubTarget) -> NotAllHere:
    return NotAllHere(
        f"{target} is not here; fetch it first with `mirrornode get {target}`", (str(target),)
    )


def _find(catalog: Catalog, wanted: Mapping[str, HubFile]) -> tuple[dict[str, DirEntry], list[str]]:
    found: dict[str, DirEntry] = {}
    missing: list[str] = []
    for path, file in wanted.items():
        digest = bytes.fromhex(file.etag)
        is_sha256 = len(digest) == 32
        stored = catalog.find_file(
            sha256_multihash(digest) if is_sha256 else _SHA1_MULTIHASH + digest
        )
        if stored is None:
            missing.append(path)
        else:
            tsize = stored.tsize_bytes or stored.size_bytes
            found[path] = DirEntry(path.rpartition("/")[2], stored.cid, tsize)
    return found, missing


def _folder(files: Mapping[str, DirEntry], made: dict[bytes, bytes], name: str = "") -> DirEntry:
    """Return the folder that holds files at relative paths; its blocks go into `made`."""
    entries: list[DirEntry] = []
    below: dict[str, dict[str, DirEntry]] = {}
    for path, entry in files.items():
        first, slash, rest = path.partition("/")
        if slash:
            below.setdefault(first, {})[rest] = entry
        else:
            entries.append(entry)
    entries += [_folder(inside, made, folder) for folder, inside in below.items()]
    dag = build_directory(entries, UNIXFS_V1_2025)
    made.update((block.cid.multihash, block.data) for block in dag.blocks)
    return DirEntry(name, dag.root, dag.tsize_bytes)
