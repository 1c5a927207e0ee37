"""The history of downloads: kept from the start of each, bounded, summed, anonymous on request."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from mirrornode.store import history
from mirrornode.store.catalog import CATALOG_NAME, Catalog, open_catalog
from mirrornode.store.history import DAY_S, MAX_SOURCES, MAX_TEXT, NODE_KILLED
from mirrornode.store.history_records import (
    OTHER_KIND,
    Download,
    SourceTotals,
    SourceUse,
    kind_of_source,
)

PEER = SourceUse("peer:12D3", "peer", 900, 2.0, 0.02, 0.001, 1, "ok", "fell silent")
ORIGIN = SourceUse("hub:hf.example", "hub", 100, 4.0, 0.3, 0.03)
LIAR = SourceUse("http:bad.example", "http", 0, 1.0, None, None, 0, "wrong", "sent wrong bytes")
POOR = SourceUse("http:poor.example", "http", 0, 1.0, 0.1, 0.2, 0, "lacked", "answered 404")
RUNNING = Download(0, "get", "bafyone", 1000.0)


def ended(at: float, outcome: str = "ok", **more: object) -> Download:
    """Return a download of ten seconds that ended at a moment."""
    values: dict[str, object] = {"received_bytes": 1000, "size_bytes": 1500, **more}
    whole = dataclasses.replace(RUNNING, ended_at=at, seconds=10.0, outcome=outcome)
    return dataclasses.replace(whole, **values)  # type: ignore[arg-type]  # names of fields


def test_download_is_there_from_its_start_and_replaced_at_its_end(catalog: Catalog) -> None:
    number = catalog.save_download(RUNNING)
    (running,) = catalog.downloads()
    assert (running.outcome, running.ended_at, running.sources) == ("running", None, ())
    done = dataclasses.replace(ended(1010.0, root="bafyone"), id=number, sources=(PEER, ORIGIN))
    assert catalog.save_download(done) == number
    assert catalog.downloads() == [done]
    assert done.rate_bytes_per_s == 100.0
    assert PEER.rate_bytes_per_s == 450.0
    assert catalog.save_download(RUNNING) > number
    assert [download.id for download in catalog.downloads(after=number)] == [number + 1]


def test_downloads_are_listed_newest_first_by_time_and_failure(catalog: Catalog) -> None:
    outcomes = ("ok", "partial", "failed", "cancelled")
    for at, outcome in enumerate(outcomes):
        catalog.save_download(ended(float(at), outcome))
    catalog.save_download(RUNNING)
    assert [d.outcome for d in catalog.downloads()] == ["running", *reversed(outcomes)]
    assert [d.outcome for d in catalog.downloads(since=3.0)] == ["running", "cancelled"]
    assert [d.outcome for d in catalog.downloads(only_failed=True)] == ["failed", "partial"]
    assert len(catalog.downloads(limit=2)) == 2


def test_history_when_killed_then_what_ran_has_failed_and_numbers_go_on(home: Path) -> None:
    with open_catalog(home) as catalog:
        first = catalog.save_download(RUNNING)
    with open_catalog(home) as catalog:
        catalog.close_interrupted()
        (killed,) = catalog.downloads()
        assert (killed.outcome, killed.error, killed.ended_at) == ("failed", NODE_KILLED, 1000.0)
        catalog.drop_download(first)
        assert catalog.save_download(RUNNING) == first + 1


def test_history_forgets_by_age_and_by_number(
    catalog: Catalog, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100 * DAY_S
    for at in (9.9, 10.1, 99.0):
        catalog.save_download(dataclasses.replace(ended(at * DAY_S), sources=(PEER,)))
    catalog.save_download(RUNNING)
    catalog.prune_history(now, 90.0)
    assert [download.id for download in catalog.downloads()] == [4, 3, 2]
    monkeypatch.setattr(history, "KEPT_DOWNLOADS", 2)
    catalog.prune_history(now, 90.0)
    assert [download.id for download in catalog.downloads()] == [4, 3]
    catalog.prune_history(now, 0.0)  # nothing is kept, but what runs is
    assert [download.id for download in catalog.downloads()] == [4]
    with sqlite3.connect(home / CATALOG_NAME) as connection:
        assert connection.execute("SELECT count(*) FROM download_sources").fetchone() == (0,)


def test_record_when_it_is_huge_then_its_texts_and_sources_are_bounded(catalog: Catalog) -> None:
    long = "x" * (MAX_TEXT + 1)
    uses = [
        SourceUse(f"peer:{number}{long}", "peer", number, reason=long)
        for number in range(MAX_SOURCES + 5)
    ]
    catalog.save_download(
        dataclasses.replace(RUNNING, target=long, reason=long, sources=tuple(uses))
    )
    (found,) = catalog.downloads()
    assert (len(found.target), len(found.reason)) == (MAX_TEXT, MAX_TEXT)
    assert len(found.sources) == MAX_SOURCES
    assert min(use.received_bytes for use in found.sources) == 5  # those that brought most
    assert {len(use.source_id) for use in found.sources} == {MAX_TEXT}


def test_totals_sum_what_ended_since(catalog: Catalog) -> None:
    assert catalog.history_totals(0.0).success_ratio is None
    assert catalog.history_totals(0.0).rate_bytes_per_s is None
    disk = SourceUse("local:disk", "local", 500)
    catalog.save_download(dataclasses.replace(ended(50.0), sources=(PEER, ORIGIN, disk)))
    catalog.save_download(dataclasses.replace(ended(60.0, "failed"), sources=(PEER, LIAR)))
    catalog.save_download(ended(70.0, "cancelled", received_bytes=0))
    catalog.save_download(ended(10.0, "failed"))
    catalog.save_download(RUNNING)
    totals = catalog.history_totals(50.0)
    assert totals.outcomes == {"ok": 1, "failed": 1, "cancelled": 1}
    assert totals.success_ratio == 0.5
    assert totals.rate_bytes_per_s == 2000 / 20.0  # the one that received nothing does not count
    assert totals.bytes_by_kind == {"peer": 1800, "hub": 100, "http": 0}
    assert totals.rtt_by_kind == {"peer": 0.001, "hub": 0.03}


def test_source_totals_judge_each_source_by_its_own_outcomes(catalog: Catalog) -> None:
    broken = dataclasses.replace(PEER, received_bytes=0, outcome="failed")
    catalog.save_download(dataclasses.replace(ended(50.0), sources=(PEER, POOR)))
    catalog.save_download(dataclasses.replace(ended(60.0), sources=(broken, LIAR)))
    assert catalog.source_totals(0.0) == [
        SourceTotals("peer:12D3", "peer", 2, 1, 900, 4.0),
        SourceTotals("http:bad.example", "http", 1, 1, 0, 1.0),
    ]
    assert catalog.source_totals(55.0)[0].uses == 1


def test_anonymise_when_names_were_kept_then_totals_are_left(catalog: Catalog) -> None:
    named = ended(10.0, "failed", error="SourceGone", reason="peer:12D3 left", root="bafyone")
    catalog.save_download(dataclasses.replace(named, sources=(PEER, ORIGIN)))
    before = catalog.history_totals(0.0)
    catalog.anonymise_history()
    (found,) = catalog.downloads()
    assert (found.target, found.root, found.reason) == ("", "", "")
    assert found.error == "SourceGone"
    assert [(use.source_id, use.kind, use.reason) for use in found.sources] == [
        ("", "peer", ""),
        ("", "hub", ""),
    ]
    assert catalog.history_totals(0.0) == before


def test_download_when_its_outcome_is_unknown_then_it_is_a_bug(catalog: Catalog) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        catalog.save_download(dataclasses.replace(RUNNING, outcome="fine"))
    with pytest.raises(sqlite3.IntegrityError):
        catalog.save_download(dataclasses.replace(RUNNING, outcome="ok"))  # and no end


@pytest.mark.parametrize(
    ("source_id", "kind"),
    [("peer:12D3", "peer"), ("hub:https://x", "hub"), ("evil:<b>", OTHER_KIND), ("", OTHER_KIND)],
)
def test_kinds_of_sources_are_few(source_id: str, kind: str) -> None:
    assert kind_of_source(source_id) == kind
