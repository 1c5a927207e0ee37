"""What a user of huggingface_hub does, as a program that runs in any of its versions.

Started with the client's own Python; needs nothing of this project. Reads a JSON object on stdin,
`{"steps": [...], "cache": DIR, "tokens": {"alice": ..., "bob": ...}}`, and writes one to stdout:
for each step what it got, or the class of the exception it raised. No steps means all but the
`later: ` ones. HF_ENDPOINT and HF_HOME come by the environment.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MODEL = "org/name"
AWKWARD = "sub dir/part 1 +%.bin"


def steps(cache: Path, tokens: Mapping[str, str]) -> Mapping[str, Callable[[], object]]:
    """Return every step by its name; each can be done alone."""
    import huggingface_hub as hub  # type: ignore[import-not-found]  # of the client's Python

    api = hub.HfApi()
    alice, bob = tokens["alice"], tokens["bob"]

    def snapshot(repo: str, **more: Any) -> object:
        folder = Path(hub.snapshot_download(repo, cache_dir=cache, token=False, **more))
        return {"commit": folder.name, "files": contents(folder)}

    def one(repo: str, path: str, *, token: str | bool = False, **more: Any) -> object:
        file = Path(hub.hf_hub_download(repo, path, cache_dir=cache, token=token, **more))
        blob = file.resolve()
        return {"sha256": digest(file), "blob": blob.name, "commit": commit_of(file, path)}

    def info(found: Any) -> object:
        names = [[s.rfilename, s.size, s.blob_id, lfs(s)] for s in found.siblings or ()]
        return [found.id, found.sha, found.private, found.gated, found.tags, sorted(names)]

    def tree(**more: Any) -> object:
        entries = api.list_repo_tree(MODEL, token=False, **more)
        return sorted([e.path, getattr(e, "size", None), lfs(e)] for e in entries)

    def paths_info(**more: Any) -> object:
        found = api.get_paths_info(MODEL, ["config.json", "none", "sub dir"], token=False, **more)
        return [[entry.path, getattr(entry, "size", None)] for entry in found]

    def refs(found: Any) -> object:
        kinds = (found.branches, found.tags, found.converts, found.pull_requests or [])
        return [sorted([ref.name, ref.ref, ref.target_commit] for ref in kind) for kind in kinds]

    def file_system(token: str | bool = False) -> Any:
        return hub.HfFileSystem(token=token, skip_instance_cache=True)

    def ranged() -> object:
        with file_system().open(f"{MODEL}/model.safetensors", "rb", block_size=65536) as file:
            parts = [file.read(10)]
            for start, size in ((1_000_000, 100_000), (-7, 100)):
                file.seek(start, 0 if start >= 0 else 2)
                parts.append(file.read(size))
        return [hashlib.sha256(part).hexdigest() for part in parts]

    def listed(path: str) -> object:
        entries = file_system().ls(path, detail=True)
        return sorted([entry["name"], entry["type"], entry["size"]] for entry in entries)

    return {
        "snapshot": lambda: snapshot(MODEL),
        "snapshot again": lambda: snapshot(MODEL),
        "snapshot of a tag": lambda: snapshot(MODEL, revision="v1.0"),
        "snapshot of some": lambda: snapshot("org/data", repo_type="dataset",
                                             allow_patterns="*.csv"),
        "snapshot to a folder": lambda: contents(
            Path(hub.snapshot_download(MODEL, local_dir=cache / "local", token=False))
        ),
        "file": lambda: one(MODEL, "config.json"),
        "file, large": lambda: one(MODEL, "model.safetensors"),
        "file, empty": lambda: one(MODEL, "empty.txt"),
        "file, awkward": lambda: one(MODEL, AWKWARD),
        "file of a branch": lambda: one(MODEL, "new.txt", revision="feature/x"),
        "file of a pull request": lambda: one(MODEL, "pr.txt", revision="refs/pr/1"),
        "file of a dataset": lambda: one("org/data", "a.csv", repo_type="dataset"),
        "file of a space": lambda: one("org/app", "app.py", repo_type="space"),
        "file of an old repo": lambda: one("gpt2", "config.json"),
        "file of a renamed repo": lambda: one("old/name", "config.json"),
        "info": lambda: info(api.model_info(MODEL, token=False)),
        "info with sizes": lambda: info(api.model_info(MODEL, token=False, files_metadata=True)),
        "info at a branch": lambda: info(api.model_info(MODEL, token=False, revision="feature/x")),
        "info of a dataset": lambda: info(api.dataset_info("org/data", token=False)),
        "info of a gated repo": lambda: api.model_info("org/gated", token=False).gated,
        "info, expanded": lambda: api.model_info(MODEL, token=False, expand=["likes"]).likes,
        "list": lambda: api.list_repo_files(MODEL, token=False),
        "list of many": lambda: digest_of(sorted(api.list_repo_files("org/many", token=False))),
        "tree": lambda: tree(),
        "tree, recursive": lambda: tree(recursive=True, expand=True),
        "tree of a folder": lambda: tree(path_in_repo="sub dir"),
        "tree of no folder": lambda: tree(path_in_repo="none"),
        "paths": lambda: paths_info(),
        "paths, expanded": lambda: paths_info(expand=True),
        "refs": lambda: refs(api.list_repo_refs(MODEL, include_pull_requests=True, token=False)),
        "commits": lambda: [c.commit_id for c in api.list_repo_commits(MODEL, token=False)],
        "exists": lambda: [
            api.repo_exists(MODEL, token=False),
            api.repo_exists("org/none", token=False),
            api.repo_exists("org/private", token=alice),
            api.file_exists(MODEL, "config.json", token=False),
            api.file_exists(MODEL, "none", token=False),
            api.revision_exists(MODEL, "v1.0", token=False),
            api.revision_exists(MODEL, "none", token=False),
        ],
        "file system: ls": lambda: listed(MODEL),
        "file system: ls of a folder": lambda: listed(f"{MODEL}@feature%2Fx/sub dir"),
        "file system: find": lambda: sorted(file_system().find("datasets/org/data")),
        "file system: ranges": ranged,
        "file system: text": lambda: file_system().read_text(f"{MODEL}/config.json"),
        "gated, anonymous": lambda: one("org/gated", "w.bin"),
        "gated, no grant": lambda: one("org/gated", "w.bin", token=bob),
        "gated snapshot, no grant": lambda: hub.snapshot_download(
            "org/gated", cache_dir=cache, token=bob
        ),
        # Before the file is in this client's own cache, which would hide the refusals.
        "gated, granted": lambda: one("org/gated", "w.bin", token=alice),
        "private, anonymous": lambda: one("org/private", "w.bin"),
        "private, no grant": lambda: one("org/private", "w.bin", token=bob),
        "private info, no grant": lambda: info(api.model_info("org/private", token=bob)),
        "private, granted": lambda: one("org/private", "w.bin", token=alice),
        "invalid token": lambda: one("org/data", "x.parquet", repo_type="dataset",
                                     token="hf_nobody_knows"),
        "invalid token, info": lambda: info(api.model_info(MODEL, token="hf_nobody_knows")),
        "auth, granted": lambda: api.auth_check("org/gated", token=alice),
        "auth, no grant": lambda: api.auth_check("org/gated", token=bob),
        "who": lambda: api.whoami(token=alice)["name"],
        "who, invalid": lambda: api.whoami(token="hf_nobody_knows"),
        "no repo": lambda: one("org/none", "config.json"),
        "no repo, snapshot": lambda: snapshot("org/none"),
        "no repo, known user": lambda: one("org/none", "config.json", token=alice),
        "no revision": lambda: one(MODEL, "config.json", revision="none"),
        "no revision, snapshot": lambda: snapshot(MODEL, revision="none"),
        "no file": lambda: one(MODEL, "none.json"),
        "no folder": lambda: listed(f"{MODEL}/none"),
        "later: new repo": lambda: snapshot("org/unheard-of"),
        "later: file of a new repo": lambda: one("org/unheard-of", "config.json"),
        "later: file in the own cache": lambda: one("org/elsewhere", "config.json"),
        "upload": lambda: api.upload_file(
            path_or_fileobj=b"x", path_in_repo="x", repo_id=MODEL, token=alice
        ),
    }  # fmt: skip


def lfs(entry: Any) -> str:
    """Return the SHA-256 that an entry names, "" for none."""
    found = getattr(entry, "lfs", None)
    return str(found["sha256"]) if found else ""


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def digest_of(values: list[str]) -> list[object]:
    return [len(values), hashlib.sha256(repr(values).encode()).hexdigest()]


def contents(folder: Path) -> dict[str, str]:
    """Return the hashes of all files below a folder, hidden ones left out."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    names = {file.relative_to(folder).as_posix(): file for file in files}
    return {name: digest(file) for name, file in names.items() if not name.startswith(".")}


def commit_of(file: Path, path: str) -> str:
    """Return the snapshot that a file of the cache belongs to."""
    return file.parents[path.count("/")].name


def main() -> None:
    """Do the steps that stdin names and tell what each one got."""
    order = json.load(sys.stdin)
    known = steps(Path(order["cache"]), order["tokens"])
    results: dict[str, Any] = {}
    for name in order["steps"] or [name for name in known if not name.startswith("later: ")]:
        try:
            results[name] = {"got": known[name]()}
        except Exception as exc:  # every class is a result here
            results[name] = {
                "raised": type(exc).__name__,
                "kinds": [cls.__name__ for cls in type(exc).__mro__],
                "message": str(exc),
            }
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
