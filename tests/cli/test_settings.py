"""Flags over environment over file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode.errors import ConfigError
from mirrornode_cli.settings import config_from_flags

PEER = "/ip4/192.0.2.7/tcp/4101/p2p/12D3KooW"


def test_config_when_no_flag_is_given_then_the_file_stands(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[swarm]\nmdns = false\n[gateway]\naddress = "127.0.0.1:1"\n'
    )
    config = config_from_flags(tmp_path)
    assert (config.swarm.mdns, config.gateway.address) == (False, "127.0.0.1:1")


def test_config_when_flags_are_given_then_they_win(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[swarm]\nbootstrap = ["/old"]\n[gateway]\naddress = "127.0.0.1:1"\n'
    )
    config = config_from_flags(
        tmp_path,
        listen=["/ip4/127.0.0.1/tcp/0"],
        bootstrap=[PEER],
        mdns=False,
        peer_plane=["plain", "127.0.0.1:0"],
        gateway="[::1]:8091",
    )
    assert config.swarm.listen == ("/ip4/127.0.0.1/tcp/0",)
    assert config.swarm.bootstrap == (PEER,)
    assert config.swarm.mdns is False
    assert (config.peer_plane.plain, config.peer_plane.address) == (True, "127.0.0.1:0")
    assert config.gateway.address == "[::1]:8091"


@pytest.mark.parametrize("text", ["8090", "host:", ":80", "host:70000", "host:x", ""])
def test_config_when_gateway_is_no_address_then_says_how_to_write_it(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:8090"):
        config_from_flags(tmp_path, gateway=text)


@pytest.mark.parametrize("text", ["192.0.2.7:4101", "/ip4/192.0.2.7/tcp/4101", "/"])
def test_config_when_bootstrap_names_no_peer_then_says_how_to_write_it(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigError, match="/tcp/4101"):
        config_from_flags(tmp_path, bootstrap=[text])
