"""A small run of the simulation: sweeps reach the nearest servers with few look-ups."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mirrornode.routing.announcing import PUBLIC_SETTINGS
from mirrornode.store.catalog import open_catalog
from support.announce_sim import Internet, one_by_one, sweep
from support.dht_room import multihash_of
from support.virtual_time import run_virtual

SERVERS = 300
HOURLY = dataclasses.replace(PUBLIC_SETTINGS, repeat_s=3600.0)
KEYS = [multihash_of(f"root {number}") for number in range(400)]


def test_sweep_needs_few_look_ups_and_reaches_the_20_nearest(tmp_path: Path) -> None:
    net = Internet(SERVERS, dead_share=0.1, seed=1)
    with open_catalog(tmp_path) as catalog:
        first, repeated = run_virtual(sweep(net, catalog, KEYS, 1.2, HOURLY))
        state = catalog.sweep_state("public")
    assert first.reached >= 0.95
    assert first.look_ups <= 60  # one by one: 400
    assert first.traffic.requests <= 6 * SERVERS
    assert repeated.reached >= 0.95
    assert repeated.look_ups <= 60
    assert 0.7 * SERVERS <= state.servers <= 1.3 * SERVERS


def test_one_by_one_is_what_it_is_compared_with() -> None:
    net = Internet(SERVERS, dead_share=0.0, seed=1)
    outcome = run_virtual(one_by_one(net, KEYS[:10]))
    assert outcome.look_ups == 10
    assert outcome.reached >= 0.95
