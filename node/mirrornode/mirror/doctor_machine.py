"""What `doctor` looks at on this machine: the home, ports, multicast, limits. Changes nothing."""

from __future__ import annotations

import os
import pwd
import resource
import secrets
import shutil
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mirrornode.mirror.doctor_rules import HomeSeen, LimitsSeen, MulticastSeen, PortSeen
from mirrornode.swarm.addresses import InterfaceAddress, interface_addresses

MDNS_GROUP = "224.0.0.251"
MULTICAST_WAIT_S = 1.0
CONNECT_WAIT_S = 2.0
MAX_MOUNTS_BYTES = 1 << 20

_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
_TCP = Path("/proc/sys/net/ipv4")


def look_at_home(home: Path) -> HomeSeen:
    """Look at the home, or where it would be made."""
    place = home
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    exists = place == home
    seen = place.stat()
    owner = "" if seen.st_uid in (os.geteuid(),) or os.geteuid() == 0 else _name_of(seen.st_uid)
    return HomeSeen(
        str(home),
        exists=exists,
        is_folder=place.is_dir(),
        is_writable=_may_write(place),
        owner=owner,
        mode=seen.st_mode & 0o777,
        free_bytes=shutil.disk_usage(place).free,
        filesystem=filesystem_of(place.resolve(), _mounts()),
    )


def filesystem_of(path: Path, mounts: str) -> str:
    """Return the kind of file system of a path, "unknown" where it is not told.

    Args:
        mounts: As `/proc/self/mounts` has it; a later line covers an earlier one.
    """
    best, kind = -1, "unknown"
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if path.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), fields[2]
    return kind


def look_at_port(
    name: str, host: str, port: int, *, is_default: bool, actual: str = "", node_runs: bool
) -> PortSeen:
    """Look at one listener.

    Args:
        actual: URL of where the running node has it, "" when that is not known.
    """
    if not node_runs:
        return PortSeen(name, host, port, is_default, _try_to_listen(host, port))
    try:
        actual_port = urlsplit(actual).port or 0
    except ValueError:
        actual_port = 0
    answers = actual_port > 0 and _takes_connections(host, actual_port)
    return PortSeen(name, host, port, is_default, None, actual_port or port, answers)


def look_at_multicast(*, is_enabled: bool, environ: Mapping[str, str]) -> MulticastSeen:
    """Send a packet to ourselves over each interface that could have a neighbour."""
    addresses = interface_addresses() if is_enabled else []
    found: dict[str, str] = {}
    for each in addresses:
        if each.ip.version == 4 and not each.ip.is_loopback and each.interface not in found:
            found[each.interface] = _multicast_failure(str(each.ip))
    return MulticastSeen(found, is_enabled, is_own_network(addresses, environ))


def is_own_network(addresses: Iterable[InterfaceAddress], environ: Mapping[str, str]) -> bool:
    """Tell whether this is a container that does not share the network of its host.

    Inside one there is `eth0` and nothing else; a host has at least the bridge of its containers.
    """
    is_container = "KUBERNETES_SERVICE_HOST" in environ or any(
        map(os.path.exists, _CONTAINER_FILES)
    )
    names = {each.interface for each in addresses if not each.ip.is_loopback}
    return is_container and names <= {"eth0"}


def look_at_limits() -> LimitsSeen:
    """Look at what the system lets a process do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2**31
    return LimitsSeen(
        soft if soft != resource.RLIM_INFINITY else most,
        hard if hard != resource.RLIM_INFINITY else most,
        _word(_TCP / "tcp_congestion_control"),
        _word(_TCP / "tcp_allowed_congestion_control").split(),
    )


def _try_to_listen(host: str, port: int) -> int:
    """Return the error number of listening there for a moment, 0 for none."""
    try:
        family, _, _, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(place)
            sock.listen(1)
    except socket.gaierror:
        return 0  # a name: who resolves it, and to what, is the node's business
    except OSError as exc:
        return exc.errno or -1
    return 0


def _takes_connections(host: str, port: int) -> bool:
    nearest = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        socket.create_connection((nearest, port), CONNECT_WAIT_S).close()
    except OSError:
        return False
    return True


def _multicast_failure(ip: str) -> str:
    """Return why a packet to the group of mDNS did not come back over an interface, or ""."""
    token = secrets.token_bytes(16)
    membership = socket.inet_aton(MDNS_GROUP) + socket.inet_aton(ip)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            # A port of our own: what arrives at 5353 may go to another program on this machine.
            sock.bind(("", 0))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ip))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)  # nobody else's business
            sock.settimeout(MULTICAST_WAIT_S)
            sock.sendto(token, (MDNS_GROUP, sock.getsockname()[1]))
            while sock.recv(64) != token:
                continue
    except TimeoutError:
        return "packets do not come back"
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""


def _mounts() -> str:
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read(MAX_MOUNTS_BYTES)
    except OSError:
        return ""


def _may_write(folder: Path) -> bool:
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return False
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
