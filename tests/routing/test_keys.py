"""Places in the key space: known answers."""

from __future__ import annotations

import random

import pytest

from mirrornode.routing.kad.keys import (
    KEY_BITS,
    MAX_TARGET_PREFIX_BITS,
    common_prefix_bits,
    kad_id,
    peer_kad_id,
    random_key_near,
)
from support.fixtures import fixture_json


def test_kad_id_known_answers() -> None:
    # SOURCE: ipfs/specs src/routing/kad-dht.md
    assert (
        f"{peer_kad_id('12D3KooWLU2znyJMtDiHArqAGbZn8CgUGp92kxDBtefftEEaHSZS'):064x}"
        == "e43d28f0996557c0d5571d75c62a57a59d7ac1d30a51ecedcdb9d5e4afa56100"
    )
    multihash = "1220e536c7f88d731f374dccb568aff6f56e838a19382e488039b1ca8ad2599e82fe"
    assert (
        f"{kad_id(bytes.fromhex(multihash)):064x}"
        == "d623250f3f660ab4c3a53d3c97b3f6a0194c548053488d093520206248253bcb"
    )


def test_kad_id_of_the_fixtures() -> None:
    vectors = fixture_json("vectors/libp2p_vectors.json")
    for vector in vectors["peer_ids"]:
        assert f"{peer_kad_id(vector['b58']):064x}" == vector["kad_id_hex"]
    for vector in vectors["content_kad_ids"]:
        key = bytes.fromhex(vector["multihash_hex"])
        assert f"{kad_id(key):064x}" == vector["kad_id_hex"]


@pytest.mark.parametrize("bits", [0, 1, 7])
def test_random_key_near_shares_exactly_that_prefix(bits: int) -> None:
    own = kad_id(b"own")
    key = random_key_near(own, bits, random.Random(1))
    assert common_prefix_bits(own, kad_id(key)) == bits


def test_random_key_near_refuses_endless_searches() -> None:
    with pytest.raises(ValueError, match="prefix_bits"):
        random_key_near(0, MAX_TARGET_PREFIX_BITS + 1, random.Random(1))


def test_common_prefix_bits_of_equal_places() -> None:
    assert common_prefix_bits(5, 5) == KEY_BITS
