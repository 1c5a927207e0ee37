"""A repo of the Hub as something to export: its files in folders, open repos only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mirrornode.errors import AccessRefused, NotAllHere, TargetError
from mirrornode.mirror.export import ExportRequest, export_car
from mirrornode.mirror.hub.export import subject_of_hub
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.wire.hub import HubFile, Repo
from support.cars import import_files
from support.shared_files import content, record, write

REPO = Repo("model", "org/name")
COMMIT = "c" * 40
FILES = {"config.json": b"{}", "sub/deep/w.bin": content(70_000), "sub/x.txt": b"x"}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "home") as opened:
        yield opened


def hub_file(path: str, data: bytes) -> HubFile:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    sha256 = hashlib.sha256(data).hexdigest() if path.endswith(".bin") else ""
    return HubFile(path, len(data), git, sha256)


def know(
    catalog: Catalog, files: Mapping[str, bytes], *, private: bool = False, gated: str = ""
) -> None:
    """Write down what an origin said of the repo."""
    catalog.put_hub_sight(REPO, canonical=REPO, is_private=private, gated=gated, checked_at=1.0)
    catalog.put_hub_revision(REPO, COMMIT, {"sha": COMMIT}, "hub:example.org")
    catalog.put_hub_ref(REPO, "main", COMMIT, "hub:example.org")
    tree = [hub_file(path, data) for path, data in sorted(files.items())]
    assert catalog.put_hub_tree(REPO, COMMIT, tree, "hub:example.org")


def hold(catalog: Catalog, folder: Path, files: Mapping[str, bytes]) -> None:
    for number, data in enumerate(files.values()):
        record(catalog, write(folder / f"blob-{number}", data))


async def test_export_when_open_repo_then_its_tree_comes_out_elsewhere(
    catalog: Catalog, tmp_path: Path
) -> None:
    know(catalog, FILES)
    hold(catalog, tmp_path / "blobs", FILES)
    for target, expected in {
        "hf:org/name": FILES,
        f"hf:org/name@{COMMIT}/sub": {"deep/w.bin": content(70_000), "x.txt": b"x"},
        "hf:org/name/sub/x.txt": {"": b"x"},
    }.items():
        output, out = tmp_path / "x.car", tmp_path / target.replace("/", "_")
        request = ExportRequest(target, output, force=True)
        done = export_car(catalog, request, subject_of_hub(catalog, target), lambda event: None)
        assert done.missing_count == 0
        with open_catalog(tmp_path / f"elsewhere-{len(expected)}") as elsewhere:
            [root] = (await import_files(elsewhere, output, destination=out)).roots
        assert root.name == {3: "name", 2: "sub", 1: "x.txt"}[len(expected)]
        assert {path: _read(out, path) for path in expected} == expected


def _read(folder: Path, path: str) -> bytes:
    return (folder / path if path else folder).read_bytes()


def test_export_when_files_lack_then_named(catalog: Catalog, tmp_path: Path) -> None:
    know(catalog, FILES)
    with pytest.raises(NotAllHere):
        subject_of_hub(catalog, "hf:org/name")
    hold(catalog, tmp_path / "blobs", {"config.json": b"{}"})
    subject = subject_of_hub(catalog, "hf:org/name")
    assert subject.missing == ["sub/deep/w.bin", "sub/x.txt"]
    request = ExportRequest("hf:org/name", tmp_path / "x.car")
    with pytest.raises(NotAllHere, match=r"sub/deep/w\.bin"):
        export_car(catalog, request, subject, lambda event: None)
    for target in ("hf:org/name@v2", "hf:org/name/other"):
        with pytest.raises(NotAllHere):
            subject_of_hub(catalog, target)


@pytest.mark.parametrize(("private", "gated"), [(True, ""), (False, "auto")])
def test_export_when_not_open_then_refused(
    catalog: Catalog, tmp_path: Path, private: bool, gated: str
) -> None:
    know(catalog, FILES, private=private, gated=gated)
    hold(catalog, tmp_path / "blobs", FILES)
    with pytest.raises(AccessRefused):
        subject_of_hub(catalog, "hf:org/name")


def test_export_when_repo_unknown_then_refused(catalog: Catalog) -> None:
    with pytest.raises(AccessRefused):
        subject_of_hub(catalog, "hf:org/other")
    with pytest.raises(TargetError):
        subject_of_hub(catalog, "hf:")
