"""Flags into the one frozen `Config`: file < environment < flags. No I/O but reading the file.

A flag that was not given leaves the setting alone; a list flag replaces the configured list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mirrornode.config import Config, load_config, parse_rate
from mirrornode.errors import ConfigError

PLAIN = "plain"  # `--peer-plane plain`: no TLS


def config_from_flags(
    home: Path | None,
    *,
    listen: Sequence[str] = (),
    bootstrap: Sequence[str] = (),
    mdns: bool = True,
    peer_plane: Sequence[str] = (),
    gateway: str | None = None,
    upload_limit: str | None = None,
    upload_per_peer: str | None = None,
    download_limit: str | None = None,
    share: Sequence[str] = (),
) -> Config:
    """Return the settings of a home with the flags applied.

    Raises:
        ConfigError: The file is wrong, or a flag is not an address of its kind.
    """
    config = load_config(home)
    swarm = config.swarm
    if listen:
        swarm = dataclasses.replace(
            swarm, listen=tuple(_multiaddr(text, "--listen") for text in listen)
        )
    if bootstrap:
        swarm = dataclasses.replace(
            swarm, bootstrap=tuple(peer_multiaddr(text, "--bootstrap") for text in bootstrap)
        )
    if not mdns:
        swarm = dataclasses.replace(swarm, mdns=False)
    plane = config.peer_plane
    for text in peer_plane:
        if text == PLAIN:
            plane = dataclasses.replace(plane, plain=True)
        else:
            plane = dataclasses.replace(plane, address=_host_port(text, "--peer-plane"))
    web = config.gateway
    if gateway is not None:
        web = dataclasses.replace(web, address=_host_port(gateway, "--gateway"))
    if share:
        config = dataclasses.replace(config, share=tuple(share))
    limits = config.limits
    for name, flag, rate in (
        ("upload", "--upload-limit", upload_limit),
        ("upload_per_peer", "--upload-limit-per-peer", upload_per_peer),
        ("download", "--download-limit", download_limit),
    ):
        if rate is not None:
            limits = dataclasses.replace(limits, **{name: rate_of(rate, flag)})
    return dataclasses.replace(config, swarm=swarm, peer_plane=plane, gateway=web, limits=limits)


def rate_of(text: str, flag: str) -> int:
    """Return the bytes a second that a flag means; 0 is no limit.

    Raises:
        ConfigError: Not a size; the message shows the forms.
    """
    return parse_rate(text, "rate", flag)


def peer_multiaddr(text: str, flag: str) -> str:
    """Return the text if it looks like the multiaddr of a peer, with its id.

    Raises:
        ConfigError: It does not; the message shows the form.
    """
    if "/p2p/" not in _multiaddr(text, flag):
        raise ConfigError(
            f"{flag} {text!r} names no peer; write it as /ip4/192.0.2.7/tcp/4101/p2p/PEER_ID",
            origin=flag,
        )
    return text


def _multiaddr(text: str, flag: str) -> str:
    if not text.startswith("/") or text.count("/") < 2:
        raise ConfigError(
            f"{flag} {text!r} is not a multiaddr; write it as /ip4/0.0.0.0/tcp/4101", origin=flag
        )
    return text


def _host_port(text: str, flag: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(
            f"{flag} {text!r} is not ADDRESS:PORT; write it as 127.0.0.1:8090", origin=flag
        )
    return text
