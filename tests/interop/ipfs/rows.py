"""What is played between this project and another implementation, feature by feature.

Each feature has up to two directions: *they* act on us (they dial, they fetch), or *we* act on
them. A play raises AssertionError or DriverError when it does not work, and NotPossible when the
other implementation, as it can be had here, has no such thing. `test_rows` runs them as tests,
`table` writes down what passed.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from interop.ipfs.drive import DriverError
from interop.ipfs.world import (
    HELIA,
    KUBO,
    NotPossible,
    Ours,
    Theirs,
    World,
    contents_of,
    wait_until,
)
from mirrornode.content.cid import DAG_PB, Cid

KINDS = (KUBO, HELIA)
LAN_DHT = "/ipfs/lan/kad/1.0.0"
SMALL_BYTES = 1000
LARGE_BYTES = 3 * (1 << 20) + 17  # several blocks in either profile
SHARDED_ENTRIES = 1100  # with their long names more than the 256 KiB that one block may hold
V0, V1 = "unixfs-v0-2015", "unixfs-v1-2025"
THEY, WE = "they", "we"

Play = Callable[[World, str], None]


@dataclass(frozen=True)
class Feature:
    """One line of the table.

    Attributes:
        they: Played when the other side acts; None when there is nothing to play.
        we: Played when this side acts.
        lacking: Why one of the two cannot be played with an implementation, by kind and direction.
    """

    name: str
    they: Play | None = None
    we: Play | None = None
    lacking: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def has(self, direction: str) -> bool:
        """Tell whether there is anything to play in a direction."""
        return (self.they if direction == THEY else self.we) is not None

    def play(self, world: World, kind: str, direction: str) -> None:
        """Play one direction with one implementation.

        Raises:
            NotPossible: It has no such thing.
            AssertionError, DriverError: It did not work.
        """
        if reason := self.lacking.get((kind, direction)):
            raise NotPossible(reason)
        play = self.they if direction == THEY else self.we
        assert play is not None
        try:
            play(world, kind)
        finally:
            world.close_ours()


# Connections


def they_dial(world: World, kind: str) -> None:
    ours, theirs = world.ours(), world.theirs(kind)
    theirs.call("connect", address=ours.address)
    wait_until(lambda: theirs.peer_id in ours.call("peers"), "an inbound link here")


def we_dial(world: World, kind: str) -> None:
    theirs = world.theirs(kind)
    ours = world.ours_connected(theirs)
    assert theirs.peer_id in ours.call("peers")
    wait_until(lambda: theirs.knows(ours.peer_id), "a connection there")


def they_identify(world: World, kind: str) -> None:
    theirs = world.theirs(kind)
    ours = world.ours_connected(theirs)
    address = ours.address.rpartition("/p2p/")[0]
    if kind == KUBO:  # it tells the addresses only, which came the same way
        found = theirs.call("find_peer", peer_id=ours.peer_id)
        assert address in str(found), found
        return
    wait_until(lambda: theirs.call("known", peer_id=ours.peer_id)["agent"], "an agent there")
    known = theirs.call("known", peer_id=ours.peer_id)
    assert known["agent"].startswith("mirrornode/")
    assert LAN_DHT in known["protocols"]
    assert address in known["addresses"]


def we_identify(world: World, kind: str) -> None:
    theirs = world.theirs(kind)
    known = world.ours_connected(theirs).call("known", peer_id=theirs.peer_id)
    assert known["agent"].startswith({KUBO: "kubo/", HELIA: "helia/"}[kind])
    assert LAN_DHT in known["protocols"]
    assert theirs.address.rpartition("/p2p/")[0] in known["addresses"]


def they_ping(world: World, kind: str) -> None:
    theirs = world.theirs(kind)
    theirs.call("ping", address=world.ours().address)


def we_ping(world: World, kind: str) -> None:
    theirs = world.theirs(kind)
    world.ours_connected(theirs).call("ping", peer_id=theirs.peer_id)


def they_find_by_mdns(world: World, kind: str) -> None:
    """Kubo connects to whom it finds; js-libp2p says whom it has found."""
    ours, theirs = world.ours(), world.open_theirs(kind, mdns=True)
    ours.call("start_mdns")
    verb = "peers" if kind == KUBO else "found_by_mdns"
    wait_until(lambda: ours.peer_id in theirs.call(verb), "found by mDNS there")


def we_find_by_mdns(world: World, kind: str) -> None:
    ours, theirs = world.ours(), world.open_theirs(kind, mdns=True)
    ours.call("start_mdns")
    wait_until(lambda: theirs.peer_id in ours.call("found_by_mdns"), "found by mDNS here")
    assert theirs.address in ours.call("found_by_mdns")[theirs.peer_id]


# The DHT of the local network


def they_find_providers(world: World, kind: str) -> None:
    theirs = world.theirs(kind)
    ours = world.ours_connected(theirs)
    cid = ours.add(world.make_file(SMALL_BYTES))
    # Kubo's library has no call that looks for providers. It shows that it took our record by
    # giving it to another node, which knows nobody else.
    asker: Ours | Theirs = world.ours_connected(theirs) if kind == KUBO else theirs
    wait_until(lambda: _names(asker, cid, ours), "our provider record")


def we_find_providers(world: World, kind: str) -> None:
    theirs = world.theirs(kind)
    ours = world.ours_connected(theirs)
    cid = theirs.call("add", path=world.make_file(SMALL_BYTES))
    if kind == HELIA:
        theirs.call("provide", cid=cid)
    wait_until(lambda: _names(ours, cid, theirs), "their provider record")


def they_find_peer(world: World, kind: str) -> None:
    """They look for a node that only a third one is connected to."""
    theirs = world.theirs(kind)
    between, ours = world.ours_connected(theirs), world.ours()
    ours.call("connect", address=between.address)
    address = ours.address.rpartition("/p2p/")[0]
    wait_until(lambda: ours.call("table_size"), "the third node in our table")
    wait_until(
        lambda: address in str(_tried(theirs, "find_peer", peer_id=ours.peer_id)),
        "our address there",
    )


def _tried(theirs: Theirs, verb: str, **arguments: object) -> object:
    """Return the result of a call, None when it cannot be done yet."""
    try:
        return theirs.call(verb, **arguments)
    except DriverError:
        return None


def _names(asker: Ours | Theirs, cid: str, provider: Ours | Theirs) -> bool:
    return any(
        found["peer_id"] == provider.peer_id
        and any(address in provider.address for address in found["addresses"])
        for found in asker.call("find_providers", cid=cid)
    )


# Content


def same_cids(world: World, kind: str) -> None:
    """Both sides add the same files, and name them alike."""
    ours, theirs = world.ours(), world.theirs(kind)
    paths = [world.make_file(size) for size in (0, SMALL_BYTES, 262_144, 262_145, LARGE_BYTES)]
    for profile in (V0,) if kind == KUBO else (V0, V1):
        asked = {} if kind == KUBO else {"profile": profile}
        found = [theirs.call("add", path=path, **asked) for path in paths]
        assert found == ours.cids(paths, "--profile", profile), profile


def they_fetch(profile: str, size_bytes: int) -> Play:
    """Return a play in which they fetch a file of ours by bitswap."""

    def play(world: World, kind: str) -> None:
        theirs = world.theirs(kind)
        ours = world.ours_connected(theirs)
        path, out = world.make_file(size_bytes), world.path("out.bin")
        cid = ours.add(path, "--profile", profile)
        theirs.call("get", cid=cid, out=out)
        assert filecmp.cmp(path, out, shallow=False)

    return play


def we_fetch(profile: str, size_bytes: int) -> Play:
    """Return a play in which we fetch a file of theirs by bitswap."""

    def play(world: World, kind: str) -> None:
        theirs = world.theirs(kind)
        ours = world.ours_connected(theirs)
        path, out = world.make_file(size_bytes), world.path("out.bin")
        asked = {} if kind == KUBO else {"profile": profile}
        cid = theirs.call("add", path=path, **asked)
        if kind == KUBO and profile == V1:  # it adds as version 0, and answers to both names
            cid = str(Cid.v1(DAG_PB, Cid.parse(cid).multihash))
        ours.get(cid, out)
        assert filecmp.cmp(path, out, shallow=False)

    return play


def they_fetch_folder(entries: int) -> Play:
    """Return a play in which they fetch a folder of ours by bitswap."""

    def play(world: World, kind: str) -> None:
        theirs = world.theirs(kind)
        ours = world.ours_connected(theirs)
        path, out = world.make_folder(entries), world.path("out")
        cid = ours.add(path)
        theirs.call("get_folder", cid=cid, out=out)
        assert contents_of(out) == contents_of(path)

    return play


def we_fetch_folder(entries: int) -> Play:
    """Return a play in which we fetch a folder of theirs by bitswap."""

    def play(world: World, kind: str) -> None:
        theirs = world.theirs(kind)
        ours = world.ours_connected(theirs)
        path, out = world.make_folder(entries), world.path("out")
        ours.get(theirs.call("add_folder", path=path), out)
        assert contents_of(out) == contents_of(path)

    return play


def they_find_and_fetch(world: World, kind: str) -> None:
    """They fetch what a node has that they are not connected to: its record leads them there."""
    theirs = world.theirs(kind)
    between, ours = world.ours_connected(theirs), world.ours()
    ours.call("connect", address=between.address)
    path, out = world.make_file(SMALL_BYTES), world.path("out.bin")
    cid = ours.add(path)
    wait_until(lambda: _names(between, cid, ours), "our provider record at the third node")
    theirs.call("get", cid=cid, out=out)
    assert filecmp.cmp(path, out, shallow=False)
    assert theirs.knows(ours.peer_id)


def they_fetch_over_http(world: World, kind: str) -> None:
    ours = world.ours()
    theirs = world.open_http(gateways=[ours.gateway])
    for size_bytes in (SMALL_BYTES, LARGE_BYTES):
        path, out = world.make_file(size_bytes), world.path("out.bin")
        theirs.call("get", cid=ours.add(path), out=out)
        assert filecmp.cmp(path, out, shallow=False)


def they_fetch_by_router(world: World, kind: str) -> None:
    """They know nothing of a node but its URL, and ask that for providers."""
    ours = world.ours()
    theirs = world.open_http(routers=[ours.gateway])
    path, out = world.make_file(LARGE_BYTES), world.path("out.bin")
    theirs.call("get", cid=ours.add(path), out=out)
    assert filecmp.cmp(path, out, shallow=False)


def they_read_car(world: World, kind: str) -> None:
    ours, car = world.ours(), world.path("ours.car")
    cid = ours.add(world.make_file(LARGE_BYTES))
    done = ours.run("export", cid, car, "--no-names")
    assert done.code == 0, done.stderr
    read = world.driver(kind).call("read_car", path=car)
    assert read["roots"] == [cid]
    leaves = -(-LARGE_BYTES // (1 << 20))
    assert len(set(read["blocks"])) == leaves + 1


def we_read_car(world: World, kind: str) -> None:
    ours, theirs = world.ours(), world.open_http()
    path, car, out = world.make_file(LARGE_BYTES), world.path("theirs.car"), world.path("out.bin")
    cid = theirs.call("add", path=path)
    theirs.call("write_car", cid=cid, path=car)
    done = ours.run("import", car, "-o", out)
    assert done.code == 0, done.stderr
    assert filecmp.cmp(path, out / cid if out.is_dir() else out, shallow=False)


# Names


def they_resolve(world: World, kind: str) -> None:
    theirs = world.theirs(kind)
    ours = world.ours_connected(theirs)
    path, out = world.make_file(SMALL_BYTES), world.path("out.bin")
    cid = ours.add(path)
    wait_until(lambda: ours.call("table_size"), "they in our table")
    done = ours.run("publish", cid, "--name", "ours", "--json")
    assert done.code == 0, done.stderr
    name = done.record["name"]
    if kind == HELIA:
        wait_until(lambda: _tried(theirs, "resolve", name=name) == f"/ipfs/{cid}", "our record")
        return
    # Kubo's library has no call for it. It shows that it keeps our record by giving it to another
    # node, which knows nobody else.
    asker = world.ours_connected(theirs)
    wait_until(lambda: asker.call("table_size"), "they in the other's table")
    asker.get(f"ipns://{name}", out)
    assert filecmp.cmp(path, out, shallow=False)


def we_resolve(world: World, kind: str) -> None:
    """They publish a name for what another node of ours has."""
    theirs = world.theirs(kind)
    owner, asker = world.ours_connected(theirs), world.ours_connected(theirs)
    asker.call("connect", address=owner.address)
    path, out = world.make_file(SMALL_BYTES), world.path("out.bin")
    wait_until(lambda: theirs.call("table_size"), "we in their table")
    name = theirs.call("publish", cid=owner.add(path))
    asker.get(f"ipns://{name}", out)
    assert filecmp.cmp(path, out, shallow=False)


def _by_bitswap(name: str, profile: str, size_bytes: int) -> Feature:
    they, we = they_fetch(profile, size_bytes), we_fetch(profile, size_bytes)
    return Feature(f"bitswap: {name}", they, we)


FEATURES = (
    Feature("dial: TCP, Noise, Yamux", they_dial, we_dial),
    Feature("identify", they_identify, we_identify),
    Feature("ping", they_ping, we_ping, {(KUBO, THEY): "its library has no call for it"}),
    Feature("mDNS: find", they_find_by_mdns, we_find_by_mdns),
    Feature("LAN DHT: find providers", they_find_providers, we_find_providers),
    Feature("LAN DHT: find a peer", they_find_peer),
    Feature("the same CIDs for the same files", we=same_cids),
    _by_bitswap("a file by CIDv1", V1, LARGE_BYTES),
    _by_bitswap("a file by CIDv0", V0, LARGE_BYTES),
    _by_bitswap("one block", V1, SMALL_BYTES),
    Feature(
        "bitswap: a folder in shards (HAMT)",
        they_fetch_folder(SHARDED_ENTRIES),
        we_fetch_folder(SHARDED_ENTRIES),
    ),
    Feature("bitswap with whom the DHT names", they_find_and_fetch),
    Feature(
        "blocks over HTTP (`?format=raw`)",
        they_fetch_over_http,
        lacking={(KUBO, THEY): "Kubo fetches over HTTP from 0.35 on"},
    ),
    Feature(
        "Delegated Routing V1: find and fetch",
        they_fetch_by_router,
        lacking={(KUBO, THEY): "its library asks the DHT, whatever its routing is set to"},
    ),
    Feature(
        "CAR files (with `@ipld/car`)",
        they_read_car,
        we_read_car,
        {(KUBO, side): "its library has no call for it" for side in (THEY, WE)},
    ),
    Feature(
        "IPNS over the LAN DHT",
        they_resolve,
        we_resolve,
        {(KUBO, WE): "its library has no call that publishes"},
    ),
)
CASES = tuple(
    (feature, kind, direction)
    for feature in FEATURES
    for kind in KINDS
    for direction in (THEY, WE)
    if feature.has(direction)
)
