"""A page with a whole team behind it: its verbs answer what a busy node would say.

Records are as the real verbs have them; recorder, catalog and gateway are real.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from mirrornode.config import Config, MirrorConfig, StorageConfig
from mirrornode.events import GetProgress, SourceState
from mirrornode.gateway.access import GatewayAccess
from mirrornode.gateway.gateway import make_gateway
from mirrornode.gateway.history_verbs import history, recent
from mirrornode.gateway.node_numbers import NodeNumbers
from mirrornode.gateway.page import Page
from mirrornode.mirror.mirror_score import mirror_key
from mirrornode.mirror.recording import Recorder, Recording
from mirrornode.store.alert_records import Standing
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.records import MirrorUse
from mirrornode.transfer.pacing import Uploads
from support.planes import shelf_of

TOKEN = "mirrornode-token-of-a-test-0123456789"
OWN_ID = "12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2"
PEERS = (
    "12D3KooWHdiAxVd8uMQR1hGWXccidmfCwLqcMpGwR6QcTP6QRMuD",
    "12D3KooWGMYMmN1RGUYjWaSV6P3XtnBjwnosnJGNMnttfVCRnd6g",
    "12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust",
    "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
)
COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"
SECRET = "acme/unreleased-model"
HOUR = 3600.0
MODEL = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"

Records = list[dict[str, Any]]


@dataclass
class Scene:
    """A gateway with a page, and what stands behind it."""

    url: str
    app: web.Application
    page: Page
    recorder: Recorder
    uploads: Uploads
    catalog: Catalog
    said: dict[str, Any]
    called: list[tuple[str, dict[str, Any]]]
    verbs: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def scene(folder: Path, *, is_busy: bool = False) -> AsyncIterator[Scene]:
    """Serve a page for the length of the block.

    Args:
        is_busy: With models, peers, mirrors and downloads; else as a node that was just started.
    """
    async with AsyncExitStack() as stack:
        catalog = stack.enter_context(open_catalog(folder / "home"))
        recorder, uploads = Recorder(catalog), Uploads()
        mirrors = (
            MirrorConfig("https://mirror.team.example/models/", "office"),
            MirrorConfig("https://gateway.far.example/", "abroad"),
        )
        storage = StorageConfig(quota=2_000_000_000_000, keep_free=50_000_000_000)
        config = Config(
            home=folder / "home",
            mirror=mirrors if is_busy else (),
            storage=storage if is_busy else StorageConfig(),
        )
        numbers = NodeNumbers(catalog, recorder, uploads, lambda: (4, 40), "1.4.0")
        page = Page(numbers, config)
        app = make_gateway(
            shelf_of(catalog),
            "127.0.0.1",
            uploads,
            page=page,
            access=GatewayAccess(own_token=TOKEN),
            recorder=recorder,
        )
        server = TestServer(app)
        await stack.enter_async_context(server)
        url = f"http://127.0.0.1:{server.port}"
        said = records(url, is_busy=is_busy)
        called: list[tuple[str, dict[str, Any]]] = []
        made = Scene(url, app, page, recorder, uploads, catalog, said, called)
        made.verbs.update(_verbs(made))
        running = asyncio.create_task(page.run(made.verbs))

        async def end() -> None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        stack.push_async_callback(end)
        if is_busy:
            await fill(made)
        yield made


def _verbs(made: Scene) -> dict[str, Any]:
    """Return verbs that say what the scene says, and note what they are asked to do."""

    async def said(name: str) -> Any:
        return made.said[name]

    async def ls(fields: Mapping[str, Any], emit: object) -> Any:
        return await said("repos" if fields.get("target") else "roots")

    async def status(fields: Mapping[str, Any], emit: object) -> Any:
        return {**made.said["status"], **recent(made.recorder)}

    async def listed(fields: Mapping[str, Any], emit: object) -> Any:
        return history(made.catalog, fields)

    async def pins(fields: Mapping[str, Any], emit: object) -> Any:
        return await said("pins")

    async def peers(fields: Mapping[str, Any], emit: object) -> Any:
        return await said("peers")

    async def pin(fields: Mapping[str, Any], emit: object) -> Any:
        made.called.append(("pin", dict(fields)))
        return {}

    async def unpin(fields: Mapping[str, Any], emit: object) -> Any:
        made.called.append(("unpin", dict(fields)))
        return {}

    return {
        "ls": ls,
        "status": status,
        "history": listed,
        "pins": pins,
        "peers": peers,
        "pin": pin,
        "unpin": unpin,
    }


def records(url: str, *, is_busy: bool) -> dict[str, Any]:
    """Return what the verbs of a node say."""
    status: dict[str, Any] = {
        "running": True,
        "version": "1.4.0",
        "peer_id": OWN_ID,
        "listen": ["/ip4/192.168.1.20/tcp/4101/p2p/" + OWN_ID],
        "peer_plane": "https://0.0.0.0:4102",
        "gateway": url,
        "home": "/srv/mirrornode",
        "hub_endpoint": url,
        "served_bytes": 812_000_000_000 if is_busy else 0,
        "uptime_s": 1.0,
        "transfers": [],
    }
    if not is_busy:
        return {"status": status, "roots": [], "repos": [], "pins": [], "peers": []}
    status["syncs"] = [
        {
            "target": f"hf:{name}@main", "from_node": "http://10.0.0.5:8090", "every_s": 21_600.0,
            "out": "", "outcome": outcome, "reason": reason, "started_at": time.time() - 7200,
            "ok_at": time.time() - 90_000, "next_at": time.time() + 14_400,
            "is_overdue": outcome != "ok",
        }
        for name, outcome, reason in (
            ("deepseek-ai/DeepSeek-V3.2", "ok", ""), (SECRET, "failed", "nobody is there")
        )
    ]  # fmt: skip
    status["alerts"] = [
        {
            "rule": "origin_unreachable",
            "key": "huggingface.co",
            "since": time.time() - 900,
            "text": "huggingface.co cannot be reached; downloads come from mirrors and peers",
            "severity": "warning",
        }
    ]
    return {
        "status": status,
        "roots": [root("qwen2.5-32b-instruct-q4_k_m.gguf", MODEL, 19_851_335_520)],
        "repos": [
            repo("deepseek-ai/DeepSeek-V3.2", 688_586_727_753, "mit"),
            repo("Qwen/Qwen3-30B-A3B", 61_090_000_000, "apache-2.0"),
            repo("meta-llama/Llama-3.3-70B-Instruct", 141_000_000_000, "llama3.3", gated="manual"),
            repo("BAAI/bge-m3", 4_600_000_000, "mit", here=0.62),
            repo(SECRET, 9_000_000_000, "", private=True),
        ],
        "pins": [
            pin("hf:deepseek-ai/DeepSeek-V3.2@" + COMMIT, "sync:team", 2, PEERS[:2]),
            pin(MODEL, "assistant", 1, PEERS[2:3]),
            pin(f"hf:{SECRET}@{COMMIT}", "", 0, ()),
        ],
        "peers": [
            {
                "peer_id": peer_id,
                "address": f"/ip4/192.168.1.{31 + number}/tcp/4101",
                "agent": "mirrornode/1.4.0",
                "outbound": True,
                "is_mirrornode": True,
                "rtt_s": 0.0004 * (number + 1),
            }
            for number, peer_id in enumerate(PEERS)
        ],
    }


def root(name: str, cid: str, size_bytes: int) -> dict[str, Any]:
    return {
        "cid": cid,
        "name": name,
        "kind": "file",
        "path": f"/data/models/{name}",
        "size_bytes": size_bytes,
        "files": 1,
        "profile": "unixfs-v1-2025",
        "added_at": 1.0,
        "state": "ok",
    }


def repo(
    name: str,
    size_bytes: int,
    licence: str,
    *,
    gated: str | bool = False,
    private: bool = False,
    here: float = 1.0,
) -> dict[str, Any]:
    return {
        "repo": name,
        "commit": COMMIT,
        "refs": ["main"],
        "files": 40,
        "files_here": 40,
        "size_bytes": size_bytes,
        "bytes_here": int(size_bytes * here),
        "licence": licence,
        "gated": gated,
        "private": private,
        "vouched_by": "origin",
        "seen_at": 1.0,
    }


def pin(target: str, name: str, replicas: int, holders: tuple[str, ...]) -> dict[str, Any]:
    return {
        "target": target,
        "name": name,
        "kind": "hub" if target.startswith("hf:") else "recursive",
        "owner": "",
        "size_bytes": 1,
        "made_at": 1.0,
        "replicas": replicas,
        "holders": [
            {"peer_id": peer_id, "state": "kept", "reason": "", "seen_at": 1.0}
            for peer_id in holders
        ],
    }


async def fill(made: Scene) -> None:
    """Let downloads and uploads of a day have happened."""
    now = time.time()
    keys = [
        mirror_key("https://mirror.team.example/models/"),
        mirror_key("https://gateway.far.example/"),
    ]
    made.catalog.note_mirror_uses(
        MirrorUse(key, now - 600 * (30 - use), 8_000_000, 0.09 + use % 5 / 100 + number, 0.02,
                  "failed" if number and use % 9 == 4 else "ok")
        for number, key in enumerate(keys)
        for use in range(26)
    )  # fmt: skip
    why = f"mirror {keys[1]} failed in 7 of its last 26 downloads"
    aside = Standing(keys[1], "aside", "failing", why, now - 1800, 0)
    made.catalog.save_alerts([], [aside])
    for target, peer_bytes in (("hf:Qwen/Qwen3-30B-A3B", 58), ("hf:BAAI/bge-m3", 2), (MODEL, 19)):
        async with made.recorder.recording("hub", target) as recording:
            recording.root = f"{target}@{COMMIT}" if target.startswith("hf:") else target
            recording.size_bytes = (peer_bytes + 3) * 1_000_000_000
            recording.note("x", [
                SourceState(f"peer:{PEERS[0]}", "idle", peer_bytes * 10**9, 0, "", .01, .0004, 9),
                SourceState("hub:huggingface.co", "idle", 3 * 10**9, 0.0, "", 0.2, 0.09, 30.0),
            ])  # fmt: skip
    made.uploads.note_sent(412_000_000_000, peer=PEERS[1])
    made.uploads.note_sent(97_000_000_000, peer=PEERS[2])
    made.uploads.note_sent(44_000_000_000, peer=PEERS[3])


@asynccontextmanager
async def arriving(
    made: Scene, target: str = "hf:deepseek-ai/DeepSeek-V3.2"
) -> AsyncIterator[Recording]:
    """Have a download run for the length of the block."""
    sources = (
        SourceState(f"peer:{PEERS[0]}", "active", 212 * 10**9, 412e6, "", 0.01, 0.0004, 9.0),
        SourceState(f"peer:{PEERS[1]}", "active", 91 * 10**9, 180e6, "", 0.01, 0.0009, 9.0),
        SourceState("http:https://mirror.team.example/models/", "active", 40 * 10**9, 61e6, "",
                    0.03, 0.011, 9.0),
    )  # fmt: skip
    async with made.recorder.recording("hub", target) as recording:
        recording.note("x", sources)
        recording.follow(
            GetProgress("transfer", 343 * 10**9, 688_586_727_753, 0, 653e6, 20, 40, sources)
        )
        yield recording


@asynccontextmanager
async def going_on(made: Scene, recording: Recording) -> AsyncIterator[None]:
    """Have all numbers of a download and of who is fed change, for the length of the block."""

    async def go_on() -> None:
        done = 343 * 10**9
        for step in itertools.count():
            await asyncio.sleep(0.25)  # as often as a real download tells
            rates = (412e6 + step % 7 * 1e6, 180e6 + step % 5 * 1e6, 61e6 + step % 3 * 1e6)
            done += round(sum(rates) / 4)
            names = (*(f"peer:{peer}" for peer in PEERS[:2]), "http:https://mirror.team.example/")
            sources = tuple(
                SourceState(name, "active", done // (2 + number), rate, "", 0.01, 0.0004, 9.0)
                for number, (name, rate) in enumerate(zip(names, rates, strict=True))
            )
            recording.note("x", sources)
            recording.follow(
                GetProgress("transfer", done, 688_586_727_753, 0, sum(rates), 20, 40, sources)
            )
            made.uploads.note_sent((30 + step % 11) * 10**6, peer=PEERS[1 + step % 3])
            made.said["status"]["served_bytes"] += 10**8

    going = asyncio.create_task(go_on())
    try:
        yield
    finally:
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
