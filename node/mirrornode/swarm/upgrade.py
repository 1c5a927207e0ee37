"""A TCP connection becomes a secured, multiplexed one: Noise, then Yamux, nothing else.

The library's default offers plaintext and SECIO as well, so what is offered is spelled out here.
This module holds no connections; `island` does.
Spec: libp2p connections/README.md "Upgrading connections"; noise/README.md.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.generic_selector import GenericMultistreamSelector
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.security_multistream import SecurityMultistream

from mirrornode.swarm.noise_pipe import NoisePipe
from mirrornode.swarm.yamux import Liveness, MuxedConnection

if TYPE_CHECKING:
    import trio
    from libp2p.abc import ISecureConn
    from libp2p.io.abc import ReadWriteCloser
    from libp2p.security.secure_session import SecureSession

    from mirrornode.swarm.identity import Identity

YAMUX = TProtocol("/yamux/1.0.0")
NEGOTIATE_TIMEOUT_S = 10

log = logging.getLogger(__name__)


class HandshakeRefused(Exception):
    """The other end is not who it should be, or does not speak what we speak."""


class Upgrader:
    """Makes connections of this identity; holds its keys in the library's form."""

    def __init__(self, identity: Identity, liveness: Liveness) -> None:
        """Prepare the keys; the Noise static key is fresh for every process."""
        key_pair = create_new_key_pair(identity.private_seed)
        noise = NoiseTransport(key_pair, noise_privkey=create_x25519_key_pair().private_key)
        self._security = SecurityMultistream({NOISE: noise})
        self._muxers: GenericMultistreamSelector[type[MuxedConnection]] = (
            GenericMultistreamSelector()
        )
        self._muxers.add_handler(YAMUX, MuxedConnection)
        self._liveness = liveness

    async def outbound(self, stream: trio.SocketStream, peer_id: str) -> MuxedConnection:
        """Upgrade a connection that we opened to reach `peer_id`.

        Raises:
            HandshakeRefused: Somebody else answers there, or no libp2p node. The socket is closed.
        """
        async with _closing_on_failure(stream):
            connection = RawConnection(TrioTCPStream(stream), True)
            expected = ID.from_base58(peer_id)
            secured = await self._security.secure_outbound(connection, expected)
            if secured.get_remote_peer() != expected:
                raise HandshakeRefused(f"is {secured.get_remote_peer()}, not {peer_id}")
            pipe, muxer = await self._multiplexed(secured, stream, is_initiator=True)
            return muxer(
                pipe,
                peer_id,
                is_initiator=True,
                close_socket=stream.socket.close,
                liveness=self._liveness,
            )

    async def inbound(self, stream: trio.SocketStream) -> MuxedConnection:
        """Upgrade a connection that was opened to us; the peer is who Noise proves it to be.

        Raises:
            HandshakeRefused: As in `outbound`.
        """
        async with _closing_on_failure(stream):
            connection = RawConnection(TrioTCPStream(stream), False)
            secured = await self._security.secure_inbound(connection)
            pipe, muxer = await self._multiplexed(secured, stream, is_initiator=False)
            return muxer(
                pipe,
                secured.get_remote_peer().to_base58(),
                is_initiator=False,
                close_socket=stream.socket.close,
                liveness=self._liveness,
            )

    async def _multiplexed(
        self, secured: ISecureConn, stream: trio.SocketStream, *, is_initiator: bool
    ) -> tuple[NoisePipe, type[MuxedConnection]]:
        """Agree on the multiplexer over what is used from now on instead of the session."""
        pipe = NoisePipe(cast("SecureSession", secured), stream)
        # It has what is used of the library's interface: `read` and `write`.
        speaker = cast("ReadWriteCloser", pipe)
        _, muxer = await self._muxers.select(speaker, is_initiator, NEGOTIATE_TIMEOUT_S)
        return pipe, muxer


@contextlib.asynccontextmanager
async def _closing_on_failure(stream: trio.SocketStream) -> AsyncIterator[None]:
    """Close the socket unless all goes well, and turn every failure into `HandshakeRefused`.

    What the library raises on hostile bytes is open-ended (protobuf, key and cipher errors among
    others), so this boundary takes every `Exception`.
    """
    try:
        yield
    except HandshakeRefused:
        stream.socket.close()
        raise
    except Exception as exc:
        stream.socket.close()
        log.debug("handshake failed error=%r", exc)
        raise HandshakeRefused(_reason(exc)) from exc
    except BaseException:
        stream.socket.close()
        raise


def _reason(exc: BaseException) -> str:
    """Return the root of a chain of library errors in a few words."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    if isinstance(exc, PeerIDMismatchesPubkey):
        return "another peer answers there"
    return f"no libp2p handshake ({type(exc).__name__})"
