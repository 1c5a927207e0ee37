"""`/metrics`: parsed by Prometheus' own parser, after real downloads; and what the docs name."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from mirrornode.config import Config, LogConfig, SyncConfig
from mirrornode.errors import SourceGone
from mirrornode.events import SourceState
from mirrornode.gateway.gateway import make_gateway
from mirrornode.gateway.metrics import PATH, Metrics
from mirrornode.gateway.node_numbers import NodeNumbers
from mirrornode.mirror.recording import Recorder
from mirrornode.mirror.sync_jobs import SyncNumber, sync_numbers
from mirrornode.store.sync import SyncState
from mirrornode.transfer.pacing import GATEWAY, Uploads
from mirrornode.wire.hub import Repo
from support.planes import Shared, shelf_of

DOCS = Path(__file__).parents[2] / "docs"
UNKNOWN = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
PEER = SourceState("peer:12D3KooWsecret", "idle", 3000, 0.0, "", 0.02, 0.001, 0.5, 0)
ORIGIN = SourceState("hub:https://secret.example", "idle", 1000, 0.0, "", 0.2, 0.03, 0.5, 0)
STRANGE = SourceState('evil"\n:x', "idle", 1, 0.0)
Client = TestClient[web.Request, web.Application]


@dataclasses.dataclass
class Served:
    """A gateway with metrics, and what they count."""

    client: Client
    recorder: Recorder
    uploads: Uploads

    async def scrape(self) -> dict[str, Metric]:
        answer = await self.client.get(PATH)
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return {family.name: family for family in parse(await answer.text())}

    async def value(self, name: str, **labels: str) -> float | None:
        for family in (await self.scrape()).values():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None


@pytest.fixture
async def served(shared: Shared) -> AsyncIterator[Served]:
    recorder, uploads = Recorder(shared.catalog), Uploads()
    numbers = NodeNumbers(
        shared.catalog, recorder, uploads, lambda: (2, 5), "1.2.3", lambda: {"disk": 1},
        lambda: [SyncNumber("hf:org/x", 5.0, 0, is_running=False, is_overdue=False)],
    )  # fmt: skip
    metrics = Metrics(numbers)
    app = make_gateway(
        shelf_of(shared.catalog), "127.0.0.1", uploads, metrics=metrics, recorder=recorder
    )
    async with TestClient(TestServer(app)) as client:
        yield Served(client, recorder, uploads)


async def download(recorder: Recorder, *, fails: bool = False) -> None:
    """Record a download that took from a peer, an origin and something strange."""
    async with recorder.recording("get", "bafysecret") as recording:
        recording.size_bytes = 4001
        recording.note("x", [PEER, ORIGIN, STRANGE])
        if fails:
            recording.fail(SourceGone("peer:12D3KooWsecret left"))


async def test_scrape_tells_of_downloads_and_what_peers_saved(served: Served) -> None:
    assert await served.value("mirrornode_downloads_total", kind="get", outcome="ok") == 0
    await download(served.recorder)
    await download(served.recorder, fails=True)
    value = served.value
    assert await value("mirrornode_downloads_total", kind="get", outcome="ok") == 1
    assert await value("mirrornode_downloads_total", kind="get", outcome="failed") == 1
    assert await value("mirrornode_received_bytes_total", source="peer") == 6000
    assert await value("mirrornode_received_bytes_total", source="other") == 2
    assert await value("mirrornode_origin_saved_bytes_total") == 6000
    assert await value("mirrornode_success_ratio", window="hour") == 0.5
    assert await value("mirrornode_average_round_trip_seconds", window="day", source="hub") == 0.03
    assert await value("mirrornode_source_round_trip_seconds_count", source="peer") == 2
    assert await value("mirrornode_download_duration_seconds_count") == 2
    assert await value("mirrornode_connected_peers") == 2
    assert await value("mirrornode_build_info", version="1.2.3") == 1
    assert await value("mirrornode_shared_files") == 1
    assert await value("mirrornode_catalog_up") == 1


async def test_running_download_counts_already_and_not_twice(served: Served) -> None:
    async with served.recorder.recording("get", "x") as recording:
        recording.note("x", [PEER])
        assert await served.value("mirrornode_received_bytes_total", source="peer") == 3000
        assert await served.value("mirrornode_running_downloads") == 1
    assert await served.value("mirrornode_received_bytes_total", source="peer") == 3000
    assert await served.value("mirrornode_running_downloads") == 0


async def test_what_is_kept_in_step_is_told_by_names_that_all_may_know(
    shared: Shared,
) -> None:
    node = "http://10.0.0.5:8090"
    tables = [
        SyncConfig("hf:org/open", every="1h"),
        SyncConfig("hf:org/private", every="1h"),
        SyncConfig(f"pins:{node}", every="1h", window="22:00-06:00"),
        SyncConfig("/srv/models", every="1h"),
        SyncConfig("hf:org/open", from_node=node),
    ]
    catalog, now = shared.catalog, time.time()
    for name, private in (("org/open", False), ("org/private", True)):
        repo = Repo("model", name)
        catalog.put_hub_sight(repo, canonical=repo, is_private=private, gated="", checked_at=1.0)
    states = [
        SyncState("hf:org/open", outcome="ok", ok_at=now - 60),
        SyncState("hf:org/private", outcome="running", ok_at=now - 7300, failures=3),
        SyncState(f"pins:{node}", outcome="failed", ok_at=now - 7300, failures=1),
        SyncState("/srv/models", outcome="failed", failures=2),
    ]
    for state in states:
        catalog.put_sync_state(state)

    async def scraped(*, requests: bool) -> str:
        config = Config(sync=tuple(tables), log=LogConfig(requests=requests))
        numbers = NodeNumbers(
            catalog, Recorder(catalog), Uploads(), lambda: (0, 0), "1", dict,
            functools.partial(sync_numbers, catalog, config),
        )  # fmt: skip
        return generate_latest(Metrics(numbers).registry).decode()

    text = await scraped(requests=True)
    assert 'sync_failures{target="hf:org/open"} 0.0' in text
    assert 'sync_failures{target="hub-2"} 3.0' in text
    assert 'sync_failures{target="folder-4"} 2.0' in text
    assert 'sync_failures{target="hf:org/open#5"} 0.0' in text
    assert 'success_timestamp_seconds{target="pins-3"}' in text
    assert 'success_timestamp_seconds{target="folder-4"}' not in text
    for word in ("10.0.0.5", "/srv", "org/private"):
        assert word not in text
    totals = ["mirrornode_sync_targets 5.0", "mirrornode_sync_running_targets 1.0",
              "mirrornode_sync_overdue_targets 2.0"]  # fmt: skip
    for line in totals:
        assert line in text
    text = await scraped(requests=False)
    for line in totals:
        assert line in text
    assert "target=" not in text


async def test_hits_and_served_bytes_are_told_by_face(served: Served, shared: Shared) -> None:
    assert await served.value("mirrornode_cache_hit_ratio") is None
    root = shared.model.file.root
    whole = await (await served.client.get(f"/ipfs/{root}")).read()
    await served.client.head(f"/ipfs/{root}")
    await served.client.get(f"/ipfs/{UNKNOWN}")
    await served.client.get("/ipfs/not-a-cid")
    labels = {"face": "gateway", "result": "hit"}
    assert await served.value("mirrornode_content_requests_total", **labels) == 1
    assert await served.value("mirrornode_cache_hit_ratio") == 0.5
    sent = await served.value("mirrornode_served_bytes_total", face="gateway")
    assert sent is not None
    assert sent >= len(whole)
    assert served.uploads.sent_by_face[GATEWAY] == sent


async def test_open_metrics_are_spoken_where_they_are_asked_for(served: Served) -> None:
    answer = await served.client.get(PATH, headers={"Accept": OPEN_METRICS})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    text = await answer.text()
    families = list(parse_open(text))  # type: ignore[no-untyped-call]  # the library's own
    assert len(families) > 10


async def test_labels_are_few_and_name_nobody(served: Served) -> None:
    for _ in range(3):
        await download(served.recorder)
    text = await (await served.client.get(PATH)).text()
    for secret in ("bafysecret", "12D3", "secret.example", "evil"):
        assert secret not in text
    labels = {
        name
        for family in parse(text)
        for sample in family.samples
        if sample.name.startswith("mirrornode_")
        for name in sample.labels
    }
    known = {
        "kind",
        "outcome",
        "source",
        "face",
        "result",
        "window",
        "version",
        "rule",
        "le",
        "target",
    }
    assert labels <= known


async def test_two_nodes_of_one_process_do_not_share_numbers(
    served: Served, shared: Shared
) -> None:
    other = Recorder()
    Metrics(NodeNumbers(shared.catalog, other, Uploads(), lambda: (0, 0), "x"))
    await download(other)
    assert await served.value("mirrornode_downloads_total", kind="get", outcome="ok") == 0


async def test_catalog_that_fails_does_not_blind(served: Served, shared: Shared) -> None:
    await download(served.recorder)
    shared.catalog.close()
    assert await served.value("mirrornode_catalog_up") == 0
    assert await served.value("mirrornode_received_bytes_total", source="peer") == 3000
    assert await served.value("mirrornode_shared_files") is None


# -- what the docs name --------------------------------------------------------------------------


def names_in(text: str) -> set[str]:
    """Return the metrics a text names, without those of another program."""
    return set(re.findall(r"\bmirrornode_[a-z0-9_]+\b", text))


def expressions(board: Mapping[str, object]) -> str:
    """Return all queries of a dashboard."""
    panels = board["panels"]
    assert isinstance(panels, list)
    return "\n".join(target["expr"] for panel in panels for target in panel["targets"])


@pytest.fixture
async def known(served: Served) -> set[str]:
    await download(served.recorder)
    await served.client.get(f"/ipfs/{UNKNOWN}")
    families = (await served.scrape()).values()
    return {sample.name for family in families for sample in family.samples}


async def test_rules_and_dashboard_name_only_what_a_scrape_has(known: set[str]) -> None:
    rules = (DOCS / "examples" / "alert-rules.yml").read_text()
    board = json.loads((DOCS / "examples" / "grafana-dashboard.json").read_text())
    for named in (names_in(rules), names_in(expressions(board))):
        assert len(named) >= 8
        assert named <= known
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    queries = [line for line in rules.splitlines() if line.strip().startswith("expr:")]
    assert rules.count("- alert:") == len(queries)


async def test_alerts_that_stand_are_counted_by_rule(served: Served) -> None:
    assert await served.value("mirrornode_alerts", rule="disk") == 1


async def test_metrics_page_names_all_of_them_and_no_other(known: set[str]) -> None:
    page = names_in((DOCS / "metrics.md").read_text())
    ours = {name for name in known if name.startswith("mirrornode_")}
    series = {name for name in ours if not name.endswith("_created")}
    assert page == {re.sub(r"_(bucket|sum|count)$", "", name) for name in series}
