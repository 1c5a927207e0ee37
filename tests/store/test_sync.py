"""States of runs of `sync` in the catalog."""

from __future__ import annotations

from pathlib import Path

from mirrornode.store.catalog import open_catalog
from mirrornode.store.sync import KILLED, MAX_REASON, MAX_STATES, OK, RUNNING, SyncState

DONE = SyncState("hf:org/name", "", OK, 10.0, 20.0, 20.0, 0, "hf:org/name@c", 5, 3, 1, "")


def test_state_when_written_then_it_is_there_after_a_restart(tmp_path: Path) -> None:
    with open_catalog(tmp_path) as catalog:
        assert catalog.sync_state("hf:org/name") is None
        catalog.put_sync_state(DONE)
        catalog.put_sync_state(SyncState("hf:org/name", "/ip4/…", RUNNING, 30.0))
    with open_catalog(tmp_path) as catalog:
        assert catalog.sync_state("hf:org/name") == DONE
        assert [state.from_node for state in catalog.sync_states()] == ["", "/ip4/…"]


def test_state_when_its_process_was_killed_then_it_is_over(tmp_path: Path) -> None:
    with open_catalog(tmp_path) as catalog:
        catalog.put_sync_state(DONE)
        catalog.put_sync_state(SyncState("bafy", outcome=RUNNING, started_at=30.0, root="bafy"))
        catalog.close_interrupted_syncs()
        killed = catalog.sync_state("bafy")
        assert killed is not None
        assert (killed.outcome, killed.ended_at, killed.root) == (KILLED, 30.0, "bafy")
        assert catalog.sync_state("hf:org/name") == DONE


def test_states_when_there_are_too_many_then_those_of_long_ago_go(tmp_path: Path) -> None:
    with open_catalog(tmp_path) as catalog:
        for number in range(MAX_STATES + 3):
            catalog.put_sync_state(
                SyncState(f"t{number}", started_at=float(number), reason="x" * 9999)
            )
        states = {state.target: state for state in catalog.sync_states()}
        assert len(states) == MAX_STATES
        assert "t2" not in states
        assert len(states["t3"].reason) == MAX_REASON
