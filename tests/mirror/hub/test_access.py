"""Who gets names and content of gated and private repos: origin up, down, up again."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from mirrornode.errors import HubRefusal, OriginAway
from mirrornode.mirror.hub.access import proving_path
from mirrornode.store.announcements import sha256_multihash
from mirrornode.store.stamps import FileStamp
from mirrornode.wire.hub import Repo
from support.hub_office import LONG_ENOUGH_S, Office, office_of
from support.hub_origin import ALICE, BOB, StandInHub
from support.hub_trees import lfs_file, small_file
from support.shared_files import record, write
from support.waiting import until

OPEN, GATED, PRIVATE = (Repo("model", f"org/{name}") for name in ("open", "gated", "private"))
CAROL = "hf_carol"
WEEK_S = 604_800.0


def held(hub: StandInHub, repo: Repo) -> str:
    return hub.repos[repo.type, repo.name].sha


async def test_gated_when_origin_is_up_down_and_up_then_the_same_answers(
    hub: StandInHub, office: Office
) -> None:
    expected = {ALICE: held(hub, GATED), BOB: "403 GatedRepo", "": "401 GatedRepo"}

    async def answers() -> dict[str, str]:
        return {token: await office.sees(GATED, token) for token in expected}

    assert await answers() == expected
    hub.stop()
    for _ in range(3):
        office.clock.move(3600)
        assert await answers() == expected
    hub.start()
    office.clock.move(LONG_ENOUGH_S)
    assert await answers() == expected


async def test_private_when_origin_is_up_down_and_up_then_the_same_answers(
    hub: StandInHub, office: Office
) -> None:
    expected = {ALICE: held(hub, PRIVATE), BOB: "404 RepoNotFound", "": "401 RepoNotFound"}

    async def answers() -> dict[str, str]:
        return {token: await office.sees(PRIVATE, token) for token in expected}

    assert await answers() == expected
    hub.stop()
    for _ in range(3):
        office.clock.move(3600)
        assert await answers() == expected
    hub.start()
    office.clock.move(LONG_ENOUGH_S)
    assert await answers() == expected


async def test_private_when_away_and_never_asked_then_as_if_unknown(
    hub: StandInHub, office: Office
) -> None:
    assert await office.sees(PRIVATE, ALICE) == held(hub, PRIVATE)
    hub.stop()
    said = []
    for repo in (PRIVATE, Repo("model", "org/unknown")):
        for revision in ("main", held(hub, PRIVATE)):
            with pytest.raises(OriginAway) as caught:
                await office.sees(repo, BOB, revision)
            said.append(str(caught.value).replace(repo.name, "NAME").replace(revision, "REV"))
    assert len(set(said)) == 1


async def test_gated_when_away_and_never_asked_then_not_open(
    hub: StandInHub, office: Office
) -> None:
    assert await office.sees(GATED, ALICE) == held(hub, GATED)
    hub.stop()
    office.clock.move(61)
    assert await office.sees(GATED, CAROL) == "403 GatedRepo"
    assert await office.sees(GATED, "") == "401 GatedRepo"
    assert await office.sees(GATED, ALICE, held(hub, GATED)) == held(hub, GATED)
    assert await office.sees(GATED, CAROL, held(hub, GATED)) == "403 GatedRepo"


@pytest.mark.parametrize("repo", [GATED, PRIVATE])
async def test_grant_when_older_than_allowed_and_away_then_refused(
    hub: StandInHub, tmp_path: Path, repo: Repo
) -> None:
    with office_of(tmp_path / "home", hub, grant_max_age_s=1000.0) as office:
        assert await office.sees(repo, ALICE) == held(hub, repo)
        hub.stop()
        office.clock.move(999)
        assert await office.sees(repo, ALICE) == held(hub, repo)
        office.clock.move(2)
        if repo is GATED:
            assert await office.sees(repo, ALICE) == "403 GatedRepo"
        else:
            with pytest.raises(OriginAway):
                await office.sees(repo, ALICE)


async def test_grant_when_none_may_be_used_offline_then_refused_at_once(
    hub: StandInHub, tmp_path: Path
) -> None:
    with office_of(tmp_path / "home", hub, grant_max_age_s=0.0) as office:
        assert await office.sees(GATED, ALICE) == held(hub, GATED)
        hub.stop()
        office.clock.move(601)
        assert await office.sees(GATED, ALICE) == "403 GatedRepo"


async def test_grant_when_the_clock_was_set_back_then_it_does_not_count(
    hub: StandInHub, office: Office
) -> None:
    assert await office.sees(GATED, ALICE) == held(hub, GATED)
    hub.stop()
    office.clock.move(-WEEK_S)
    assert await office.sees(GATED, ALICE) == "403 GatedRepo"


async def test_grant_when_revoked_then_noticed_after_ten_minutes_and_kept_offline(
    hub: StandInHub, office: Office
) -> None:
    hub.add_user(CAROL, "carol")
    hub.grant(CAROL, "org/gated")
    assert await office.sees(GATED, CAROL) == held(hub, GATED)
    hub.revoke(CAROL, "org/gated")
    office.clock.move(599)
    assert await office.sees(GATED, CAROL) == held(hub, GATED)
    office.clock.move(2)
    assert await office.sees(GATED, CAROL) == "403 GatedRepo"
    hub.stop()
    office.clock.move(601)
    assert await office.sees(GATED, CAROL) == "403 GatedRepo"


async def test_grant_when_the_origin_refused_content_then_withdrawn_at_once(
    hub: StandInHub, office: Office
) -> None:
    named = await office.names.resolve(GATED, "main", ALICE)
    await office.access.check(named, ALICE)
    await office.access.refused(named, ALICE)
    with pytest.raises(HubRefusal):
        await office.access.check(named, ALICE)
    office.clock.move(61)
    await office.access.check(named, ALICE)


@pytest.mark.parametrize(
    ("gated", "private", "answers"),
    [("auto", False, {"": "401 GatedRepo", BOB: "403 GatedRepo"}),
     ("", True, {"": "401 RepoNotFound", BOB: "404 RepoNotFound"}),
     ("", False, {})],
)  # fmt: skip
async def test_open_repo_when_the_origin_refused_content_then_its_word_counts_at_once(
    hub: StandInHub, office: Office, gated: str, private: bool, answers: dict[str, str]
) -> None:
    named = await office.names.resolve(OPEN, "main", "")
    hub.repos["model", "org/open"].gated = gated
    hub.repos["model", "org/open"].private = private
    await office.access.refused(named, "")
    expected = {"": held(hub, OPEN), BOB: held(hub, OPEN), **answers}
    for token, answer in expected.items():
        assert await office.sees(OPEN, token) == answer
    hub.stop()
    office.clock.move(3600)
    for token, answer in expected.items():
        assert await office.sees(OPEN, token) == answer


async def test_grant_when_the_token_became_invalid_then_all_its_grants_are_gone(
    hub: StandInHub, office: Office
) -> None:
    hub.add_user(CAROL, "carol")
    hub.grant(CAROL, "*")
    assert await office.sees(GATED, CAROL) == held(hub, GATED)
    assert await office.sees(PRIVATE, CAROL) == held(hub, PRIVATE)
    hub.forget_user(CAROL)
    office.clock.move(601)
    assert await office.sees(GATED, CAROL) == "401"
    hub.stop()
    office.clock.move(601)
    assert await office.sees(PRIVATE, CAROL) == "404 RepoNotFound"


async def test_grant_when_let_in_then_noticed_after_a_minute(
    hub: StandInHub, office: Office
) -> None:
    assert await office.sees(GATED, BOB) == "403 GatedRepo"
    hub.grant(BOB, "org/gated")
    office.clock.move(59)
    assert await office.sees(GATED, BOB) == "403 GatedRepo"
    office.clock.move(2)
    assert await office.sees(GATED, BOB) == held(hub, GATED)


async def test_check_when_many_ask_then_one_question_and_none_for_open_repos(
    hub: StandInHub, office: Office
) -> None:
    named = await office.names.resolve(GATED, "main", ALICE)
    await office.names.tree(named, ALICE)
    asked = len(hub.log)
    await asyncio.gather(*(office.access.check(named, ALICE) for _ in range(30)))
    assert [(one.method, one.file) for one in hub.log[asked:]] == [("HEAD", "model.safetensors")]
    opened = await office.names.resolve(OPEN, "main", "")
    asked = len(hub.log)
    await office.access.check(opened, "")
    assert len(hub.log) == asked


async def test_check_when_there_is_only_a_readme_then_the_auth_check_decides(
    hub: StandInHub, office: Office
) -> None:
    hub.add_model("org/card", {"README.md": b"# only this"}, gated="auto")
    card = Repo("model", "org/card")
    assert await office.sees(card, ALICE) == held(hub, card)
    assert await office.sees(card, BOB) == "403 GatedRepo"
    assert hub.requests("/auth-check")
    assert not hub.requests("README.md")


async def test_check_when_the_origin_is_out_of_order_then_never_open(
    hub: StandInHub, office: Office
) -> None:
    named = await office.names.resolve(GATED, "main", BOB)
    hub.refuse(503)
    with pytest.raises(HubRefusal) as caught:
        await office.access.check(named, BOB)
    assert (caught.value.status, caught.value.code) == (403, "GatedRepo")


async def test_renamed_gated_repo_when_asked_by_its_old_name_then_grants_decide(
    hub: StandInHub, office: Office
) -> None:
    hub.rename("org/gated", "org/gated-2")
    assert await office.sees(GATED, ALICE) == held(hub, Repo("model", "org/gated-2"))
    assert await office.sees(GATED, BOB) == "403 GatedRepo"


async def test_open_repo_when_it_becomes_gated_then_its_files_are_shared_no_more(
    hub: StandInHub, office: Office, tmp_path: Path
) -> None:
    named = await office.names.resolve(OPEN, "main", "")
    assert named.is_open
    tree = await office.names.tree(named, "")
    path = write(tmp_path / "w", b"w" * 5000)
    dag = record(office.catalog, path)
    office.catalog.put_hub_blob(
        tree["model.safetensors"].etag, path, FileStamp.of(path), is_open=True, is_managed=True
    )
    office.catalog.enqueue_announcements([dag.root.multihash])
    hub.repos["model", "org/open"].gated = "auto"
    office.clock.move(61)
    named = await office.names.resolve(OPEN, "main", "")
    assert (named.is_open, named.gated) == (False, "auto")
    assert office.catalog.find_file(dag.root.multihash) is None
    whole = sha256_multihash(hashlib.sha256(path.read_bytes()).digest())
    assert office.catalog.find_file(whole) is None
    assert office.catalog.due_announcements(office.clock.now, 10) == []
    assert [blob.is_open for blob in office.catalog.hub_blobs()] == [False]
    assert await office.sees(OPEN, BOB) == "403 GatedRepo"
    assert await office.sees(OPEN, BOB, named.commit) == "403 GatedRepo"


async def test_open_repo_when_it_becomes_private_then_only_who_may_sees_it(
    hub: StandInHub, office: Office
) -> None:
    commit = await office.sees(OPEN, "")
    hub.repos["model", "org/open"].private = True
    office.clock.move(61)
    assert await office.sees(OPEN, "") == "401 RepoNotFound"
    # Its names are closed for everybody from here on, by commit, too.
    assert await office.sees(OPEN, BOB, commit) == "404 RepoNotFound"
    assert await office.sees(OPEN, ALICE, commit) == commit
    hub.stop()
    office.clock.move(3600)
    assert await office.sees(OPEN, "") == "401 RepoNotFound"
    assert await office.sees(OPEN, ALICE) == commit


async def test_open_repo_when_a_token_sees_that_it_is_private_then_others_do_not_share_that(
    hub: StandInHub, office: Office
) -> None:
    await office.names.resolve(OPEN, "main", "")
    hub.repos["model", "org/open"].private = True
    hub.repos["model", "org/open"].commit({"secret.txt": b"s"})
    office.clock.move(61)
    released = hub.delay(60, match="/revision/", times=1)
    alice = asyncio.create_task(office.sees(OPEN, ALICE))
    await until(lambda: bool(hub.log[1:]))
    others = [asyncio.create_task(office.sees(OPEN, token)) for token in (BOB, "")]
    await asyncio.wait(others, timeout=0.05)  # to join; whether they do, the answers are the same
    released.set()
    assert await alice == held(hub, OPEN)
    assert await asyncio.gather(*others) == ["404 RepoNotFound", "401 RepoNotFound"]


async def test_tokens_when_all_was_asked_then_nowhere_on_disk_or_at_the_cdn(
    hub: StandInHub, office: Office, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    hub.mode = "redirect"
    for repo in (OPEN, GATED, PRIVATE, Repo("model", "org/none")):
        for token in (ALICE, BOB, CAROL):
            await office.sees(repo, token)
    await office.names.pass_through("/api/whoami-v2", ALICE)
    await office.names.pass_through("/api/models/org/private/refs", ALICE)
    tokens = [token.encode() for token in (ALICE, BOB, CAROL)]
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert files
    for path in files:
        found = path.read_bytes()
        assert not any(token in found for token in tokens), path
    assert not any(token.decode() in caplog.text for token in tokens)
    assert hub.tokens_seen_by(hub.cdn_host) == set()


def test_proving_path_when_files_are_shown_to_all_then_another_is_taken() -> None:
    shown = [small_file(name, 9, name) for name in ("README.md", "x/LICENSE", ".gitattributes")]
    assert proving_path(shown) == ""
    small, large = small_file("a.json", 5, "a"), lfs_file("w.bin", 3, "w")
    assert proving_path([*shown, small]) == "a.json"
    assert proving_path([*shown, large, small]) == "w.bin"
