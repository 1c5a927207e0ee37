"""A client and a factory for the verbs' tests: they answer from what a test put in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.config import Config
from mirrornode.events import Added, Event, Got, Progress
from mirrornode.wire.hub import is_hub_target
from mirrornode_cli.context import ClientPort, Factory, Ready

if TYPE_CHECKING:
    import asyncio

CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
ADDED = Added(
    cid=CID,
    name="model",
    path="/models/model",
    size_bytes=2_000_000,
    leaves=2,
    seconds=0.5,
    profile="unixfs-v1-2025",
    files=3,
    files_read=3,
)
GOT = Got(
    cid=CID,
    path="/out/model",
    size_bytes=3_000_000,
    seconds=2.0,
    bytes_by_source={"peer:12D3KooWabcdefghijkl": 1_500_000, "http:http://mirror.example": 500_000},
    resumed_bytes=1_000_000,
    bad_sources={"gateway:http://bad.example": "bytes do not match"},
)
ROOT = {
    "cid": CID,
    "kind": "directory",
    "name": "model",
    "path": "/models/model",
    "size_bytes": 2_000_000,
    "files": 3,
    "profile": "unixfs-v1-2025",
    "added_at": 1_700_000_000.0,
    "state": "ok",
}
PEER = {
    "peer_id": "12D3KooWabcdefghijkl",
    "address": "/ip4/192.0.2.7/tcp/4101",
    "agent": "mirrornode/0.1.0",
    "outbound": True,
    "is_mirrornode": True,
    "rtt_s": 0.0012,
}
STATUS = {
    "running": True,
    "peer_id": "12D3KooWabcdefghijkl",
    "version": "0.1.0",
    "home": "/home/user/node",
    "uptime_s": 75.0,
    "listen": ["/ip4/192.0.2.1/tcp/4101/p2p/12D3KooWabcdefghijkl"],
    "peer_plane": "https://192.0.2.1:4102",
    "gateway": "http://127.0.0.1:8090",
    "hub_endpoint": "http://127.0.0.1:8090/hub",
    "peers": 2,
    "dht_peers": 1,
    "roots": 1,
    "files": 3,
    "size_bytes": 2_000_000,
    "served_bytes": 7_000_000,
    "limits": {"upload": 50_000_000, "upload_per_peer": 0, "download": 0},
    "announcements": {"total": 4, "due": 1, "ok": 3},
    "names": [],
    "transfers": [
        {
            "target": CID,
            "out": "/out/x",
            "done_bytes": 50,
            "total_bytes": 100,
            "rate_bytes_per_s": 10.0,
            "kind": "get",
            "seconds": 5.0,
            "sources": [
                {
                    "source_id": "peer:12D3KooWabcdefghijkl",
                    "kind": "peer",
                    "state": "active",
                    "received_bytes": 40,
                    "rate_bytes_per_s": 10.0,
                    "rtt_s": 0.0004,
                    "first_byte_s": 0.002,
                    "reason": "",
                }
            ],
        }
    ],
    "last_hour": {"downloads": 0, "outcomes": {}, "received_bytes": 0, "bytes_by_kind": {}},
    "last_day": {
        "downloads": 5,
        "outcomes": {"ok": 4, "failed": 1},
        "success_ratio": 0.8,
        "size_bytes": 9_000_000,
        "received_bytes": 8_000_000,
        "rate_bytes_per_s": 2_000_000.0,
        "bytes_by_kind": {"hub": 2_000_000, "peer": 6_000_000},
        "rtt_by_kind": {"peer": 0.0004},
    },
    "hit_ratio": 0.75,
}
DOWNLOAD: dict[str, Any] = {
    "id": 7,
    "kind": "get",
    "target": CID,
    "root": CID,
    "started_at": 1_700_000_000.0,
    "ended_at": 1_700_000_004.0,
    "seconds": 4.0,
    "size_bytes": 2_000_000,
    "received_bytes": 2_000_000,
    "resumed_bytes": 0,
    "rate_bytes_per_s": 500_000.0,
    "outcome": "ok",
    "error": "",
    "reason": "",
    "sources": [
        {"source_id": "peer:a", "kind": "peer", "received_bytes": 1_000_000},
        {"source_id": "hub:x", "kind": "hub", "received_bytes": 400_000},
        {"source_id": "peer:b", "kind": "peer", "received_bytes": 600_000},
        {"source_id": "http:y", "kind": "http", "received_bytes": 0},
    ],
}

REPO: dict[str, Any] = {
    "repo": "org/name",
    "commit": "c" * 40,
    "refs": ["main"],
    "files": 4,
    "files_here": 3,
    "size_bytes": 2_000_000,
    "bytes_here": 1_500_000,
    "licence": "mit",
    "gated": "",
    "private": False,
    "vouched_by": "hub:huggingface.co",
    "seen_at": 1_700_000_000.0,
}
SHARED_CACHE: dict[str, Any] = {
    "cache": "/cache/hub",
    "files": 3,
    "size_bytes": 1_500_000,
    "files_read": 2,
    "bytes_read": 1_000_000,
    "repos": [{"repo": "org/name", "files": 3, "size_bytes": 1_500_000}],
    "kept": {"org/gated": "it is gated"},
    "problems": [{"path": "/cache/hub/x", "reason": "is not what its name says"}],
    "more_problems": 0,
}
HUB_REPORT: dict[str, Any] = {
    "checked_files": 3,
    "checked_bytes": 2_000_000,
    "absent_files": 1,
    "mended_files": 1,
    "ok": True,
    "problems": [
        {
            "path": "/cache/hub/blobs/x",
            "file": "model.bin",
            "reason": "is not what the Hub says",
            "is_mended": True,
            "why_not": "",
        }
    ],
}


MEASURED: list[dict[str, Any]] = [
    {
        "url": "https://near.example/",
        "region": "eu-west",
        "weight": 2.0,
        "kind": "gateway",
        "state": "ok",
        "detail": "",
        "connect_s": 0.0204,
        "first_byte_s": 0.012,
        "size_bytes": 8388608,
        "seconds": 0.1,
        "rate_bytes_per_s": 83886080.0,
        "known_rate_bytes_per_s": 83886080.0,
        "success": 1.0,
        "uses": 3,
        "score": 150_000_000.0,
        "standing": None,
    },
    {
        "url": "https://down.example/models/a-long-way-down/to-the-file.safetensors",
        "region": "",
        "weight": 1.0,
        "kind": "file",
        "state": "unknown name",
        "detail": "cannot resolve down.example",
        "connect_s": None,
        "first_byte_s": None,
        "size_bytes": 0,
        "seconds": 0.0,
        "rate_bytes_per_s": None,
        "known_rate_bytes_per_s": None,
        "success": 0.0,
        "uses": 1,
        "score": 0.0,
        "standing": None,
    },
]

EXPORTED: dict[str, Any] = {
    "cid": CID,
    "path": "/out/model.car",
    "name": "model",
    "size_bytes": 2_000_300,
    "blocks": 3,
    "seconds": 0.5,
    "missing": [],
    "missing_count": 0,
    "complete": True,
}
IMPORTED_ROOT: dict[str, Any] = {
    "cid": CID,
    "name": "model",
    "kind": "directory",
    "path": "/models/model",
    "size_bytes": 2_000_000,
    "files": 3,
    "resumed_bytes": 0,
    "missing": [],
    "missing_count": 0,
    "complete": True,
}


NAME: dict[str, Any] = {
    "key": "models",
    "name": "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
    "path": f"/ipfs/{CID}",
    "target": CID,
    "sequence": 4,
    "ttl_s": 300.0,
    "lifetime_s": 172_800.0,
    "changed_at": 1_700_000_000.0,
    "expires_at": 1_700_172_800.0,
    "published_at": 1_700_000_000.0,
    "kept_by": 3,
}


PIN: dict[str, Any] = {
    "target": CID,
    "name": "production",
    "kind": "recursive",
    "owner": "",
    "size_bytes": 2_000_000,
    "made_at": 1_700_000_000.0,
    "replicas": 2,
    "holders": [
        {"peer_id": "12D3KooWabcdefghijkl", "state": "kept", "reason": "", "seen_at": 1.0},
        {"peer_id": "12D3KooWmnopqrstuvwx", "state": "coming", "reason": "", "seen_at": 1.0},
    ],
}
COLLECTED: dict[str, Any] = {
    "dry_run": False,
    "quota_bytes": 10_000_000,
    "low_water_bytes": 8_000_000,
    "keep_free_bytes": 0,
    "disk_free_bytes": 50_000_000,
    "used_bytes": 12_000_000,
    "used_after_bytes": 9_000_000,
    "freed_bytes": 3_000_000,
    "freed_files": 4,
    "freed": [{"name": "org/old@cccccccccccc", "size_bytes": 2_000_000, "used_at": 0.0}],
    "leftover_bytes": 1_000_000,
    "inner_blocks": 5,
    "held_bytes": {"pinned": 9_000_000},
    "short_bytes": 1_000_000,
}


SYNCED: dict[str, Any] = {
    "target": "hf:org/name",
    "from_node": "",
    "dry_run": False,
    "outcome": "ok",
    "error": "",
    "reason": "",
    "started_at": 1_700_000_000.0,
    "seconds": 2.5,
    "previous": "",
    "root": f"hf:org/name@{'c' * 40}",
    "size_bytes": 3_000_000,
    "fetched_bytes": 2_000_000,
    "missing_bytes": 2_000_000,
    "added": ["new.txt"],
    "added_count": 1,
    "changed": [f"{number}.bin" for number in range(30)],
    "changed_count": 1500,
    "removed": [],
    "removed_count": 0,
    "deleted": ["a\x1b[2Jb.txt"],
    "deleted_count": 1,
    "unpinned": [],
    "unpinned_count": 0,
}
IN_STEP: dict[str, Any] = {
    "target": "hf:org/name",
    "from_node": "http://10.0.0.5:8090",
    "every_s": 21600.0,
    "out": "",
    "delete": False,
    "outcome": "failed",
    "reason": "nobody is there",
    "started_at": 1_700_000_000.0,
    "ended_at": 1_700_000_002.0,
    "ok_at": None,
    "failures": 1,
    "root": "",
    "size_bytes": 0,
    "fetched_bytes": 0,
    "changes": 0,
    "next_at": 1_700_000_300.0,
    "is_overdue": True,
}
ALERT: dict[str, Any] = {
    "rule": "slow",
    "key": "http://mirror.example/",
    "severity": "warning",
    "text": "mirror http://mirror.example/ is slow",
    "since": 1_700_000_000.0,
}
TOLD: dict[str, Any] = {
    "webhook": "slack hooks.example",
    "kind": "slack",
    "is_taken": True,
    "answer": "answered 200",
    "seconds": 0.25,
}


class FakeClient:
    """Remembers its calls; `failure` is raised by every call when set."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failure: BaseException | None = None
        self.events: list[Event] = []
        self.roots: list[dict[str, Any]] = [ROOT]
        self.connected: list[dict[str, Any]] = [PEER]
        self.findings: list[dict[str, Any]] = []
        self.state: dict[str, Any] = STATUS
        self.measured: list[dict[str, Any]] = MEASURED
        self.past: list[dict[str, Any]] = [DOWNLOAD]
        self.repos: list[dict[str, Any]] = []
        self.names: list[dict[str, Any]] = [NAME]
        self.hub_report: dict[str, Any] = HUB_REPORT
        self.exported: dict[str, Any] = dict(EXPORTED)
        self.imported: dict[str, Any] = {
            "roots": [dict(IMPORTED_ROOT)],
            "blocks": 3,
            "car_bytes": 2_000_300,
            "seconds": 0.5,
        }
        self.kept: list[dict[str, Any]] = [PIN]
        self.collected: dict[str, Any] = COLLECTED
        self.synced: list[dict[str, Any]] = [SYNCED]
        self.in_step: list[dict[str, Any]] = [IN_STEP]
        self.wrong: list[dict[str, Any]] = [ALERT]
        self.told: list[dict[str, Any]] = [TOLD]
        self.report: dict[str, Any] = {
            "checked_files": 3,
            "checked_bytes": 2_000_000,
            "restored_files": 0,
            "more_problems": 0,
            "ok": True,
            "problems": [],
        }

    def add(
        self,
        paths: Sequence[str | Path],
        *,
        name: str | None = None,
        profile: str = "unixfs-v1-2025",
        chunker: str | None = None,
        raw_leaves: bool | None = None,
        cid_version: int | None = None,
        max_links: int | None = None,
        wrap: bool = False,
        only_hash: bool = False,
        copy: bool = False,
        hidden: bool = False,
        progress: Progress | None = None,
    ) -> list[Added]:
        arguments = {k: v for k, v in locals().items() if k not in ("self", "progress")}
        self._called("add", progress, **arguments)
        return [ADDED for _ in paths]

    def get(
        self,
        target: str,
        dest: str | Path | None = None,
        *,
        mirrors: Sequence[str] = (),
        peers: Sequence[str] = (),
        timeout_s: float = 30.0,
        download_limit: int = 0,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Got:
        self._called(
            "get",
            progress,
            target=target,
            dest=dest,
            mirrors=list(mirrors),
            peers=list(peers),
            timeout_s=timeout_s,
            download_limit=download_limit,
            include=list(include),
            exclude=list(exclude),
        )
        return GOT

    def share_hub_cache(
        self, path: str | Path | None = None, *, progress: Progress | None = None
    ) -> dict[str, Any]:
        self._called("share_hub_cache", progress, path=path)
        return SHARED_CACHE

    def verify(
        self, target: str | None = None, *, progress: Progress | None = None
    ) -> dict[str, Any]:
        self._called("verify", progress, target=target)
        return self.hub_report if is_hub_target(target) else self.report

    def mirrors(
        self,
        urls: Sequence[str] = (),
        *,
        sample: str | None = None,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        self._called("mirrors", progress, urls=list(urls), sample=sample)
        return self.measured

    def publish(
        self,
        target: str,
        *,
        key: str = "self",
        lifetime_s: float = 48 * 3600.0,
        ttl_s: float = 300.0,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        times = {"lifetime_s": lifetime_s, "ttl_s": ttl_s}
        self._called("publish", progress, target=target, key=key, **times)
        return {**NAME, "new_key": True}

    def publications(self) -> list[dict[str, Any]]:
        self._called("publications", None)
        return self.names

    def unpublish(self, key: str) -> dict[str, Any]:
        self._called("unpublish", None, key=key)
        return NAME

    def export(
        self,
        target: str,
        output: str | Path,
        *,
        force: bool = False,
        partial: bool = False,
        names: bool = True,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        arguments = {k: v for k, v in locals().items() if k not in ("self", "progress")}
        self._called("export", progress, **arguments)
        return self.exported

    def import_cars(
        self,
        paths: Sequence[str | Path],
        dest: str | Path | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        self._called("import", progress, paths=list(paths), dest=dest)
        return self.imported

    def pin(
        self,
        target: str,
        *,
        name: str = "",
        replicas: int = 0,
        peers: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        self._called("pin", progress, target=target, name=name, replicas=replicas, peers=peers)
        return {**self.kept[0], "was_here": False, "fetched_bytes": 2_000_000}

    def unpin(self, target: str, *, name: str | None = None) -> dict[str, Any]:
        self._called("unpin", None, target=target, name=name)
        return {"target": target, "unpinned": [[target, "production"], [target, ""]]}

    def pins(self) -> list[dict[str, Any]]:
        self._called("pins", None)
        return self.kept

    def gc(self, *, dry_run: bool = False, keep_free_bytes: int | None = None) -> dict[str, Any]:
        self._called("gc", None, dry_run=dry_run, keep_free_bytes=keep_free_bytes)
        return {**self.collected, "dry_run": dry_run}

    def unshare(self, target: str) -> dict[str, Any]:
        self._called("unshare", None, target=target)
        return {
            "target": target,
            "paths": [f"/models/{target}"],
            "files": 3,
            "size_bytes": 2_000_000,
        }

    def sync(
        self,
        targets: Sequence[str] = (),
        *,
        from_node: str = "",
        dry_run: bool = False,
        delete: bool = False,
        token: str | None = None,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        self._called(
            "sync", progress, targets=list(targets), from_node=from_node, dry_run=dry_run,
            delete=delete,
        )  # fmt: skip
        return self.synced

    def syncs(self) -> list[dict[str, Any]]:
        self._called("syncs", None)
        return self.in_step

    def ls(self) -> list[dict[str, Any]]:
        self._called("ls", None)
        return self.roots

    def ls_hub(self, target: str = "hf:") -> list[dict[str, Any]]:
        self._called("ls_hub", None, target=target)
        return self.repos

    def status(self) -> dict[str, Any]:
        self._called("status", None)
        return self.state

    def doctor(self) -> list[dict[str, Any]]:
        self._called("doctor", None)
        return self.findings

    def peers(self) -> list[dict[str, Any]]:
        self._called("peers", None)
        return self.connected

    def history(
        self, *, since_s: float | None = None, failed: bool = False, limit: int = 100
    ) -> list[dict[str, Any]]:
        self._called("history", None, since_s=since_s, failed=failed, limit=limit)
        return self.past

    def alerts(self) -> list[dict[str, Any]]:
        self._called("alerts", None)
        return self.wrong

    def test_alerts(self) -> list[dict[str, Any]]:
        self._called("test_alerts", None)
        return self.told

    def _called(self, verb: str, progress: Progress | None, **arguments: Any) -> None:
        self.calls.append((verb, arguments))
        if progress is not None:
            for event in self.events:
                progress(event)
        if self.failure is not None:
            raise self.failure


class FakeFactory(Factory):
    """Hands out the fake client, and runs `program` in the place of a daemon."""

    def __init__(self) -> None:
        self.fake = FakeClient()
        self.configs: list[Config] = []
        self.mdns: list[bool] = []
        self.program: Callable[[Ready, asyncio.Event], Awaitable[None]] | None = None

    def client(self, config: Config) -> ClientPort:
        self.configs.append(config)
        return self.fake

    def serve(
        self,
        config: Config,
        ready: Ready,
        stop: asyncio.Event,
        *,
        at_once: asyncio.Event,
        tell: Callable[[str], None],
    ) -> Awaitable[None]:
        self.configs.append(config)
        assert self.program is not None
        return self.program(ready, stop)

    def bootstrap(
        self, config: Config, ready: Ready, stop: asyncio.Event, *, mdns: bool
    ) -> Awaitable[None]:
        self.mdns.append(mdns)
        self.configs.append(config)
        assert self.program is not None
        return self.program(ready, stop)
