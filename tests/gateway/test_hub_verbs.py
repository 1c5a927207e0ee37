"""Verbs of the Hub from JSON fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirrornode.errors import TargetError
from mirrornode.events import Event
from mirrornode.gateway.hub_verbs import hub_get_request
from mirrornode.gateway.verbs import add
from mirrornode.mirror.hub.get import HubGetRequest

FIELDS: dict[str, Any] = {"target": "hf:org/name", "hub_cache": "/cache/hub"}


def ignore(event: Event) -> None:
    """Progress nobody asked for."""


def test_request_when_all_is_given_then_all_is_taken() -> None:
    more = {"dest": "out", "folder": "/home/x", "token": "hf_x", "include": ["*.json"],
            "exclude": ["a"], "peers": ["/ip4/1.2.3.4/tcp/1/p2p/x"]}  # fmt: skip
    assert hub_get_request({**FIELDS, **more}) == HubGetRequest(
        "hf:org/name",
        Path("/home/x"),
        Path("out"),
        Path("/cache/hub"),
        "hf_x",
        ("*.json",),
        ("a",),
        ("/ip4/1.2.3.4/tcp/1/p2p/x",),
    )


@pytest.mark.parametrize(
    "wrong",
    [{"hub_cache": ""}, {"hub_cache": "relative"}, {"hub_cache": 5}, {"token": 5},
     {"token": "two\nlines"}, {"token": "x" * 5000}, {"token": "schl\u00fcssel"},
     {"include": "*.json"}, {"exclude": [1]}, {"mirrors": ["http://x"]}, {"dest": 5}],
)  # fmt: skip
def test_request_when_a_field_is_wrong_then_refused_without_the_token(
    wrong: dict[str, Any],
) -> None:
    with pytest.raises(TargetError) as caught:
        hub_get_request({**FIELDS, "token": "hf_secret", **wrong})
    assert "hf_secret" not in str(caught.value)
    assert "xxxxx" not in str(caught.value)


def test_add_when_the_path_is_a_cache_of_clients_then_told_how_to_share_it(tmp_path: Path) -> None:
    (tmp_path / "hub" / "models--org--name" / "snapshots").mkdir(parents=True)
    with pytest.raises(TargetError, match="--hf-cache"):
        add(None, {"paths": [str(tmp_path / "hub")], "only_hash": True}, ignore)
