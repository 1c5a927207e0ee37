"""The identify message: what peers tell each other right after they have connected.

Encodes ours and reads theirs, with bounds on everything that is kept. Which streams carry it is
the business of `connection`.
Spec: libp2p identify/README.md, `/ipfs/id/1.0.0` and `/ipfs/id/push/1.0.0`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from libp2p.identity.identify.pb.identify_pb2 import Identify
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from mirrornode.errors import RemoteProtocolError

IDENTIFY = "/ipfs/id/1.0.0"
IDENTIFY_PUSH = "/ipfs/id/push/1.0.0"
MAX_MESSAGE_BYTES = 64 * 1024  # go-libp2p: 8 KiB unsigned; py-libp2p adds a signed record
MAX_AGENT = 128
MAX_PROTOCOLS = 256
MAX_PROTOCOL_TEXT = 256
MAX_ADDRESSES = 32

_PROTOCOL_VERSION = "ipfs/0.1.0"


@dataclass(frozen=True, slots=True)
class Identification:
    """What a peer says of itself; only the peer id is proved, and not by this.

    Attributes:
        agent: For people, e.g. `mirrornode/0.1.0`, `kubo/0.40.1/`.
        protocols: What it answers to.
        addresses: Multiaddrs that it listens on, without `/p2p/…`, of any transport.
    """

    agent: str
    protocols: frozenset[str]
    addresses: tuple[str, ...]


def encode_identify(
    *,
    public_key: bytes,
    agent: str,
    protocols: Iterable[str],
    addresses: Iterable[str],
    observed: str,
) -> bytes:
    """Return our message; `observed` is the multiaddr under which we see the peer."""
    return bytes(
        Identify(
            public_key=public_key,
            listen_addrs=[Multiaddr(text).to_bytes() for text in addresses],
            protocols=sorted(protocols),
            observed_addr=Multiaddr(observed).to_bytes(),
            protocol_version=_PROTOCOL_VERSION,
            agent_version=agent,
        ).SerializeToString()
    )


def decode_identify(message: bytes, previous: Identification | None = None) -> Identification:
    """Read a peer's message; a push may leave out what has not changed since `previous`.

    Raises:
        RemoteProtocolError: Not an identify message.
    """
    fields = Identify()
    try:
        fields.ParseFromString(message)
    except (DecodeError, UnicodeDecodeError) as exc:
        raise RemoteProtocolError("the identify message is not one") from exc
    agent = "".join(c for c in _text(fields.agent_version)[:MAX_AGENT] if c.isprintable())
    names = (_text(name) for name in fields.protocols[:MAX_PROTOCOLS])
    protocols = frozenset(name for name in names if 0 < len(name) <= MAX_PROTOCOL_TEXT)
    addresses = tuple(_multiaddr_texts(fields.listen_addrs[:MAX_ADDRESSES]))
    if previous is None:
        return Identification(agent, protocols, addresses)
    return Identification(
        agent or previous.agent, protocols or previous.protocols, addresses or previous.addresses
    )


def _text(value: str | bytes) -> str:
    """Return a text of the message; the library gives bytes when they are not UTF-8."""
    return value if isinstance(value, str) else ""


def _multiaddr_texts(binaries: Iterable[bytes]) -> Iterable[str]:
    for binary in binaries:
        try:
            yield str(Multiaddr(binary))
        except (MultiaddrError, ValueError, KeyError, IndexError, UnicodeError):
            continue  # a transport that the library does not know: of no use to us either
