"""`serve` and `bootstrap`: the READY line, signals, settings."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cli.conftest import Run
from cli.fakes import FakeFactory
from mirrornode.errors import HomeLocked
from mirrornode_cli.context import Ready

ADDRESSES = {
    "peer_id": "12D3KooW",
    "listen": ["/ip4/127.0.0.1/tcp/1/p2p/12D3KooW"],
    "peer_plane": "https://127.0.0.1:2",
    "gateway": "http://127.0.0.1:3",
    "home": "/h",
}
PEER = "/ip4/192.0.2.7/tcp/4101/p2p/12D3KooW"


def _ready_then(
    number: signal.Signals,
) -> Callable[[Ready, asyncio.Event], Awaitable[None]]:
    async def program(ready: Ready, stop: asyncio.Event) -> None:
        ready(ADDRESSES)
        os.kill(os.getpid(), number)
        await stop.wait()

    return program


@pytest.mark.parametrize("verb", ["serve", "bootstrap"])
def test_serve_when_sigterm_then_ready_as_json_and_zero(
    run: Run, factory: FakeFactory, verb: str
) -> None:
    factory.program = _ready_then(signal.SIGTERM)
    outcome = run(verb, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.records == [ADDRESSES]


def test_serve_when_human_then_one_ready_line(run: Run, factory: FakeFactory) -> None:
    factory.program = _ready_then(signal.SIGTERM)
    assert run("serve").out == (
        "READY peer 12D3KooW listening on /ip4/127.0.0.1/tcp/1/p2p/12D3KooW "
        "gateway http://127.0.0.1:3 peer plane https://127.0.0.1:2\n"
    )


def test_serve_when_interrupted_then_130_after_an_orderly_end(
    run: Run, factory: FakeFactory
) -> None:
    factory.program = _ready_then(signal.SIGINT)
    outcome = run("serve", "--json")
    assert outcome.code == 130
    assert outcome.err.startswith("stopped")
    assert outcome.records == [ADDRESSES]


def test_serve_when_home_is_locked_then_11(run: Run, factory: FakeFactory) -> None:
    async def program(ready: Ready, stop: asyncio.Event) -> None:
        raise HomeLocked(Path("/h"), 42)

    factory.program = program
    outcome = run("serve")
    assert outcome.code == 11
    assert outcome.err.startswith("error: /h is in use by process 42")


def test_serve_when_flags_are_given_then_they_reach_the_settings(
    run: Run, factory: FakeFactory
) -> None:
    factory.program = _ready_then(signal.SIGTERM)
    run(
        "serve",
        *("--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip6/::1/tcp/0"),
        *("--peer-plane", "plain", "--peer-plane", "127.0.0.1:0", "--gateway", "127.0.0.1:0"),
        *("--bootstrap", PEER, "--no-mdns"),
    )
    [config] = factory.configs
    assert config.swarm.listen == ("/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0")
    assert config.swarm.bootstrap == (PEER,)
    assert config.swarm.mdns is False
    assert (config.peer_plane.plain, config.peer_plane.address) == (True, "127.0.0.1:0")
    assert config.gateway.address == "127.0.0.1:0"


def test_bootstrap_when_no_mdns_then_the_program_is_told(run: Run, factory: FakeFactory) -> None:
    factory.program = _ready_then(signal.SIGTERM)
    run("bootstrap", "--no-mdns")
    run("bootstrap")
    assert factory.mdns == [False, True]
