"""Targets of `sync` as values."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode.config import SyncConfig
from mirrornode.errors import ConfigError, TargetError
from mirrornode.mirror.sync_jobs import read_jobs
from mirrornode.mirror.sync_target import parse_sync_target

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
NODE = "/ip4/10.0.0.5/tcp/4101/p2p/12D3KooWBdfaMk7HBVdKKcqxbNXEHsVmwUQrhpVyrhQmY3V76h18"


def test_target_when_of_the_hub_then_pattern_and_folder_are_told_apart() -> None:
    whole = parse_sync_target("hf:org/name@main")
    assert (whole.text, whole.patterns, whole.pin_name) == ("hf:org/name", (), "sync:hf:org/name")
    assert whole.hub is not None
    assert (str(whole.hub.repo), whole.hub.revision, whole.hub.path) == ("org/name", "main", "")
    some = parse_sync_target("hf:org/name@v1/fp16/*.safetensors")
    assert some.hub is not None
    assert (some.hub.revision, some.hub.path, some.patterns) == (
        "v1", "fp16", ("fp16/*.safetensors",),
    )  # fmt: skip
    assert parse_sync_target(some.text) == some


def test_target_when_a_cid_a_pinset_or_a_folder_then_that() -> None:
    assert str(parse_sync_target(CID).cid) == CID
    assert parse_sync_target(f"ipfs://{CID}") == parse_sync_target(CID)
    assert parse_sync_target(f"pins:{NODE}").node == NODE
    assert parse_sync_target("pins:http://10.0.0.5:8090").node == "http://10.0.0.5:8090"
    assert parse_sync_target("/srv/models").folder == Path("/srv/models")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models",
        "pins:",
        "pins:ftp://x",
        "pins:/ip4/1.2.3.4/tcp/1",
        f"{CID}/a",
        "hf:",
        "hf:a/b\nc",
        "hf:org/name@main/../x",
        "x" * 5000,
    ],
)
def test_target_when_it_is_none_then_refused(text: str) -> None:
    with pytest.raises(TargetError):
        parse_sync_target(text)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (SyncConfig("models"), "not a target"),
        (SyncConfig("hf:org/name", every="soon"), "every"),
        (SyncConfig("hf:org/name", window="night"), "window"),
        (SyncConfig("hf:org/name", out="models"), "absolute"),
        (SyncConfig("hf:org/name", from_node="server"), "not a node"),
        (SyncConfig("/srv/models", from_node=NODE), "from_node"),
        (SyncConfig(f"pins:{NODE}", out="/srv/out"), "out"),
    ],
)
def test_jobs_when_a_table_makes_no_sense_then_refused_by_its_target(
    table: SyncConfig, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        read_jobs([table])
    assert table.target in str(caught.value)


def test_jobs_when_a_target_is_named_twice_then_refused() -> None:
    twice = [SyncConfig("hf:org/name"), SyncConfig("hf:org/name@main", every="1h")]
    with pytest.raises(ConfigError, match="twice"):
        read_jobs(twice)
    assert len(read_jobs([twice[0], SyncConfig("hf:org/name", from_node=NODE)])) == 2
