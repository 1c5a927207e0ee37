"""Which checks `doctor` makes for a home and its settings."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mirrornode.config import (
    DEFAULT_GATEWAY_PORT,
    DEFAULT_PEER_PLANE_PORT,
    DEFAULT_SWARM_PORT,
    Config,
)
from mirrornode.errors import MirrorError
from mirrornode.mirror import doctor_machine as machine
from mirrornode.mirror import doctor_network as network
from mirrornode.mirror import doctor_rules as rules
from mirrornode.mirror import doctor_web_rules as web_rules
from mirrornode.mirror.doctor import OK, PATIENCE_S, Check, Finding, examine
from mirrornode.mirror.hub.client_env import cache_of, hub_cache
from mirrornode.store.home import is_home_locked
from mirrornode.swarm.addresses import TcpAddress
from mirrornode.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE_WAIT_S = 5.0  # a node that says nothing for so long is stuck

Ask = Callable[[str], Any]
"""Runs a verb without arguments in the node of the home; None when no node runs."""


def diagnose(
    config: Config,
    ask: Ask,
    environ: Mapping[str, str] = os.environ,
    *,
    patience_s: float = PATIENCE_S,
) -> list[Finding]:
    """Make all checks and return what they found; raises nothing, takes about `patience_s`."""
    seen: list[rules.NodeSeen] = []
    looking = threading.Thread(
        target=lambda: seen.append(_look_at_node(config.home, ask)), daemon=True
    )
    looking.start()
    looking.join(NODE_WAIT_S)
    silent = rules.NodeSeen(failure=f"it said nothing for {NODE_WAIT_S:g} s")
    node = seen[0] if seen else silent
    return examine(checks_of(config, node, environ), patience_s=patience_s)


def _look_at_node(home: Path, ask: Ask) -> rules.NodeSeen:
    try:
        status = ask("status")
        if status is None:
            return rules.NodeSeen(is_locked=is_home_locked(home))
        return rules.NodeSeen(status, list(ask("peers") or ()))
    except (MirrorError, OSError) as exc:
        return rules.NodeSeen(failure=str(exc))


def checks_of(
    config: Config, node: rules.NodeSeen, environ: Mapping[str, str]
) -> Mapping[str, Check]:
    """Return every check by its name, in the order of the report.

    Args:
        node: What is known of the node of this home.
        environ: The environment of whoever asks; the process's own.
    """
    status = node.status
    swarm = config.swarm
    checks: dict[str, Check] = {
        "version": lambda: [
            Finding("version", OK, f"mirrornode {__version__}, Python {platform.python_version()}")
        ],
        "home": lambda: rules.judge_home(machine.look_at_home(config.home)),
        "node": lambda: rules.judge_node(node, __version__),
    }
    for name, host, port, is_default, actual in _listeners(config, status):
        checks[f"port {name}"] = _port_check(
            name, host, port, is_default, actual, node_runs=status is not None
        )
    checks |= {
        "peers": lambda: rules.judge_peers(
            node, __version__, finds_peers=swarm.mdns or bool(swarm.bootstrap)
        ),
        "mdns": lambda: rules.judge_multicast(
            machine.look_at_multicast(is_enabled=swarm.mdns, environ=environ)
        ),
        "limits": lambda: rules.judge_limits(machine.look_at_limits()),
        "proxy": lambda: web_rules.judge_proxy(network.look_at_proxy(environ)),
        "ca": lambda: web_rules.judge_ca(network.look_at_ca(environ)),
        "servers": lambda: web_rules.judge_servers(network.look_at_servers(_servers(config))),
        "HF_ENDPOINT": lambda: web_rules.judge_endpoint(_look_at_endpoint(config, node, environ)),
    }
    return checks


def _port_check(
    name: str, host: str, port: int, is_default: bool, actual: str, *, node_runs: bool
) -> Check:
    return lambda: [
        rules.judge_port(
            machine.look_at_port(
                name, host, port, is_default=is_default, actual=actual, node_runs=node_runs
            )
        )
    ]


def _listeners(
    config: Config, status: Mapping[str, object] | None
) -> Iterator[tuple[str, str, int, bool, str]]:
    """Yield name, host, port, whether that is our default, and where it is now, of each."""
    now = status or {}
    listening = now.get("listen")
    found = [_parsed(text) for text in listening] if isinstance(listening, list) else []
    ports = {address.port for address in found if address is not None}
    wanted = [_parsed(text) for text in config.swarm.listen] or [
        TcpAddress.parse(f"/ip4/0.0.0.0/tcp/{DEFAULT_SWARM_PORT}")
    ]
    for address in wanted:
        if address is not None and address.ip is not None:
            port = address.port if address.port in ports or not ports else min(ports)
            yield (
                "swarm",
                str(address.ip),
                address.port,
                not config.swarm.listen,
                f"tcp://here:{port}" if now else "",
            )
    for name, text, host, number in (
        ("peer_plane", config.peer_plane.address, "0.0.0.0", DEFAULT_PEER_PLANE_PORT),
        ("gateway", config.gateway.address, "127.0.0.1", DEFAULT_GATEWAY_PORT),
    ):
        place, _, port_text = text.rpartition(":")
        is_named = port_text.isascii() and port_text.isdigit()
        yield (
            name.replace("_", " "),
            place.strip("[]") if is_named else host,
            int(port_text) if is_named else number,
            not text,
            str(now.get(name, "")),
        )


def _parsed(text: object) -> TcpAddress | None:
    try:
        return TcpAddress.parse(str(text))
    except ValueError:
        return None


def _servers(config: Config) -> Iterator[tuple[str, str]]:
    for origin in config.origin:
        yield "origin", origin.url
    for mirror in config.mirror:
        yield "mirror", mirror.url
    for router in config.routing.delegated:
        yield "router", router


def _look_at_endpoint(
    config: Config, node: rules.NodeSeen, environ: Mapping[str, str]
) -> web_rules.EndpointSeen:
    ours = str(node.status.get("hub_endpoint", "")) if node.status is not None else ""
    place = config.gateway.address or f"127.0.0.1:{DEFAULT_GATEWAY_PORT}"
    cache = hub_cache(environ)
    return web_rules.EndpointSeen(
        environ.get("HF_ENDPOINT", ""),
        _nearest(ours),
        _nearest(f"http://{place}{config.gateway.hub_prefix}"),
        origins=[origin.url for origin in config.origin],
        cache=str(cache) if cache.is_dir() else "",
        shares_cache=any(cache_of(text, environ) == cache for text in config.share),
    )


def _nearest(url: str) -> str:
    """Return how programs on this machine name a URL of ours."""
    if not url:
        return ""
    host = urlsplit(url).hostname or ""
    return url.replace(f"//{host}:", "//127.0.0.1:", 1) if host in ("0.0.0.0", "::") else url
