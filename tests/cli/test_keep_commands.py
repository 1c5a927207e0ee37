"""`pin`, `unpin` and `gc` as people and scripts see them."""

from __future__ import annotations

import pytest

from cli.conftest import Run
from cli.fakes import CID, COLLECTED, PIN, FakeFactory


def test_pin_when_done_then_told_what_it_took(run: Run, factory: FakeFactory) -> None:
    outcome = run("pin", CID, "--name", "production", "--replicas", "2")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        f"pinned {CID} (2.00 MB, fetched 2.00 MB)",
        "copies: 1 of 2 kept, 1 on the way",
    ]
    assert factory.fake.calls == [
        ("pin", {"target": CID, "name": "production", "replicas": 2, "peers": []})
    ]


def test_pin_when_json_then_one_record(run: Run) -> None:
    assert run("pin", CID, "--json").records == [
        {**PIN, "was_here": False, "fetched_bytes": 2_000_000}
    ]


def test_pin_when_listed_then_a_table_or_one_record_a_line(run: Run, factory: FakeFactory) -> None:
    other = {**PIN, "owner": "12D3KooWabcdefghijkl", "replicas": 0, "name": "", "holders": []}
    factory.fake.kept = [PIN, other]
    assert run("pin", "--list", "--json").records == [PIN, other]
    head, one, two = run("pin", "--list").out.splitlines()
    assert head.split() == ["TARGET", "SIZE", "COPIES", "FOR", "NAME"]
    assert one.split() == [
        CID, "2.00", "MB", "1", "of", "2,", "1", "coming", "you", "production",
    ]  # fmt: skip
    assert two.split() == [CID, "2.00", "MB", "-", "peer", "…efghijkl", "-"]
    factory.fake.kept = []
    assert "nothing is pinned" in run("pin", "--list").err


@pytest.mark.parametrize(
    "argv", [["pin"], ["pin", CID, "--list"], ["pin", CID, "--replicas", "-1"]]
)
def test_pin_when_it_makes_no_sense_then_2(run: Run, argv: list[str]) -> None:
    assert run(*argv).code == 2


def test_unpin_when_done_then_every_pin_is_named(run: Run, factory: FakeFactory) -> None:
    assert run("unpin", CID).out.splitlines() == [f"unpinned {CID} (production)", f"unpinned {CID}"]
    run("unpin", CID, "--name", "x", "--json")
    assert factory.fake.calls[-1] == ("unpin", {"target": CID, "name": "x"})


def test_unshare_when_done_then_told_what_and_that_nothing_else_happened(
    run: Run, factory: FakeFactory
) -> None:
    assert run("unshare", "one", CID).out.splitlines() == [
        "no longer shared: /models/one",
        "(3 files, 2.00 MB; nothing on disk has changed)",
        f"no longer shared: /models/{CID}",
        "(3 files, 2.00 MB; nothing on disk has changed)",
    ]
    assert factory.fake.calls == [("unshare", {"target": "one"}), ("unshare", {"target": CID})]
    assert [record["files"] for record in run("unshare", "one", CID, "--json").records] == [3, 3]
    assert run("unshare").code == 2


def test_gc_when_run_then_models_and_sums(run: Run, factory: FakeFactory) -> None:
    outcome = run("gc", "--keep-free", "50GB")
    lines = outcome.out.splitlines()
    assert lines[1].startswith("org/old@cccccccccccc  2.00 MB  ")
    assert lines[2:] == [
        "freed 3.00 MB: 1 model, 4 files, 1.00 MB of them leftovers",
        "kept 9.00 MB of 10.0 MB; 9.00 MB pinned",
    ]
    assert "1.00 MB more should go" in outcome.err
    assert factory.fake.calls == [("gc", {"dry_run": False, "keep_free_bytes": 50 * 10**9})]


def test_gc_when_dry_then_says_would(run: Run) -> None:
    assert "would free 3.00 MB" in run("gc", "--dry-run").out
    assert run("gc", "--dry-run", "--json").records == [{**COLLECTED, "dry_run": True}]


def test_gc_when_the_size_is_none_then_2(run: Run, factory: FakeFactory) -> None:
    outcome = run("gc", "--keep-free", "lots")
    assert (outcome.code, factory.fake.calls) == (2, [])
    assert "--keep-free" in outcome.err


def test_gc_when_no_limit_is_set_then_says_so(run: Run, factory: FakeFactory) -> None:
    factory.fake.collected = {**COLLECTED, "quota_bytes": 0}
    assert "no limit is set" in run("gc").err
