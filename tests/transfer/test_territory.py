"""The parts of a row that each of a crowd goes for first."""

from __future__ import annotations

from collections import Counter

from mirrornode.transfer.territory import MAX_OTHERS, PARTS, Territory

LEAVES = 1024
NAMES = [f"peer:{letter}" for letter in "abcdefgh"]


def territory_of(own: str, names: list[str]) -> Territory:
    territory = Territory(own)
    for name in names:
        if name != own:
            territory.change(name, is_taker=True)
    return territory


def covered(stretches: object) -> list[int]:
    assert isinstance(stretches, list)
    return [leaf for lo, hi in stretches for leaf in range(lo, hi)]


def test_territory_alone_is_the_whole_row_in_order() -> None:
    assert list(Territory("peer:a").stretches(LEAVES)) == [(0, LEAVES)]


def test_territory_of_each_covers_the_row_once() -> None:
    for leaves in (1, 5, 127, 128, LEAVES):
        assert sorted(covered(territory_of("peer:a", NAMES).stretches(leaves))) == list(
            range(leaves)
        )


def test_territories_begin_with_parts_that_no_other_begins_with() -> None:
    firsts: Counter[int] = Counter()
    share = LEAVES // len(NAMES)
    for name in NAMES:
        own = covered(territory_of(name, NAMES).stretches(LEAVES))
        firsts.update(own[: share // 2])
    assert max(firsts.values()) == 1
    orders = [covered(territory_of(name, NAMES[::-1]).stretches(LEAVES)) for name in NAMES]
    again = [covered(territory_of(name, NAMES).stretches(LEAVES)) for name in NAMES]
    assert orders == again  # whatever the order in which they met


def test_territory_when_a_taker_leaves_then_its_parts_fall_to_the_others() -> None:
    territory = territory_of("peer:a", NAMES[:2])
    before = covered(territory.stretches(LEAVES))
    territory.change("peer:b", is_taker=False)
    assert list(territory.stretches(LEAVES)) == [(0, LEAVES)]
    territory.change("peer:b", is_taker=True)
    assert covered(territory.stretches(LEAVES)) == before


def test_territory_bounds_the_takers_it_counts() -> None:
    territory = territory_of("peer:a", [f"peer:{n}" for n in range(2 * MAX_OTHERS)])
    assert len(territory.others) == MAX_OTHERS
    assert len(covered(territory.stretches(PARTS))) == PARTS


def test_territory_is_shared_with_takers_only() -> None:
    territory = Territory("peer:a")
    for source_id in ("local:disk", "http:mirror.example", "gateway:other.example"):
        territory.change(source_id, is_taker=True)
    assert not territory.others
