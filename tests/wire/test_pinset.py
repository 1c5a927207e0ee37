"""Pinsets and cards of nodes, as bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirrornode.errors import RemoteProtocolError
from mirrornode.wire import pinset
from mirrornode.wire.pinset import NodeCard, PinnedThere, PinPage

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
COMMIT = "c" * 40
HUB = f"hf:org/name@{COMMIT}"
PEER = "12D3KooWBdfaMk7HBVdKKcqxbNXEHsVmwUQrhpVyrhQmY3V76h18"
PAGE = PinPage(
    [PinnedThere(3, CID, 10), PinnedThere(7, HUB, 20, {"main": 1.7e9, "v1": 1.6e9})], True
)


def dump(**record: Any) -> bytes:
    return json.dumps({"v": 1, **record}).encode()


def test_messages_when_sent_then_they_arrive() -> None:
    assert pinset.decode_question(pinset.encode_question(42)) == 42
    assert pinset.decode_page(pinset.encode_page(PAGE), 2) == PAGE
    card = NodeCard(PEER, (f"/ip4/10.0.0.5/tcp/4101/p2p/{PEER}",))
    assert pinset.decode_card(pinset.encode_card(card)) == card


def test_page_when_it_is_too_much_for_an_answer_then_the_rest_follows() -> None:
    refs = {f"{'r' * 200}{number}": 1.0 for number in range(40)}
    many = [PinnedThere(number, HUB, 1, refs) for number in range(1, 501)]
    data = pinset.encode_page(PinPage(many, False))
    assert len(data) <= pinset.MAX_ANSWER_BYTES
    page = pinset.decode_page(data, 0)
    assert 0 < len(page.pins) < 500
    assert page.has_more
    assert len(page.pins[0].refs) == pinset.MAX_REFS


@pytest.mark.parametrize(
    "pin",
    [
        [1, CID],
        [1, "nothing", 1, {}],
        [1, "hf:org/name@main", 1, {}],
        [1, f"hf:org/name@{COMMIT}/../x", 1, {}],
        [-1, CID, 1, {}],
        [True, CID, 1, {}],
        [1, CID, 1 << 60, {}],
        [1, HUB, 1, {"a..b": 1.0}],
        [1, HUB, 1, {"main": "now"}],
        [1, HUB, 1, {"main": 1e300}],
        [1, HUB, 1, {str(number): 1.0 for number in range(100)}],
        [1, CID + "a" * 3000, 1, {}],
    ],
)
def test_page_when_a_pin_is_none_then_refused(pin: list[Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        pinset.decode_page(dump(pins=[pin], more=False), 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"v":2,"pins":[],"more":false}',
        dump(pins={}, more=False),
        dump(pins=[], more=True),
        dump(pins=[[2, CID, 1, {}], [2, CID, 1, {}]], more=False),
        dump(pins=[[1, CID, 1, {}]], more=False),  # asked for those after 1
        b"[" * 100_000,
        b" " * (pinset.MAX_ANSWER_BYTES + 1),
    ],
)
def test_page_when_it_is_no_answer_then_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        pinset.decode_page(data, 1)


@pytest.mark.parametrize("data", [b"x", dump(), dump(after=-1), dump(after=1.5), dump(after="1")])
def test_question_when_it_is_none_then_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        pinset.decode_question(data)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"peer_id": "a b", "addresses": ["/ip4/1.2.3.4/tcp/1/p2p/a b"]},
        {"peer_id": PEER, "addresses": []},
        {"peer_id": PEER, "addresses": ["/ip4/1.2.3.4/tcp/1/p2p/another"]},
        {"peer_id": PEER, "addresses": [1]},
        {"peer_id": PEER, "addresses": [f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}"] * 100},
    ],
)
def test_card_when_it_is_none_then_refused(record: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        pinset.decode_card(dump(**record))
