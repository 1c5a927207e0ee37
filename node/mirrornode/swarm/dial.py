"""Try all addresses of a peer, staggered; the first that works wins, the others are cancelled.

The library tries one address, waits a fixed 250 ms and then refuses the peer for a minute; on a
LAN, where the first address is often a container bridge or a VPN, that means "unreachable".
Knows addresses and a function that connects to one; which function is up to the caller.
Spec: RFC 8305 "Happy Eyeballs", section 5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from mirrornode.swarm.upgrade import HandshakeRefused

if TYPE_CHECKING:
    from mirrornode.swarm.addresses import TcpAddress

MAX_ADDRESSES = 16  # peers announce a handful; more is noise or abuse
STAGGER_S = 0.1  # head start of an address over the next; longer than any answer on a LAN
ATTEMPT_TIMEOUT_S = 5.0
MAX_NAME_ADDRESSES = 4  # of one DNS name

T = TypeVar("T")


@dataclass(slots=True)
class DialOutcome(Generic[T]):
    """What came of a dial: a connection, or one reason for every address."""

    connection: T | None = None
    failures: list[tuple[TcpAddress, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return "; ".join(f"{address}: {reason}" for address, reason in self.failures)


async def dial_all(
    addresses: Sequence[TcpAddress],
    connect: Callable[[TcpAddress], Awaitable[T]],
    discard: Callable[[T], None],
) -> DialOutcome[T]:
    """Return the first connection that `connect` makes.

    Args:
        addresses: Tried in this order, `STAGGER_S` apart, or at once after a failure.
        connect: Raises OSError or HandshakeRefused when an address does not work.
        discard: Drops a second connection that was ready at the same moment.
    """
    outcome: DialOutcome[T] = DialOutcome()

    async def attempt(address: TcpAddress, failed: trio.Event) -> None:
        try:
            with trio.fail_after(ATTEMPT_TIMEOUT_S):
                connection = await connect(address)
        except trio.TooSlowError:
            outcome.failures.append((address, f"no answer within {ATTEMPT_TIMEOUT_S:g} s"))
        except OSError as exc:
            outcome.failures.append((address, exc.strerror or str(exc) or type(exc).__name__))
        except HandshakeRefused as exc:
            outcome.failures.append((address, str(exc)))
        else:
            if outcome.connection is None:
                outcome.connection = connection
            else:
                discard(connection)
            nursery.cancel_scope.cancel()
        failed.set()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses[:MAX_ADDRESSES]:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
    except BaseException:
        if outcome.connection is not None:  # cancelled in the moment of success
            discard(outcome.connection)
        raise
    return outcome


async def connect_tcp(address: TcpAddress) -> trio.SocketStream:
    """Open a TCP connection, resolving a name first.

    Raises:
        OSError: Not reachable, or the name is not known.
    """
    families = {"dns4": trio.socket.AF_INET, "dns6": trio.socket.AF_INET6}
    found = await trio.socket.getaddrinfo(
        address.host,
        address.port,
        family=families.get(address.kind, trio.socket.AF_UNSPEC),
        type=trio.socket.SOCK_STREAM,
    )
    failure = OSError(f"no address is known for {address.host}")
    for family, kind, protocol, _, target in found[:MAX_NAME_ADDRESSES]:
        socket = trio.socket.socket(family, kind, protocol)
        try:
            await socket.connect(target)
            return trio.SocketStream(socket)  # sets TCP_NODELAY
        except OSError as exc:
            socket.close()
            failure = exc
        except BaseException:
            socket.close()
            raise
    raise failure
