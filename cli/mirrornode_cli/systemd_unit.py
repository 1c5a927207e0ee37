"""The text of the systemd unit that runs a node, and of the file with its environment.

Pure: no file is read or written here. What may differ between machines is in `UnitPlan`; what users
may want to change is in the home's `config.toml`, so that a unit need not be edited.
Spec: systemd.service(5), systemd.exec(5), systemd.syntax(7).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mirrornode.errors import ConfigError

MARK = "# Written by `mirrornode service install`, which replaces it when it runs again."
ENVIRONMENT_NAME = "service.env"
CLOSE_S = 20  # closing all parts takes a few seconds; a busy machine may need more
MAX_OPEN_FILES = 65_536  # a connection to each peer, and each shared file that is being read

# What a shell has and a service has not, of what the node reads. Never a user's token: those who
# ask send their own.
_KEPT = frozenset(
    {
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle", "curl_ca_bundle"),
        *("hf_home", "hf_hub_cache", "huggingface_hub_cache", "xdg_cache_home", "pythonpath"),
    }
)
_OWN = "MIRRORNODE_"
_NOT_KEPT = frozenset({"MIRRORNODE_HOME", "MIRRORNODE_DEBUG"})  # in the unit; of one run
_READ_ONLY = ("/usr", "/boot", "/efi", "/etc")  # what ProtectSystem=full means
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_HARD_ANYWHERE = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""
# These need a mount namespace or root: not to be had from every user's own service manager.
_HARD_SYSTEM = """\
AmbientCapabilities=
CapabilityBoundingSet=
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=full
"""


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """What a unit is made of."""

    python: Path  # of this very installation
    home: Path
    drain_s: float
    user: str = ""  # whom a system unit runs as; "" for a user's own unit


def unit_text(plan: UnitPlan) -> str:
    """Return the unit.

    Raises:
        ConfigError: A path cannot be written into a unit.
    """
    for path in (plan.python, plan.home):
        if _CONTROL.search(str(path)):
            raise ConfigError(f"{str(path)!r} holds a character that no unit can name")
    command: list[str | Path] = [plan.python, "-m", "mirrornode_cli", "serve", "--home", plan.home]
    is_system = bool(plan.user)
    waits = "Wants=network-online.target\nAfter=network-online.target\n" if is_system else ""
    hard = _HARD_ANYWHERE + (_HARD_SYSTEM if is_system else "")
    if is_system and str(plan.home).startswith(tuple(f"{path}/" for path in _READ_ONLY)):
        hard += f"ReadWritePaths={_quoted(plan.home)}\n"
    return f"""\
{MARK}
# Settings belong into config.toml in the home, proxies and such into {ENVIRONMENT_NAME} beside it.
[Unit]
Description=mirrornode, the model mirror of this machine
{waits}
[Service]
Type=exec
{f"User={plan.user}{chr(10)}" if is_system else ""}\
ExecStart={" ".join(map(_quoted, command))}
EnvironmentFile=-{str(plan.home / ENVIRONMENT_NAME).replace("%", "%%")}
Restart=on-failure
RestartSec=5
# Settings that cannot be: starting again does not help.
RestartPreventExitStatus=2
# Only the node itself is told to end: it finishes what is under way, then ends its own helpers.
KillMode=mixed
TimeoutStopSec={math.ceil(plan.drain_s) + CLOSE_S}
LimitNOFILE={MAX_OPEN_FILES}

# A node writes where its user tells it to (get -o): system files are closed to it, no more.
{hard}
[Install]
WantedBy={"multi-user.target" if is_system else "default.target"}
"""


def kept_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a shell that the node would miss as a service."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if (name.lower() in _KEPT or (name.startswith(_OWN) and name not in _NOT_KEPT))
        and value
        and not _CONTROL.search(value)
    }


def environment_text(kept: Mapping[str, str]) -> str:
    """Return the file with these variables, as `EnvironmentFile=` reads it."""
    lines = [f"{name}={_in_double_quotes(value)}\n" for name, value in kept.items()]
    head = "# The environment of the service; edit it freely, then restart the service.\n"
    return head + "".join(lines)


def _in_double_quotes(value: str) -> str:
    return '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'


def _quoted(word: str | Path) -> str:
    """Return a word of a command line as systemd reads it."""
    text = str(word).replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
