from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from mirrornode.content.block import Block, multihash_of
from mirrornode.content.cid import RAW, SHA2_256, Cid
from mirrornode.errors import CatalogUnusable, PathRefused
from mirrornode.store.catalog import CATALOG_NAME, Catalog, open_catalog


def _blocks(start: int, stop: int) -> list[Block]:
    made = []
    for number in range(start, stop):
        data = number.to_bytes(8, "big") * 16
        made.append(Block(Cid.v1(RAW, multihash_of(SHA2_256, data)), data))
    return made


def test_open_catalog_when_file_is_garbage_then_unusable(home: Path) -> None:
    home.mkdir()
    (home / CATALOG_NAME).write_bytes(random.Random(1).randbytes(8192))
    with pytest.raises(CatalogUnusable, match="damaged"):
        open_catalog(home)


def test_catalog_when_pages_are_damaged_then_unusable_and_not_a_traceback(home: Path) -> None:
    blocks = _blocks(0, 2000)
    with open_catalog(home) as catalog:
        catalog.put_blocks(blocks)
    path = home / CATALOG_NAME
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(2).randbytes(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(CatalogUnusable, match="damaged"), open_catalog(home) as catalog:
        catalog.get_blocks([block.cid.multihash for block in blocks])


def test_open_catalog_when_name_is_taken_by_a_folder_then_refused(home: Path) -> None:
    (home / CATALOG_NAME).mkdir(parents=True)
    with pytest.raises(PathRefused):
        open_catalog(home)


def test_catalog_when_closed_then_says_so(home: Path) -> None:
    catalog = open_catalog(home)
    catalog.close()
    with pytest.raises(CatalogUnusable, match="closed"):
        catalog.roots()
    with pytest.raises(CatalogUnusable, match="closed"):
        catalog.put_blocks([])


def test_write_when_it_fails_half_way_then_nothing_happened(catalog: Catalog) -> None:
    first, second = _blocks(0, 2)

    def broken() -> object:
        yield first
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        catalog.put_blocks(broken())  # type: ignore[arg-type]  # an iterable that breaks
    assert catalog.get_block(first.cid.multihash) is None
    catalog.put_blocks([second])  # the writer is usable again
    assert catalog.get_block(second.cid.multihash) == second.data


def test_read_when_a_write_is_under_way_then_last_committed_state_is_seen(
    catalog: Catalog,
) -> None:
    old, new = _blocks(0, 2)
    catalog.put_blocks([old])
    inside, leave = threading.Event(), threading.Event()

    def slow() -> object:
        yield new
        inside.set()
        leave.wait(30)

    writer = threading.Thread(target=lambda: catalog.put_blocks(slow()))  # type: ignore[arg-type]  # as above
    writer.start()
    assert inside.wait(30)
    seen = catalog.has_blocks([old.cid.multihash, new.cid.multihash])
    leave.set()
    writer.join(30)
    assert seen == {old.cid.multihash}
    assert catalog.has_blocks([new.cid.multihash]) == {new.cid.multihash}


def test_catalog_when_used_by_many_threads_then_every_write_is_there(catalog: Catalog) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for start in range(number * 100, number * 100 + 100, 10):
                blocks = _blocks(start, start + 10)
                catalog.put_blocks(blocks)
                assert len(catalog.get_blocks([b.cid.multihash for b in blocks])) == 10
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(catalog.has_blocks([b.cid.multihash for b in _blocks(0, 1200)])) == 1200


def test_catalog_when_opened_again_then_everything_is_there(home: Path) -> None:
    blocks = _blocks(0, 3)
    with open_catalog(home) as catalog:
        catalog.put_blocks(blocks)
    with open_catalog(home) as catalog:
        found = catalog.get_blocks([block.cid.multihash for block in blocks])
    assert found == {block.cid.multihash: block.data for block in blocks}


def test_put_blocks_when_identity_then_not_kept(catalog: Catalog) -> None:
    cid = Cid.v1(RAW, multihash_of(0, b"inside"))
    catalog.put_blocks([Block.of_identity(cid)])
    assert catalog.get_block(cid.multihash) is None
