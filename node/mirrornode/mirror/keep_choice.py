"""Which models go when room is short: a pure choice out of sizes, uses and what holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PINNED = "pinned"
IN_USE = "in use"
CHANGED = "changed"  # not what was recorded: somebody wrote to it, it may be the user's work
LINKED = "linked"  # another name of the file is in a cache of the user's: takes no room of ours


@dataclass(frozen=True, slots=True)
class Held:
    """One model, or the part of it that one thing holds.

    Attributes:
        name: For people.
        size_bytes: What deleting it gives back.
        used_at: Unix seconds of the last use of any of its files.
        held_by: Why it must stay: "pinned", "in use", "changed", "linked"; "" when it may go.
    """

    name: str
    size_bytes: int
    used_at: float
    held_by: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the node may keep.

    Attributes:
        quota_bytes: All that the node keeps for itself; 0 = no limit.
        low_water: Part of the quota that is left when something had to go.
        keep_free_bytes: What is to stay free on the disk; 0 = no limit.
    """

    quota_bytes: int = 0
    low_water: float = 0.8
    keep_free_bytes: int = 0

    @property
    def low_water_bytes(self) -> int:
        """What may be left of the quota once something has to go."""
        return int(self.quota_bytes * self.low_water)


def excess_bytes(used_bytes: int, free_bytes: int, limits: Limits, *, is_due: bool) -> int:
    """Return how many bytes are to go, 0 or more.

    Args:
        used_bytes: What the node keeps.
        free_bytes: What is free on the disk.
        is_due: Go down to the low-water mark even if the quota is not reached yet.
    """
    over_quota = 0
    if limits.quota_bytes and (is_due or used_bytes > limits.quota_bytes):
        over_quota = used_bytes - limits.low_water_bytes
    too_full = limits.keep_free_bytes - free_bytes if limits.keep_free_bytes else 0
    return max(0, over_quota, too_full)


def choose(models: Sequence[Held], excess: int) -> list[int]:
    """Return the numbers of the models to free, the least recently used first.

    No more than needed; of equally old ones the largest first. If all that may go is not enough,
    all of it goes.
    """
    free = [number for number, model in enumerate(models) if not model.held_by]
    free.sort(key=lambda number: (models[number].used_at, -models[number].size_bytes))
    chosen: list[int] = []
    for number in free:
        if excess <= 0:
            break
        if models[number].size_bytes > 0:
            chosen.append(number)
            excess -= models[number].size_bytes
    return chosen
