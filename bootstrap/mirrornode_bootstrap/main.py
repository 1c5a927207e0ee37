"""`mirrornode-bootstrap`: an always-on DHT server and delegated router, without blocks.

Put one or two on machines that stay up: nodes name them in `swarm.bootstrap`, meet through them
where multicast does not reach, and find records kept there while their owners come and go. With
`--http` it also answers `/routing/v1`, for those who speak HTTP only: Helia, a Kubo, a browser. It
keeps its identity on disk and everything else in memory; nodes give it their records again when it
restarts.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from mirrornode import __version__
from mirrornode.config import DEFAULT_SWARM_PORT, Config, default_home, load_config
from mirrornode.errors import Blame, ConfigError, HomeLocked, MirrorError
from mirrornode.gateway.listeners import bind, listening, parse_address
from mirrornode.gateway.routing_v1 import RoutingRoutes
from mirrornode.gateway.routing_v1_answers import RoutingAnswers
from mirrornode.gateway.routing_v1_lookups import Lookups
from mirrornode.routing.find import Finder
from mirrornode.routing.nearby import NearbyPeers
from mirrornode.routing.networks import Networks, make_networks
from mirrornode.store.home import lock_home
from mirrornode.swarm.identity import load_or_create_identity
from mirrornode.swarm.mdns import open_mdns
from mirrornode.swarm.node import Swarm, open_swarm

DEFAULT_LISTEN = (f"/ip4/0.0.0.0/tcp/{DEFAULT_SWARM_PORT}",)  # fixed: others write it down
MAX_PEER_LIST_BYTES = 1 << 20

EXIT_FAILED, EXIT_USAGE, EXIT_LOCKED = 1, 2, 11  # 2 and 11 as the `mirrornode` command has them

log = logging.getLogger(__name__)


async def run_bootstrap(
    config: Config,
    *,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
    mdns: bool,
    http: str = "",
) -> None:
    """Serve the DHT until `stop` is set.

    Args:
        config: `home` and `swarm` are used; no listen address means `DEFAULT_LISTEN`.
        ready: Called once when others can connect, with peer_id, listen, home and, when it
            answers HTTP, the URL of that.
        stop: Ends the program cleanly.
        mdns: Whether to announce ourselves on the local network and to dial who is there.
        http: "host:port" to answer `/routing/v1` at; "" for not at all.

    Raises:
        HomeLocked: Another process runs on this home.
        ConfigError: An address is malformed or taken.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_home(config.home))
        identity = load_or_create_identity(config.home / "identity.key")
        listen = config.swarm.listen or DEFAULT_LISTEN
        others = tuple(
            peer
            for peer in config.swarm.bootstrap
            if not peer.endswith(f"/p2p/{identity.peer_id}")  # one peer list serves all servers
        )
        settings = dataclasses.replace(config.swarm, bootstrap=others)
        swarm = await stack.enter_async_context(open_swarm(settings, identity, listen=listen))
        networks = make_networks(swarm, settings, serve=True)
        nearby = NearbyPeers(swarm)
        if mdns:
            await stack.enter_async_context(open_mdns(swarm, nearby.found))
        state: dict[str, object] = {
            "peer_id": swarm.peer_id,
            "listen": swarm.addresses(),
            "home": str(config.home),
        }
        if http:
            state["http"] = await _open_http(stack, swarm, networks, http)
        async with asyncio.TaskGroup() as group:
            services = [group.create_task(networks.run()), group.create_task(nearby.run())]
            ready(state)
            await stop.wait()
            for kad in networks.all:
                log.info(
                    "stopping network=%s peers=%d records=%d",
                    kad.network,
                    kad.table_size,
                    kad.record_count,
                )
            for service in services:
                service.cancel()


async def _open_http(stack: AsyncExitStack, swarm: Swarm, networks: Networks, text: str) -> str:
    """Answer `/routing/v1` out of the DHT and the connected peers; returns the URL."""
    sock = bind(parse_address(text, "--http", "", 0), "--http")
    app = web.Application()
    lookups = Lookups(swarm, networks, Finder(swarm, networks))
    RoutingRoutes(RoutingAnswers(swarm, lookups)).add_to(app)
    port = await stack.enter_async_context(listening(app, sock))
    return f"http://{text.rpartition(':')[0]}:{port}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )

    def announce_ready(state: dict[str, object]) -> None:
        if arguments.json:
            line = json.dumps(state)
        else:
            listen = state["listen"]
            assert isinstance(listen, list)
            http = [str(state["http"])] if "http" in state else []
            line = f"READY {' '.join([*listen, *http])}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        config = _config(arguments)
        asyncio.run(_run_until_signalled(config, announce_ready, http=arguments.http))
    except MirrorError as exc:
        sys.stderr.write(f"mirrornode-bootstrap: {exc}\n")
        if isinstance(exc, HomeLocked):
            return EXIT_LOCKED
        return EXIT_USAGE if exc.blame is Blame.USER else EXIT_FAILED
    return 0


async def _run_until_signalled(
    config: Config, ready: Callable[[dict[str, object]], None], *, http: str
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_bootstrap(config, ready=ready, stop=stop, mdns=config.swarm.mdns, http=http)


def _config(arguments: argparse.Namespace) -> Config:
    """Return the settings of the home, overridden by flags."""
    config = load_config(arguments.home or default_home() / "bootstrap")
    swarm = config.swarm
    bootstrap = [peer for text in arguments.bootstrap for peer in _peers_of(text)]
    swarm = dataclasses.replace(
        swarm,
        listen=tuple(arguments.listen) or swarm.listen,
        bootstrap=tuple(bootstrap) or swarm.bootstrap,
        mdns=swarm.mdns and not arguments.no_mdns,
    )
    return dataclasses.replace(config, swarm=swarm)


def _peers_of(text: str) -> list[str]:
    """Return the multiaddr `text`, or those in the file it names after an @."""
    if not text.startswith("@"):
        return [text]
    path = Path(text[1:])
    try:
        with path.open("rb") as stream:
            lines = stream.read(MAX_PEER_LIST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read the peer list {path}: {exc}", key="--bootstrap") from exc
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mirrornode-bootstrap",
        description="An always-on meeting point for mirrornode: a DHT server without blocks.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--home", type=Path, metavar="DIR", help="where the identity is kept")
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="MULTIADDR",
        help=f"address to listen on, repeatable (default {DEFAULT_LISTEN[0]})",
    )
    parser.add_argument(
        "--bootstrap",
        action="append",
        default=[],
        metavar="MULTIADDR",
        help="another bootstrap server to stay connected to, repeatable; @FILE reads one a line",
    )
    parser.add_argument(
        "--no-mdns", action="store_true", help="do not look for peers on the local network"
    )
    parser.add_argument(
        "--http",
        default="",
        metavar="ADDR:PORT",
        help="also answer /routing/v1 by HTTP there, e.g. 0.0.0.0:8091 (default: do not)",
    )
    parser.add_argument("--json", action="store_true", help="print the READY line as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
