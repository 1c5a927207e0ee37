"""Settings: `<home>/config.toml` < `MIRRORNODE_*` < flags, joined into one frozen `Config`.

Every part receives only its own section. An unknown key is an error that names the nearest known
one; a wrong value is refused by the name of its key and where it came from. Nothing here is read
at import time.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mirrornode.config_alerts import AlertsConfig, WebhookConfig, check_alert_setting
from mirrornode.errors import ConfigError
from mirrornode.sizes import parse_size

DEFAULT_SWARM_PORT = 4101
DEFAULT_PEER_PLANE_PORT = 4102
DEFAULT_GATEWAY_PORT = 8090
PUBLIC_BOOTSTRAP = (  # what Kubo begins with, /dnsaddr/bootstrap.libp2p.io, as names with a port
    "/dns/sv15.bootstrap.libp2p.io/tcp/4001/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dns/ny5.bootstrap.libp2p.io/tcp/4001/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dns/am6.bootstrap.libp2p.io/tcp/4001/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dns/sg1.bootstrap.libp2p.io/tcp/4001/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
)
MIN_RATE = 10_000  # bytes a second: below that, sources time out before a piece has arrived

_HUB_PREFIX = re.compile(r"(/[A-Za-z0-9._-]+)+", re.ASCII)
MAX_KEEP_DAYS = 3650
MAX_SECONDS = 10 * 365 * 86_400.0  # of any setting that is a time: beyond is a typing error


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """One HTTP mirror: a trustless gateway, or a base URL under which files lie by path."""

    url: str = ""
    region: str = ""  # free label, shown in tables; "" means none
    weight: float = 1.0  # how much it is preferred; 0 = only when nothing else delivers


@dataclass(frozen=True, slots=True)
class OriginConfig:
    """Where repos of the Hugging Face Hub come from.

    `HF_ENDPOINT` is not read: on a machine whose clients use this node it names the node itself.
    """

    kind: str = "huggingface"  # the only one that is known
    url: str = "https://huggingface.co"  # or a mirror of it; may have a path
    send_token: bool = True  # False: users' tokens stay here, so only open repos can be had


@dataclass(frozen=True, slots=True)
class SwarmConfig:
    """The libp2p side: who we are and whom we know."""

    mode: str = "lan"  # "lan", or "public": announces to and finds in the public IPFS DHT, too
    listen: tuple[str, ...] = ()  # multiaddrs; empty means /ip4/0.0.0.0/tcp/4101 or a free port
    bootstrap: tuple[str, ...] = ()  # multiaddrs ending in /p2p/<peer id>
    mdns: bool = True  # find and be found on the local network without any setting
    public_server: bool = False  # True: serve the public DHT before anybody was seen to reach us
    public_bootstrap: tuple[str, ...] = PUBLIC_BOOTSTRAP  # dialled in public mode only


@dataclass(frozen=True, slots=True)
class PeerPlaneConfig:
    """HTTPS for ticket holders: bulk bytes between our own nodes."""

    address: str = ""  # "host:port"; empty means 0.0.0.0:4102, or a free port when that is taken
    plain: bool = False  # True: no TLS, twice as fast; content is still verified, privacy is not


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Plain HTTP for tools and browsers on this machine."""

    address: str = ""  # "host:port"; empty means 127.0.0.1:8090, or a free port when that is taken
    hub_prefix: str = ""  # path below which HF_ENDPOINT lies, such as "/hub"; empty means the top
    allow: tuple[str, ...] = ()  # networks that may read, "10.0.0.0/8"; with no token either: all
    tokens: tuple[str, ...] = ()  # who else may read: "NAME:SHA256" of each token, in hex
    token_file: str = ""  # more of them, one a line; relative to the home; empty: no file
    trusted_proxies: tuple[str, ...] = ()  # whose X-Forwarded-For, -Proto and -Host are believed
    names: tuple[str, ...] = ()  # host names it is reached under, besides localhost and addresses


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """How fast content may move, in bytes a second; written as "50MB", "6MiB", or a number."""

    upload: int = 0  # to all peers together, shared fairly between them; 0 = no limit
    upload_per_peer: int = 0  # to any one peer; 0 = no limit
    download: int = 0  # of all transfers together; 0 = no limit


@dataclass(frozen=True, slots=True)
class HubConfig:
    """Names, access and licences of the Hugging Face Hub."""

    ref_ttl_s: float = 60.0  # how long a branch or tag is not asked for again; 0: always asked
    grant_max_age_s: float = 604_800.0  # how old a grant counts while offline; 0: none does
    trust_peers: bool = False  # True: while offline, any connected peer may say what a name means
    trusted_peers: tuple[str, ...] = ()  # peer ids that may, without `trust_peers`
    licence_allow: tuple[str, ...] = ()  # patterns such as "cc-by-*"; empty allows all
    licence_deny: tuple[str, ...] = ()  # patterns; they win over those allowed


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """Who else is asked where content and peers are."""

    delegated: tuple[str, ...] = ()  # URLs of servers that speak /routing/v1, such as a Kubo's


@dataclass(frozen=True, slots=True)
class IpnsConfig:
    """Names: who may hand in records of them."""

    allow_puts: bool = False  # True: the gateway takes records from other machines, too


@dataclass(frozen=True, slots=True)
class HistoryConfig:
    """The history of downloads, see `mirrornode history`."""

    keep_days: float = 90.0  # 0: nothing is kept of a download that has ended


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What this node writes down about what it is asked for."""

    requests: bool = True  # False: no targets, peers or addresses are kept, only anonymous totals


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """How much the node keeps for itself in its home; sizes are written as "500GB"."""

    quota: int = 0  # bytes of all files that it keeps; 0 = no limit
    low_water: float = 0.8  # part of the quota that is left once something has to go
    keep_free: int = 0  # bytes that stay free on the disk; 0 = no limit
    accept_pins: bool = False  # True: holds copies for other nodes that ask for it
    replica_away_s: float = 86_400.0  # a holder of our copies that is away longer is replaced


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Running for long under a supervisor."""

    drain_s: float = 10.0  # how long SIGTERM lets what is under way go on; 0 = not at all


@dataclass(frozen=True, slots=True)
class SyncConfig:
    """One thing that is kept complete, pinned, and in step with where it comes from."""

    target: str = ""  # as for `mirrornode sync`: "hf:org/name@main", a CID, "pins:…", a folder
    every: str = "6h"  # from one run to the next, such as "30m"; empty: only when told to
    window: str = ""  # hours of the day, such as "22:00-06:00", for runs on schedule; empty: all
    delete: bool = False  # True: what the target no longer has goes from `out` and is not pinned
    out: str = ""  # a folder that is kept like the target; empty: only the node's own store
    from_node: str = ""  # multiaddr with /p2p/, or URL of the gateway, of a node to follow


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a node needs to know before it starts."""

    home: Path = Path()
    share: tuple[str, ...] = ()  # paths that `serve` adds in place; "hf-cache", "hf-cache:DIR"
    mirror: tuple[MirrorConfig, ...] = ()
    origin: tuple[OriginConfig, ...] = (OriginConfig(),)  # tried in this order; none: never asked
    swarm: SwarmConfig = field(default_factory=SwarmConfig)
    peer_plane: PeerPlaneConfig = field(default_factory=PeerPlaneConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    hub: HubConfig = field(default_factory=HubConfig)
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    ipns: IpnsConfig = field(default_factory=IpnsConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    log: LogConfig = field(default_factory=LogConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    service: ServiceConfig = field(default_factory=ServiceConfig)
    sync: tuple[SyncConfig, ...] = ()
    alerts: AlertsConfig = field(default_factory=AlertsConfig)
    webhook: tuple[WebhookConfig, ...] = ()


def default_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return `$MIRRORNODE_HOME`, or the user's data directory for mirrornode."""
    if from_env := environ.get("MIRRORNODE_HOME"):
        return _absolute(Path(from_env), "MIRRORNODE_HOME")
    from platformdirs import user_data_path

    return user_data_path("mirrornode", appauthor=False)


def load_config(home: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the config file of `home` and the environment.

    Raises:
        ConfigError: Unknown key, wrong type, or a file that is not TOML.
    """
    home = _absolute(home, "--home") if home is not None else default_home(environ)
    path = home / "config.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        values = {}
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {path}: {exc}", origin=str(path)) from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}", origin=str(path)) from exc
    config = _build(Config, values, prefix="", origin=str(path))
    config = _with_environment(dataclasses.replace(config, home=home), environ)
    _check_hub(config.hub, str(path))
    return config


def parse_rate(value: object, name: str, origin: str) -> int:
    """Return the bytes a second that a setting or flag means; 0 is no limit.

    Raises:
        ConfigError: Not a size, or a rate at which nothing would ever arrive.
    """
    try:
        rate = parse_size(str(value))  # of a type that is neither text nor number: no size either
    except ValueError as exc:
        raise ConfigError(
            f"{name} = {value!r} in {origin}: {exc}", key=name, origin=origin
        ) from exc
    if 0 < rate < MIN_RATE:
        raise ConfigError(
            f"{name} = {value!r} in {origin} is less than {MIN_RATE:,} bytes a second: transfers "
            "would time out; 0 means no limit",
            key=name,
            origin=origin,
        )
    return rate


def parse_bytes(value: object, name: str, origin: str) -> int:
    """Return the bytes that a setting or flag means.

    Raises:
        ConfigError: Not a size.
    """
    try:
        return parse_size(str(value))
    except ValueError as exc:
        raise ConfigError(
            f"{name} = {value!r} in {origin}: {exc}", key=name, origin=origin
        ) from exc


def _with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """Apply `MIRRORNODE_<SECTION>_<KEY>` and `MIRRORNODE_ORIGIN`, lists separated by commas."""
    if (text := environ.get("MIRRORNODE_ORIGIN")) is not None:
        tables = [{"url": url.strip()} for url in text.split(",") if url.strip()]
        origins = _convert(config.origin, tables, "origin", "MIRRORNODE_ORIGIN")
        config = dataclasses.replace(config, origin=origins)
    sections = (
        "swarm",
        "peer_plane",
        "gateway",
        "limits",
        "hub",
        "routing",
        "ipns",
        "history",
        "log",
        "storage",
        "service",
        "alerts",
    )
    for section_name in sections:
        section = getattr(config, section_name)
        changes: dict[str, Any] = {}
        for item in dataclasses.fields(section):
            variable = f"MIRRORNODE_{section_name}_{item.name}".upper()
            text = environ.get(variable)
            if text is None:
                continue
            current = getattr(section, item.name)
            value: Any = text
            if isinstance(current, tuple):
                value = [part.strip() for part in text.split(",") if part.strip()]
            elif isinstance(current, bool):
                if text.lower() not in ("0", "1", "true", "false"):
                    raise ConfigError(
                        f"{variable} must be true or false",
                        key=f"{section_name}.{item.name}",
                        origin=variable,
                    )
                value = text.lower() in ("1", "true")
            elif isinstance(current, float):
                value = _number(text)
            elif isinstance(current, int) and text.isdecimal():
                value = int(text)
            changes[item.name] = _convert(current, value, f"{section_name}.{item.name}", variable)
        if changes:
            config = dataclasses.replace(
                config, **{section_name: dataclasses.replace(section, **changes)}
            )
    return config


_T = TypeVar("_T")
_TABLES: Mapping[str, type[MirrorConfig | OriginConfig | SyncConfig | WebhookConfig]] = {
    "mirror": MirrorConfig,
    "origin": OriginConfig,
    "sync": SyncConfig,
    "webhook": WebhookConfig,
}


def _build(cls: type[_T], values: Mapping[str, Any], *, prefix: str, origin: str) -> _T:
    known = {
        item.name: item
        for item in dataclasses.fields(cls)  # type: ignore[arg-type]  # only dataclasses come here
        if item.name != "home"
    }
    changes: dict[str, Any] = {}
    defaults = cls()
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known: {', '.join(known)}"
            raise ConfigError(f"unknown setting {name} in {origin}{hint}", key=name, origin=origin)
        changes[key] = _convert(getattr(defaults, key), value, name, origin)
    return dataclasses.replace(defaults, **changes)  # type: ignore[type-var]


def _convert(default: Any, value: Any, name: str, origin: str) -> Any:
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} in {origin} must be a table", key=name, origin=origin)
        return _build(type(default), value, prefix=f"{name}.", origin=origin)
    if table := _TABLES.get(name):
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise ConfigError(f"{name} in {origin} is written [[{name}]]", key=name, origin=origin)
        for item in value:
            needed = "target" if name == "sync" else "url"
            if needed not in item:
                raise ConfigError(f"[[{name}]] in {origin} needs a {needed}",
                                  key=f"{name}.{needed}", origin=origin)  # fmt: skip
        return tuple(_build(table, item, prefix=f"{name}.", origin=origin) for item in value)
    if name in ("storage.quota", "storage.keep_free"):
        return parse_bytes(value, name, origin)
    if name.startswith("limits.") or name == "alerts.slow_rate":
        return parse_rate(value, name, origin)
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(
                f"{name} in {origin} must be a list of strings", key=name, origin=origin
            )
        if name == "routing.delegated":
            for url in value:
                _check_router(url, name, origin)
        return tuple(value)
    if isinstance(default, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(
                f"{name} in {origin} must be a number from 0 on", key=name, origin=origin
            )
        value = float(value)
    if name == "mirror.weight" and not 0 <= value <= 1e6:
        raise ConfigError(f"{name} in {origin} must be a number from 0 on", key=name, origin=origin)
    if not isinstance(value, type(default)):
        kind = "number" if isinstance(default, float) else type(default).__name__
        raise ConfigError(f"{name} in {origin} must be a {kind}", key=name, origin=origin)
    if name == "history.keep_days" and not 0 <= value <= MAX_KEEP_DAYS:
        raise ConfigError(
            f"{name} in {origin} must be between 0 and {MAX_KEEP_DAYS} days",
            key=name,
            origin=origin,
        )
    if isinstance(value, float) and not 0 <= value <= MAX_SECONDS:
        raise ConfigError(
            f"{name} in {origin} must be between 0 and {MAX_SECONDS:.0f} seconds",
            key=name,
            origin=origin,
        )
    if name.startswith(("alerts.", "webhook.")):
        check_alert_setting(name, value, origin)
    if name == "storage.low_water" and not 0.1 <= value <= 1:
        raise ConfigError(
            f"{name} in {origin} is a part of the quota: give a number from 0.1 to 1",
            key=name,
            origin=origin,
        )
    if name == "gateway.hub_prefix" and value and not _HUB_PREFIX.fullmatch(value):
        raise ConfigError(
            f'{name} = "{value}" in {origin}: give a path such as "/hub"', key=name, origin=origin
        )
    if name == "swarm.mode" and value not in ("lan", "public"):
        raise ConfigError(
            f'{name} = "{value}" in {origin}: "lan" or "public"', key=name, origin=origin
        )
    if name == "origin.kind" and value != "huggingface":
        raise ConfigError(
            f'{name} = "{value}" in {origin}: only "huggingface" is known', key=name, origin=origin
        )
    if name == "origin.url" and ("?" in value or "#" in value):
        raise ConfigError(
            f"{name} in {origin}: an origin's URL ends with its path", key=name, origin=origin
        )
    if name in ("mirror.url", "origin.url") and not value.startswith(("http://", "https://")):
        raise ConfigError(
            f'{name} = "{value}" in {origin}: give an http:// or https:// URL',
            key=name,
            origin=origin,
        )
    return value


def _check_router(url: str, name: str, origin: str) -> None:
    if not url.startswith(("http://", "https://")) or "?" in url or "#" in url:
        raise ConfigError(
            f'{name} = "{url}" in {origin}: give the http:// or https:// URL of a server that '
            "answers /routing/v1, such as http://192.168.1.5:8090",
            key=name,
            origin=origin,
        )


def _check_hub(hub: HubConfig, origin: str) -> None:
    """Refuse what contradicts itself, or cannot be meant."""
    for peer_id in hub.trusted_peers:
        if not peer_id.isascii() or not peer_id.isalnum():
            raise ConfigError(
                f"hub.trusted_peers in {origin} or the environment: {peer_id!a} is no peer id; "
                "give what `mirrornode status` of that node shows, such as 12D3KooW…",
                key="hub.trusted_peers",
                origin=origin,
            )
    both = {name.lower() for name in hub.licence_allow} & {
        name.lower() for name in hub.licence_deny
    }
    if both:
        raise ConfigError(
            f"hub.licence_allow and hub.licence_deny both name {min(both)}",
            key="hub.licence_allow",
            origin=origin,
        )


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # refused by its type


def _absolute(path: Path, origin: str) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as exc:
        raise ConfigError(f"{origin} = {path}: {exc}", key="home", origin=origin) from exc
