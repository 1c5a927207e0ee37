"""Room is freed: what goes, what never goes, and what a crash leaves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import mirrornode
from mirrornode.content.block import Block, multihash_of
from mirrornode.content.cid import DAG_PB, SHA2_256, Cid
from mirrornode.content.dagpb import Link, encode_node
from mirrornode.mirror.keep_choice import Limits
from mirrornode.mirror.keep_loop import Keeping
from mirrornode.mirror.keep_pins import Pinning
from mirrornode.mirror.replication import Replication
from mirrornode.mirror.uses import Uses
from mirrornode.store.catalog import open_catalog
from mirrornode.store.hub_records import HubRevision
from mirrornode.wire.hub import HubFile, Repo
from support.kept_files import FILES, GB, KeptHome, assert_consistent, made_up
from support.shared_files import SMALL_CHUNKS, content, record, write

ROUNDS = 5
SEED = 20_261_123


@pytest.fixture
def room(tmp_path: Path) -> Iterator[KeptHome]:
    """A home without a model yet."""
    with open_catalog(tmp_path / "home") as catalog:
        yield KeptHome(catalog)


def names(room: KeptHome) -> set[str]:
    return {path.name for path in (room.catalog.home / "models").iterdir()}


def test_gc_when_over_quota_then_the_longest_unused_go_down_to_the_mark(room: KeptHome) -> None:
    for day in range(10):
        room.model(f"m{day}", 10 * GB, day)
    done = room.keeper(quota_bytes=90 * GB, low_water=0.8).collect(is_due=False)
    assert [model.name for model in done.freed] == ["m0", "m1", "m2"]
    assert (done.freed_bytes, done.short_bytes) == (30 * GB, 0)
    assert names(room) == {f"m{day}" for day in range(3, 10)}
    assert room.catalog.managed_bytes() <= 72 * GB
    assert_consistent(room.catalog)


def test_gc_when_a_model_was_used_then_it_counts_as_new(room: KeptHome) -> None:
    for day in range(3):
        room.model(f"m{day}", 10 * GB, day)
    room.active.uses = Uses(lambda: room.now - 3600)
    room.active.uses.note(room.catalog.home / "models" / "m0" / FILES[1])
    keeper = room.keeper(quota_bytes=20 * GB, low_water=1.0)
    keeper.flush_uses()
    room.active.uses = Uses()
    assert [one.name for one in keeper.collect(is_due=False).freed] == ["m1"]


def test_gc_when_dry_then_tells_the_same_and_touches_nothing(room: KeptHome) -> None:
    for day in range(4):
        room.model(f"m{day}", 10 * GB, day)
    keeper = room.keeper(quota_bytes=30 * GB)
    told = keeper.collect(is_due=True, is_dry_run=True).to_record()
    assert len(names(room)) == 4
    assert told["used_after_bytes"] == 20 * GB
    real = keeper.collect(is_due=True).to_record()
    assert {**told, "dry_run": False} == real


def test_gc_when_pinned_in_use_changed_linked_or_the_users_then_stays(
    room: KeptHome, tmp_path: Path
) -> None:
    room.catalog.pin(room.model("pinned", 10 * GB))
    file_only = room.model("one-file", 10 * GB)
    room.catalog.pin(made_up(f"one-file/{FILES[0]}"))
    assert file_only
    room.model("held", 10 * GB)
    room.model("served", 10 * GB)
    room.model("changed", 10 * GB)
    room.model("linked", 10 * GB)
    room.model("users", 10 * GB, managed=False)
    room.model("shared", 10 * GB, managed=False, home=False)
    room.model("old", 10 * GB, day=5)
    models = room.catalog.home / "models"
    for file in FILES:
        with (models / "changed" / file).open("ab") as changed:
            changed.write(b"my notes")
        os.link(models / "linked" / file, tmp_path / file)
    room.active.uses = Uses(lambda: room.now)
    room.active.uses.note(models / "served" / FILES[0])
    with room.active.temp_pins.hold(str(models / "held")):
        done = room.keeper(quota_bytes=1).collect(is_due=True)
    assert sorted(model.name for model in done.freed) == ["old", "one-file"]
    assert done.freed_bytes == 10 * GB + 1  # of the file that is pinned, only the other one went
    assert done.held_bytes == {
        "pinned": 20 * GB - 1, "in use": 20 * GB, "changed": 10 * GB + 16, "linked": 10 * GB,
    }  # fmt: skip
    assert done.short_bytes > 0
    assert names(room) == {
        "pinned", "one-file", "held", "served", "changed", "linked", "users",
    }  # fmt: skip
    assert_consistent(room.catalog)


def test_gc_when_unpinned_and_no_longer_held_then_goes(room: KeptHome) -> None:
    root = room.model("model", GB)
    pin = room.catalog.pin(root, "a")
    room.catalog.pin(root, "b")
    keeper = room.keeper(quota_bytes=1)
    room.catalog.unpin(pin.target, "a")
    assert not keeper.collect(is_due=True).freed
    room.catalog.unpin(pin.target, "b")
    assert keeper.collect(is_due=True).freed_bytes == GB


def test_gc_when_a_model_went_then_nothing_of_it_is_offered_or_announced(room: KeptHome) -> None:
    root = room.model("model", GB)
    assert room.catalog.announce_counts()[0] == 3
    room.keeper(quota_bytes=1).collect(is_due=True)
    assert room.catalog.announce_counts()[0] == 0
    assert room.catalog.find_root(root.multihash) is None
    assert room.catalog.find_file(made_up(f"model/{FILES[0]}").multihash) is None
    assert room.catalog.find_leaf(made_up(f"leaf of model/{FILES[0]}").multihash) is None


def test_gc_when_the_disk_is_to_stay_free_then_no_more_than_that_goes(room: KeptHome) -> None:
    for day in range(4):
        room.model(f"m{day}", 10 * GB, day)
    room.free_bytes = 5 * GB
    keeper = room.keeper()
    assert not keeper.is_short()
    done = keeper.collect(is_due=True, keep_free_bytes=20 * GB)
    assert [model.name for model in done.freed] == ["m0", "m1"]
    keeper.limits = Limits(keep_free_bytes=10 * GB)
    assert keeper.is_short()


def test_gc_when_files_of_the_hub_then_by_commit_and_pinned_paths_stay(room: KeptHome) -> None:
    repo, commit = Repo("model", "org/name"), "c" * 40
    etags = {path: room.blob(path, GB, day) for day, path in enumerate(("a", "d/b", "d/c"))}
    files = [HubFile(path, GB, "0" * 40, etag) for path, etag in etags.items()]
    room.catalog.put_hub_revision(repo, commit, {}, "hub:test")
    room.catalog.put_hub_tree(repo, commit, files, "hub:test")
    assert isinstance(room.catalog.hub_revision(repo, commit), HubRevision)
    single = room.blob("of no repo", GB, day=1)
    room.catalog.pin_hub(repo, commit, "d")
    done = room.keeper(quota_bytes=1).collect(is_due=True)
    assert [model.name for model in done.freed] == [single, f"org/name@{commit[:12]}"]
    assert {blob.etag for blob in room.catalog.hub_blobs()} == {etags["d/b"], etags["d/c"]}
    assert_consistent(room.catalog)


def test_gc_when_parts_are_stale_then_they_go_and_young_or_held_ones_stay(room: KeptHome) -> None:
    etags = [f"{number:064x}" for number in range(4)]
    parts = [room.catalog.home / "hub" / etag[:2] / f"{etag}.part" for etag in etags]
    today = int(room.now // 86_400)
    for part, day in zip(parts, (0, 0, today, 0), strict=True):
        room.write(part, GB, day)
    other = parts[0].with_name("notes.txt")
    room.write(other, GB, 0)
    parts[3].rename(parts[3].with_suffix(""))  # finished, and never recorded
    with room.active.temp_pins.hold(str(parts[1]).removesuffix(".part")):
        done = room.keeper().collect(is_due=True)
    assert (done.leftover_files, done.freed_bytes) == (2, 2 * GB)
    assert [path.exists() for path in (*parts, other)] == [False, True, True, False, True]


def node(text: str, *children: Block) -> Block:
    """Return an inner node over others."""
    data = encode_node([Link(child.cid.binary, b"", 1) for child in children], text.encode())
    return Block(Cid.v1(DAG_PB, multihash_of(SHA2_256, data)), data)


def test_gc_when_blocks_are_of_nothing_then_swept_and_those_needed_stay(room: KeptHome) -> None:
    below, waste_below, held, young = node("b"), node("wb"), node("h"), node("y")
    pinned, waste = node("p", below), node("w", waste_below)
    file = room.model("stays", GB, managed=False)
    catalog = room.catalog
    catalog.put_blocks([below, waste_below, held, pinned, waste])
    catalog.pin(pinned.cid)
    keeper = room.keeper(quota_bytes=1)
    catalog.put_blocks([young])  # of work that has not recorded its files yet
    with room.active.temp_pins.hold(held.cid.multihash):
        assert keeper.collect(is_due=True).blocks == 2
    every = [block.cid.multihash for block in (below, waste_below, held, young, pinned, waste)]
    needed = {block.cid.multihash for block in (pinned, below, held, young)}
    assert catalog.has_blocks(every) == needed
    assert catalog.find_root(file.multihash) is not None
    keeper.grow_older()
    keeper.grow_older()
    assert keeper.collect(is_due=True).blocks == 2  # nobody came back for them
    assert catalog.has_blocks(every) == {pinned.cid.multihash, below.cid.multihash}


def test_gc_when_a_file_goes_then_its_tree_does_and_a_shared_node_stays(
    room: KeptHome, tmp_path: Path
) -> None:
    home = room.catalog.home
    one = write(home / "models" / "one" / "file", content(9000))
    dag = record(room.catalog, one, SMALL_CHUNKS)
    room.catalog.mark_managed(one)
    keeper = room.keeper(quota_bytes=1)
    blocks = [block.cid.multihash for block in dag.inner]
    assert len(room.catalog.has_blocks(blocks)) == len(blocks) > 2
    two = write(tmp_path / "two", content(9000))
    record(room.catalog, two, SMALL_CHUNKS)
    assert [model.name for model in keeper.collect(is_due=True).freed] == ["one"]
    assert len(room.catalog.has_blocks(blocks)) == len(blocks)
    assert two.exists()
    assert not one.parent.exists()


def test_gc_when_pinned_while_it_frees_then_that_one_stays(room: KeptHome) -> None:
    roots = [room.model(f"m{day}", GB, day) for day in range(3)]
    managed = room.catalog.managed_files()
    room.catalog.pin(roots[1])
    assert room.catalog.forget_managed(managed.files, managed.pins_seen) is None
    assert len(list(room.catalog.all_files())) == 6


def test_gc_when_threads_add_what_they_hold_then_none_of_it_goes(
    room: KeptHome,
) -> None:
    chance = random.Random(SEED)
    roots = [room.model(f"m{number}", GB, chance.randint(0, 999)) for number in range(200)]
    pinned = chance.sample(range(200), 20)
    for number in pinned:
        room.catalog.pin(roots[number])
    users = [room.model(f"u{number}", GB, managed=False, home=False) for number in range(20)]
    used = {str(room.catalog.home / "models" / f"m{number}") for number in range(0, 200, 10)}
    keeper = room.keeper(quota_bytes=900 * GB, low_water=0.5)
    lost: list[str] = []
    started = threading.Barrier(21)

    def download(who: int) -> None:
        started.wait()
        for number in range(5):
            name = f"download {who} {number}"
            etag = made_up(name).digest.hex()
            path = room.catalog.home / "hub" / etag[:2] / etag
            with room.active.temp_pins.hold(str(path)):
                room.blob(name, GB)
                if not path.exists() or not room.catalog.hub_blob(etag):
                    lost.append(name)

    with room.active.temp_pins.hold(*used):
        threads = [threading.Thread(target=download, args=(who,)) for who in range(20)]
        for thread in threads:
            thread.start()
        started.wait()
        while any(thread.is_alive() for thread in threads):
            keeper.collect(is_due=False)
        for thread in threads:
            thread.join()
        done = keeper.collect(is_due=True)
        assert not lost
        assert all(Path(folder, FILES[0]).exists() for folder in used)
    assert done.short_bytes == 0
    assert room.catalog.managed_bytes() <= 450 * GB
    left = names(room)
    assert {f"m{number}" for number in pinned} <= left
    assert all(room.catalog.find_root(root.multihash) for root in users)
    assert_consistent(room.catalog)


_COLLECTOR = """
import sys
from pathlib import Path
from mirrornode.mirror.active import ActiveTransfers
from mirrornode.mirror.keep import Keeper
from mirrornode.mirror.keep_choice import Limits
from mirrornode.store.catalog import open_catalog

with open_catalog(Path(sys.argv[1])) as catalog:
    for left in range(59, 0, -1):
        Keeper(catalog, ActiveTransfers(), Limits(left * 1000, 1.0)).collect(is_due=True)
        sys.stdout.write("one\\n")
        sys.stdout.flush()
"""


def test_gc_when_killed_in_the_middle_then_consistent_after_recovery(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    environment = {**os.environ, "PYTHONPATH": str(Path(mirrornode.__file__).parents[1])}
    for number in range(ROUNDS):
        home = tmp_path / f"home-{number}"
        with open_catalog(home) as catalog:
            room = KeptHome(catalog)
            kept = [room.model(f"m{day}", 1000, day) for day in range(60)][::6]
            for root in kept:
                catalog.pin(root)
        with subprocess.Popen(
            [sys.executable, "-c", _COLLECTOR, str(home)], stdout=subprocess.PIPE, env=environment
        ) as collector:
            assert collector.stdout is not None
            for _ in range(chance.randint(1, 30)):
                collector.stdout.readline()
            for _ in range(chance.randint(0, 300_000)):
                pass  # somewhere inside the next round
            collector.send_signal(signal.SIGKILL)
        with open_catalog(home) as catalog:
            room = KeptHome(catalog)
            room.keeper().recover()
            assert_consistent(catalog)
            assert {root.multihash for root in kept} <= {
                root.cid.multihash for root in catalog.roots() if root.state == "ok"
            }


def test_look_when_a_limit_is_reached_then_frees_at_once_and_else_nothing(
    room: KeptHome,
) -> None:
    for day in range(10):
        room.model(f"m{day}", 10 * GB, day)
    keeper = room.keeper(quota_bytes=100 * GB, low_water=0.8)
    keeping = Keeping(keeper, cast("Pinning", None), cast("Replication", None), room.catalog)
    keeping.look()
    assert room.catalog.managed_bytes() == 100 * GB
    room.blob("one more", GB, day=20)
    keeping.look()
    assert room.catalog.managed_bytes() == 71 * GB


def test_gc_when_the_models_folder_is_on_another_disk_then_frees_all_the_same(
    room: KeptHome, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "big-disk"
    elsewhere.mkdir()
    (room.catalog.home / "models").symlink_to(elsewhere)
    room.model("model", GB)
    assert room.keeper(quota_bytes=1).collect(is_due=True).freed_bytes == GB
    assert not list(elsewhere.iterdir())


def test_gc_when_a_link_leads_out_of_the_store_then_nothing_behind_it_goes(
    room: KeptHome, tmp_path: Path
) -> None:
    room.model("model", GB)
    folder = room.catalog.home / "models" / "model"
    folder.rename(tmp_path / "mine")
    folder.symlink_to(tmp_path / "mine")
    assert not room.keeper(quota_bytes=1).collect(is_due=True).freed
    assert (tmp_path / "mine" / FILES[0]).exists()


def test_gc_when_a_doomed_file_is_held_again_then_it_goes_later(room: KeptHome) -> None:
    etag = room.blob("held", GB)
    managed = room.catalog.managed_files()
    room.catalog.forget_managed(managed.files, managed.pins_seen)
    path = room.catalog.home / "hub" / etag[:2] / etag
    keeper = room.keeper()
    with room.active.temp_pins.hold(str(path)):
        keeper.recover()
        assert path.exists()
    keeper.recover()
    assert not path.exists()
    assert_consistent(room.catalog)


@pytest.mark.parametrize("is_moved", [False, True])
def test_recover_when_stopped_between_the_steps_then_finished(
    room: KeptHome, is_moved: bool
) -> None:
    room.model("gone", GB)
    room.model("back", GB)
    managed = room.catalog.managed_files()
    room.catalog.forget_managed(managed.files, managed.pins_seen)
    room.model("back", GB)  # fetched again before the deletion could be finished
    folder = room.catalog.home / "models" / "gone"
    if is_moved:
        trash = room.catalog.home / "trash"
        trash.mkdir()
        (folder / FILES[0]).rename(trash / "0123")
    room.keeper().recover()
    assert_consistent(room.catalog)
    assert not any((folder / file).exists() for file in FILES)
    assert (room.catalog.home / "models" / "back" / FILES[0]).exists()
