"""Names from peers: what they are told, whom we ask, and what their word is good for."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirrornode.config import HubConfig
from mirrornode.errors import OriginAway
from mirrornode.mirror.hub.peer_words import PeerWords
from mirrornode.wire import hub_peer
from mirrornode.wire.hub import HubFile, Repo
from mirrornode.wire.hub_peer import EtagQuestion, NameQuestion, PeerWord
from support.hub_office import Clock, Office, office_of
from support.hub_origin import ALICE, StandInHub
from support.hub_trees import large_tree, small_file
from support.shared_files import record, write
from support.virtual_swarm import VirtualNet, VirtualSwarm

OPEN, GATED, PRIVATE = (Repo("model", f"org/{name}") for name in ("open", "gated", "private"))


@dataclass
class Team:
    """Two nodes that are linked: `near` knows nothing yet and asks `far`."""

    near: Office
    far: Office
    far_id: str
    far_words: PeerWords
    far_swarm: VirtualSwarm


@contextlib.asynccontextmanager
async def team(folder: Path, hub: StandInHub, *, trust: str = "none") -> AsyncIterator[Team]:
    """Link two nodes; `trust` is that of the near one: "none", "all", "far" or "other"."""
    net, clock = VirtualNet(), Clock()
    near_swarm, far_swarm = net.join("near"), net.join("far")
    settings_of: dict[str, dict[str, Any]] = {
        "none": {},
        "all": {"trust_peers": True},
        "far": {"trusted_peers": (far_swarm.peer_id,)},
        "other": {"trusted_peers": ("12D3KooWother",)},
    }
    settings = settings_of[trust]
    with office_of(folder / "far", hub, clock=clock) as far:
        words = PeerWords(far.catalog, far_swarm, HubConfig(), clock=clock)
        far_swarm.serve(hub_peer.PROTOCOL, words.answer)
        near_swarm.link_to(far_swarm, far_swarm.listen[0])
        asking: list[PeerWords] = []

        async def ask(repo: Repo, revision: str) -> Any:
            return await asking[0].ask(repo, revision)

        with office_of(folder / "near", hub, clock=clock, ask_peers=ask, **settings) as near:
            asking.append(PeerWords(near.catalog, near_swarm, HubConfig(**settings), clock=clock))
            yield Team(near, far, far_swarm.peer_id, words, far_swarm)


async def learn(office: Office, repo: Repo, token: str = "") -> str:
    named = await office.names.resolve(repo, "main", token)
    await office.names.tree(named, token)
    return named.commit


@pytest.mark.parametrize("trust", ["all", "far"])
async def test_resolve_when_away_and_the_peer_is_trusted_then_its_word_is_taken_as_such(
    hub: StandInHub, tmp_path: Path, trust: str
) -> None:
    async with team(tmp_path, hub, trust=trust) as pair:
        commit = await learn(pair.far, OPEN)
        hub.stop()
        named = await pair.near.names.resolve(OPEN, "main", "")
        assert (named.commit, named.licence) == (commit, "apache-2.0")
        assert named.vouched_by == f"peer:{pair.far_id}"
        assert "unconfirmed" in named.warning
        assert pair.far_id in named.warning
        assert not named.is_open  # to be shared; the content may be had all the same
        await pair.near.access.check(named, "")
        tree = await pair.near.names.tree(named, "")
        assert set(tree) == {"README.md", "config.json", "model.safetensors"}
        assert not pair.near.catalog.is_vouched_open(tree["model.safetensors"].etag)
        by_commit = await pair.near.names.resolve(OPEN, commit, "")
        assert by_commit.vouched_by == f"peer:{pair.far_id}"
        listed = pair.near.catalog.hub_revisions()
        assert [(one.vouched_by, one.sight) for one in listed] == [(named.vouched_by, None)]


@pytest.mark.parametrize("trust", ["none", "other"])
async def test_resolve_when_the_peer_is_not_trusted_then_it_is_not_even_asked(
    hub: StandInHub, tmp_path: Path, trust: str
) -> None:
    async with team(tmp_path, hub, trust=trust) as pair:
        await learn(pair.far, OPEN)
        hub.stop()
        with pytest.raises(OriginAway):
            await pair.near.names.resolve(OPEN, "main", "")
        assert pair.far_swarm.received == []


async def test_resolve_when_the_origin_answers_then_no_peer_is_asked(
    hub: StandInHub, tmp_path: Path
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        await learn(pair.far, OPEN)
        await learn(pair.near, OPEN)
        hub.stop()
        pair.near.clock.move(3600)
        named = await pair.near.names.resolve(OPEN, "main", "")
        assert named.vouched_by == f"hub:{hub.host}"  # stale, and still better than hearsay
        assert pair.far_swarm.received == []


async def test_resolve_when_the_origin_is_back_then_its_word_replaces_the_peers(
    hub: StandInHub, tmp_path: Path
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        commit = await learn(pair.far, OPEN)
        lie = (small_file("evil.py", 1, "evil"),)
        pair.far.catalog.put_hub_revision(
            OPEN, "e" * 40, {}, "hub:made-up", recorded_at=pair.far.clock.now
        )
        pair.far.catalog.put_hub_tree(OPEN, "e" * 40, lie, "hub:made-up")
        pair.far.catalog.put_hub_ref(
            OPEN, "main", "e" * 40, "hub:made-up", seen_at=pair.far.clock.now
        )
        hub.stop()
        assert (await pair.near.names.resolve(OPEN, "main", "")).commit == "e" * 40
        hub.start()
        pair.near.clock.move(120)
        named = await pair.near.names.resolve(OPEN, "main", "")
        assert (named.commit, named.vouched_by, named.warning) == (commit, f"hub:{hub.host}", "")
        assert named.is_open


async def test_tree_when_a_peer_lied_about_a_commit_then_the_origins_tree_replaces_it(
    hub: StandInHub, tmp_path: Path
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        commit = (await pair.near.names.resolve(OPEN, "main", "")).commit
        await pair.far.names.resolve(OPEN, "main", "")
        pair.far.catalog.put_hub_tree(
            OPEN, commit, (small_file("evil.py", 1, "evil"),), f"hub:{hub.host}"
        )
        hub.stop()
        named = await pair.near.names.resolve(OPEN, commit, "")
        tree = await pair.near.names.tree(named, "")
        assert set(tree) == {"evil.py"}
        assert not pair.near.catalog.is_vouched_open(tree["evil.py"].etag)
        hub.start()
        pair.near.clock.move(120)
        assert set(await pair.near.names.tree(named, "")) == {
            "README.md", "config.json", "model.safetensors",
        }  # fmt: skip


async def test_resolve_when_trust_was_taken_back_then_an_earlier_word_is_not_used(
    hub: StandInHub, tmp_path: Path
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        await learn(pair.far, OPEN)
        hub.stop()
        await pair.near.names.resolve(OPEN, "main", "")
    with office_of(tmp_path / "near", hub) as office, pytest.raises(OriginAway):
        await office.names.resolve(OPEN, "main", "")


@pytest.mark.parametrize("repo", [GATED, PRIVATE])
async def test_answer_when_the_repo_is_not_open_then_as_if_unknown(
    hub: StandInHub, tmp_path: Path, repo: Repo
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        commit = await learn(pair.far, repo, ALICE)
        unknown = NameQuestion(Repo("model", "org/unknown"), "main")
        nothing = await pair.far_words.answer("peer", hub_peer.encode_question(unknown))
        for revision in ("main", commit):
            question = hub_peer.encode_question(NameQuestion(repo, revision))
            assert await pair.far_words.answer("peer", question) == nothing


async def test_answer_when_an_open_repo_was_closed_then_nothing_is_told_any_more(
    hub: StandInHub, tmp_path: Path
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        await learn(pair.far, OPEN)
        question = NameQuestion(OPEN, "main")
        asked = hub_peer.encode_question(question)
        told = await pair.far_words.answer("peer", asked)
        assert told is not None
        assert hub_peer.decode_word(told, question) is not None
        hub.repos["model", "org/open"].gated = "auto"
        pair.far.clock.move(61)
        await learn(pair.far, OPEN)
        told = await pair.far_words.answer("peer", asked)
        assert told is not None
        assert hub_peer.decode_word(told, question) is None


async def test_answer_when_a_name_is_itself_hearsay_then_it_is_not_passed_on(
    hub: StandInHub, tmp_path: Path
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        commit = await learn(pair.far, OPEN)
        hub.stop()
        await learn(pair.near, OPEN)
        near_words = PeerWords(pair.near.catalog, pair.far_swarm, HubConfig())
        for revision in ("main", commit):
            question = NameQuestion(OPEN, revision)
            told = await near_words.answer("peer", hub_peer.encode_question(question))
            assert told is not None
            assert hub_peer.decode_word(told, question) is None


async def test_resolve_when_the_origin_said_not_open_then_a_peers_word_opens_nothing(
    hub: StandInHub, tmp_path: Path
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        commit = await learn(pair.far, OPEN)
        pair.near.catalog.put_hub_sight(
            OPEN, canonical=OPEN, is_private=True, gated="", checked_at=pair.near.clock.now
        )
        hub.stop()
        for revision in ("main", commit):
            with pytest.raises(OriginAway):
                await pair.near.names.resolve(OPEN, revision, "")


async def test_ask_when_the_tree_has_many_pages_then_whole_and_asked_once(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_peer, "MAX_PAGE_FILES", 1000)
    files = sorted(large_tree(2500), key=lambda file: file.path)
    commit = "c" * 40
    async with team(tmp_path, hub, trust="all") as pair:
        far = pair.far.catalog
        far.put_hub_sight(OPEN, canonical=OPEN, is_private=False, gated="", checked_at=1.0)
        far.put_hub_revision(OPEN, commit, {}, "hub:h", recorded_at=1.0)
        far.put_hub_tree(OPEN, commit, files, "hub:h")
        hub.stop()
        named = await pair.near.names.resolve(OPEN, commit, "")
        trees = await asyncio.gather(*(pair.near.names.tree(named, "") for _ in range(3)))
        assert all(list(tree.values()) == files for tree in trees)
        pages = len(pair.far_swarm.received)
        assert pages == 3
        await pair.near.names.resolve(OPEN, commit, "")
        assert len(pair.far_swarm.received) == pages


@pytest.mark.parametrize("fault", ["E", "G"])
async def test_ask_when_the_peer_fails_then_no_word(
    hub: StandInHub, tmp_path: Path, fault: str
) -> None:
    async with team(tmp_path, hub, trust="all") as pair:
        await learn(pair.far, OPEN)
        hub.stop()
        pair.far_swarm.faults = fault
        with pytest.raises(OriginAway):
            await pair.near.names.resolve(OPEN, "main", "")
        pair.near.clock.move(31)  # it may be asked again by then
        assert (await pair.near.names.resolve(OPEN, "main", "")).vouched_by.startswith("peer:")


async def test_ask_when_peers_differ_then_the_latest_word_counts(
    hub: StandInHub, tmp_path: Path
) -> None:
    net = VirtualNet()
    near = net.join("near")
    for name, at in (("older", 5.0), ("newest", 9.0), ("hearsay", 99.0)):

        async def answer(peer_id: str, request: bytes, name: str = name, at: float = at) -> bytes:
            voucher = "peer:x" if name == "hearsay" else "hub:h"
            files = (HubFile(name, 1, "0" * 40),)
            return hub_peer.encode_word(PeerWord("c" * 40, {}, files, voucher, at))

        far = net.join(name)
        far.serve(hub_peer.PROTOCOL, answer)
        near.link_to(far, far.listen[0])
    with office_of(tmp_path / "near", hub) as office:
        words = PeerWords(office.catalog, near, HubConfig(trust_peers=True))
        heard = await words.ask(OPEN, "main")
    assert heard is not None
    assert heard.word.files is not None
    assert [file.path for file in heard.word.files] == ["newest"]


async def test_answer_when_asked_by_content_then_shared_files_only(
    hub: StandInHub, tmp_path: Path
) -> None:
    async with team(tmp_path, hub) as pair:
        data = b"x" * 4000
        path = write(tmp_path / "w", data)
        dag = record(pair.far.catalog, path)
        etag = hashlib.sha256(data).hexdigest()
        question = EtagQuestion((etag, "ab" * 32, "cd" * 20))
        told = await pair.far_words.answer("peer", hub_peer.encode_question(question))
        assert told is not None
        (holding,) = hub_peer.decode_holdings(told, question)
        assert (holding.etag, holding.root, holding.size_bytes) == (etag, dag.root, 4000)


@pytest.mark.parametrize("request_bytes", [b"", b"{}", b"\xff", b'{"v":1,"repo":"../x"}'])
async def test_answer_when_the_question_is_malformed_then_none(
    hub: StandInHub, tmp_path: Path, request_bytes: bytes
) -> None:
    async with team(tmp_path, hub) as pair:
        assert await pair.far_words.answer("peer", request_bytes) is None


async def test_ask_when_nobody_was_connected_then_asked_as_soon_as_somebody_is(
    hub: StandInHub, tmp_path: Path
) -> None:
    net = VirtualNet()
    near_swarm, far_swarm = net.join("near"), net.join("far")
    with office_of(tmp_path / "far", hub) as far:
        far_words = PeerWords(far.catalog, far_swarm, HubConfig())
        far_swarm.serve(hub_peer.PROTOCOL, far_words.answer)
        commit = await learn(far, OPEN)
        words = PeerWords(far.catalog, near_swarm, HubConfig(trust_peers=True))
        assert await words.ask(OPEN, "main") is None
        near_swarm.link_to(far_swarm, far_swarm.listen[0])
        heard = await words.ask(OPEN, "main")
        assert heard is not None
        assert heard.word.commit == commit
