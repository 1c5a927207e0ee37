"""The history of mirrors: kept, bounded, newest first."""

from __future__ import annotations

import sqlite3

import pytest

from mirrornode.store.catalog import Catalog
from mirrornode.store.mirrors import KEPT_MIRRORS, KEPT_USES
from mirrornode.store.records import MirrorUse


def use(mirror: str, at: float, outcome: str = "ok") -> MirrorUse:
    return MirrorUse(mirror, at, 1000, 0.5, 0.01, outcome)


def test_uses_are_found_by_mirror_the_newest_first(catalog: Catalog) -> None:
    one, two, other = use("a", 1.0), use("a", 2.0, "wrong"), use("b", 3.0, "failed")
    catalog.note_mirror_uses([one, two, other])
    assert catalog.mirror_uses(["a", "b", "c"]) == {"a": [two, one], "b": [other], "c": []}


def test_uses_when_many_then_only_the_newest_are_kept(catalog: Catalog) -> None:
    catalog.note_mirror_uses([use("b", 0.0)])
    catalog.note_mirror_uses([use("a", float(number)) for number in range(KEPT_USES + 7)])
    found = catalog.mirror_uses(["a", "b"])
    assert [item.at for item in found["a"]] == [float(n) for n in range(KEPT_USES + 6, 6, -1)]
    assert len(found["b"]) == 1


def test_mirrors_when_many_then_those_used_last_are_kept(catalog: Catalog) -> None:
    names = [f"m{number}" for number in range(KEPT_MIRRORS + 3)]
    catalog.note_mirror_uses([use(name, 0.0) for name in names])
    catalog.note_mirror_uses([use("m0", 1.0)])  # gone by then, and new now
    found = catalog.mirror_uses(names)
    assert [name for name in names if not found[name]] == ["m1", "m2", "m3"]


def test_uses_when_the_outcome_is_unknown_then_it_is_a_bug(catalog: Catalog) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        catalog.note_mirror_uses([use("a", 0.0, "fine")])
