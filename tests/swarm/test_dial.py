"""Happy eyeballs and the redial loop, on a mock clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from mirrornode.errors import SourceGone
from mirrornode.swarm.addresses import TcpAddress
from mirrornode.swarm.dial import ATTEMPT_TIMEOUT_S, STAGGER_S, DialOutcome, dial_all
from mirrornode.swarm.redial import backoff_s, keep_connected
from mirrornode.swarm.upgrade import HandshakeRefused

START_S = 100.0


class Network:
    """Scripted addresses: seconds until the answer, and what it is."""

    def __init__(self, script: dict[int, tuple[float, BaseException | str]]) -> None:
        self.script = script
        self.attempts: list[tuple[int, float]] = []
        self.cancelled: list[int] = []
        self.discarded: list[str] = []

    async def connect(self, address: TcpAddress) -> str:
        self.attempts.append((address.port, trio.current_time() - START_S))
        delay_s, answer = self.script[address.port]
        try:
            await trio.sleep(delay_s)
        except trio.Cancelled:
            self.cancelled.append(address.port)
            raise
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def dial(self) -> DialOutcome[str]:
        addresses = [TcpAddress("ip4", "10.0.0.1", port) for port in self.script]

        async def main() -> DialOutcome[str]:
            return await dial_all(addresses, self.connect, self.discarded.append)

        clock = trio.testing.MockClock(autojump_threshold=0)
        clock.jump(START_S)
        return trio.run(main, clock=clock)


def test_dial_when_first_hangs_then_second_wins_and_first_is_cancelled() -> None:
    network = Network({1: (99.0, "never"), 2: (0.01, "two"), 3: (0.01, "three")})
    assert network.dial().connection == "two"
    assert network.cancelled == [1]
    assert [port for port, _ in network.attempts] == [1, 2]
    assert network.attempts[1][1] == pytest.approx(STAGGER_S)


def test_dial_when_first_fails_fast_then_second_starts_at_once() -> None:
    network = Network({1: (0.001, ConnectionRefusedError(111, "refused")), 2: (0.0, "two")})
    assert network.dial().connection == "two"
    assert network.attempts[1][1] == pytest.approx(0.001)


def test_dial_when_all_fail_then_says_why_for_each() -> None:
    network = Network(
        {
            1: (0.0, ConnectionRefusedError(111, "refused")),
            2: (0.0, HandshakeRefused("another peer answers there")),
            3: (99.0, "never"),
        }
    )
    outcome = network.dial()
    assert outcome.connection is None
    assert str(outcome) == (
        "/ip4/10.0.0.1/tcp/1: refused; /ip4/10.0.0.1/tcp/2: another peer answers there; "
        f"/ip4/10.0.0.1/tcp/3: no answer within {ATTEMPT_TIMEOUT_S:g} s"
    )


def test_dial_when_two_are_ready_at_once_then_one_is_discarded() -> None:
    network = Network({1: (STAGGER_S, "one"), 2: (0.0, "two")})
    outcome = network.dial()
    assert {outcome.connection, *network.discarded} <= {"one", "two"}
    assert outcome.connection is not None
    assert outcome.connection not in network.discarded


class ScriptedDialler:
    """Fails as often as the script says; a connection lasts `lasts_s`."""

    def __init__(self, failures: list[int], lasts_s: float) -> None:
        self.failures = failures
        self.lasts_s = lasts_s
        self.dialled_at: list[float] = []

    async def dial(self, peer_id: str, addresses: Sequence[str], timeout_s: float) -> None:
        self.dialled_at.append(trio.current_time() - START_S)
        if self.failures[0]:
            self.failures[0] -= 1
            raise SourceGone("not now")
        self.failures.pop(0)

    async def wait_gone(self, peer_id: str) -> None:
        await trio.sleep(self.lasts_s)


def test_keep_connected_when_peer_comes_and_goes_then_redials_with_backoff() -> None:
    dialler = ScriptedDialler([3, 1, 0], lasts_s=1000.0)

    async def main() -> None:
        with trio.move_on_after(2500.0):
            await keep_connected(dialler, "peer", [])

    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(START_S)
    trio.run(main, clock=clock)
    assert dialler.dialled_at == pytest.approx([0, 1, 3, 7, 1008, 1009, 2010])


def test_backoff_when_failures_grow_then_stops_at_a_minute() -> None:
    assert [backoff_s(n) for n in (0, 1, 2, 3, 6, 7, 1000)] == [1, 1, 2, 4, 32, 60, 60]
