"""What an earlier run left: believed only where it is proven or was claimed of this very part."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.content.recipe import Recipe
from mirrornode.store.catalog import Catalog
from mirrornode.transfer.journal import JOURNALED_LEAVES, Journal, pack, unpack
from mirrornode.transfer.outputs import OutputFile
from support.models import LEAF, inline_model, model_of

MODEL = model_of()
LEAVES = MODEL.file.map.leaves
ALL = bytearray(b"\x01" * LEAVES)
NONE = bytearray(LEAVES)


def output_of(tmp_path: Path) -> OutputFile:
    return OutputFile(MODEL.file, tmp_path / "out.bin")


def claim(catalog: Catalog, output: OutputFile, data: bytes, done: bytes) -> None:
    """Leave a part behind as a transfer would: written, synced, claimed, closed."""
    output.write(memoryview(data), 0)
    Journal(catalog).claim(output, done)
    output.close()


def resume(catalog: Catalog, tmp_path: Path) -> bytearray:
    return Journal(catalog).resume(output_of(tmp_path)).done


@given(st.lists(st.booleans(), max_size=70))
def test_bits_round_trip(done: list[bool]) -> None:
    given_map = bytes(done)
    assert unpack(pack(given_map), len(done)) == given_map


@pytest.mark.parametrize("bits", [b"", b"\xff", b"\xff" * 3])
def test_bits_when_their_number_is_wrong_then_they_claim_nothing(bits: bytes) -> None:
    assert unpack(bits, LEAVES) == NONE


def test_resume_when_nothing_is_there_then_nothing(catalog: Catalog, tmp_path: Path) -> None:
    found = Journal(catalog).resume(output_of(tmp_path))
    assert (found.done, found.is_final) == (NONE, False)


def test_claim_when_the_part_is_as_it_was_then_believed_unread(
    catalog: Catalog, tmp_path: Path
) -> None:
    # The claim says more than the bytes prove, to see that it is what is believed.
    claim(catalog, output_of(tmp_path), bytes(len(MODEL.data)), bytes(ALL))
    assert resume(catalog, tmp_path) == ALL


def touched(part: Path) -> None:
    os.utime(part, ns=(0, part.stat().st_mtime_ns + 1))


def replaced(part: Path) -> None:
    status = part.stat()
    data = part.read_bytes()
    part.rename(part.with_suffix(".old"))
    part.write_bytes(data)
    os.utime(part, ns=(0, status.st_mtime_ns))


@pytest.mark.parametrize("change", [touched, replaced])
def test_claim_when_the_part_was_changed_since_then_every_leaf_is_hashed(
    catalog: Catalog, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    output = output_of(tmp_path)
    damaged = bytearray(MODEL.data)
    damaged[3 * LEAF] ^= 1
    claim(catalog, output, bytes(damaged), bytes(ALL))
    change(output.part)
    expected = bytearray(ALL)
    expected[3] = 0
    assert resume(catalog, tmp_path) == expected


def test_resume_when_the_crash_came_before_any_claim_then_what_is_right_is_kept(
    catalog: Catalog, tmp_path: Path
) -> None:
    output_of(tmp_path).part.write_bytes(MODEL.data[: 4 * LEAF].ljust(len(MODEL.data), b"\0"))
    assert resume(catalog, tmp_path) == bytearray([1] * 4 + [0] * (LEAVES - 4))


def test_resume_when_the_part_has_holes_then_they_are_skipped(
    catalog: Catalog, tmp_path: Path
) -> None:
    model = model_of(3 * 1_000_000)  # holes come in blocks of the file system
    output = OutputFile(model.file, tmp_path / "out.bin")
    with output.part.open("wb") as part:
        part.truncate(len(model.data))
        part.seek(1_000_000)
        part.write(model.data[1_000_000:1_100_000])
    done = Journal(catalog).resume(output).done
    assert done == bytearray([0] * 1000 + [1] * 100 + [0] * 1900)


def test_resume_when_the_part_has_another_size_then_nothing(
    catalog: Catalog, tmp_path: Path
) -> None:
    output_of(tmp_path).part.write_bytes(MODEL.data + b"x")
    assert resume(catalog, tmp_path) == NONE


@pytest.mark.parametrize("there", [3 * LEAF, 3 * LEAF + 1, LEAVES * LEAF])
def test_resume_when_a_small_part_has_grown_so_far_then_that_is_kept(
    catalog: Catalog, tmp_path: Path, there: int
) -> None:
    # Space is not reserved for files that take next to none: their parts are shorter.
    output_of(tmp_path).part.write_bytes(MODEL.data[:there])
    leaves = LEAVES if there == len(MODEL.data) else there // LEAF
    assert sum(resume(catalog, tmp_path)) == leaves


def test_resume_when_a_leaf_was_arriving_then_its_beginning_is_noted(
    catalog: Catalog, tmp_path: Path
) -> None:
    model = model_of(40_000, Recipe("custom", "size-10000", 4, raw_leaves=True, cid_version=1))
    damaged = bytearray(model.data)
    damaged[10_000 + 6000 : 20_000] = bytes(4000)  # cut off
    damaged[20_000 + 100 : 30_000] = bytes(9900)  # too little to be worth it
    damaged[30_000] ^= 1  # all there, and wrong
    output = OutputFile(model.file, tmp_path / "out.bin")
    output.part.write_bytes(damaged)
    found = Journal(catalog).resume(output)
    assert found.done == b"\x01\x00\x00\x00"
    assert found.begun == {1: 6000}


def test_resume_when_the_part_is_a_symlink_then_nothing(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(MODEL.data)
    output_of(tmp_path).part.symlink_to(tmp_path / "elsewhere")
    assert resume(catalog, tmp_path) == NONE


def test_resume_when_the_final_file_is_right_then_nothing_is_to_do(
    catalog: Catalog, tmp_path: Path
) -> None:
    output_of(tmp_path).path.write_bytes(MODEL.data)
    found = Journal(catalog).resume(output_of(tmp_path))
    assert (found.done, found.is_final) == (ALL, True)


@pytest.mark.parametrize("leaf", [0, LEAVES - 1])
def test_resume_when_the_final_file_is_wrong_then_it_is_to_do_again(
    catalog: Catalog, tmp_path: Path, leaf: int
) -> None:
    wrong = bytearray(MODEL.data)
    wrong[leaf * LEAF] ^= 1
    output_of(tmp_path).path.write_bytes(wrong)
    found = Journal(catalog).resume(output_of(tmp_path))
    assert (found.done, found.is_final) == (NONE, False)


def test_resume_when_bytes_outside_of_leaves_are_wrong_then_not_final(
    catalog: Catalog, tmp_path: Path
) -> None:
    # A tree without leaves proves nothing by having all of them.
    model = inline_model(b"the right bytes")
    output = OutputFile(model.file, tmp_path / "small.txt")
    output.path.write_bytes(b"THE WRONG BYTES")
    assert not Journal(catalog).resume(output).is_final
    output.path.write_bytes(b"the right bytes")
    assert Journal(catalog).resume(output).is_final


def test_resume_when_the_file_is_empty_then_no_leaf_is_to_fetch(
    catalog: Catalog, tmp_path: Path
) -> None:
    output = OutputFile(model_of(0).file, tmp_path / "empty")
    found = Journal(catalog).resume(output)
    assert (found.done, found.is_final) == (bytearray(b"\x01"), False)
    output.finish()
    assert output.path.read_bytes() == b""
    assert Journal(catalog).resume(output).is_final


def test_claims_are_forgotten_when_the_file_is_finished(catalog: Catalog, tmp_path: Path) -> None:
    output = output_of(tmp_path)
    claim(catalog, output, MODEL.data, bytes(ALL))
    assert len(catalog.transfers()) == 1
    Journal(catalog).forget(output)
    assert catalog.transfers() == []


def test_small_files_leave_no_claims(catalog: Catalog, tmp_path: Path) -> None:
    model = model_of((JOURNALED_LEAVES - 1) * LEAF)
    output = OutputFile(model.file, tmp_path / "small.bin")
    claim(catalog, output, model.data, b"\x01" * (JOURNALED_LEAVES - 1))
    assert catalog.transfers() == []
