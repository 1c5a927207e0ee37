from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mirrornode.content.recipe import UNIXFS_V0_2015, UNIXFS_V1_2025, Recipe, recipe_from
from mirrornode.errors import DiskFull, PathRefused, TargetError
from mirrornode.events import Added, AddProgress, Event
from mirrornode.mirror.add import AddRequest, add_paths
from mirrornode.mirror.scan import MAX_DEPTH, MAX_SKIPPED_NAMES
from mirrornode.store.announcements import sha256_multihash
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.slices import read_leaf
from support.fixtures import fixture_json
from support.shared_files import content, denied, overwrite, write

HELLO_V1 = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
HELLO_V0 = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Open an empty catalog."""
    with open_catalog(tmp_path / "home") as opened:
        yield opened


def _add(catalog: Catalog | None, *paths: Path, **options: Any) -> Added:
    [added] = add_paths(catalog, AddRequest(paths, **options))
    return added


def _queued(catalog: Catalog) -> list[bytes]:
    return [item.multihash for item in catalog.due_announcements(1.0, 10_000)]


def _tree(folder: Path, spec: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, what in spec.items():
        path = folder / name if name else folder
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            path.mkdir(exist_ok=True)
        elif isinstance(what, str):
            path.symlink_to(what)
        else:
            path.write_bytes(content(what))
    return folder


def _recipe_of_flags(flags: list[str]) -> Recipe:
    chosen = dict(flag.lstrip("-").split("=") for flag in flags if "=" in flag)
    base = "unixfs-v0-2015" if chosen["cid-version"] == "0" else "unixfs-v1-2025"
    recipe = recipe_from(
        base,
        chunker=chosen["chunker"],
        raw_leaves=chosen["raw-leaves"] == "true",
        cid_version=int(chosen["cid-version"]),
        max_links=int(chosen["max-file-links"]),
    )
    # A folder that is just below a threshold under one rule may be above it under the other; the
    # vectors' folders are not near it, so the base profile's rule serves.
    return recipe


def test_add_when_one_small_file_then_root_leaf_and_sha256_are_one_name(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "hello.txt", b"hello world")
    added = _add(catalog, path)
    assert added.cid == HELLO_V1  # SOURCE: kubo test/cli/cid_profiles_test.go
    assert (added.name, added.path, added.size_bytes) == ("hello.txt", str(path), 11)
    assert (added.leaves, added.files, added.files_read) == (1, 1, 1)
    assert (added.profile, added.skipped) == ("unixfs-v1-2025", ())
    [root] = catalog.roots()
    assert (str(root.cid), root.kind, root.state, root.files) == (HELLO_V1, "file", "ok", 1)
    assert _queued(catalog) == [root.cid.multihash]
    leaf = catalog.find_leaf(root.cid.multihash)
    assert leaf is not None
    assert read_leaf(leaf) == b"hello world"


def test_add_when_legacy_profile_then_the_known_cid(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "hello.txt", b"hello world")
    added = _add(catalog, path, recipe=UNIXFS_V0_2015)
    assert added.cid == HELLO_V0  # SOURCE: kubo test/cli/cid_profiles_test.go
    [root] = catalog.roots()
    alias = next(m for m in _queued(catalog) if m != root.cid.multihash)
    assert catalog.find_alias(alias) == root.cid


@pytest.mark.parametrize(
    ("recipe", "cid"),
    [
        # SOURCE: ipfs/specs unixfs.md, empty file
        (UNIXFS_V1_2025, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (UNIXFS_V0_2015, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
    ],
)
def test_add_when_file_is_empty_then_one_empty_leaf(
    catalog: Catalog, tmp_path: Path, recipe: Recipe, cid: str
) -> None:
    added = _add(catalog, write(tmp_path / "empty", b""), recipe=recipe)
    assert (added.cid, added.leaves, added.size_bytes) == (cid, 1, 0)


@pytest.mark.parametrize(
    ("recipe", "cid"),
    [
        # SOURCE: ipfs/specs unixfs.md, empty directory
        (UNIXFS_V1_2025, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"),
        (UNIXFS_V0_2015, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"),
    ],
)
def test_add_when_folder_is_empty_then_the_known_cid(
    catalog: Catalog, tmp_path: Path, recipe: Recipe, cid: str
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    added = _add(catalog, folder, recipe=recipe)
    assert (added.cid, added.files, added.leaves) == (cid, 0, 0)
    [root] = catalog.roots()
    assert (root.kind, root.state) == ("directory", "ok")
    assert catalog.get_block(root.cid.multihash) is not None


def test_add_when_folder_nested_then_everything_is_found_and_announced(
    catalog: Catalog, tmp_path: Path
) -> None:
    # SOURCE: kubo sharness t0040, "moons tree", CIDv0
    folder = tmp_path / "moons"
    write(folder / "jupiter" / "europa.txt", b"Hello Europa!\n")
    write(folder / "saturn" / "titan.txt", b"Hello Titan!\n")
    write(folder / "mercury.txt", b"hey you are no moon!\n")
    added = _add(catalog, folder, recipe=UNIXFS_V0_2015)
    assert added.cid == "QmbGoaQZm8kjYfCiN1aBsgwhqfUBGDYTrDb91Mz7Dvq81B"
    [root] = catalog.roots()
    names = {root.cid.multihash}
    for file in catalog.root_files(root.cid):
        assert file.sha256 is not None
        names |= {file.cid.multihash, sha256_multihash(file.sha256)}
        assert catalog.find_leaf(file.cid.multihash) is not None
    queued = _queued(catalog)
    assert (queued[0], set(queued)) == (root.cid.multihash, names)
    assert len(names) == 7


def _directory_vectors() -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = fixture_json("vectors/kubo_0.40.1_cids.json")["dirs"]
    return [
        vector
        for vector in vectors
        if isinstance(vector["spec"], dict)
        and any(flag.startswith("--chunker") for flag in vector["flags"])
    ]


def test_add_when_folders_of_kubo_then_kubos_cids(tmp_path: Path) -> None:
    checked = set()
    for number, vector in enumerate(_directory_vectors()):
        folder = _tree(tmp_path / f"{number}-{vector['name']}", vector["spec"])
        added = _add(
            None,
            folder,
            recipe=_recipe_of_flags(vector["flags"]),
            only_hash=True,
            hidden="-H" in vector["flags"],
            wrap="-w" in vector["flags"],
        )
        assert added.cid == vector["cid"], f"{vector['name']} {vector['profile']}"
        checked.add(vector["name"])
    assert {"nested", "order", "unicode"} <= checked


def test_add_when_two_thousand_files_then_kubos_cid(catalog: Catalog, tmp_path: Path) -> None:
    # SOURCE: kubo sharness t0260: 2000 files "file{i}" holding "{i}\n", CIDv0
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1, 2001):
        (folder / f"file{number}").write_bytes(b"%d\n" % number)
    added = _add(catalog, folder, recipe=UNIXFS_V0_2015)
    assert added.cid == "QmavrTrQG4VhoJmantURAYuw3bowq3E2WcvP36NRQDAC1N"
    assert (added.files, added.files_read, added.leaves) == (2000, 2000, 2000)
    assert catalog.announce_counts()[0] == 4001
    assert _add(catalog, folder, recipe=UNIXFS_V0_2015).files_read == 0


def test_add_when_nothing_changed_then_nothing_is_read(catalog: Catalog, tmp_path: Path) -> None:
    folder = _tree(tmp_path / "model", {"a": 10, "b": 3_000_000, "sub/c": 0})
    first = _add(catalog, folder)
    again = _add(catalog, folder)
    assert (first.files_read, again.files_read) == (3, 0)
    assert (again.cid, again.leaves, again.files) == (first.cid, first.leaves, 3)
    assert len(catalog.roots()) == 1


def test_add_when_one_file_changed_then_only_that_is_read(catalog: Catalog, tmp_path: Path) -> None:
    folder = _tree(tmp_path / "model", {"a": 10, "b": 20})
    first = _add(catalog, folder)
    overwrite(folder / "a", content(11))
    again = _add(catalog, folder)
    assert again.files_read == 1
    assert again.cid != first.cid
    assert [str(root.cid) for root in catalog.roots()] == [again.cid]


def test_add_when_another_recipe_then_read_again_and_both_are_shared(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(3_000_000))
    _add(catalog, path)
    assert _add(catalog, path, recipe=UNIXFS_V0_2015).files_read == 1
    assert [root.state for root in catalog.roots()] == ["ok", "ok"]
    assert _add(catalog, path).files_read == 0


def test_add_when_marked_as_changed_then_read_again_and_shared_again(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", content(10))
    _add(catalog, path)
    catalog.mark_changed(path, "changed")
    assert _queued(catalog) == []
    assert _add(catalog, path).files_read == 1
    assert len(_queued(catalog)) == 1


def test_add_when_only_hash_then_nothing_is_written(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "hello.txt", b"hello world")
    assert _add(catalog, path, only_hash=True).cid == HELLO_V1
    assert _add(None, path, only_hash=True).cid == HELLO_V1
    assert catalog.roots() == []
    assert catalog.announce_counts()[0] == 0
    assert list(catalog.all_files()) == []


def test_add_when_wrapped_then_kubos_cid(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "1.bin", content(1))
    recipe = recipe_from(chunker="size-262144", max_links=174)
    added = _add(catalog, path, recipe=recipe, wrap=True)
    # SOURCE: ipfs add -w --cid-version=1, Kubo 0.40.1
    assert added.cid == "bafybeies2cnwixgtcjsjp2mhi53pkbv6cw53vo2fnzjztoq5ks3vhk4tpi"
    [root] = catalog.roots()
    assert (root.kind, root.name, root.files) == ("directory", "1.bin", 1)


def test_add_when_several_are_wrapped_then_one_folder_holds_them(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = _tree(tmp_path / "both", {"a": 1, "b": 2})
    together = _add(catalog, folder / "a", folder / "b", wrap=True, name="pair")
    assert together.cid == _add(catalog, folder).cid
    assert together.name == "pair"


def test_add_when_two_of_one_name_are_wrapped_then_refused(
    catalog: Catalog, tmp_path: Path
) -> None:
    paths = [write(tmp_path / folder / "same", b"x") for folder in "ab"]
    with pytest.raises(TargetError, match="same"):
        _add(catalog, *paths, wrap=True)


def test_add_when_several_paths_then_one_result_each(catalog: Catalog, tmp_path: Path) -> None:
    paths = [write(tmp_path / name, name.encode()) for name in ("a", "b")]
    added = list(add_paths(catalog, AddRequest(paths)))
    assert [one.name for one in added] == ["a", "b"]


def test_add_when_path_is_a_link_then_the_file_behind_it_is_shared(
    catalog: Catalog, tmp_path: Path
) -> None:
    target = write(tmp_path / "blobs" / "0123", b"hello world")
    link = tmp_path / "model.bin"
    link.symlink_to(target)
    added = _add(catalog, link)
    assert (added.cid, added.name, added.path) == (HELLO_V1, "model.bin", str(link))
    assert [file.path for file in catalog.all_files()] == [target]


def test_add_when_links_are_inside_then_kept_as_links(catalog: Catalog, tmp_path: Path) -> None:
    folder = _tree(tmp_path / "f", {"real": 5, "link": "real", "loop": ".", "away": "/etc/passwd"})
    added = _add(catalog, folder)
    assert (added.files, added.size_bytes) == (1, 5)


def test_add_when_hidden_and_special_then_left_out_and_told(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = _tree(tmp_path / "f", {"shown": 1, ".git/config": 2, "sub/.hidden": 3})
    os.mkfifo(folder / "sub" / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "listener"))
        added = _add(catalog, folder)
    assert sorted(added.skipped) == [
        ".git (hidden)",
        "listener (socket)",
        "sub/.hidden (hidden)",
        "sub/pipe (named pipe)",
    ]
    assert added.files == 1
    assert _add(catalog, folder, hidden=True).files == 3


def test_add_when_much_is_left_out_then_the_report_is_bounded(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = _tree(tmp_path / "f", {f".h{n}": 0 for n in range(MAX_SKIPPED_NAMES + 7)})
    skipped = _add(catalog, folder).skipped
    assert len(skipped) == MAX_SKIPPED_NAMES + 1
    assert skipped[-1] == "and 7 more"


def test_add_when_path_is_missing_then_target_error(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="does not exist"):
        _add(catalog, tmp_path / "nowhere")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(TargetError, match="link to nothing"):
        _add(catalog, tmp_path / "dangling")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(TargetError):
        _add(catalog, tmp_path / "loop")
    with pytest.raises(TargetError):
        _add(catalog, write(tmp_path / "file", b"") / "below")
    with pytest.raises(TargetError):
        list(add_paths(catalog, AddRequest([])))


def test_add_when_access_is_denied_then_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "folder" / "f", b"x")
    for what in (path, path.parent):
        with denied(path), pytest.raises(PathRefused) as caught:
            _add(None, what, only_hash=True)
        assert caught.value.action == "read"


def test_add_when_path_is_a_pipe_then_target_error(catalog: Catalog, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TargetError, match="named pipe"):
        _add(catalog, tmp_path / "pipe")


def test_add_when_a_name_is_not_utf8_then_it_is_named(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    write(Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.bin")), b"x")
    with pytest.raises(TargetError, match=r"bad\\xff\.bin.*UTF-8.*rename"):
        _add(catalog, folder)


def test_add_when_folders_are_too_deep_then_refused(catalog: Catalog, tmp_path: Path) -> None:
    deep = tmp_path / "f"
    deep.joinpath(*["d"] * (MAX_DEPTH + 1)).mkdir(parents=True)
    with pytest.raises(TargetError, match="deep"):
        _add(catalog, deep)


def test_add_when_the_home_is_inside_then_it_is_not_shared(
    catalog: Catalog, tmp_path: Path
) -> None:
    write(catalog.home / "identity.key", b"secret")
    write(tmp_path / "model", b"x")
    added = _add(catalog, tmp_path)
    assert (added.files, added.skipped) == (1, ("home (home of this node)",))
    for path in (catalog.home, catalog.home / "identity.key"):
        with pytest.raises(TargetError, match="not shared"):
            _add(catalog, path)


def test_add_when_named_then_the_name_is_kept(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "f", b"x")
    assert _add(catalog, path, name="org/model").name == "org/model"
    for wrong in ("", "a\nb", "x" * 300):
        with pytest.raises(TargetError, match="--name"):
            _add(catalog, path, name=wrong)
    with pytest.raises(TargetError, match="--name"):
        _add(catalog, path, name="org/model", wrap=True)
    with pytest.raises(TargetError, match="--name"):
        list(add_paths(catalog, AddRequest([path, path], name="two")))


def test_add_when_copied_then_the_copy_is_shared(catalog: Catalog, tmp_path: Path) -> None:
    folder = _tree(tmp_path / "model", {"a": 10, "sub/b": 20, "link": "a", ".hidden": 3})
    added = _add(catalog, folder, copy=True)
    copy = catalog.home / "models" / "model"
    assert added.path == str(copy)
    assert (copy / "sub" / "b").read_bytes() == content(20)
    assert os.readlink(copy / "link") == "a"
    assert not (copy / ".hidden").exists()
    files = list(catalog.all_files())
    assert all(file.is_managed and copy in file.path.parents for file in files)
    assert added.cid == _add(None, folder, only_hash=True).cid
    assert sorted(copy.parent.iterdir()) == [copy]


def test_add_when_copied_twice_then_the_first_copy_serves(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "f", content(10))
    first = _add(catalog, path, copy=True)
    again = _add(catalog, path, copy=True)
    assert (again.cid, again.files_read) == (first.cid, 0)


def test_add_when_a_copy_has_other_content_then_refused(catalog: Catalog, tmp_path: Path) -> None:
    path = write(tmp_path / "f", content(10))
    _add(catalog, path, copy=True)
    overwrite(path, content(11))
    with pytest.raises(TargetError, match="--name"):
        _add(catalog, path, copy=True)
    assert _add(catalog, path, copy=True, name="g").size_bytes == 11


def test_add_when_no_room_for_a_copy_then_disk_full_and_nothing_left(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "f", content(10))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=9))
    with pytest.raises(DiskFull):
        _add(catalog, path, copy=True)
    assert list((catalog.home / "models").iterdir()) == []


def test_add_when_a_killed_copy_left_a_part_then_the_next_removes_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    models = catalog.home / "models"
    dead = write(models / ".part-4194305-00" / "x", b"")  # above the largest pid of Linux
    alive = write(models / f".part-{os.getpid()}-00", b"")
    _add(catalog, write(tmp_path / "f", b"x"), copy=True)
    assert not dead.parent.exists()
    assert alive.exists()


def test_add_when_copy_and_only_hash_then_refused(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="contradict"):
        _add(catalog, tmp_path, copy=True, only_hash=True)


def test_add_when_running_then_progress_ends_at_the_total(catalog: Catalog, tmp_path: Path) -> None:
    folder = _tree(tmp_path / "f", {"a": 1000, "b": 2000})
    for _ in range(2):
        events: list[Event] = []
        list(add_paths(catalog, AddRequest([folder]), events.append))
        done = [event for event in events if isinstance(event, AddProgress)]
        assert (done[-1].done_bytes, done[-1].total_bytes) == (3000, 3000)
        assert [e.done_bytes for e in done] == sorted(e.done_bytes for e in done)


def test_add_when_progress_raises_then_no_root_and_no_thread_is_left(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = _tree(tmp_path / "f", {str(n): n for n in range(50)})

    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(add_paths(catalog, AddRequest([folder]), stop))
    assert catalog.roots() == []
    assert catalog.announce_counts()[0] == 0
