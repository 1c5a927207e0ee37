"""A process killed at any moment leaves a catalog that opens and never tells half a story."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import mirrornode
from mirrornode.store.catalog import CATALOG_NAME, open_catalog

ROUNDS = 12
SEED = 20_251_123
LEAVES = 3_000

_WRITER = """
import sys
from pathlib import Path
from mirrornode.content.cid import Cid
from mirrornode.content.leaf_form import LeafForm
from mirrornode.store.catalog import open_catalog
from mirrornode.store.stamps import FileStamp

home, leaves = Path(sys.argv[1]), int(sys.argv[2])
path = home / "model"
catalog = open_catalog(home)
generation = 0
while True:
    generation += 1
    hashes = [b"\\x12\\x20" + (generation * leaves + n).to_bytes(32, "big") for n in range(leaves)]
    root = Cid(1, 0x55, hashes[0])
    stamp = FileStamp(leaves, generation, 1)
    catalog.record_file(path, stamp, root, leaves, LeafForm.RAW, hashes, [1] * leaves)
    catalog.record_root(cid=root, kind="file", name="model", path=path, size_bytes=leaves,
                        profile="", files=[(path, root)], announce=[root.multihash])
    catalog.save_transfer(root, path, path, generation, 0,
                          generation.to_bytes(8, "big"))
    catalog.close_transfer(Cid(1, 0x55, b"\\x12\\x20" + bytes(32)), path)
    sys.stdout.write(f"{generation}\\n")
    sys.stdout.flush()
"""


def test_catalog_when_killed_while_writing_then_consistent(tmp_path: Path) -> None:
    home = tmp_path / "home"
    chance = random.Random(SEED)
    environment = {**os.environ, "PYTHONPATH": str(Path(mirrornode.__file__).parents[1])}
    for _ in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(home), str(LEAVES)],
            stdout=subprocess.PIPE,
            env=environment,
        ) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randint(1, 4)):
                finished = int(writer.stdout.readline())
            for _ in range(chance.randint(0, 200_000)):
                pass  # somewhere inside the next generation
            writer.send_signal(signal.SIGKILL)
        _check(home, finished)
        (home / CATALOG_NAME).unlink()
        for leftover in home.glob(CATALOG_NAME + "-*"):
            leftover.unlink()


def _check(home: Path, finished: int) -> None:
    with open_catalog(home) as catalog:
        files = list(catalog.all_files())
        assert len(files) == 1
        assert files[0].stamp.mtime_ns >= finished
        assert len(catalog.leaves_of(files[0], 0, 2 * LEAVES)) == LEAVES
        for root in catalog.roots():
            held = catalog.root_files(root.cid)
            assert (root.state == "ok") == (len(held) == 1)
        saved = {record.part_inode: record.leaf_bits for record in catalog.transfers()}
        assert finished in saved  # it was told only after the save was durable
        assert all(bits == inode.to_bytes(8, "big") for inode, bits in saved.items())
    with sqlite3.connect(home / CATALOG_NAME) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
