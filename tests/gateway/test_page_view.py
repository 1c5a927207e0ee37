"""What the page makes of the records of the verbs: pure."""

from __future__ import annotations

from typing import Any

import pytest

from mirrornode.gateway.page_view import (
    MAX_ROWS,
    MAX_TEXT,
    Glance,
    Survey,
    glance_sections,
    link_records,
    shared_records,
    survey_sections,
)
from support.page_scene import COMMIT, PEERS, SECRET, pin, repo, root

CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
OPEN = "org/open"


def source(source_id: str, size_bytes: int, **more: Any) -> dict[str, Any]:
    return {
        "source_id": source_id,
        "kind": source_id.partition(":")[0],
        "received_bytes": size_bytes,
        "rate_bytes_per_s": 10.0,
        "state": "active",
        "rtt_s": None,
        "reason": "answered 404 to /data/secret",
        **more,
    }


def download(target: str, **more: Any) -> dict[str, Any]:
    return {"id": 1, "target": target, "root": target, "out": "/data/x", "sources": [], **more}


def shared(survey: Survey, *, is_owner: bool = True) -> dict[str, dict[str, Any]]:
    return {one["target"]: one for one in shared_records(survey, is_owner=is_owner)}


def test_repo_is_complete_when_all_its_bytes_are_here() -> None:
    repos = [repo(OPEN, 100, "mit"), repo("org/half", 100, "mit", here=0.5)]
    found = shared(Survey(repos=repos))
    assert found[f"hf:{OPEN}@{COMMIT}"]["state"] == "ok"
    half = found[f"hf:org/half@{COMMIT}"]
    assert (half["state"], half["here_bytes"], half["size_bytes"]) == ("partial", 50, 100)


def test_repo_of_which_nothing_is_here_is_shown_when_it_is_pinned() -> None:
    away = repo(OPEN, 100, "mit", here=0.0)
    assert shared(Survey(repos=[away])) == {}
    pinned = Survey(repos=[away], pins=[pin(f"hf:{OPEN}@{COMMIT}/sub", "part", 0, ())])
    (only,) = shared(pinned).values()
    assert only["pins"] == [{"target": f"hf:{OPEN}@{COMMIT}/sub", "name": "part"}]


def test_who_has_it_are_holders_of_copies_and_who_gave_it() -> None:
    survey = Survey(
        roots=[root("m.bin", CID, 5)],
        pins=[pin(CID, "kept", 1, PEERS[:1])],
        downloads=[download(CID, sources=[source(f"peer:{PEERS[1]}", 5), source("hub:h", 5)])],
    )
    (only,) = shared(survey).values()
    assert [(one["peer_id"], one["state"]) for one in only["holders"]] == [
        (PEERS[0], "kept"),
        (PEERS[1], "gave"),
    ]
    assert only["replicas"] == 1


def test_pin_of_what_is_not_here_is_shown_alone() -> None:
    (only,) = shared(Survey(pins=[pin(CID, "", 0, ())])).values()
    assert (only["target"], only["state"], only["here_bytes"]) == (CID, "unknown", None)


@pytest.mark.parametrize("hidden", [{"private": True}, {"gated": "manual"}])
def test_reader_does_not_learn_that_a_closed_repo_is_here(hidden: dict[str, Any]) -> None:
    target = f"hf:{SECRET}@{COMMIT}"
    survey = Survey(
        status={
            "home": "/data",
            "listen": ["/ip4/10.0.0.1"],
            "version": "1",
            "uptime_s": 3.0,
            "syncs": [
                {"target": name, "from_node": "http://10.0.0.1:1", "reason": "10.0.0.1 is away"}
                for name in ("/data/x", f"hf:{SECRET}", "pins:http://10.0.0.1:1", f"hf:{OPEN}@main")
            ],
        },
        roots=[root("m.bin", CID, 5)],
        repos=[repo(SECRET, 10, "mit", **hidden), repo(OPEN, 10, "mit")],
        pins=[pin(target, "", 0, ())],
        downloads=[download(target), download(f"hf:{OPEN}@{COMMIT}"), download("hf:")],
    )
    text = str(survey_sections(survey, is_owner=False))
    for word in (SECRET, "/data", "10.0.0.1", "private-name"):
        assert word not in text
    assert OPEN in text
    assert CID in text
    assert [one["target"] for one in survey_sections(survey, is_owner=False)["syncs"]["rows"]] == [
        f"hf:{OPEN}@main"
    ]
    assert SECRET in str(survey_sections(survey, is_owner=True))
    glance = Glance([download(target, sources=[source("peer:x", 1)]), download(CID)], [])
    shown = glance_sections(glance, survey.open_repos, is_owner=False)["transfers"]["rows"]
    assert [one["target"] for one in shown] == ["", CID]
    assert "/data" not in str(shown)


def test_links_add_up_what_came_and_what_went() -> None:
    peers = [{"peer_id": "a", "agent": "x", "address": "/ip4/1.2.3.4", "rtt_s": 0.5}]
    running = [
        download(CID, sources=[source("peer:a", 5), source("http:h", 7, state="idle", rtt_s=0.1)]),
        download(CID, sources=[source("bitswap:a", 1), source("local:disk", 99)]),
    ]
    links = link_records(peers, running, {"peer:a": 100, "": 5}, {"b": 50}, {"b": 2.4})
    by_id = {link["id"]: link for link in links}
    assert set(by_id) == {"peer:a", "http:h", "peer:b"}
    assert (by_id["peer:a"]["in_bytes"], by_id["peer:a"]["in_rate"]) == (106, 20)
    assert (by_id["peer:a"]["is_connected"], by_id["peer:a"]["rtt_s"]) == (True, 0.5)
    assert (by_id["http:h"]["in_rate"], by_id["http:h"]["rtt_s"]) == (0, 0.1)
    assert (by_id["peer:b"]["out_bytes"], by_id["peer:b"]["out_rate"]) == (50, 2)
    assert by_id["peer:b"]["is_connected"] is False
    assert [link["id"] for link in links] == ["peer:a", "peer:b", "http:h"]


def test_lists_and_texts_are_bounded() -> None:
    roots = [root("n" * 10_000, f"cid-{number}", 1) for number in range(MAX_ROWS + 5)]
    section = survey_sections(Survey(roots=roots), is_owner=True)["shared"]
    assert (len(section["rows"]), section["total"]) == (MAX_ROWS, MAX_ROWS + 5)
    assert len(section["rows"][0]["name"]) == MAX_TEXT


def test_what_changes_each_second_is_not_in_what_changes_now_and_then() -> None:
    status = {"uptime_s": 1.0, "transfers": [], "version": "1", "alerts": [{"rule": "x"}]}
    sections = survey_sections(Survey(status=status), is_owner=True)
    assert sections["node"] == {"version": "1"}
    assert sections["alerts"] == {"rows": [{"rule": "x"}], "total": 1}
