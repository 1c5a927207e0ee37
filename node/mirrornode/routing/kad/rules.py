"""What tells the DHT of one network from that of another: name, protocol, who belongs to it.

IPFS has two. That of a LAN is made of private addresses and of peers that are linked; the public
one ("Amino") of public addresses and of thousands of strangers, of whom few are linked at a time
and none may be believed to be many. A node in public mode runs both beside each other.

Spec: go-libp2p-kad-dht `dual/dual.go`, `dht_filters.go`, `rt_diversity_filter.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mirrornode.routing.kad.addresses import AddressFilter, LanAddresses, PublicAddresses
from mirrornode.routing.kad.diversity import GroupLimits
from mirrornode.routing.kad.settings import KadSettings

LAN_KAD_PROTOCOL = "/ipfs/lan/kad/1.0.0"
PUBLIC_KAD_PROTOCOL = "/ipfs/kad/1.0.0"

MAX_DIALLED_LINKS = 128  # kept open by the public DHT; a walk asks some 20 strangers
MAX_PUBLIC_BOOK = 16_384  # peers; the public network has some 10,000 servers


@dataclass(frozen=True, slots=True)
class DhtRules:
    """One network's rules.

    Attributes:
        name: In log lines and in `status`.
        protocol: The protocol id that its servers list.
        addresses: Which addresses it is about, and which links may carry its messages.
        settings: Times and bounds.
        needs_address: Whether a peer without a fit address has no place in the routing table.
        keeps_unlinked: Whether peers stay in the table when their link ends, until they fail.
        groups: How many peers of one IP group the table may hold.
        max_dialled: Links that the DHT dialled and keeps open; 0 keeps all.
        max_known: Peers whose addresses are remembered.
    """

    name: str
    protocol: str
    addresses: AddressFilter
    settings: KadSettings = field(default_factory=KadSettings)
    needs_address: bool = False
    keeps_unlinked: bool = False
    groups: GroupLimits = field(default_factory=GroupLimits)
    max_dialled: int = 0
    max_known: int = 4096


def lan_rules(
    own_addresses: Callable[[], Sequence[str]],
    settings: KadSettings | None = None,
    *,
    beside_public: bool = False,
) -> DhtRules:
    """Return the rules of the DHT of local networks.

    Args:
        own_addresses: Our multiaddrs at present.
        settings: Times and bounds.
        beside_public: Peers linked over the internet are strangers here then: they get no answer
            and no place. Without the public DHT they can only be nodes that the user named.
    """
    addresses = LanAddresses(own_addresses, near_links_only=beside_public)
    return DhtRules("lan", LAN_KAD_PROTOCOL, addresses, settings or KadSettings())


def public_rules(settings: KadSettings | None = None) -> DhtRules:
    """Return the rules of the public DHT."""
    return DhtRules(
        "public",
        PUBLIC_KAD_PROTOCOL,
        PublicAddresses(),
        settings or KadSettings(),
        needs_address=True,
        keeps_unlinked=True,
        groups=GroupLimits(per_table=3, per_bucket=2),
        max_dialled=MAX_DIALLED_LINKS,
        max_known=MAX_PUBLIC_BOOK,
    )
