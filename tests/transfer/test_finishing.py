"""How many threads give files their names: as many as the disk makes wait."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mirrornode.errors import PathRefused
from mirrornode.transfer.disk import RealDisk
from mirrornode.transfer.finishing import FEW, Finishers
from mirrornode.transfer.outputs import OutputFile
from support.models import folder_of
from support.shared_files import content

COUNT = 200
HERE = threading.current_thread().name


class TickingDisk(RealDisk):
    """A disk that is the clock as well: it goes on with every sync."""

    def __init__(self, sync_s: float) -> None:
        self.syncs_by: list[str] = []
        self._sync_s = sync_s

    def clock(self) -> float:
        return len(self.syncs_by) * self._sync_s

    def sync(self, descriptor: int) -> None:
        self.syncs_by.append(threading.current_thread().name)

    @property
    def alone(self) -> int:
        """How many files the thread that asked has finished itself."""
        return self.syncs_by.count(HERE)


def written(folder: Path, disk: TickingDisk) -> list[OutputFile]:
    model = folder_of({f"{number:04}": content(1 + number) for number in range(COUNT)})
    made = []
    for file in model.manifest.files:
        output = OutputFile(file, folder / file.path, disk)
        output.write(memoryview(model.bytes_of(file)), 0)
        made.append(output)
    return made


def finish(disk: TickingDisk, made: list[OutputFile]) -> None:
    finishers = Finishers(disk.clock)
    try:
        finishers.finish(made[: COUNT // 2])
        finishers.finish(made[COUNT // 2 :])
    finally:
        finishers.close()


@pytest.mark.parametrize(
    ("sync_s", "least", "most"),
    [(0.0001, COUNT, COUNT), (0.0005, FEW + 1, COUNT - 1), (0.01, FEW, FEW)],
    ids=["memory", "solid state", "hard disk"],
)
def test_finishing_when_the_disk_makes_wait_then_by_more_threads(
    tmp_path: Path, sync_s: float, least: int, most: int
) -> None:
    disk = TickingDisk(sync_s)
    made = written(tmp_path, disk)
    finish(disk, made)
    assert all(output.is_finished for output in made)
    assert len(disk.syncs_by) == COUNT
    assert least <= disk.alone <= most


@pytest.mark.parametrize("sync_s", [0.0001, 0.01])
def test_finishing_when_a_part_is_gone_then_told(tmp_path: Path, sync_s: float) -> None:
    disk = TickingDisk(sync_s)
    made = written(tmp_path, disk)
    made[COUNT // 2].part.unlink()
    with pytest.raises(PathRefused, match="goes on"):
        finish(disk, made)
    assert not made[COUNT // 2].is_finished
