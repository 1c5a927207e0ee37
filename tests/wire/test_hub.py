"""Names and trees of the Hub: known answers, round trips, and JSON that no Hub would send."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mirrornode.errors import RemoteProtocolError, TargetError, UnsafeName
from mirrornode.wire.hub import (
    HubFile,
    HubRequest,
    HubTarget,
    Repo,
    check_path,
    check_revision,
    decode_tree,
    is_commit,
    is_etag,
    lfs_pointer,
    lfs_pointer_oid,
    new_git_blob_sha1,
    parse_hub_path,
    parse_hub_target,
    parse_repo,
    paths_info_records,
    sibling_records,
    tree_records,
    without_xet,
)

OID = "9e26dfeeb6e641a33dae4961196235bdb965b21b"  # git hash-object of "{}"
SHA256 = "5a" * 32
COMMIT = "c0" * 20
MODEL = Repo("model", "org/name")
OLD = Repo("model", "gpt2")

VERBS = {"resolve", "raw", "revision", "tree", "refs", "commits"}


def _is(check: Any, text: str) -> bool:
    try:
        check(text)
    except (TargetError, UnsafeName):
        return False
    return True


parts = st.text("aBz09_.-", min_size=1, max_size=8)
names = st.one_of(parts, st.builds("{}/{}".format, parts, parts)).filter(
    lambda name: _is(lambda text: Repo("model", text), name)
)
repos = st.builds(Repo, st.sampled_from(["model", "dataset", "space"]), names)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
revisions = st.one_of(
    st.sampled_from(["main", "refs/pr/1", "refs/convert/parquet", "feature/x", COMMIT, "v1.0"]),
    st.lists(words, min_size=1, max_size=3).map("/".join),
).filter(lambda text: _is(check_revision, text))
paths = (
    st.lists(words, min_size=1, max_size=4).map("/".join).filter(lambda text: _is(check_path, text))
)
targets = st.builds(HubTarget, repos, revisions, st.one_of(st.just(""), paths))


# Repos


def test_repo_knows_its_places() -> None:
    data = Repo("dataset", "org/name")
    assert (MODEL.api_path, data.api_path) == ("/api/models/org/name", "/api/datasets/org/name")
    assert (str(MODEL), str(data)) == ("org/name", "datasets/org/name")
    assert MODEL.cache_folder == "models--org--name"
    assert Repo("space", "gpt2").cache_folder == "spaces--gpt2"
    assert (
        data.resolve_path("feature/x", "a/part 1 +%.bin")
        == "/datasets/org/name/resolve/feature%2Fx/a/part%201%20%2B%25.bin"
    )
    assert OLD.resolve_path("refs/pr/1", "é") == "/gpt2/resolve/refs%2Fpr%2F1/%C3%A9"


@pytest.mark.parametrize(
    "name",
    ["", "/", "a/", "/a", "a/b/c", "a b", "..", "a..b", "a--b", ".a", "a.", "-a", "a-", "a/..",
     "é", "a\0", "a\n", "a%2Fb", "x" * 97, "api", "api/x", "datasets/x", "models/x", "a\\b"],
)  # fmt: skip
def test_repo_when_none_can_be_called_so_then_target_error(name: str) -> None:
    with pytest.raises(TargetError):
        Repo("model", name)


def test_repo_when_its_type_is_unknown_then_target_error() -> None:
    with pytest.raises(TargetError):
        Repo("kernel", "org/name")


@given(repos)
def test_repo_text_round_trips(repo: Repo) -> None:
    assert parse_repo(str(repo)) == repo


# Targets


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("hf:org/name", HubTarget(MODEL)),
        ("hf://org/name/", HubTarget(MODEL)),
        ("hf:gpt2", HubTarget(OLD)),
        ("hf:gpt2/x", HubTarget(Repo("model", "gpt2/x"))),
        ("hf:gpt2@main/config.json", HubTarget(OLD, "main", "config.json")),
        ("hf:org/name@v1.0", HubTarget(MODEL, "v1.0")),
        ("hf:org/name@feature%2Fx/a b/c", HubTarget(MODEL, "feature/x", "a b/c")),
        ("hf:org/name@refs/pr/12/c", HubTarget(MODEL, "refs/pr/12", "c")),
        ("hf:org/name@refs%2Fpr%2F12/c", HubTarget(MODEL, "refs/pr/12", "c")),
        ("hf:org/name/a@b/c@d", HubTarget(MODEL, "main", "a@b/c@d")),
        ("hf:datasets/org/name@main/a/", HubTarget(Repo("dataset", "org/name"), "main", "a")),
        ("hf://datasets/squad", HubTarget(Repo("dataset", "squad"))),
        ("hf:spaces/org/name/app.py", HubTarget(Repo("space", "org/name"), "main", "app.py")),
        (f"hf:org/name@{COMMIT}", HubTarget(MODEL, COMMIT)),
    ],
)
def test_target_is_read(text: str, target: HubTarget) -> None:
    assert parse_hub_target(text) == target


@pytest.mark.parametrize(
    "text",
    ["", "hf:", "hf://", "hf:/", "hf:datasets", "hf:datasets/", "org/name", "https://hf.co/a/b",
     "hf:org/name@", "hf:org/name@/x", "hf:org/name@%FF", "hf:org/name@a..b",
     "hf:org/name@refs", "hf:@main", "hf:org/name/../x", "hf:org/name//x", "hf:org/name/a\\b",
     "hf:org/name/a\0b", "hf:org/na me", "hf:a/b@x y"],
)  # fmt: skip
def test_target_when_it_is_none_then_the_message_says_what_one_is(text: str) -> None:
    with pytest.raises(TargetError, match="hf:ORG/NAME"):
        parse_hub_target(text)


@given(targets)
def test_target_text_round_trips(target: HubTarget) -> None:
    assert parse_hub_target(str(target)) == target


# Paths


@pytest.mark.parametrize(
    ("raw", "request_"),
    [
        ("/org/name/resolve/main/a%20b.bin", HubRequest("resolve", MODEL, "main", "a b.bin")),
        ("/gpt2/resolve/main/c", HubRequest("resolve", OLD, "main", "c")),
        ("/org/name/raw/feature%2Fx/d/c", HubRequest("raw", MODEL, "feature/x", "d/c")),
        ("/org/name/resolve/refs%2Fpr%2F1/c", HubRequest("resolve", MODEL, "refs/pr/1", "c")),
        ("/org/name/resolve/refs/pr/1/c", HubRequest("resolve", MODEL, "refs/pr/1", "c")),
        ("/datasets/org/name/resolve/main/c",
         HubRequest("resolve", Repo("dataset", "org/name"), "main", "c")),
        ("/datasets/squad/resolve/main/c",
         HubRequest("resolve", Repo("dataset", "squad"), "main", "c")),
        ("/org/resolve/resolve/main/c",
         HubRequest("resolve", Repo("model", "org/resolve"), "main", "c")),
        ("/org/raw/resolve/main/c", HubRequest("resolve", Repo("model", "org/raw"), "main", "c")),
        ("/org/name/resolve/main/resolve/x", HubRequest("resolve", MODEL, "main", "resolve/x")),
        ("/api/models/org/name", HubRequest("model-info", MODEL)),
        ("/api/models/gpt2", HubRequest("model-info", OLD)),
        ("/api/models/org%2Fname", HubRequest("model-info", MODEL)),
        ("/api/spaces/org/name", HubRequest("model-info", Repo("space", "org/name"))),
        ("/api/models/org/tree", HubRequest("model-info", Repo("model", "org/tree"))),
        ("/api/models/org/name/revision/v%2F1", HubRequest("revision", MODEL, "v/1")),
        ("/api/models/gpt2/revision/main", HubRequest("revision", OLD, "main")),
        ("/api/models/org/name/tree/main", HubRequest("tree", MODEL, "main")),
        ("/api/models/org/name/tree/main/", HubRequest("tree", MODEL, "main")),
        ("/api/models/org/name/tree/main/a/b%20c", HubRequest("tree", MODEL, "main", "a/b c")),
        ("/api/models/gpt2/tree/refs%2Fpr%2F1", HubRequest("tree", OLD, "refs/pr/1")),
        ("/api/models/org/tree/tree/main", HubRequest("tree", Repo("model", "org/tree"), "main")),
        ("/api/models/org/name/paths-info/main", HubRequest("paths-info", MODEL, "main")),
        ("/api/models/org/name/refs", HubRequest("refs", MODEL)),
        ("/api/models/gpt2/refs", HubRequest("refs", OLD)),
        ("/api/models/org/name/commits/main", HubRequest("commits", MODEL, "main")),
        ("/api/datasets/org/name/auth-check",
         HubRequest("auth-check", Repo("dataset", "org/name"))),
        (f"/api/models/org/name/xet-read-token/{COMMIT}", HubRequest("xet", MODEL, COMMIT)),
        ("/api/models/org/name/xet-write-token/main", HubRequest("xet", MODEL, "main")),
        ("/api/whoami-v2", HubRequest("whoami", None)),
        ("/api/agent-harnesses", HubRequest("agent-harnesses", None)),
    ],
)  # fmt: skip
def test_path_is_read_by_its_verb(raw: str, request_: HubRequest) -> None:
    assert parse_hub_path(raw) == request_


@pytest.mark.parametrize(
    "raw",
    ["", "/", "org/name/resolve/main/c", "/ipfs/bafy", "/org/name", "/org/name/resolve",
     "/org/name/resolve/main", "/org/name/resolve/main/", "/a/b/c/resolve/main/x",
     "/api", "/api/", "/api/models", "/api/models/", "/api/models/a/b/c", "/api/x/org/name",
     "/api/models/org/name/treesize/main", "/api/whoami-v2/x", "/api/models/org/name/revision/",
     "/api/models/org/name/revision/main/x", "/api/models/org/name/refs/x",
     "/org/name/resolve/main/../x", "/org/name/resolve/main/%2E%2E/x",
     "/org/name/resolve/main/a%2F..%2Fb", "/org/name/resolve/main//etc/passwd",
     "/org/name/resolve/main/%2Fetc", "/org/name/resolve/main/a%00", "/org/name/resolve/main/a%5Cb",
     "/org/name/resolve/main/%FF", "/org/name/resolve/%FF/a", "/org/name/resolve/main/%zz",
     "/org/name/resolve/main/%", "/or%20g/name/resolve/main/a", "/org/name/resolve/a..b/c",
     "/org/name/resolve/%20/c", "//org/name/resolve/main/c", "/api/models/..%2Fx",
     "/org/name/resolve/main/" + "x" * 20_000, "/datasets/resolve/main/x"],
)  # fmt: skip
def test_path_when_it_is_nothing_of_the_hubs_then_none(raw: str) -> None:
    assert parse_hub_path(raw) is None


@given(repos, revisions, paths)
def test_resolve_path_round_trips(repo: Repo, revision: str, path: str) -> None:
    # A branch called like a verb, of a repo without a namespace, reads as a repo with one.
    assume("/" in repo.name or revision not in VERBS)
    assert parse_hub_path(repo.resolve_path(revision, path)) == HubRequest(
        "resolve", repo, revision, path
    )


@given(st.text())
def test_path_when_it_is_anything_then_a_request_or_none(text: str) -> None:
    parse_hub_path(text)
    parse_hub_path(f"/api/models/{text}")
    parse_hub_path(f"/org/name/resolve/{text}")


# Hashes


def test_hashes_are_told_apart() -> None:
    assert is_commit(COMMIT)
    assert is_etag(COMMIT)
    assert is_etag(SHA256)
    for text in ("", "main", COMMIT.upper(), COMMIT + "0", COMMIT + "\n", COMMIT[:-1]):
        assert not is_commit(text)
        assert not is_etag(text)


def test_git_blob_sha1_is_that_of_git() -> None:
    for content, oid in ((b"{}", OID), (b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")):
        sha1 = new_git_blob_sha1(len(content))
        sha1.update(content)
        assert sha1.hexdigest() == oid


def test_lfs_pointer_is_that_of_git_lfs() -> None:
    pointer = lfs_pointer(SHA256, 548118077)
    assert pointer == (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:" + SHA256.encode() + b"\nsize 548118077\n"
    )
    assert len(pointer) == 134
    expected = hashlib.sha1(b"blob 134\0" + pointer).hexdigest()
    assert lfs_pointer_oid(SHA256, 548118077) == expected


# Trees

WEIGHTS = HubFile("sub/deep/model.bin", 7, lfs_pointer_oid(SHA256, 7), SHA256)
CONFIG = HubFile("config.json", 2, OID)
NOTES = HubFile("sub/notes.txt", 2, OID)
FILES = (WEIGHTS, CONFIG, NOTES)


def test_tree_records_list_folders_and_files() -> None:
    def seen(**how: Any) -> list[tuple[str, str]]:
        return [(record["type"], record["path"]) for record in tree_records(FILES, **how)]

    assert seen() == [("directory", "sub"), ("file", "config.json")]
    assert seen(folder="sub") == [("directory", "sub/deep"), ("file", "sub/notes.txt")]
    assert seen(folder="sub", recursive=True) == [
        ("directory", "sub/deep"), ("file", "sub/deep/model.bin"), ("file", "sub/notes.txt"),
    ]  # fmt: skip
    assert seen(recursive=True) == [
        ("directory", "sub"), ("directory", "sub/deep"), ("file", "config.json"),
        ("file", "sub/deep/model.bin"), ("file", "sub/notes.txt"),
    ]  # fmt: skip
    for folder in ("none", "su", "config.json", "sub/deep/model.bin"):
        assert seen(folder=folder) == []


def test_tree_records_say_what_clients_read() -> None:
    records = {record["path"]: record for record in tree_records(FILES, recursive=True)}
    assert records["config.json"] == {
        "type": "file", "oid": OID, "size": 2, "path": "config.json",
    }  # fmt: skip
    assert records["sub/deep/model.bin"] == {
        "type": "file", "oid": WEIGHTS.git_oid, "size": 7, "path": "sub/deep/model.bin",
        "lfs": {"oid": SHA256, "size": 7, "pointerSize": 126},
    }  # fmt: skip
    folder = records["sub"]
    assert (folder["type"], folder["size"]) == ("directory", 0)
    assert is_commit(folder["oid"])
    again = {record["path"]: record for record in tree_records(reversed(FILES), recursive=True)}
    assert again == records


def test_tree_round_trips_through_json() -> None:
    records = json.loads(json.dumps(tree_records(FILES, recursive=True)))
    assert decode_tree(records) == sorted(FILES, key=lambda file: file.path)
    assert WEIGHTS.etag == SHA256
    assert CONFIG.etag == OID


def test_paths_info_leaves_out_what_is_unknown() -> None:
    by_path = {file.path: file for file in FILES}
    asked = ["config.json", "none", "sub", "sub/deep/", "config.json", ""]
    records = paths_info_records(by_path, asked)
    assert [record["path"] for record in records] == ["config.json", "sub", "sub/deep"]


def test_siblings_say_more_when_blobs_are_asked() -> None:
    assert sibling_records([CONFIG, WEIGHTS], blobs=False) == [
        {"rfilename": "config.json"}, {"rfilename": "sub/deep/model.bin"},
    ]  # fmt: skip
    assert sibling_records([CONFIG, WEIGHTS], blobs=True) == [
        {"rfilename": "config.json", "size": 2, "blobId": OID},
        {"rfilename": "sub/deep/model.bin", "size": 7, "blobId": WEIGHTS.git_oid,
         "lfs": {"sha256": SHA256, "size": 7, "pointerSize": 126}},
    ]  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    return {"type": "file", "path": "a", "size": 1, "oid": OID, **changes}


def test_decode_tree_reads_what_it_knows() -> None:
    answer = [
        {"type": "directory", "path": "sub", "oid": OID, "size": 0},
        record(path="sub/é b.bin", lfs={"oid": SHA256, "size": 1, "pointerSize": 126},
               xetHash="x", lastCommit={"id": "x"}),
        record(path="README.md", lfs=None),
        {"type": "submodule", "path": "../x"},
    ]  # fmt: skip
    assert decode_tree(answer) == [
        HubFile("sub/é b.bin", 1, OID, SHA256), HubFile("README.md", 1, OID),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        None, {}, "x", 1, {"error": "x"}, [1], [None], [[]], [{}], [{"type": 1}],
        [record(path=None)], [record(path="")], [record(path="/a")], [record(path="../a")],
        [record(path="a/../b")], [record(path="a//b")], [record(path="a/")], [record(path=".")],
        [record(path="a\0")], [record(path="a\\b")], [record(path="x" * 256)],
        [record(path="a/" * 2500 + "a")], [record(path="\ud800")], [record(path=["a"])],
        [record(size=-1)], [record(size="1")], [record(size=1.0)], [record(size=True)],
        [record(size=None)], [record(size=2**60)], [record(oid="")], [record(oid=None)],
        [record(oid=OID.upper())], [record(oid=SHA256)], [record(lfs={})], [record(lfs=1)],
        [record(lfs={"oid": "", "size": 1})], [record(lfs={"oid": OID, "size": 1})],
        [record(lfs={"oid": SHA256, "size": 2})], [record(lfs={"oid": [], "size": 1})],
        [record(), record()], [record(), record(path="a/b")], [record(path="a/b/c"), record()],
    ],
)  # fmt: skip
def test_decode_tree_when_answer_is_nonsense_then_refused(answer: object) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_tree(answer)


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_decode_tree_when_any_part_is_anything_then_files_or_refused(value: object) -> None:
    for answer in (value, [value], *([record(**{key: value})] for key in (*record(), "lfs"))):
        try:
            decode_tree(answer)
        except RemoteProtocolError:
            continue


def test_xet_is_taken_out_everywhere() -> None:
    file: dict[str, Any] = {"path": "xet", "xetHash": "x", "lfs": {"oid": 1, "xet_hash": 1}}
    info = {"a": [{"xetEnabled": True, "tags": ["xet"], "XetHash": 1}]}
    assert without_xet([file, info]) == [
        {"path": "xet", "lfs": {"oid": 1}},
        {"a": [{"tags": ["xet"]}]},
    ]
    assert "xetHash" in file


def test_xet_when_answer_is_deep_then_refused() -> None:
    value: object = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(RemoteProtocolError):
        without_xet(value)
