"""Blobs, grants, kept answers, and closing what is no longer open."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mirrornode.content.recipe import Recipe
from mirrornode.store import hub_grants
from mirrornode.store.announcements import sha256_multihash
from mirrornode.store.catalog import Catalog
from mirrornode.store.hub_records import Grant, HubBlob, KeptAnswer
from mirrornode.store.stamps import FileStamp
from mirrornode.wire.hub import HubFile, Repo
from support.shared_files import SMALL_CHUNKS, content, record, write

REPO, OTHER = Repo("model", "org/name"), Repo("model", "org/other")
HUB, PEER = "hub:huggingface.co", "peer:12D3KooX"
ETAG = "ab" * 32
TOKEN = hashlib.sha256(b"hf_token").digest()


def share(
    catalog: Catalog, path: Path, data: bytes, recipe: Recipe = SMALL_CHUNKS
) -> tuple[HubFile, set[bytes]]:
    """Write a file, share it as an open blob of the Hub and return it and all its multihashes."""
    dag = record(catalog, write(path, data), recipe)
    sha256 = hashlib.sha256(data).digest()
    file = HubFile(path.name, len(data), "0" * 40, sha256.hex())
    catalog.put_hub_blob(file.etag, path, FileStamp.of(path), is_open=True, is_managed=True)
    catalog.enqueue_announcements([dag.root.multihash, sha256_multihash(sha256)])
    return file, {dag.root.multihash, *(block.cid.multihash for block in dag.inner)}


def publish(
    catalog: Catalog, repo: Repo, *files: HubFile, by: str = HUB, gated: str = "", at: float = 1.0
) -> None:
    commit = hashlib.sha1(str(repo).encode()).hexdigest()
    if by == HUB:
        catalog.put_hub_sight(repo, canonical=repo, is_private=False, gated=gated, checked_at=at)
    catalog.put_hub_revision(repo, commit, {}, by, recorded_at=at)
    catalog.put_hub_tree(repo, commit, files, by)


def close(catalog: Catalog, repo: Repo, at: float = 2.0, *, is_private: bool = False) -> int:
    return catalog.put_hub_sight(
        repo,
        canonical=repo,
        is_private=is_private,
        gated="" if is_private else "auto",
        checked_at=at,
    )


def queued(catalog: Catalog) -> set[bytes]:
    return {item.multihash for item in catalog.due_announcements(1.0, 1000)}


def test_blobs_when_recorded_then_found_by_etag_and_listed(
    catalog: Catalog, tmp_path: Path
) -> None:
    stamp = FileStamp(5, 6, 7)
    first, second = tmp_path / "a", tmp_path / "b"
    catalog.put_hub_blob(ETAG, first, stamp, is_open=False, is_managed=True)
    catalog.put_hub_blob(ETAG, second, stamp, is_open=True, is_managed=False)
    assert catalog.hub_blob(ETAG) == [
        HubBlob(ETAG, second, stamp, is_open=True, is_managed=False),
        HubBlob(ETAG, first, stamp, is_open=False, is_managed=True),
    ]
    assert [blob.path for blob in catalog.hub_blobs()] == [first, second]
    catalog.drop_hub_blob(second)
    assert [blob.path for blob in catalog.hub_blob(ETAG)] == [first]


def test_put_blob_when_the_path_holds_another_content_then_it_is_replaced(
    catalog: Catalog, tmp_path: Path
) -> None:
    for etag in (ETAG, "cd" * 20):
        catalog.put_hub_blob(
            etag, tmp_path / "a", FileStamp(5, 6, 7), is_open=True, is_managed=True
        )
    assert catalog.hub_blob(ETAG) == []
    assert [blob.etag for blob in catalog.hub_blobs()] == ["cd" * 20]


def test_poisoned_when_marked_twice_then_the_first_time_stays(catalog: Catalog) -> None:
    assert catalog.poisoned_since(ETAG) is None
    catalog.mark_poisoned(ETAG, 5.0)
    catalog.mark_poisoned(ETAG, 9.0)
    assert catalog.poisoned_since(ETAG) == 5.0


def test_close_when_no_open_repo_is_left_then_nothing_of_the_file_can_be_found(
    catalog: Catalog, tmp_path: Path
) -> None:
    data = content(40_000)
    file, nodes = share(catalog, tmp_path / "w.bin", data)
    publish(catalog, REPO, file)
    assert len(nodes) > 4  # a root and inner nodes below it
    assert close(catalog, REPO) == 1
    assert [blob.is_open for blob in catalog.hub_blob(file.etag)] == [False]
    leaf = sha256_multihash(hashlib.sha256(data[:1000]).digest())
    assert catalog.find_leaf(leaf) is None
    assert catalog.get_blocks(nodes) == {}
    assert catalog.find_file(sha256_multihash(bytes.fromhex(file.sha256))) is None
    assert queued(catalog) == set()
    assert (tmp_path / "w.bin").exists()


def test_close_when_another_open_repo_holds_the_file_then_it_stays_shared(
    catalog: Catalog, tmp_path: Path
) -> None:
    file, nodes = share(catalog, tmp_path / "w.bin", content(40_000))
    publish(catalog, REPO, file)
    publish(catalog, OTHER, file)
    assert close(catalog, REPO) == 0
    assert len(catalog.get_blocks(nodes)) == len(nodes)
    assert catalog.is_vouched_open(file.etag)
    assert close(catalog, OTHER, is_private=True) == 1
    assert not catalog.is_vouched_open(file.etag)
    assert catalog.get_blocks(nodes) == {}


def test_close_when_only_a_peer_vouches_for_another_repo_then_it_is_closed(
    catalog: Catalog, tmp_path: Path
) -> None:
    file, _ = share(catalog, tmp_path / "w.bin", content(3000))
    publish(catalog, REPO, file)
    publish(catalog, OTHER, file, by=PEER)
    assert close(catalog, REPO) == 1


def test_close_when_files_share_a_part_then_the_open_ones_tree_stays_whole(
    catalog: Catalog, tmp_path: Path
) -> None:
    common = content(16_000)  # whole inner nodes of four leaves
    closing, closing_nodes = share(catalog, tmp_path / "a.bin", common + b"a" * 5000)
    staying, staying_nodes = share(catalog, tmp_path / "b.bin", common + b"b" * 5000)
    publish(catalog, REPO, closing)
    publish(catalog, OTHER, staying)
    assert closing_nodes & staying_nodes
    assert close(catalog, REPO) == 1
    assert set(catalog.get_blocks(closing_nodes | staying_nodes)) == staying_nodes


def test_close_when_the_user_has_the_same_bytes_elsewhere_then_those_stay_shared(
    catalog: Catalog, tmp_path: Path
) -> None:
    data = content(9000)
    file, nodes = share(catalog, tmp_path / "hub" / "w.bin", data)
    record(catalog, write(tmp_path / "own" / "w.bin", data), SMALL_CHUNKS)
    publish(catalog, REPO, file)
    assert close(catalog, REPO) == 1
    found = catalog.find_file(sha256_multihash(bytes.fromhex(file.sha256)))
    assert found is not None
    assert found.path == tmp_path / "own" / "w.bin"
    assert set(catalog.get_blocks(nodes)) == nodes


def test_reconsider_when_the_repo_is_open_then_nothing_closes(
    catalog: Catalog, tmp_path: Path
) -> None:
    file, _ = share(catalog, tmp_path / "w.bin", content(3000))
    publish(catalog, REPO, file)
    assert catalog.reconsider_openness(REPO) == 0


def test_reconsider_when_a_revision_was_closed_all_along_then_its_files_close(
    catalog: Catalog, tmp_path: Path
) -> None:
    file, _ = share(catalog, tmp_path / "w.bin", content(3000))
    publish(catalog, REPO, file, gated="auto")
    assert catalog.reconsider_openness(REPO) == 1


def test_grants_when_put_then_the_last_word_counts(catalog: Catalog) -> None:
    assert catalog.grant(TOKEN, REPO) is None
    catalog.put_grant(TOKEN, REPO, True, 5.0)
    assert catalog.grant(TOKEN, REPO) == Grant(True, 5.0)
    catalog.put_grant(TOKEN, REPO, False, 6.0)
    assert catalog.grant(TOKEN, REPO) == Grant(False, 6.0)
    assert catalog.grant(TOKEN, OTHER) is None
    assert catalog.grant(hashlib.sha256(b"").digest(), REPO) is None


def test_withdraw_grants_when_a_token_is_unknown_then_all_of_it_are_refusals(
    catalog: Catalog,
) -> None:
    other = hashlib.sha256(b"other").digest()
    for token, repo in ((TOKEN, REPO), (TOKEN, OTHER), (other, REPO)):
        catalog.put_grant(token, repo, True, 5.0)
    catalog.withdraw_grants(TOKEN, 7.0)
    assert catalog.grant(TOKEN, REPO) == Grant(False, 7.0)
    assert catalog.grant(TOKEN, OTHER) == Grant(False, 7.0)
    assert catalog.grant(other, REPO) == Grant(True, 5.0)


def test_put_grant_when_many_tokens_are_refused_then_the_oldest_refusals_are_lost(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_grants, "MAX_GRANTS", 3)
    catalog.put_grant(TOKEN, REPO, True, 1.0)
    tokens = [hashlib.sha256(b"%d" % number).digest() for number in range(5)]
    for number, token in enumerate(tokens):
        catalog.put_grant(token, REPO, False, 2.0 + number)
    assert [catalog.grant(token, REPO) is not None for token in tokens] == [False] * 2 + [True] * 3
    assert catalog.grant(TOKEN, REPO) == Grant(True, 1.0)


def test_answers_when_kept_then_they_come_back_and_the_oldest_make_room(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(text: str, at: float) -> KeptAnswer:
        return KeptAnswer({"link": "x"}, {"text": text}, "hub:h", at)

    catalog.put_hub_answer("/a", REPO, kept("a", 1.0))
    assert catalog.hub_answer("/a") == kept("a", 1.0)
    assert catalog.hub_answer("/b") is None
    monkeypatch.setattr(hub_grants, "MAX_ANSWERS_BYTES", 50)
    catalog.put_hub_answer("/b", REPO, kept("b", 2.0))
    catalog.put_hub_answer("/c", REPO, kept("c", 3.0))
    assert catalog.hub_answer("/a") is None
    assert catalog.hub_answer("/c") == kept("c", 3.0)
    monkeypatch.setattr(hub_grants, "MAX_ANSWER_BYTES", 10)
    catalog.put_hub_answer("/c", REPO, kept("c", 4.0))
    assert catalog.hub_answer("/c") is None  # neither the old answer nor the large one


def test_answers_when_the_repo_becomes_private_then_they_are_gone(catalog: Catalog) -> None:
    for repo in (REPO, OTHER):
        catalog.put_hub_answer(f"/{repo}", repo, KeptAnswer({}, [], "hub:h", 1.0))
    close(catalog, REPO, is_private=True)
    assert catalog.hub_answer(f"/{REPO}") is None
    assert catalog.hub_answer(f"/{OTHER}") is not None


def test_move_when_a_file_gets_another_name_then_found_and_announced_as_before(
    catalog: Catalog, tmp_path: Path
) -> None:
    old, new = tmp_path / "store" / "x", tmp_path / "out" / "x"
    file, names = share(catalog, old, content(2500))
    other, _ = share(catalog, new, content(100))
    before = queued(catalog)
    old.replace(new)
    catalog.move_hub_blob(old, new)
    [blob] = catalog.hub_blob(file.etag)
    assert (blob.path, blob.is_open, blob.is_managed) == (new, True, False)
    assert catalog.hub_blob(other.etag) == []
    stored = catalog.find_file(sha256_multihash(bytes.fromhex(file.sha256)))
    assert stored is not None
    assert (stored.path, stored.is_managed) == (new, False)
    assert catalog.find_file(sha256_multihash(bytes.fromhex(other.sha256))) is None
    assert queued(catalog) & names == before & names
    assert sha256_multihash(bytes.fromhex(other.sha256)) not in queued(catalog)
