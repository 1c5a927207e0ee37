"""Resolving names: TTL, single flight, stale answers, renames, trees, what is passed through."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mirrornode.errors import HubNotFound, HubRefusal, OriginAway
from mirrornode.mirror.hub import names as names_module
from mirrornode.mirror.hub.names import SIGHT_TTL_S
from mirrornode.wire.hub import Repo
from support.hub_office import LONG_ENOUGH_S, Clock, Office, office_of
from support.hub_origin import ALICE, BOB, StandInHub, running_hub

OPEN, GATED, PRIVATE = (Repo("model", f"org/{name}") for name in ("open", "gated", "private"))
NOBODY = "hf_not_known_to_the_hub"


def held(hub: StandInHub, repo: Repo = OPEN) -> str:
    return hub.repos[repo.type, repo.name].sha


async def test_resolve_when_first_asked_then_what_the_origin_says(
    hub: StandInHub, office: Office
) -> None:
    hub.with_xet = True
    named = await office.names.resolve(OPEN, "main", "")
    assert (named.repo, named.commit) == (OPEN, held(hub))
    assert (named.licence, named.gated, named.is_private, named.is_open) == (
        "apache-2.0", "", False, True,
    )  # fmt: skip
    assert named.vouched_by == f"hub:{hub.host}"
    assert named.warning == ""
    assert named.info["sha"] == named.commit
    assert "xet" not in str(named.info).lower()


async def test_resolve_when_within_the_ttl_then_the_origin_is_not_asked(
    hub: StandInHub, office: Office
) -> None:
    first = await office.names.resolve(OPEN, "main", "")
    hub.repos["model", "org/open"].commit({"new.txt": b"x"})
    office.clock.move(59)
    assert (await office.names.resolve(OPEN, "main", BOB)).commit == first.commit
    assert len(hub.log) == 1
    office.clock.move(2)
    assert (await office.names.resolve(OPEN, "main", "")).commit == held(hub) != first.commit
    assert len(hub.log) == 2


async def test_resolve_when_ttl_is_zero_then_always_asked(hub: StandInHub, tmp_path: Path) -> None:
    with office_of(tmp_path / "home", hub, ref_ttl_s=0.0) as office:
        for _ in range(3):
            await office.names.resolve(OPEN, "main", "")
    assert len(hub.log) == 3


async def test_resolve_when_many_ask_at_once_then_the_origin_is_asked_once(
    hub: StandInHub, office: Office
) -> None:
    released = hub.delay(60, match="/revision/")
    asking = [asyncio.create_task(office.names.resolve(OPEN, "main", "")) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()  # who leaves does not take the answer from the others
    released.set()
    named = await asyncio.gather(*asking[1:])
    assert {one.commit for one in named} == {held(hub)}
    assert len(hub.log) == 1


async def test_resolve_when_revalidated_by_many_tokens_then_the_origin_is_asked_once(
    hub: StandInHub, office: Office
) -> None:
    await office.names.resolve(OPEN, "main", "")
    office.clock.move(61)
    released = hub.delay(60, match="/revision/")
    asking = [
        asyncio.create_task(office.names.resolve(OPEN, "main", token))
        for token in (ALICE, BOB, "", BOB)
    ]
    await asyncio.sleep(0)
    released.set()
    await asyncio.gather(*asking)
    assert len(hub.log) == 2


@pytest.mark.parametrize("shown", [40, 12])
async def test_resolve_when_a_commit_is_named_then_never_asked_again_for_its_meaning(
    hub: StandInHub, office: Office, shown: int
) -> None:
    revision = held(hub)[:shown]
    await office.names.resolve(OPEN, revision, "")
    office.clock.move(SIGHT_TTL_S - 1)
    assert (await office.names.resolve(OPEN, revision, "")).commit == held(hub)
    assert len(hub.log) == 1
    hub.stop()
    office.clock.move(10 * SIGHT_TTL_S)
    named = await office.names.resolve(OPEN, revision, "")
    assert named.commit == held(hub)
    assert named.warning == ""


async def test_resolve_when_a_short_hash_was_never_asked_for_then_known_commits_are_looked_at(
    hub: StandInHub, office: Office
) -> None:
    await office.names.resolve(OPEN, "main", "")
    hub.stop()
    office.clock.move(61)
    assert (await office.names.resolve(OPEN, held(hub)[:9], "")).commit == held(hub)
    with pytest.raises(OriginAway):
        await office.names.resolve(OPEN, held(hub)[:4], "")


async def test_resolve_when_the_origin_is_away_then_stale_with_a_warning(
    hub: StandInHub, office: Office
) -> None:
    before = await office.names.resolve(OPEN, "main", "")
    hub.stop()
    office.clock.move(3600)
    stale = await office.names.resolve(OPEN, "main", "")
    assert (stale.commit, stale.info) == (before.commit, before.info)
    assert stale.warning.startswith("stale: org/open@main is as of 2023-11-14 22:13 UTC")
    assert hub.host in stale.warning
    assert stale.is_open
    hub.start()
    office.clock.move(LONG_ENOUGH_S)
    assert (await office.names.resolve(OPEN, "main", "")).warning == ""


@pytest.mark.parametrize("status", [429, 503])
async def test_resolve_when_the_origin_is_out_of_order_then_stale(
    hub: StandInHub, office: Office, status: int
) -> None:
    await office.names.resolve(OPEN, "main", "")
    hub.refuse(status, match="/api/")
    office.clock.move(61)
    assert "stale" in (await office.names.resolve(OPEN, "main", "")).warning


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", '{"sha": "main"}', '{"sha": 7}'])
async def test_resolve_when_the_origin_talks_nonsense_then_it_counts_as_away(
    hub: StandInHub, office: Office, text: str
) -> None:
    before = await office.names.resolve(OPEN, "main", "")
    hub.garble(text)
    office.clock.move(61)
    named = await office.names.resolve(OPEN, "main", "")
    assert named.commit == before.commit
    assert "stale" in named.warning


async def test_resolve_when_the_origin_is_slow_then_the_stale_name_comes_first(
    hub: StandInHub, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await office.names.resolve(OPEN, "main", "")
    hub.repos["model", "org/open"].commit({"new.txt": b"x"})
    office.clock.move(61)
    released = hub.delay(60, match="/revision/")
    monkeypatch.setattr(names_module, "STALE_PATIENCE_S", 0.05)
    stale = await office.names.resolve(OPEN, "main", "")
    assert stale.commit == before.commit
    assert "no answer in time" in stale.warning
    monkeypatch.undo()
    released.set()  # the question went on; who asks now gets its answer
    assert (await office.names.resolve(OPEN, "main", "")).commit == held(hub)
    assert len(hub.log) == 2


async def test_resolve_when_unknown_and_away_then_the_origin_is_named(
    hub: StandInHub, office: Office
) -> None:
    hub.stop()
    with pytest.raises(OriginAway, match="org/new@main") as caught:
        await office.names.resolve(Repo("model", "org/new"), "main", ALICE)
    assert hub.host in str(caught.value)
    assert ALICE not in str(caught.value)


async def test_resolve_when_answers_cross_then_the_later_question_counts(
    hub: StandInHub, office: Office
) -> None:
    await office.names.resolve(OPEN, "main", "")
    office.catalog.put_hub_ref(OPEN, "main", "f" * 40, "hub:x", seen_at=office.clock.now - 1)
    assert (await office.names.resolve(OPEN, "main", "")).commit == held(hub)


async def test_resolve_when_restarted_then_names_are_remembered(
    hub: StandInHub, tmp_path: Path
) -> None:
    with office_of(tmp_path / "home", hub) as office:
        before = await office.names.resolve(OPEN, "main", "")
        await office.names.tree(before, "")
    hub.stop()
    with office_of(tmp_path / "home", hub) as office:
        office.clock.move(3600)
        named = await office.names.resolve(OPEN, "main", "")
        assert named.commit == before.commit
        assert set(await office.names.tree(named, "")) == {
            "README.md", "config.json", "model.safetensors",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("repo", "revision", "token", "status", "code"),
    [
        (Repo("model", "org/none"), "main", "", 401, "RepoNotFound"),
        (Repo("model", "org/none"), "main", BOB, 404, "RepoNotFound"),
        (OPEN, "nowhere", "", 404, "RevisionNotFound"),
        (PRIVATE, "main", "", 401, "RepoNotFound"),
        (PRIVATE, "main", BOB, 404, "RepoNotFound"),
        (OPEN, "main", NOBODY, 401, ""),
    ],
)
async def test_resolve_when_refused_then_as_the_hub_says_it_and_for_a_minute(
    hub: StandInHub, office: Office, repo: Repo, revision: str, token: str, status: int, code: str
) -> None:
    for _ in range(3):
        with pytest.raises(HubRefusal) as caught:
            await office.names.resolve(repo, revision, token)
        assert (caught.value.status, caught.value.code) == (status, code)
        assert isinstance(caught.value, HubNotFound) == bool(code)
        assert not token or token not in str(caught.value)
    assert len(hub.log) == 1
    office.clock.move(61)
    with pytest.raises(HubRefusal):
        await office.names.resolve(repo, revision, token)
    assert len(hub.log) == 2
    hub.stop()
    office.clock.move(3600)
    with pytest.raises(HubRefusal) as caught:  # the last word stays while nobody can be asked
        await office.names.resolve(repo, revision, token)
    assert (caught.value.status, caught.value.code) == (status, code)


async def test_resolve_when_a_branch_was_deleted_then_it_does_not_come_back_when_away(
    hub: StandInHub, office: Office
) -> None:
    hub.repos["model", "org/open"].commit({"x": b"x"}, ref="feature/x")
    await office.names.resolve(OPEN, "feature/x", "")
    del hub.repos["model", "org/open"].ref_of["refs/heads/feature/x"]
    office.clock.move(61)
    with pytest.raises(HubNotFound):
        await office.names.resolve(OPEN, "feature/x", "")
    hub.stop()
    with pytest.raises(OriginAway):
        await office.names.resolve(OPEN, "feature/x", ALICE)  # who was never told
    with pytest.raises(HubNotFound):
        await office.names.resolve(OPEN, "feature/x", "")


@pytest.mark.parametrize("revision", ["refs/pr/1", "feature/x", "v1.0"])
async def test_resolve_when_the_revision_is_not_a_branch_then_it_is_asked_for_quoted(
    hub: StandInHub, office: Office, revision: str
) -> None:
    repo = hub.repos["model", "org/open"]
    repo.commit({"x": b"x"}, ref="refs/pr/1")
    repo.commit({"y": b"y"}, ref="feature/x")
    repo.tag("v1.0")
    found = repo.find(revision)
    assert found is not None
    assert (await office.names.resolve(OPEN, revision, "")).commit == found.sha


@pytest.mark.parametrize("repo_type", ["dataset", "space"])
async def test_resolve_when_dataset_or_space_then_apart_from_the_model_of_that_name(
    hub: StandInHub, office: Office, repo_type: str
) -> None:
    other = hub.add_model("org/open", {"d.txt": b"d"}, repo_type=repo_type)
    named = await office.names.resolve(Repo(repo_type, "org/open"), "main", "")
    assert named.commit == other.sha
    assert (await office.names.resolve(OPEN, "main", "")).commit == held(hub)


async def test_resolve_when_renamed_then_both_names_work_also_offline(
    hub: StandInHub, office: Office
) -> None:
    hub.rename("org/open", "org/newer")
    newer = Repo("model", "org/newer")
    named = await office.names.resolve(OPEN, "main", "")
    assert (named.repo, named.info["id"]) == (OPEN, "org/newer")
    await office.names.tree(named, "")
    hub.stop()
    office.clock.move(61)
    for repo in (OPEN, newer):
        again = await office.names.resolve(repo, "main", "")
        assert (again.repo, again.commit) == (repo, named.commit)
        assert "config.json" in await office.names.tree(again, "")


async def test_resolve_when_a_second_origin_is_behind_then_the_newer_name_stays(
    tmp_path: Path,
) -> None:
    clock = Clock()
    with running_hub() as first, running_hub() as second:
        for hub, when in ((first, "2026-02-01"), (second, "2026-01-01")):
            repo = hub.add_model("org/open", {"when.txt": when.encode()})
            repo.last_modified = when
        with office_of(tmp_path / "home", first, second, clock=clock) as office:
            newer = await office.names.resolve(OPEN, "main", "")
            assert newer.vouched_by == f"hub:{first.host}"
            first.stop()
            clock.move(61)
            named = await office.names.resolve(OPEN, "main", "")
            assert (named.commit, named.warning) == (newer.commit, "")
            assert len(second.log) == 1
            second.repos["model", "org/open"].last_modified = "2026-03-01"
            clock.move(61)
            assert (await office.names.resolve(OPEN, "main", "")).commit == held(second)


async def test_tree_when_it_has_pages_then_complete_and_asked_for_once(
    hub: StandInHub, office: Office
) -> None:
    many = {f"part-{n // 500}/sample {n:05}.txt": b"%d" % n for n in range(2500)}
    hub.add_dataset("org/many", many)
    repo = Repo("dataset", "org/many")
    named = await office.names.resolve(repo, "main", "")
    trees = await asyncio.gather(*(office.names.tree(named, "") for _ in range(5)))
    assert all(set(tree) == set(many) for tree in trees)
    assert len(hub.requests("/tree/")) == 3
    office.clock.move(10 * SIGHT_TTL_S)
    assert set(await office.names.tree(named, "")) == set(many)
    assert len(hub.requests("/tree/")) == 3


async def test_tree_when_away_and_unknown_then_the_origin_is_named(
    hub: StandInHub, office: Office
) -> None:
    named = await office.names.resolve(OPEN, "main", "")
    hub.stop()
    with pytest.raises(OriginAway, match=named.commit[:12]) as caught:
        await office.names.tree(named, "")
    assert hub.host in str(caught.value)


async def test_tree_when_a_page_is_lost_then_nothing_is_kept(
    hub: StandInHub, office: Office
) -> None:
    hub.page_size = 1
    named = await office.names.resolve(OPEN, "main", "")
    hub.refuse(503, match="/tree/", times=1)
    with pytest.raises(OriginAway):
        await office.names.tree(named, "")
    office.clock.move(LONG_ENOUGH_S)
    hub.garble('{"no": "list"}', match="/tree/", times=1)
    with pytest.raises(OriginAway):
        await office.names.tree(named, "")
    office.clock.move(LONG_ENOUGH_S)
    assert len(await office.names.tree(named, "")) == 3


async def test_pass_through_when_public_then_kept_and_given_stale_when_away(
    hub: StandInHub, office: Office
) -> None:
    hub.with_xet = True
    target = "/api/models/org/open/refs?include_prs=1"
    await office.names.resolve(OPEN, "main", "")
    first = await office.names.pass_through(target, ALICE)
    assert hub.log[-1].token == ""  # what anybody may see is asked for without a token
    asked = len(hub.log)
    assert await office.names.pass_through(target, "") == first.__class__(
        200, {"content-type": first.headers["content-type"]}, first.json
    )
    assert len(hub.log) == asked
    hub.stop()
    office.clock.move(61)
    stale = await office.names.pass_through(target, "")
    assert stale.json == first.json
    assert stale.headers["x-hf-warning"].startswith(f"stale; {hub.host}")
    with pytest.raises(OriginAway, match=hub.host):
        await office.names.pass_through("/api/models/org/open/commits/main", "")


async def test_pass_through_when_a_token_is_needed_then_the_answer_is_not_kept(
    hub: StandInHub, office: Office
) -> None:
    target = "/api/models/org/private/refs"
    assert (await office.names.pass_through(target, ALICE)).status == 200
    assert (await office.names.pass_through(target, "")).status == 401
    assert (await office.names.pass_through(target, BOB)).error_code == "RepoNotFound"
    hub.stop()
    with pytest.raises(OriginAway):
        await office.names.pass_through(target, ALICE)


async def test_pass_through_when_the_repo_became_private_then_the_kept_answer_is_gone(
    hub: StandInHub, office: Office
) -> None:
    target = "/api/models/org/open/refs"
    assert (await office.names.pass_through(target, "")).status == 200
    hub.repos["model", "org/open"].private = True
    office.clock.move(61)
    assert (await office.names.pass_through(target, "")).status == 401
    hub.stop()
    office.clock.move(LONG_ENOUGH_S)
    with pytest.raises(OriginAway):
        await office.names.pass_through(target, "")


async def test_pass_through_when_it_depends_on_who_asks_then_never_kept(
    hub: StandInHub, office: Office
) -> None:
    for token, status in ((ALICE, 200), (BOB, 200), ("", 401)):
        answer = await office.names.pass_through("/api/whoami-v2", token)
        assert answer.status == status
    posted = await office.names.pass_through(
        "/api/models/org/open/paths-info/main", "", method="POST",
        body=b"paths=config.json&expand=true", content_type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert isinstance(posted.json, list)
    assert posted.json[0]["path"] == "config.json"
    hub.stop()
    with pytest.raises(OriginAway):
        await office.names.pass_through("/api/whoami-v2", ALICE)


async def test_pass_through_when_refs_were_never_asked_for_then_resolved_ones_are_listed(
    hub: StandInHub, office: Office
) -> None:
    await office.names.resolve(OPEN, "main", "")
    await office.names.resolve(OPEN, held(hub)[:10], "")
    await office.names.resolve(PRIVATE, "main", ALICE)
    hub.stop()
    answer = await office.names.pass_through("/api/models/org/open/refs", "")
    assert answer.json == {
        "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": held(hub)}],
        "tags": [],
        "converts": [],
    }
    private = "/api/models/org/private/refs"
    assert (await office.names.pass_through(private, ALICE)).status == 200
    for token in (BOB, ""):
        with pytest.raises(OriginAway):
            await office.names.pass_through(private, token)
