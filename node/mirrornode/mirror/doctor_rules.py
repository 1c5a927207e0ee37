"""What `doctor` thinks of this machine and its node: from what was seen to findings. Pure."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirrornode.mirror.doctor import OK, PROBLEM, WARNING, Finding

GIB = 1 << 30
MIN_FREE_BYTES = 256 << 20  # the catalog and its log need some room to work at all
LOW_FREE_BYTES = 10 * GIB  # less than most models
MIN_OPEN_FILES = 4096
SETTLED_S = 120.0  # a node that runs for so long has met whom it can meet
MANY_LINKS = 3  # all of them dialled by us: likely nobody can dial us

# SQLite's WAL needs shared memory between processes, which these do not give.
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "afpfs", "webdav"}
)
MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class HomeSeen:
    """The home, or the nearest folder above it that exists."""

    path: str
    exists: bool = True
    is_folder: bool = True
    is_writable: bool = True
    owner: str = ""  # "" when it is ours
    mode: int = 0o700
    free_bytes: int = 100 * GIB
    filesystem: str = "ext4"


def judge_home(seen: HomeSeen) -> list[Finding]:
    """Judge where the node keeps its state."""
    if not seen.is_folder:
        return [Finding("home", PROBLEM, f"{seen.path} is not a folder", "choose another --home")]
    if seen.owner and seen.exists:
        return [
            Finding(
                "home",
                PROBLEM,
                f"{seen.path} belongs to {seen.owner}",
                f"run as {seen.owner}, or give it to yourself with `sudo chown -R $USER`",
            )
        ]
    if not seen.is_writable:
        what = "cannot be written to" if seen.exists else "cannot be made"
        step = "choose another with --home or MIRRORNODE_HOME, or have its disk mounted writable"
        return [Finding("home", PROBLEM, f"{seen.path} {what}", step)]
    found = []
    if seen.filesystem in NETWORK_FILESYSTEMS:
        found.append(
            Finding(
                "home",
                WARNING,
                f"{seen.path} is on a network file system ({seen.filesystem}), on which the "
                "catalog's locks cannot be relied on",
                "put the home on a local disk with --home; the models may stay where they are",
            )
        )
    elif seen.filesystem in MEMORY_FILESYSTEMS:
        text = f"{seen.path} is in memory ({seen.filesystem}) and gone after a restart"
        found.append(Finding("home", WARNING, text, "choose a folder on a disk with --home"))
    elif seen.filesystem == "overlay":
        text = f"{seen.path} is inside a container's image and gone with the container"
        found.append(Finding("home", WARNING, text, "mount a volume there"))
    if seen.mode & 0o022 and seen.exists:
        text = f"{seen.path} can be written to by other users, who could take over the node"
        found.append(Finding("home", PROBLEM, text, f"run `chmod 700 {seen.path}`"))
    free = f"{seen.free_bytes / GIB:.1f} GiB free"
    step = "make room, or move the home to a larger disk with --home"
    if seen.free_bytes < MIN_FREE_BYTES:
        found.append(Finding("disk", PROBLEM, f"the disk of {seen.path} is full: {free}", step))
    elif seen.free_bytes < LOW_FREE_BYTES:
        text = f"the disk of {seen.path} has little room for models: {free}"
        found.append(Finding("disk", WARNING, text, step))
    if not found:
        made = "" if seen.exists else ", and will be made"
        found.append(
            Finding("home", OK, f"{seen.path} is writable on {seen.filesystem}, {free}{made}")
        )
    return found


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """The node of the home: `status` is None when none answers, `pid` when none holds the home."""

    status: Mapping[str, Any] | None = None
    peers: Sequence[Mapping[str, Any]] = ()
    is_locked: bool = False
    failure: str = ""


def judge_node(seen: NodeSeen, version: str) -> list[Finding]:
    """Judge whether the node runs."""
    restart = "restart it: `systemctl --user restart mirrornode`, or however it was started"
    if seen.failure:
        text = f"the node of this home does not answer as it should: {seen.failure}"
        return [Finding("node", PROBLEM, text, f"look at its log, then {restart}")]
    if seen.status is None and seen.is_locked:
        text = "a process holds this home but does not answer: another command, or a stuck node"
        return [Finding("node", WARNING, text, f"wait for it to end; if it is a node, {restart}")]
    if seen.status is None:
        step = "start it with `mirrornode serve`, or for good with `mirrornode service install`"
        return [Finding("node", WARNING, "no node runs for this home", step)]
    running = str(seen.status.get("version", "?"))
    if running != version:
        text = f"the running node is version {running}, this command is {version}"
        return [Finding("node", WARNING, text, restart)]
    state = str(seen.status.get("state", "serving"))
    return [Finding("node", OK if state == "serving" else WARNING, f"version {version}, {state}")]


def judge_peers(seen: NodeSeen, version: str, *, finds_peers: bool) -> list[Finding]:
    """Judge whom the node knows.

    Args:
        finds_peers: There is mDNS or a bootstrap server.
    """
    if seen.status is None:
        return []
    peers = [peer for peer in seen.peers if peer.get("is_mirrornode")]
    if not peers:
        if not finds_peers:
            text = "mDNS is off and no bootstrap server is named: this node finds nobody"
            return [Finding("peers", PROBLEM, text, "name one with --bootstrap, or allow mDNS")]
        step = (
            "start a node on another machine; if there is one, allow UDP 5353 and TCP 4101 and "
            "4102 between them, or name one with --bootstrap"
        )
        return [Finding("peers", WARNING, "no other node is connected", step)]
    found = []
    versions = Counter(str(peer.get("agent", "")).rpartition("/")[2] for peer in peers)
    others = sorted(one for one in versions if one != version)
    named = ", ".join(f"{versions[one]} x {one or 'unknown'}" for one in sorted(versions))
    if others:
        step = "bring all nodes to one version"
        found.append(Finding("peers", WARNING, f"not all nodes have our version: {named}", step))
    else:
        found.append(Finding("peers", OK, f"{len(peers)} connected, all of version {version}"))
    settled = float(seen.status.get("uptime_s", 0.0)) >= SETTLED_S
    if settled and len(peers) >= MANY_LINKS and all(peer.get("outbound") for peer in peers):
        text = f"all {len(peers)} connections were opened by us: a firewall may keep others out"
        step = "allow TCP 4101 and 4102 to this machine, e.g. `sudo ufw allow 4101:4102/tcp`"
        found.append(Finding("firewall", WARNING, text, step))
    return found


@dataclass(frozen=True, slots=True)
class PortSeen:
    """One place where the node listens, or would.

    Attributes:
        error_number: Of trying to listen there; 0 when it could, None while the node runs.
        actual_port: Where the running node listens; 0 when it does not run.
        answers: Whether something took a connection there.
    """

    name: str
    host: str
    port: int
    is_default: bool
    error_number: int | None = 0
    actual_port: int = 0
    answers: bool = True


def judge_port(seen: PortSeen) -> Finding:
    """Judge one listener."""
    check, place = f"port {seen.port}", f"{seen.host}:{seen.port} ({seen.name})"
    who = f"see who has it with `ss -ltnp 'sport = :{seen.port}'`"
    if seen.actual_port:
        here = f"{seen.host}:{seen.actual_port} ({seen.name})"
        if not seen.answers:
            return Finding(check, PROBLEM, f"the node does not answer at {here}", "restart it")
        if seen.port and seen.actual_port != seen.port:
            text = f"the node listens on {seen.actual_port} instead of {place}"
            step = f"unless a flag says so, that was taken: {who}, end it and restart the node"
            return Finding(check, WARNING, text, step)
        return Finding(check, OK, f"the node answers at {here}")
    if not seen.error_number:
        return Finding(check, OK, f"{place} is free")
    if seen.error_number == errno.EADDRINUSE:
        level = WARNING if seen.is_default else PROBLEM
        then = ": the node would take another port" if seen.is_default else ": no node can start"
        return Finding(check, level, f"{place} is taken{then}", who)
    if seen.error_number in (errno.EACCES, errno.EPERM):
        step = "choose a port above 1023 in config.toml"
        return Finding(check, PROBLEM, f"{place} may not be used by this user", step)
    step = "choose an address of this machine in config.toml; `ip address` shows them"
    return Finding(check, PROBLEM, f"{place} is no address of this machine", step)


@dataclass(frozen=True, slots=True)
class MulticastSeen:
    """What became of a multicast packet to ourselves, by interface ("" for received)."""

    by_interface: Mapping[str, str]
    is_enabled: bool = True
    is_container: bool = False


def judge_multicast(seen: MulticastSeen) -> list[Finding]:
    """Judge whether mDNS can find other nodes."""
    if not seen.is_enabled:
        return [Finding("mdns", OK, "off by the settings: nodes are found by --bootstrap only")]
    good = sorted(name for name, failure in seen.by_interface.items() if not failure)
    bad = {name: failure for name, failure in seen.by_interface.items() if failure}
    host_network = "give the container the host's network (network_mode: host, hostNetwork: true)"
    if seen.is_container and not bad:
        text = "this container has a network of its own, and mDNS does not leave that"
        return [Finding("mdns", WARNING, text, f"{host_network}, or name --bootstrap servers")]
    if not seen.by_interface:
        text = "no network interface is up"
        return [Finding("mdns", PROBLEM, text, "connect this machine to a network")]
    details = "; ".join(f"{name}: {failure}" for name, failure in sorted(bad.items()))
    if not good:
        text = f"multicast works on no interface ({details})"
        step = host_network if seen.is_container else "allow UDP 5353 and multicast in the firewall"
        return [Finding("mdns", WARNING, text, f"{step}, or name --bootstrap servers")]
    if bad:
        text = f"multicast works on {', '.join(good)}, but not on all interfaces ({details})"
        return [Finding("mdns", OK, text)]
    return [Finding("mdns", OK, f"multicast works on {', '.join(good)}")]


@dataclass(frozen=True, slots=True)
class LimitsSeen:
    """Limits of the system for one process."""

    open_files: int
    open_files_most: int
    congestion: str = ""  # of new TCP connections; "" where the system does not tell
    allowed_congestion: Sequence[str] = ()


def judge_limits(seen: LimitsSeen) -> list[Finding]:
    """Judge what the system lets the node do."""
    found = []
    if seen.open_files < MIN_OPEN_FILES:
        step = f"run `ulimit -n {min(65_536, seen.open_files_most)}` before, or use the service"
        if seen.open_files_most < MIN_OPEN_FILES:
            step = "have LimitNOFILE raised in the unit, or `nofile` in /etc/security/limits.conf"
        text = f"a process may open {seen.open_files} files: too few for a busy node"
        found.append(Finding("limits", WARNING, text, step))
    else:
        found.append(Finding("limits", OK, f"a process may open {seen.open_files} files"))
    lan = {"cubic", "reno"} & {seen.congestion, *seen.allowed_congestion}
    if seen.congestion and not lan:
        text = f"TCP's congestion control is {seen.congestion}, which is slow on a LAN"
        step = "run `sudo sysctl net.ipv4.tcp_allowed_congestion_control='reno cubic bbr'`"
        found.append(Finding("tcp", WARNING, text, step))
    return found
