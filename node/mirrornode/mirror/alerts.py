"""The alerts of one node, put together: look, judge, switch, remember, tell.

A round runs in a thread, soon after a download has ended and every few seconds. Rules, switching
and de-duplication are pure and in modules of their own (`alerts_rules`, `alerts_switch`,
`alerts_state`); so is who is told (`alerts_delivery`). Mirrors learn of it through the catalog
(`mirror.mirror_memory`), origins are told here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirrornode.errors import MirrorError
from mirrornode.mirror.alerts_delivery import Deliveries
from mirrornode.mirror.alerts_facts import FactFinder, disk_used
from mirrornode.mirror.alerts_message import Sender
from mirrornode.mirror.alerts_rules import RULES, find_all, find_faults
from mirrornode.mirror.alerts_state import FIRED, TEST, AlertBook, Notice
from mirrornode.mirror.alerts_switch import after_knock, due_for_trial, next_standings
from mirrornode.mirror.mirror_probe import MirrorProbe
from mirrornode.mirror.mirror_score import mirror_key
from mirrornode.store.alert_records import ASIDE, CRITICAL, WARNING, Alert, Standing
from mirrornode.store.records import MirrorUse

if TYPE_CHECKING:
    from mirrornode.config import Config
    from mirrornode.mirror.alerts_delivery import Told
    from mirrornode.mirror.get_request import GetPorts
    from mirrornode.sources.origins import Origins
    from mirrornode.store.catalog import Catalog
    from mirrornode.store.history_records import SourceUse

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
KNOCK_S: Final = 60.0  # between two knocks at an origin that is known to be away
SETTLE_S: Final = 0.5  # after a download has ended, until its record is there
MAX_UNSAVED: Final = 1000
TEST_TEXT: Final = "this is a test: alerts of this node arrive here"


class Alerts:
    """What is wrong with a node, and what it does about it."""

    def __init__(
        self,
        catalog: Catalog,
        config: Config,
        origins: Origins,
        deliveries: Deliveries,
        *,
        has_peers: Callable[[], bool] = lambda: True,
        look_at_disk: Callable[[Path], float | None] = disk_used,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with what stood before a restart; blocking.

        Raises:
            StoreError: The catalog cannot be read.
        """
        self._catalog = catalog
        self._settings = config.alerts
        limit = config.limits.download
        if 0 < limit <= 2 * self._settings.slow_rate:  # what we do to ourselves is nobody's fault
            self._settings = dataclasses.replace(config.alerts, slow_rate=limit // 2)
        self._urls = {mirror_key(mirror.url): mirror.url for mirror in config.mirror}
        self._origins = origins
        self._deliveries = deliveries
        self._clock = clock
        self._finder = FactFinder(
            catalog, config, origins, has_peers=has_peers, look_at_disk=look_at_disk
        )
        self._book = AlertBook(catalog.alerts())
        self._standings = {one.server: one for one in catalog.standings()}
        self._lock = threading.Lock()  # guards `_active` and `_uses`
        self._active = self._book.alerts
        self._uses: list[MirrorUse] = []
        self._wake = asyncio.Event()
        self._knocked_at = 0.0
        self._put_origins_last()

    # -- for others ------------------------------------------------------------------------------

    def active(self) -> list[Alert]:
        """Return the alerts that stand, the oldest first; any thread."""
        with self._lock:
            return list(self._active)

    def counts(self) -> Counter[str]:
        """Return how many alerts stand by rule, rules without any included; any thread."""
        found = Counter(dict.fromkeys(RULES, 0))
        found.update(alert.rule for alert in self.active())
        return found

    async def test(self) -> list[Told]:
        """Send a test message to every webhook, and return what each answered."""
        return await self._deliveries.tell_all(example_notice())

    def take_sources(self, uses: Sequence[SourceUse]) -> None:
        """Note how the origins did in a download that has ended; in the event loop, quick."""
        known = {state.origin_id for state in self._origins.states()}
        now = self._clock()
        with self._lock:
            self._uses += [
                MirrorUse(
                    use.source_id,
                    now,
                    use.received_bytes,
                    use.seconds,
                    use.first_byte_s,
                    use.outcome,
                )
                for use in uses
                if use.source_id in known and use.outcome != "lacked"
            ]
            del self._uses[:-MAX_UNSAVED]
        self._wake.set()

    # -- rounds ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look again and again, and tell webhooks, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliveries.run())
            while True:
                try:
                    notices = await asyncio.to_thread(self.look)
                except MirrorError as exc:
                    log.warning("alerts not looked at reason=%s", exc)
                except Exception:
                    # A task boundary: a node whose alerts fail must go on serving.
                    log.exception("alerts not looked at")
                else:
                    for notice in notices:
                        self._deliveries.put(notice)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._wake.wait()
                        self._wake.clear()
                        await asyncio.sleep(SETTLE_S)

    def look(self) -> list[Notice]:
        """Look once, act, remember, and return what is to be told; blocking, one at a time.

        Raises:
            StoreError: The catalog cannot be used.
        """
        self.save_uses()
        self._knock()
        settings, before = self._settings, self._standings
        facts = self._finder.facts(before, self._clock())
        faults = find_faults(facts, settings, before)
        standings = next_standings(before, faults, facts, settings)
        for name in due_for_trial(standings, faults, facts, settings):
            standings[name] = after_knock(standings[name], facts.now, answers=self._answers(name))
        alerts = self._book.alerts
        findings = find_all(facts, settings, faults, standings, self._book.names)
        notices = self._book.take(findings, facts.now, settings.calm_s)
        self._tell_log(before, standings, notices)
        self._standings = standings
        self._put_origins_last()
        with self._lock:
            self._active = self._book.alerts
        if self._book.alerts != alerts or standings != before:
            self._catalog.save_alerts(self._book.alerts, standings.values())
        return notices

    def save_uses(self) -> None:
        """Write down how the origins did; blocking.

        Raises:
            StoreError: The catalog cannot be written.
        """
        with self._lock:
            uses, self._uses = self._uses, []
        if uses:
            self._catalog.note_mirror_uses(uses)

    def _knock(self) -> None:
        """Knock at origins that failed, often until that is an alert and seldom from then on."""
        failures = [state.failures for state in self._origins.states() if state.failures]
        is_known = all(count >= self._settings.origin_failures for count in failures)
        if failures and not (is_known and 0 <= self._clock() - self._knocked_at < KNOCK_S):
            self._knocked_at = self._clock()
            self._origins.try_failing()

    def _answers(self, name: str) -> bool:
        """Knock at a mirror or origin that was put aside."""
        url = self._urls.get(name)
        if url is None:
            self._origins.try_failing(also={name})
            return not any(
                state.failures for state in self._origins.states() if state.origin_id == name
            )
        probe = MirrorProbe(url, "")
        try:
            return probe.reach().state == "ok"
        finally:
            probe.close()

    def _put_origins_last(self) -> None:
        self._origins.put_last(
            [one.server for one in self._standings.values() if one.state == ASIDE]
        )

    def _tell_log(
        self,
        before: dict[str, Standing],
        standings: dict[str, Standing],
        notices: Sequence[Notice],
    ) -> None:
        for name, standing in standings.items():
            state = before[name].state if name in before else ""
            if standing.state != state:
                log.info("server %s server=%s rule=%s", standing.state, name, standing.rule)
        for notice in notices:
            alert = notice.alert
            is_urgent = notice.event == FIRED and alert.severity == CRITICAL
            # The end is worth a warning as well: whoever read of the beginning waits for it.
            log.log(
                logging.ERROR if is_urgent else logging.WARNING,
                "alert %s rule=%s text=%s",
                notice.event,
                alert.rule,
                alert.text,
            )


@contextmanager
def open_alerts(
    ports: GetPorts,
    config: Config,
    origins: Origins,
    peer_id: str,
    has_peers: Callable[[], bool],
) -> Iterator[Alerts]:
    """Yield the alerts of a node for the length of the block.

    Raises:
        StoreError: The catalog cannot be used.
    """
    deliveries = Deliveries(config.webhook, Sender(socket.gethostname(), peer_id))
    try:
        alerts = Alerts(ports.catalog, config, origins, deliveries, has_peers=has_peers)
        ports.recorder.on_sources(alerts.take_sources)
        yield alerts
        try:
            alerts.save_uses()
        except MirrorError as exc:
            log.warning("origins not remembered reason=%s", exc)
    finally:
        deliveries.close()


def example_notice() -> Notice:
    """Return what `mirrornode alerts test` sends."""
    now = time.time()
    return Notice(TEST, Alert("test", "", WARNING, TEST_TEXT, now), now)


def alert_records(alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """Return alerts as the JSON of the command line."""
    return [dataclasses.asdict(alert) for alert in alerts]
