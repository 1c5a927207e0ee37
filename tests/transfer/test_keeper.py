"""What of a slow leaf is saved while it arrives, and what is left alone."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from mirrornode.content.recipe import Recipe
from mirrornode.transfer.keeper import KEEP_BYTES, READER_BYTES, Keeper, keep
from mirrornode.transfer.outputs import OutputFile
from mirrornode.transfer.worker import Arriving
from support.forgetful_disk import FailingDisk
from support.models import model_of

LEAF_BYTES = 100_000
MODEL = model_of(
    3 * LEAF_BYTES, Recipe("custom", f"size-{LEAF_BYTES}", 4, raw_leaves=True, cid_version=1)
)


def opened(folder: Path) -> OutputFile:
    output = OutputFile(MODEL.file, folder / "out.bin")
    output.open()
    return output


def second_leaf(output: OutputFile, began_at_bytes: int = 0) -> Arriving:
    view = memoryview(bytearray(MODEL.data[LEAF_BYTES : 2 * LEAF_BYTES]))
    return Arriving(output, 1, LEAF_BYTES, view, began_at_bytes)


def held(output: OutputFile) -> bytes:
    return output.part.read_bytes()[LEAF_BYTES : 2 * LEAF_BYTES].rstrip(b"\0")


def test_leaf_is_saved_as_it_grows(tmp_path: Path) -> None:
    output = opened(tmp_path)
    arriving = second_leaf(output, began_at_bytes=7)
    keep(arriving, 7 + READER_BYTES + KEEP_BYTES - 1)
    assert held(output) == b""
    for there in (KEEP_BYTES, 60_000, 60_001, 85_000):
        keep(arriving, 7 + READER_BYTES + there)
    assert held(output) == MODEL.data[LEAF_BYTES:][:85_000]


def test_leaf_when_its_lane_is_at_the_next_one_then_nothing_goes_beyond_it(tmp_path: Path) -> None:
    output = opened(tmp_path)
    keep(second_leaf(output), 10 * LEAF_BYTES)
    assert held(output) == MODEL.data[LEAF_BYTES : 2 * LEAF_BYTES - READER_BYTES]
    assert not any(output.part.read_bytes()[2 * LEAF_BYTES :])


def test_leaf_when_the_disk_refuses_for_a_while_then_nothing_is_left_out(tmp_path: Path) -> None:
    disk = FailingDisk(write=[errno.ENOSPC, 0])
    output = OutputFile(MODEL.file, tmp_path / "out.bin", disk)
    arriving = second_leaf(output)
    keep(arriving, 50_000)
    assert held(output) == b""
    keep(arriving, 60_000)
    assert held(output) == MODEL.data[LEAF_BYTES:][: 60_000 - READER_BYTES]


def test_leaf_when_it_is_verified_meanwhile_then_left_alone(tmp_path: Path) -> None:
    output = opened(tmp_path)
    arriving = second_leaf(output)
    output.write(arriving.view, LEAF_BYTES)
    arriving.view[:] = b"x" * LEAF_BYTES  # the next leaf is in the buffer
    keep(arriving, LEAF_BYTES)
    assert held(output) == MODEL.data[LEAF_BYTES : 2 * LEAF_BYTES]


class SlowLane:
    """What the keeper sees of a lane; remembers how often it was looked at."""

    def __init__(self, arriving: Arriving) -> None:
        self.received_bytes = 50_000
        self.looks = 0
        self.seen = threading.Event()
        self._arriving = arriving

    @property
    def arriving(self) -> Arriving:
        self.looks += 1
        if self.looks > 3:
            self.seen.set()
        return self._arriving


def look_at(lane: SlowLane) -> None:
    """Run a keeper until it has looked often enough, and end it."""
    keeper = Keeper(lambda: [lane])
    keeper.start()
    assert lane.seen.wait(30)
    keeper.stop()
    keeper.join(30)
    assert not keeper.is_alive()


def test_keeper_saves_what_stays_under_way_and_ends(tmp_path: Path) -> None:
    output = opened(tmp_path)
    lane = SlowLane(second_leaf(output))
    look_at(lane)
    assert held(output) == MODEL.data[LEAF_BYTES:][: 50_000 - READER_BYTES]


def test_keeper_when_each_look_finds_another_leaf_then_it_writes_nothing(tmp_path: Path) -> None:
    output = opened(tmp_path)

    class FastLane(SlowLane):
        @property
        def arriving(self) -> Arriving:
            self._arriving = second_leaf(output)
            return super().arriving

    lane = FastLane(second_leaf(output))
    look_at(lane)
    assert held(output) == b""
