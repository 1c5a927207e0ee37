"""Every verb: its JSON, its text, and what it asks of the client."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import datetime
from pathlib import Path

import pytest

from cli.conftest import Run
from cli.fakes import (
    ADDED,
    CID,
    EXPORTED,
    GOT,
    HUB_REPORT,
    IMPORTED_ROOT,
    IN_STEP,
    MEASURED,
    NAME,
    PEER,
    REPO,
    ROOT,
    STATUS,
    FakeFactory,
)
from mirrornode.events import GetProgress, Note
from mirrornode_cli.commands import get
from mirrornode_cli.commands.status import status_lines
from mirrornode_cli.context import Ready


def test_add_when_json_then_one_object_a_path_with_the_contract_fields(run: Run) -> None:
    outcome = run("add", "/a", "/b", "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    assert len(outcome.records) == 2
    assert {"cid", "name", "path", "size_bytes", "leaves", "seconds", "profile"} <= set(
        outcome.records[0]
    )
    assert outcome.records[0]["cid"] == ADDED.cid


def test_add_when_human_then_added_line_on_stdout_and_the_rest_on_stderr(run: Run) -> None:
    outcome = run("add", "/a")
    assert outcome.out == f"added {CID} model\n"
    assert outcome.err == "  2.00 MB, 3 files, 0.50 s, 4.00 MB/s\n"


def test_add_when_flags_are_given_then_the_client_gets_them(run: Run, factory: FakeFactory) -> None:
    flags = ["--name", "n", "--profile", "unixfs-v0-2015", "--chunker", "size-1024"]
    flags += ["--no-raw-leaves", "--cid-version", "0", "--max-links", "174"]
    run("add", "/a", *flags, "--wrap", "--only-hash", "--copy", "--hidden")
    [(verb, arguments)] = factory.fake.calls
    assert verb == "add"
    assert [str(path) for path in arguments.pop("paths")] == ["/a"]
    assert arguments == {
        "name": "n",
        "profile": "unixfs-v0-2015",
        "chunker": "size-1024",
        "raw_leaves": False,
        "cid_version": 0,
        "max_links": 174,
        "wrap": True,
        "only_hash": True,
        "copy": True,
        "hidden": True,
    }


def test_add_when_no_flag_is_given_then_the_defaults_are_left_to_the_profile(
    run: Run, factory: FakeFactory
) -> None:
    run("add", "/a")
    arguments = factory.fake.calls[0][1]
    assert (arguments["raw_leaves"], arguments["chunker"], arguments["profile"]) == (
        None,
        None,
        "unixfs-v1-2025",
    )


def test_get_when_json_then_one_object_and_silence_on_stderr(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.events = [Note("a peer left", "warning"), GetProgress("transfer", 1, 2, 0, 0.0)]
    outcome = run("get", CID, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    [record] = outcome.records
    assert record == dataclasses.asdict(GOT)
    assert record["verified"] is True


def test_get_when_human_then_summary_names_path_speed_and_sources(run: Run) -> None:
    outcome = run("get", CID, "-o", "/out/model")
    assert outcome.out.splitlines() == [
        "got /out/model",
        f"  cid     {CID}",
        "  size    3.00 MB, verified",
        "  time    2.00 s, 1.00 MB/s",
        "  resumed 1.00 MB were already there",
        "  from    peer …efghijkl: 1.50 MB, 75.0%",
        "  from    http mirror.example: 500 kB, 25.0%",
        "  bad     gateway bad.example: bytes do not match",
    ]


def test_get_when_flags_are_given_then_the_client_gets_them(run: Run, factory: FakeFactory) -> None:
    peer = "/ip4/192.0.2.7/tcp/4101/p2p/12D3KooW"
    mirrors = ["--mirror", "http://a", "--mirror", "http://b"]
    run("get", CID, *mirrors, "--peer", peer, "--timeout", "5", "--no-mdns", "--bootstrap", peer,
        "--download-limit", "20MB")  # fmt: skip
    arguments = factory.fake.calls[0][1]
    assert arguments == {
        "target": CID,
        "dest": None,
        "mirrors": ["http://a", "http://b"],
        "peers": [peer],
        "timeout_s": 5.0,
        "download_limit": 20_000_000,
        "include": [],
        "exclude": [],
    }
    assert factory.configs[0].swarm.mdns is False
    assert factory.configs[0].swarm.bootstrap == (peer,)


def test_get_when_not_a_terminal_then_notes_go_to_stderr(run: Run, factory: FakeFactory) -> None:
    factory.fake.events = [Note("a peer left", "warning")]
    assert run("get", CID).err == "warning: a peer left\n"


def test_ls_when_json_then_one_object_a_line(run: Run, factory: FakeFactory) -> None:
    factory.fake.roots = [ROOT, ROOT]
    assert run("ls", "--json").records == [ROOT, ROOT]


def test_ls_when_human_then_whole_cids_in_columns(run: Run) -> None:
    head, row = run("ls").out.splitlines()
    assert head.split() == ["CID", "SIZE", "FILES", "STATE", "NAME"]
    assert row.split() == [CID, "2.00", "MB", "3", "ok", "model"]


def test_ls_when_folders_have_one_name_then_their_paths(run: Run, factory: FakeFactory) -> None:
    paths = ["/ComfyUI/models", "/sd/models"]
    factory.fake.roots = [{**ROOT, "name": "models", "path": path} for path in paths]
    factory.fake.roots.append(ROOT)
    assert [line.split()[-1] for line in run("ls").out.splitlines()] == ["NAME", *paths, "model"]


def test_ls_when_empty_then_stdout_is_empty_and_stderr_says_what_to_do(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.roots = []
    outcome = run("ls")
    assert (outcome.code, outcome.out) == (0, "")
    assert "mirrornode add" in outcome.err


def test_peers_when_json_then_one_object_a_line(run: Run) -> None:
    assert run("peers", "--json").records == [PEER]


def test_peers_when_human_then_columns(run: Run, factory: FakeFactory) -> None:
    assert "12D3KooWabcdefghijkl  out  /ip4/192.0.2.7/tcp/4101" in run("peers").out
    factory.fake.connected = []
    assert "--bootstrap" in run("peers").err


def test_status_when_json_then_the_object(run: Run) -> None:
    assert run("status", "--json").records == [STATUS]


def test_status_when_running_then_says_what_matters(run: Run) -> None:
    text = run("status").out
    assert "version    0.1.0, up 1:15" in text
    assert "shares     1 root, 3 files, 2.00 MB" in text
    assert "hub        HF_ENDPOINT=http://127.0.0.1:8090/hub\n" in text
    assert "announced  3 of 4, 1 due" in text
    assert "served     7.00 MB; limits: 50.0 MB/s up\n" in text
    assert "50.0% of 100 B, 10 B/s" in text


def test_status_when_targets_are_kept_in_step_then_how_they_stand() -> None:
    fresh = {**IN_STEP, "outcome": "", "reason": "", "started_at": None, "from_node": "",
             "is_overdue": False}  # fmt: skip
    late = {**IN_STEP, "ok_at": 1_600_000_000.0}
    last, ok, due = (
        f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
        for at in (IN_STEP["started_at"], 1_600_000_000.0, IN_STEP["next_at"])
    )
    lines = status_lines({**STATUS, "syncs": [fresh, late]})
    assert [line for line in lines if line.startswith("sync ")] == [
        f"sync       hf:org/name: never ran, next {due}",
        f"sync       hf:org/name from http://10.0.0.5:8090: failed {last} (nobody is there), "
        f"last ok {ok}, next {due}, OVERDUE",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, "in public  2 of 4, 2 due, region 4 of 128"),
        ({"behind_s": 900.0}, "in public  2 of 4, 2 due, region 4 of 128, 15:00 late"),
        ({"offline": True}, "in public  2 of 4, 2 due, nobody answers"),
    ],
)
def test_status_in_public_mode_then_says_how_far_announcing_is(
    change: dict[str, object], line: str
) -> None:
    public = {"total": 4, "due": 2, "ok": 2, "regions": 128, "region": 3, "behind_s": 5.0}
    state = STATUS | {"public_announcements": public | {"offline": False} | change}
    assert line in status_lines(state)


def test_status_when_no_daemon_runs_then_says_how_to_start_one(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.state = {
        "running": False,
        "version": "0.1.0",
        "home": "/h",
        "roots": 0,
        "files": 0,
        "size_bytes": 0,
    }
    outcome = run("status")
    assert outcome.code == 0
    assert outcome.out.startswith("node       not running; start it with `mirrornode serve`\n")


def test_verify_when_all_is_good_then_zero(run: Run, factory: FakeFactory) -> None:
    outcome = run("verify", CID)
    assert (outcome.code, outcome.out) == (0, "verified 3 files, 2.00 MB: all good\n")
    assert factory.fake.calls == [("verify", {"target": CID})]


def test_verify_when_a_file_changed_then_names_it_and_exits_12(
    run: Run, factory: FakeFactory
) -> None:
    problem = {"path": "/m/x", "cid": CID, "reason": "changed", "bad_leaves": [0, 7]}
    factory.fake.report |= {"ok": False, "problems": [problem], "more_problems": 2}
    human = run("verify")
    assert human.code == 12
    assert human.out.splitlines() == [
        "bad  /m/x: changed (2 bad blocks)",
        "bad  and 2 more files",
        "verified 3 files, 2.00 MB: 3 bad",
    ]
    assert human.err.startswith("error: 3 files not as added")
    as_json = run("verify", "--json")
    assert as_json.code == 12
    assert as_json.records == [factory.fake.report]


def test_verify_when_a_file_is_good_again_then_says_so(run: Run, factory: FakeFactory) -> None:
    factory.fake.report["restored_files"] = 1
    outcome = run("verify")
    assert outcome.code == 0
    assert outcome.out.startswith("good again: 1 file\n")


def test_mirrors_when_json_then_one_object_a_line(run: Run, factory: FakeFactory) -> None:
    outcome = run("mirrors", "http://a/", "http://b/x", "--sample", CID, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.records == MEASURED
    assert factory.fake.calls == [("mirrors", {"urls": ["http://a/", "http://b/x"], "sample": CID})]


def test_mirrors_when_human_then_a_table_with_a_word_for_failures(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.events = [Note("measuring https://near.example/")]
    outcome = run("mirrors")
    head, near, down = outcome.out.splitlines()
    assert head.split() == [
        "SCORE", "NOW", "CONNECT", "FIRST", "BYTE", "GOOD", "STATE", "REGION", "MIRROR",
    ]  # fmt: skip
    assert near.split() == [
        "150", "MB/s", "83.9", "MB/s", "20", "ms", "12", "ms", "100%", "of", "3", "ok", "eu-west",
        "https://near.example/", "(weight", "2)",
    ]  # fmt: skip
    assert down.split()[:9] == ["0", "B/s", "-", "-", "-", "0%", "of", "1", "unknown"]
    assert down.endswith(MEASURED[1]["url"])
    assert "measuring https://near.example/" in outcome.err
    assert "cannot resolve down.example" in outcome.err
    assert factory.fake.calls == [("mirrors", {"urls": [], "sample": None})]


def test_mirrors_when_one_is_put_aside_then_it_is_marked(run: Run, factory: FakeFactory) -> None:
    standing = {"state": "aside", "rule": "slow", "why": "3 were slow", "since": 1e9}
    factory.fake.measured = [{**MEASURED[0], "standing": standing}]
    outcome = run("mirrors")
    assert "ok, put aside" in outcome.out
    assert f"put aside since {datetime.fromtimestamp(1e9):%Y-%m-%d %H:%M}: 3 were" in outcome.err
    assert run("mirrors", "--json").records[0]["standing"] == standing


def test_mirrors_when_none_can_be_used_then_exit_10(run: Run, factory: FakeFactory) -> None:
    factory.fake.measured = [MEASURED[1]]
    outcome = run("mirrors")
    assert outcome.code == 10
    assert "none of these mirrors can be used" in outcome.err
    as_json = run("mirrors", "--json")
    assert (as_json.code, as_json.records) == (10, [MEASURED[1]])


def test_add_when_hf_cache_then_the_client_shares_the_cache_that_is_named(
    run: Run, factory: FakeFactory
) -> None:
    outcome = run("add", "--hf-cache")
    assert outcome.code == 0
    assert outcome.out == "shared org/name\n"
    assert outcome.err.splitlines() == [
        "  3 files, 1.50 MB",
        "not shared org/gated: it is gated",
        "unused /cache/hub/x is not what its name says",
        "/cache/hub: 3 files of 1 repo shared, 1.50 MB; 2 files read",
    ]
    record = run("add", "--hf-cache", "/other/hub", "--json").records[0]
    assert record["kept"] == {"org/gated": "it is gated"}
    assert [str(call[1]["path"]) for call in factory.fake.calls] == ["None", "/other/hub"]


def test_add_when_nothing_is_named_then_usage(run: Run) -> None:
    assert run("add").code == 2


def test_get_when_of_the_hub_then_patterns_are_passed_on_and_the_repo_is_shown(
    run: Run, factory: FakeFactory
) -> None:
    flags = ("--include", "*.json", "--include", "*.bin", "--exclude", "old/*")
    run("get", "hf:org/name", *flags)
    arguments = factory.fake.calls[0][1]
    assert (arguments["include"], arguments["exclude"]) == (["*.json", "*.bin"], ["old/*"])
    lines = get.summary_lines(dataclasses.replace(GOT, cid="hf:org/name@abc"))
    assert "  repo    org/name@abc" in lines


def test_ls_when_of_the_hub_then_a_table_or_json(run: Run, factory: FakeFactory) -> None:
    private = {**REPO, "repo": "org/x", "private": True, "files": None, "refs": [], "licence": ""}
    whole = {**REPO, "repo": "org/all", "files_here": 4, "gated": "auto"}
    factory.fake.repos = [REPO, private, whole]
    assert run("ls", "hf:").out.splitlines() == [
        "REPO      COMMIT        REFS  HERE                              LICENCE  ACCESS   SAYS",
        "org/name  cccccccccccc  main  3 of 4 files, 1.50 MB of 2.00 MB  mit      open"
        "     huggingface.co",
        "org/x     cccccccccccc  -     files not known                   -        private"
        "  huggingface.co",
        "org/all   cccccccccccc  main  all 4 files, 2.00 MB              mit      gated"
        "    huggingface.co",
    ]
    assert run("ls", "hf:org/name", "--json").records == [REPO, private, whole]
    assert factory.fake.calls[-1] == ("ls_hub", {"target": "hf:org/name"})
    assert run("ls", "other").code == 2
    factory.fake.repos = []
    assert "mirrornode get hf:" in run("ls", "hf:").err


def test_ls_when_repos_are_here_then_one_more_line_beside_the_table(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.repos = [
        REPO,
        {**REPO, "commit": "d" * 40},
        {**REPO, "repo": "x", "bytes_here": 0},
    ]
    outcome = run("ls")
    assert outcome.err == "and 1 repo of the Hub; see `mirrornode ls hf:`\n"
    assert run("ls", "--json").records == [ROOT]


def test_verify_when_of_the_hub_then_what_was_mended_and_12_for_what_was_not(
    run: Run, factory: FakeFactory
) -> None:
    outcome = run("verify", "hf:org/name")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "mended /cache/hub/blobs/x",
        "verified 3 files, 2.00 MB: 1 bad, 1 mended; 1 file not here",
    ]
    [problem] = HUB_REPORT["problems"]
    left = {**problem, "is_mended": False, "why_not": "nobody has it"}
    factory.fake.hub_report = {**HUB_REPORT, "ok": False, "mended_files": 0, "problems": [left]}
    outcome = run("verify", "hf:org/name")
    assert outcome.code == 12
    assert "nobody has it" in outcome.out
    assert run("verify", "hf:org/name", "--json").records == [factory.fake.hub_report]


def test_serve_when_share_is_given_then_it_replaces_the_setting(
    run: Run, factory: FakeFactory
) -> None:
    async def program(ready: Ready, stop: asyncio.Event) -> None:
        ready({"peer_id": "x", "listen": [], "peer_plane": "", "gateway": "", "home": ""})

    factory.program = program
    run("serve", "--share", "hf-cache", "--share", "/data")
    assert factory.configs[0].share == ("hf-cache", "/data")


def test_publish_when_human_then_the_name_on_stdout_and_how_to_use_it_beside(
    run: Run, factory: FakeFactory
) -> None:
    factory.fake.events = [Note("made the key models; keep a copy of /home/models.key")]
    outcome = run("publish", CID, "--name", "models", "--lifetime", "7d", "--ttl", "90s")
    assert outcome.code == 0
    assert outcome.out == f"published {NAME['name']}\n"
    assert "made the key models" in outcome.err
    assert f"get it  mirrornode get ipns://{NAME['name']}" in outcome.err
    assert "kept by 3 peers" in outcome.err
    assert factory.fake.calls == [
        ("publish", {"target": CID, "key": "models", "lifetime_s": 604_800.0, "ttl_s": 90.0})
    ]


def test_publish_when_json_then_one_object_and_nothing_else(run: Run, factory: FakeFactory) -> None:
    factory.fake.events = [Note("made the key models")]
    outcome = run("publish", CID, "--json")
    assert outcome.err == ""
    assert outcome.records == [{**NAME, "new_key": True}]
    assert factory.fake.calls[0][1]["key"] == "self"


def test_publish_list_and_remove(run: Run, factory: FakeFactory) -> None:
    outcome = run("publish", "--list")
    assert NAME["name"] in outcome.out
    assert run("publish", "--list", "--json").records == [NAME]
    assert run("publish", "--remove", "models").out == f"stopped {NAME['name']}\n"
    assert run("publish", "--remove", "models", "--json").records == [NAME]
    factory.fake.names = [{**NAME, "published_at": None}]
    assert "no peer told yet" in run("publish", "--list").out
    factory.fake.names = []
    assert "no names" in run("publish", "--list").err


def test_publish_when_the_flags_make_no_sense_then_usage(run: Run, factory: FakeFactory) -> None:
    for flags in (
        (),
        (CID, "--list"),
        (CID, "--remove", "x"),
        (CID, "--ttl", "5"),
        (CID, "--lifetime", "-1h"),
        (CID, "--lifetime", "1y"),
    ):
        assert run("publish", *flags).code == 2
    assert factory.fake.calls == []


def test_status_shows_what_is_published(run: Run, factory: FakeFactory) -> None:
    factory.fake.state = {**STATUS, "names": [NAME]}
    assert f"publishes  ipns://models /ipfs/{CID}, change 4, kept by 3 peers" in run("status").out


def test_export_when_done_then_summary_and_what_was_asked(run: Run, factory: FakeFactory) -> None:
    outcome = run("export", CID, "model.car", "--force", "--no-names")
    assert outcome.code == 0
    assert outcome.out.splitlines()[:2] == [
        "exported model to /out/model.car",
        f"  root    {CID}",
    ]
    asked = {"target": CID, "output": "model.car", "force": True, "partial": False, "names": False}
    assert factory.fake.calls == [("export", asked)]
    assert run("export", CID, "model.car", "--json").records == [EXPORTED]


def test_export_when_to_stdout_then_nothing_else_there(run: Run) -> None:
    outcome = run("export", CID, "-")
    assert (outcome.code, outcome.out) == (0, "")
    assert run("export", CID, "-", "--json").code == 2


def test_export_when_partial_then_missing_paths_and_3(run: Run, factory: FakeFactory) -> None:
    factory.fake.exported |= {"missing": ["a.bin"], "missing_count": 1, "complete": False}
    outcome = run("export", CID, "model.car", "--partial")
    assert outcome.code == 3
    assert outcome.err.startswith("missing: a.bin\nerror: 1 path of ")
    as_json = run("export", CID, "model.car", "--partial", "--json")
    assert (as_json.code, as_json.records) == (3, [factory.fake.exported])


def test_import_when_done_then_path_of_each_root(run: Run, factory: FakeFactory) -> None:
    outcome = run("import", "a.car", "-", "-o", "out")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "imported model",
        "  path    /models/model",
        f"  root    {CID}",
        "  size    2.00 MB, 3 files",
    ]
    assert factory.fake.calls == [("import", {"paths": ["a.car", "-"], "dest": Path("out")})]
    assert run("import", "a.car", "--json").records == [factory.fake.imported]


def test_import_when_incomplete_then_missing_paths_and_3(run: Run, factory: FakeFactory) -> None:
    lacking = {"missing": ["b/4", "b/6"], "missing_count": 2, "complete": False}
    factory.fake.imported["roots"] = [IMPORTED_ROOT, {**IMPORTED_ROOT, **lacking}]
    outcome = run("import", "a.car")
    assert outcome.code == 3
    assert "incomplete model\n" in outcome.out
    assert outcome.err.startswith("missing: model: b/4\nmissing: model: b/6\nerror: 1 root not ")
    assert f"mirrornode get {CID} -o /models/model" in outcome.err
    as_json = run("import", "a.car", "--json")
    assert (as_json.code, as_json.records) == (3, [factory.fake.imported])
    factory.fake.imported["roots"] = []
    assert "no root" in run("import", "a.car").err
