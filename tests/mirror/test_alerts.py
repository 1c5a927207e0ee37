"""Alerts put together: a catalog, a clock that the test moves, and what comes of it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.config import Config, LimitsConfig, MirrorConfig
from mirrornode.config_alerts import AlertsConfig
from mirrornode.errors import OriginAway
from mirrornode.events import SourceState
from mirrornode.mirror.alerts import Alerts, open_alerts
from mirrornode.mirror.alerts_delivery import Deliveries
from mirrornode.mirror.alerts_message import Sender
from mirrornode.mirror.alerts_state import Notice
from mirrornode.mirror.mirror_memory import choose_mirrors
from mirrornode.mirror.mirror_score import mirror_key
from mirrornode.mirror.recording import Recorder
from mirrornode.sources.hub_origin import HubOrigin, Origins
from mirrornode.store.alert_records import ASIDE, TRIAL
from mirrornode.store.catalog import Catalog, open_catalog
from mirrornode.store.history_records import Download, SourceUse
from mirrornode.store.records import MirrorUse
from support.hub_origin import Blob, StandInHub, running_hub
from support.hub_room import hub_file, hub_peer, named, sha256_of
from support.paced_server import paced_server
from support.room import Room
from support.waiting import until

START = 1_800_000_000.0
MB = 1_000_000
BAD, GOOD = "http://bad.example/", "http://good.example/"


class Clock:
    """Unix seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass
class Node:
    """A catalog with alerts over it."""

    catalog: Catalog
    config: Config
    clock: Clock
    origins: Origins
    disk: list[float]

    def __post_init__(self) -> None:
        self.alerts = self.restarted()

    def restarted(self) -> Alerts:
        """Return alerts as a new process would have them."""
        return Alerts(
            self.catalog,
            self.config,
            self.origins,
            Deliveries(self.config.webhook, Sender("nas", "")),
            look_at_disk=lambda _: self.disk[0],
            clock=self.clock,
        )

    def look(self, after_s: float = 10.0) -> list[tuple[str, str, str]]:
        """Let time pass and look; return what is told."""
        self.clock.now += after_s
        return [told(notice) for notice in self.alerts.look()]

    def note(self, url: str, outcome: str = "ok", rate: float = 9.0) -> None:
        """Note a use of a mirror for five seconds."""
        self.clock.now += 1.0
        size = int(rate * MB * 5) if outcome == "ok" else 0
        use = MirrorUse(mirror_key(url), self.clock.now, size, 5.0, None, outcome)
        self.catalog.note_mirror_uses([use])

    def record(self, outcome: str, count: int = 1) -> None:
        """Add downloads to the history."""
        now = self.clock.now
        error = "" if outcome == "ok" else "SourceGone"
        for _ in range(count):
            self.catalog.save_download(
                Download(0, "get", "x", now, "", now, 1.0, MB, 0, 0, outcome, error)
            )

    def first_mirrors(self, *insisted: str) -> list[str]:
        """Return the mirrors with which a `get` would begin now."""
        return choose_mirrors(self.catalog, [BAD, GOOD], {}, insisted).first(0.0)


def told(notice: Notice) -> tuple[str, str, str]:
    return notice.event, notice.alert.rule, notice.alert.key


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_catalog(tmp_path / "home") as catalog:
        config = Config(
            home=tmp_path / "home",
            mirror=(MirrorConfig(BAD), MirrorConfig(GOOD)),
            alerts=AlertsConfig(calm_s=0.0),
        )
        yield Node(catalog, config, Clock(), Origins([]), [0.5])


def test_mirror_when_a_fifth_of_a_days_uses_failed_then_switched_told_once_and_back(
    node: Node, tmp_path: Path
) -> None:
    for _ in range(8):
        node.note(BAD)
        node.note(GOOD)
    for _ in range(2):
        node.note(BAD, "failed")
        node.note(BAD)
    assert node.look() == []  # two of twelve
    node.clock.now += 3 * 3600
    node.note(BAD, "failed")
    assert node.look() == [("fired", "failing", BAD)]
    assert node.first_mirrors() == [GOOD]
    assert node.first_mirrors(BAD) == [GOOD, BAD]  # somebody named it himself
    assert [node.look(29.0) for _ in range(9)] == [[]] * 9
    (alert,) = node.alerts.active()
    assert alert.text == (
        f"mirror {BAD} failed in 3 of its last 13 downloads; it is put aside for the next best"
    )
    assert node.alerts.counts()["failing"] == 1
    # Nobody answers there: it rests longer each time. Then it does: on trial, and at last back.
    assert node.look(100.0) == []
    (standing,) = node.catalog.standings()
    assert (standing.state, standing.rests) == (ASIDE, 1)
    with paced_server(tmp_path, 1e6) as server:
        node.config = dataclasses.replace(
            node.config, mirror=(MirrorConfig(server.url), MirrorConfig(GOOD))
        )
        node.catalog.save_alerts(
            node.catalog.alerts(), [dataclasses.replace(standing, server=server.url)]
        )
        node.alerts = node.restarted()
        assert ("fired", "failing", server.url) in node.look(3600.0)
        (standing,) = node.catalog.standings()
        assert (standing.server, standing.state) == (server.url, TRIAL)
        node.note(server.url)
        assert node.look() == []
        node.note(server.url)
        assert node.look() == [("recovered", "failing", server.url)]
    assert node.alerts.active() == []
    assert node.look(3600.0) == []  # the failures of this day are forgiven
    assert node.catalog.alerts() == []


def test_days_failures_when_no_mirror_is_at_fault_then_the_node_is_told_of_and_recovers(
    node: Node,
) -> None:
    node.record("ok", 7)
    node.clock.now += 12 * 3600
    node.record("failed")
    assert node.look() == []
    node.record("failed")
    node.record("partial")
    assert node.look() == [("fired", "failing", "")]
    assert node.look() == []
    node.record("ok", 3)
    assert node.look() == []  # three of thirteen
    node.record("ok", 9)
    assert node.look() == [("recovered", "failing", "")]
    # Twelve hours later those seven are forgotten, and the share is what is left.
    assert node.look(12 * 3600) == []


def test_mirror_when_three_downloads_in_a_row_are_slow_then_switched(node: Node) -> None:
    for _ in range(3):
        node.note(GOOD, rate=4.0)
        assert node.look() == []
        node.note(BAD, rate=0.4)
    assert node.look() == [("fired", "slow", BAD)]
    assert node.first_mirrors() == [GOOD]


def test_mirrors_when_switching_is_off_then_told_of_and_used(node: Node) -> None:
    off = AlertsConfig(calm_s=0.0, switch=False)
    node.config = dataclasses.replace(node.config, alerts=off)
    node.alerts = node.restarted()
    for _ in range(5):
        node.note(GOOD)
        node.note(BAD, "failed")
    assert node.look() == [("fired", "slow", BAD)]
    assert BAD in node.first_mirrors() + choose_mirrors(node.catalog, [BAD], {}).first(0.0)
    assert node.catalog.standings() == []


def test_slow_when_the_node_limits_itself_then_it_is_nobodys_fault(node: Node) -> None:
    node.config = dataclasses.replace(node.config, limits=LimitsConfig(download=600_000))
    node.alerts = node.restarted()
    for _ in range(3):
        node.note(GOOD, rate=4.0)
        node.note(BAD, rate=0.5)
    assert node.look() == []


def test_restart_neither_repeats_nor_forgets(node: Node) -> None:
    node.disk[0] = 0.95
    assert node.look() == [("fired", "disk", "")]
    node.alerts = node.restarted()
    assert [alert.rule for alert in node.alerts.active()] == ["disk"]
    assert node.look() == []
    node.disk[0] = 0.5
    node.alerts = node.restarted()
    assert node.look() == [("recovered", "disk", "")]


def test_wrong_bytes_when_in_the_history_then_for_a_day(node: Node) -> None:
    source = SourceUse("peer:12D3KooWliar", "peer", outcome="wrong")
    now = node.clock.now
    node.catalog.save_download(
        Download(0, "get", "x", now, "", now, 1.0, MB, MB, 0, "ok", sources=(source,))
    )
    assert node.look() == [("fired", "wrong_bytes", "peer:12D3KooWliar")]
    assert node.look(86_400.0) == [("recovered", "wrong_bytes", "peer:12D3KooWliar")]


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as hub:
        yield hub


def test_origin_when_it_does_not_answer_then_told_and_found_back_without_a_question(
    node: Node, hub: StandInHub
) -> None:
    clock = Clock()
    node.origins = Origins([HubOrigin(hub.url)], clock=clock)
    node.alerts = node.restarted()
    hub.stop()
    with pytest.raises(OriginAway):
        node.origins.ask_any(lambda origin: origin.ask("/api/models/x", ""))
    said = []
    for _ in range(3):
        clock.now += 60.0
        said += node.look()
    assert said == [("fired", "origin", f"hub:{hub.host}")]
    hub.start()
    clock.now += 60.0
    assert node.look() == []  # now that it is known, it is knocked at once a minute
    assert node.look(60.0) == [("recovered", "origin", f"hub:{hub.host}")]


def test_origins_when_one_is_slow_then_the_other_goes_first_and_it_comes_back(
    node: Node, hub: StandInHub
) -> None:
    slow, fast = HubOrigin(hub.url), HubOrigin("http://127.0.0.1:2")
    node.origins = Origins([slow, fast])
    node.alerts = node.restarted()

    def use(origin: HubOrigin, rate: float) -> None:
        node.clock.now += 1.0
        size = int(rate * 5 * MB)
        node.alerts.take_sources(
            [
                SourceUse(origin.origin_id, "hub", size, 5.0),
                SourceUse("peer:12D3KooWx", "peer", 5, 5.0),
                SourceUse("hub:elsewhere", "hub", 5, 5.0),
            ]
        )

    for _ in range(3):
        use(fast, 8.0)
        use(slow, 0.2)
    assert node.look() == [("fired", "slow", slow.origin_id)]
    assert node.origins.in_order() == [fast, slow]
    assert node.catalog.mirror_uses(["hub:elsewhere", "peer:12D3KooWx"]) == {
        "hub:elsewhere": [],
        "peer:12D3KooWx": [],
    }
    node.alerts = node.restarted()
    assert node.origins.in_order() == [fast, slow]  # after a restart as well
    assert node.look(300.0) == []
    assert [one.state for one in node.catalog.standings()] == [TRIAL]
    assert node.origins.in_order() == [slow, fast]
    use(slow, 8.0)
    assert node.look() == []
    use(slow, 8.0)
    assert node.look() == [("recovered", "slow", slow.origin_id)]


async def test_open_alerts_takes_over_what_origins_did_when_names_are_not_kept(
    tmp_path: Path,
) -> None:
    origin = HubOrigin("http://127.0.0.1:1")
    states = [
        SourceState(origin.origin_id, "failed", 5, 0.0, "gone", busy_s=5000.0),
        SourceState("peer:12D3KooWsecret", "idle", 5, 0.0),
    ]
    async with Room(tmp_path).node("one") as peer:
        recorder = Recorder(peer.catalog, keeps_requests=False)
        ports = dataclasses.replace(peer.ports, recorder=recorder)
        config = Config(home=tmp_path / "home")
        with open_alerts(ports, config, Origins([origin]), "x", lambda: True):
            async with recorder.recording("hub", "hf:org/name") as recording:
                recording.note(object(), states)
        (use,) = peer.catalog.mirror_uses([origin.origin_id])[origin.origin_id]
        assert (use.outcome, use.size_bytes) == ("failed", 5)
        assert use.seconds < 5000  # no longer than the download: its files came side by side
        assert {one.source_id for one in peer.catalog.downloads()[0].sources} == {""}


async def test_origin_when_it_refuses_files_then_none_fails_and_the_next_is_asked_alone(
    tmp_path: Path,
) -> None:
    files = {f"f{number}.bin": Blob(900_000, number) for number in range(7)}
    with running_hub() as broken, running_hub() as whole:
        broken.add_model("org/model", files)
        whole.add_model("org/model", files)
        settings = AlertsConfig(calm_s=0.0, slow_rate=50_000)
        config = Config(home=tmp_path / "home", alerts=settings)
        async with Room(tmp_path).node("one") as peer, hub_peer(peer, broken, whole) as one:
            clock, recorder = Clock(), peer.ports.recorder
            deliveries = Deliveries((), Sender("nas", ""))
            alerts = Alerts(peer.catalog, config, one.origins, deliveries, clock=clock)
            recorder.on_sources(alerts.take_sources)
            broken_id = f"hub:{broken.host}"

            async def bring(number: int) -> int:
                """Bring a file; return how often the first origin was asked for it."""
                clock.now += 60.0
                file = hub_file(broken, "org/model", f"f{number}.bin")
                brought = await one.files.bring(
                    named(broken, "org/model"), file, "", lambda _: None
                )
                assert sha256_of(brought.path) == file.sha256
                await until(lambda: not recorder.running)
                return len(broken.requests(f"f{number}.bin"))

            async def look() -> list[tuple[str, str, str]]:
                clock.now += 1.0
                return [told(notice) for notice in await asyncio.to_thread(alerts.look)]

            broken.refuse(503, match=".bin")
            for number in range(3):
                assert await look() == []
                assert await bring(number) > 0
            assert await look() == [("fired", "slow", broken_id)]
            assert await bring(3) == 0
            broken.heal()
            clock.now += settings.rest_s
            assert await look() == []
            assert await bring(4) > 0
            assert await look() == []
            assert await bring(5) > 0
            assert await look() == [("recovered", "slow", broken_id)]
            assert await bring(6) > 0
