"""What the web page shows, section by section, out of the records that the verbs give. Pure.

There are two views of each section: that of the node's owner, and that of who may only read the
gateway. A reader learns no path of this machine, no address of a peer, and not that a gated or
private repo of the Hub is known here. Lists are bounded, and so is every text in them; what a text
says is for the page to show as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mirrornode.errors import MirrorError
from mirrornode.wire.hub import is_hub_target, parse_hub_target

if TYPE_CHECKING:
    from mirrornode.wire.hub import HubTarget

MAX_ROWS: Final = 300  # of one list
MAX_TEXT: Final = 300  # letters of one text
MAX_NAMED: Final = 20  # peers named beside one model
PEER_KINDS: Final = ("peer", "bitswap")

Record = Mapping[str, Any]
Sections = dict[str, Any]

_OWNERS_ALONE: Final = frozenset(
    {"home", "listen", "peer_plane", "path", "out", "address", "reason", "from_node"}
)


@dataclass(frozen=True, slots=True)
class Survey:
    """What takes a while to find out; the defaults are those of a node that was not asked yet.

    Attributes:
        status: Of the verb `status`.
        roots, repos, pins, downloads: Of `ls`, `ls hf:`, `pin --list`, `history`.
        mirrors: Of `known_mirrors` and `origin_standings`.
        disk: Of `disk_record`.
    """

    status: Record = field(default_factory=dict)
    roots: Sequence[Record] = ()
    repos: Sequence[Record] = ()
    pins: Sequence[Record] = ()
    downloads: Sequence[Record] = ()
    mirrors: Sequence[Record] = ()
    disk: Record = field(default_factory=dict)

    @property
    def open_repos(self) -> frozenset[str]:
        """The repos that everybody may know of."""
        return frozenset(str(one["repo"]) for one in self.repos if _is_open(one))


@dataclass(frozen=True, slots=True)
class Glance:
    """What is known at any moment.

    Attributes:
        transfers: As `status` has them.
        links: See `link_records`.
        in_rate, out_rate: Bytes a second, of all together.
    """

    transfers: Sequence[Record] = ()
    links: Sequence[Record] = ()
    in_rate: float = 0.0
    out_rate: float = 0.0


def glance_sections(glance: Glance, open_repos: frozenset[str], *, is_owner: bool) -> Sections:
    """Return what changes from second to second."""
    return {
        "transfers": transfer_section(glance.transfers, open_repos, is_owner=is_owner),
        "links": _rows(glance.links if is_owner else map(_without_own, glance.links)),
        "rates": {"in": round(glance.in_rate), "out": round(glance.out_rate)},
    }


def transfer_section(
    transfers: Sequence[Record], open_repos: frozenset[str], *, is_owner: bool
) -> dict[str, Any]:
    """Return the running downloads."""
    if not is_owner:
        transfers = [_for_reader(one, open_repos) for one in transfers]
    return _rows(transfers)


def survey_sections(survey: Survey, *, is_owner: bool) -> Sections:
    """Return what changes now and then."""
    open_repos = survey.open_repos
    status, downloads = dict(survey.status), survey.downloads
    # Those run: they change each second, and `glance_sections` has them.
    for name in ("transfers", "uptime_s"):
        status.pop(name, None)
    alerts = status.pop("alerts", None) or ()
    syncs = status.pop("syncs", None) or ()
    if not is_owner:
        status = _without_own(status)
        downloads = [_for_reader(one, open_repos) for one in downloads]
        syncs = [_without_own(one) for one in syncs if _is_open_sync(one, open_repos)]
    return {
        "node": _bounded(status),
        "alerts": _rows(alerts),
        "syncs": _rows(syncs),
        "shared": _rows(shared_records(survey, is_owner=is_owner)),
        "downloads": _rows(downloads),
        "mirrors": _rows(survey.mirrors),
        "disk": dict(survey.disk),
    }


def shared_records(survey: Survey, *, is_owner: bool) -> list[dict[str, Any]]:
    """Return one record for each root and each commit of a repo that is here or pinned."""
    pins: dict[str, list[Record]] = {}
    for pin in survey.pins:
        pins.setdefault(_pinned_key(str(pin["target"])), []).append(pin)
    givers = _givers(survey.downloads)
    found = [
        {
            "target": root["cid"],
            "name": root["name"],
            "kind": root["kind"],
            "size_bytes": root["size_bytes"],
            "here_bytes": root["size_bytes"] if root["state"] == "ok" else None,
            "files": root["files"],
            "state": root["state"],
            "licence": "",
            "is_open": True,
            **({"path": root["path"]} if is_owner else {}),
            **_kept(pins.pop(str(root["cid"]), ()), givers.get(str(root["cid"]), {})),
        }
        for root in survey.roots
    ]
    for repo in survey.repos:
        target = f"hf:{repo['repo']}@{repo['commit']}"
        pinned = pins.pop(target, ())
        if (not repo["bytes_here"] and not pinned) or not (is_owner or _is_open(repo)):
            continue
        size, here = repo["size_bytes"], repo["bytes_here"]
        found.append(
            {
                "target": target,
                "name": repo["repo"],
                "refs": list(repo["refs"])[:MAX_NAMED],
                "kind": "hub",
                "size_bytes": size,
                "here_bytes": here,
                "files": repo["files"],
                "state": "ok" if size is not None and here == size else "partial",
                "licence": repo["licence"],
                "is_open": _is_open(repo),
                **_kept(pinned, givers.get(target, {})),
            }
        )
    for target, left in pins.items():
        if is_owner or not is_hub_target(target):
            found.append(_pinned_alone(target, left, givers.get(target, {})))
    return found


def link_records(
    peers: Sequence[Record],
    transfers: Sequence[Record],
    brought: Mapping[str, int],
    sent: Mapping[str, int],
    out_rates: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Return who feeds whom: one record for each connected peer, and for whoever else took part.

    Args:
        peers: As the verb `peers` has them.
        brought: Bytes of the last day by source id, of downloads that ended.
        sent: Bytes by peer id, since the node started.
        out_rates: Bytes a second by peer id.
    """
    by_id: dict[str, dict[str, Any]] = {
        f"peer:{peer['peer_id']}": _link(f"peer:{peer['peer_id']}", peer) for peer in peers
    }
    for name, size_bytes in brought.items():
        if source_id := _link_id(name):
            by_id.setdefault(source_id, _link(source_id))["in_bytes"] += size_bytes
    for transfer in transfers:
        for source in transfer["sources"]:
            source_id = _link_id(str(source["source_id"]))
            if not source_id or source["kind"] == "local":
                continue
            link = by_id.setdefault(source_id, _link(source_id))
            link["in_bytes"] += source["received_bytes"]
            if source["state"] == "active":
                link["in_rate"] += source["rate_bytes_per_s"]
            if link["rtt_s"] is None:
                link["rtt_s"] = source["rtt_s"]
    for peer_id, size_bytes in sent.items():
        link = by_id.setdefault(f"peer:{peer_id}", _link(f"peer:{peer_id}"))
        link["out_bytes"] = size_bytes
        link["out_rate"] = out_rates.get(peer_id, 0.0)
    for link in by_id.values():
        link["in_rate"], link["out_rate"] = round(link["in_rate"]), round(link["out_rate"])
    return sorted(
        by_id.values(), key=lambda link: (-(link["in_bytes"] + link["out_bytes"]), link["id"])
    )


# -- parts of records ----------------------------------------------------------------------------


def _link_id(source_id: str) -> str:
    """Return the id of a source as a link: a peer is one, whichever protocol it speaks."""
    kind, _, name = source_id.partition(":")
    return f"peer:{name}" if kind == "bitswap" else source_id


def _link(source_id: str, peer: Record | None = None) -> dict[str, Any]:
    kind, _, name = source_id.partition(":")
    return {
        "id": source_id,
        "kind": kind,
        "name": name,
        "is_connected": peer is not None,
        "agent": peer["agent"] if peer else "",
        "address": peer["address"] if peer else "",
        "rtt_s": peer.get("rtt_s") if peer else None,
        "in_bytes": 0,
        "in_rate": 0.0,
        "out_bytes": 0,
        "out_rate": 0.0,
    }


def _kept(pins: Iterable[Record], givers: Mapping[str, int]) -> dict[str, Any]:
    """Return under which names something is pinned, and who else is known to have it."""
    own = [pin for pin in pins if not pin["owner"]]
    holders = {one["peer_id"]: one["state"] for pin in own for one in pin["holders"]}
    for peer_id in givers:
        holders.setdefault(peer_id, "gave")
    return {
        "pins": [{"target": pin["target"], "name": pin["name"]} for pin in own][:MAX_NAMED],
        "replicas": max((pin["replicas"] for pin in own), default=0),
        "is_held_for_peer": any(pin["owner"] for pin in pins),
        "holders": [{"peer_id": peer_id, "state": state} for peer_id, state in holders.items()][
            :MAX_NAMED
        ],
    }


def _pinned_alone(target: str, pins: Sequence[Record], givers: Mapping[str, int]) -> dict[str, Any]:
    """Return the record of what is pinned and neither a root nor a commit that is known here."""
    return {
        "target": target,
        "name": target,
        "kind": "hub" if is_hub_target(target) else "cid",
        "size_bytes": max(pin["size_bytes"] for pin in pins),
        "here_bytes": None,
        "files": None,
        "state": "unknown",
        "licence": "",
        "is_open": not is_hub_target(target),
        **_kept(pins, givers),
    }


def _pinned_key(target: str) -> str:
    """Return the target of a pin as `shared_records` names it: a part of a commit counts for it."""
    hub = _hub_target(target)
    return target if hub is None else f"hf:{hub.repo}@{hub.revision}"


def _hub_target(target: str) -> HubTarget | None:
    """Return what a text names of the Hub; None when it names nothing, as one that was cut."""
    try:
        return parse_hub_target(target) if is_hub_target(target) else None
    except MirrorError:
        return None


def _givers(downloads: Iterable[Record]) -> dict[str, dict[str, int]]:
    """Return which peers brought what, by root."""
    found: dict[str, dict[str, int]] = {}
    for download in downloads:
        root = _pinned_key(str(download["root"]))
        for source in download["sources"]:
            if source["kind"] in PEER_KINDS and source["source_id"] and source["received_bytes"]:
                peer_id = str(source["source_id"]).partition(":")[2]
                givers = found.setdefault(root, {})
                givers[peer_id] = givers.get(peer_id, 0) + int(source["received_bytes"])
    return found


# -- what readers are not told -------------------------------------------------------------------


def _is_open(repo: Record) -> bool:
    return not repo["gated"] and not repo["private"]


def _for_reader(record: Record, open_repos: frozenset[str]) -> dict[str, Any]:
    """Return a download as a reader may see it."""
    shown = _without_own(record)
    if not _may_be_named(str(record["target"]), open_repos):
        shown["target"] = ""
        shown["is_hidden"] = True
    if "root" in shown:
        shown["root"] = shown["root"] if _may_be_named(str(shown["root"]), open_repos) else ""
    shown["sources"] = [_without_own(source) for source in record["sources"]]
    return shown


def _may_be_named(target: str, open_repos: frozenset[str]) -> bool:
    if not is_hub_target(target):
        return True
    hub = _hub_target(target)
    return hub is not None and str(hub.repo) in open_repos


def _is_open_sync(sync: Record, open_repos: frozenset[str]) -> bool:
    """Tell whether a reader may know what is kept in step: not folders, nor whom it follows."""
    return is_hub_target(str(sync["target"])) and _may_be_named(str(sync["target"]), open_repos)


def _without_own(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in _OWNERS_ALONE}


# -- bounds --------------------------------------------------------------------------------------


def _rows(records: Iterable[Record]) -> dict[str, Any]:
    """Return the first records of a list, and how many there are."""
    all_ = list(records)
    return {"rows": [_bounded(one) for one in all_[:MAX_ROWS]], "total": len(all_)}


def _bounded(value: Any) -> Any:
    """Return a record with every text cut to `MAX_TEXT` letters."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
    if isinstance(value, Mapping):
        return {key: _bounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(one) for one in value[:MAX_ROWS]]
    return value
