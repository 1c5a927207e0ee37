"""Answers to DHT requests: what is told, what is kept, what is ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornode.errors import RemoteProtocolError
from mirrornode.routing.kad.addresses import AddressBook, LanAddresses
from mirrornode.routing.kad.keys import peer_kad_id
from mirrornode.routing.kad.records import RECORD_VALIDITY_S, ProviderStore
from mirrornode.routing.kad.server import KadServer
from mirrornode.routing.kad.table import RoutingTable
from mirrornode.routing.kad.values import ValueLimits, ValueStore
from mirrornode.wire.ipns import create_record, dht_key, name_of_seed
from mirrornode.wire.kad import KadMessage, KadPeer, KadRecord, MessageType
from mirrornode.wire.peer_id import peer_id_to_bytes
from support.dht_room import multihash_of
from support.virtual_swarm import make_peer_id

OWN, ASKER = make_peer_id("own"), make_peer_id("asker")
LINK = "/ip4/10.0.0.9/tcp/55555"
KEY = multihash_of("content")
OWN_ADDRESS = "/ip4/10.0.0.1/tcp/4101"
UNIX_NOW = 1_700_000_000.0


class Bench:
    """A server with its parts at hand."""

    def __init__(self, peers: int = 0) -> None:
        self.table = RoutingTable(peer_kad_id(OWN))
        self.book = AddressBook()
        self.records = ProviderStore()
        self.values = ValueStore(ValueLimits(), lambda: UNIX_NOW)
        self.server = KadServer(
            OWN,
            table=self.table,
            book=self.book,
            records=self.records,
            values=self.values,
            address_filter=LanAddresses(list),
            own_addresses=lambda: [OWN_ADDRESS, "/ip4/127.0.0.1/tcp/4101"],
            is_connected=lambda peer_id: peer_id in self.table,
        )
        for number in range(peers):
            self.know(make_peer_id(f"peer {number}"))
        self.know(ASKER)

    def know(self, peer_id: str) -> None:
        self.table.add(peer_id)
        self.book.add(peer_id, ["/ip4/10.0.0.2/tcp/4101", "/ip4/127.0.0.1/tcp/4101"])

    def ask(self, message: KadMessage, *, now: float = 0.0, link: str = LINK) -> KadMessage | None:
        return self.server.answer(ASKER, link, message, now)

    def ask_for(self, kind: MessageType, key: bytes = KEY, *, link: str = LINK) -> KadMessage:
        answer = self.ask(KadMessage(kind, key), link=link)
        assert answer is not None
        return answer


def _claim(*peers: KadPeer) -> KadMessage:
    return KadMessage(MessageType.ADD_PROVIDER, KEY, provider_peers=peers)


@pytest.mark.parametrize(
    "kind", [MessageType.FIND_NODE, MessageType.GET_PROVIDERS, MessageType.GET_VALUE]
)
def test_answer_names_k_nearest_without_asker_and_self(kind: MessageType) -> None:
    bench = Bench(peers=60)
    bench.table.add(OWN)
    closer = bench.ask_for(kind).closer_peers
    assert len(closer) == 20
    assert not {OWN, ASKER} & {peer.peer_id for peer in closer}
    assert closer[0].addresses == ("/ip4/10.0.0.2/tcp/4101",), "no loopback over a LAN link"


def test_answer_over_loopback_names_loopback_addresses() -> None:
    closer = Bench(peers=1).ask_for(MessageType.FIND_NODE, link="/ip4/127.0.0.1/tcp/5").closer_peers
    assert len(closer[0].addresses) == 2


def test_answer_leaves_out_peers_without_a_usable_address() -> None:
    bench = Bench()
    bench.table.add(make_peer_id("nowhere"))
    assert bench.ask_for(MessageType.FIND_NODE).closer_peers == ()


def test_find_node_names_the_target_though_it_is_no_server() -> None:
    bench = Bench(peers=30)
    client = make_peer_id("client")
    bench.book.add(client, ["/ip4/10.0.0.3/tcp/4101"])
    closer = bench.ask_for(MessageType.FIND_NODE, peer_id_to_bytes(client)).closer_peers
    assert closer[0].peer_id == client
    assert len(closer) == 20


def test_find_node_for_the_asker_does_not_name_it() -> None:
    bench = Bench(peers=3)
    closer = bench.ask_for(MessageType.FIND_NODE, peer_id_to_bytes(ASKER)).closer_peers
    assert {ASKER, OWN}.isdisjoint(peer.peer_id for peer in closer)


@pytest.mark.parametrize("peers", [0, 3, 60])
def test_find_node_for_us_names_us_first(peers: int) -> None:
    # SOURCE: go-libp2p-kad-dht 0.24.2 lookupCheck: whoever names nobody gets no place in its table.
    closer = Bench(peers).ask_for(MessageType.FIND_NODE, peer_id_to_bytes(OWN)).closer_peers
    assert (closer[0].peer_id, closer[0].addresses) == (OWN, (OWN_ADDRESS,))
    assert len(closer) == min(peers + 1, 20)


def test_add_provider_has_no_answer_and_is_found_until_it_runs_out() -> None:
    bench = Bench()
    assert bench.ask(_claim(KadPeer(ASKER, ("/ip4/10.0.0.9/tcp/4101",)))) is None
    (provider,) = bench.ask_for(MessageType.GET_PROVIDERS).provider_peers
    assert provider.peer_id == ASKER
    assert provider.addresses == ("/ip4/10.0.0.9/tcp/4101",)
    query = KadMessage(MessageType.GET_PROVIDERS, KEY)
    later = bench.ask(query, now=RECORD_VALIDITY_S + 1)
    assert later is not None
    assert later.provider_peers == ()


@pytest.mark.parametrize(
    "peer",
    [
        KadPeer(make_peer_id("victim"), ("/ip4/10.0.0.9/tcp/4101",)),
        KadPeer(ASKER, ()),
        KadPeer(ASKER, ("/ip4/8.8.8.8/tcp/4101", "/ip4/127.0.0.1/tcp/22")),
    ],
)
def test_add_provider_for_others_or_without_fit_address_is_ignored(peer: KadPeer) -> None:
    bench = Bench()
    assert bench.ask(_claim(peer)) is None
    assert len(bench.records) == 0


def test_get_providers_names_us_when_we_provide() -> None:
    bench = Bench()
    bench.server.own_keys.add(KEY)
    (provider,) = bench.ask_for(MessageType.GET_PROVIDERS).provider_peers
    assert (provider.peer_id, provider.addresses) == (OWN, (OWN_ADDRESS,))


def test_get_value_has_nearer_peers_and_put_value_no_answer() -> None:
    bench = Bench(peers=3)
    assert len(bench.ask_for(MessageType.GET_VALUE, b"/ipns/name").closer_peers) == 3
    for record in (None, KadRecord(b"/ipns/name", b"x"), KadRecord(b"/ipns/other", b"x")):
        with pytest.raises(RemoteProtocolError):
            bench.ask(KadMessage(MessageType.PUT_VALUE, b"/ipns/name", record=record))


def test_value_when_put_is_sent_back_and_then_given_with_nearer_peers() -> None:
    bench = Bench(peers=3)
    seed = bytes(32)
    made = create_record(seed, "/ipfs/bafkqaaa", sequence=1, expires_at=UNIX_NOW + 9, ttl_s=1)
    key = dht_key(name_of_seed(seed))
    message = KadMessage(MessageType.PUT_VALUE, key, record=KadRecord(key, made.binary))
    assert bench.ask(message) == message
    answer = bench.ask_for(MessageType.GET_VALUE, key)
    assert answer.record == KadRecord(key, made.binary, "2023-11-14T22:13:20Z")
    assert len(answer.closer_peers) == 3


def test_ping_is_answered() -> None:
    assert Bench().ask(KadMessage(MessageType.PING)) == KadMessage(MessageType.PING)


@pytest.mark.parametrize(
    "message",
    [
        KadMessage(MessageType.FIND_NODE),
        KadMessage(MessageType.GET_PROVIDERS, b"k" * 81),
        KadMessage(MessageType.ADD_PROVIDER, b"k" * 81),
    ],
)
def test_answer_refuses_keys_out_of_bounds(message: KadMessage) -> None:
    with pytest.raises(RemoteProtocolError):
        Bench().ask(message)


@given(st.sampled_from(MessageType), st.binary(max_size=128))
def test_answer_to_any_key_is_an_answer_or_a_refusal(kind: MessageType, key: bytes) -> None:
    try:
        answer = Bench(peers=3).ask(KadMessage(kind, key))
    except RemoteProtocolError:
        return
    assert answer is None or answer.type is kind
